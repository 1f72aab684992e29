//! What a run's container may be: checked, and worked out from what was asked. Pure.

use std::collections::BTreeMap;

use images::engine::Mount;
use images::environment::PreparedImage;
use serde::{Deserialize, Serialize};

use crate::run_configuration::{Network, Resources};
use crate::run_id::RunId;

/// Where the run's working directory is within its container, as in Azure ML.
pub const WORKING_DIRECTORY: &str = "/azureml-run";

/// What a run asks of its container besides its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ContainerOptions {
    /// Arguments as for `docker run`, of which some are allowed.
    pub arguments: Vec<String>,
    /// Bytes of `/dev/shm`. Default: 2 GiB, as in Azure ML.
    pub shm_bytes: Option<u64>,
}

/// What the administrator allows containers beyond the default, by name, as `--privileged` or
/// `--volume=/data`: `[docker] allow` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerPolicy {
    /// The names.
    pub allowed: Vec<String>,
}

/// All that decides what a container is.
#[derive(Clone, Copy, Debug)]
pub struct ContainerRequest<'a> {
    /// What was asked of the container.
    pub options: &'a ContainerOptions,
    /// The limits of the run.
    pub resources: &'a Resources,
    /// What of the network it may reach.
    pub network: Network,
    /// What is allowed.
    pub policy: &'a ContainerPolicy,
}

/// What may not be asked of a container.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{argument}: {why}")]
pub struct ContainerRefused {
    /// What was asked.
    pub argument: String,
    /// Why not.
    pub why: String,
    /// What to do instead.
    pub hint: String,
}

/// A container as it may be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerPlan {
    /// How many GPUs it gets.
    pub gpus: u32,
    launch: ContainerLaunch,
}

/// What the supervisor needs to know of a run's container. Part of `launch.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ContainerLaunch {
    /// The image's id.
    pub image: String,
    /// What people call the image.
    pub reference: String,
    /// As `linux/amd64`.
    pub platform: Option<String>,
    /// The container's name, derived from the run id.
    pub name: String,
    /// As `1000:1000`.
    pub user: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What of this machine it sees besides its working directory.
    pub mounts: Vec<Mount>,
    /// UUIDs of its GPUs.
    pub gpus: Vec<String>,
    // The owner of this file adds the rest.
}

/// Works out what the container is.
///
/// # Errors
///
/// Something was asked for that could reach the machine, or that makes no sense.
pub fn plan(request: &ContainerRequest<'_>) -> Result<ContainerPlan, ContainerRefused> {
    let _ = request;
    todo!()
}

impl ContainerPlan {
    /// Completes it for one run. `home` is the state directory, for a label; `user` is `uid:gid`.
    #[must_use]
    pub fn launch(
        self,
        run: &RunId,
        image: &PreparedImage,
        user: &str,
        home: &str,
        gpus: Vec<String>,
    ) -> ContainerLaunch {
        let _ = (run, image, user, home, gpus);
        todo!()
    }
}
