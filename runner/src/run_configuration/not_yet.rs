//! What is asked for correctly and not executed by this version: refused, never left out.

use std::fmt;

use super::{Distribution, EnvironmentChoice, LOCAL_TARGET, Network, RunConfiguration};

/// One thing that was asked for and that this version does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotYetItem {
    /// What was asked for, by the key or the flag that asks for it.
    pub asked: String,
    /// What can be done instead: a sentence without its full stop.
    pub instead: String,
}

/// A configuration asks for things that this version does not execute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NotYet {
    /// What they are; never empty.
    pub items: Vec<NotYetItem>,
}

impl fmt::Display for NotYet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked: Vec<_> = self.items.iter().map(|item| item.asked.as_str()).collect();
        write!(f, "not yet in this version: {}", asked.join("; "))
    }
}

impl NotYet {
    /// Returns what to do next, one sentence for each thing.
    #[must_use]
    pub fn hint(&self) -> String {
        let mut sentences: Vec<&str> = Vec::new();
        for item in &self.items {
            if !sentences.contains(&item.instead.as_str()) {
                sentences.push(&item.instead);
            }
        }
        sentences.iter().map(|sentence| format!("{sentence}.")).collect::<Vec<_>>().join(" ")
    }
}

/// Refuses what this version does not execute.
///
/// Call it after the flags have been laid over a file: `--python`, `--env` or `--target local`
/// may have replaced what could not be done.
///
/// # Errors
///
/// Names every such thing at once, with what to do instead.
pub fn not_yet(configuration: &RunConfiguration) -> Result<(), NotYet> {
    let mut items = Vec::new();
    target(configuration, &mut items);
    environment(&configuration.environment, &mut items);
    distribution(configuration, &mut items);
    data_and_services(configuration, &mut items);
    limits(configuration, &mut items);
    scheduling(configuration, &mut items);
    if items.is_empty() { Ok(()) } else { Err(NotYet { items }) }
}

fn refuse(items: &mut Vec<NotYetItem>, asked: impl Into<String>, instead: &str) {
    items.push(NotYetItem { asked: asked.into(), instead: instead.to_owned() });
}

fn target(configuration: &RunConfiguration, items: &mut Vec<NotYetItem>) {
    if configuration.target != LOCAL_TARGET {
        let asked =
            format!("a compute target other than local (target {:?})", configuration.target);
        refuse(items, asked, "Run it on this machine with --target local");
    }
}

fn environment(choice: &EnvironmentChoice, items: &mut Vec<NotYetItem>) {
    const PYTHON: &str = "Use --python PATH for a Python that has the packages, or --env requirements.txt to have them installed";
    match choice {
        EnvironmentChoice::Default
        | EnvironmentChoice::CurrentPython
        | EnvironmentChoice::Interpreter { .. }
        | EnvironmentChoice::File { .. } => {}
        EnvironmentChoice::Named { name, version } => {
            let version = version.as_ref().map(|v| format!(":{v}")).unwrap_or_default();
            refuse(
                items,
                format!("registered environments ({:?})", format!("{name}{version}")),
                PYTHON,
            );
        }
        EnvironmentChoice::Conda { file: Some(file) } => {
            refuse(items, format!("conda environments ({})", file.display()), PYTHON);
        }
        EnvironmentChoice::Conda { file: None } => {
            refuse(items, "conda environments (packages listed in the file itself)", PYTHON);
        }
        EnvironmentChoice::Docker(docker) => {
            let image = docker.image.as_ref().map(|image| format!(" (image {image})"));
            refuse(items, format!("Docker containers{}", image.unwrap_or_default()), PYTHON);
        }
    }
}

fn distribution(configuration: &RunConfiguration, items: &mut Vec<NotYetItem>) {
    let Some(Distribution { launcher, node_count, process_count }) = &configuration.distribution
    else {
        return;
    };
    let nodes = if *node_count == 1 { "1 node".to_owned() } else { format!("{node_count} nodes") };
    let asked = match process_count {
        Some(count) => format!("distributed runs ({launcher}, {count} processes on {nodes})"),
        None => format!("distributed runs ({launcher} on {nodes})"),
    };
    refuse(items, asked, "Ask for one process on one node, started by Python itself");
}

