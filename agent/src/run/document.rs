//! A run as it is shown: what the records say, and what only the agent knows.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;

use runner::compute_target::ComputeTarget;
use runner::run_id::RunId;
use runner::supervisor::events;

use super::status::RunStatus;
use super::submission::PATCH_FILE;
use crate::agent::Agent;
use crate::api::wire::run::{OutOfContact, OutputFile, Outputs, Run, RunSummary};
use crate::store::StoreError;
use crate::targets::RegistryError;
use crate::task;
use crate::user_database;

impl Agent {
    /// Returns all that is known of `run`.
    ///
    /// # Errors
    ///
    /// There is no such run, or the records cannot be read.
    pub(crate) async fn document(&self, run: &RunId) -> Result<Run, StoreError> {
        let mut document = self.store.document(run).await?;
        let directory = self.workspace.run_directory(run);
        if document.summary.status == RunStatus::Queued {
            let waits = self.waits().remove(run.as_str());
            document.summary.position = waits.as_ref().and_then(|waits| waits.position);
            document.summary.waits_for = waits.and_then(|waits| waits.waits_for);
        }
        self.tell_contact(&mut document.summary);
        self.tell_users(std::slice::from_mut(&mut document.summary)).await;
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

    /// Returns what `run` has left so far. From another machine it is brought here first.
    ///
    /// # Errors
    ///
    /// There is no such run, or its target cannot be asked.
    pub(crate) async fn outputs_so_far(&self, run: &RunId) -> Result<Outputs, RegistryError> {
        let row = self.store.row(run).await?;
        let target = self.targets.attached(&row.request.target);
        let Some(target) = target.filter(|_| row.status == RunStatus::Running) else {
            let document = self.store.document(run).await?;
            return Ok(Outputs { output_files: document.output_files, notes: Vec::new() });
        };
        let (directory, name) = (self.workspace.run_directory(run), row.request.target);
        let snapshot = row.request.snapshot_id;
        let objects = self.objects.get(row.store).await?;
        let left = task::blocking(move || target.collect(&directory, &snapshot, &objects)).await;
        let left = left.map_err(RegistryError::of(&name))?;
        let files = left.files.iter().map(|file| {
            OutputFile::new(file.path.as_os_str().as_bytes(), file.size, file.sha256.to_string())
        });
        Ok(Outputs { output_files: files.collect(), notes: left.notes })
    }

    /// Says of runs what the users who handed them in are called.
    pub(crate) async fn tell_users(&self, runs: &mut [RunSummary]) {
        let uids: BTreeSet<_> = runs.iter().map(|run| run.uid).collect();
        let names = task::blocking(move || {
            uids.into_iter().map(|uid| (uid, user_database::name_of(uid))).collect()
        });
        let names: BTreeMap<u32, Option<String>> = names.await;
        for run in runs {
            run.user = names.get(&run.uid).cloned().flatten();
        }
    }

    /// Says of a run that is not over whether its target is out of contact.
    pub(crate) fn tell_contact(&self, run: &mut RunSummary) {
        if !run.status.is_ended() {
            let contact = self.targets.out_of_contact(&run.target);
            run.out_of_contact = contact.map(|contact| OutOfContact::of(&run.target, contact));
        }
    }
}
