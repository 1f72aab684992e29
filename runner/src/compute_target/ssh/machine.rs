//! What a machine is, as far as that can be told before this program is on it.

use super::super::Told;
use crate::exit_record::ExitReason;

/// Begins what the machine says, on a line of its own: a login shell may print things before it, and
/// no line's end after them.
const MARK: &str = "trainyard-machine";

/// What a machine said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    system: String,
    architecture: String,
    libc: String,
    /// Whether this very program is there.
    pub(super) has_program: bool,
    os: Option<String>,
    os_version: Option<String>,
    os_name: Option<String>,
}

/// Returns the command that makes a machine say it. `directory` is [`Program::directory`].
///
/// Every login shell there is reads single quotes alike as long as nothing in them is a quote, a
/// backslash, an exclamation mark or a line's end.
///
/// [`Program::directory`]: super::program::Program::directory
pub(super) fn question(directory: &str) -> String {
    format!(
        "/bin/sh -c 'echo; echo {MARK}; uname -s; uname -m; \
         getconf GNU_LIBC_VERSION 2>/dev/null || echo unknown; \
         if [ -x \"$HOME/.trainyard/bin/{directory}/trainyard\" ]; then echo yes; else echo no; fi; \
         cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release 2>/dev/null; :'"
    )
}

impl Machine {
    /// Understands what a machine said; `None` when it said something else.
    pub(super) fn understand(said: &[u8]) -> Option<Self> {
        let said = String::from_utf8_lossy(said);
        let mut lines = said.lines().skip_while(|line| *line != MARK).skip(1);
        let mut machine = Self {
            system: lines.next()?.to_owned(),
            architecture: lines.next()?.to_owned(),
            libc: lines.next()?.to_owned(),
            has_program: lines.next()? == "yes",
            ..Self::default()
        };
        for line in lines {
            let Some((name, value)) = line.split_once('=') else { continue };
            let value = value.trim_matches(['"', '\'']).to_owned();
            match name {
                "ID" => machine.os = Some(value),
                "VERSION_ID" => machine.os_version = Some(value),
                "PRETTY_NAME" => machine.os_name = Some(value),
                _ => {}
            }
        }
        Some(machine)
    }

    /// Says whether this program can run there at all.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(super) fn check_architecture(&self) -> Result<(), Told> {
        let ours = std::env::consts::ARCH;
        if self.system == "Linux" && self.architecture == ours {
            return Ok(());
        }
        Err(unfit(
            format!(
                "the machine is {} on {}; this build of Trainyard is for Linux on {ours}",
                self.system, self.architecture
            ),
            Some("use a machine of that kind, or an agent on a machine of the other".to_owned()),
        ))
    }

    /// Says whether it is an Ubuntu.
    ///
    /// # Errors
    ///
    /// What it is.
    pub(super) fn check_supported(&self) -> Result<(), Told> {
        if self.os.as_deref() == Some("ubuntu") {
            return Ok(());
        }
        let name = match (&self.os_name, &self.os, &self.os_version) {
            (Some(name), _, Some(version)) if name.contains(version.as_str()) => name.clone(),
            (Some(name), _, Some(version)) => format!("{name} (version {version})"),
            (Some(name), _, None) => name.clone(),
            (None, Some(os), Some(version)) => format!("{os} {version}"),
            (None, Some(os), None) => os.clone(),
            (None, None, _) => "of no known kind: /etc/os-release does not say".to_owned(),
        };
        Err(unfit(
            format!("the machine is {name}; Ubuntu is supported"),
            Some("--allow-unsupported attaches it all the same".to_owned()),
        ))
    }

    /// Says why this program, which is there, does not start, by what it said.
    pub(super) fn cannot_run(&self, said: &str) -> Told {
        let needed = said
            .split("GLIBC_")
            .skip(1)
            .filter_map(|rest| {
                let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
                let version = &rest[..end];
                let (major, minor) = version.split_once('.')?;
                Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?, version))
            })
            .max();
        match needed {
            Some((_, _, needed)) => unfit(
                format!(
                    "this build of Trainyard needs glibc {needed}, the machine has {}",
                    self.libc.trim_start_matches("glibc ")
                ),
                Some("use the release build: it runs on Ubuntu 20.04 and later".to_owned()),
            ),
            None => {
                let last = said.lines().rev().find(|line| !line.trim().is_empty());
                let last = last.unwrap_or("it said nothing").trim();
                unfit(format!("Trainyard does not start on the machine: {last}"), None)
            }
        }
    }
}

