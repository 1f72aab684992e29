//! Whatever a script does to stay alive, the end of its run is the end of it.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use runner::exit_record::ExitReason;
use runner::supervisor::events::Event;

use crate::support::{TestRun, kill};

/// Leaves a daemon behind: two forks, a session of its own, an environment of its own, deaf.
const DAEMON: &str = "
import os, signal, sys, time
def daemon(name):
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.setsid() if os.getpid() != os.getsid(0) else None
    open(name, 'w').write(str(os.getpid()))
    time.sleep(1000)
def wait_for(name):
    while not os.path.exists(name) or not open(name).read():
        time.sleep(0.001)
";

fn pid_in(run: &TestRun, name: &str) -> i32 {
    std::fs::read_to_string(run.directory.work().join(name)).unwrap().parse().unwrap()
}

fn is_gone(pid: i32) -> bool {
    !std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn daemons_do_not_outlive_a_script_that_ends_by_itself() {
    let script =
        format!("{DAEMON}\nfor n in 'abc':\n    daemon(n)\n    wait_for(n)\nprint('done')");

    let (run, record) = TestRun::of(&script).carried_out();

    assert_eq!(record.reason, ExitReason::Completed);
    assert_eq!(record.leftover_processes, 3);
    assert!(run.events().contains(&Event::LeftoversEnded { processes: 3 }));
    assert!(["a", "b", "c"].iter().all(|name| is_gone(pid_in(&run, name))));
    assert_eq!(run.text(), "done\n");
}

#[test]
fn a_cancelled_script_takes_its_daemons_with_it() {
    let script = format!("{DAEMON}\ndaemon('a')\nwait_for('a')\nprint('ready')\ntime.sleep(1000)");
    let run = TestRun::of(&script);
    run.start();
    run.wait_for_output("ready");

    run.cancel(false);

    assert_eq!(run.end().reason, ExitReason::Cancelled);
    assert!(is_gone(pid_in(&run, "a")));
}

#[test]
fn a_daemon_with_an_environment_of_its_own_is_found_too() {
    let script = "
import os, subprocess, sys, time
subprocess.Popen(['setsid', 'sh', '-c', 'trap \"\" TERM; echo $$ > a.new; mv a.new a; sleep 1000'], env={})
while not os.path.exists('a'):
    time.sleep(0.001)
";
    let (run, record) = TestRun::of(script).carried_out();

    assert_eq!(record.reason, ExitReason::Completed);
    let text = std::fs::read_to_string(run.directory.work().join("a")).unwrap();
    assert!(is_gone(text.trim().parse().unwrap()));
}

#[test]
fn a_script_that_ignores_term_is_killed_after_the_grace_time() {
    let mut run = TestRun::of(
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready'); time.sleep(1000)",
    );
    run.launch.grace_seconds = 0.3;
    run.start();
    run.wait_for_output("ready");
    let asked = Instant::now();

    run.cancel(false);

    let record = run.end();
    assert!(asked.elapsed() >= Duration::from_millis(300));
    assert_eq!((record.reason, record.signal), (ExitReason::Cancelled, Some(9)));
    assert!(run.events().contains(&Event::GraceOver { seconds: 0.3 }));
}

#[test]
fn a_script_that_saves_its_work_on_term_has_the_time_to() {
    let run = TestRun::of(
        "
import signal, sys, time
def save(*_):
    time.sleep(0.3)
    open('outputs/checkpoint', 'w').write('saved')
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print('ready')
time.sleep(1000)
",
    );
    run.start();
    run.wait_for_output("ready");

    run.cancel(false);

    let record = run.end();
    assert_eq!((record.reason, record.code), (ExitReason::Cancelled, Some(0)));
    assert!(run.directory.outputs().join("checkpoint").exists());
}

/// The shell dies of TERM at once; the program it waits for is still at work.
#[test]
fn what_a_shell_started_has_the_grace_time_too() {
    let mut run = TestRun::of(
        "
import signal, sys, time
def save(*_):
    time.sleep(0.3)
    open('outputs/checkpoint', 'w').write('saved')
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print('ready')
time.sleep(1000)
",
    );
    let line = format!("{} -u script.py; true", run.launch.program[0]);
    run.launch.program = ["sh", "-c", &line].map(str::to_owned).to_vec();
    run.start();
    run.wait_for_output("ready");

    run.cancel(false);

    assert_eq!(run.end().reason, ExitReason::Cancelled);
    assert!(run.directory.outputs().join("checkpoint").exists());
}

#[test]
fn a_second_request_can_be_more_urgent() {
    let run = TestRun::of(
        "
import signal, time
signal.signal(15, lambda *_: print('asked'))
print('ready')
while True:
    time.sleep(1000)
",
    );
    run.start();
    run.wait_for_output("ready");
    run.cancel(false);
    run.wait_for_output("asked");

    run.cancel(true);

    let record = run.end();
    assert_eq!((record.reason, record.signal), (ExitReason::Cancelled, Some(9)));
}

#[test]
fn a_stopped_script_can_be_cancelled() {
    let mut run = TestRun::of(
        "
import os, signal, time
if not os.fork():
    # With its text, or not there.
    open('new', 'w').write(str(os.getpid()))
    os.rename('new', 'child')
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(1000)
print('ready')
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(1000)
",
    );
    run.launch.grace_seconds = 20.0;
    run.start();
    run.wait_for_output("ready");
    run.wait_for_file("child");
    let asked = Instant::now();

    run.cancel(false);

    let record = run.end();
    assert_eq!((record.reason, record.signal), (ExitReason::Cancelled, Some(15)));
    assert!(asked.elapsed() < Duration::from_secs(10), "TERM needs CONT to be heard");
    assert!(is_gone(pid_in(&run, "child")));
}

#[test]
fn a_script_that_keeps_forking_is_ended() {
    let mut run = TestRun::of(
        "
import os, signal, time
signal.signal(15, signal.SIG_IGN)
print('ready')
end = time.time() + 30
while time.time() < end:
    if os.fork():
        time.sleep(0.002)
        os._exit(0)
    os.setsid()
",
    );
    run.launch.grace_seconds = 30.0;
    run.start();
    run.wait_for_output("ready");

    run.cancel(true);

    // The main process has long ended by itself; then the rest was ended as left behind.
    let reason = run.end().reason;
    assert!(matches!(reason, ExitReason::Cancelled | ExitReason::Completed), "{reason:?}");
}

#[test]
fn two_hundred_orphans_leave_no_zombie() {
    let (run, record) = TestRun::of(
        "
import os
for _ in range(200):
    if not os.fork():
        if os.fork():
            os._exit(0)
        os._exit(0)
    os.wait()
",
    )
    .carried_out();

    assert_eq!(record.reason, ExitReason::Completed);
    let supervisor = run.supervisor();
    crate::support::wait_until("the supervisor is gone", || {
        is_gone(supervisor.guard.pid) && is_gone(supervisor.supervisor.pid)
    });
}

#[test]
fn a_leftover_that_holds_the_pipe_does_not_keep_the_run() {
    let (run, record) = TestRun::of(
        "
import os, time
if not os.fork():
    time.sleep(1000)
print('done')
",
    )
    .carried_out();

    assert_eq!(record.reason, ExitReason::Completed);
    assert_eq!(run.text(), "done\n");
}

#[test]
fn a_script_killed_from_outside_is_not_called_cancelled() {
    let run = TestRun::of("import os, time; print(os.getpid()); time.sleep(1000)");
    run.start();
    run.wait_for_output("\n");

    kill(run.text().trim().parse().unwrap(), Signal::SIGKILL);

    let record = run.end();
    assert_eq!((record.reason, record.signal), (ExitReason::Signal, Some(9)));
}
