//! What people type to name a run or a snapshot.

use std::ffi::OsStr;

use clap_complete::CompletionCandidate;
use clap_complete::engine::ArgValueCompleter;
use serde::de::DeserializeOwned;
use snapshots::digest::Digest;
use snapshots::store::local::LocalStore;

use super::{Context, Failure};
use crate::api::wire::target::Target;
use crate::api::wire::token::TokenDocument;
use crate::client::{Client, ListQuery, Start};
use crate::terminal::ColorWhen;

/// The fewest digits that stand for an id.
const LEAST_DIGITS: usize = 4;

/// Checks that a text can name a run: it becomes a part of a path.
///
/// # Errors
///
/// It is empty or a step in a path.
pub(super) fn run(typed: &str) -> Result<String, String> {
    if matches!(typed, "" | "." | "..") {
        return Err("a run is named by its id, a unique beginning of it, its name, or @".to_owned());
    }
    Ok(typed.to_owned())
}

/// Returns what to type for a run in a command that we propose: its name if that is enough, else
/// its id.
pub(super) fn to_type(context: &Context, client: &Client, run_id: &str, name: &str) -> String {
    let found = context.wait_for(async { Ok(client.run(name).await?) });
    match found {
        Ok(run) if run.summary.run_id == run_id => quoted(name),
        _ => run_id.to_owned(),
    }
}

/// Returns `name` as a shell takes it for one word that is no option.
pub(super) fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '/' | '+');
    let word = if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    };
    if name.starts_with('-') { format!("-- {word}") } else { word }
}

/// Completes what was typed of a run with the ids and names that the agent knows. Without an
/// agent there is nothing to complete with.
pub(super) fn runs() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let Some(typed) = typed.to_str() else { return Vec::new() };
        let Ok(known) = known_runs() else { return Vec::new() };
        known
            .into_iter()
            .filter(|(name, _)| name.starts_with(typed))
            .map(|(name, about)| CompletionCandidate::new(name).help(Some(about.into())))
            .collect()
    })
}

/// Completes what was typed of a target with the names that the agent knows.
pub(super) fn targets() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let Some(typed) = typed.to_str() else { return Vec::new() };
        let Ok(known) = known::<Target>("targets") else { return Vec::new() };
        let known = known.into_iter().filter(|target| target.name.starts_with(typed));
        known.map(|it| CompletionCandidate::new(it.name).help(Some(it.r#type.into()))).collect()
    })
}

/// Completes what was typed of a token with the names and ids that the agent knows.
pub(super) fn tokens() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let Some(typed) = typed.to_str() else { return Vec::new() };
        let Ok(known) = known::<TokenDocument>("tokens") else { return Vec::new() };
        let each = known.into_iter().flat_map(|token| {
            let about = format!("{}, {}", token.name, token.scope.name());
            [(token.name, about.clone()), (token.id, about)]
        });
        let fit = each.filter(|(word, _)| word.starts_with(typed));
        fit.map(|(word, about)| CompletionCandidate::new(word).help(Some(about.into()))).collect()
    })
}

/// Returns what the agent lists under `route`.
fn known<T: DeserializeOwned>(route: &str) -> Result<Vec<T>, Failure> {
    let context = Context::new(Some(ColorWhen::Never), true)?;
    let workspace = context.workspace()?;
    context.wait_for(async {
        let (client, _) = Client::connect(&workspace, Start::Never, || {}).await?;
        Ok(client.get(&[route], &()).await?)
    })
}

fn known_runs() -> Result<Vec<(String, String)>, Failure> {
    const SHOWN: u32 = 50;
    let context = Context::new(Some(ColorWhen::Never), true)?;
    let workspace = context.workspace()?;
    let runs = context.wait_for(async {
        let (client, _) = Client::connect(&workspace, Start::Never, || {}).await?;
        let query = ListQuery { limit: Some(SHOWN), ..ListQuery::default() };
        Ok(client.runs(&query).await?)
    })?;
    let mut known = vec![("@".to_owned(), "the latest run".to_owned())];
    for run in runs {
        let about = format!("{} {}", run.status.name(), run.command_line);
        // Shells put a candidate in as it is; a run with another name is completed by its id.
        if quoted(&run.display_name) == run.display_name {
            known.push((run.display_name, about.clone()));
        }
        known.push((run.run_id, about));
    }
    Ok(known)
}

