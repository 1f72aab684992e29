//! Preparing a run: `trainyard remote prepare RUN_DIR`.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use images::cache::EnvironmentLease;
use images::environment::PreparedEnvironment;
use snapshots::error_chain::chain;
use snapshots::path_error::PathError;

use super::files::RemoteHome;
use super::lock::FileLock;
use super::message::Refusal;
use super::run::{Outcome, PreparedRecord, RemoteRun, TAKEN};
use super::workshop::Workshop;
use crate::compute_target::{ComputeTarget as _, Needs, NotPrepared, Ready, SupervisorState, Told};
use crate::detached;
use crate::durable_file;
use crate::exit_record::ExitReason;
use crate::run_directory::RunDirectory;

/// How often it is looked whether the run is to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long the environment of a run is kept that nobody starts.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// After so many processes that died over it, preparing a run is given up.
const TRIES: usize = 3;

/// Prepares the run in `run` as its `prepare.json` says, writes what came of it, and then keeps the
/// environment from being removed until the run is over. Returns at once when another process is
/// at it.
///
/// # Errors
///
/// What came of it cannot be written.
pub fn prepare(home: &RemoteHome, program: PathBuf, run: &RunDirectory) -> Result<(), PathError> {
    detached::leave();
    let run = RemoteRun::new(run.clone());
    let Some(lock) = FileLock::try_take(&run.prepare_lock())? else { return Ok(()) };
    say_taken();
    let workshop = match Workshop::open(home, program) {
        Ok(workshop) => workshop,
        Err(refusal) => return write(&run, not_opened(refusal)),
    };
    let lease = match run.outcome()? {
        Some(Outcome::NotPrepared { .. }) => None,
        Some(Outcome::Prepared { environment, warnings, leased: true }) => {
            keep_on(&workshop, &run, environment, warnings)?
        }
        Some(Outcome::Prepared { leased: false, .. }) => None,
        None if run.directory.supervisor_json().exists() => None,
        None => prepare_now(&workshop, &run)?,
    };
    if let Some(lease) = lease {
        wait_for_end(&workshop, &run);
        drop(lease);
    }
    drop(lock);
    Ok(())
}

/// Tells whoever started this process that it need not be started again. Nobody has to listen.
fn say_taken() {
    let mut out = std::io::stdout();
    let _nobody_listens = out.write_all(TAKEN.as_bytes()).and_then(|()| out.flush());
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        let _stays_open = nix::unistd::dup2_stdout(&null);
    }
}

/// Keeps an environment that nobody kept for a while. If it is gone, a run that waits to be started
/// is prepared again; for one that was started nothing can be done.
fn keep_on(
    workshop: &Workshop,
    run: &RemoteRun,
    environment: Box<PreparedEnvironment>,
    warnings: Vec<String>,
) -> Result<Option<EnvironmentLease>, PathError> {
    if let Ok(Some(lease)) = workshop.target.lease(&environment) {
        return Ok(Some(lease));
    }
    if run.directory.supervisor_json().exists() {
        write(run, Outcome::Prepared { environment, warnings, leased: false })?;
        return Ok(None);
    }
    run.forget_outcome()?;
    prepare_now(workshop, run)
}

fn prepare_now(
    workshop: &Workshop,
    run: &RemoteRun,
) -> Result<Option<EnvironmentLease>, PathError> {
    let Some(needs) = run.needs()? else { return Ok(None) };
    let tried = run.begin_try()?;
    let ready = if tried > TRIES { Err(died_too_often()) } else { work(workshop, run, &needs) };
    // Also of a second request for the run, which came too late to be of use.
    run.directory.forget_registry_password()?;
    match ready {
        Ok(Ready { environment, warnings, lease }) => {
            let environment = Box::new(environment);
            write(run, Outcome::Prepared { environment, warnings, leased: lease.is_some() })?;
            Ok(lease)
        }
        Err(error) => {
            let told = Told { reason: error.reason(), message: chain(&error), hint: error.hint() };
            write(run, Outcome::NotPrepared { told })?;
            Ok(None)
        }
    }
}

/// Prepares the run for as long as nobody wants it to end.
fn work(workshop: &Workshop, run: &RemoteRun, needs: &Needs) -> Result<Ready, NotPrepared> {
    let cancelled = AtomicBool::new(wants_end(run));
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(|| {
            let is_done = is_done;
            while is_done.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                if wants_end(run) {
                    cancelled.store(true, Ordering::Relaxed);
                }
            }
        });
        let ready = workshop.target.prepare(&run.directory, needs, &workshop.objects, &cancelled);
        drop(done);
        ready
    })
}

/// Says whether the run was cancelled, or is gone.
fn wants_end(run: &RemoteRun) -> bool {
    run.directory.cancel_json().exists() || !run.prepare_json().exists()
}

fn write(run: &RemoteRun, outcome: Outcome) -> Result<(), PathError> {
    durable_file::write_json(&run.prepared_json(), &PreparedRecord::new(outcome)?)
}

fn not_opened(refusal: Refusal) -> Outcome {
    let Refusal { message, hint, .. } = refusal;
    Outcome::NotPrepared { told: Told { reason: ExitReason::AgentFault, message, hint } }
}

fn died_too_often() -> NotPrepared {
    NotPrepared::Told(Told {
        reason: ExitReason::EnvironmentFailed,
        message: format!(
            "what prepares the run was killed {TRIES} times before it was done; the machine may be \
             short of memory"
        ),
        hint: Some("see the kernel's log on the machine, `dmesg`, for what killed it".to_owned()),
    })
}

/// Waits until the run is over, or nobody seems to want it any more.
fn wait_for_end(workshop: &Workshop, run: &RemoteRun) {
    let begun = Instant::now();
    loop {
        match workshop.target.wait(&run.directory, Duration::from_secs(60)) {
            Ok(SupervisorState::Running(_)) => {}
            Ok(SupervisorState::NotStarted) => {
                let wanted = run.prepare_json().exists() && begun.elapsed() < PATIENCE;
                if !wanted {
                    return;
                }
                thread::sleep(LOOK_EVERY);
            }
            Ok(SupervisorState::Ended(_) | SupervisorState::Lost(_)) | Err(_) => return,
        }
    }
}
