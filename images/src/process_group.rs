//! Running a program in a process group of its own, to its end or to ours.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// How often a flag is looked at that nothing announces.
const TICK: Duration = Duration::from_millis(50);

/// How long output may still come after the group was killed, from what has left it.
const DRAIN: Duration = Duration::from_millis(500);

/// Which of its two outputs a program wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// How a program's time came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself, or by somebody else's signal.
    Exited(ExitStatus),
    /// By ours, because it was to be cancelled.
    Cancelled,
    /// By ours, because the deadline passed.
    TimedOut,
}

/// What ends a program before it ends itself.
pub(crate) struct Limits<'a> {
    /// Set from elsewhere.
    pub(crate) cancel: &'a AtomicBool,
    pub(crate) deadline: Option<Instant>,
    /// How long the group has between `SIGTERM` and `SIGKILL`.
    pub(crate) grace: Duration,
}

/// Runs `command` without input and hands on what it writes, as it comes.
///
/// When the program has ended, so has everything in its group.
pub(crate) fn run(
    command: &mut Command,
    limits: &Limits<'_>,
    output: &mut dyn FnMut(Stream, &[u8]),
) -> io::Result<Ended> {
    run_with(command, Stdio::null(), limits, output)
}

/// The same with input.
pub(crate) fn run_with(
    command: &mut Command,
    input: Stdio,
    limits: &Limits<'_>,
    output: &mut dyn FnMut(Stream, &[u8]),
) -> io::Result<Ended> {
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn()?;
    let mut group = Group::new(child)?;
    let ended = group.follow(limits, output)?;
    group.close(output)?;
    let status = group.child.wait()?;
    Ok(ended.unwrap_or(Ended::Exited(status)))
}

struct Group {
    child: Child,
    id: Pid,
    leader: OwnedFd,
    pipes: Vec<(Stream, Box<dyn Pipe>)>,
    buffer: Vec<u8>,
}

trait Pipe: Read + AsFd {}
impl<T: Read + AsFd> Pipe for T {}

impl Group {
    fn new(mut child: Child) -> io::Result<Self> {
        let id = Pid::from_child(&child);
        let leader = match pidfd_open(id, PidfdFlags::empty()) {
            Ok(leader) => leader,
            Err(errno) => {
                signal(id, Signal::KILL)?;
                child.wait()?;
                return Err(errno.into());
            }
        };
        let mut pipes: Vec<(Stream, Box<dyn Pipe>)> = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            pipes.push((Stream::Stdout, Box::new(pipe)));
        }
        if let Some(pipe) = child.stderr.take() {
            pipes.push((Stream::Stderr, Box::new(pipe)));
        }
        Ok(Self { child, id, leader, pipes, buffer: vec![0; 64 * 1024] })
    }

    /// Passes output on until the leader has ended, which it is made to by `limits`.
    fn follow(
        &mut self,
        limits: &Limits<'_>,
        output: &mut dyn FnMut(Stream, &[u8]),
    ) -> io::Result<Option<Ended>> {
        let mut ended = None;
        let mut kill_at: Option<Instant> = None;
        while !self.wait(TICK, output)? {
            let now = Instant::now();
            match kill_at {
                None => {
                    ended = if limits.cancel.load(Ordering::Relaxed) {
                        Some(Ended::Cancelled)
                    } else if limits.deadline.is_some_and(|deadline| now >= deadline) {
                        Some(Ended::TimedOut)
                    } else {
                        None
                    };
                    if ended.is_some() {
                        signal(self.id, Signal::TERM)?;
                        kill_at = Some(now + limits.grace);
                    }
                }
                Some(at) if now >= at => signal(self.id, Signal::KILL)?,
                Some(_) => {}
            }
        }
        Ok(ended)
    }

    /// Ends whoever is left in the group and passes on the rest of the output.
    fn close(&mut self, output: &mut dyn FnMut(Stream, &[u8])) -> io::Result<()> {
        // The leader is not reaped yet, so the group's id cannot have been given to anyone else.
        signal(self.id, Signal::KILL)?;
        let until = Instant::now() + DRAIN;
        while !self.pipes.is_empty() && Instant::now() < until {
            self.wait(TICK, output)?;
        }
        Ok(())
    }

    /// Waits up to `time` and passes on what there is. True when the leader has ended.
    fn wait(&mut self, time: Duration, output: &mut dyn FnMut(Stream, &[u8])) -> io::Result<bool> {
        let (leader_ended, ready) = {
            let mut all: Vec<PollFd<'_>> = vec![readable(self.leader.as_fd())];
            all.extend(self.pipes.iter().map(|(_, pipe)| readable(pipe.as_fd())));
            // With the leader gone, its descriptor is always ready: wait for the pipes alone.
            let time = Timespec::try_from(time).map_err(io::Error::other)?;
            match poll(&mut all, Some(&time)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let ready: Vec<bool> = all.iter().map(|fd| !fd.revents().is_empty()).collect();
            (ready[0], ready)
        };
        let mut open = ready[1..].iter();
        let buffer = &mut self.buffer;
        let mut failed = None;
        self.pipes.retain_mut(|(stream, pipe)| {
            if !open.next().copied().unwrap_or(false) {
                return true;
            }
            match pipe.read(buffer) {
                Ok(0) => false,
                Ok(length) => {
                    output(*stream, &buffer[..length]);
                    true
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        });
        failed.map_or(Ok(leader_ended), Err)
    }
}

impl Drop for Group {
    /// Leaves no process behind when reading its output failed.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _killed = signal(self.id, Signal::KILL);
            let _reaped = self.child.wait();
        }
    }
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::from_borrowed_fd(fd, PollFlags::IN)
}

