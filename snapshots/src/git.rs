//! What git knows of a source directory, read without running anything.
//!
//! A repository's configuration can name programs for nearly everything git does, and a source
//! directory may come from anyone. So no `git` is run, and the library that reads the repository
//! is told to trust nothing in it: no section of its configuration counts as trusted, which takes
//! filters away, and nothing outside the repository (environment, user, machine, includes) is
//! read. Submodules are opened by ourselves for the same reason: by itself the library would give
//! them the trust that their owner has.
//!
//! A repository that is broken, foreign or too slow gives what is known so far and a note, never
//! an error: a run must not fail for the sake of its metadata.

mod beneath;
mod changes;
mod patch;
mod remote;
mod repository;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

pub use self::changes::{ChangeCounts, Changes};
use self::repository::Repository;
use crate::error_chain::chain;
use crate::ignore_rules;

/// How long a repository may take to be read.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of the repository around a source directory.
#[derive(Clone, Debug, Default)]
pub struct GitFacts {
    /// Azure ML's `azureml.git.*` properties, their `mlflow.source.git.*` twins, and in
    /// `trainyard.git.*` what those cannot say.
    ///
    /// As with Azure, `azureml.git.dirty` is about the source directory, not the whole repository.
    pub properties: BTreeMap<String, String>,
    /// How many files differ, when that could be found out.
    pub changes: Option<Changes>,
    /// The tracked and staged changes against `HEAD`, as `git apply` takes them. `None` when there
    /// are none, or when they could not be had.
    pub patch: Option<Vec<u8>>,
    /// What could not be found out, for people.
    pub notes: Vec<String>,
}

/// Describes the repository around `source`.
///
/// `overrides` are the `AZUREML_GIT_*` environment variables, which go before what is found. Takes
/// at most a few seconds, some milliseconds in the common case; may be called beside a snapshot.
pub fn describe(source: &Path, overrides: &BTreeMap<String, String>) -> GitFacts {
    describe_within(source, overrides, PATIENCE)
}

/// One thing found out, told as soon as it is known so that it counts even if the next takes too
/// long.
enum Fact {
    Property(&'static str, String),
    Changes(Changes),
    Patch(Vec<u8>),
    Note(String),
    /// Nothing more will come.
    End,
}

fn describe_within(
    source: &Path,
    overrides: &BTreeMap<String, String>,
    patience: Duration,
) -> GitFacts {
    let mut facts = GitFacts::default();
    let deadline = Instant::now() + patience;
    let interrupt = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let started = std::thread::Builder::new().name("git".to_owned()).spawn({
        let (source, interrupt) = (source.to_owned(), Arc::clone(&interrupt));
        move || gather(&source, &interrupt, deadline, &sender)
    });
    if started.is_err() {
        facts.notes.push("git metadata is missing: no thread could be started".to_owned());
    }
    loop {
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Fact::Property(name, value)) => {
                facts.properties.insert(name.to_owned(), value);
            }
            Ok(Fact::Changes(changes)) => facts.changes = Some(changes),
            Ok(Fact::Patch(patch)) => facts.patch = Some(patch),
            Ok(Fact::Note(note)) => facts.notes.push(note),
            Ok(Fact::End) => break,
            Err(RecvTimeoutError::Timeout) => {
                // The thread may hang where nothing can interrupt it, as in opening a pipe. It
                // holds nothing that anybody needs.
                interrupt.store(true, Ordering::Relaxed);
                let after = patience.as_secs_f32();
                facts.notes.push(format!("git metadata is incomplete: given up after {after} s"));
                break;
            }
            Err(RecvTimeoutError::Disconnected) => {
                facts
                    .notes
                    .push("git metadata is incomplete: the repository is damaged".to_owned());
                break;
            }
        }
    }
    if let Some(changes) = &facts.changes {
        changes.record(&mut facts.properties);
    }
    apply_overrides(overrides, &mut facts.properties);
    for (name, twin) in [
        ("azureml.git.repository_uri", "mlflow.source.git.repoURL"),
        ("azureml.git.branch", "mlflow.source.git.branch"),
        ("azureml.git.commit", "mlflow.source.git.commit"),
    ] {
        if let Some(value) = facts.properties.get(name).cloned() {
            facts.properties.insert(twin.to_owned(), value);
        }
    }
    facts
}