/// Returns the snapshot that `typed` stands for: an id, a unique beginning of one, or a run.
///
/// # Errors
///
/// It stands for none, or for several.
pub(super) fn snapshot(
    context: &Context,
    store: &LocalStore,
    typed: &str,
) -> Result<Digest, Failure> {
    if let Ok(digest) = typed.parse() {
        return Ok(digest);
    }
    if let Some(digest) = snapshot_by_prefix(store, typed)? {
        return Ok(digest);
    }
    let none = || {
        Failure::usage(format!("there is no snapshot and no run {typed:?}"))
            .hint("`trainyard snapshot list` and `trainyard list` show what there is")
    };
    let reference = run(typed).map_err(|_| none())?;
    let (client, _) = context.agent(Start::IfNone)?;
    let found = context.wait_for(async { Ok(client.run(&reference).await?) });
    let found = found.map_err(|failure| match failure.exit(false) {
        super::Exit::USAGE if failure.next_step().is_none() => none(),
        _ => failure,
    })?;
    found.summary.snapshot_id.parse().map_err(Failure::failed)
}

/// Returns the recorded snapshot whose id begins with `typed`.
///
/// # Errors
///
/// There are several.
pub(super) fn snapshot_by_prefix(
    store: &LocalStore,
    typed: &str,
) -> Result<Option<Digest>, Failure> {
    let is_prefix = typed.len() >= LEAST_DIGITS && typed.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_prefix {
        return Ok(None);
    }
    let typed = typed.to_ascii_lowercase();
    let ids: Vec<_> = store
        .records()?
        .into_iter()
        .map(|record| record.id)
        .filter(|id| id.to_string().starts_with(&typed))
        .collect();
    match ids.as_slice() {
        [] => Ok(None),
        [id] => Ok(Some(*id)),
        several => {
            let ids: Vec<_> = several.iter().map(|id| id.short(16)).collect();
            Err(Failure::usage(format!("{typed:?} is the beginning of several snapshots' ids"))
                .hint(format!("it may be {}", ids.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use snapshots::snapshot::SnapshotRecord;

    use super::*;

    #[test]
    fn a_run_is_no_step_in_a_path() {
        for bad in ["", ".", ".."] {
            assert!(run(bad).is_err(), "{bad}");
        }
        for good in ["@", "swift-otter-12", "...", "a/../b"] {
            assert_eq!(run(good).unwrap(), good);
        }
    }

    #[test]
    fn what_we_propose_to_type_is_one_word_for_a_shell() {
        for (name, typed) in [
            ("swift-otter-12", "swift-otter-12"),
            ("two words", "'two words'"),
            ("it's $HOME", r"'it'\''s $HOME'"),
            ("-x", "-- -x"),
        ] {
            assert_eq!(quoted(name), typed);
        }
    }

    #[test]
    fn a_snapshot_is_found_by_the_beginning_of_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        let mut bytes = [0xab; 32];
        for last in [1, 2] {
            bytes[31] = last;
            let record = SnapshotRecord {
                version: SnapshotRecord::VERSION,
                id: Digest::from_bytes(bytes),
                file_count: 0,
                directory_count: 0,
                total_bytes: 0,
                created_time_utc: Timestamp::UNIX_EPOCH,
                kept: true,
                warnings: Vec::new(),
            };
            store.put_record(&record).unwrap();
        }
        let find = |typed: &str| snapshot_by_prefix(&store, typed);

        assert_eq!(find(&format!("{}01", "ab".repeat(31))).unwrap().unwrap().as_bytes()[31], 1);
        assert_eq!(find("abc0").unwrap(), None);
        assert_eq!(find("aba").unwrap(), None);
        assert_eq!(find("zzzz").unwrap(), None);
        assert_eq!(find("ABAB").unwrap_err().exit(false), super::super::Exit::USAGE);
    }
}
