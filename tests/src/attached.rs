//! A machine over SSH that is attached to a yard's agent.

use std::fs;
use std::io::Write as _;
use std::ops::Deref;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::vm::{KeyPair, USER, Vm, VmOptions};
use crate::{Yard, wait_until};

/// What the machine is called.
pub const NAME: &str = "test-vm";

/// A yard with a target [`NAME`].
pub struct AttachedYard {
    // Its runs are canceled on the machine, which has to be there.
    yard: Yard,
    /// The machine.
    pub vm: Vm,
}

impl Deref for AttachedYard {
    type Target = Yard;

    fn deref(&self) -> &Yard {
        &self.yard
    }
}

impl AttachedYard {
    /// Starts a machine and attaches it with a key; `None` where there can be none.
    #[must_use]
    pub fn new(options: VmOptions) -> Option<Self> {
        let vm = Vm::start(options)?;
        let yard = Yard::new();
        let output = attach_by_key(&yard, &vm, NAME).output().unwrap();
        assert!(output.status.success(), "{}", crate::text(&output.stderr));
        Some(Self { yard, vm })
    }

    /// Runs `train.py` of `source` there in the foreground; `options` come before it.
    #[must_use]
    pub fn run_there(&self, source: &Path, options: &[&str]) -> Output {
        let mut command = self.yard.trainyard();
        command.args(["run", "--target", NAME, "--source"]).arg(source).args(options);
        command.arg("train.py").output().unwrap()
    }

    /// Submits `train.py` of `source` to the machine, detached; returns the run id.
    #[track_caller]
    pub fn submit_there(&self, source: &Path, arguments: &[&str]) -> String {
        let mut all = vec!["run", "-d", "--json", "--target", NAME, "--source"];
        all.extend([source.to_str().unwrap(), "train.py"]);
        all.extend(arguments);
        self.json(all)["runId"].as_str().unwrap().to_owned()
    }

    /// Lists the processes of the user there, but for those that only answer.
    #[must_use]
    pub fn processes(&self) -> Vec<String> {
        let listed = self.vm.exec(&format!("ps -u {USER} -o args= || true"));
        let answers = |line: &&str| line.contains("sshd") || line.contains("remote serve");
        listed.lines().filter(|line| !answers(line)).map(str::to_owned).collect()
    }

    /// Waits until nothing of a run is left there: no process, no run directory, nothing in the
    /// directories for temporary files.
    #[track_caller]
    pub fn wait_until_nothing_is_left(&self) {
        let home = self.vm.user_home();
        // Where the home is in /tmp, it is no temporary file.
        let look = format!(
            "ls -A '{0}/.trainyard/runs'; find /tmp /var/tmp /dev/shm -path '{0}' -prune -o \
             -user {USER} -print 2>/dev/null || true",
            home.display()
        );
        let mut left = String::new();
        wait_until("nothing of the run is left on the machine", || {
            let now = format!("{:?} {}", self.processes(), self.vm.exec(&look));
            if now != left {
                eprintln!("left on the machine: {now}");
                left.clone_from(&now);
            }
            now == "[] "
        });
    }
}

/// Returns the command that attaches a machine, ready for options that say how to log in.
#[must_use]
pub fn attach(yard: &Yard, vm: &Vm, name: &str) -> Command {
    let mut command = yard.trainyard();
    command.args(["target", "attach", "remote", "-n", name, "-u", USER, "-a", &vm.address()]);
    command
}

/// Returns the command that attaches a machine by a key, ready for more options.
#[must_use]
pub fn attach_by_key(yard: &Yard, vm: &Vm, name: &str) -> Command {
    let mut command = attach(yard, vm, name);
    command.arg("--private-key-file").arg(KeyPair::Ed25519.path());
    command
}

/// Runs a command that reads `secret` and nothing more.
#[must_use]
pub fn with_secret(command: &mut Command, secret: &str) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{secret}").unwrap();
    child.wait_with_output().unwrap()
}

/// Tells which files under `directory`, but for those in directories called `except`, hold `text`.
#[must_use]
pub fn files_with(directory: &Path, text: &str, except: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && entry.file_name() != except => {
                found.extend(files_with(&path, text, except));
            }
            Ok(kind) if kind.is_file() => {
                let content = fs::read(&path).unwrap_or_default();
                if content.windows(text.len()).any(|window| window == text.as_bytes()) {
                    found.push(path.display().to_string());
                }
            }
            _ => {}
        }
    }
    found
}