fn data_and_services(configuration: &RunConfiguration, items: &mut Vec<NotYetItem>) {
    if !configuration.remote_data.is_empty() {
        refuse(
            items,
            format!("data from a datastore ({})", configuration.remote_data.join(", ")),
            "Put the data on this machine and give the script its path",
        );
    }
    if !configuration.services.is_empty() {
        refuse(
            items,
            format!("interactive services ({})", configuration.services.join(", ")),
            "Take them out of the file",
        );
    }
}

fn limits(configuration: &RunConfiguration, items: &mut Vec<NotYetItem>) {
    let wanted = &configuration.resources;
    let flags = [
        ("--cpus", wanted.cpus.is_some()),
        ("--memory", wanted.memory_bytes.is_some()),
        ("--pids", wanted.pids.is_some()),
        ("--disk", wanted.disk_bytes.is_some()),
        ("--shm-size", wanted.shm_bytes.is_some()),
    ];
    for (flag, given) in flags {
        if given {
            refuse(
                items,
                format!("limits on a run ({flag})"),
                "Leave the limits out: the run has what the machine has",
            );
        }
    }
    if wanted.gpus.is_some_and(|gpus| gpus > 0) {
        refuse(
            items,
            "giving GPUs to a run (--gpus)",
            "Leave --gpus out: the run sees every GPU; --env-var CUDA_VISIBLE_DEVICES=0 picks one",
        );
    }
    if configuration.network != Network::Full {
        refuse(
            items,
            format!("a narrower network (--network {})", configuration.network),
            "Leave --network out: the run has the whole network",
        );
    }
}

