//! Which attempt of a run is meant.

use runner::run_directory::RunDirectory;
use runner::run_id::RunId;

use super::super::error::ApiError;
use crate::agent::Agent;
use crate::task;

/// An attempt of a run.
pub(in super::super) struct Attempt {
    /// The run's directory: [`RunDirectory::read_attempt`] finds the attempt's.
    pub(in super::super) run: RunDirectory,
    /// Which attempt, from 1.
    pub(in super::super) number: u32,
    /// Whether it is over.
    pub(in super::super) has_ended: bool,
}

impl Attempt {
    /// Finds attempt `asked` of `run`, or the latest that has begun.
    ///
    /// # Errors
    ///
    /// There is no such attempt.
    pub(in super::super) async fn of(
        agent: &Agent,
        run: &RunId,
        asked: Option<u32>,
    ) -> Result<Self, ApiError> {
        let (row, directory) = (agent.store.row(run).await?, agent.workspace.run_directory(run));
        let number = match asked {
            Some(number) if (1..=row.attempt).contains(&number) => number,
            Some(number) => {
                let attempts = match row.attempt {
                    1 => "1 attempt".to_owned(),
                    count => format!("{count} attempts"),
                };
                let message = format!("run {run} has no attempt {number}: it has {attempts}");
                return Err(ApiError::invalid(message));
            }
            None if row.attempt == 1 => 1,
            None => {
                let directory = directory.clone();
                task::blocking(move || directory.latest_attempt(row.attempt)).await
            }
        };
        let has_ended = row.status.is_ended() || number < row.attempt;
        Ok(Self { run: directory, number, has_ended })
    }
}
