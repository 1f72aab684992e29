//! Runs in cgroups of their own: limits that hold, evidence of them, and an end that nothing escapes.
//!
//! What these say holds for both versions; the machine has the one or the other, and a kernel in
//! user space (`cgroup_v2`) has the second with all its controllers.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use runner::compute_target::{LostReason, SupervisorState};
use runner::exit_record::{ExitReason, ExitRecord};
use runner::sandbox::cgroup::{Controller, Holder, ProcessLimits, places};
use runner::supervisor::events::Event;

use crate::support::{TestRun, kill, supervise_program, wait_until};

/// Returns a run with these limits, where this user can have such cgroups.
fn limited(script: &str, limits: ProcessLimits) -> Option<TestRun> {
    let places = places(None, &Controller::ALL).unwrap();
    let has = |wanted| places.iter().any(|place| place.controllers.contains(&wanted));
    if !Controller::ALL.into_iter().all(has) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs cgroups of its own");
        eprintln!("\n*** NOT TESTED: this user can have no cgroups here ***\n");
        return None;
    }
    let mut run = TestRun::of(script);
    run.launch.limits = Some(limits);
    Some(run)
}

fn with_memory(script: &str) -> Option<TestRun> {
    limited(script, ProcessLimits { memory_bytes: Some(64 << 20), ..ProcessLimits::default() })
}

/// Returns the cgroups that were to be made for it.
fn cgroups(run: &TestRun) -> Vec<PathBuf> {
    let said = run.events().into_iter().filter_map(|event| match event {
        Event::Confined { cgroups, .. } => Some(cgroups),
        _ => None,
    });
    said.flatten().collect()
}

fn are_gone(run: &TestRun) -> bool {
    let cgroups = cgroups(run);
    !cgroups.is_empty() && cgroups.iter().all(|path| !path.exists())
}

/// Prints it without what differs from machine to machine.
fn confinement(record: &ExitRecord) -> String {
    let mut confinement = record.confinement.clone().unwrap();
    assert!(confinement.counts.memory_limit_hits.take().is_some_and(|hits| hits > 0));
    confinement.holder = Holder::CgroupV2;
    serde_json::to_string(&confinement).unwrap()
}

fn pid_in(run: &TestRun, name: &str) -> i32 {
    fs::read_to_string(run.directory.work().join(name)).unwrap().trim().parse().unwrap()
}

fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|text| !text.contains(") Z "))
}

#[test]
fn a_run_has_cgroups_of_its_own_and_they_are_gone_with_it() {
    let script = "print(open('/proc/self/cgroup').read())";
    let Some(run) = limited(script, ProcessLimits::default()) else { return };

    let (run, record) = run.carried_out();

    let name = format!("/trainyard-{}", run.launch.run_id);
    assert!(run.text().lines().any(|line| line.ends_with(&name)), "{}", run.text());
    assert_eq!(record.reason, ExitReason::Completed, "{record:?}");
    assert_ne!(record.confinement.unwrap().holder, Holder::ProcessTree);
    assert!(cgroups(&run).iter().all(|path| path.ends_with(&name[1..])));
    assert!(are_gone(&run));
    assert_eq!(run.supervisor_log(), "");
}

