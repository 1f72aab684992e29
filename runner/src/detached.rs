//! Processes that outlive whoever starts them.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::unistd::setsid;

/// What a thread needs that only waits.
const STACK_BYTES: usize = 64 << 10;

/// Starts `command`, which is to call [`leave`] as the first thing it does: from then on nothing that
/// happens to whoever started it happens to it. What it has to say is appended to `log`, which only
/// its owner can read. Waits until it closes its stdout, and returns what it said there.
///
/// It is not forked twice to be nobody's child: a process with as many threads and as much memory as
/// an agent's takes milliseconds to be copied, and more when each page is written to again. Without
/// anything to be done between fork and exec, nothing is copied.
pub(crate) fn start(command: &mut Command, log: &Path) -> io::Result<String> {
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(log)?;
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn()?;
    let mut first_word = String::new();
    let read = child.stdout.take().map(|mut out| out.read_to_string(&mut first_word));
    bury(child)?;
    read.transpose()?;
    Ok(first_word)
}

/// Waits for the end of `child` on a thread of its own, so that it leaves no zombie. If this process
/// ends before, the system does so.
fn bury(mut child: Child) -> io::Result<()> {
    let wait = move || drop(child.wait());
    thread::Builder::new().name("waits".to_owned()).stack_size(STACK_BYTES).spawn(wait)?;
    Ok(())
}

/// Leaves the session of whoever started this process, and with it the signals that go to all of it.
pub(crate) fn leave() {
    // Fails when we lead a session already, which is as good.
    let _is_leader = setsid();
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::process_identity::ProcessStat;

    #[test]
    fn the_first_word_is_heard_the_rest_goes_to_the_log_and_nothing_is_left_in_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let (log, go) = (directory.path().join("log"), directory.path().join("go"));
        nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let script = "echo $$; echo complaint >&2; exec >&-; read line <\"$0\"";

        let said = start(Command::new("sh").args(["-c", script]).arg(&go), &log).unwrap();

        let pid: i32 = said.trim().parse().unwrap();
        assert!(!ProcessStat::read(pid).unwrap().unwrap().has_ended());
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "complaint\n");
        std::fs::write(&go, "go\n").unwrap();
        let begun = Instant::now();
        while ProcessStat::read(pid).unwrap().is_some() {
            assert!(begun.elapsed() < Duration::from_secs(60), "a zombie is left");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let start = start(&mut Command::new("/nonexistent"), &directory.path().join("log"));
        assert_eq!(start.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
