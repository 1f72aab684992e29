//! micromamba, mamba or conda, where this machine has one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use snapshots::path_error::IoContext;

use super::Order;
use crate::builder::steps::Steps;
use crate::builder::{BuildError, FailureCause, Watch, Workshop, variables, venv};

/// By preference: the first two are one program, which solves in seconds.
const NAMES: &[&str] = &["micromamba", "mamba", "conda"];

/// What the tools are asked for: specs, or the lock of an earlier build.
const PACKAGES: &str = "conda-packages.txt";

/// Never given: they send packages elsewhere or say which environment is active.
const DIVERTING: &[&str] = &[
    "CONDA_DEFAULT_ENV",
    "CONDA_ENVS_DIRS",
    "CONDA_ENVS_PATH",
    "CONDA_PKGS_DIRS",
    "CONDA_PREFIX",
    "CONDA_PROMPT_MODIFIER",
    "CONDA_SHLVL",
    "CONDA_SUBDIR",
    "MAMBA_ROOT_PREFIX",
];

/// A tool that was found.
pub(super) struct Tool {
    name: &'static str,
    path: PathBuf,
}

/// Finds one on the host's `PATH`, else among the agent's tools.
pub(super) fn find(workshop: &Workshop<'_>) -> Option<Tool> {
    NAMES.iter().find_map(|name| {
        let path = venv::find_tool(name, workshop.host, workshop.tools)?;
        Some(Tool { name, path })
    })
}

impl Tool {
    /// Makes the environment; returns the tool's name and version.
    pub(super) fn create(
        &self,
        workshop: &Workshop<'_>,
        order: &Order<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<String, BuildError> {
        let list = workshop.directory.join(PACKAGES);
        fs::write(&list, packages(order)).context("write", &list)?;
        let mut steps = Steps::new(workshop.directory, "", self.environment(order), watch);
        let version = self.version(&mut steps);
        let mut arguments: Vec<&OsStr> =
            ["create", "--yes", "--prefix"].iter().map(OsStr::new).collect();
        arguments.push(order.prefix.as_os_str());
        if self.name == "conda" {
            // Its bars are for terminals.
            arguments.push("--quiet".as_ref());
        }
        arguments.push("--override-channels".as_ref());
        for channel in &order.channels {
            arguments.extend([OsStr::new("--channel"), channel.as_ref()]);
        }
        arguments.extend([OsStr::new("--file"), Path::new(PACKAGES).as_os_str()]);
        let made = steps.step(self.name, "make the conda environment", &self.path, &arguments);
        made.map_err(without_network_means_channels)?;
        Ok(version)
    }

    fn version(&self, steps: &mut Steps<'_, '_>) -> String {
        let said = steps.said(&self.path, &["--version"]).unwrap_or_default();
        // `conda 24.1.2`, `mamba 1.5.8` and what it is based on, or the number alone.
        match said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit())) {
            Some(number) => format!("{} {number}", self.name),
            None => self.name.to_owned(),
        }
    }

    fn environment(&self, order: &Order<'_>) -> BTreeMap<OsString, OsString> {
        let mut given = variables::of_host(order.host);
        for (name, value) in order.host.iter() {
            let text = name.to_string_lossy();
            let is_ours = text.starts_with("CONDA_") || text.starts_with("MAMBA_");
            if is_ours && !DIVERTING.contains(&text.as_ref()) {
                given.insert(name.to_owned(), value.to_owned());
            }
        }
        given.insert("CONDA_PKGS_DIRS".into(), order.cache.join("tool").into());
        given.insert("MAMBA_ROOT_PREFIX".into(), order.cache.join("root").into());
        given
    }
}

/// Returns the file that says what is wanted.
fn packages(order: &Order<'_>) -> String {
    if let Some(lock) = order.explicit {
        return lock.to_owned();
    }
    let mut text = String::new();
    for spec in &order.specs {
        if let Some(channel) = &spec.channel {
            text += &format!("{channel}::");
        }
        text += &format!("{}\n", spec.text);
    }
    if order.add_pip {
        text += "pip\n";
    }
    text
}

fn without_network_means_channels(error: BuildError) -> BuildError {
    match error {
        BuildError::Failed(mut failed) if failed.cause == FailureCause::NoNetwork => {
            failed.cause = FailureCause::NoChannel;
            BuildError::Failed(failed)
        }
        other => other,
    }
}