fn signal(group: Pid, signal: Signal) -> io::Result<()> {
    match kill_process_group(group, signal) {
        // Nobody left is what we want.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(cancel: &AtomicBool) -> Limits<'_> {
        Limits { cancel, deadline: None, grace: Duration::from_millis(200) }
    }

    fn shell(text: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]);
        command
    }

    fn run_to_end(text: &str) -> (Ended, Vec<u8>, Vec<u8>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let never = AtomicBool::new(false);
        let ended = run(&mut shell(text), &limits(&never), &mut |stream, bytes| match stream {
            Stream::Stdout => out.extend_from_slice(bytes),
            Stream::Stderr => err.extend_from_slice(bytes),
        });
        (ended.unwrap(), out, err)
    }

    fn lives(pid: u32) -> bool {
        // A zombie is nobody's process any more: its state is all that is left.
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn both_streams_arrive_byte_for_byte() {
        let (ended, out, err) = run_to_end(r"printf 'a\377\000b'; printf oops >&2; exit 3");

        assert!(matches!(ended, Ended::Exited(status) if status.code() == Some(3)));
        assert_eq!(out, b"a\xff\0b");
        assert_eq!(err, b"oops");
    }

    #[test]
    fn a_megabyte_on_each_stream_does_not_block() {
        let (_, out, err) =
            run_to_end("head -c 1000000 /dev/zero & head -c 1000000 /dev/zero >&2; wait");

        assert_eq!((out.len(), err.len()), (1_000_000, 1_000_000));
    }

    #[test]
    fn there_is_no_input() {
        assert_eq!(run_to_end("wc -c").1, b"0\n");
    }

    #[test]
    fn what_is_left_in_the_background_ends_with_the_program() {
        let started = Instant::now();

        let (_, out, _) = run_to_end("sleep 60 & echo $!");

        let pid: u32 = String::from_utf8(out).unwrap().trim().parse().unwrap();
        assert!(started.elapsed() < Duration::from_secs(20));
        assert!(!lives(pid));
    }

    #[test]
    fn cancelling_ends_a_group_that_ignores_sigterm() {
        let cancel = AtomicBool::new(false);
        let mut pids = Vec::new();
        let script = "trap '' TERM; sleep 61 & echo $!; echo $$; wait; sleep 62";

        let ended = run(&mut shell(script), &limits(&cancel), &mut |_, bytes| {
            pids.extend_from_slice(bytes);
            if pids.iter().filter(|byte| **byte == b'\n').count() == 2 {
                cancel.store(true, Ordering::Relaxed);
            }
        });

        assert_eq!(ended.unwrap(), Ended::Cancelled);
        for pid in String::from_utf8(pids).unwrap().lines() {
            assert!(!lives(pid.parse().unwrap()), "{pid} lives");
        }
    }

    #[test]
    fn a_deadline_ends_the_program() {
        let never = AtomicBool::new(false);
        let deadline = Some(Instant::now() + Duration::from_millis(100));
        let limits = Limits { deadline, ..limits(&never) };

        let ended = run(&mut shell("sleep 63"), &limits, &mut |_, _| {});

        assert_eq!(ended.unwrap(), Ended::TimedOut);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let never = AtomicBool::new(false);
        let mut command = Command::new("/nonexistent/program");

        let ended = run(&mut command, &limits(&never), &mut |_, _| {});

        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
