//! From what is wanted to a run that the agent has accepted.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use runner::run_configuration::RunConfiguration;
use snapshots::digest::Digest;
use snapshots::git::GitFacts;
use snapshots::snapshot::{SnapshotOptions, SnapshotRecord, Taken};
use snapshots::store::local::{Hold, LocalStore};
use snapshots::tree::EntryKind;

use super::configuration::Wanted;
use super::environment::Chosen;
use super::{build_context, transfer};
use crate::api::wire::agent::AgentStatus;
use crate::api::wire::submission::{SubmitRequest, Submitted, Variables};
use crate::api::wire::waiting::After;
use crate::cli::{Context, Failure, snapshotting};
use crate::client::{Client, ListQuery};
use crate::run::sandbox_offer::SandboxOffer;
use crate::run::sandboxing::Asked;
use crate::targets::LOCAL;
use crate::terminal::measure;
use crate::workspace::Workspace;

/// What goes with a run besides what is recorded of it.
pub(in crate::cli) struct With {
    /// Secret variables.
    pub(in crate::cli) secrets: BTreeMap<String, String>,
    /// Whether the environment is resolved again.
    pub(in crate::cli) fresh: bool,
    /// What stands for this submission.
    pub(in crate::cli) key: Option<String>,
}

/// Reads an idempotency key: what a header of HTTP can hold as it is.
///
/// # Errors
///
/// It is empty, too long, or has other characters.
pub(in crate::cli) fn key(text: &str) -> Result<String, String> {
    if (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err("a key is 1 to 255 ASCII characters without spaces".to_owned())
}

/// Sends runs to an agent. Those that are sent together have one snapshot of the source that they
/// share, as it was when the first of them was sent.
pub(in crate::cli) struct Sender<'a> {
    context: &'a Context,
    client: &'a Client,
    agent: &'a AgentStatus,
    workspace: Workspace,
    store: LocalStore,
    sources: HashMap<PathBuf, Source>,
}

/// A source that the agent has.
struct Source {
    taken: Taken,
    git: GitFacts,
    _hold: Hold,
}

impl<'a> Sender<'a> {
    pub(in crate::cli) fn new(
        context: &'a Context,
        client: &'a Client,
        agent: &'a AgentStatus,
    ) -> Result<Self, Failure> {
        let workspace = context.workspace()?;
        let store = snapshotting::store(&workspace)?;
        Ok(Self { context, client, agent, workspace, store, sources: HashMap::new() })
    }

    /// Takes the snapshot, brings it to the agent and submits the run.
    ///
    /// # Errors
    ///
    /// The snapshot cannot be taken, the script is not in it, or the agent refuses.
    pub(in crate::cli) fn send(
        &mut self,
        wanted: &Wanted,
        chosen: &Chosen,
        with: With,
    ) -> Result<Submitted, Failure> {
        let Self { context, client, agent, .. } = *self;
        let directory = wanted.source.directory();
        let script = wanted.configuration.script.as_deref();
        let options = snapshotting::options(context, &self.workspace, directory, false);
        let (taken, imports) = std::thread::scope(|scope| {
            let imports = scope.spawn(|| ignored_imports(directory, script, &options));
            (self.take(directory, &options), imports.join().unwrap_or_default())
        });
        taken?;
        let Source { taken, git, .. } = &self.sources[directory];
        if let Some(script) = script {
            check_script(&self.store, &taken.record.id, script, &imports)?;
        }
        let mut warnings = wanted.notes.clone();
        warnings.extend(chosen.notes.iter().cloned());
        warnings.extend(taken.warnings.iter().map(ToString::to_string));
        warnings.extend(imports);
        warnings.extend(git.notes.iter().cloned());
        warnings.extend(sandbox_warning(wanted, chosen, agent.sandbox.as_ref()));
        context.terminal.status("Environment", format!("{} ({})", chosen.name, chosen.because));
        let build_context = build_context::take(context, &self.workspace, &self.store, chosen)?;
        if let Some(build_context) = &build_context {
            warnings.extend(build_context.warnings.iter().cloned());
        }
        snapshotting::warn(context, &warnings);
        let key = with.key.clone();
        if !self.is_known(key.as_deref())? {
            let records = [Some(&taken.record), build_context.as_ref().map(|taken| &taken.record)];
            for record in records.into_iter().flatten() {
                transfer::to_agent(context, client, agent, &self.store, record)?;
            }
        }
        let mut request = request(wanted, chosen, with, &taken.record, git.clone(), warnings);
        if let Some(build_context) = &build_context {
            build_context::note_in(&mut request.environment, build_context.record.id);
        }
        let submitted =
            context.wait_for(async { Ok(client.submit(&request, key.as_deref()).await?) })?;
        if !submitted.existing {
            warn_if_draining(context, agent);
        }
        Ok(submitted)
    }

