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
        write!(f, "this version does not yet execute {}", asked.join("; "))
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
            refuse(items, "conda environments (environment.python.condaDependencies)", PYTHON);
        }
        EnvironmentChoice::Docker(docker) => {
            let image = docker.image.as_deref().map_or("built from a Dockerfile", |image| image);
            refuse(items, format!("Docker containers (image {image})"), PYTHON);
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
        refuse(items, "priorities (--priority)", "Runs start in the order they were submitted");
    }
    if configuration.after.is_some() {
        refuse(items, "runs that wait for others (--after)", "Submit it after trainyard wait");
    }
}