#[test]
fn a_script_over_its_memory_limit_is_ended_and_the_record_has_the_evidence() {
    let Some(run) = with_memory("kept = [b'x' * 1_000_000 for _ in range(1000)]") else { return };

    let (_run, record) = run.carried_out();

    assert_eq!((record.reason, record.signal), (ExitReason::OutOfMemory, Some(9)), "{record:?}");
    insta::assert_snapshot!(record.message, @"the kernel killed a process of the script, which was at its memory limit of 64m");
    insta::assert_snapshot!(confinement(&record), @r#"{"holder":"cgroup_v2","limits":{"memoryBytes":67108864},"lost":[],"oomKills":1,"pidsLimitHits":0}"#);
}

/// Starts a child that takes more memory than there is.
const GREEDY_CHILD: &str = "
import subprocess, sys
greedy = \"kept = [b'x' * 1_000_000 for _ in range(1000)]\"
child = subprocess.run([sys.executable, '-c', greedy])
print(child.returncode)
";

#[test]
fn a_child_killed_for_memory_is_why_a_script_fails_and_else_a_note() {
    for (then, reason) in
        [("sys.exit(3)", ExitReason::OutOfMemory), ("sys.exit(0)", ExitReason::Completed)]
    {
        let Some(run) = with_memory(&format!("{GREEDY_CHILD}{then}")) else { return };

        let (run, record) = run.carried_out();

        assert_eq!(run.text(), "-9\n");
        assert_eq!(record.reason, reason, "{record:?}");
        assert!(record.message.contains("the kernel killed a process of the script, which was at"));
        assert_eq!(record.confinement.unwrap().counts.oom_kills, Some(1));
    }
}

#[test]
fn a_script_does_not_have_more_processor_time_than_its_limit() {
    let limits = ProcessLimits { cpus: Some(0.2), ..ProcessLimits::default() };
    let script = "
import os, time
begun = time.monotonic()
os.fork()
while time.monotonic() - begun < 2: pass
";
    let Some(run) = limited(script, limits) else { return };

    let (_run, record) = run.carried_out();

    let took = record.ended_time_utc.duration_since(record.started_time_utc.unwrap());
    let share = record.cpu_seconds.unwrap() / took.as_secs_f64();
    // Two of them take 1 to 2 of the machine's, if they may.
    assert!(share < 0.4, "{share}: {record:?}");
    assert_eq!(record.confinement.unwrap().limits.cpus, Some(0.2));
}

#[test]
fn a_script_cannot_start_more_processes_than_its_limit() {
    let limits = ProcessLimits { pids: Some(20), ..ProcessLimits::default() };
    let script = "
import os, time
started = 0
try:
    for _ in range(100):
        if os.fork() == 0:
            time.sleep(1000)
        started += 1
except BlockingIOError as error:
    print(started, 'started')
";
    let Some(run) = limited(script, limits) else { return };

    let (run, record) = run.carried_out();

    assert_eq!(run.text(), "19 started\n");
    assert_eq!(record.leftover_processes, 19);
    insta::assert_snapshot!(record.message, @"the script completed; it could not start a process or thread once, at its limit of 20");
    assert_eq!(record.confinement.unwrap().counts.pids_limit_hits, Some(1));
}

/// Leaves a daemon that only its cgroup tells: two forks, a session and an environment of its own,
/// deaf, and stopped.
const HIDDEN: &str = "
import os, signal, subprocess, sys, time
hidden = '''
import os, signal, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
open('hidden.new', 'w').write(str(os.getpid()))
os.rename('hidden.new', 'hidden')
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(1000)
'''
subprocess.run([sys.executable, '-c', hidden], env={})
while not os.path.exists('hidden'):
    time.sleep(0.001)
print('ready')
";

#[test]
fn what_hides_is_ended_with_a_run_that_ends_or_is_cancelled() {
    let Some(completes) = limited(HIDDEN, ProcessLimits::default()) else { return };
    let (completes, record) = completes.carried_out();
    assert_eq!((record.reason, record.leftover_processes), (ExitReason::Completed, 1));
    assert!(!is_alive(pid_in(&completes, "hidden")));

    for now in [false, true] {
        let script = format!("{HIDDEN}time.sleep(1000)");
        let Some(run) = limited(&script, ProcessLimits::default()) else { return };
        run.start();
        run.wait_for_output("ready\n");

        run.cancel(now);

        assert_eq!(run.end().reason, ExitReason::Cancelled);
        assert!(!is_alive(pid_in(&run, "hidden")));
        assert!(are_gone(&run));
    }
}

#[test]
fn what_hides_is_ended_when_both_processes_of_the_supervisor_were_killed() {
    let script = format!("{HIDDEN}time.sleep(1000)");
    let Some(run) = limited(&script, ProcessLimits::default()) else { return };
    run.start();
    run.wait_for_output("ready\n");
    let (hidden, supervisor) = (pid_in(&run, "hidden"), run.supervisor());
    kill(supervisor.guard.pid, Signal::SIGKILL);
    kill(supervisor.supervisor.pid, Signal::SIGKILL);
    let lost = SupervisorState::Lost(LostReason::SupervisorGone);
    wait_until("the run is lost", || run.target.probe(&run.directory).unwrap() == lost);
    assert!(is_alive(hidden), "else this tests nothing");

    let record = run.target.settle(&run.directory).unwrap();

    assert_eq!(record.reason, ExitReason::SupervisorKilled);
    assert!(record.leftover_processes >= 1, "{record:?}");
    assert!(!is_alive(hidden));
    assert!(are_gone(&run));
    assert_ne!(record.confinement.unwrap().holder, Holder::ProcessTree);
}

#[test]
fn cgroups_that_a_script_makes_in_its_own_are_ended_with_it() {
    let limits = ProcessLimits { pids: Some(100), ..ProcessLimits::default() };
    let script = "
import os, subprocess, time
while not os.path.exists('groups'):
    time.sleep(0.001)
for group in open('groups').read().split():
    inner = os.path.join(group, 'inner', 'deep')
    os.makedirs(inner)
    sleeper = subprocess.Popen(['sleep', '1000'])
    open(os.path.join(inner, 'cgroup.procs'), 'w').write(str(sleeper.pid))
print('ready')
";
    let Some(run) = limited(script, limits) else { return };
    run.start();
    wait_until("it has cgroups", || !cgroups(&run).is_empty());
    let paths: Vec<_> = cgroups(&run).iter().map(|path| path.display().to_string()).collect();
    let file = |name: &str| run.directory.work().join(name);
    fs::write(file("groups.new"), paths.join("\n")).unwrap();
    fs::rename(file("groups.new"), file("groups")).unwrap();

    let record = run.end();

    assert_eq!(run.text(), "ready\n");
    assert_eq!(record.leftover_processes as usize, paths.len(), "{record:?}");
    assert!(are_gone(&run));
}

#[test]
fn without_cgroups_a_run_goes_on_without_limits_and_says_so() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("\n*** NOT TESTED: only root can hide the machine's cgroups ***\n");
        return;
    }
    let mut run = TestRun::of("print('done')");
    let limits = ProcessLimits { memory_bytes: Some(64 << 20), cpus: Some(0.5), pids: Some(9) };
    run.launch.limits = Some(limits);
    run.write_launch();

    let hides = "mount -t tmpfs none /sys/fs/cgroup && exec \"$0\" start \"$1\"";
    Command::new("unshare")
        .args(["--mount", "sh", "-c", hides])
        .args([supervise_program().as_path(), run.directory.path()])
        .status()
        .unwrap();

    let record = run.end();
    assert_eq!(record.reason, ExitReason::Completed, "{record:?}");
    let warnings: Vec<_> = run.events().iter().filter_map(Event::warning).collect();
    insta::assert_snapshot!(warnings.join("\n"), @"the script has no limit on memory, processor time, processes: no cgroup can be had that has one (`trainyard doctor` says why)");
    insta::assert_snapshot!(serde_json::to_string(&record.confinement).unwrap(), @r#"{"holder":"process_tree","limits":{},"lost":["memory","processor time","processes"]}"#);
}
