//! What is asked for correctly and not executed by this version: refused, never left out.

use std::fmt;

use super::{Distribution, DockerBaseChoice, EnvironmentChoice, RunConfiguration};

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
/// Call it after the flags have been laid over a file, since `--env` may have replaced what could
/// not be done.
///
/// # Errors
///
/// Names every such thing at once, with what to do instead.
pub fn not_yet(configuration: &RunConfiguration) -> Result<(), NotYet> {
    let mut items = Vec::new();
    environment(&configuration.environment, &mut items);
    distribution(configuration, &mut items);
    data_and_services(configuration, &mut items);
    if items.is_empty() { Ok(()) } else { Err(NotYet { items }) }
}

fn refuse(items: &mut Vec<NotYetItem>, asked: impl Into<String>, instead: &str) {
    items.push(NotYetItem { asked: asked.into(), instead: instead.to_owned() });
}

fn environment(choice: &EnvironmentChoice, items: &mut Vec<NotYetItem>) {
    if let EnvironmentChoice::Docker(docker) = choice
        && let DockerBaseChoice::Remote(location) = &docker.base
    {
        refuse(
            items,
            format!("build contexts that are not on this machine ({location})"),
            "Copy it here and name its Dockerfile with --env DIR/Dockerfile",
        );
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::run_configuration::{CondaChoice, DockerChoice, Network, Resources};

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
            EnvironmentChoice::named("sklearn:1"),
            EnvironmentChoice::Conda(CondaChoice::File(PathBuf::from("conda.yml"))),
            EnvironmentChoice::Docker(Box::new(DockerChoice::of_image("python:3.11"))),
        ];
        for environment in choices {
            let configuration = RunConfiguration { environment, ..RunConfiguration::default() };
            assert_eq!(not_yet(&configuration), Ok(()));
        }
    }

    type Change = fn(&mut RunConfiguration);

    /// Each asks for one thing that is not done yet, and the last for more.
    const CHANGES: [Change; 5] = [
        |c| {
            let remote = DockerBaseChoice::Remote("https://example.com/repo.git".to_owned());
            c.environment = EnvironmentChoice::Docker(Box::new(DockerChoice::of(remote)));
        },
        |c| {
            let launcher = "mpi".to_owned();
            c.distribution = Some(Distribution { launcher, node_count: 1, process_count: Some(4) });
        },
        |c| c.remote_data = vec!["data.x".to_owned()],
        |c| c.services = vec!["services.x".to_owned()],
        // Several at once are all named; what helps against all of them is said once.
        |c| {
            c.remote_data = vec!["data.x".to_owned()];
            c.services = vec!["services.x".to_owned()];
        },
    ];

    #[test]
    fn every_thing_that_is_not_executed_is_refused_with_what_to_do() {
        let messages = CHANGES.map(|change| {
            let mut configuration = RunConfiguration::default();
            change(&mut configuration);
            refusal(configuration)
        });
        insta::assert_snapshot!(messages.concat(), @r#"
        not yet in this version: build contexts that are not on this machine (https://example.com/repo.git)
          hint: Copy it here and name its Dockerfile with --env DIR/Dockerfile.
        not yet in this version: distributed runs (mpi, 4 processes on 1 node)
          hint: Ask for one process on one node, started by Python itself.
        not yet in this version: data from a datastore (data.x)
          hint: Put the data on this machine and give the script its path.
        not yet in this version: interactive services (services.x)
          hint: Take them out of the file.
        not yet in this version: data from a datastore (data.x); interactive services (services.x)
          hint: Put the data on this machine and give the script its path. Take them out of the file.
        "#);
    }

    #[test]
    fn a_run_has_limits() {
        let resources = Resources {
            cpus: Some(0.5),
            memory_bytes: Some(1),
            pids: Some(1),
            disk_bytes: Some(1),
            shm_bytes: Some(1),
            gpus: Some(1),
        };
        let network = Some(Network::None);
        let configuration = RunConfiguration { resources, network, ..RunConfiguration::default() };
        assert_eq!(not_yet(&configuration), Ok(()));
    }
}