    /// Says whether `key` stands for a run already: then nothing has to travel, and nothing would
    /// be taken where the agent is short of room.
    fn is_known(&self, key: Option<&str>) -> Result<bool, Failure> {
        let Some(key) = key else { return Ok(false) };
        let query = ListQuery { key: Some(key.to_owned()), ..ListQuery::default() };
        let runs = self.context.wait_for(async { Ok(self.client.runs(&query).await?) })?;
        Ok(!runs.is_empty())
    }

    /// Takes the snapshot of `directory` unless a run before had it taken, and says so.
    fn take(&mut self, directory: &Path, options: &SnapshotOptions) -> Result<(), Failure> {
        if self.sources.contains_key(directory) {
            return Ok(());
        }
        // Until the agent has the run, nobody else knows that its snapshot is needed.
        let lease = self.store.lease()?;
        let (taken, git) = std::thread::scope(|scope| {
            let git = scope.spawn(|| snapshots::git::describe(directory, &git_overrides()));
            let taken = snapshotting::take(self.context, &self.store, directory, options);
            (taken, git.join().unwrap_or_default())
        });
        let taken = taken?;
        let hold = self.store.hold(&taken.record.id)?;
        drop(lease);
        say(self.context, &taken, &git);
        self.sources.insert(directory.to_owned(), Source { taken, git, _hold: hold });
        Ok(())
    }
}

fn say(context: &Context, taken: &Taken, git: &GitFacts) {
    let record = &taken.record;
    let files = measure::count(record.file_count, "file");
    let line = format!("{files}, {} ({})", measure::size(record.total_bytes), record.id.short(8));
    context.terminal.status("Snapshot", line);
    if let Some(line) = git_line(git) {
        context.terminal.status("Git", line);
    }
}

/// Returns `main@9bd01f2 + 2 changed files, patch saved`.
fn git_line(git: &GitFacts) -> Option<String> {
    let commit = git.properties.get("azureml.git.commit")?;
    let branch = git.properties.get("azureml.git.branch").map_or("(no branch)", String::as_str);
    let mut line = format!("{branch}@{}", commit.get(..7).unwrap_or(commit));
    if let Some(changes) = &git.changes {
        let counts = &changes.source;
        let changed = counts.staged.max(counts.tracked) + counts.untracked;
        if changed > 0 {
            line.push_str(&format!(" + {}", measure::count(changed as u64, "changed file")));
        }
    }
    if git.patch.is_some() {
        line.push_str(", patch saved");
    }
    Some(line)
}

/// Returns the `AZUREML_GIT_*` variables, which go before what is found.
fn git_overrides() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("AZUREML_GIT_"))
        .collect()
}

