//! Accepting a run: checked, named, on the disk, queued.

mod check;
mod source;

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use runner::container::ContainerRefused;
use runner::durable_file;
use runner::run_configuration::Network;
use runner::run_directory::RunDirectory;
use runner::run_id::RunId;
use snapshots::digest::Digest;
use snapshots::path_error::{IoContext, PathError};
use tracing::info;

use super::display_name;
use super::sandboxing::SandboxNotAllowed;
use crate::agent::Agent;
use crate::api::wire::submission::{Hidden, SubmitRequest, Submitted};
use crate::disk::shortage::Shortage;
use crate::objects::StoreOf;
use crate::peer::Peer;
use crate::quota::NoRoom;
use crate::store::{Accepted, NewRun, StoreError};
use crate::targets::RegistryError;
use crate::task;

/// The file in a run directory that holds the diff of the source.
pub(crate) const PATCH_FILE: &str = "system_logs/git.patch";

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
        /// What can be done instead.
        hint: String,
    },
    /// The request names a target that is not there.
    #[error(transparent)]
    Target(Box<RegistryError>),
    /// The request asks for a container that may not be.
    #[error(transparent)]
    Container(#[from] ContainerRefused),
    /// The request asks for a sandbox that may not be.
    #[error(transparent)]
    Sandbox(#[from] SandboxNotAllowed),
    /// The agent does not have the source, or what an image is to be built from.
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
    /// The user may have no more.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The disk is kept for the runs that are on.
    #[error(transparent)]
    Short(#[from] Shortage),
}

/// Accepts a run handed in by `peer`. It is on the disk and in the queue when this returns, and will
/// be run. One that was accepted before under `key` takes nothing more, so nothing stands in its way.
///
/// # Errors
///
/// Nothing was accepted.
pub(crate) async fn submit(
    agent: &Agent,
    peer: Peer,
    key: Option<String>,
    request: SubmitRequest,
) -> Result<Submitted, Refused> {
    let mut request = request;
    check::check(&request, &agent.container_policy)?;
    agent.sandbox.check((&request).into(), peer, agent.workspace.home())?;
    let network = agent.sandbox.network((&request).into(), peer);
    for after in &mut request.after {
        after.run = agent.store.resolve(&after.run, peer).await?.to_string();
    }
    let sealed = Sealed::taken_from(&mut request)?;
    let idempotency = key.map(|key| (key, asked(&request, &sealed)));
    if let Some((id, display_name)) = agent.store.accepted_before(peer.uid, &idempotency).await? {
        return Ok(found(&id, display_name));
    }
    agent.disk.has_room()?;
    agent.check_bytes(peer).await?;
    // Neither objects nor targets go meanwhile.
    let _all_stays = agent.collecting.read().await;
    agent.targets.usable(&request.target, peer).map_err(Box::new).map_err(Refused::Target)?;
    let store =
        source::store_for(agent, peer, request.snapshot_id, request.environment.build_context())
            .await?;
    let max_runs = agent.users.quota.of(peer).max_runs;
    let whose = Whose { uid: peer.uid, store, max_runs, network };
    let run = new_run(whose, idempotency, request);
    let directory = agent.workspace.run_directory(&run.id);
    if !sealed.is_empty() {
        let directory = directory.clone();
        task::blocking(move || sealed.put_into(&directory)).await?;
    }
    let (id, experiment) = (run.id.clone(), run.request.experiment.clone());
    let display_name = run.display_name.clone();
    let accepted = agent.store.submit(run).await;
    if let Ok(Accepted::New(row)) = &accepted {
        info!(run = %id, uid = peer.uid, %experiment, "Accepted a run.");
        agent.live.publish(&id, super::status::RunStatus::Queued);
        agent.scheduler.enqueue(row);
        // Whoever asks next hears where it stands in the queue, or that it is on.
        agent.scheduler.look().await;
    } else {
        remove_unused(directory).await;
    }
    Ok(match accepted? {
        Accepted::New(_) => Submitted { run_id: id.to_string(), display_name, existing: false },
        Accepted::Before { id, display_name } => found(&id, display_name),
    })
}

fn found(id: &RunId, display_name: String) -> Submitted {
    Submitted { run_id: id.to_string(), display_name, existing: true }
}

async fn remove_unused(directory: RunDirectory) {
    // Nothing refers to it; what cannot be removed now costs a few bytes.
    task::blocking(move || std::fs::remove_dir_all(directory.path()).ok()).await;
}

/// What a run needs that is not for the records: the values of secrets, the password for a
/// registry, and a patch that may be large.
#[derive(Default)]
struct Sealed {
    secrets: std::collections::BTreeMap<String, String>,
    registry_password: Option<Hidden>,
    patch: Option<Vec<u8>>,
    /// Whether there may be another attempt that needs the values too.
    is_kept: bool,
}

impl Sealed {
    /// Takes it out of `request`, of which only the names of secrets stay.
    fn taken_from(request: &mut SubmitRequest) -> Result<Self, Refused> {
        let patch = request.git_patch.take().map(|patch| {
            BASE64_STANDARD
                .decode(patch)
                .map_err(|error| check::invalid(format!("gitPatch is not base64: {error}")))
        });
        let sealed = Self {
            secrets: request.secrets.0.clone(),
            registry_password: request.registry_password.take(),
            patch: patch.transpose()?,
            is_kept: request.retry.is_some(),
        };
        for value in request.secrets.0.values_mut() {
            value.clear();
        }
        Ok(sealed)
    }

    fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.registry_password.is_none() && self.patch.is_none()
    }

    /// Puts it into the run directory, on the disk, before the run is accepted.
    fn put_into(&self, directory: &RunDirectory) -> Result<(), PathError> {
        directory.create()?;
        let (secrets, password) = if self.is_kept {
            (directory.kept_secrets_json(), directory.kept_registry_json())
        } else {
            (directory.secrets_json(), directory.registry_json())
        };
        if !self.secrets.is_empty() {
            // The file is made with mode 0600, as temporary files are.
            durable_file::write_json(&secrets, &self.secrets)?;
        }
        if let Some(value) = &self.registry_password {
            durable_file::write_json(&password, value)?;
        }
        if let Some(patch) = &self.patch {
            durable_file::write(&directory.path().join(PATCH_FILE), patch)?;
        }
        let runs = directory.path().parent().unwrap_or_else(|| Path::new("/"));
        std::fs::File::open(runs).and_then(|runs| runs.sync_all()).context("write to disk", runs)
    }
}

/// Whose a new run is.
struct Whose {
    uid: u32,
    store: StoreOf,
    max_runs: Option<u64>,
    /// What it reaches, which may depend on that.
    network: Network,
}

/// Returns what tells a submission from others under the same key: without the values of secrets,
/// whose digest would let others try guesses.
fn asked(request: &SubmitRequest, sealed: &Sealed) -> Digest {
    let patch = sealed.patch.as_deref().map(Digest::of);
    Digest::of(format!("{:?}{patch:?}", serde_json::to_string(request)).as_bytes())
}

fn new_run(
    Whose { uid, store, max_runs, network }: Whose,
    idempotency: Option<(String, Digest)>,
    mut request: SubmitRequest,
) -> NewRun {
    // Not of what was handed in: the same key stands for it whatever the rules are by then.
    request.network = Some(network);
    let created = Timestamp::now();
    let seconds = u64::try_from(created.as_second()).unwrap_or_default();
    let display_name = match &request.display_name {
        Some(name) => name.clone(),
        None => display_name::made_up(rand::random()),
    };
    NewRun {
        store,
        max_runs,
        id: RunId::generate(&request.experiment, seconds, rand::random()),
        uid,
        display_name,
        command_line: command_line(&request),
        request,
        created,
        idempotency,
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::store::tests::request;

    #[test]
    fn the_password_for_a_registry_is_only_in_a_file_of_its_own() {
        let mut handed_in = request(Digest::of(b"source"));
        handed_in.registry_password = Some(Hidden("hunter2".to_owned()));
        assert!(!format!("{handed_in:?}").contains("hunter2"));

        let mut again = handed_in.clone();
        again.registry_password = Some(Hidden("other".to_owned()));
        let sealed = Sealed::taken_from(&mut handed_in).unwrap();
        let other = Sealed::taken_from(&mut again).unwrap();

        assert_eq!(handed_in.registry_password, None);
        let guesses = "the digest would let others try guesses";
        assert_eq!(asked(&handed_in, &sealed), asked(&again, &other), "{guesses}");
        let runs = tempfile::tempdir().unwrap();
        let directory = RunDirectory::new(runs.path().join("exp_1_00000000"));
        sealed.put_into(&directory).unwrap();
        let file = directory.registry_json();
        assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), r#""hunter2""#);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        directory.forget_registry_password().unwrap();
        directory.forget_registry_password().unwrap();
        assert!(!file.exists());
    }
}
