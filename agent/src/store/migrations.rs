//! The versions of the database, each as the statements that lead to it from the one before.
//!
//! An applied migration is never edited: the ledger in the database holds its digest, and one
//! that differs is refused.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior, params};
use snapshots::digest::Digest;

use super::StoreError;

const MIGRATIONS: [&str; 6] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
];

/// The version that this program writes.
pub(super) fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Brings the database to the newest version, all in one transaction, after a copy was made of
/// one that holds something.
pub(super) fn apply(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    apply_all(connection, path, &MIGRATIONS)
}

fn apply_all(
    connection: &mut Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let found: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let done = usize::try_from(found).unwrap_or(0);
    check_ledger(connection, path, &migrations[..done.min(migrations.len())])?;
    if done >= migrations.len() {
        return Ok(());
    }
    if done > 0 {
        back_up(connection, path, found)?;
    }
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    for (index, sql) in migrations.iter().enumerate().skip(done) {
        let version = i64::try_from(index + 1).unwrap_or(i64::MAX);
        transaction.execute_batch(sql).map_err(failed)?;
        transaction
            .execute(
                "insert into migrations (version, sha256, applied_at) values (?1, ?2, ?3)",
                params![
                    version,
                    Digest::of(sql.as_bytes()).to_string(),
                    jiff::Timestamp::now().as_microsecond()
                ],
            )
            .map_err(failed)?;
        transaction.pragma_update(None, "user_version", version).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

fn check_ledger(connection: &Connection, path: &Path, applied: &[&str]) -> Result<(), StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    for (index, sql) in applied.iter().enumerate() {
        let version = i64::try_from(index + 1).unwrap_or(i64::MAX);
        let recorded: String = connection
            .query_row("select sha256 from migrations where version = ?1", [version], |row| {
                row.get(0)
            })
            .map_err(failed)?;
        if recorded != Digest::of(sql.as_bytes()).to_string() {
            let finding = format!("migration {version} is not the one that was applied");
            return Err(StoreError::Damaged { path: path.to_owned(), finding });
        }
    }
    Ok(())
}

/// Copies the database as it is to `agent.db.v<version>`. A copy from an upgrade that did not
/// come to its end is replaced.
fn back_up(connection: &Connection, path: &Path, version: i64) -> Result<(), StoreError> {
    let copy = backup_of(path, version);
    let failed = |source| StoreError::Backup { path: copy.clone(), source };
    drop(std::fs::remove_file(&copy));
    connection.execute("vacuum into ?1", [copy.to_string_lossy()]).map_err(failed)?;
    Ok(())
}

fn backup_of(path: &Path, version: i64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".v{version}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(directory: &Path) -> (PathBuf, Connection) {
        let path = directory.join("agent.db");
        let mut connection = Connection::open(&path).unwrap();
        apply_all(&mut connection, &path, &MIGRATIONS).unwrap();
        (path, connection)
    }

    fn version(connection: &Connection) -> i64 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    const NEXT: &str = "create table next (x integer) strict;";

    #[test]
    fn an_upgrade_leaves_a_copy_of_what_was_before() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mut connection) = database(directory.path());
        let before = version(&connection);

        let migrations: Vec<_> = MIGRATIONS.into_iter().chain([NEXT]).collect();
        apply_all(&mut connection, &path, &migrations).unwrap();

        assert_eq!(version(&connection), before + 1);
        let copy = Connection::open(backup_of(&path, before)).unwrap();
        assert_eq!(version(&copy), before);
        copy.query_row("select count(*) from runs", [], |row| row.get::<_, i64>(0)).unwrap();
        copy.prepare("select x from next").unwrap_err();
    }

    #[test]
    fn an_upgrade_that_fails_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mut connection) = database(directory.path());
        let before = version(&connection);

        let migrations: Vec<_> = MIGRATIONS.into_iter().chain([NEXT, "nonsense"]).collect();
        apply_all(&mut connection, &path, &migrations).unwrap_err();

        assert_eq!(version(&connection), before);
        connection.prepare("select x from next").unwrap_err();
        apply_all(&mut connection, &path, &migrations[..migrations.len() - 1]).unwrap();
    }

    #[test]
    fn an_edited_migration_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mut connection) = database(directory.path());

        let mut migrations: Vec<_> = MIGRATIONS.into_iter().collect();
        migrations[0] = "select 1;";
        let refused = apply_all(&mut connection, &path, &migrations).unwrap_err();

        assert!(matches!(refused, StoreError::Damaged { .. }), "{refused:?}");
    }
}
