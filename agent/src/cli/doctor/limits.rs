//! The limits of runs outside of containers: which cgroups these get, and how to get more.

use runner::sandbox::cgroup::{Controller, Place, Version, places};

use super::Finding;
use crate::cli::Context;
use crate::client::Start;

const NAME: &str = "limits";

/// Looks at the cgroup of the agent that starts this user's runs; without one, at our own, which
/// it would be started from.
pub(super) fn look(context: &Context) -> Finding {
    let user = rustix::process::geteuid();
    let agent = context.agent(Start::Never).ok();
    let agent = agent.filter(|(_, status)| status.uid == user.as_raw());
    let pid = agent.and_then(|(_, status)| i32::try_from(status.pid).ok());
    match places(pid, &Controller::ALL) {
        Ok(places) => finding(&places, user.is_root()),
        Err(error) => Finding::missing(NAME, error.to_string(), "mount /proc"),
    }
}

/// Says what runs get in `places`.
fn finding(places: &[Place], is_root: bool) -> Finding {
    let has = |it: &Controller| places.iter().any(|place| place.controllers.contains(it));
    let (held, lost): (Vec<_>, Vec<_>) = Controller::ALL.into_iter().partition(has);
    let version = places.iter().filter(|it| !it.controllers.is_empty()).map(|it| it.version).min();
    let by = match version {
        Some(Version::V1) => "cgroups of version 1",
        Some(Version::V2) => "cgroups of version 2",
        None => "no cgroups",
    };
    if lost.is_empty() {
        return Finding::good(NAME, format!("on {}, by {by}", list(&held)));
    }
    let found = format!("none on {} outside of containers ({by})", list(&lost));
    Finding::missing(NAME, found, advice(&held, is_root))
}

/// Says how to get what is missing.
fn advice(held: &[Controller], is_root: bool) -> &'static str {
    match (is_root, held.is_empty()) {
        (true, _) => {
            "mount the cgroups that are missing at /sys/fs/cgroup, so that root may write there"
        }
        // As systemd has it unless it is told: users get memory and pids.
        (false, false) => {
            "have systemd give users the rest: `Delegate=cpu memory pids` in a drop-in of \
             user@.service, or in the agent's own service"
        }
        (false, true) => {
            "on cgroups of version 2, start the agent where they are yours: `trainyard agent stop`, \
             then `systemd-run --user --unit=trainyard trainyard agent run` (`loginctl \
             enable-linger` keeps it when you log out); a system service wants Delegate=yes and \
             DelegateSubgroup=agent. Those of version 1 are root's"
        }
    }
}

fn list(controllers: &[Controller]) -> String {
    let name = |controller: &Controller| match controller {
        Controller::Memory => "memory",
        Controller::Cpu => "processor time",
        Controller::Pids => "processes",
    };
    controllers.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(version: Version, controllers: &[Controller]) -> Place {
        Place { version, path: "/sys/fs/cgroup".into(), controllers: controllers.to_vec() }
    }

    #[test]
    fn what_is_missing_comes_with_how_to_get_it() {
        use Controller::{Cpu, Memory, Pids};
        let whole = [place(Version::V2, &Controller::ALL)];
        // Of both versions at once, where only the kill is of the second.
        let old = [
            place(Version::V2, &[]),
            place(Version::V1, &[Memory]),
            place(Version::V1, &[Cpu, Pids]),
        ];
        let user = [place(Version::V2, &[Memory, Pids])];
        let mut text = String::new();
        for (places, is_root) in
            [(&whole[..], false), (&old, true), (&user, false), (&[], false), (&[], true)]
        {
            let Finding { found, advice, .. } = finding(places, is_root);
            text += &format!("{found}\n  → {}\n", advice.unwrap_or_default());
        }
        insta::assert_snapshot!(text, @"
        on memory, processor time, processes, by cgroups of version 2
          → 
        on memory, processor time, processes, by cgroups of version 1
          → 
        none on processor time outside of containers (cgroups of version 2)
          → have systemd give users the rest: `Delegate=cpu memory pids` in a drop-in of user@.service, or in the agent's own service
        none on memory, processor time, processes outside of containers (no cgroups)
          → on cgroups of version 2, start the agent where they are yours: `trainyard agent stop`, then `systemd-run --user --unit=trainyard trainyard agent run` (`loginctl enable-linger` keeps it when you log out); a system service wants Delegate=yes and DelegateSubgroup=agent. Those of version 1 are root's
        none on memory, processor time, processes outside of containers (no cgroups)
          → mount the cgroups that are missing at /sys/fs/cgroup, so that root may write there
        ");
    }
}
