//! Why runs end: a run through every reason that this machine can be made to show.

use std::fs;

use serde_json::Value;
use tests::{Yard, kill, make_executable, processes_of, python, supervisors, text, wait_until};

/// Runs `script` in the foreground; returns the exit code and the record.
fn run(yard: &Yard, script: &str, options: &[&str]) -> (Option<i32>, Value) {
    let output = yard
        .trainyard()
        .args(["run", "--source"])
        .arg(yard.script(script))
        .arg("--python")
        .arg(python())
        .args(options)
        .arg("train.py")
        .output()
        .unwrap();
    (output.status.code(), yard.show("@"))
}

#[test]
fn a_script_that_succeeds_completes() {
    let (code, shown) = run(&Yard::new(), "print('fine')", &[]);

    assert_eq!((code, shown["status"].as_str()), (Some(0), Some("Completed")));
    assert_eq!(shown["exit"]["reason"], "completed");
}

#[test]
fn a_script_that_fails_fails_with_its_own_code() {
    let (code, shown) = run(&Yard::new(), "import sys; sys.exit(42)", &[]);

    assert_eq!((code, shown["status"].as_str()), (Some(42), Some("Failed")));
    assert_eq!(shown["exit"]["reason"], "script_failed");
    assert_eq!(shown["exit"]["code"], 42);
}

#[test]
fn a_script_that_crashes_says_by_which_signal() {
    let (code, shown) =
        run(&Yard::new(), "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", &[]);

    assert_eq!(code, Some(128 + 11));
    assert_eq!(shown["exit"]["reason"], "signal");
    assert_eq!(shown["exit"]["signal"], 11);
}

#[test]
fn a_script_over_its_time_limit_is_ended() {
    let yard = Yard::new();
    let (code, shown) =
        run(&yard, "import time\nprint('on')\ntime.sleep(600)", &["--timeout", "1s"]);

    assert_eq!((code, shown["status"].as_str()), (Some(124), Some("Failed")));
    assert_eq!(shown["exit"]["reason"], "time_limit");
    assert!(processes_of(shown["runId"].as_str().unwrap()).is_empty());
}

#[test]
fn an_interpreter_that_is_gone_is_named_and_nothing_is_submitted() {
    let yard = Yard::new();
    let output = yard
        .trainyard()
        .args(["run", "--python", "/no/such/python", "--source"])
        .arg(yard.script("print(1)"))
        .arg("train.py")
        .output()
        .unwrap();

    assert!(matches!(output.status.code(), Some(2 | 125)), "{:?}", output.status);
    assert!(text(&output.stderr).contains("/no/such/python"), "{}", text(&output.stderr));
}

#[test]
fn a_command_that_does_not_exist_fails_as_a_shell_says() {
    let yard = Yard::new();
    let source = yard.script("");
    let output = yard
        .trainyard()
        .args(["run", "--source"])
        .arg(source)
        .arg("--python")
        .arg(python())
        .args(["--command", "no-such-program-here"])
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(127), "{}", text(&output.stderr));
}

#[test]
fn an_environment_that_cannot_be_built_ends_the_run_with_the_log_of_the_build() {
    let yard = Yard::new();
    let files = [
        ("train.py", "print('never')"),
        ("requirements.txt", "--no-index\nno-such-package-anywhere==1.0\n"),
    ];
    let source = yard.project("unbuildable", &files);
    let output = yard
        .trainyard()
        .args(["run", "--env", "requirements.txt", "--source"])
        .arg(source)
        .arg("train.py")
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(125), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    let shown = yard.show("@");
    assert_eq!(shown["status"], "Failed");
    assert_eq!(shown["exit"]["reason"], "environment_failed");
    let message = shown["exit"]["message"].as_str().unwrap();
    assert!(message.contains("no-such-package-anywhere"), "{message}");
}

#[test]
fn a_cancelled_run_says_who_cancelled_it() {
    let yard = Yard::new();
    let id = yard.submit(&yard.script("import time\nprint('on')\ntime.sleep(600)"), &[]);
    wait_until("the script runs", || yard.ok(["logs", &id]) == "on\n");

    yard.ok(["cancel", &id]);

    let shown = yard.ended(&id);
    assert_eq!(shown["status"], "Canceled");
    assert_eq!(shown["exit"]["reason"], "cancelled");
    assert_eq!(yard.call(["wait", &id]).status.code(), Some(130));
    assert!(processes_of(&id).is_empty());
}

