//! Putting this program on a machine and having it answer.

use std::io;
use std::time::Instant;

use snapshots::error_chain::chain;

use super::super::Told;
use super::machine::{self, Machine};
use super::pool::{Client, Connector, Line};
use super::program::Program;
use super::trouble::Trouble;
use crate::exit_record::ExitReason;
use crate::remote::client::{RemoteClient, RemoteError};
use crate::remote::frame::PROTOCOL;
use crate::remote::message::{Hello, Request};
use crate::ssh::{CommandEnd, CommandOutput, Endpoint, Patience, SshConnection};

/// Connects to one machine by SSH.
pub(super) struct SshConnector {
    /// Where it is.
    pub(super) endpoint: Endpoint,
    /// How long it may take.
    pub(super) patience: Patience,
    /// What is put on it.
    pub(super) program: Program,
    /// [`Hello::machine`], if it must be that one.
    pub(super) machine: Option<String>,
}

impl Connector for SshConnector {
    fn connect(&self) -> Result<(Client, Hello), Trouble> {
        let directory = self.program.directory().map_err(|error| self.own_fault(&error))?;
        let (client, hello) = match self.serve(&directory) {
            Err(Trouble::Remote(error)) if is_no_answer(&error) => {
                tracing::debug!(%error, "This program does not answer there yet.");
                self.make_ready(&directory)?;
                self.serve(&directory)?
            }
            answer => answer?,
        };
        match &self.machine {
            Some(machine) if *machine != hello.machine => Err(Trouble::Unfit(machine::unfit(
                format!("another machine, or another user, answers at {}", self.endpoint.host),
                Some("detach the target and attach it again, if it was set up anew".to_owned()),
            ))),
            _ => Ok((client, hello)),
        }
    }
}

/// Says whether this program never said a word, as opposed to having been cut off.
fn is_no_answer(error: &RemoteError) -> bool {
    match error {
        RemoteError::Protocol { .. } => true,
        RemoteError::Broken { source } => source.kind() == io::ErrorKind::UnexpectedEof,
        RemoteError::Refused { .. } | RemoteError::Local { .. } => false,
    }
}

impl SshConnector {
    /// Connects and does no more than that.
    ///
    /// # Errors
    ///
    /// [`Trouble::Ssh`].
    pub(super) fn log_in(&self) -> Result<SshConnection, Trouble> {
        Ok(SshConnection::connect(&self.endpoint, self.patience)?)
    }

    fn own_fault(&self, error: &dyn std::error::Error) -> Trouble {
        Trouble::Unfit(machine::unfit(chain(error), None))
    }

    fn serve(&self, directory: &str) -> Result<(Client, Hello), Trouble> {
        let wire = self.log_in()?.open(&format!(
            "/bin/sh -c 'exec \"$HOME/.trainyard/bin/{directory}/trainyard\" remote serve'"
        ))?;
        let mut client = RemoteClient::greet(Line::new(wire)).map_err(Trouble::Remote)?;
        let hello = Request::Hello { protocol: PROTOCOL };
        let hello = client.ask(&hello).map_err(Trouble::Remote)?;
        Ok((client, hello))
    }

    /// Asks the machine what it is.
    ///
    /// # Errors
    ///
    /// [`Trouble`].
    pub(super) fn examine(&self) -> Result<(SshConnection, Machine), Trouble> {
        let directory = self.program.directory().map_err(|error| self.own_fault(&error))?;
        let mut connection = self.log_in()?;
        let said = connection.run(&machine::question(&directory), &mut io::empty())?;
        let machine = Machine::understand(&said.stdout).ok_or_else(|| {
            let all = [said.stderr.as_slice(), &said.stdout].concat();
            let all = String::from_utf8_lossy(&all).trim().chars().take(300).collect::<String>();
            Trouble::Unfit(machine::unfit(
                format!("the machine does not carry out a command: {all:?}"),
                Some("the user's login shell must take commands".to_owned()),
            ))
        })?;
        machine.check_architecture().map_err(Trouble::Unfit)?;
        Ok((connection, machine))
    }

