//! The log: byte-exact, stdout and stderr told apart, addressed by offset, complete.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use sha2::{Digest, Sha256};
use tests::{Yard, python, text, wait_until};

/// Runs `script` in the foreground and returns what came out of both ends.
fn run(yard: &Yard, script: &str) -> std::process::Output {
    yard.trainyard()
        .args(["run", "--source"])
        .arg(yard.script(script))
        .arg("--python")
        .arg(python())
        .arg("train.py")
        .output()
        .unwrap()
}

#[test]
fn every_byte_value_arrives_as_it_was_written() {
    let yard = Yard::new();
    let output = run(
        &yard,
        "import os\nos.write(1, bytes(range(256)) * 300)\nos.write(2, bytes(range(255, -1, -1)))",
    );

    let expected: Vec<u8> = (0..300).flat_map(|_| 0..=255u8).collect();
    assert_eq!(output.stdout, expected);
    let logged = yard.call(["logs", "--stream", "stdout", "@"]).stdout;
    assert_eq!(logged, expected);
    let errors = yard.call(["logs", "--stream", "stderr", "@"]);
    assert_eq!([errors.stdout, errors.stderr].concat(), (0..=255u8).rev().collect::<Vec<_>>());
}

#[test]
fn a_last_line_without_newline_and_a_split_character_are_kept() {
    let yard = Yard::new();
    let script = "
import os, time
head, tail = 'é'.encode()[:1], 'é'.encode()[1:]
os.write(1, b'caf' + head)
time.sleep(0.2)
os.write(1, tail + b' no newline')
";
    let output = run(&yard, script);

    assert_eq!(text(&output.stdout), "café no newline");
    assert_eq!(yard.ok(["logs", "@"]), "café no newline");
}

#[test]
fn since_goes_on_exactly_where_a_reader_stopped() {
    let yard = Yard::new();
    run(&yard, "for i in range(1000): print('line', i)");
    let whole = yard.ok(["logs", "@"]);

    for offset in [0, 1, 7, whole.len() / 2, whole.len()] {
        assert_eq!(
            yard.ok(["logs", "--since", &offset.to_string(), "@"]),
            whole[offset..],
            "{offset}"
        );
    }
    let tail: String = whole.lines().skip(990).map(|line| format!("{line}\n")).collect();
    assert_eq!(yard.ok(["logs", "-n", "10", "@"]), tail);
}

#[test]
fn a_follower_sees_the_log_while_it_is_written_and_ends_with_the_run() {
    let yard = Yard::new();
    let gate = yard.home().with_file_name("gate");
    let script = format!(
        "import os, time\nprint('first')\nwhile not os.path.exists({gate:?}): time.sleep(0.01)\nprint('second')"
    );
    let id = yard.submit(&yard.script(&script), &[]);
    let mut follower =
        yard.trainyard().args(["logs", "-f", &id]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(follower.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");

    fs::write(&gate, "").unwrap();

    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "second\n");
    assert_eq!(follower.wait().unwrap().code(), Some(0));
}

#[test]
fn a_follower_goes_on_when_the_agent_was_killed() {
    let yard = Yard::new();
    let script = "
import time
for i in range(200):
    print('line', i)
    time.sleep(0.02)
";
    let id = yard.submit(&yard.script(script), &[]);
    let mut follower =
        yard.trainyard().args(["logs", "-f", &id]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(follower.stdout.take().unwrap());
    let mut seen = String::new();
    for _ in 0..10 {
        stdout.read_line(&mut seen).unwrap();
    }

    yard.kill_agent();

    stdout.read_to_string(&mut seen).unwrap();
    let expected: String = (0..200).map(|i| format!("line {i}\n")).collect();
    assert_eq!(seen, expected, "every line once, in order");
    assert!(follower.wait().unwrap().success());
    assert_eq!(yard.ended(&id)["exit"]["code"], 0);
}

/// A gigabyte goes through the supervisor in its own tests; through a debug build of everything
/// it would take minutes. `TRAINYARD_TEST_MEBIBYTES=1024` does it all the same.
/// The most memory that the agent had so far, in KiB: its program's own pages too.
fn peak_memory(yard: &Yard) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", yard.agent_pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|rest| rest.split_whitespace().next()).unwrap().parse().unwrap()
}

#[test]
fn a_long_output_without_a_newline_is_kept_to_the_byte() {
    let yard = Yard::new();
    yard.ok(["list"]);
    let before = peak_memory(&yard);
    let given = std::env::var("TRAINYARD_TEST_MEBIBYTES").ok();
    let mebibytes = given.map_or(200, |text| text.parse().unwrap());
    // os.write may be short on a pipe, so the rest of a block is written again.
    let script = format!(
        "import os
block = bytes(range(256)) * 4096
for _ in range({mebibytes}):
    view = memoryview(block)
    while view:
        view = view[os.write(1, view):]
"
    );
    let mut child = yard
        .trainyard()
        .args(["run", "--source"])
        .arg(yard.script(&script))
        .arg("--python")
        .arg(python())
        .arg("train.py")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (mut hasher, mut total, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = stdout.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        total += read;
    }

    assert!(child.wait().unwrap().success());
    assert_eq!(total, mebibytes << 20);
    let mut expected = Sha256::new();
    let block: Vec<u8> = (0..4096).flat_map(|_| 0..=255u8).collect();
    (0..mebibytes).for_each(|_| expected.update(&block));
    assert_eq!(hasher.finalize(), expected.finalize());
    let grown = peak_memory(&yard) - before;
    assert!(grown < 48 << 10, "the agent took {grown} KiB more for it");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let yard = Yard::new();
    run(&yard, "for i in range(100_000): print('line', i)");
    let mut logs = yard
        .trainyard()
        .args(["logs", "@"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 7];
    logs.stdout.take().unwrap().read_exact(&mut first).unwrap();

    let output = logs.wait_with_output().unwrap();

    assert_eq!(&first, b"line 0\n");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_follower_of_a_queued_run_waits_for_it() {
    let yard = Yard::new();
    let gate = yard.home().with_file_name("gate");
    let source = yard.script(&format!(
        "import os, time\nprint('on')\nwhile not os.path.exists({gate:?}): time.sleep(0.01)"
    ));
    let submit = || {
        let output = yard
            .trainyard()
            .env("TRAINYARD_MAX_RUNS", "1")
            .args(["run", "-d", "--json", "--source"])
            .arg(&source)
            .arg("--python")
            .arg(python())
            .arg("train.py")
            .output()
            .unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["runId"].as_str().unwrap().to_owned()
    };
    let first = submit();
    wait_until("the first runs", || yard.ok(["logs", &first]) == "on\n");
    let second = submit();
    assert_eq!(yard.show(&second)["status"], "Queued");
    let follower =
        yard.trainyard().args(["logs", "-f", &second]).stdout(Stdio::piped()).spawn().unwrap();

    fs::write(&gate, "").unwrap();

    let output = follower.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "on\n");
    assert!(output.status.success());
}
