//! What a person calls a run: an id, the beginning of one, a display name, or `@`.

use runner::run_id::RunId;
use rusqlite::{Connection, ToSql};

use super::{SqlContext, Store, StoreError};
use crate::peer::{Peer, Scope};

/// An ambiguous reference names this many of the runs it could mean.
const CANDIDATES: usize = 10;

impl Store {
    /// Finds the run that `reference` means to `peer`: an id, a display name, the beginning of an
    /// id, or `@` for their own latest.
    ///
    /// # Errors
    ///
    /// None or several could be meant. Runs that are not for this peer are not there.
    pub(crate) async fn resolve(&self, reference: &str, peer: Peer) -> Result<RunId, StoreError> {
        let reference = reference.to_owned();
        self.readers.read(move |connection| resolve(connection, &reference, peer)).await
    }
}

fn resolve(connection: &Connection, reference: &str, peer: Peer) -> Result<RunId, StoreError> {
    let nothing = || StoreError::NoSuchRun { reference: reference.to_owned() };
    let mut found = Vec::new();
    if reference == "@" {
        let latest = "select id from runs where uid = ?1 order by number desc limit 1";
        found = ids(connection, latest, &[&peer.uid])?;
    } else {
        for scope in peer.scopes() {
            if found.is_empty() {
                found = named(connection, reference, scope)?;
            }
        }
    }
    match found.as_slice() {
        [] => Err(nothing()),
        [one] => one.parse().map_err(|_| nothing()),
        _ => Err(StoreError::Ambiguous { reference: reference.to_owned(), candidates: found }),
    }
}

fn named(
    connection: &Connection,
    reference: &str,
    scope: Scope,
) -> Result<Vec<String>, StoreError> {
    let whose = scope.uid();
    let exact = "select id from runs where id = ?1 and (?2 is null or uid = ?2)";
    let exact = ids(connection, exact, &[&reference, &whose])?;
    if !exact.is_empty() || reference.is_empty() {
        return Ok(exact);
    }
    let limit = i64::try_from(CANDIDATES).unwrap_or(i64::MAX);
    let name = "select id from runs where display_name = ?1 and (?2 is null or uid = ?2)
        order by number desc limit ?3";
    let named = ids(connection, name, &[&reference, &whose, &limit])?;
    if !named.is_empty() {
        return Ok(named);
    }
    // Everything that begins with the text sorts between it and it with the last character.
    let end = format!("{reference}\u{10FFFF}");
    let prefix = "select id from runs where id > ?1 and id < ?2 and (?3 is null or uid = ?3)
        order by number desc limit ?4";
    ids(connection, prefix, &[&reference, &end, &whose, &limit])
}

fn ids(
    connection: &Connection,
    sql: &str,
    parameters: &[&dyn ToSql],
) -> Result<Vec<String>, StoreError> {
    let mut statement = connection.prepare_cached(sql).doing("look up a run")?;
    statement
        .query_map(parameters, |row| row.get(0))
        .and_then(Iterator::collect)
        .doing("look up a run")
}
