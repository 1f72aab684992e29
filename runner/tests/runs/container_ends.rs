//! How runs in containers end, beside how local ones do.

use std::fs;

use runner::exit_record::{ExitReason, ExitRecord};
use runner::log_reader::StreamFilter;
use runner::supervisor::events::Event;

use crate::container::ContainerRun;

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
        "import os; os.kill(os.getpid(), 11)",
        "import os; os.kill(os.getpid(), 9)",
        "import os; os.kill(os.getpid(), 15)",
    ] {
        let Some(run) = ContainerRun::of(script) else { return };
        let (_run, record) = run.carried_out();
        assert!(record.started_time_utc.unwrap() <= record.ended_time_utc);
        // Our own children's, of which the script is none.
        assert_eq!((record.cpu_seconds, record.peak_memory_bytes), (None, None));
        table += &format!("{script:40} {}\n", shown(&record));
    }
    insta::assert_snapshot!(table, @r#"
    pass                                     completed code=Some(0) signal=None exit=0: the script completed
    raise SystemExit(3)                      script_failed code=Some(3) signal=None exit=3: the script ended with exit code 3
    import os; os.kill(os.getpid(), 11)      signal code=None signal=Some(11) exit=139: the script was ended by signal 11 (SIGSEGV: a segmentation fault)
    import os; os.kill(os.getpid(), 9)       signal code=None signal=Some(9) exit=137: the script was ended by signal 9 (SIGKILL)
    import os; os.kill(os.getpid(), 15)      signal code=None signal=Some(15) exit=143: the script was ended by signal 15 (SIGTERM)
    "#);
}

