//! Runs in containers behave as runs in processes do: codes, signals, limits, logs, outputs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::Value;
use tests::engine::{self, EngineYard, docker};
use tests::{text, wait_until};

/// Runs `script` in a container; returns the exit code and the record.
fn run(yard: &EngineYard, script: &str, options: &[&str]) -> (Option<i32>, Value) {
    let output = yard.in_container(script, options);
    let runs = yard.json(["list", "--json"]);
    assert!(!runs.as_array().unwrap().is_empty(), "{}", text(&output.stderr));
    assert_eq!(yard.containers(), [""; 0], "a run is over when its container is gone");
    (output.status.code(), yard.show("@"))
}

#[test]
fn a_run_in_a_container_is_like_the_program_it_runs() {
    let Some(yard) = engine::yard() else { return };
    let script = "
import json, os, sys
print('to stdout', sys.argv[1:], os.getcwd())
print('to stderr', file=sys.stderr)
os.makedirs('outputs', exist_ok=True)
open('outputs/model.txt', 'w').write('weights')
open('logs/metrics.jsonl', 'a').write(json.dumps({'name': 'loss', 'value': 0.25}) + '\\n')
print(json.dumps({'name': 'accuracy', 'value': 0.5}))
";
    let source = yard.script(script);
    let output = yard
        .trainyard()
        .args(["run", "--docker", engine::BASE_IMAGE, "--source"])
        .arg(source)
        .args(["train.py", "--lr", "a b"])
        .output()
        .unwrap();

    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let expected =
        "to stdout ['--lr', 'a b'] /azureml-run\n{\"name\": \"accuracy\", \"value\": 0.5}\n";
    assert_eq!(text(&output.stdout), expected);
    assert!(stderr.contains("to stderr\n"), "{stderr}");
    let shown = yard.show("@");
    assert_eq!((shown["status"].as_str(), &shown["exit"]["code"]), (Some("Completed"), &0.into()));
    assert_eq!(shown["metrics"]["loss"][0]["value"], 0.25);
    assert_eq!(shown["metrics"]["accuracy"][0]["value"], 0.5);
    let outputs = shown["outputFiles"].as_array().unwrap();
    let model = outputs.iter().find(|file| file["path"] == "outputs/model.txt").unwrap();
    assert_eq!(model["size"], 7);
    let id = docker(["image", "inspect", "-f", "{{.Id}}", engine::BASE_IMAGE]);
    assert_eq!(shown["preparedEnvironment"]["image"]["id"], id.trim(), "{shown:#}");
    assert_eq!(yard.containers(), [""; 0], "a run is over when its container is gone");
    assert!(yard.images().is_empty(), "a ready image is used as it is");
}

#[test]
fn exit_codes_and_signals_are_the_scripts_own() {
    let Some(yard) = engine::yard() else { return };

    let (code, shown) = run(&yard, "import sys; sys.exit(42)", &[]);
    assert_eq!((code, shown["exit"]["reason"].as_str()), (Some(42), Some("script_failed")));
    assert_eq!(shown["exit"]["code"], 42);

    let script = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)";
    let (code, shown) = run(&yard, script, &[]);
    assert_eq!((code, shown["exit"]["reason"].as_str()), (Some(128 + 11), Some("signal")));
    assert_eq!(shown["exit"]["signal"], 11);

    // More than 128, and no signal has that number.
    let (code, shown) = run(&yard, "import sys; sys.exit(250)", &[]);
    assert_eq!((code, shown["exit"]["reason"].as_str()), (Some(250), Some("script_failed")));
}

#[test]
fn a_command_that_does_not_exist_fails_as_a_shell_says() {
    let Some(yard) = engine::yard() else { return };
    let source = yard.script("");
    let output = yard
        .trainyard()
        .args(["run", "--docker", engine::BASE_IMAGE, "--source"])
        .arg(source)
        .args(["--command", "no-such-program-here"])
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(127), "{}", text(&output.stderr));
}

#[test]
fn a_script_that_takes_more_memory_than_it_may_is_out_of_memory() {
    let Some(yard) = engine::yard() else { return };
    let script = "
print('on', flush=True)
taken = [bytearray(8 << 20) for _ in range(64)]
print('never')
";
    let (code, shown) = run(&yard, script, &["--memory", "128m"]);

    assert_eq!(shown["exit"]["reason"], "out_of_memory", "{shown:#}");
    assert_eq!(code, Some(137));
    assert_eq!(yard.ok(["logs", "@"]), "on\n");
}

