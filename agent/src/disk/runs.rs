//! What runs that are over take: counted when they end, those of an earlier version once.

use std::sync::Arc;
use std::time::Duration;

use runner::run_directory::RunDirectory;
use tracing::warn;

use crate::agent::Agent;
use crate::statistics::bytes_under;
use crate::store::{RunSize, StoreError};
use crate::task;

/// How often it is looked with nothing said: counting may have failed.
const LOOK: Duration = Duration::from_secs(60);

/// How long it is rested, so that many short runs are written down together.
const REST: Duration = Duration::from_secs(1);

/// Counts runs as they end.
pub(crate) async fn count(agent: Arc<Agent>) {
    loop {
        if let Err(error) = count_those_that_ended(&agent).await {
            warn!(%error, "Could not count what runs take on the disk.");
        }
        tokio::time::sleep(REST).await;
        tokio::time::timeout(LOOK, agent.disk.runs_changed.notified()).await.ok();
    }
}

async fn count_those_that_ended(agent: &Agent) -> Result<(), StoreError> {
    loop {
        agent.disk.set_size_of_runs(agent.store.size_of_runs().await?);
        let runs = agent.store.not_counted().await?;
        if runs.is_empty() {
            return Ok(());
        }
        let runs = runs.into_iter().map(|run| (agent.workspace.run_directory(&run), run));
        let runs: Vec<_> = runs.collect();
        let count = move || runs.into_iter().map(|(at, run)| (run, size_of(&at))).collect();
        agent.store.set_sizes(task::blocking(count).await).await?;
    }
}

fn size_of(run: &RunDirectory) -> RunSize {
    let logs = |run: &RunDirectory| run.std_log().parent().map_or(0, bytes_under);
    let earlier = (1..).map(|number| run.attempt(number));
    let earlier = earlier.take_while(|attempt| attempt.path().is_dir());
    let log_bytes = logs(run) + earlier.map(|attempt| logs(&attempt)).sum::<u64>();
    RunSize { bytes: bytes_under(run.path()), log_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_all_attempts_count() {
        let home = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(home.path().join("run"));
        let put = |run: &RunDirectory| {
            let log = run.std_log();
            std::fs::create_dir_all(log.parent().unwrap()).unwrap();
            std::fs::write(log, vec![1; 100_000]).unwrap();
        };
        put(&run);
        std::fs::create_dir_all(run.outputs()).unwrap();
        std::fs::write(run.outputs().join("model"), vec![1; 500_000]).unwrap();
        let one = size_of(&run);

        put(&run.attempt(1));
        let two = size_of(&run);

        assert!((100_000..200_000).contains(&one.log_bytes), "{one:?}");
        assert!((600_000..700_000).contains(&one.bytes), "{one:?}");
        assert_eq!(two.log_bytes, 2 * one.log_bytes);
        assert!(two.bytes >= one.bytes + 100_000, "{two:?}");
    }
}
