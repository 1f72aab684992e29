//! The inner process: carries out the run from its claim to its exit record.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::resource::{UsageWho, getrusage};
use rustix::fs::{FallocateFlags, fallocate};
use snapshots::path_error::{IoContext as _, PathError};

use crate::cancel_request::CancelRequest;
use crate::durable_file;
use crate::exit_record::{ExitReason, ExitRecord};
use crate::launch::{LAUNCH_VERSION, Launch};
use crate::process_identity::{ProcessIdentity, ProcessStat};
use crate::run_directory::RunDirectory;
use crate::sandbox::cgroup::{Join, RunCgroups};
use crate::sandbox::plan::{Plan, SandboxRefused};
use crate::supervisor::claim::SupervisorRecord;
use crate::supervisor::container::{ContainerError, ContainerStart};
use crate::supervisor::event_loop::{EventLoop, Limits, Outcome};
use crate::supervisor::events::{Event, EventLog};
use crate::supervisor::local_process::LocalProcess;
use crate::supervisor::log_writer::LogWriter;
use crate::supervisor::masker::Masker;
use crate::supervisor::sandboxed::SandboxError;
use crate::supervisor::sandboxing::{SandboxPlace, SandboxedScript};
use crate::supervisor::script::{RunningScript, Script, StartError};
use crate::supervisor::secrets::Secrets;
use crate::supervisor::temporary_directory::TemporaryDirectory;
use crate::supervisor::verdict::{Ending, Facts, ScriptStatus, ended_by_us, verdict};
use crate::supervisor::watches::Watches;
use crate::supervisor::workload::Workload;
use crate::supervisor::{DISK_FULL, FirstWord, OUR_FAULT, complain};

/// Kept free from the start, so that the end can be written on a full disk.
const RESERVE_BYTES: u64 = 64 * 1024;

