//! A run as it is shown: what the records say, and what only the agent knows.

use runner::run_id::RunId;
use runner::supervisor::events;

use super::submission::PATCH_FILE;
use crate::agent::Agent;
use crate::api::wire::run::{OutputFile, Run};
use crate::store::StoreError;

impl Agent {
    /// Returns all that is known of `run`.
    ///
    /// # Errors
    ///
    /// There is no such run, or the records cannot be read.
    pub(crate) async fn document(&self, run: &RunId) -> Result<Run, StoreError> {
        let mut document = self.store.document(run).await?;
        let directory = self.workspace.run_directory(run);
        document.summary.position = self.scheduler.position(run);
        document.run_directory = directory.path().to_string_lossy().into_owned();
        let is_contained =
            document.prepared_environment.as_ref().is_some_and(|it| it.image.is_some());
        if is_contained && !document.summary.status.is_ended() {
            let events = events::read(&directory).unwrap_or_default();
            document.engine_away_since_time_utc = events::engine_away_since(&events);
        }
        let logs = ["user_logs/std_log.txt", "system_logs/environment_build.log", PATCH_FILE];
        let mut log_files = logs.map(str::to_owned).to_vec();
        log_files.retain(|name| directory.path().join(name).is_file());
        let is_log = |file: &&OutputFile| file.path.starts_with("logs/");
        let own = document.output_files.iter().filter(is_log);
        // A name that is not text cannot be said here; it is among the outputs.
        let own = own.filter(|file| file.path_base64.is_none());
        log_files.extend(own.map(|file| file.path.clone()));
        document.log_files = log_files;
        Ok(document)
    }
}