#[test]
fn limits_reach_the_container() {
    let Some(yard) = engine::yard() else { return };
    let script = "
import os, time
print('on', flush=True)
while not os.path.exists('outputs/go'): time.sleep(0.01)
";
    let limits = ["--memory", "256m", "--cpus", "0.5", "--pids", "50", "--shm-size", "32m"];
    let id = yard.submit_to_container(script, &limits);
    wait_until("the script runs", || yard.ok(["logs", &id]) == "on\n");

    let container = yard.containers().pop().unwrap();
    let inspected: Value = serde_json::from_str(&docker(["inspect", &container])).unwrap();
    let host = &inspected[0]["HostConfig"];
    assert_eq!(host["Memory"], 256 << 20);
    assert_eq!(host["NanoCpus"], 500_000_000);
    assert_eq!(host["PidsLimit"], 50);
    assert_eq!(host["ShmSize"], 32 << 20);
    assert_eq!(host["CapDrop"][0], "ALL");
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["Init"], true);
    assert_eq!(host["LogConfig"]["Type"], "none");
    let security = host["SecurityOpt"].to_string();
    assert!(security.contains("no-new-privileges"), "{security}");
    assert_eq!(inspected[0]["Name"], format!("/trainyard-{id}"));
    assert_eq!(inspected[0]["Config"]["Labels"]["trainyard.run"], id);
    let work = yard.run_directory(&id).join("work/outputs");
    fs::create_dir_all(&work).unwrap();
    fs::write(work.join("go"), "").unwrap();
    assert_eq!(yard.ended(&id)["status"], "Completed");
    wait_until("the container is gone", || yard.containers().is_empty());
}

#[test]
fn a_script_over_its_time_limit_is_ended() {
    let Some(yard) = engine::yard() else { return };
    let script = "import time\nprint('on', flush=True)\ntime.sleep(600)";
    let (code, shown) = run(&yard, script, &["--timeout", "2s"]);

    assert_eq!((code, shown["status"].as_str()), (Some(124), Some("Failed")));
    assert_eq!(shown["exit"]["reason"], "time_limit");
    assert_eq!(yard.ok(["logs", "@"]), "on\n");
}

#[test]
fn cancel_gives_a_script_its_time_and_then_ends_all_of_it() {
    let Some(yard) = engine::yard() else { return };
    let script = "
import os, signal, sys, time
def stop(*_):
    print('saving', flush=True)
    sys.exit(0)
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True: time.sleep(1)
signal.signal(signal.SIGTERM, stop)
print('on', flush=True)
time.sleep(600)
";
    let id = yard.submit_to_container(script, &[]);
    wait_until("the script runs", || yard.ok(["logs", &id]) == "on\n");

    yard.ok(["cancel", &id]);

    let shown = yard.ended(&id);
    assert_eq!(shown["status"], "Canceled");
    assert_eq!(shown["exit"]["reason"], "cancelled");
    assert_eq!(yard.call(["wait", &id]).status.code(), Some(130));
    assert_eq!(yard.ok(["logs", &id]), "on\nsaving\n");
    wait_until("the container is gone", || yard.containers().is_empty());
}

#[test]
fn a_script_that_ignores_term_is_ended_at_once_when_asked() {
    let Some(yard) = engine::yard() else { return };
    let script = "
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('on', flush=True)
while True: time.sleep(1)
";
    let id = yard.submit_to_container(script, &[]);
    wait_until("the script runs", || yard.ok(["logs", &id]) == "on\n");

    yard.ok(["cancel", "--now", &id]);

    assert_eq!(yard.ended(&id)["status"], "Canceled");
    wait_until("the container is gone", || yard.containers().is_empty());
}

