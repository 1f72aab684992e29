//! Why a run ended, decided from what was seen. Pure.

use nix::sys::signal::Signal;

use crate::cancel_request::CancelRequest;
use crate::exit_record::ExitReason;
use crate::sandbox::refused_calls::RefusedCalls;

/// How the main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptStatus {
    Code(i32),
    Signal(i32),
}

/// Why the supervisor ended the script, if it did.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ending {
    Cancelled(CancelRequest),
    TimeLimit { seconds: f64 },
    DiskLimit { bytes: u64, limit_bytes: u64 },
    Stopped { signal: i32, uid: u32 },
}

/// What a container's engine or a cgroup knows of the end of a script, besides how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Why the program never ran although its container did.
    pub(crate) never_ran: Option<String>,
    /// Why it was the engine that ended it.
    pub(crate) engine_stopped: Option<String>,
    /// That the kernel killed a process of it for memory.
    pub(crate) out_of_memory: Option<String>,
    /// Which system calls were refused, if that was told.
    pub(crate) refused_calls: Option<RefusedCalls>,
    /// What people should know besides.
    pub(crate) note: Option<String>,
}

/// What was seen of a run.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) status: ScriptStatus,
    pub(crate) ending: Option<Ending>,
    /// How many processes of the machine the kernel killed for memory meanwhile; 0 where those of
    /// the script are counted.
    pub(crate) oom_kills: u64,
    pub(crate) log_bytes_dropped: u64,
    pub(crate) disk_was_full: bool,
    pub(crate) findings: Findings,
}

/// Decides why the run ended, and says so in a sentence.
pub(crate) fn verdict(facts: &Facts) -> (ExitReason, String) {
    let (reason, mut message) = match &facts.ending {
        Some(ending) => ended_by_us(ending),
        None => ended_by_itself(facts),
    };
    if facts.log_bytes_dropped > 0 {
        let bytes = facts.log_bytes_dropped;
        message +=
            &format!("; {bytes} bytes of its output were lost: the log could not be written");
    }
    let killed = facts.findings.out_of_memory.iter().filter(|_| reason != ExitReason::OutOfMemory);
    for note in killed.chain(&facts.findings.note) {
        message += &format!("; {note}");
    }
    (reason, message)
}

/// Says why a run is over that somebody or a limit ended.
pub(crate) fn ended_by_us(ending: &Ending) -> (ExitReason, String) {
    match ending {
        Ending::Cancelled(request) => {
            (ExitReason::Cancelled, format!("the run was cancelled by {}", request.by))
        }
        Ending::TimeLimit { seconds } => {
            (ExitReason::TimeLimit, format!("the script ran longer than its limit of {seconds} s"))
        }
        Ending::DiskLimit { bytes, limit_bytes } => (
            ExitReason::DiskLimit,
            format!(
                "the run's files took {bytes} bytes of the disk, over its limit of {limit_bytes}"
            ),
        ),
        Ending::Stopped { signal, uid } => (
            ExitReason::SupervisorKilled,
            format!("the supervisor was stopped by {} from uid {uid}", signal_name(*signal)),
        ),
    }
}

fn ended_by_itself(facts: &Facts) -> (ExitReason, String) {
    const KILL: i32 = Signal::SIGKILL as i32;
    let findings = &facts.findings;
    if let Some(why) = &findings.never_ran {
        return (ExitReason::CannotStart, why.clone());
    }
    if let Some(why) = &findings.engine_stopped {
        return (ExitReason::EngineStopped, why.clone());
    }
    if let Some(how) = &findings.out_of_memory
        && facts.status != ScriptStatus::Code(0)
    {
        return (ExitReason::OutOfMemory, how.clone());
    }
    match facts.status {
        ScriptStatus::Code(0) => (ExitReason::Completed, "the script completed".to_owned()),
        // A shell answers 128 + 9 for a command of its own that was killed.
        ScriptStatus::Signal(KILL) | ScriptStatus::Code(137) if facts.oom_kills > 0 => (
            ExitReason::OutOfMemory,
            "the script was killed, and the kernel killed for want of memory at that time"
                .to_owned(),
        ),
        ScriptStatus::Code(code) if facts.disk_was_full => (
            ExitReason::DiskFull,
            format!("the script ended with exit code {code} while the disk was full"),
        ),
        ScriptStatus::Code(code) => {
            (ExitReason::ScriptFailed, format!("the script ended with exit code {code}"))
        }
        ScriptStatus::Signal(signal) => {
            (ExitReason::Signal, format!("the script was ended by {}", signal_name(signal)))
        }
    }
}

