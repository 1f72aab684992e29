//! One attached machine, as the agent holds it: the same while its host key or its credentials are
//! replaced, so that whoever drives a run there need not know.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use images::cache::EnvironmentLease;
use images::environment::PreparedEnvironment;
use jiff::Timestamp;
use runner::cancel_request::CancelRequest;
use runner::compute_target::ssh::SshTargetSpec;
use runner::compute_target::{
    ComputeTarget, Needs, NotPrepared, OutOfContact, Place, Ready, SupervisorState, TargetError,
};
use runner::exit_record::ExitRecord;
use runner::gpu::GpuUser;
use runner::outputs::Outputs;
use runner::remote::message::Cleaned;
use runner::remote::report::MachineReport;
use runner::run_directory::RunDirectory;
use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;
use snapshots::store::local::LocalStore;

use super::reach::Machine;

/// What is kept of an attached machine: `targets/NAME.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Where it is, and who.
    #[serde(flatten)]
    pub(crate) spec: SshTargetSpec,
    /// The user whose it is; none where it is everybody's to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<u32>,
    /// What it has for runs.
    #[serde(flatten)]
    pub(crate) size: Size,
    /// When it was cleaned last, and of what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cleaned: Option<LastCleaning>,
}

/// What a machine had for runs when it was last asked; none is not known, or of a record that was
/// written before it was asked for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Size {
    /// Processors.
    pub(crate) cpus: Option<u32>,
    /// Memory, in bytes.
    pub(crate) memory_bytes: Option<u64>,
    /// GPUs.
    pub(crate) gpus: Option<u32>,
}

impl Size {
    /// Takes it from what the machine says; none where it does not say at all.
    pub(super) fn of(report: &MachineReport) -> Option<Self> {
        let cpus = Some(report.cpus).filter(|cpus| *cpus > 0)?;
        let gpus = u32::try_from(report.gpus.len()).ok();
        Some(Self { cpus: Some(cpus), memory_bytes: report.memory_bytes, gpus })
    }
}

/// What went from a machine when it was cleaned last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LastCleaning {
    /// When that was.
    pub(crate) time_utc: Timestamp,
    /// What went.
    #[serde(flatten)]
    pub(crate) cleaned: Cleaned,
}

/// An attached machine.
pub(crate) struct Attached {
    name: String,
    now: RwLock<Now>,
    /// When it was last tried to clean it, whatever came of that.
    tried_cleaning: Mutex<Option<Timestamp>>,
}

#[derive(Clone)]
pub(super) struct Now {
    pub(super) kept: Kept,
    pub(super) machine: Arc<dyn Machine>,
    /// What its credentials are, for people.
    pub(super) credentials: Vec<String>,
}

impl Attached {
    pub(super) fn new(now: Now) -> Self {
        let name = now.kept.spec.name.clone();
        Self { name, now: RwLock::new(now), tried_cleaning: Mutex::default() }
    }

    /// Returns what is kept of it.
    pub(crate) fn kept(&self) -> Kept {
        self.now().kept
    }

    /// Returns what its credentials are, for people.
    pub(crate) fn credentials(&self) -> Vec<String> {
        self.now().credentials
    }

    pub(super) fn now(&self) -> Now {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn become_of(&self, now: Now) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = now;
    }

    pub(super) fn set_size(&self, size: Size) {
        self.now.write().unwrap_or_else(PoisonError::into_inner).kept.size = size;
    }

    pub(super) fn set_cleaned(&self, cleaned: LastCleaning) {
        self.now.write().unwrap_or_else(PoisonError::into_inner).kept.cleaned = Some(cleaned);
    }

    /// Returns when it was last tried to clean it, as far as this agent knows.
    pub(crate) fn tried_cleaning(&self) -> Option<Timestamp> {
        *self.tried_cleaning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that it is tried to clean it now.
    pub(crate) fn set_tried_cleaning(&self, now: Timestamp) {
        *self.tried_cleaning.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Returns the machine, to ask it more than runs need.
    pub(crate) fn machine(&self) -> Arc<dyn Machine> {
        self.now().machine
    }
}

/// How soon it is noticed that something need not be waited for any more.
const HEED: Duration = Duration::from_millis(100);

/// Does `work`, which is told to stop when it is `cancelled` or `is_over`: what waits for a machine
/// by the host key or the credentials of before would wait for ever.
fn until<T>(
    cancelled: &AtomicBool,
    is_over: &(dyn Fn() -> bool + Sync),
    work: impl FnOnce(&AtomicBool) -> T,
) -> T {
    let stopped = AtomicBool::new(cancelled.load(Ordering::Relaxed));
    thread::scope(|scope| {
        let (working, done) = channel::<()>();
        let stopped = &stopped;
        scope.spawn(move || {
            while done.recv_timeout(HEED) == Err(RecvTimeoutError::Timeout) {
                if cancelled.load(Ordering::Relaxed) || is_over() {
                    stopped.store(true, Ordering::Relaxed);
                }
            }
        });
        let result = work(stopped);
        drop(working);
        result
    })
}

impl ComputeTarget for Attached {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> Result<Place, TargetError> {
        self.machine().place()
    }

    fn prepare(
        &self,
        run: &RunDirectory,
        needs: &Needs,
        objects: &LocalStore,
        cancelled: &AtomicBool,
    ) -> Result<Ready, NotPrepared> {
        loop {
            let machine = self.machine();
            let is_replaced = || {
                let is_another = !Arc::ptr_eq(&machine, &self.machine());
                is_another && machine.out_of_contact().is_some()
            };
            let prepared = until(cancelled, &is_replaced, |stopped| {
                machine.prepare(run, needs, objects, stopped)
            });
            match prepared {
                Err(NotPrepared::Cancelled) if !cancelled.load(Ordering::Relaxed) => {}
                prepared => return prepared,
            }
        }
    }

    fn lease(
        &self,
        environment: &PreparedEnvironment,
    ) -> Result<Option<EnvironmentLease>, TargetError> {
        self.machine().lease(environment)
    }

    fn gpus(&self, count: u32) -> Result<Vec<String>, TargetError> {
        self.machine().gpus(count)
    }

    fn gpu_users(&self) -> Result<Vec<GpuUser>, TargetError> {
        self.machine().gpu_users()
    }

    fn start(&self, run: &RunDirectory) -> Result<(), TargetError> {
        self.machine().start(run)
    }

    fn probe(&self, run: &RunDirectory) -> Result<SupervisorState, TargetError> {
        self.machine().probe(run)
    }

    fn wait(&self, run: &RunDirectory, limit: Duration) -> Result<SupervisorState, TargetError> {
        self.machine().wait(run, limit)
    }

    fn cancel(&self, run: &RunDirectory, request: &CancelRequest) -> Result<(), TargetError> {
        self.machine().cancel(run, request)
    }

    fn settle(&self, run: &RunDirectory) -> Result<ExitRecord, TargetError> {
        self.machine().settle(run)
    }

    fn collect(
        &self,
        run: &RunDirectory,
        snapshot: &Digest,
        objects: &LocalStore,
    ) -> Result<Outputs, TargetError> {
        self.machine().collect(run, snapshot, objects)
    }

    fn packages(&self, environment: &PreparedEnvironment) -> Result<Arc<[String]>, TargetError> {
        self.machine().packages(environment)
    }

    fn release(&self, run: &RunDirectory) -> Result<(), TargetError> {
        self.machine().release(run)
    }

    fn out_of_contact(&self) -> Option<OutOfContact> {
        self.machine().out_of_contact()
    }
}
