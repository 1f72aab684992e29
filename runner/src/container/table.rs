//! Which options of `docker run` there are, and what becomes of each.

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// It is done.
    Taken,
    /// It is left out, with a note that says why.
    Passed(&'static str),
    /// It is refused unless the administrator allows it: why, and what to do instead.
    Guarded(&'static str, &'static str),
    /// It is refused: why, and what to do instead.
    Refused(&'static str, &'static str),
}

/// One option of `docker run`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Its long name, with the dashes.
    pub(super) name: &'static str,
    /// Its letter, if it has one.
    pub(super) letter: Option<char>,
    /// Whether it stands alone or needs a value.
    pub(super) flag: bool,
    /// What becomes of it.
    pub(super) rule: Rule,
}

const OURS: &str = "the container is named, followed and removed by Trainyard";
const NO_LOG_DRIVER: &str = "output goes into the run's own log";
const REACHES_HOST: &str = "it lets the container reach the machine it runs on";
const NOT_HERE: &str = "it is not supported, since it reaches beyond the container";
const LEAVE_OUT: &str = "leave it out";

const fn value(name: &'static str, letter: Option<char>, rule: Rule) -> Known {
    Known { name, letter, flag: false, rule }
}

const fn flag(name: &'static str, letter: Option<char>, rule: Rule) -> Known {
    Known { name, letter, flag: true, rule }
}

/// Every option that is known. Any other is refused, since it is not known to be harmless.
pub(super) const OPTIONS: &[Known] = &[
    value("--add-host", None, Rule::Taken),
    value("--cpus", None, Rule::Taken),
    value("--cpuset-cpus", None, Rule::Taken),
    value("--env", Some('e'), Rule::Taken),
    value("--gpus", None, Rule::Taken),
    value("--hostname", Some('h'), Rule::Taken),
    flag("--init", None, Rule::Taken),
    value("--ipc", None, Rule::Taken),
    value("--memory", Some('m'), Rule::Taken),
    value("--memory-swap", None, Rule::Taken),
    value("--mount", None, Rule::Taken),
    value("--network", None, Rule::Taken),
    value("--net", None, Rule::Taken),
    value("--pid", None, Rule::Taken),
    value("--pids-limit", None, Rule::Taken),
    value("--platform", None, Rule::Taken),
    flag("--read-only", None, Rule::Taken),
    value("--shm-size", None, Rule::Taken),
    value("--tmpfs", None, Rule::Taken),
    value("--ulimit", None, Rule::Taken),
    value("--volume", Some('v'), Rule::Taken),
    // Left out.
    flag("--detach", Some('d'), Rule::Passed(OURS)),
    flag("--interactive", Some('i'), Rule::Passed("a run reads no input")),
    value("--label", Some('l'), Rule::Passed("the run's tags are the place for labels")),
    value("--log-driver", None, Rule::Passed(NO_LOG_DRIVER)),
    value("--log-opt", None, Rule::Passed(NO_LOG_DRIVER)),
    value("--name", None, Rule::Passed(OURS)),
    value("--pull", None, Rule::Passed("--fresh asks for the newest image")),
    flag("--rm", None, Rule::Passed(OURS)),
    value("--stop-signal", None, Rule::Passed("a run that is to end gets TERM")),
    value("--stop-timeout", None, Rule::Passed("the run's grace time is the one that counts")),
    flag("--tty", Some('t'), Rule::Passed("a run has no terminal")),
    // What the administrator can allow by name.
    value("--cap-add", None, Rule::Guarded(REACHES_HOST, LEAVE_OUT)),
    value("--device", None, Rule::Guarded(REACHES_HOST, "ask for GPUs with --gpus")),
    flag("--privileged", None, Rule::Guarded(REACHES_HOST, LEAVE_OUT)),
    value("--security-opt", None, Rule::Guarded(REACHES_HOST, LEAVE_OUT)),
    value(
        "--user",
        Some('u'),
        Rule::Guarded(
            "the run's files would belong to somebody else",
            "leave it out: a run has the user who submitted it",
        ),
    ),
    // What nobody can allow.
    value("--cgroup-parent", None, Rule::Refused(NOT_HERE, LEAVE_OUT)),
    value("--cgroupns", None, Rule::Refused(NOT_HERE, LEAVE_OUT)),
    value("--device-cgroup-rule", None, Rule::Refused(NOT_HERE, LEAVE_OUT)),
    value(
        "--entrypoint",
        None,
        Rule::Refused("the run says what is started", "name the script or give a command"),
    ),
    value(
        "--env-file",
        None,
        Rule::Refused(
            "it would be read on the machine of the agent",
            "give the variables one by one with --env-var",
        ),
    ),
    value("--group-add", None, Rule::Refused(NOT_HERE, LEAVE_OUT)),
    value("--publish", Some('p'), Rule::Refused("it opens a port of the machine", LEAVE_OUT)),
    flag("--publish-all", Some('P'), Rule::Refused("it opens ports of the machine", LEAVE_OUT)),
    value(
        "--restart",
        None,
        Rule::Refused("a container is started once", "ask for retries with --retries"),
    ),
    value("--runtime", None, Rule::Refused(NOT_HERE, "ask for GPUs with --gpus")),
    value("--sysctl", None, Rule::Refused(NOT_HERE, LEAVE_OUT)),
    value("--userns", None, Rule::Refused(NOT_HERE, LEAVE_OUT)),
    value("--uts", None, Rule::Refused(NOT_HERE, LEAVE_OUT)),
    value("--volume-driver", None, Rule::Refused(NOT_HERE, LEAVE_OUT)),
    value("--volumes-from", None, Rule::Refused(NOT_HERE, "name the directories with --volume")),
    value(
        "--workdir",
        Some('w'),
        Rule::Refused(
            "a run starts in its working directory",
            "change the directory in the script",
        ),
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_option_is_known_once() {
        let names: BTreeSet<_> = OPTIONS.iter().map(|known| known.name).collect();
        let letters: Vec<_> = OPTIONS.iter().filter_map(|known| known.letter).collect();
        let distinct: BTreeSet<_> = letters.iter().collect();

        assert_eq!(names.len(), OPTIONS.len());
        assert_eq!(distinct.len(), letters.len());
    }
}