/// Returns a signal's name, with what it means where that is not plain.
pub(crate) fn signal_name(signal: i32) -> String {
    let meaning = match Signal::try_from(signal) {
        Ok(Signal::SIGSEGV) => ": a segmentation fault",
        Ok(Signal::SIGBUS) => ": a memory access that cannot be, or /dev/shm is full",
        Ok(Signal::SIGILL) => ": an instruction this processor does not have",
        Ok(Signal::SIGFPE) => ": an arithmetic error",
        Ok(Signal::SIGABRT) => ": it aborted itself",
        Ok(Signal::SIGXCPU) => ": over its processor time limit",
        Ok(Signal::SIGXFSZ) => ": over its file size limit",
        Ok(_) => "",
        Err(_) => return format!("signal {signal}"),
    };
    let name = Signal::try_from(signal).map_or("", Signal::as_str);
    format!("signal {signal} ({name}{meaning})")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::cancel_request::CancelledBy;

    #[test]
    fn every_end_has_its_reason() {
        use ScriptStatus::{Code, Signal};
        let by = CancelledBy { uid: 1000, user: Some("ana".to_owned()) };
        let cancelled =
            Some(Ending::Cancelled(CancelRequest::new(by, Timestamp::UNIX_EPOCH, false)));
        let limit = Some(Ending::TimeLimit { seconds: 1.5 });
        let disk = Some(Ending::DiskLimit { bytes: 3_000_000, limit_bytes: 2_000_000 });
        let stopped = Some(Ending::Stopped { signal: 15, uid: 0 });
        let mut table = String::new();
        for (status, ending, oom_kills, log_bytes_dropped) in [
            (Code(0), None, 0, 0),
            (Code(0), None, 1, 5),
            (Code(3), None, 0, 0),
            (Code(3), None, 0, 5),
            (Code(137), None, 0, 0),
            (Code(137), None, 1, 0),
            (Signal(9), None, 0, 0),
            (Signal(9), None, 1, 0),
            (Signal(11), None, 1, 0),
            (Signal(40), None, 0, 0),
            (Code(0), cancelled.clone(), 0, 0),
            (Signal(9), cancelled, 1, 0),
            (Signal(15), limit, 0, 7),
            (Signal(9), disk, 0, 0),
            (Signal(15), stopped, 0, 0),
        ] {
            let facts = Facts {
                status,
                ending,
                oom_kills,
                log_bytes_dropped,
                disk_was_full: log_bytes_dropped > 0,
                findings: Findings::default(),
            };
            let (reason, message) = verdict(&facts);
            table += &format!("{:18}{message}\n", reason.name());
        }
        insta::assert_snapshot!(table, @r#"
        completed         the script completed
        completed         the script completed; 5 bytes of its output were lost: the log could not be written
        script_failed     the script ended with exit code 3
        disk_full         the script ended with exit code 3 while the disk was full; 5 bytes of its output were lost: the log could not be written
        script_failed     the script ended with exit code 137
        out_of_memory     the script was killed, and the kernel killed for want of memory at that time
        signal            the script was ended by signal 9 (SIGKILL)
        out_of_memory     the script was killed, and the kernel killed for want of memory at that time
        signal            the script was ended by signal 11 (SIGSEGV: a segmentation fault)
        signal            the script was ended by signal 40
        cancelled         the run was cancelled by ana
        cancelled         the run was cancelled by ana
        time_limit        the script ran longer than its limit of 1.5 s; 7 bytes of its output were lost: the log could not be written
        disk_limit        the run's files took 3000000 bytes of the disk, over its limit of 2000000
        supervisor_killed the supervisor was stopped by signal 15 (SIGTERM) from uid 0
        "#);
    }

    #[test]
    fn what_the_engine_knows_counts_unless_we_ended_it() {
        use ScriptStatus::{Code, Signal};
        let stopped = Some(Ending::Stopped { signal: 15, uid: 0 });
        let findings = |never: bool, engine: bool, out_of_memory: bool| Findings {
            never_ran: never.then(|| "never ran".to_owned()),
            engine_stopped: engine.then(|| "engine stopped".to_owned()),
            out_of_memory: out_of_memory.then(|| "the kernel killed it".to_owned()),
            note: Some("a note".to_owned()),
            refused_calls: None,
        };
        let mut table = String::new();
        for (status, ending, findings) in [
            (Code(0), None, findings(false, false, true)),
            (Code(1), None, findings(false, false, true)),
            (Signal(9), None, findings(false, true, true)),
            (Code(127), None, findings(true, false, false)),
            (Signal(15), stopped, findings(false, true, true)),
        ] {
            let facts = Facts {
                status,
                ending,
                oom_kills: 0,
                log_bytes_dropped: 0,
                disk_was_full: false,
                findings,
            };
            let (reason, message) = verdict(&facts);
            table += &format!("{:18}{message}\n", reason.name());
        }
        insta::assert_snapshot!(table, @r#"
        completed         the script completed; the kernel killed it; a note
        out_of_memory     the kernel killed it; a note
        engine_stopped    engine stopped; the kernel killed it; a note
        cannot_start      never ran; a note
        supervisor_killed the supervisor was stopped by signal 15 (SIGTERM) from uid 0; the kernel killed it; a note
        "#);
    }
}
