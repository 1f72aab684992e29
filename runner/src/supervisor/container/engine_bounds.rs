//! What an engine does not do for a run: write as another user, or keep a limit. Pure.

use images::engine::EngineFacts;

use super::ContainerError;
use crate::container::ContainerLaunch;
use crate::sandbox::cgroup::{Confinement, Holder, ProcessLimits};
use crate::supervisor::events::Event;

/// Without root an engine's own user is root within its containers. What any other user of a
/// container writes belongs to a number that nobody has, and cannot write the run's directory.
const ROOT_WITHIN: &str = "0:0";

/// Returns who the script is within its container.
pub(super) fn user(container: &ContainerLaunch, facts: &EngineFacts) -> String {
    if facts.rootless { ROOT_WITHIN.to_owned() } else { container.user.clone() }
}

/// Refuses an engine without root that is another user's: it may neither look into the directories
/// of `own_uid` nor write there. Where its user is not known, the engine itself says so.
pub(super) fn check_owner(facts: &EngineFacts, own_uid: u32) -> Result<(), ContainerError> {
    match facts.owner.filter(|&owner| facts.rootless && owner != own_uid) {
        Some(owner) => Err(ContainerError::EngineOfAnother {
            address: facts.address.clone(),
            owner,
            user: own_uid,
        }),
        None => Ok(()),
    }
}

/// Returns what is asked for without the limits that the engine takes and forgets, or refuses.
pub(super) fn kept_limits(container: &ContainerLaunch, facts: &EngineFacts) -> ContainerLaunch {
    let kept = facts.limits;
    let memory = |bytes: Option<u64>| bytes.filter(|_| kept.memory);
    ContainerLaunch {
        memory_bytes: memory(container.memory_bytes),
        memory_and_swap_bytes: memory(container.memory_and_swap_bytes),
        cpus: container.cpus.filter(|_| kept.cpus),
        cpuset: container.cpuset.clone().filter(|_| kept.cpuset),
        pids: container.pids.filter(|_| kept.pids),
        ..container.clone()
    }
}

/// Says what holds the container's processes together, with the limits that it has.
pub(super) fn confinement(container: &ContainerLaunch, facts: &EngineFacts) -> Confinement {
    let ContainerLaunch { memory_bytes, cpus, pids, .. } = kept_limits(container, facts);
    let limits = ProcessLimits { memory_bytes, cpus, pids };
    Confinement { limits, lost: lost(container, facts), ..Confinement::by(Holder::Container) }
}

/// Says which limits that the run was to have do not hold, if any.
pub(super) fn lost_limits(container: &ContainerLaunch, facts: &EngineFacts) -> Option<Event> {
    let limits = lost(container, facts);
    (!limits.is_empty()).then_some(Event::LimitsLost { limits })
}

fn lost(container: &ContainerLaunch, facts: &EngineFacts) -> Vec<String> {
    let kept = kept_limits(container, facts);
    let lost = [
        ("memory", kept.memory_bytes == container.memory_bytes),
        ("processor time", kept.cpus == container.cpus),
        ("which processors", kept.cpuset == container.cpuset),
        ("processes", kept.pids == container.pids),
    ];
    lost.iter().filter(|(_, holds)| !holds).map(|(name, _)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use images::engine::EngineLimits;

    use super::*;
    use crate::supervisor::container::specification::tests::facts;

    const NONE: EngineLimits =
        EngineLimits { memory: false, cpus: false, cpuset: false, pids: false };

    fn asked() -> ContainerLaunch {
        ContainerLaunch {
            user: "1000:1000".to_owned(),
            memory_bytes: Some(1 << 20),
            memory_and_swap_bytes: Some(1 << 21),
            cpus: Some(1.5),
            pids: Some(4096),
            ..ContainerLaunch::default()
        }
    }

    #[test]
    fn root_of_an_engine_without_root_is_its_user() {
        assert_eq!(user(&asked(), &facts(true)), "0:0");
        assert_eq!(user(&asked(), &facts(false)), "1000:1000");
    }

    #[test]
    fn an_engine_without_root_serves_its_own_user_only() {
        let of = |rootless, owner| EngineFacts { owner, ..facts(rootless) };
        for (facts, serves) in [
            (of(true, Some(1000)), true),
            (of(true, Some(1001)), false),
            (of(true, Some(0)), false),
            (of(true, None), true),
            (of(false, Some(0)), true),
        ] {
            assert_eq!(check_owner(&facts, 1000).is_ok(), serves, "{facts:?}");
        }
        let refused = check_owner(&of(true, Some(1001)), 0).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the container engine at unix:///s runs without root as the user 1001: it cannot write \
             the files of the user 0"
        );
        assert!(refused.hint().is_some());
    }

    #[test]
    fn limits_that_do_not_hold_are_left_out_and_said() {
        let facts = |limits| EngineFacts { limits, ..facts(true) };
        let all = facts(EngineLimits::ALL);
        assert_eq!((kept_limits(&asked(), &all), lost_limits(&asked(), &all)), (asked(), None));

        let none = facts(NONE);
        let kept = kept_limits(&asked(), &none);
        let left = (kept.memory_bytes, kept.memory_and_swap_bytes, kept.cpus, kept.pids);
        assert_eq!(left, (None, None, None, None));
        let said = lost_limits(&asked(), &none).and_then(|event| event.warning());
        assert_eq!(
            said.as_deref(),
            Some(
                "the container has no limit on memory, processor time, processes: its engine can \
                 set none (`trainyard doctor` says why)"
            )
        );
        assert_eq!(lost_limits(&ContainerLaunch::default(), &none), None, "nothing was asked for");

        // As a user has it on cgroups of version 2 as a rule.
        let some = facts(EngineLimits { cpus: false, cpuset: false, ..EngineLimits::ALL });
        let limits = vec!["processor time".to_owned()];
        assert_eq!(lost_limits(&asked(), &some), Some(Event::LimitsLost { limits }));
    }
}
