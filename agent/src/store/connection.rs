//! Opening the database: checks first, then upgrades, then the settings that make it durable.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::{StoreError, migrations};

/// `tryd`, so that `file(1)` and we can tell our databases from others.
const APPLICATION_ID: i64 = 0x7472_7964;

const BUSY: Duration = Duration::from_secs(10);

/// Opens the database for the one thread that writes.
pub(super) fn open_for_writing(path: &Path) -> Result<Connection, StoreError> {
    let failed = |source| unusable(path, source);
    // SQLite creates its files with the mode of the database file.
    drop(OpenOptions::new().append(true).create(true).mode(0o600).open(path));
    let found = match examine(path) {
        Err(error) if needs_rollback(&error) => {
            roll_back(path).map_err(failed)?;
            examine(path)?
        }
        found => found?,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    set_up(&connection).map_err(failed)?;
    if found == 0 {
        connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    } else {
        check_structure(&connection, path)?;
    }
    migrations::apply(&mut connection, path)?;
    Ok(connection)
}

/// Opens the database for reading.
pub(super) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Returns the version of the database, 0 for a new one. Opens it read-only, so that one which
/// is not for us is left untouched.
fn examine(path: &Path) -> Result<i64, StoreError> {
    let failed = |source| unusable(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(failed)?;
    let found = number("user_version").map_err(failed)?;
    let tables: i64 = connection
        .query_row("select count(*) from sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    let known = migrations::newest();
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    Ok(found)
}

/// Says whether a writer was killed before the database had its write-ahead log, and left a journal
/// that whoever only reads cannot roll back.
fn needs_rollback(error: &StoreError) -> bool {
    let StoreError::Open { source, .. } = error else { return false };
    source.sqlite_error().is_some_and(|it| it.extended_code == ffi::SQLITE_READONLY_ROLLBACK)
}

/// Has the database be what it was before that writer.
fn roll_back(path: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.query_row("select count(*) from sqlite_schema", [], |_| Ok(()))
}

/// Says why the database at `path` cannot be used.
fn unusable(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::Foreign { path },
        Some(ErrorCode::DatabaseCorrupt) => {
            StoreError::Damaged { path, finding: source.to_string() }
        }
        _ => StoreError::Open { path, source },
    }
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "journal_mode", "wal")?;
    // NORMAL may lose what was acknowledged last when the power goes.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}

fn check_structure(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let damaged = |finding| StoreError::Damaged { path: path.to_owned(), finding };
    let finding: String = connection
        .query_row("pragma quick_check(1)", [], |row| row.get(0))
        .map_err(|error| damaged(error.to_string()))?;
    if finding == "ok" { Ok(()) } else { Err(damaged(finding)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_whose_first_write_was_broken_off_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (writing, left) =
            (directory.path().join("writing.db"), directory.path().join("left.db"));
        let connection = Connection::open(&writing).unwrap();
        // What does not fit in here goes to the file before the transaction is over.
        connection.pragma_update(None, "cache_size", 1).unwrap();
        connection
            .execute_batch(
                "begin; create table half (x blob); insert into half values (zeroblob(100000));",
            )
            .unwrap();
        for suffix in ["", "-journal"] {
            let of = |path: &Path| format!("{}{suffix}", path.display());
            std::fs::copy(of(&writing), of(&left)).unwrap();
        }

        let connection = open_for_writing(&left).unwrap();

        let halves = "select count(*) from sqlite_schema where name = 'half'";
        assert_eq!(connection.query_row(halves, [], |row| row.get::<_, i64>(0)), Ok(0));
        assert_eq!(examine(&left).unwrap(), migrations::newest());
    }
}
