//! The agent is killed, or told that the disk is full or broken, at every write to the disk of
//! submitting, starting and finishing a run: what is accepted has a true end, what is not is
//! refused and does nothing.
//!
//! strace does that to the agent and to what it starts. Counts are per thread, so that a number
//! stands for the same step each time. `TRAINYARD_SOAK=1` tries all steps instead of a sample.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tests::moments::is_soak;
use tests::{Yard, binary, is_alive, kill, python, text, wait_until};

/// Calls that make a change or see it to the disk, and how many one thread makes of them from the
/// start of an agent to the end of a run, or somewhat more.
const STEPS: [(&str, usize); 5] = [
    ("fsync,fdatasync", 14),
    ("pwrite64", 64),
    ("rename,renameat,renameat2,link,linkat", 4),
    ("mkdir,mkdirat", 8),
    ("unlink,unlinkat,ftruncate", 5),
];

/// Of how many steps one is tried where time is short.
const SAMPLE: usize = 12;

/// A yard in which one run after the other meets a fault.
struct Faulty {
    yard: Yard,
    source: PathBuf,
    python: PathBuf,
    diary: PathBuf,
}

/// What came of a fault.
#[derive(Debug, PartialEq)]
enum Outcome {
    Refused,
    Completed,
    Failed(String),
}

impl Faulty {
    fn new() -> Self {
        let yard = Yard::new();
        let source = yard.project("source", &[("data.txt", "x")]);
        let (bare, diary) = (yard.home().with_file_name("bare"), yard.shared("diary"));
        let made = Command::new(python()).args(["-m", "venv", "--without-pip"]).arg(&bare).status();
        assert!(made.unwrap().success());
        yard.ok(["list"]);
        yard.ok(["agent", "stop"]);
        Self { yard, source, python: bare.join("bin/python"), diary }
    }

    /// Starts an agent whose `number`th of `calls` in any thread meets `fault`, and waits until it
    /// answers, or is dead.
    fn agent(&self, calls: &str, fault: &str, number: usize) -> Child {
        let mut agent = Command::new("strace");
        agent.args(["-f", "-o"]).arg(self.trace());
        agent.args(["-e", &format!("trace={calls}")]);
        agent.args(["-e", &format!("inject={calls}:{fault}:when={number}")]);
        agent.arg(binary()).args(["agent", "run"]);
        let likewise = self.yard.trainyard();
        agent.env_clear();
        agent.envs(likewise.get_envs().filter_map(|(name, value)| Some((name, value?))));
        agent.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut agent = agent.spawn().unwrap();
        wait_until("the agent answers or is dead", || {
            self.yard.call(["agent", "status"]).status.success()
                || agent.try_wait().unwrap().is_some()
        });
        agent
    }

    fn trace(&self) -> PathBuf {
        self.yard.home().with_file_name("trace")
    }

    /// Says whether the fault was met.
    fn was_met(&self) -> bool {
        let trace = fs::read_to_string(self.trace()).unwrap_or_default();
        trace.contains("(INJECTED)") || trace.contains("killed by SIGKILL")
    }

    /// Hands a run in and follows it to its end, or sees that it was refused.
    fn run(&self, name: &str) -> Outcome {
        let line = format!("echo {name} >>{}; seq 1000; exit 3", self.diary.display());
        let submitted = self
            .yard
            .trainyard()
            .args(["run", "-d", "--json", "--name", name, "--source"])
            .arg(&self.source)
            .arg("--python")
            .arg(&self.python)
            .args(["--command", &line])
            .output()
            .unwrap();
        if !submitted.status.success() {
            let said = text(&submitted.stderr);
            assert!(said.contains("error: "), "{name}: {said}");
            assert_eq!(self.starts(name), 0, "{name} was refused: {said}");
            return Outcome::Refused;
        }
        let submitted: Value = serde_json::from_slice(&submitted.stdout).unwrap();
        let id = submitted["runId"].as_str().unwrap();
        let mut shown = Value::Null;
        wait_until(&format!("{name} ({id}) is over"), || {
            let answer = self.yard.call(["show", "--json", id]).stdout;
            shown = serde_json::from_slice(&answer).unwrap_or_default();
            ["Completed", "Failed", "Canceled"].contains(&shown["status"].as_str().unwrap_or(""))
        });
        self.check(name, id, &shown)
    }