#[test]
fn a_program_that_cannot_start_says_why() {
    let mut table = String::new();
    for program in ["nonsense", "./nonsense", "/etc/passwd"] {
        let Some(mut run) = ContainerRun::of("") else { return };
        run.launch.program = vec![program.to_owned()];
        let (run, record) = run.carried_out();
        assert_eq!(record.started_time_utc, None);
        table += &format!("{}\n{}", shown(&record), run.text());
    }
    insta::assert_snapshot!(table, @r#"
    cannot_start code=None signal=None exit=125: the program "nonsense" was not found in the image "trainyard-test-base:2"
    trainyard: 20: exec: nonsense: not found
    cannot_start code=None signal=None exit=125: the program "./nonsense" was not found in the image "trainyard-test-base:2"
    trainyard: 20: exec: ./nonsense: not found
    cannot_start code=None signal=None exit=125: the program "/etc/passwd" of the image "trainyard-test-base:2" may not be executed
    trainyard: 20: exec: /etc/passwd: Permission denied
    "#);
}

#[test]
fn a_script_that_exits_like_a_shell_has_failed() {
    let Some(run) = ContainerRun::of("raise SystemExit(127)") else { return };
    assert_eq!(
        shown(&run.carried_out().1),
        "script_failed code=Some(127) signal=None exit=127: the script ended with exit code 127"
    );
}

#[test]
fn a_container_at_its_memory_limit_says_so() {
    let script = "kept = [b'x' * 1_000_000 for _ in range(1000)]";
    let Some(run) = ContainerRun::with(script, &["--memory=32m"]) else { return };

    let (_run, record) = run.carried_out();

    insta::assert_snapshot!(shown(&record), @r#"out_of_memory code=None signal=Some(9) exit=137: the kernel killed a process of the script, which was at its memory limit"#);
}

#[test]
fn a_time_limit_ends_the_script() {
    let Some(mut run) = ContainerRun::of("import time; time.sleep(1000)") else { return };
    run.launch.timeout_seconds = Some(0.5);

    let (run, record) = run.carried_out();

    insta::assert_snapshot!(shown(&record), @r#"time_limit code=None signal=Some(15) exit=124: the script ran longer than its limit of 0.5 s"#);
    assert!(run.events().contains(&Event::TimeLimitReached { seconds: 0.5 }));
}

/// Ignores TERM, and has a child that left its session and its parent.
const STUBBORN: &str = "
import os, signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(0)
print('ready')
time.sleep(1000)
";

#[test]
fn a_script_that_ignores_term_is_killed_with_all_it_started() {
    for now in [false, true] {
        let Some(mut run) = ContainerRun::of(STUBBORN) else { return };
        run.launch.grace_seconds = 0.5;
        run.start();
        run.wait_for_output("ready\n");

        run.cancel(now);

        let record = run.end();
        assert_eq!((record.reason, record.signal), (ExitReason::Cancelled, Some(9)));
        assert!(now || run.events().contains(&Event::GraceOver { seconds: 0.5 }));
    }
}

#[test]
fn a_script_may_save_its_work_when_it_is_cancelled() {
    let script = "
import signal, sys, time
def save(*_):
    open('saved', 'w').write('x')
    print('saved')
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print('ready')
time.sleep(1000)
";
    let Some(run) = ContainerRun::of(script) else { return };
    run.start();
    run.wait_for_output("ready\n");

    run.cancel(false);

    let record = run.end();
    assert_eq!((record.reason, record.code), (ExitReason::Cancelled, Some(0)));
    assert_eq!(run.text(), "ready\nsaved\n");
    assert!(run.directory.work().join("saved").exists());
}

/// A shell that outlives what it started, which saves its work.
const ASKED_TOGETHER: &str = r#"
trap 'echo shell' TERM
echo "<$TINI_KILL_PROCESS_GROUP>"
python3 -uc '
import signal, sys, time
def save(*_):
    print("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready")
time.sleep(1000)
'
exit 3
"#;

#[test]
fn what_a_shell_started_is_asked_to_end_with_it() {
    let Some(mut run) = ContainerRun::of("") else { return };
    run.shell(ASKED_TOGETHER);
    run.start();
    run.wait_for_output("<>\nready\n");

    run.cancel(false);

    let record = run.end();
    assert_eq!((record.reason, record.code), (ExitReason::Cancelled, Some(3)));
    assert_eq!(run.text(), "<>\nready\nsaved\nshell\n");
}

/// A program that takes its time to save its work, behind a shell that dies of TERM at once.
/// `started` comes first within it.
fn saving(started: &str) -> String {
    let script = "
import signal, sys, time
def save(*_):
    time.sleep(0.3)
    open('outputs/checkpoint', 'w').write('saved')
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
STARTED
print('ready')
time.sleep(1000)
";
    script.replace("STARTED", started)
}

/// As for a local run.
#[test]
fn what_a_shell_started_has_the_grace_time_too() {
    let Some(mut run) = ContainerRun::of(&saving("")) else { return };
    run.shell("python3 -u script.py; true");
    run.start();
    run.wait_for_output("ready\n");

    run.cancel(false);

    let record = run.end();
    assert_eq!((record.reason, record.signal), (ExitReason::Cancelled, Some(15)));
    assert_eq!(run.text(), "ready\n", "the shell says nothing of its own");
    assert!(run.directory.outputs().join("checkpoint").exists());
}

/// A process that is stopped cannot answer.
#[test]
fn a_script_that_is_stopped_goes_on_to_save_its_work() {
    let stopped = "import os\nprint('before')\nos.kill(os.getpid(), signal.SIGSTOP)";
    let Some(run) = ContainerRun::of(&saving(stopped)) else { return };
    run.start();
    run.wait_for_output("before\n");

    run.cancel(false);

    assert_eq!(run.end().code, Some(0));
    assert!(run.directory.outputs().join("checkpoint").exists());
}

/// Without a request to end, the end of the main process is the end.
#[test]
fn a_script_that_signals_all_it_started_ends_by_itself() {
    let line = "python3 -u script.py & trap 'exit 4' TERM; while [ ! -e up ]; do sleep 0.05; done; kill 0; exit 4";
    let Some(mut run) = ContainerRun::of(
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nopen('up', 'w')\ntime.sleep(1000)",
    ) else {
        return;
    };
    run.shell(line);

    let (_run, record) = run.carried_out();

    assert_eq!((record.reason, record.code), (ExitReason::ScriptFailed, Some(4)));
}

#[test]
fn output_is_the_same_to_the_byte() {
    let script = "
import sys
sys.stdout.buffer.write(bytes(range(256)) * 3)
sys.stdout.flush()
sys.stderr.buffer.write(b'error without an end of line')
";
    let Some(run) = ContainerRun::of(script) else { return };

    let (run, record) = run.carried_out();

    assert_eq!(record.reason, ExitReason::Completed);
    assert_eq!(run.output(StreamFilter::Stdout), (0..=255).collect::<Vec<u8>>().repeat(3));
    assert_eq!(run.output(StreamFilter::Stderr), b"error without an end of line");
}

#[test]
fn a_hundred_megabytes_arrive_whole() {
    let Some(mut run) = ContainerRun::of("") else { return };
    run.shell("head -c 104857600 /dev/zero");

    let (run, record) = run.carried_out();

    assert_eq!((record.reason, record.log_bytes), (ExitReason::Completed, 100 << 20));
    assert_eq!(fs::metadata(run.directory.std_log()).unwrap().len(), 100 << 20);
}

#[test]
fn a_run_without_engine_or_image_or_mount_says_so() {
    let Some(run) = ContainerRun::of("") else { return };
    let target = run.target.clone();
    let mut table = String::new();

    let mut run = run;
    run.target = target.clone().with_engine([("DOCKER_HOST".into(), "unix:///nonexistent".into())]);
    run.start();
    let record = run.end();
    table += &format!("{}\n", shown(&record));

    let changes: [fn(&mut ContainerRun); 4] = [
        |run| run.container().image = format!("sha256:{}", "01234567".repeat(8)),
        |run| run.container().mounts = vec![mount("/nonexistent/data")],
        |run| run.container().user = "ana".to_owned(),
        |run| run.container().gpus = vec!["GPU-1".to_owned()],
    ];
    for change in changes {
        let Some(mut run) = ContainerRun::of("") else { return };
        change(&mut run);
        table += &format!("{}\n", shown(&run.carried_out().1));
    }
    insta::assert_snapshot!(table, @r#"
    cannot_start code=None signal=None exit=125: there is no container engine: nothing answers at unix:///nonexistent; start Docker (`sudo systemctl start docker`), install it, or say where it is with DOCKER_HOST
    cannot_start code=None signal=None exit=125: there is no image "sha256:0123456701234567012345670123456701234567012345670123456701234567": No such image: sha256:0123456701234567012345670123456701234567012345670123456701234567; check name and tag; the engine's own images are listed by `docker images`
    cannot_start code=None signal=None exit=125: "/nonexistent/data" cannot be shown to the container: No such file or directory (os error 2); name a directory that is there and that you may look into
    cannot_start code=None signal=None exit=125: "ana" is not the number of a user and of a group, as in 1000:1000
    cannot_start code=None signal=None exit=125: the container engine cannot give GPUs to containers; install the NVIDIA Container Toolkit and restart the engine, or run it without GPUs
    "#);
}

fn mount(source: &str) -> images::engine::Mount {
    images::engine::Mount { source: source.into(), target: "/data".to_owned(), read_only: true }
}

#[test]
fn a_link_to_what_is_the_machines_own_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("innocent");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    let Some(mut run) = ContainerRun::of("") else { return };
    run.container().mounts = vec![mount(link.to_str().unwrap())];

    let (_run, record) = run.carried_out();

    assert_eq!(record.reason, ExitReason::CannotStart);
    assert!(record.message.contains("/etc is the machine's own"), "{}", record.message);
}
