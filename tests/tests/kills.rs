//! kill -9 of the agent at moments nobody chose, twenty runs in flight: none is lost, none carried
//! out twice, every exit code and log byte is right, no process is left.
//!
//! `TRAINYARD_SOAK=1` kills 1,000 times instead of 50, `TRAINYARD_TEST_SEED` chooses when.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use tests::moments::{Moments, is_soak};
use tests::{Yard, is_alive, kill, python, text, wait_until};

/// How many runs are handed in and not over at each kill.
const IN_FLIGHT: usize = 20;

/// What scripts print: more than a pipe or a buffer of ours holds.
const NUMBERS: usize = 20_000;

/// Runs that leave outside of the agent's reach what happened to them.
struct Scripts {
    yard: Yard,
    source: PathBuf,
    /// One with nothing installed: each new agent asks what is.
    python: PathBuf,
    /// A line for each start and each end of a script.
    diary: PathBuf,
    /// The names of the runs that were accepted.
    accepted: Vec<String>,
}

impl Scripts {
    fn new() -> Self {
        let yard = Yard::new();
        yard.configure(&format!("[agent]\nmax-runs = {IN_FLIGHT}\n"));
        let source = yard.project("source", &[("data.txt", "x")]);
        let diary = yard.shared("diary");
        fs::write(&diary, "").unwrap();
        let bare = yard.home().with_file_name("bare");
        let made = Command::new(python()).args(["-m", "venv", "--without-pip"]).arg(&bare).status();
        assert!(made.unwrap().success());
        Self { yard, source, python: bare.join("bin/python"), diary, accepted: Vec::new() }
    }

    fn starts_and_ends(&self) -> (Vec<String>, Vec<String>) {
        let diary = fs::read_to_string(&self.diary).unwrap();
        let of = |word: &str| {
            let lines = diary.lines().filter_map(|line| line.strip_prefix(word));
            lines.map(str::to_owned).collect()
        };
        (of("start "), of("end "))
    }

    /// Writes a job file that makes up what is missing to [`IN_FLIGHT`] runs.
    fn missing(&mut self, moments: &mut Moments) -> String {
        let on = self.accepted.len() - self.starts_and_ends().1.len();
        let mut jobs = String::new();
        let python = self.python.clone();
        for _ in on..IN_FLIGHT {
            let name = format!("n{}", self.accepted.len());
            let diary = self.diary.display();
            let (seconds, code) = (moments.within(4000).as_secs_f64(), code_of(&name));
            write!(
                jobs,
                "[[run]]\nname = {name:?}\npython = {python:?}\ncommand = \"echo start {name} >>{diary}; \
                 seq {NUMBERS}; sleep {seconds}; echo off; echo end {name} >>{diary}; exit {code}\"\n"
            )
            .unwrap();
            self.accepted.push(name);
        }
        jobs
    }

    /// Hands them in. That outlives the death of the agent.
    fn hand_in(&self, jobs: &str) {
        if jobs.is_empty() {
            return self.have_an_agent();
        }
        let file = self.source.with_file_name("jobs.toml");
        fs::write(&file, jobs.replace("[[run]]", "[[run]]\nsource = \"source\"")).unwrap();
        let submitted = self.yard.trainyard().args(["submit", "--json"]).arg(&file).output();
        let submitted = submitted.unwrap();
        assert!(submitted.status.success(), "{}", text(&submitted.stderr));
    }

    /// Has one started. A question whose agent dies is not asked again.
    fn have_an_agent(&self) {
        let list = || self.yard.call(["list", "-n", "1"]).status.success();
        wait_until("an agent answers", list);
    }

    fn agent(&self) -> Option<i32> {
        let pid = fs::read_to_string(self.yard.home().join("agent.lock")).ok()?.trim().parse();
        pid.ok().filter(|pid| is_alive(*pid))
    }
}

fn code_of(name: &str) -> usize {
    name[1..].parse::<usize>().unwrap() % 5
}

#[test]
fn a_thousand_deaths_of_the_agent_cost_no_run_anything() {
    let count = if is_soak() { 1000 } else { 50 };
    let mut moments = Moments::seeded();
    let mut scripts = Scripts::new();
    let begun = Instant::now();
    for _ in 0..count {
        let jobs = scripts.missing(&mut moments);
        let moment = moments.within(250);
        std::thread::scope(|scope| {
            scope.spawn(|| scripts.hand_in(&jobs));
            wait_until("an agent is there", || scripts.agent().is_some());
            std::thread::sleep(moment);
            let agent = scripts.agent().expect("nobody else ends it");
            kill(agent);
            wait_until("the killed agent is gone", || !is_alive(agent));
        });
    }
    scripts.have_an_agent();
    wait_until("all runs are over", || {
        let status = scripts.yard.json(["agent", "status", "--json"]);
        status["runs"] == serde_json::json!({"queued": 0, "running": 0})
    });

    let runs = scripts.yard.json(["list", "--all", "--json"]);
    let runs: Vec<&Value> = runs.as_array().unwrap().iter().collect();
    let names = |runs: &[String]| -> BTreeMap<String, usize> {
        runs.iter().fold(BTreeMap::new(), |mut counts, name| {
            *counts.entry(name.clone()).or_default() += 1;
            counts
        })
    };
    let once: BTreeMap<String, usize> =
        scripts.accepted.iter().map(|name| (name.clone(), 1)).collect();
    let listed: Vec<String> =
        runs.iter().map(|run| run["displayName"].as_str().unwrap().to_owned()).collect();
    let (starts, ends) = scripts.starts_and_ends();
    println!(
        "{count} kills in {:.0?}, {} runs: {} listed, {} starts, {} ends",
        begun.elapsed(),
        once.len(),
        listed.len(),
        starts.len(),
        ends.len()
    );
    assert_eq!(names(&listed), once, "none lost, none handed in twice");
    assert_eq!(names(&starts), once, "every script started once");
    assert_eq!(names(&ends), once, "every script went to its end");
    let mut log: String = (1..=NUMBERS).map(|number| format!("{number}\n")).collect();
    log += "off\n";
    for (run, name) in runs.iter().zip(&listed) {
        assert_eq!(run["exit"]["code"], code_of(name), "{run:#}");
        let directory = scripts.yard.run_directory(run["runId"].as_str().unwrap());
        let written = fs::read_to_string(directory.join("user_logs/std_log.txt")).unwrap();
        assert!(written == log, "{} of {} bytes: {run:#}", written.len(), log.len());
    }
    assert_eq!(left_over(&scripts.yard), BTreeSet::new());
}

/// Returns the processes of runs and of their supervisors, by command line.
fn left_over(yard: &Yard) -> BTreeSet<String> {
    let home = yard.home().display().to_string();
    let numbered = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let of_runs = numbered.filter_map(|process| {
        let read = |name| text(&fs::read(process.join(name)).unwrap_or_default());
        let (command, environment) = (read("cmdline"), read("environ"));
        let is_supervisor = command.contains("supervise\0") && command.contains(&home);
        let is_script = environment.contains("TRAINYARD_RUN_ID=") && environment.contains(&home);
        let pid = process.file_name()?.to_str()?.parse().ok()?;
        ((is_supervisor || is_script) && is_alive(pid)).then(|| format!("{pid}: {command}"))
    });
    of_runs.collect()
}