/// Finds out everything about `source`, cheap things first.
fn gather(source: &Path, interrupt: &Arc<AtomicBool>, deadline: Instant, facts: &Sender<Fact>) {
    // Nobody may be listening any more, which is no reason to do anything else.
    let tell = |fact| drop(facts.send(fact));
    if let Some(root) =
        source.canonicalize().ok().and_then(|real| ignore_rules::repository_root(&real))
    {
        match Repository::open(&root) {
            Ok(repository) => gather_from(&repository, source, interrupt, deadline, &tell),
            Err(error) => tell(Fact::Note(format!("git metadata is missing: {}", chain(&*error)))),
        }
    }
    tell(Fact::End);
}

fn gather_from(
    repository: &Repository,
    source: &Path,
    interrupt: &Arc<AtomicBool>,
    deadline: Instant,
    tell: &dyn Fn(Fact),
) {
    let (branch, commit) = repository.head();
    if let Some(uri) = repository.remote_url(branch.as_deref()) {
        tell(Fact::Property("azureml.git.repository_uri", uri));
    }
    if let Some(branch) = branch {
        tell(Fact::Property("azureml.git.branch", branch));
    }
    if let Some(commit) = commit {
        tell(Fact::Property("azureml.git.commit", commit));
    }
    if let Err(why) = repository.check_work_tree() {
        return tell(Fact::Note(format!("changes are not recorded: {why}")));
    }
    let found = match changes::find(repository, interrupt) {
        Ok(found) => found,
        Err(error) => {
            return tell(Fact::Note(format!("changes are not recorded: {}", chain(&*error))));
        }
    };
    let real = source.canonicalize().unwrap_or_else(|_| source.to_owned());
    tell(Fact::Changes(found.count(repository.path_to(&real).as_deref())));
    match patch::write(repository, &found, deadline) {
        Ok(patch) => {
            for note in patch.notes {
                tell(Fact::Note(note));
            }
            if !patch.text.is_empty() {
                tell(Fact::Patch(patch.text));
            }
        }
        Err(error) => tell(Fact::Note(format!("the diff is not recorded: {}", chain(&*error)))),
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Puts the values that the user has set in the place of those found, as Azure ML does.
fn apply_overrides(
    overrides: &BTreeMap<String, String>,
    properties: &mut BTreeMap<String, String>,
) {
    let names = [
        ("AZUREML_GIT_REPOSITORY_URI", "azureml.git.repository_uri"),
        ("AZUREML_GIT_BRANCH", "azureml.git.branch"),
        ("AZUREML_GIT_COMMIT", "azureml.git.commit"),
        ("AZUREML_GIT_DIRTY", "azureml.git.dirty"),
        ("AZUREML_GIT_BUILD_ID", "azureml.git.build_id"),
        ("AZUREML_GIT_BUILD_URI", "azureml.git.build_uri"),
    ];
    for (variable, name) in names {
        let given = overrides.get(variable).map_or("", |value| value.trim());
        if given.is_empty() {
            continue;
        }
        let value = match variable {
            "AZUREML_GIT_REPOSITORY_URI" => remote::without_secrets(given),
            // The query of a build's page says which build it is.
            "AZUREML_GIT_BUILD_URI" => remote::without_credentials(given),
            "AZUREML_GIT_DIRTY" => Some(truth(matches!(given, "1" | "true" | "True" | "TRUE"))),
            _ => Some(given.to_owned()),
        };
        match value {
            Some(value) => properties.insert(name.to_owned(), value),
            None => properties.remove(name),
        };
    }
}

/// Writes a truth value as Azure ML does.
fn truth(value: bool) -> String {
    if value { "True" } else { "False" }.to_owned()
}

#[cfg(test)]
mod tests;
