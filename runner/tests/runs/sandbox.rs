//! Runs in a sandbox: everything a run is promised holds there too, and it can do its work.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use runner::compute_target::{LostReason, SupervisorState};
use runner::exit_record::{ExitReason, ExitRecord};
use runner::run_configuration::Network;
use runner::sandbox::cgroup::ProcessLimits;
use runner::sandbox::policy::{SandboxMode, SandboxPolicy, Tier};

use crate::sandbox_network::can_connect;
use crate::support::{TestRun, kill, supervise_program, wait_until};

pub(crate) const BWRAP: &str = "/usr/bin/bwrap";

/// What a run gets that asks for nothing.
pub(crate) fn policy() -> SandboxPolicy {
    SandboxPolicy {
        mode: SandboxMode::Default,
        network: Network::Full,
        mounts: Vec::new(),
        within: None,
        minimum: Tier::Full,
        shm_bytes: None,
    }
}

/// Returns a run of `script` in a sandbox that has all there is to have.
pub(crate) fn sandboxed(script: &str) -> TestRun {
    let mut run = TestRun::of(script);
    run.launch.sandbox = Some(policy());
    run
}

/// Carries out `script` in a sandbox, and as a process like any other: both end the same.
fn same_end(script: &str) -> (ExitRecord, String) {
    let (inside, record) = sandboxed(script).carried_out();
    let (outside, plain) = TestRun::of(script).carried_out();
    let end =
        |record: &ExitRecord| (record.reason, record.code, record.signal, record.message.clone());
    assert_eq!(end(&record), end(&plain), "{} {}", inside.text(), inside.supervisor_log());
    assert_eq!(inside.text(), outside.text());
    (record, inside.text())
}

#[test]
fn a_run_says_what_it_was_kept_from() {
    let (run, record) = sandboxed("print('hello')").carried_out();

    assert_eq!((record.reason, run.text().as_str()), (ExitReason::Completed, "hello\n"));
    let sandbox = record.sandbox.unwrap();
    assert_eq!((sandbox.tier, sandbox.engine.as_str()), (Tier::Full, "bubblewrap"));
    let layers: Vec<_> = sandbox.missing.iter().map(|one| one.layer.as_str()).collect();
    let expected: &[&str] = if can_connect() { &[] } else { &["network"] };
    assert_eq!(layers, expected, "the machine's own network is said to be");
    assert_eq!(record.leftover_processes, 0);
    assert!(record.peak_memory_bytes.unwrap() > 1 << 20);
}

#[test]
fn ends_are_what_they_are_outside() {
    for script in [
        "raise SystemExit(0)",
        "raise SystemExit(3)",
        "raise SystemExit(137)",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    ] {
        same_end(script);
    }
}