#[test]
fn every_byte_arrives_as_it_was_written() {
    let Some(yard) = engine::yard() else { return };
    let script = "
import os, sys
data = bytes(range(256)) * 8192
while data: data = data[os.write(1, data):]
os.write(2, bytes(range(255, -1, -1)))
os.write(1, b'no newline at the end')
";
    let output = yard.in_container(script, &[]);

    let mut expected: Vec<u8> = (0..8192).flat_map(|_| 0..=255u8).collect();
    expected.extend(b"no newline at the end");
    assert!(output.stdout == expected, "{} bytes: {}", output.stdout.len(), text(&output.stderr));
    let logged = yard.call(["logs", "--stream", "stdout", "@"]).stdout;
    assert!(logged == expected, "{} bytes", logged.len());
    let errors = yard.call(["logs", "--stream", "stderr", "@"]);
    assert_eq!([errors.stdout, errors.stderr].concat(), (0..=255u8).rev().collect::<Vec<_>>());
}

#[test]
fn outputs_belong_to_the_user_and_not_to_root() {
    let Some(yard) = engine::yard() else { return };
    let script = "
import os
os.makedirs('outputs/deep', exist_ok=True)
open('outputs/deep/model.txt', 'w').write('weights')
open('/tmp/scratch', 'w').write('x')
print(os.getuid(), os.getgid(), os.environ['HOME'])
";
    let output = yard.in_container(script, &[]);

    let home = fs::metadata(yard.home()).unwrap();
    let (uid, gid) = (home.uid(), home.gid());
    assert_eq!(text(&output.stdout), format!("{uid} {gid} /tmp\n"), "{}", text(&output.stderr));
    let id = yard.show("@")["runId"].as_str().unwrap().to_owned();
    let model = yard.run_directory(&id).join("work/outputs/deep/model.txt");
    assert_eq!(fs::metadata(model).unwrap().uid(), uid);
}

#[test]
fn variables_are_given_and_those_of_this_machine_are_not() {
    let Some(yard) = engine::yard() else { return };
    let script = "
import os
print(os.environ['GREETING'], os.environ['TRAINYARD_RUN_ID'], os.environ.get('MINE'))
print(os.environ.get('EXAMPLE_ENV_VAR'), os.environ['PATH'].split(':')[-1])
";
    let source = yard.script(script);
    let output = yard
        .trainyard()
        .env("MINE", "not theirs")
        .args(["run", "--docker", engine::BASE_IMAGE, "-e", "GREETING=hello $HOME 'x'", "--source"])
        .arg(source)
        .arg("train.py")
        .output()
        .unwrap();

    let id = yard.show("@")["runId"].as_str().unwrap().to_owned();
    let printed = text(&output.stdout);
    let expected = format!("hello $HOME 'x' {id} None\nNone ");
    assert!(printed.starts_with(&expected), "{printed}{}", text(&output.stderr));
}

#[test]
fn a_container_without_network_has_none() {
    let Some(yard) = engine::yard() else { return };
    let script = "import os; print(sorted(os.listdir('/sys/class/net')))";

    let (_, shown) = run(&yard, script, &["--network", "none"]);
    assert_eq!(yard.ok(["logs", "@"]), "['lo']\n", "{shown:#}");
    // The second leads nowhere: it is in the place of where clouds give credentials.
    let (_, shown) = run(&yard, script, &[]);
    assert_eq!(yard.ok(["logs", "@"]), "['eth0', 'eth1', 'lo']\n", "{shown:#}");
    assert_eq!(shown["exit"]["sandbox"], serde_json::Value::Null, "its engine keeps it in bounds");
}

#[test]
fn an_image_without_a_shell_is_followed_by_attach() {
    let Some(yard) = engine::yard() else { return };
    let dockerfile = format!(
        "FROM {}\nLABEL trainyard.home={}\nRUN rm -f /bin/bash /bin/dash /bin/sh /usr/bin/perl\n",
        engine::BASE_IMAGE,
        yard.home().display()
    );
    let context = yard.project("shell-less", &[("Dockerfile", &dockerfile)]);
    let image = docker(["build", "-q", context.to_str().unwrap()]);
    let script = "import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(3)";

    let output = yard.run(&yard.script(script), &["--docker", image.trim()]);

    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "out\n");
    assert!(text(&output.stderr).contains("err\n"));
    let shown = yard.show("@");
    let warning = shown["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.starts_with("the image has no shell"), "{shown:#}");
    assert!(yard.ok(["show", "@"]).contains("the image has no shell"));
}