/// As good as without limit, and adding it to a clock overflows nothing.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Why a run was not started.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotStarted {
    /// Somebody wanted its end before that.
    #[error("{} before it started", ended_by_us(ending).1)]
    Ended { ending: Ending },
    #[error(transparent)]
    Script(#[from] StartError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Refused(#[from] SandboxRefused),
    #[error(transparent)]
    Sandbox(SandboxError),
    #[error("the launch record has version {found}; this program reads {LAUNCH_VERSION}")]
    Version { found: u32 },
    #[error("there is no launch record {path:?}")]
    NoLaunch { path: std::path::PathBuf },
    #[error("{what} of {seconds} seconds is no length of time")]
    Time { what: &'static str, seconds: f64 },
    #[error("the secret {name:?} is missing")]
    NoSecret { name: String },
    #[error("the path {path:?} is not UTF-8, which a TMPDIR must be")]
    Path { path: std::path::PathBuf },
    #[error(transparent)]
    File(#[from] PathError),
}

/// Claims the run and carries it out.
pub(crate) fn carry_out(run: &RunDirectory, guard: ProcessIdentity) -> ExitCode {
    match claim(run, guard) {
        Ok(true) => FirstWord::TakenOver.say(),
        Ok(false) => {
            FirstWord::AlreadyStarted.say();
            return ExitCode::from(OUR_FAULT);
        }
        Err(error) => return failed(&error),
    }
    carry_out_claimed(run).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

/// Says what went wrong: to people in the log, to the guard by the code.
fn failed(error: &PathError) -> ExitCode {
    complain(error);
    let full = error.source.kind() == io::ErrorKind::StorageFull;
    ExitCode::from(if full { DISK_FULL } else { OUR_FAULT })
}

fn claim(run: &RunDirectory, guard: ProcessIdentity) -> Result<bool, PathError> {
    // Orphans of the script come to us, not to the guard.
    nix::sys::prctl::set_child_subreaper(true).context("adopt orphans in", "/proc/self")?;
    let supervisor = ProcessIdentity::of_this_process()?;
    SupervisorRecord { version: 1, guard, supervisor }.claim(run)
}

/// Carries out a run that is ours: whatever happens, it ends with a record.
fn carry_out_claimed(run: &RunDirectory) -> Result<(), PathError> {
    let mut events = EventLog::open(run)?;
    let reserve = reserve(run);
    let record = match attempt(run, &mut events) {
        Ok(record) => record,
        Err(error) => not_started(&error),
    };
    // Before the record, which is the last thing that happens to a run.
    events.say(Event::Ended { reason: record.reason });
    if reserve.is_ok()
        && let Err(error) = fs::remove_file(run.path().join(".reserve"))
            .context("remove the reserve of", run.path())
    {
        complain(&error);
    }
    // Nobody else knows how the script ended: a disk that fails once is not to cost that.
    let written = record.write(run).or_else(|error| {
        complain(&error);
        record.write(run)
    });
    written.map(drop)
}

/// Returns the record of a run whose script never ran.
fn not_started(error: &NotStarted) -> ExitRecord {
    let reason = match error {
        NotStarted::Ended { ending } => ended_by_us(ending).0,
        NotStarted::Script(StartError::Pipe { .. }) => ExitReason::AgentFault,
        NotStarted::Container(error) => error.reason(),
        NotStarted::Script(_) => ExitReason::CannotStart,
        NotStarted::Refused(_) | NotStarted::Sandbox(_) => ExitReason::SandboxFailed,
        NotStarted::File(error) if error.source.kind() == io::ErrorKind::StorageFull => {
            ExitReason::DiskFull
        }
        _ => ExitReason::AgentFault,
    };
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message += &format!(": {error}");
        cause = error.source();
    }
    if let NotStarted::Container(error) = error
        && let Some(hint) = error.hint()
    {
        message += &format!("; {hint}");
    }
    let mut record = ExitRecord::new(reason, message, Timestamp::now());
    if let NotStarted::Ended { ending: Ending::Cancelled(request) } = error {
        record.cancelled_by = Some(request.by.clone());
    }
    record
}

/// Starts the script and stays with it to the end.
fn attempt(run: &RunDirectory, events: &mut EventLog) -> Result<ExitRecord, NotStarted> {
    let secrets = Secrets::take(run)?;
    let path = run.launch_json();
    let launch: Launch = durable_file::read_json(&path)?.ok_or(NotStarted::NoLaunch { path })?;
    let limits = limits(&launch)?;
    let watches = Watches::open(run)?;
    if let Some(request) = CancelRequest::read(run)? {
        return Err(NotStarted::Ended { ending: Ending::Cancelled(request) });
    }
    make_directories(run)?;
    let mut log = LogWriter::create(run, &Masker::new(secrets.values()))?;
    let temporary = TemporaryDirectory::create(run)?;
    let oom_kills_before = oom_kills();
    let started = start(run, &launch, (&secrets, &watches), &temporary, events);
    let Started { mut workload, output, sandbox } = match started {
        Ok(started) => started,
        Err(error) => {
            if let Err(error) = temporary.close() {
                complain(&error);
            }
            return Err(error);
        }
    };
    let started = Timestamp::now();

    let both = (&mut log, &mut *events);
    let outcome = EventLoop::new(run, workload.as_mut(), output, watches, both, limits).run();

    let confinement = workload.confinement();
    let is_counted = confinement.counts.oom_kills.is_some();
    let facts = Facts {
        status: outcome.status,
        ending: outcome.ending.clone(),
        oom_kills: if is_counted { 0 } else { oom_kills().saturating_sub(oom_kills_before) },
        log_bytes_dropped: log.bytes_dropped(),
        disk_was_full: log.disk_was_full(),
        findings: workload.findings(),
    };
    let synced = log.sync();
    let mut record = record(&facts, &outcome, &log, started);
    if launch.container.is_none() {
        measure(&mut record);
    }
    record.confinement = record.started_time_utc.map(|_| Box::new(confinement));
    if let Some(mut plan) = sandbox {
        plan.record.refused_calls = facts.findings.refused_calls;
        let place = SandboxPlace { run, launch: &launch, temporary: &temporary };
        let said = match outcome.ending {
            None => place.record(plan, outcome.status),
            Some(_) => plan.record,
        };
        // The others are in the record.
        if let Some(denial) = said.denials.first() {
            record.message += &format!("; {denial}");
        }
        record.sandbox = Some(Box::new(said));
    }
    if let Err(error) = synced {
        record.message += &format!("; its log may not survive a power cut: {error}");
    }
    workload.close();
    if let Err(error) = temporary.close() {
        complain(&error);
    }
    Ok(record)
}

/// What is looked after.
struct Started {
    workload: Box<dyn Workload>,
    /// The reading ends of its stdout and stderr.
    output: [OwnedFd; 2],
    sandbox: Option<Plan>,
}

/// Starts what is to be looked after, and says so.
fn start(
    run: &RunDirectory,
    launch: &Launch,
    (secrets, watches): (&Secrets, &Watches),
    temporary: &TemporaryDirectory,
    events: &mut EventLog,
) -> Result<Started, NotStarted> {
    if let Some(container) = &launch.container {
        let start = ContainerStart { run, launch, container, secrets, temporary };
        let (container, output) = start.start(events)?;
        return Ok(Started { workload: Box::new(container), output, sandbox: None });
    }
    let mut script = script(run, launch, secrets)?;
    let limits = launch.limits.clone().unwrap_or_default();
    let mut cgroups = RunCgroups::make(&launch.run_id, &limits, events);
    let join = cgroups.join();
    let place = SandboxPlace { run, launch, temporary };
    let started = match &launch.sandbox {
        Some(policy) => place.start(&script, policy, join.as_ref(), watches),
        None => at_large(&mut script, temporary, join.as_ref()),
    };
    let (RunningScript { pid, stdout, stderr }, sandboxed) = match started {
        Ok(started) => started,
        Err(error) => {
            cgroups.close();
            return Err(error);
        }
    };
    let (sandboxed, sandbox) = sandboxed.unzip();
    let stat = ProcessStat::read(pid).ok().flatten();
    events.say(Event::Started { pid, start_time: stat.map_or(0, |stat| stat.start_time) });
    cgroups.entered(join.as_deref(), events);
    let workload = Box::new(LocalProcess::new(pid, sandboxed, cgroups));
    Ok(Started { workload, output: [stdout, stderr], sandbox })
}

/// Starts the script as a process like any other.
fn at_large(
    script: &mut Script<'_>,
    temporary: &TemporaryDirectory,
    join: Option<&Arc<Join>>,
) -> Result<SandboxedScript, NotStarted> {
    if !temporary.is_text() {
        return Err(NotStarted::Path { path: temporary.path().to_owned() });
    }
    script.default_variable("TMPDIR", &temporary.path().to_string_lossy());
    Ok((script.start(join.cloned())?, None))
}

fn record(facts: &Facts, outcome: &Outcome, log: &LogWriter, started: Timestamp) -> ExitRecord {
    let (reason, message) = verdict(facts);
    let mut record = ExitRecord::new(reason, message, Timestamp::now());
    if reason != ExitReason::CannotStart {
        record.started_time_utc = Some(started);
        match outcome.status {
            ScriptStatus::Code(code) => record.code = Some(code),
            ScriptStatus::Signal(signal) => record.signal = Some(signal),
        }
    }
    if let Some(Ending::Cancelled(request)) = &outcome.ending {
        record.cancelled_by = Some(request.by.clone());
    }
    record.log_bytes = log.bytes();
    record.log_bytes_dropped = log.bytes_dropped();
    record.leftover_processes = outcome.leftovers;
    record
}

/// Notes what the script used, with all that descended from it: they were our children. A
/// container's are its engine's, whose figures are gone with its processes.
fn measure(record: &mut ExitRecord) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) {
        let seconds = |time: nix::sys::time::TimeVal| {
            let micros = u32::try_from(time.tv_usec()).unwrap_or(0);
            let whole = u32::try_from(time.tv_sec()).unwrap_or(u32::MAX);
            f64::from(whole) + f64::from(micros) / 1e6
        };
        record.cpu_seconds = Some(seconds(usage.user_time()) + seconds(usage.system_time()));
        record.peak_memory_bytes = u64::try_from(usage.max_rss()).ok().map(|kib| kib * 1024);
    }
}