/// Says that the machine will not do.
pub(super) fn unfit(message: String, hint: Option<String>) -> Told {
    Told { reason: ExitReason::CannotStart, message, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UBUNTU: &str = "Welcome!\ntrainyard-machine\nLinux\nx86_64\nglibc 2.31\nno\n\
        NAME=\"Ubuntu\"\nID=ubuntu\nVERSION_ID=\"20.04\"\nPRETTY_NAME=\"Ubuntu 20.04.6 LTS\"\n";

    fn machine(from: &str, to: &str) -> Machine {
        Machine::understand(UBUNTU.replace(from, to).as_bytes()).unwrap()
    }

    #[test]
    fn an_ubuntu_will_do() {
        let machine = machine("", "");
        assert_eq!(machine.check_supported(), Ok(()));
        assert_eq!(machine.check_architecture().is_ok(), cfg!(target_arch = "x86_64"));
        assert!(!machine.has_program);
        assert!(self::machine("2.31\nno", "2.31\nyes").has_program);
        assert_eq!(Machine::understand(b"This account is not available.\n"), None);
    }

    #[test]
    fn another_system_is_refused_by_name_and_version() {
        let debian = UBUNTU
            .replace("ID=ubuntu", "ID=debian")
            .replace("20.04\"", "12\"")
            .replace("Ubuntu 20.04.6 LTS", "Debian GNU/Linux 12 (bookworm)");
        let told = Machine::understand(debian.as_bytes()).unwrap().check_supported().unwrap_err();
        insta::assert_snapshot!(told.message, @"the machine is Debian GNU/Linux 12 (bookworm); Ubuntu is supported");
        assert_eq!(told.hint.unwrap(), "--allow-unsupported attaches it all the same");

        let nameless = "trainyard-machine\nLinux\nx86_64\nglibc 2.31\nno\n";
        let told = Machine::understand(nameless.as_bytes()).unwrap().check_supported().unwrap_err();
        insta::assert_snapshot!(told.message, @"the machine is of no known kind: /etc/os-release does not say; Ubuntu is supported");
    }

    #[test]
    fn another_architecture_is_refused() {
        let told = machine("x86_64", "riscv64").check_architecture().unwrap_err();
        let ours = std::env::consts::ARCH;
        let expected = format!(
            "the machine is Linux on riscv64; this build of Trainyard is for Linux on {ours}"
        );
        assert_eq!(told.message, expected);
        assert!(machine("Linux", "Darwin").check_architecture().is_err());
    }

    #[test]
    fn a_c_library_that_is_too_old_is_told_of() {
        let said = "trainyard: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found\n\
            trainyard: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.9' not found\n";
        let told = machine("", "").cannot_run(said);
        insta::assert_snapshot!(told.message, @"this build of Trainyard needs glibc 2.34, the machine has 2.31");
        let told = machine("", "").cannot_run("sh: 1: exec: /home/a/t: Permission denied\n\n");
        insta::assert_snapshot!(told.message, @"Trainyard does not start on the machine: sh: 1: exec: /home/a/t: Permission denied");
    }

    #[test]
    fn the_question_is_quoted_alike_in_every_shell() {
        let question = question("1.0.0-0123456789abcdef");
        let inner = question.strip_prefix("/bin/sh -c '").unwrap().strip_suffix('\'').unwrap();
        assert!(!inner.contains(['\'', '\\', '!', '\n']), "{inner}");
    }
}
