//! The clock is set while a supervisor is at work: it keeps its limits by one that nobody sets.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use runner::compute_target::supervisors::Supervisors;
use runner::exit_record::ExitReason;

use crate::support::{TestRun, supervise_program};

/// Where Debian and Ubuntu have it.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// Returns a run whose supervisor's clock is off by what the file `offset` says.
fn off_by(offset: &Path, script: &str) -> TestRun {
    let mut run = TestRun::of(script);
    let wrapper = run.base().join("supervise");
    let program = supervise_program();
    let text = format!(
        "#!/bin/sh\nexport LD_PRELOAD={LIBRARY} FAKETIME_TIMESTAMP_FILE={offset:?} FAKETIME_NO_CACHE=1 \
         FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1\nexec {program:?} \"$@\"\n"
    );
    fs::write(&wrapper, text).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    run.target = Supervisors::new(wrapper);
    run
}

#[test]
fn limits_and_grace_are_kept_whatever_the_clock_is_set_to() {
    if !Path::new(LIBRARY).exists() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "libfaketime is not installed");
        eprintln!("\n*** LEFT OUT, NOTHING WAS TESTED: libfaketime is not installed ***\n");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let offset = directory.path().join("offset");
    let set = |to: &str| {
        let new = directory.path().join("new");
        fs::write(&new, to).unwrap();
        fs::rename(new, &offset).unwrap();
    };
    for seconds in ["3600", "86400", "31536000"] {
        for sign in ["+", "-"] {
            set("+0");
            let ignoring = "
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('on', flush=True)
time.sleep(1000)
";
            let mut run = off_by(&offset, ignoring);
            run.launch.timeout_seconds = Some(1.0);
            run.launch.grace_seconds = 0.5;
            let begun = Instant::now();
            run.start();
            run.wait_for_output("on\n");

            set(&format!("{sign}{seconds}"));

            let record = run.end();
            let took = begun.elapsed();
            assert_eq!(record.reason, ExitReason::TimeLimit, "{sign}{seconds}: {record:?}");
            assert_eq!(record.signal, Some(9), "{record:?}");
            let limits = Duration::from_millis(1500)..Duration::from_secs(20);
            assert!(limits.contains(&took), "{sign}{seconds}: {took:?}");
            // Its clock was indeed set.
            let passed = record.ended_time_utc.duration_since(record.started_time_utc.unwrap());
            assert!(passed.abs().as_secs() > 3000, "{record:?}");
        }
    }
}
