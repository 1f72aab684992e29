//! What a person calls a run: an id, the beginning of one, a display name, or `@`.

use runner::run_id::RunId;
use rusqlite::{Connection, ToSql};

use super::{SqlContext, Store, StoreError};

/// An ambiguous reference names this many of the runs it could mean.
const CANDIDATES: usize = 10;

impl Store {
    /// Finds the run that `reference` means: an id, `@` for the latest, a display name or the
    /// beginning of an id.
    ///
    /// # Errors
    ///
    /// None or several could be meant.
    pub(crate) async fn resolve(&self, reference: &str) -> Result<RunId, StoreError> {
        let reference = reference.to_owned();
        self.readers.read(move |connection| resolve(connection, &reference)).await
    }
}

fn resolve(connection: &Connection, reference: &str) -> Result<RunId, StoreError> {
    let nothing = || StoreError::NoSuchRun { reference: reference.to_owned() };
    let found = if reference == "@" {
        ids(connection, "select id from runs order by number desc limit 1", &[])?
    } else {
        named(connection, reference)?
    };
    match found.as_slice() {
        [] => Err(nothing()),
        [one] => one.parse().map_err(|_| nothing()),
        _ => Err(StoreError::Ambiguous { reference: reference.to_owned(), candidates: found }),
    }
}

fn named(connection: &Connection, reference: &str) -> Result<Vec<String>, StoreError> {
    let exact = ids(connection, "select id from runs where id = ?1", &[&reference])?;
    if !exact.is_empty() || reference.is_empty() {
        return Ok(exact);
    }
    let limit = i64::try_from(CANDIDATES).unwrap_or(i64::MAX);
    let name = "select id from runs where display_name = ?1 order by number desc limit ?2";
    let named = ids(connection, name, &[&reference, &limit])?;
    if !named.is_empty() {
        return Ok(named);
    }
    // Everything that begins with the text sorts between it and it with the last character.
    let end = format!("{reference}\u{10FFFF}");
    let prefix = "select id from runs where id > ?1 and id < ?2 order by number desc limit ?3";
    ids(connection, prefix, &[&reference, &end, &limit])
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