#[test]
fn a_killed_supervisor_is_reported_and_leaves_no_process() {
    let yard = Yard::new();
    let script = "
import os, subprocess, time
subprocess.Popen(['sleep', '600'], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
print('on')
time.sleep(600)
";
    let id = yard.submit(&yard.script(script), &[]);
    wait_until("the script runs", || yard.ok(["logs", &id]) == "on\n");
    assert!(processes_of(&id).len() >= 3);

    for pid in supervisors(&yard, &id) {
        kill(pid);
    }

    let shown = yard.ended(&id);
    assert_eq!(shown["status"], "Failed");
    assert_eq!(shown["exit"]["reason"], "supervisor_killed");
    wait_until("no process of the run is left", || processes_of(&id).is_empty());
}

#[test]
fn a_machine_that_was_rebooted_is_the_reason() {
    let yard = Yard::new();
    let id = yard.submit(&yard.script("import time\nprint('on')\ntime.sleep(600)"), &[]);
    wait_until("the script runs", || yard.ok(["logs", &id]) == "on\n");
    yard.kill_agent();
    let identity = yard.run_directory(&id).join("supervisor.json");
    let mut supervisor: Value = serde_json::from_slice(&fs::read(&identity).unwrap()).unwrap();
    for (process, pid) in ["guard", "supervisor"].into_iter().zip(supervisors(&yard, &id)) {
        kill(pid);
        wait_until("it is gone", || !tests::is_alive(pid));
        supervisor[process]["bootId"] = "00000000-0000-0000-0000-000000000000".into();
    }
    wait_until("no process of the run is left", || {
        processes_of(&id).into_iter().for_each(kill);
        processes_of(&id).is_empty()
    });
    drop(fs::remove_file(yard.run_directory(&id).join("exit.json")));
    fs::write(&identity, supervisor.to_string()).unwrap();

    let shown = yard.ended(&id);

    assert_eq!(shown["exit"]["reason"], "host_rebooted", "{shown:#}");
    assert_eq!(yard.call(["wait", &id]).status.code(), Some(125));
}

#[test]
fn a_script_that_ignores_term_and_hides_is_ended_all_the_same() {
    let yard = Yard::new();
    let script = "
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for hidden in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            if hidden == 2:
                os.kill(os.getpid(), signal.SIGSTOP)
            while True:
                time.sleep(1)
        os._exit(0)
print('on')
while True:
    time.sleep(1)
";
    let id = yard.submit(&yard.script(script), &[]);
    wait_until("the script runs", || yard.ok(["logs", &id]) == "on\n");
    wait_until("its children have hidden", || processes_of(&id).len() >= 4);

    yard.ok(["cancel", "--now", &id]);

    assert_eq!(yard.ended(&id)["status"], "Canceled");
    assert!(processes_of(&id).is_empty());
}

#[test]
fn a_queued_run_is_cancelled_at_once() {
    let yard = Yard::new();
    let long = yard.script("import time\nprint('on')\ntime.sleep(600)");
    let submit = |yard: &Yard| {
        let output = yard
            .trainyard()
            .env("TRAINYARD_MAX_RUNS", "1")
            .env("TOKEN", "s3cr3t")
            .args(["run", "-d", "--json", "--secret", "TOKEN", "--source"])
            .arg(&long)
            .arg("--python")
            .arg(python())
            .arg("train.py")
            .output()
            .unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["runId"].as_str().unwrap().to_owned()
    };
    let first = submit(&yard);
    wait_until("the first runs", || yard.ok(["logs", &first]) == "on\n");
    let second = submit(&yard);
    assert_eq!(yard.show(&second)["status"], "Queued");
    let secrets = yard.run_directory(&second).join("secrets.json");
    assert!(secrets.exists());

    yard.ok(["cancel", &second]);

    assert_eq!(yard.ended(&second)["status"], "Canceled");
    assert!(!secrets.exists(), "nobody needs its secrets any more");
    assert_eq!(yard.show(&first)["status"], "Running");
    yard.ok(["cancel", "--now", &first]);
    yard.ended(&first);
}

#[test]
fn the_first_interrupt_cancels_and_keeps_following() {
    let yard = Yard::new();
    let script = "
import signal, sys, time
def stop(*_):
    print('saving', flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print('on', flush=True)
time.sleep(600)
";
    let out = yard.home().with_file_name("out.txt");
    let mut child = yard
        .trainyard()
        .args(["run", "--source"])
        .arg(yard.script(script))
        .arg("--python")
        .arg(python())
        .arg("train.py")
        .stdout(fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    wait_until("the script runs", || fs::read_to_string(&out).unwrap() == "on\n");

    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGINT).unwrap();

    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_to_string(&out).unwrap(), "on\nsaving\n");
    assert_eq!(yard.show("@")["status"], "Canceled");
}

#[test]
fn a_program_that_may_not_be_executed_is_not_an_interpreter() {
    let yard = Yard::new();
    let fake = yard.home().with_file_name("python-that-is-not");
    fs::write(&fake, "#!/bin/sh\nexit 7\n").unwrap();
    make_executable(&fake);
    let output = yard
        .trainyard()
        .args(["run", "--source"])
        .arg(yard.script("print(1)"))
        .arg("--python")
        .arg(&fake)
        .arg("train.py")
        .output()
        .unwrap();

    assert!(matches!(output.status.code(), Some(2 | 125)), "{:?}", output.status);
    assert!(text(&output.stderr).contains("python-that-is-not"), "{}", text(&output.stderr));
    let runs = yard.json(["list", "--json"]);
    assert!(runs.as_array().unwrap().iter().all(|run| run["status"] != "Completed"));
}

#[test]
fn a_script_over_its_memory_limit_ends_with_the_evidence() {
    let greedy = "kept = [b'x' * 1_000_000 for _ in range(1000)]";
    let (code, shown) = run(&Yard::new(), greedy, &["--memory", "64m", "--pids", "50"]);

    if shown["exit"]["confinement"]["holder"] == "process_tree" {
        eprintln!("\n*** NOT TESTED: this user can have no cgroups here ***\n");
        assert_eq!(shown["warnings"].as_array().unwrap().len(), 1, "{shown}");
        return;
    }
    assert_eq!((code, shown["exit"]["reason"].as_str()), (Some(137), Some("out_of_memory")));
    assert_eq!(shown["exit"]["confinement"]["limits"]["memoryBytes"], 64 << 20, "{shown}");
    assert_eq!(shown["exit"]["confinement"]["oomKills"], 1, "{shown}");
}
