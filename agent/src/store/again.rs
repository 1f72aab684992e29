//! Another attempt, recorded with the end of the one before.

use jiff::Timestamp;
use runner::exit_record::ExitReason;
use runner::outputs::OutputFile;
use rusqlite::{Transaction, params};
use std::os::unix::ffi::OsStrExt;

use super::{SqlContext, StoreError};

/// An attempt that is to follow one that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextAttempt {
    /// Why the one before ended.
    pub(crate) after: ExitReason,
    /// When it may begin.
    pub(crate) not_before: Timestamp,
}

/// Records that `next` comes; `outputs` are what the attempt that ended left. Its metrics are not
/// those of the run any more.
pub(super) fn begin(
    transaction: &Transaction,
    run: i64,
    next: NextAttempt,
    outputs: &[OutputFile],
) -> Result<(), StoreError> {
    let action = "have a run tried again";
    let mut insert = transaction
        .prepare_cached(
            "insert into attempt_outputs (run, attempt, path, size, sha256)
             select ?1, attempt, ?2, ?3, ?4 from runs where number = ?1",
        )
        .doing(action)?;
    for file in outputs {
        let size = i64::try_from(file.size).unwrap_or(i64::MAX);
        let path = file.path.as_os_str().as_bytes();
        insert.execute(params![run, path, size, file.sha256.to_string()]).doing(action)?;
    }
    for table in ["metrics", "metric_sources"] {
        transaction.execute(&format!("delete from {table} where run = ?1"), [run]).doing(action)?;
    }
    let not_before = next.not_before.as_microsecond();
    transaction
        .execute(
            "update runs set attempt = attempt + 1, tried_after = ?2, not_before = ?3,
                 started_at = null
             where number = ?1",
            params![run, next.after.name(), not_before],
        )
        .doing(action)?;
    Ok(())
}

/// Says whether somebody has asked for the end of a run: it is not tried again then.
pub(super) fn is_unwanted(transaction: &Transaction, run: i64) -> Result<bool, StoreError> {
    transaction
        .query_row("select cancel is not null from runs where number = ?1", [run], |row| row.get(0))
        .doing("look whether a run was asked to end")
}