    /// Checks that what is said of the run is so.
    fn check(&self, name: &str, id: &str, shown: &Value) -> Outcome {
        let exit = &shown["exit"];
        let reason = exit["reason"].as_str().unwrap().to_owned();
        let starts = self.starts(name);
        assert!(starts <= 1, "{name} was started {starts} times: {shown:#}");
        if reason != "script_failed" {
            assert_eq!(shown["status"], "Failed", "{shown:#}");
            assert_ne!(exit["message"], "", "{shown:#}");
            return Outcome::Failed(reason);
        }
        assert_eq!((starts, &exit["code"]), (1, &Value::from(3)), "{shown:#}");
        let numbers: String = (1..=1000).map(|number| format!("{number}\n")).collect();
        let log = self.yard.run_directory(id).join("user_logs/std_log.txt");
        assert!(fs::read_to_string(log).unwrap() == numbers, "{shown:#}");
        Outcome::Completed
    }

    fn starts(&self, name: &str) -> usize {
        let diary = fs::read_to_string(&self.diary).unwrap_or_default();
        diary.lines().filter(|line| *line == name).count()
    }

    /// Ends the agent, whichever it is by now, and strace.
    fn end(&self, mut strace: Child) {
        drop(self.yard.call(["agent", "stop"]));
        let pid = fs::read_to_string(self.yard.home().join("agent.lock")).unwrap_or_default();
        if let Ok(pid) = pid.trim().parse::<i32>() {
            // One that a fault at its start left without an answer.
            kill(pid);
            wait_until("the agent is gone", || !is_alive(pid));
        }
        strace.kill().unwrap();
        strace.wait().unwrap();
    }
}

fn can_trace() -> bool {
    let found = Command::new("strace").arg("-V").output().is_ok_and(|said| said.status.success());
    assert!(found || std::env::var("CI").as_deref() != Ok("true"), "strace is not installed");
    if !found {
        eprintln!("skipped: strace is not installed");
    }
    found
}

/// Has one run after the other meet `fault`, each a step later.
fn every_step(fault: &str) {
    if !can_trace() {
        return;
    }
    let faulty = Faulty::new();
    let steps = STEPS.iter().flat_map(|(calls, most)| (1..=*most).map(move |step| (calls, step)));
    let every = if is_soak() { 1 } else { SAMPLE };
    let (mut met, mut outcomes) = (0, Vec::new());
    for (calls, step) in steps.step_by(every) {
        let agent = faulty.agent(calls, fault, step);
        let name = format!("{}-{step}", calls.split(',').next().unwrap());
        let outcome = faulty.run(&name);
        met += usize::from(faulty.was_met());
        println!("{fault} at {name}: {outcome:?}, met: {}", faulty.was_met());
        outcomes.push(outcome);
        faulty.end(agent);
    }
    assert_eq!(faulty.run("afterwards"), Outcome::Completed);
    let completed = outcomes.iter().filter(|it| **it == Outcome::Completed).count();
    let refused = outcomes.iter().filter(|it| **it == Outcome::Refused).count();
    println!(
        "{fault}: met at {met} of {} steps; {completed} completed, {refused} refused, {} failed",
        outcomes.len(),
        outcomes.len() - completed - refused
    );
    assert!(met * 3 > outcomes.len(), "met at {met} of {} steps only", outcomes.len());
    assert!(Path::new(&faulty.diary).exists());
}

#[test]
fn killed_at_any_step() {
    every_step("signal=KILL");
}

#[test]
fn a_full_disk_at_any_step() {
    every_step("error=ENOSPC");
}

#[test]
fn a_broken_disk_at_any_step() {
    every_step("error=EIO");
}
