//! Accepting a run: checked, named, on the disk, queued.

use std::path::{Component, Path};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use runner::durable_file;
use runner::run_directory::RunDirectory;
use runner::run_id::{RunId, sanitise_experiment};
use snapshots::digest::Digest;
use snapshots::path_error::{IoContext, PathError};
use tracing::info;

use super::{display_name, workplace};
use crate::agent::Agent;
use crate::api::wire::submission::{SubmitRequest, Submitted};
use crate::store::{Accepted, NewRun, StoreError};
use crate::task;

/// The file in a run directory that holds the diff of the source.
pub(crate) const PATCH_FILE: &str = "system_logs/git.patch";

const LONGEST_NAME: usize = 255;

/// Why a run was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The request asks for what makes no sense.
    #[error("{message}")]
    Invalid {
        /// What is wrong with it.
        message: String,
    },
    /// The request asks for what cannot be done yet.
    #[error("{message}")]
    NotYet {
        /// What.
        message: String,
    },
    /// The agent does not have the source.
    #[error("the agent's store has no snapshot {snapshot}")]
    NoSnapshot {
        /// The snapshot.
        snapshot: Digest,
    },
    /// The object store cannot be asked.
    #[error(transparent)]
    Objects(#[from] snapshots::store::StoreError),
    /// What belongs to the run cannot be put into its directory.
    #[error(transparent)]
    Directory(#[from] PathError),
    /// The records said no.
    #[error(transparent)]
    Records(#[from] StoreError),
}

/// Accepts a run handed in by `uid`. It is on the disk when this returns, and will be run.
///
/// # Errors
///
/// Nothing was accepted.
pub(crate) async fn submit(
    agent: &Agent,
    uid: u32,
    key: Option<String>,
    request: SubmitRequest,
) -> Result<Submitted, Refused> {
    check(&request)?;
    let _objects_stay = agent.collecting.read().await;
    let (objects, snapshot) = (agent.objects.clone(), request.snapshot_id);
    if !task::blocking(move || objects.contains(&snapshot)).await? {
        return Err(Refused::NoSnapshot { snapshot });
    }
    let (run, sealed) = new_run(uid, key, request)?;
    let directory = agent.workspace.run_directory(&run.id);
    if !sealed.is_empty() {
        let directory = directory.clone();
        task::blocking(move || sealed.put_into(&directory)).await?;
    }
    let submitted =
        Submitted { run_id: run.id.to_string(), display_name: run.display_name.clone() };
    let (id, experiment) = (run.id.clone(), run.request.experiment.clone());
    match agent.store.submit(run).await {
        Ok(Accepted::New) => {
            info!(run = %id, uid, %experiment, "Accepted a run.");
            agent.live.publish(&id, super::status::RunStatus::Queued);
            agent.scheduler.enqueue(id);
            Ok(submitted)
        }
        Ok(Accepted::Before { id, display_name }) => {
            remove_unused(directory).await;
            Ok(Submitted { run_id: id.to_string(), display_name })
        }
        Err(error) => {
            remove_unused(directory).await;
            Err(error.into())
        }
    }
}

async fn remove_unused(directory: RunDirectory) {
    // Nothing refers to it; what cannot be removed now costs a few bytes.
    task::blocking(move || std::fs::remove_dir_all(directory.path()).ok()).await;
}

/// What a run needs that is not for the records: the values of secrets, and a patch that may be
/// large.
#[derive(Debug, Default)]
struct Sealed {
    secrets: std::collections::BTreeMap<String, String>,
    patch: Option<Vec<u8>>,
}

impl Sealed {
    fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.patch.is_none()
    }

    /// Puts it into the run directory, on the disk, before the run is accepted.
    fn put_into(&self, directory: &RunDirectory) -> Result<(), PathError> {
        workplace::create(directory)?;
        if !self.secrets.is_empty() {
            // The file is made with mode 0600, as temporary files are.
            durable_file::write_json(&directory.secrets_json(), &self.secrets)?;
        }
        if let Some(patch) = &self.patch {
            durable_file::write(&directory.path().join(PATCH_FILE), patch)?;
        }
        let runs = directory.path().parent().unwrap_or_else(|| Path::new("/"));
        std::fs::File::open(runs).and_then(|runs| runs.sync_all()).context("write to disk", runs)
    }
}

fn new_run(
    uid: u32,
    key: Option<String>,
    mut request: SubmitRequest,
) -> Result<(NewRun, Sealed), Refused> {
    let patch = request.git_patch.take().map(|patch| {
        BASE64_STANDARD
            .decode(patch)
            .map_err(|error| invalid(format!("gitPatch is not base64: {error}")))
    });
    let sealed = Sealed { secrets: request.secrets.0.clone(), patch: patch.transpose()? };
    for value in request.secrets.0.values_mut() {
        value.clear();
    }
    let idempotency = key.map(|key| {
        // Without the values of secrets: their digest would let others try guesses.
        let patch = sealed.patch.as_deref().map(Digest::of);
        (key, Digest::of(format!("{:?}{patch:?}", serde_json::to_string(&request)).as_bytes()))
    });
    let created = Timestamp::now();
    let seconds = u64::try_from(created.as_second()).unwrap_or_default();
    let display_name = match &request.display_name {
        Some(name) => name.clone(),
        None => display_name::made_up(rand::random()),
    };
    let run = NewRun {
        id: RunId::generate(&request.experiment, seconds, rand::random()),
        uid,
        display_name,
        command_line: command_line(&request),
        request,
        created,
        idempotency,
    };
    Ok((run, sealed))
}

/// What a run does, as one would type it.
fn command_line(request: &SubmitRequest) -> String {
    let first = request.command.iter().chain(&request.script);
    let quoted = |argument: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
        if !argument.is_empty() && argument.chars().all(plain) {
            argument.clone()
        } else {
            format!("'{}'", argument.replace('\'', r"'\''"))
        }
    };
    first.cloned().chain(request.arguments.iter().map(quoted)).collect::<Vec<_>>().join(" ")
}

