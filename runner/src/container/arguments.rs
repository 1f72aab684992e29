//! Takes arguments as for `docker run` apart: options with their values. Pure.

use super::ContainerRefused;
use super::table::{Known, OPTIONS};

/// One option as it was given.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) known: &'static Known,
    /// Its value; that of a flag is `true` or `false`.
    pub(super) value: String,
}

impl Given {
    /// Refuses it.
    pub(super) fn refuse(
        &self,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> ContainerRefused {
        ContainerRefused { argument: self.to_string(), why: why.into(), hint: hint.into() }
    }
}

impl std::fmt::Display for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.known.name)?;
        if self.known.flag { Ok(()) } else { write!(f, " {}", self.value) }
    }
}

/// Reads `--option=value`, `--option value` (in one argument or two), `-o value`, `-ovalue`, and
/// letters of flags put together.
pub(super) fn read(arguments: &[String]) -> Result<Vec<Given>, ContainerRefused> {
    let mut given = Vec::new();
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        if argument.starts_with("--") {
            given.push(long(argument, &mut rest)?);
        } else if let Some(letters) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            short(argument, letters, &mut rest, &mut given)?;
        } else {
            return Err(ContainerRefused {
                argument: argument.to_owned(),
                why: "it is no option of `docker run`".to_owned(),
                hint: "options begin with a dash, as in --shm-size=4g; the image and the command \
                       are said elsewhere"
                    .to_owned(),
            });
        }
    }
    Ok(given)
}

fn long<'a>(
    argument: &'a str,
    rest: &mut impl Iterator<Item = &'a str>,
) -> Result<Given, ContainerRefused> {
    let (name, value) = match argument.find(['=', ' ']) {
        Some(at) => (&argument[..at], Some(argument[at + 1..].trim_start_matches(' '))),
        None => (argument, None),
    };
    let known = OPTIONS.iter().find(|known| known.name == name).ok_or_else(|| unknown(name))?;
    if known.flag {
        return flag(known, value.unwrap_or("true"));
    }
    let value = value.or_else(|| rest.next()).ok_or_else(|| incomplete(name))?;
    Ok(Given { known, value: value.to_owned() })
}

fn short<'a>(
    argument: &'a str,
    letters: &'a str,
    rest: &mut impl Iterator<Item = &'a str>,
    given: &mut Vec<Given>,
) -> Result<(), ContainerRefused> {
    for (at, letter) in letters.char_indices() {
        let found = OPTIONS.iter().find(|known| known.letter == Some(letter));
        let known = found.ok_or_else(|| unknown(argument))?;
        let after = &letters[at + letter.len_utf8()..];
        if known.flag {
            if let Some(value) = after.strip_prefix('=') {
                given.push(flag(known, value)?);
                return Ok(());
            }
            given.push(flag(known, "true")?);
            continue;
        }
        let value = match after.trim_start_matches(' ') {
            "" => rest.next().ok_or_else(|| incomplete(argument))?,
            attached => attached.strip_prefix('=').unwrap_or(attached),
        };
        given.push(Given { known, value: value.to_owned() });
        return Ok(());
    }
    Ok(())
}

fn flag(known: &'static Known, value: &str) -> Result<Given, ContainerRefused> {
    let value = match value {
        "true" | "1" | "t" | "T" | "TRUE" | "True" => "true",
        "false" | "0" | "f" | "F" | "FALSE" | "False" => "false",
        _ => {
            return Err(ContainerRefused {
                argument: format!("{}={value}", known.name),
                why: "it is either true or false".to_owned(),
                hint: format!("write {} alone", known.name),
            });
        }
    };
    Ok(Given { known, value: value.to_owned() })
}

fn unknown(argument: &str) -> ContainerRefused {
    ContainerRefused {
        argument: argument.to_owned(),
        why: "it is not among the options of `docker run` that a run may use".to_owned(),
        hint: "leave it out; the README lists what can be asked for".to_owned(),
    }
}

fn incomplete(argument: &str) -> ContainerRefused {
    ContainerRefused {
        argument: argument.to_owned(),
        why: "its value is missing".to_owned(),
        hint: format!("write {argument}=VALUE"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        match read(&arguments) {
            Ok(given) => {
                let given: Vec<_> = given
                    .iter()
                    .map(|given| format!("{}={}", given.known.name, given.value))
                    .collect();
                given.join(" ")
            }
            Err(refused) => format!("{refused} ({})", refused.hint),
        }
    }

    #[test]
    fn options_are_read_as_docker_reads_them() {
        let mut table = String::new();
        for arguments in [
            &["--cpus=2", "--memory", "4g", "--init"][..],
            &["--cpus 2", "-e A=b c", "--env=A=b c"],
            &["-m4g", "-m=4g", "-m", "4g", "-v/data:/data:ro"],
            &["-it", "-dit", "-ite", "A=1", "-t=false"],
            &["--init=false", "--read-only=1"],
            &["--init=perhaps"],
            &["--env"],
            &["-v"],
            &["--frobnicate=1"],
            &["-x"],
            &["-é"],
            &["-"],
            &["--"],
            &["", "ubuntu"],
            &["ubuntu", "rm", "-rf", "/"],
            &["--PRIVILEGED"],
        ] {
            table += &format!("{arguments:?}\n    {}\n", shown(arguments));
        }
        insta::assert_snapshot!(table, @r#"
        ["--cpus=2", "--memory", "4g", "--init"]
            --cpus=2 --memory=4g --init=true
        ["--cpus 2", "-e A=b c", "--env=A=b c"]
            --cpus=2 --env=A=b c --env=A=b c
        ["-m4g", "-m=4g", "-m", "4g", "-v/data:/data:ro"]
            --memory=4g --memory=4g --memory=4g --volume=/data:/data:ro
        ["-it", "-dit", "-ite", "A=1", "-t=false"]
            --interactive=true --tty=true --detach=true --interactive=true --tty=true --interactive=true --tty=true --env=A=1 --tty=false
        ["--init=false", "--read-only=1"]
            --init=false --read-only=true
        ["--init=perhaps"]
            --init=perhaps: it is either true or false (write --init alone)
        ["--env"]
            --env: its value is missing (write --env=VALUE)
        ["-v"]
            -v: its value is missing (write -v=VALUE)
        ["--frobnicate=1"]
            --frobnicate: it is not among the options of `docker run` that a run may use (leave it out; the README lists what can be asked for)
        ["-x"]
            -x: it is not among the options of `docker run` that a run may use (leave it out; the README lists what can be asked for)
        ["-é"]
            -é: it is not among the options of `docker run` that a run may use (leave it out; the README lists what can be asked for)
        ["-"]
            -: it is no option of `docker run` (options begin with a dash, as in --shm-size=4g; the image and the command are said elsewhere)
        ["--"]
            --: it is not among the options of `docker run` that a run may use (leave it out; the README lists what can be asked for)
        ["", "ubuntu"]
            : it is no option of `docker run` (options begin with a dash, as in --shm-size=4g; the image and the command are said elsewhere)
        ["ubuntu", "rm", "-rf", "/"]
            ubuntu: it is no option of `docker run` (options begin with a dash, as in --shm-size=4g; the image and the command are said elsewhere)
        ["--PRIVILEGED"]
            --PRIVILEGED: it is not among the options of `docker run` that a run may use (leave it out; the README lists what can be asked for)
        "#);
    }
}
