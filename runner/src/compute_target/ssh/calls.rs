//! What a compute target is asked, asked of a machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use images::cache::EnvironmentLease;
use images::environment::PreparedEnvironment;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use snapshots::digest::Digest;
use snapshots::path_error::{IoContext as _, PathError};
use snapshots::store::local::LocalStore;

use super::super::{
    ComputeTarget, LostReason, Needs, NotPrepared, OutOfContact, Place, Ready, SupervisorState,
    TargetError, Told,
};
use super::mirror::Known;
use super::trouble::Unanswered;
use super::{SshTarget, fetch};
use crate::cancel_request::CancelRequest;
use crate::durable_file;
use crate::exit_record::{ExitReason, ExitRecord};
use crate::gpu::GpuUser;
use crate::launch::Launch;
use crate::outputs::Outputs;
use crate::remote::frame::PROTOCOL;
use crate::remote::message::{Done, Hello, Hidden, Left, RefusalKind, Request, Standing, Started};
use crate::run_directory::RunDirectory;
use crate::run_id::RunId;

/// How long a question that is answered from what is heard anyway waits for the first word.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the last bytes of a run that was ended there may take to come home, before whoever
/// asked for it asks again.
const HOMEWARD: Duration = Duration::from_secs(60);

impl ComputeTarget for SshTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> Result<Place, TargetError> {
        // Every connection begins with it, so that it is as new as the last one.
        if let (Some(hello), None) = (self.pool.hello(), self.out_of_contact()) {
            return Ok(hello.place);
        }
        let hello: Hello = self.ask(&Request::Hello { protocol: PROTOCOL })?;
        Ok(hello.place)
    }

    fn prepare(
        &self,
        run: &RunDirectory,
        needs: &Needs,
        objects: &LocalStore,
        cancelled: &AtomicBool,
    ) -> Result<Ready, NotPrepared> {
        self.prepare_there(run, needs, objects, cancelled)
    }

    /// The machine sees to it by itself.
    fn lease(&self, _: &PreparedEnvironment) -> Result<Option<EnvironmentLease>, TargetError> {
        Ok(None)
    }

    fn gpus(&self, count: u32) -> Result<Vec<String>, TargetError> {
        if count == 0 { Ok(Vec::new()) } else { self.ask(&Request::Gpus { count }) }
    }

    fn gpu_users(&self) -> Result<Vec<GpuUser>, TargetError> {
        self.ask(&Request::GpuUsers)
    }

    fn start(&self, run: &RunDirectory) -> Result<(), TargetError> {
        let id = id_of(run)?;
        let started = || TargetError::AlreadyStarted { run: run.path().to_owned() };
        if run.exit_json().exists() {
            return Err(started());
        }
        let launch: Option<Launch> = durable_file::read_json(&run.launch_json())?;
        let launch = launch
            .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))
            .context("read", run.launch_json())?;
        let secrets: Option<BTreeMap<String, Hidden>> =
            durable_file::read_json(&run.secrets_json())?;
        self.mirror.follow(&id, run);
        let request = Request::Start {
            run: id.clone(),
            launch: Box::new(launch),
            secrets: secrets.unwrap_or_default(),
        };
        let answer = self.pool.with_client(|client| client.ask::<Started>(&request));
        let answer = match answer {
            // Its supervisor would be told of first, had it ever had one.
            Err(Unanswered::Refused(refusal)) if refusal.kind == RefusalKind::NotPrepared => {
                return Err(TargetError::NotPrepared { run: run.path().to_owned() });
            }
            answer => answer.map_err(|unanswered| unanswered.into_error(&self.name))?,
        };
        self.mirror.is_started(&id);
        if let Err(error) = run.forget_secrets() {
            tracing::error!(%error, "The secrets of a run are still on the disk.");
        }
        match answer {
            Started::Now => Ok(()),
            Started::Before => Err(started()),
        }
    }

    fn probe(&self, run: &RunDirectory) -> Result<SupervisorState, TargetError> {
        if let Some(exit) = ExitRecord::read(run)? {
            return Ok(SupervisorState::Ended(exit));
        }
        let id = id_of(run)?;
        self.mirror.follow(&id, run);
        let known = self.mirror.known(&id, PATIENCE);
        let known = known.map_err(|contact| self.out_of_reach(contact))?;
        self.state(run, Some(known))
    }

    fn wait(&self, run: &RunDirectory, limit: Duration) -> Result<SupervisorState, TargetError> {
        if let Some(exit) = ExitRecord::read(run)? {
            return Ok(SupervisorState::Ended(exit));
        }
        let id = id_of(run)?;
        self.mirror.follow(&id, run);
        let known = self.mirror.wait(&id, limit, &|known| !is_on(known));
        match (self.out_of_contact(), known) {
            (None, None) => self.probe(run),
            (Some(contact), known) if known != Some(Known::Over) => Err(self.out_of_reach(contact)),
            (_, known) => self.state(run, known),
        }
    }

    fn cancel(&self, run: &RunDirectory, request: &CancelRequest) -> Result<(), TargetError> {
        let run = id_of(run)?;
        let Done {} = self.ask(&Request::Cancel { run, cancel: request.clone() })?;
        Ok(())
    }

    fn settle(&self, run: &RunDirectory) -> Result<ExitRecord, TargetError> {
        if let Some(exit) = ExitRecord::read(run)? {
            return Ok(exit);
        }
        let id = id_of(run)?;
        self.mirror.follow(&id, run);
        let path = || run.path().to_owned();
        let settled = self
            .pool
            .with_client(|client| client.ask::<ExitRecord>(&Request::Settle { run: id.clone() }));
        match settled {
            Ok(_) => self.come_home(&id, run),
            Err(Unanswered::Refused(refusal)) => match refusal.kind {
                RefusalKind::StillSupervised => Err(TargetError::StillSupervised { run: path() }),
                RefusalKind::NotStarted => Err(TargetError::NotStarted { run: path() }),
                RefusalKind::NotFound => self.close_forgotten(&id, run),
                _ => Err(Unanswered::Refused(refusal).into_error(&self.name)),
            },
            Err(unanswered) => Err(unanswered.into_error(&self.name)),
        }
    }

    fn collect(
        &self,
        run: &RunDirectory,
        snapshot: &Digest,
        _: &LocalStore,
    ) -> Result<Outputs, TargetError> {
        let id = id_of(run)?;
        let collect = Request::Collect { run: id.clone(), snapshot: *snapshot };
        let collected = self.pool.with_client(|client| {
            let left: Left = client.ask(&collect)?;
            fetch::fetch(&id, run, left, client)
        });
        collected.map_err(|unanswered| unanswered.into_error(&self.name))
    }

    fn packages(&self, environment: &PreparedEnvironment) -> Result<Arc<[String]>, TargetError> {
        let environment = environment.clone();
        Ok(self.ask::<Vec<String>>(&Request::Packages { environment })?.into())
    }

    fn release(&self, run: &RunDirectory) -> Result<(), TargetError> {
        let id = id_of(run)?;
        let Done {} = self.ask(&Request::Release { run: id.clone() })?;
        self.mirror.leave(&id);
        Ok(())
    }

    fn out_of_contact(&self) -> Option<OutOfContact> {
        self.pool.contact.out_of_contact()
    }
}

