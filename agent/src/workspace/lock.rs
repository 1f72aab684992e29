//! One agent per state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::fs::FsWord;
use snapshots::path_error::IoContext;

use super::socket_address::SocketAddress;
use super::{Workspace, WorkspaceError};

/// How long the lock of an agent that does not answer may still be held: one that is stopping, or
/// that was killed and left it with a child on its way to another program.
const LEFT_BEHIND: Duration = Duration::from_secs(10);

/// The right to be the agent of a state directory; given back when dropped, and by the system
/// when the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct AgentLock {
    _file: File,
}

impl AgentLock {
    /// Takes the lock and writes this process's pid into the file, for others to name.
    ///
    /// # Errors
    ///
    /// Another agent has it, or the directory is on a file system without the locks and shared
    /// memory that the database needs.
    pub(crate) fn take(workspace: &Workspace) -> Result<Self, WorkspaceError> {
        refuse_network_file_system(workspace)?;
        let path = workspace.lock_file();
        // Not truncated: until the lock is ours the text is the other agent's pid.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .context("open", &path)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => Err(error).context("lock", &path)?,
            }
            let mut pid = String::new();
            file.rewind().context("rewind", &path)?;
            file.read_to_string(&mut pid).context("read", &path)?;
            let pid = pid.trim().to_owned();
            if answers(workspace) || begun.elapsed() > LEFT_BEHIND {
                return Err(WorkspaceError::Locked { pid, home: workspace.home().to_owned() });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        file.set_len(0).context("empty", &path)?;
        file.rewind().context("rewind", &path)?;
        writeln!(file, "{}", std::process::id()).context("write", &path)?;
        Ok(Self { _file: file })
    }
}

/// Tells whether whoever has the lock is at work: listening, which is not so before and after.
fn answers(workspace: &Workspace) -> bool {
    SocketAddress::of(workspace.socket())
        .is_ok_and(|address| UnixStream::connect(address.path()).is_ok())
}

fn refuse_network_file_system(workspace: &Workspace) -> Result<(), WorkspaceError> {
    let home = workspace.home();
    let found = rustix::fs::statfs(home).context("examine", home)?;
    match network_file_system(found.f_type) {
        Some(kind) => Err(WorkspaceError::Network { home: home.to_owned(), kind }),
        None => Ok(()),
    }
}

/// Names the network file system that has this magic number in `statfs(2)`. Those under FUSE
/// cannot be told from local ones and pass.
fn network_file_system(magic: FsWord) -> Option<&'static str> {
    match magic {
        0x6969 => Some("nfs"),
        0x517B => Some("smb"),
        0xFF53_4D42 => Some("cifs"),
        0xFE53_4D42 => Some("smb2"),
        0x0102_1997 => Some("9p"),
        0x5346_414F => Some("afs"),
        0x00C3_6400 => Some("ceph"),
        0x0BD0_0BD0 => Some("lustre"),
        0x4750_4653 => Some("gpfs"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_agent_is_refused_and_told_of_the_first() {
        let home = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(home.path().to_owned());
        let first = AgentLock::take(&workspace).unwrap();
        let _at_work = std::os::unix::net::UnixListener::bind(workspace.socket()).unwrap();

        let refused = AgentLock::take(&workspace).unwrap_err();

        let WorkspaceError::Locked { pid, .. } = &refused else { panic!("{refused:?}") };
        assert_eq!(*pid, std::process::id().to_string());
        assert!(refused.hint().unwrap().contains("agent stop"));
        drop(first);
        AgentLock::take(&workspace).unwrap();
    }

    #[test]
    fn the_lock_of_an_agent_that_does_not_answer_any_more_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(home.path().to_owned());
        let left = AgentLock::take(&workspace).unwrap();

        let waiting = std::thread::spawn(move || AgentLock::take(&workspace).map(drop));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished());
        drop(left);

        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn network_file_systems_are_known_and_local_ones_are_not() {
        assert_eq!(network_file_system(0x6969), Some("nfs"));
        for local in [0xEF53, 0x0102_1994, 0x9123_683E, 0x5846_5342, 0x794C_7630] {
            assert_eq!(network_file_system(local), None, "{local:x}");
        }
    }
}