fn scheduling(configuration: &RunConfiguration, items: &mut Vec<NotYetItem>) {
    if configuration.retries > 0 {
        refuse(items, "trying again (--retries)", "Start a failed run again with trainyard rerun");
    }
    if configuration.priority != 0 {
        refuse(
            items,
            "priorities (--priority)",
            "Leave the priority out or say --priority 0: runs start in the order of their submission",
        );
    }
    if configuration.after.is_some() {
        refuse(items, "runs that wait for others (--after)", "Submit it after trainyard wait");
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::run_configuration::{DockerChoice, Resources};

    fn refusal(configuration: RunConfiguration) -> String {
        let refused = not_yet(&configuration).unwrap_err();
        format!("{refused}\n  hint: {}\n", refused.hint())
    }

    #[test]
    fn what_is_executed_is_let_through() {
        let choices = [
            EnvironmentChoice::Default,
            EnvironmentChoice::CurrentPython,
            EnvironmentChoice::Interpreter { path: PathBuf::from("/usr/bin/python3") },
            EnvironmentChoice::File { path: PathBuf::from("requirements.txt") },
        ];
        for environment in choices {
            let configuration = RunConfiguration { environment, ..RunConfiguration::default() };
            assert_eq!(not_yet(&configuration), Ok(()));
        }
    }

    type Change = fn(&mut RunConfiguration);

    /// Each asks for one thing that is not done yet, and the last two for more.
    const CHANGES: [Change; 22] = [
        |c| c.target = "vm".to_owned(),
        |c| c.environment = EnvironmentChoice::Named { name: "n".to_owned(), version: None },
        |c| c.environment = EnvironmentChoice::Conda { file: Some("c.yml".into()) },
        |c| c.environment = EnvironmentChoice::Conda { file: None },
        |c| c.environment = EnvironmentChoice::Docker(DockerChoice::default()),
        |c| {
            let image = Some("python:3.11".to_owned());
            let docker = DockerChoice { image, ..DockerChoice::default() };
            c.environment = EnvironmentChoice::Docker(docker);
        },
        |c| {
            let launcher = "mpi".to_owned();
            c.distribution = Some(Distribution { launcher, node_count: 1, process_count: Some(4) });
        },
        |c| c.remote_data = vec!["data.x".to_owned()],
        |c| c.services = vec!["services.x".to_owned()],
        |c| c.resources.cpus = Some(0.5),
        |c| c.resources.memory_bytes = Some(1),
        |c| c.resources.pids = Some(1),
        |c| c.resources.disk_bytes = Some(1),
        |c| c.resources.shm_bytes = Some(1),
        |c| c.resources.gpus = Some(1),
        |c| c.network = Network::None,
        |c| c.network = Network::Loopback,
        |c| c.retries = 1,
        |c| c.priority = -1,
        |c| c.after = Some("@".to_owned()),
        // Several at once are all named; what helps against all of them is said once.
        |c| {
            c.resources = Resources { pids: Some(1), disk_bytes: Some(1), ..Resources::default() };
        },
        |c| (c.target, c.retries) = ("vm".to_owned(), 2),
    ];

    #[test]
    fn every_thing_that_is_not_executed_is_refused_with_what_to_do() {
        let messages = CHANGES.map(|change| {
            let mut configuration = RunConfiguration::default();
            change(&mut configuration);
            refusal(configuration)
        });
        insta::assert_snapshot!(messages.concat(), @r#"
        not yet in this version: a compute target other than local (target "vm")
          hint: Run it on this machine with --target local.
        not yet in this version: registered environments ("n")
          hint: Use --python PATH for a Python that has the packages, or --env requirements.txt to have them installed.
        not yet in this version: conda environments (c.yml)
          hint: Use --python PATH for a Python that has the packages, or --env requirements.txt to have them installed.
        not yet in this version: conda environments (packages listed in the file itself)
          hint: Use --python PATH for a Python that has the packages, or --env requirements.txt to have them installed.
        not yet in this version: Docker containers
          hint: Use --python PATH for a Python that has the packages, or --env requirements.txt to have them installed.
        not yet in this version: Docker containers (image python:3.11)
          hint: Use --python PATH for a Python that has the packages, or --env requirements.txt to have them installed.
        not yet in this version: distributed runs (mpi, 4 processes on 1 node)
          hint: Ask for one process on one node, started by Python itself.
        not yet in this version: data from a datastore (data.x)
          hint: Put the data on this machine and give the script its path.
        not yet in this version: interactive services (services.x)
          hint: Take them out of the file.
        not yet in this version: limits on a run (--cpus)
          hint: Leave the limits out: the run has what the machine has.
        not yet in this version: limits on a run (--memory)
          hint: Leave the limits out: the run has what the machine has.
        not yet in this version: limits on a run (--pids)
          hint: Leave the limits out: the run has what the machine has.
        not yet in this version: limits on a run (--disk)
          hint: Leave the limits out: the run has what the machine has.
        not yet in this version: limits on a run (--shm-size)
          hint: Leave the limits out: the run has what the machine has.
        not yet in this version: giving GPUs to a run (--gpus)
          hint: Leave --gpus out: the run sees every GPU; --env-var CUDA_VISIBLE_DEVICES=0 picks one.
        not yet in this version: a narrower network (--network none)
          hint: Leave --network out: the run has the whole network.
        not yet in this version: a narrower network (--network loopback)
          hint: Leave --network out: the run has the whole network.
        not yet in this version: trying again (--retries)
          hint: Start a failed run again with trainyard rerun.
        not yet in this version: priorities (--priority)
          hint: Leave the priority out or say --priority 0: runs start in the order of their submission.
        not yet in this version: runs that wait for others (--after)
          hint: Submit it after trainyard wait.
        not yet in this version: limits on a run (--pids); limits on a run (--disk)
          hint: Leave the limits out: the run has what the machine has.
        not yet in this version: a compute target other than local (target "vm"); trying again (--retries)
          hint: Run it on this machine with --target local. Start a failed run again with trainyard rerun.
        "#);
    }

    #[test]
    fn no_gpus_at_all_can_be_asked_for() {
        let resources = Resources { gpus: Some(0), ..Resources::default() };
        let configuration = RunConfiguration { resources, ..RunConfiguration::default() };
        assert_eq!(not_yet(&configuration), Ok(()));
    }
}