fn limits(launch: &Launch) -> Result<Limits, NotStarted> {
    if launch.version != LAUNCH_VERSION {
        return Err(NotStarted::Version { found: launch.version });
    }
    let time = |what, seconds: f64| {
        if seconds >= CENTURY.as_secs_f64() {
            return Ok(CENTURY);
        }
        Duration::try_from_secs_f64(seconds).map_err(|_| NotStarted::Time { what, seconds })
    };
    Ok(Limits {
        timeout: launch.timeout_seconds.map(|s| time("a time limit", s)).transpose()?,
        grace: time("a grace time", launch.grace_seconds)?,
        disk_bytes: launch.disk_bytes,
    })
}

/// Puts together what is to be started.
fn script<'a>(
    run: &RunDirectory,
    launch: &'a Launch,
    secrets: &Secrets,
) -> Result<Script<'a>, NotStarted> {
    let mut environment = launch.environment.clone();
    for name in &launch.secret_names {
        let value =
            secrets.value(name).ok_or_else(|| NotStarted::NoSecret { name: name.clone() })?;
        environment.insert(name.clone(), value.to_owned());
    }
    // What is left of a run whose supervisor was killed is found by this, so it cannot be chosen.
    environment.insert("TRAINYARD_RUN_ID".to_owned(), launch.run_id.to_string());
    let working_directory = run.path().join(&launch.working_directory);
    Ok(Script { program: &launch.program, environment, working_directory })
}

/// Makes the directories that a script may count on.
fn make_directories(run: &RunDirectory) -> Result<(), PathError> {
    for path in [run.outputs(), run.logs(), run.path().join("user_logs")] {
        fs::create_dir_all(&path).context("create", path)?;
    }
    Ok(())
}

/// Sets disk space aside that the exit record can be written with.
fn reserve(run: &RunDirectory) -> io::Result<()> {
    let file = File::create(run.path().join(".reserve"))?;
    fallocate(file, FallocateFlags::empty(), 0, RESERVE_BYTES)?;
    Ok(())
}

/// Returns how many processes of this machine the kernel has killed for memory since the boot.
fn oom_kills() -> u64 {
    let text = fs::read_to_string(Path::new("/proc/vmstat")).unwrap_or_default();
    parse_oom_kills(&text)
}

fn parse_oom_kills(text: &str) -> u64 {
    let mut values = text.lines().filter_map(|line| line.strip_prefix("oom_kill "));
    values.next().and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_how_often_it_killed_for_memory() {
        assert_eq!(parse_oom_kills("pgfault 12\noom_kill 3\nnuma_hit 1\n"), 3);
        assert_eq!(parse_oom_kills(""), 0);
    }
}
