//! The log: byte-exact, stdout and stderr told apart, addressed by offset, complete.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};
use tests::moments::is_soak;
use tests::{Yard, python, supervisors, text, wait_until};

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
    let gate = yard.shared("gate");
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

/// The most memory that a process had so far, in KiB: its program's own pages too.
fn peak_memory(pid: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|rest| rest.split_whitespace().next()).unwrap().parse().unwrap()
}

/// Reads `count` bytes and returns their digest.
fn digest(mut from: impl Read, count: usize) -> Vec<u8> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    let mut left = count;
    while left > 0 {
        let read = from.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "{left} of {count} bytes are missing");
        hasher.update(&buffer[..read]);
        left -= read;
    }
    hasher.finalize().to_vec()
}

/// Every other mebibyte without a line end. `os.write` may be short on a pipe.
const BLOCKS: &str = "
import os, random
for number in range(COUNT):
    block = random.Random(number).randbytes(1 << 20) if number % 2 else b'x' * (1 << 20)
    view = memoryview(block)
    while view:
        view = view[os.write(1, view):]
";

/// 64 MiB, or 1 GiB with `TRAINYARD_SOAK=1`.
#[test]
fn a_flood_is_kept_to_the_byte_and_takes_no_memory() {
    let mebibytes = if is_soak() { 1024 } else { 64 };
    let yard = Yard::new();
    let gate = yard.shared("gate");
    let script = format!(
        "import os, time
while not os.path.exists({gate:?}):
    time.sleep(0.01)
{}
time.sleep(1000)
",
        BLOCKS.replace("COUNT", &mebibytes.to_string())
    );
    let id = yard.submit(&yard.script(&script), &[]);
    wait_until("it is on", || yard.show(&id)["status"] == "Running");
    let mut follower =
        yard.trainyard().args(["logs", "-f", &id]).stdout(Stdio::piped()).spawn().unwrap();
    let [guard, supervisor] = supervisors(&yard, &id);
    let watched = [guard, supervisor, yard.agent_pid(), i32::try_from(follower.id()).unwrap()];
    let before = watched.map(peak_memory);

    fs::write(&gate, "").unwrap();
    let followed = digest(follower.stdout.as_mut().unwrap(), mebibytes << 20);

    let after = watched.map(peak_memory);
    let grown = [0, 1, 2, 3].map(|it| after[it] - before[it]);
    println!("{mebibytes} MiB of log; guard, supervisor, agent, follower grew by {grown:?} KiB");
    assert!(grown.iter().all(|grown| *grown < 64 << 10), "{grown:?} KiB");
    yard.ok(["cancel", "--now", &id]);
    assert_eq!(follower.wait().unwrap().code(), Some(0));
    assert_eq!(yard.ended(&id)["status"], "Canceled");
    let log = yard.run_directory(&id).join("user_logs/std_log.txt");
    assert_eq!(fs::metadata(&log).unwrap().len(), (mebibytes << 20) as u64);
    assert!(digest(fs::File::open(log).unwrap(), mebibytes << 20) == followed);
    let mut blocks = Command::new(python())
        .args(["-c", &BLOCKS.replace("COUNT", &mebibytes.to_string())])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(digest(blocks.stdout.take().unwrap(), mebibytes << 20) == followed);
    assert!(blocks.wait().unwrap().success());
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
    let gate = yard.shared("gate");
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
