//! The run configuration: what is to be run, from the command line or a file.
//!
//! A file is read by [`load`](fn@load), flags are laid over it by [`RunConfiguration::overlaid`],
//! [`RunConfiguration::validate`] says what is wrong with the whole, and [`not_yet`](fn@not_yet) what is right
//! but beyond this version. Nothing that was asked for is ever left out in silence: a key either
//! has its effect, or is named in a [`Note`], or is refused.

use crate::sandbox::policy::{Mount, SandboxMode};
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::container::ContainerOptions;

mod command_job_v2;
mod docker_choice;
pub mod duration;
mod environment_choice;
mod environment_file;
mod error;
mod load;
mod not_yet;
mod note;
mod overrides;
mod own_keys;
mod reading;
mod resources;
mod retry_policy;
mod runconfig_v1;
pub mod size;
mod validation;

pub use docker_choice::{DockerBaseChoice, DockerChoice, PackagesChoice, Password, RegistryChoice};
pub use environment_choice::{CondaChoice, EnvironmentChoice};
pub use environment_file::{LoadedEnvironment, SAVED_ENVIRONMENT, load_environment};
pub use error::ConfigurationError;
pub use images::yaml::{self, Problem};
pub use load::{Loaded, load};
pub use not_yet::{NotYet, NotYetItem, not_yet};
pub use note::Note;
pub use overrides::Overrides;
pub use resources::{Distribution, InvalidResources, Network, Resources};
pub use retry_policy::{
    InvalidRetryPolicy, LONGEST_DELAY_SECONDS, MOST_RETRIES, RetryOn, RetryPolicy,
};
pub use validation::{InvalidConfiguration, check_experiment_name};

/// The compute target that every workspace has: this machine.
pub const LOCAL_TARGET: &str = "local";

/// What is to be run, resolved from a file and the command line.
///
/// Exactly one of `script` and `command` is set in a valid one.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RunConfiguration {
    /// The Python script, relative to the source directory.
    pub script: Option<String>,
    /// A line for `/bin/sh -c`, in place of a script.
    pub command: Option<String>,
    /// The script's arguments, exactly as it gets them.
    pub arguments: Vec<String>,
    /// The name of the compute target.
    pub target: String,
    /// The environment that was asked for.
    pub environment: EnvironmentChoice,
    /// What is asked of the container, where the environment is one.
    pub container: ContainerOptions,
    /// Variables set for the script.
    pub environment_variables: BTreeMap<String, String>,
    /// The experiment; `None` means the source directory's name.
    pub experiment: Option<String>,
    /// The name shown to people; `None` means one is made up.
    pub display_name: Option<String>,
    /// What the run is for, in the user's words.
    pub description: Option<String>,
    /// Tags recorded on the run.
    pub tags: BTreeMap<String, String>,
    /// Properties recorded on the run.
    pub properties: BTreeMap<String, String>,
    /// Seconds after which the run is ended; `None` means never.
    pub timeout_seconds: Option<u64>,
    /// Seconds between asking a run to end and ending it; `None` means the default.
    pub grace_seconds: Option<u64>,
    /// What the run may use of the machine.
    pub resources: Resources,
    /// What of the network the run may reach; `None` is what the agent lets its user reach.
    pub network: Option<Network>,
    /// How much it is kept from, outside of a container; `None` is what the agent does with all.
    pub sandbox: Option<SandboxMode>,
    /// What it is shown of the machine in a sandbox.
    pub mounts: Vec<Mount>,
    /// How many processes on how many machines; `None` means one on one.
    pub distribution: Option<Distribution>,
    /// Remote data that the run reads or writes, as the file names it.
    pub remote_data: Vec<String>,
    /// Interactive services that the run offers, as the file names them.
    pub services: Vec<String>,
    /// How it is tried again; `None` means never.
    pub retry: Option<RetryPolicy>,
    /// Place in the queue: higher goes first.
    pub priority: i32,
    /// The runs that must have completed before this one starts.
    pub after: Vec<String>,
    /// The runs that must be over before this one starts, however they end.
    pub after_any: Vec<String>,
    /// Whether it waits until somebody releases it.
    pub held: bool,
}

impl Default for RunConfiguration {
    fn default() -> Self {
        Self {
            script: None,
            command: None,
            arguments: Vec::new(),
            target: LOCAL_TARGET.to_owned(),
            environment: EnvironmentChoice::Default,
            container: ContainerOptions::default(),
            environment_variables: BTreeMap::new(),
            experiment: None,
            display_name: None,
            description: None,
            tags: BTreeMap::new(),
            properties: BTreeMap::new(),
            timeout_seconds: None,
            grace_seconds: None,
            resources: Resources::default(),
            network: None,
            sandbox: None,
            mounts: Vec::new(),
            distribution: None,
            remote_data: Vec::new(),
            services: Vec::new(),
            retry: None,
            priority: 0,
            after: Vec::new(),
            after_any: Vec::new(),
            held: false,
        }
    }
}

/// Shows the names of the environment variables only: a value may be a secret.
impl std::fmt::Debug for RunConfiguration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunConfiguration")
            .field("script", &self.script)
            .field("command", &self.command)
            .field("arguments", &self.arguments)
            .field("target", &self.target)
            .field("environment", &self.environment)
            .field("environment_variables", &self.environment_variables.keys())
            .field("experiment", &self.experiment)
            .field("display_name", &self.display_name)
            .field("timeout_seconds", &self.timeout_seconds)
            .finish_non_exhaustive()
    }
}

/// Where a configuration came from, for messages: a file and a line in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}