/// Returns which files that the script needs are ignored. What cannot be read is the snapshot's
/// business, which says so.
fn ignored_imports(source: &Path, script: Option<&str>, options: &SnapshotOptions) -> Vec<String> {
    let Some(script) = script else { return Vec::new() };
    let found = snapshots::explain::check_imports(source, Path::new(script), options);
    found.unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// Checks that the script is in the snapshot: better now than when the run has its turn.
fn check_script(
    store: &LocalStore,
    root: &Digest,
    script: &str,
    why: &[String],
) -> Result<(), Failure> {
    let mut digest = *root;
    let mut parts = script.split('/').filter(|part| *part != ".").peekable();
    while let Some(part) = parts.next() {
        let tree = store.read_tree(&digest)?;
        match (tree.get(part.as_bytes()).map(|entry| &entry.kind), parts.peek()) {
            (Some(EntryKind::Directory { digest: inner }), Some(_)) => digest = *inner,
            (Some(EntryKind::File { .. } | EntryKind::Symlink { .. }), None) => return Ok(()),
            _ => break,
        }
    }
    let reason = why.first().cloned();
    let message = reason.unwrap_or_else(|| format!("the script {script} is not in the snapshot"));
    Err(Failure::usage(message)
        .hint(format!("`trainyard snapshot explain SOURCE {script}` says by which rule")))
}

fn after(configuration: &RunConfiguration) -> Vec<After> {
    let of = |runs: &[String], any_end| -> Vec<After> {
        runs.iter().map(|run| After { run: run.clone(), any_end }).collect()
    };
    [of(&configuration.after, false), of(&configuration.after_any, true)].concat()
}

fn request(
    wanted: &Wanted,
    chosen: &Chosen,
    with: With,
    record: &SnapshotRecord,
    git: GitFacts,
    warnings: Vec<String>,
) -> SubmitRequest {
    let configuration = &wanted.configuration;
    let mut properties = configuration.properties.clone();
    properties.extend(git.properties);
    let mut variables = chosen.variables.clone();
    variables.extend(configuration.environment_variables.clone());
    let seconds = |seconds: u64| std::time::Duration::from_secs(seconds).as_secs_f64();
    SubmitRequest {
        container: chosen.is_contained().then(|| chosen.container.clone()),
        resources: configuration.resources.clone(),
        network: configuration.network,
        sandbox: configuration.sandbox,
        mounts: configuration.mounts.clone(),
        fresh_environment: with.fresh,
        registry_password: chosen.registry_password.clone(),
        experiment: configuration.experiment.clone().unwrap_or_default(),
        display_name: configuration.display_name.clone(),
        script: configuration.script.clone(),
        command: configuration.command.clone(),
        arguments: configuration.arguments.clone(),
        target: configuration.target.clone(),
        environment: chosen.environment.clone(),
        environment_name: chosen.name.clone(),
        environment_variables: Variables(variables),
        secrets: Variables(with.secrets),
        tags: configuration.tags.clone(),
        properties,
        timeout_seconds: configuration.timeout_seconds.map(seconds),
        grace_seconds: configuration.grace_seconds.map(seconds),
        snapshot_id: record.id,
        source_directory: wanted.source.directory().to_string_lossy().into_owned(),
        git_patch: git.patch.map(|patch| BASE64_STANDARD.encode(patch)),
        warnings,
        rerun_of: None,
        priority: configuration.priority,
        held: configuration.held,
        retry: configuration.retry.clone(),
        after: after(configuration),
    }
}

/// Says what a run will lack of a whole sandbox. Of other machines that is not known beforehand.
pub(super) fn sandbox_warning(
    wanted: &Wanted,
    chosen: &Chosen,
    offer: Option<&SandboxOffer>,
) -> Option<String> {
    let offer = offer.filter(|_| wanted.configuration.target == LOCAL)?;
    offer.warning(&offer.forecast(asked(wanted, chosen)))
}

/// Returns what a run asks of its sandbox.
pub(in crate::cli) fn asked<'a>(wanted: &'a Wanted, chosen: &'a Chosen) -> Asked<'a> {
    let configuration = &wanted.configuration;
    let is_contained = chosen.is_contained();
    Asked {
        mode: configuration.sandbox,
        network: configuration.network,
        mounts: &configuration.mounts,
        shm_bytes: configuration.resources.shm_bytes,
        container: is_contained.then_some(chosen.container.arguments.as_slice()),
    }
}

/// Says that a run which was handed in does not start for now, where that is so.
pub(in crate::cli) fn warn_if_draining(context: &Context, agent: &AgentStatus) {
    if agent.draining.is_some() {
        context.terminal.warning(
            "the agent is draining: the run waits in the queue until `trainyard agent drain --undo`",
        );
    }
}
