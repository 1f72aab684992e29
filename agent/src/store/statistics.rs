//! Counting runs.

use super::{SqlContext, Store, StoreError};

impl Store {
    /// Says how many runs stand where. Statuses without a run are left out.
    pub(crate) async fn count_by_status(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.readers
            .read(|connection| {
                let action = "count the runs";
                let mut statement = connection
                    .prepare_cached("select status, count(*) from runs group by status")
                    .doing(action)?;
                let counted = statement.query_map([], |row| {
                    let count: i64 = row.get(1)?;
                    Ok((row.get(0)?, u64::try_from(count).unwrap_or_default()))
                });
                counted.and_then(Iterator::collect).doing(action)
            })
            .await
    }

    /// Goes to the records and back, once to read and once to write, without changing anything.
    ///
    /// # Errors
    ///
    /// They cannot be read or written now.
    pub(crate) async fn round_trip(&self) -> Result<(), StoreError> {
        self.answers().await?;
        self.writer.write(|_| Ok(())).await
    }
}