#[test]
fn a_program_that_does_not_start_says_why() {
    for (program, said) in [
        ("/nonexistent/python", r#"the program "/nonexistent/python" was not found"#),
        ("nonsense", r#"the program "nonsense" was not found"#),
        ("./script.py", r#"the program "./script.py" may not be executed"#),
    ] {
        let mut run = sandboxed("");
        run.launch.program = vec![program.to_owned()];

        let (_, record) = run.carried_out();

        assert_eq!((record.reason, record.message.as_str()), (ExitReason::CannotStart, said));
    }
}

#[test]
fn a_cancelled_run_has_its_grace() {
    let script = "import os, signal, sys, time\n\
        def end(*_): os.write(1, b'saving\\n'); sys.exit(0)\n\
        signal.signal(signal.SIGTERM, end)\n\
        print('ready', flush=True)\ntime.sleep(1000)";
    let run = sandboxed(script);
    run.start();
    run.wait_for_output("ready");

    run.cancel(false);

    let record = run.end();
    assert_eq!((record.reason, record.code), (ExitReason::Cancelled, Some(0)));
    assert_eq!(run.text(), "ready\nsaving\n");
}

#[test]
fn a_child_that_saves_its_work_has_the_grace_of_its_shell() {
    let child = "import os, signal, sys, time\n\
        def end(*_): time.sleep(0.3); os.write(1, b'saved\\n'); sys.exit(0)\n\
        signal.signal(signal.SIGTERM, end)\n\
        print('ready', flush=True)\ntime.sleep(1000)";
    let mut run = sandboxed(child);
    let line = format!("{} script.py; echo never", run.launch.program[0]);
    let directory = Path::new(&run.launch.program[0]).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", directory.display());
    run.launch.environment.insert("PATH".to_owned(), path);
    run.launch.program = vec!["/bin/bash".to_owned(), "-c".to_owned(), line];
    run.start();
    run.wait_for_output("ready");

    run.cancel(false);

    assert_eq!(run.end().reason, ExitReason::Cancelled);
    assert_eq!(run.text(), "ready\nsaved\n");
}

#[test]
fn one_that_ignores_everything_is_killed_with_all_it_started() {
    let script = "import os, signal, time\n\
        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
        if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(1000)\n    os._exit(0)\n\
        os.wait()\nprint('ready', flush=True)\ntime.sleep(1000)";
    let mut run = sandboxed(script);
    run.launch.grace_seconds = 0.2;
    run.launch.timeout_seconds = Some(0.5);
    run.start();
    run.wait_for_output("ready");

    let record = run.end();

    assert_eq!((record.reason, record.signal), (ExitReason::TimeLimit, Some(9)));
    assert_eq!(record.leftover_processes, 1);
}

#[test]
fn what_outlives_the_script_is_ended_and_counted() {
    let script = "import os, time\n\
        for _ in range(3):\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(1000)\n\
        print('over')";

    let (_, record) = sandboxed(script).carried_out();

    assert_eq!((record.reason, record.leftover_processes), (ExitReason::Completed, 3));
}

#[test]
fn memory_beyond_the_limit_is_seen() {
    let limits = ProcessLimits { memory_bytes: Some(64 << 20), ..ProcessLimits::default() };
    let mut run = sandboxed("x = bytearray(1 << 30)");
    run.launch.limits = Some(limits);

    let (_, record) = run.carried_out();

    let is_limited = record.confinement.unwrap().limits.memory_bytes.is_some();
    assert!(!is_limited || record.reason == ExitReason::OutOfMemory, "{}", record.message);
}

#[test]
fn nothing_is_left_when_the_supervisor_or_all_of_us_are_killed() {
    let script = "import os, time\nif os.fork() == 0: os.setsid()\n\
        print('ready', flush=True)\ntime.sleep(1000)";
    let run = sandboxed(script);
    run.start();
    run.wait_for_output("ready");
    kill(run.supervisor().supervisor.pid, Signal::SIGKILL);
    assert_eq!(run.end().reason, ExitReason::SupervisorKilled);

    let run = sandboxed(script);
    run.start();
    run.wait_for_output("ready");
    let record = run.supervisor();
    kill(record.guard.pid, Signal::SIGKILL);
    kill(record.supervisor.pid, Signal::SIGKILL);

    wait_until("the script is gone with them", || run.live_processes().is_empty());
    let lost = run.target.probe(&run.directory).unwrap();
    assert!(matches!(lost, SupervisorState::Lost(LostReason::SupervisorGone)), "{lost:?}");
}

#[test]
fn the_work_of_a_run_can_be_done() {
    let script = r#"
import os, sys
os.makedirs("outputs/deep"); open("outputs/deep/x", "w").write("x"); os.rename("outputs/deep/x", "y")
open("/tmp/x", "w").write("x"); open("/var/tmp/x", "w").write("x")
cache = os.path.join(os.path.expanduser("~"), ".cache"); os.makedirs(cache); print("home", os.listdir(os.path.expanduser("~")) == [".cache"])
print("processes", sorted(int(pid) for pid in os.listdir("/proc") if pid.isdigit())[0] == 1)
print("stdin", sys.stdin.read() == "")
"#;
    let mut run = sandboxed(script);
    run.launch.sandbox.as_mut().unwrap().network = Network::None;
    run.launch.environment.insert("HOME".to_owned(), "/home/somebody".to_owned());
    run.launch.environment.insert("USER".to_owned(), "somebody".to_owned());

    let (run, record) = run.carried_out();

    assert_eq!(record.reason, ExitReason::Completed, "{}", run.text());
    assert_eq!(run.text(), "home True\nprocesses True\nstdin True\n");
    assert_eq!(fs::read_to_string(run.directory.work().join("y")).unwrap(), "x");
    assert!(!run.directory.temporary().exists(), "what was in /tmp is gone");
}

/// Writes a program of the shell's.
pub(crate) fn write_program(path: &Path, lines: &str) {
    fs::write(path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Carries out `run` where `other` is in the place of `program`, as root can have it.
pub(crate) fn carried_out_with(run: &TestRun, other: &Path, program: &str) -> Option<ExitRecord> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("\n*** NOT TESTED: only root can hide {program} ***\n");
        return None;
    }
    run.write_launch();
    let line = "mount --bind \"$2\" \"$3\" && exec \"$0\" supervise \"$1\"";
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c", line])
        .args([supervise_program().as_path(), run.directory.path(), other, Path::new(program)])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    Some(run.end())
}

#[test]
fn where_bubblewrap_is_missing_or_refused_there_is_less_and_it_is_said() {
    let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::write(elsewhere.path().join("secret"), "hunter2").unwrap();
    let fake = elsewhere.path().join("bwrap");
    write_program(&fake, "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1");
    let script = format!(
        "import os, subprocess, tempfile\n\
         for path in [{0:?} + '/secret', '/etc/shadow']:\n\
         \x20   try: print(open(path).read())\n\
         \x20   except OSError as error: print(error.strerror)\n\
         try: open({0:?} + '/new', 'w')\n\
         except OSError as error: print(error.strerror)\n\
         print(subprocess.run(['echo', 'child'], capture_output=True).stdout)\n\
         tempfile.TemporaryFile().write(b'x'); open('outputs/x', 'w')\n\
         print(os.listdir(os.path.expanduser('~'))); open(os.path.expanduser('~/.cache'), 'w')\n\
         raise SystemExit(5)",
        elsewhere.path()
    );
    let said = "Permission denied\nPermission denied\nPermission denied\nb'child\\n'\n[]\n";
    for (bwrap, why) in [
        (Path::new("/dev/null"), "bubblewrap is not installed"),
        (&fake, "bubblewrap says: bwrap: setting up uid map: Permission denied"),
    ] {
        let mut run = sandboxed(&script);
        run.launch.sandbox.as_mut().unwrap().minimum = Tier::Reduced;
        let Some(record) = carried_out_with(&run, bwrap, BWRAP) else { return };
        assert_eq!((run.text().as_str(), record.code), (said, Some(5)), "{}", record.message);
        let sandbox = record.sandbox.unwrap();
        assert_eq!((sandbox.tier, sandbox.engine.as_str()), (Tier::Reduced, "landlock"));
        assert_eq!(sandbox.missing[0].why, why);

        for (network, minimum) in [(Network::None, Tier::None), (Network::Full, Tier::Full)] {
            let mut run = sandboxed("print('ran')");
            let policy = run.launch.sandbox.as_mut().unwrap();
            (policy.network, policy.minimum) = (network, minimum);
            let record = carried_out_with(&run, bwrap, BWRAP).unwrap();
            assert_eq!((record.reason, run.text().as_str()), (ExitReason::SandboxFailed, ""));
            assert!(record.message.contains(why), "{}", record.message);
        }
    }
}

#[test]
fn a_run_is_cancelled_while_its_sandbox_is_being_made() {
    let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
    let (slow, begun) = (elsewhere.path().join("bwrap"), elsewhere.path().join("begun"));
    write_program(&slow, &format!("touch '{}'; exec sleep 1000", begun.display()));
    let run = sandboxed("print('ran')");

    let record = std::thread::scope(|scope| {
        let carried_out = scope.spawn(|| carried_out_with(&run, &slow, BWRAP));
        wait_until("bubblewrap is at it", || begun.exists() || carried_out.is_finished());
        if begun.exists() {
            run.cancel(false);
        }
        carried_out.join().unwrap()
    });

    let Some(record) = record else { return };
    assert_eq!((record.reason, run.text().as_str()), (ExitReason::Cancelled, ""));
    assert_eq!(record.message, "the run was cancelled by ana before it started");
}

#[test]
fn shared_memory_is_as_large_as_it_is_said() {
    let mut run = sandboxed(
        "import os\nfound = os.statvfs('/dev/shm')\nprint(found.f_blocks * found.f_frsize)",
    );
    run.launch.sandbox.as_mut().unwrap().shm_bytes = Some(3 << 20);

    let (run, record) = run.carried_out();

    assert_eq!((run.text(), record.code), ("3145728\n".to_owned(), Some(0)), "{record:?}");
}

/// Makes the system calls of these numbers without arguments that make sense.
fn calls(numbers: &str, then: &str) -> String {
    format!(
        "import ctypes, os, threading\nlibc = ctypes.CDLL(None, use_errno=True)\n\
         def call(number): return libc.syscall(number, 0, 0, -1, -1, 0), ctypes.get_errno()\n\
         print([call(number) for number in {numbers}])\n{then}"
    )
}

#[test]
fn refused_system_calls_are_named() {
    // perf_event_open, io_uring_setup
    let fails = "raise PermissionError(1, os.strerror(1))";
    let (run, record) = sandboxed(&calls("[425, 298, 298]", fails)).carried_out();

    assert!(run.text().starts_with("[(-1, 1), (-1, 1), (-1, 1)]\n"), "{}", run.text());
    let sandbox = record.sandbox.unwrap();
    let expected = [("io_uring_setup", 1), ("perf_event_open", 2)];
    let told = sandbox.refused_calls.unwrap();
    assert!(told.iter().map(|(name, times)| (name.as_str(), *times)).eq(expected), "{told:?}");
    let said = "the sandbox refused the system calls perf_event_open, io_uring_setup; \
                --sandbox off does not";
    assert!(record.message.contains(said), "{}", record.message);

    // What the kernel would not have done either is nothing of the sandbox's.
    let (run, record) = sandboxed("import os\nos.setgroups([1])").carried_out();
    assert!(run.text().contains("Operation not permitted"), "{}", run.text());
    let sandbox = record.sandbox.unwrap();
    assert_eq!((sandbox.refused_calls.map(|it| it.len()), sandbox.denials.len()), (Some(0), 0));
}

#[test]
fn who_makes_refused_calls_without_end_is_refused_all_the_same() {
    let many = "failed = []\n\
                def work():\n    for _ in range(4000):\n        if call(298)[0] != -1: failed.append(1)\n\
                threads = [threading.Thread(target=work) for _ in range(4)]\n\
                for one in threads: one.start()\nfor one in threads: one.join()\n\
                print(len(failed), call(298))";
    let (run, record) = sandboxed(&calls("[]", many)).carried_out();

    assert_eq!(run.text(), "[]\n0 (-1, 38)\n", "{}", record.message);
    assert_eq!(record.sandbox.unwrap().refused_calls.unwrap()["perf_event_open"], 10_000);
}

#[test]
fn who_is_killed_in_a_refused_call_ends_as_others_do() {
    let endless = "print('ready', flush=True)\nwhile True: call(298)";
    let mut run = sandboxed(&calls("[]", endless));
    run.launch.grace_seconds = 0.0;
    run.start();
    run.wait_for_output("ready");

    run.cancel(true);

    let record = run.end();
    assert_eq!((record.reason, record.signal), (ExitReason::Cancelled, Some(9)));
}

#[test]
fn what_variables_call_an_environment_is_not_shown_for_that() {
    let secret = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::write(secret.path().join("key"), "hunter2").unwrap();
    let name = secret.path().display().to_string();
    let script = format!("import os\nprint(os.path.exists('{name}/key'))");
    let said = |mut run: TestRun| {
        for (key, value) in [("VIRTUAL_ENV", &name), ("CONDA_PREFIX", &name)] {
            run.launch.environment.insert(key.to_owned(), value.clone());
        }
        run.launch.environment.insert("PATH".to_owned(), format!("{name}:/usr/bin:/bin"));
        run.carried_out().0.text()
    };

    assert_eq!(
        (said(TestRun::of(&script)), said(sandboxed(&script))),
        ("True\n".into(), "False\n".into())
    );
}
