//! A run through every end reason that a supervisor can tell.

use std::fs;
use std::process::Command;

use runner::compute_target::{LostReason, SupervisorState};
use runner::exit_record::{ExitReason, ExitRecord};
use runner::supervisor::claim::SupervisorRecord;
use runner::supervisor::events::Event;

use crate::support::TestRun;

fn shown(record: &ExitRecord) -> String {
    let ExitRecord { reason, code, signal, message, .. } = record;
    let exit = record.process_exit_code();
    format!("{} code={code:?} signal={signal:?} exit={exit}: {message}", reason.name())
}

#[test]
fn a_script_that_ends_by_itself_says_how() {
    let mut table = String::new();
    for script in [
        "pass",
        "raise SystemExit(3)",
        "1 / 0",
        "import os; os.kill(os.getpid(), 11)",
        "import os; os.kill(os.getpid(), 9)",
        "import os; os.kill(os.getpid(), 15)",
        "import os; os.kill(os.getpid(), 40)",
        "import os; os.abort()",
    ] {
        let (_run, record) = TestRun::of(script).carried_out();
        assert!(record.started_time_utc.unwrap() <= record.ended_time_utc);
        table += &format!("{script:40} {}\n", shown(&record));
    }
    insta::assert_snapshot!(table, @r#"
    pass                                     completed code=Some(0) signal=None exit=0: the script completed
    raise SystemExit(3)                      script_failed code=Some(3) signal=None exit=3: the script ended with exit code 3
    1 / 0                                    script_failed code=Some(1) signal=None exit=1: the script ended with exit code 1
    import os; os.kill(os.getpid(), 11)      signal code=None signal=Some(11) exit=139: the script was ended by signal 11 (SIGSEGV: a segmentation fault)
    import os; os.kill(os.getpid(), 9)       signal code=None signal=Some(9) exit=137: the script was ended by signal 9 (SIGKILL)
    import os; os.kill(os.getpid(), 15)      signal code=None signal=Some(15) exit=143: the script was ended by signal 15 (SIGTERM)
    import os; os.kill(os.getpid(), 40)      signal code=None signal=Some(40) exit=168: the script was ended by signal 40
    import os; os.abort()                    signal code=None signal=Some(6) exit=134: the script was ended by signal 6 (SIGABRT: it aborted itself)
    "#);
}

#[test]
fn a_program_that_cannot_start_says_why() {
    let mut run = TestRun::of("");
    run.launch.program = vec!["./nonsense".to_owned()];

    let (run, record) = run.carried_out();

    insta::assert_snapshot!(shown(&record), @r#"cannot_start code=None signal=None exit=125: the program "./nonsense" was not found"#);
    assert_eq!(record.started_time_utc, None);
    let ended = Event::Ended { reason: ExitReason::CannotStart };
    assert!(matches!(run.events().as_slice(), [Event::Confined { .. }, last] if *last == ended));
    assert!(!run.directory.temporary().exists());
}

#[test]
fn a_time_limit_ends_the_script() {
    let mut run = TestRun::of("import time; time.sleep(1000)");
    run.launch.timeout_seconds = Some(0.3);

    let (run, record) = run.carried_out();

    insta::assert_snapshot!(shown(&record), @"time_limit code=None signal=Some(15) exit=124: the script ran longer than its limit of 0.3 s");
    assert!(run.events().contains(&Event::TimeLimitReached { seconds: 0.3 }));
}

#[test]
fn a_run_whose_files_take_too_much_of_the_disk_is_ended() {
    let mut run = TestRun::of(
        "
import os, time
os.makedirs('outputs/a/b')
with open('outputs/a/b/large', 'wb') as file:
    for _ in range(64):
        file.write(bytes(range(256)) * 4096)
        file.flush()
time.sleep(1000)
",
    );
    run.launch.disk_bytes = Some(32 << 20);

    let (run, record) = run.carried_out();

    assert_eq!((record.reason, record.signal), (ExitReason::DiskLimit, Some(9)), "{record:?}");
    assert_eq!(record.process_exit_code(), 137);
    let told = run.events().into_iter().find_map(|event| match event {
        Event::DiskLimitReached { bytes, limit_bytes } => Some((bytes, limit_bytes)),
        _ => None,
    });
    let (bytes, limit_bytes) = told.unwrap();
    assert!(bytes > limit_bytes && limit_bytes == 32 << 20, "{bytes}");
    assert!(record.message.contains(&bytes.to_string()), "{}", record.message);
}

#[test]
fn a_log_counts_as_a_file_of_the_run_and_what_is_outside_does_not() {
    let outside = tempfile::tempdir().unwrap();
    let flood = |script: &str| {
        let mut run = TestRun::of(script);
        run.launch.disk_bytes = Some(4 << 20);
        run.carried_out().1.reason
    };
    let log = "
import time
for _ in range(8 << 10):
    print('x' * 1023)
time.sleep(1000)
";
    assert_eq!(flood(log), ExitReason::DiskLimit);

    // Two looks have passed by then.
    let elsewhere = format!(
        "
import os, time
open('{0}/large', 'wb').write(b'x' * (8 << 20))
os.symlink('{0}', 'outputs/link')
time.sleep(2.5)
",
        outside.path().display()
    );
    assert_eq!(flood(&elsewhere), ExitReason::Completed);
}

#[test]
fn a_limit_beyond_all_time_is_none() {
    let mut run = TestRun::of("");
    run.launch.timeout_seconds = Some(f64::MAX);
    run.launch.grace_seconds = f64::MAX;

    assert_eq!(run.carried_out().1.reason, ExitReason::Completed);
}

#[test]
fn a_cancelled_run_says_by_whom() {
    let run = TestRun::of("print('ready'); import time; time.sleep(1000)");
    run.start();
    run.wait_for_output("ready");

    run.cancel(false);

    let record = run.end();
    insta::assert_snapshot!(shown(&record), @"cancelled code=None signal=Some(15) exit=130: the run was cancelled by ana");
    assert_eq!(record.cancelled_by.unwrap().uid, 1000);
}

#[test]
fn a_run_cancelled_before_it_started_never_starts() {
    let run = TestRun::of("open('started', 'w')");
    run.cancel(false);

    let (run, record) = run.carried_out();

    insta::assert_snapshot!(shown(&record), @"cancelled code=None signal=None exit=130: the run was cancelled by ana before it started");
    assert_eq!(record.started_time_utc, None);
    assert!(!run.directory.work().join("started").exists());
}

#[test]
fn a_launch_record_that_makes_no_sense_is_our_fault() {
    let mut table = String::new();
    let run = TestRun::of("");
    run.target.start(&run.directory).unwrap();
    let message = run.end().message.replace(run.base().to_str().unwrap(), "BASE");
    table += &format!("{message}\n");
    let changes: [fn(&mut TestRun); 4] = [
        |run| run.launch.version = 99,
        |run| run.launch.grace_seconds = -1.0,
        |run| run.launch.timeout_seconds = Some(-0.5),
        |run| run.launch.secret_names = vec!["TOKEN".to_owned()],
    ];
    for change in changes {
        let mut run = TestRun::of("");
        change(&mut run);
        let (_run, record) = run.carried_out();
        table += &format!("{}\n", shown(&record));
    }
    insta::assert_snapshot!(table, @r#"
    there is no launch record "BASE/run/launch.json"
    agent_fault code=None signal=None exit=125: the launch record has version 99; this program reads 1
    agent_fault code=None signal=None exit=125: a grace time of -1 seconds is no length of time
    agent_fault code=None signal=None exit=125: a time limit of -0.5 seconds is no length of time
    agent_fault code=None signal=None exit=125: the secret "TOKEN" is missing
    "#);
}

#[test]
fn a_run_whose_machine_was_restarted_says_so() {
    let run = TestRun::of("");
    run.write_launch();
    let me = runner::process_identity::ProcessIdentity::of_this_process().unwrap();
    let before = runner::process_identity::ProcessIdentity { boot_id: "other".to_owned(), ..me };
    let record = SupervisorRecord { version: 1, guard: before.clone(), supervisor: before };
    fs::write(run.directory.supervisor_json(), serde_json::to_vec(&record).unwrap()).unwrap();
    fs::write(run.directory.secrets_json(), r#"{"TOKEN":"x"}"#).unwrap();

    let state = run.target.probe(&run.directory).unwrap();
    assert_eq!(state, SupervisorState::Lost(LostReason::HostRebooted));
    let record = run.target.settle(&run.directory).unwrap();

    insta::assert_snapshot!(shown(&record), @"host_rebooted code=None signal=None exit=125: the machine was restarted while the run was running");
    assert_eq!(run.end(), record);
    assert!(!run.directory.secrets_json().exists());
}

/// A file system of 1 MiB that is gone when the test is over. Needs root, as mounting does.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(directory.path())
            .output();
        mounted.is_ok_and(|done| done.status.success()).then(|| Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn a_full_disk_costs_output_but_neither_the_run_nor_its_record() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: only root may mount a small disk");
        return;
    };
    let script = "import sys\nsys.stdout.write('x' * 3_000_000)\nsys.stdout.flush()\nsys.exit(";
    for (code, reason) in [(0, ExitReason::Completed), (4, ExitReason::DiskFull)] {
        let base = tempfile::tempdir_in(disk.0.path()).unwrap();
        let (run, record) = TestRun::within(&format!("{script}{code})"), base).carried_out();

        assert_eq!(record.reason, reason, "{record:?}");
        assert_eq!(record.code, Some(code));
        assert_eq!(record.log_bytes + record.log_bytes_dropped, 3_000_000);
        assert!(record.log_bytes > 100_000, "{record:?}");
        let said = format!("{} bytes of its output were lost", record.log_bytes_dropped);
        assert!(record.message.contains(&said), "{record:?}");
        assert_eq!(fs::metadata(run.directory.std_log()).unwrap().len(), record.log_bytes);
    }
}