fn invalid(message: impl Into<String>) -> Refused {
    Refused::Invalid { message: message.into() }
}

/// Checks what was asked. Pure.
fn check(request: &SubmitRequest) -> Result<(), Refused> {
    if request.experiment != sanitise_experiment(&request.experiment) {
        return Err(invalid(format!(
            "experiment {:?} must be letters, digits, `_` and `-`, and start with a letter or digit",
            request.experiment
        )));
    }
    let name_fits = |name: &str| {
        !name.trim().is_empty()
            && name.len() <= LONGEST_NAME
            && !name.contains(char::is_control)
            && name != "@"
    };
    if let Some(name) = &request.display_name
        && !name_fits(name)
    {
        return Err(invalid(format!(
            "display name {name:?} must be 1 to {LONGEST_NAME} bytes, without control characters"
        )));
    }
    match (&request.script, &request.command) {
        (Some(script), None) => check_script(script)?,
        (None, Some(command)) if !command.trim().is_empty() => {}
        (None, Some(_)) => return Err(invalid("the command is empty")),
        _ => return Err(invalid("a run has either a script or a command")),
    }
    if request.target != "local" {
        let message = format!("target {:?} is not there yet; only \"local\" is", request.target);
        return Err(Refused::NotYet { message });
    }
    let variables = request.environment_variables.0.iter().chain(&request.secrets.0);
    for (name, value) in variables {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(invalid(format!("{name:?} cannot be an environment variable")));
        }
    }
    let texts = request.arguments.iter().chain(&request.script).chain(&request.command);
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err(invalid("arguments cannot hold a NUL character"));
    }
    for (name, seconds) in
        [("timeoutSeconds", request.timeout_seconds), ("graceSeconds", request.grace_seconds)]
    {
        if let Some(seconds) = seconds
            && Duration::try_from_secs_f64(seconds).is_err()
        {
            return Err(invalid(format!("{name} is {seconds}, which is no time")));
        }
    }
    Ok(())
}

fn check_script(script: &str) -> Result<(), Refused> {
    let inside = Path::new(script)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if script.is_empty() || script.starts_with('-') || !inside {
        return Err(invalid(format!("script {script:?} is not a file of the source")));
    }
    Ok(())
}