impl SshTarget {
    pub(super) fn ask<A: DeserializeOwned>(&self, request: &Request) -> Result<A, TargetError> {
        let answer = self.pool.with_client(|client| client.ask(request));
        answer.map_err(|unanswered| unanswered.into_error(&self.name))
    }

    fn out_of_reach(&self, contact: OutOfContact) -> TargetError {
        TargetError::OutOfContact { target: self.name.clone(), contact }
    }

    /// Tells what is known of a run as the state of its supervisor.
    fn state(
        &self,
        run: &RunDirectory,
        known: Option<Known>,
    ) -> Result<SupervisorState, TargetError> {
        match known {
            None => Err(self.out_of_reach(self.pool.contact.no_answer_yet())),
            Some(Known::Standing(Standing::Supervised { state })) => Ok(state),
            Some(Known::Standing(_)) => Ok(SupervisorState::NotStarted),
            Some(Known::Forgotten) => Ok(SupervisorState::Lost(LostReason::SupervisorGone)),
            Some(Known::Over) => match ExitRecord::read(run)? {
                Some(exit) => Ok(SupervisorState::Ended(exit)),
                // It was let go meanwhile.
                None => Ok(SupervisorState::NotStarted),
            },
            Some(Known::Fault(message)) => {
                let told = Told { reason: ExitReason::AgentFault, message, hint: None };
                Err(TargetError::Told { told })
            }
        }
    }

    /// Waits until all of a run that is over is at home.
    fn come_home(&self, id: &RunId, run: &RunDirectory) -> Result<ExitRecord, TargetError> {
        let until = Instant::now() + HOMEWARD;
        self.mirror.is_changed(id);
        let known = self.mirror.wait(id, HOMEWARD, &|known| {
            matches!(known, Known::Over | Known::Fault(_)) || Instant::now() >= until
        });
        match self.state(run, known)? {
            SupervisorState::Ended(exit) => Ok(exit),
            _ => Err(self.out_of_reach(self.pool.contact.no_answer_yet())),
        }
    }

    /// Ends a run at home that the machine has forgotten, as one that was set up anew has.
    fn close_forgotten(&self, id: &RunId, run: &RunDirectory) -> Result<ExitRecord, TargetError> {
        let known = self.mirror.known(id, PATIENCE);
        match known.map_err(|contact| self.out_of_reach(contact))? {
            Known::Forgotten => {}
            Known::Standing(_) => {
                return Err(TargetError::NotStarted { run: run.path().to_owned() });
            }
            known => {
                return match self.state(run, Some(known))? {
                    SupervisorState::Ended(exit) => Ok(exit),
                    _ => Err(TargetError::NotStarted { run: run.path().to_owned() }),
                };
            }
        }
        let message = format!("target {:?} has nothing of the run any more", self.name);
        let exit = ExitRecord::new(ExitReason::LostContact, message, Timestamp::now());
        exit.write(run)?;
        self.mirror.leave(id);
        Ok(ExitRecord::read(run)?.unwrap_or(exit))
    }
}

/// Says whether there is something to wait for.
fn is_on(known: &Known) -> bool {
    matches!(known, Known::Standing(Standing::Supervised { state: SupervisorState::Running(_) }))
}

/// Returns which run `run` is of: directories are named for their runs.
pub(super) fn id_of(run: &RunDirectory) -> Result<RunId, PathError> {
    let name = run.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.parse::<RunId>()
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))
        .context("find the id of a run in", run.path())
}
