//! Tries whether this machine makes a sandbox at all.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::bwrap;
use super::host::HostFacts;
use super::network::RoomNetwork;
use super::plan::{Rooms, Seen, View, possible};
use super::policy::Tier;

/// Returns `facts` with whether what was found can be had.
#[must_use]
pub fn tried(facts: HostFacts) -> HostFacts {
    let is_whole = possible(&facts).0 == Tier::Full;
    HostFacts { refusal: is_whole.then(|| refusal(&facts)).flatten(), ..facts }
}

/// Makes rooms with nothing in them but the system's programs. Returns what is said against it.
#[must_use]
pub fn refusal(facts: &HostFacts) -> Option<String> {
    let Some(program) = facts.bwrap.clone() else {
        return Some("bubblewrap is not installed".to_owned());
    };
    let view = |at: &str, what| View { at: at.into(), what };
    let shown = |path: &str| view(path, Seen::Shown(PathBuf::from(path)));
    let views = vec![
        shown("/"),
        view("/dev", Seen::Devices),
        view("/dev/shm", Seen::Memory(Some(1 << 20))),
        view("/proc", Seen::Processes),
    ];
    let own_users = !facts.is_privileged;
    let rooms = Rooms { bwrap: program, own_users, network: RoomNetwork::Machine, views };
    let tried = Command::new(&rooms.bwrap)
        .args(bwrap::arguments(&rooms))
        .args(["--", "/usr/bin/env", "true"])
        .env_clear()
        .stdin(Stdio::null())
        .output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            Some(if words.is_empty() { output.status.to_string() } else { words })
        }
        Err(error) => Some(error.to_string()),
    }
}