    /// Puts this program there, or says why it does not start.
    fn make_ready(&self, directory: &str) -> Result<(), Trouble> {
        let (mut connection, machine) = self.examine()?;
        if machine.has_program {
            let start = format!(
                "/bin/sh -c '\"$HOME/.trainyard/bin/{directory}/trainyard\" remote serve </dev/null'"
            );
            let said = connection.run(&start, &mut io::empty())?;
            return match said.end {
                // It does start: what went wrong before was something else, and passed.
                CommandEnd::Code(0) => Ok(()),
                _ => {
                    let said = String::from_utf8_lossy(&said.stderr);
                    Err(Trouble::Unfit(machine.cannot_run(&said)))
                }
            };
        }
        let digest = self.program.digest().map_err(|error| self.own_fault(&error))?;
        let mut content = self.program.content().map_err(|error| self.own_fault(&error))?;
        let begun = Instant::now();
        let command = upload_command(directory, &digest.to_string());
        let said = connection.run(&command, &mut content)?;
        if said.end != CommandEnd::Code(0) {
            return Err(Trouble::Unfit(not_uploaded(&said)));
        }
        let elapsed_ms = begun.elapsed().as_millis();
        tracing::info!(host = self.endpoint.host, elapsed_ms, "Put this program on a machine.");
        Ok(())
    }
}

/// Returns the command that takes the program from its stdin. It is there whole or not at all,
/// also when two agents do this at once; what is interrupted leaves nothing, or at worst a
/// temporary file, which a later one removes.
fn upload_command(directory: &str, digest: &str) -> String {
    format!(
        "/bin/sh -c 'umask 077; mkdir -p \"$HOME/.trainyard/bin\" && cd \"$HOME/.trainyard/bin\" && \
         {{ find . -maxdepth 1 -name \".new-*\" -mmin +1440 -exec rm -f {{}} +; \
         t=$(mktemp .new-XXXXXXXXXX) && trap \"rm -f $t\" EXIT HUP INT TERM && cat >$t && \
         s=$(sha256sum <$t) && \
         if [ \"${{s%% *}}\" = {digest} ]; then chmod 700 $t && mkdir -p {directory} && \
         mv -f $t {directory}/trainyard; \
         else echo it did not arrive whole >&2; exit 65; fi; }}'"
    )
}

fn not_uploaded(said: &CommandOutput) -> Told {
    let text = String::from_utf8_lossy(&said.stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    let message = format!("cannot put Trainyard on the machine: {}", last.trim());
    if text.contains("No space left") || text.contains("Disk quota exceeded") {
        let hint = Some("make room on the disk of the machine's home directory".to_owned());
        return Told { reason: ExitReason::DiskFull, message, hint };
    }
    machine::unfit(message, None)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::path::Path;
    use std::process::{Command, Output, Stdio};

    use snapshots::digest::Digest;

    use super::*;

    const DIRECTORY: &str = "0.1.0-0123456789abcdef";

    fn upload(home: &Path, digest: &Digest, content: &[u8]) -> Output {
        let command = upload_command(DIRECTORY, &digest.to_string());
        let inner = command.strip_prefix("/bin/sh -c '").unwrap().strip_suffix('\'').unwrap();
        assert!(!inner.contains(['\'', '\\', '!', '\n']), "{inner}");
        let mut shell = Command::new("/bin/sh")
            .args(["-c", &command])
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(content).unwrap();
        shell.wait_with_output().unwrap()
    }

    fn names(home: &Path) -> Vec<String> {
        let entries = fs::read_dir(home.join(".trainyard/bin")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_arrives_whole_is_there_and_nothing_else_is() {
        let base = tempfile::tempdir().unwrap();
        let home = base.path().join("home of ana");
        fs::create_dir(&home).unwrap();
        let content = vec![7; 300_000];
        let digest = Digest::of(&content);

        let cut = upload(&home, &digest, &content[..200_000]);
        assert_eq!(cut.status.code(), Some(65));
        assert_eq!(String::from_utf8(cut.stderr).unwrap(), "it did not arrive whole\n");
        assert_eq!(names(&home), Vec::<String>::new());

        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(upload(&home, &digest, &content).status.success()));
            }
        });
        assert_eq!(names(&home), [DIRECTORY]);
        let program = home.join(".trainyard/bin").join(DIRECTORY).join("trainyard");
        assert_eq!(fs::read(&program).unwrap(), content);
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(program.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_full_disk_is_told_as_that() {
        let said = |stderr: &str| CommandOutput {
            end: CommandEnd::Code(1),
            stdout: Vec::new(),
            stderr: stderr.as_bytes().to_vec(),
        };
        let told = not_uploaded(&said("cat: write error: No space left on device\n"));
        assert_eq!(told.reason, ExitReason::DiskFull);
        insta::assert_snapshot!(told.message, @"cannot put Trainyard on the machine: cat: write error: No space left on device");
        assert_eq!(not_uploaded(&said("")).reason, ExitReason::CannotStart);
    }
}
