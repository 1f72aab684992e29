//! Agents, supervisors, engines and containers that end when nobody expects it: what is said
//! afterwards is true. `TRAINYARD_SOAK=1` restarts an engine 20 times instead of once.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::engine::{self, BASE_IMAGE, docker};
use tests::moments::{Moments, is_soak};
use tests::own_engine::OwnEngine;
use tests::{Yard, kill_supervisors, text, wait_until};

/// Prints a line every time a file is made for it, and ends at `end`.
const STEPS: &str = "
import os, time
step = 0
print('on', flush=True)
while not os.path.exists('outputs/end'):
    if os.path.exists(f'outputs/{step}'):
        print('step', step, flush=True)
        step += 1
    time.sleep(0.01)
print('off')
";

fn make(yard: &Yard, run: &str, name: &str) {
    let outputs = yard.run_directory(run).join("work/outputs");
    fs::create_dir_all(&outputs).unwrap();
    fs::write(outputs.join(name), "").unwrap();
}

#[test]
fn a_run_in_a_container_survives_the_death_of_its_agent() {
    let Some(yard) = engine::yard() else { return };
    let id = yard.submit_to_container(STEPS, &[]);
    wait_until("the script runs", || yard.ok(["logs", &id]) == "on\n");

    yard.kill_agent();
    make(&yard, &id, "0");
    wait_until("a new agent shows it", || yard.ok(["logs", &id]) == "on\nstep 0\n");
    yard.kill_agent();
    make(&yard, &id, "end");

    let shown = yard.ended(&id);
    assert_eq!(shown["status"], "Completed", "{shown:#}");
    assert_eq!(yard.ok(["logs", &id]), "on\nstep 0\noff\n", "every line once");
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 1, "{shown:#}");
    assert_eq!(yard.containers(), [""; 0], "a run is over when its container is gone");
}

#[test]
fn an_agent_killed_while_containers_start_starts_each_once() {
    let Some(yard) = engine::yard() else { return };
    let source = yard.script("import os\nprint('ran in', os.environ['TRAINYARD_RUN_ID'])");
    let source = source.to_str().unwrap();
    let arguments = ["run", "-d", "--json", "--docker", BASE_IMAGE, "--source", source, "train.py"];
    let mut runs = Vec::new();
    for pause in [0, 20, 60, 120, 200, 300, 400] {
        runs.push(yard.json(arguments)["runId"].as_str().unwrap().to_owned());
        std::thread::sleep(std::time::Duration::from_millis(pause));
        yard.kill_agent();
    }

    for id in &runs {
        let shown = yard.ended(id);
        assert_eq!(shown["status"], "Completed", "{shown:#}");
        assert_eq!(yard.ok(["logs", id]), format!("ran in {id}\n"));
    }
    assert_eq!(yard.containers(), [""; 0], "a run is over when its container is gone");
}

#[test]
fn a_build_whose_agent_is_killed_is_made_again_and_leaves_nothing() {
    let Some(yard) = engine::yard() else { return };
    let token = format!("token-{}", std::process::id());
    let dockerfile = format!(
        "FROM {BASE_IMAGE}\nRUN echo {token} && sleep 4 && echo built >/built\nCOPY note.txt /\n"
    );
    let script = "print(open('/built').read() + open('/note.txt').read(), end='')";
    let files = [("train.py", script), ("Dockerfile", &dockerfile), ("note.txt", "copied\n")];
    let source = yard.project("builds", &files);
    let source = source.to_str().unwrap();
    let arguments = ["run", "-d", "--json", "--env", "Dockerfile", "--source", source, "train.py"];
    let id = yard.json(arguments)["runId"].as_str().unwrap().to_owned();
    let building = || {
        Command::new("pgrep")
            .args(["-f", &format!("echo {token}")])
            .output()
            .unwrap()
            .status
            .success()
    };
    wait_until("it is being built", building);

    yard.kill_agent();
    assert_eq!(yard.json(["env", "list", "--json"]).to_string().matches("\"key\"").count(), 0);

    let shown = yard.ended(&id);
    assert_eq!(shown["status"], "Completed", "{shown:#}");
    assert_eq!(yard.ok(["logs", &id]), "built\ncopied\n");
    let containers = docker(["ps", "-a", "--no-trunc", "--format", "{{.Command}}"]);
    assert!(!containers.contains(&token), "{containers}");
    assert_eq!(yard.images().len(), 1);
}

#[test]
fn a_run_whose_container_was_lost_gets_another_one() {
    let Some(yard) = engine::yard() else { return };
    let id = yard.submit_to_container(STEPS, &["--retries", "1", "--retry-delay", "0"]);
    wait_until("the script runs", || yard.ok(["logs", &id]) == "on\n");

    kill_supervisors(&yard, &id);
    wait_until("the second attempt runs", || {
        yard.run_directory(&id).join("attempts/1").exists() && yard.ok(["logs", &id]) == "on\n"
    });
    make(&yard, &id, "end");

    let shown = yard.ended(&id);
    assert_eq!(shown["status"], "Completed", "{shown:#}");
    assert_eq!(shown["attempts"][1]["reason"], "supervisor_killed", "{shown:#}");
    assert_eq!(yard.ok(["logs", &id]), "on\noff\n");
    assert_eq!(yard.ok(["logs", &id, "--attempt", "1"]), "on\n");
    assert_eq!(yard.containers(), [""; 0]);
}

#[test]
fn a_killed_supervisor_takes_its_container_with_it() {
    let Some(yard) = engine::yard() else { return };
    let id = yard.submit_to_container(STEPS, &[]);
    wait_until("the script runs", || yard.ok(["logs", &id]) == "on\n");
    assert_eq!(yard.containers().len(), 1);

    kill_supervisors(&yard, &id);

    let shown = yard.ended(&id);
    assert_eq!(shown["exit"]["reason"], "supervisor_killed", "{shown:#}");
    assert_eq!(yard.ok(["logs", &id]), "on\n");
    assert_eq!(yard.containers(), [""; 0], "a run is over when its container is gone");
}

#[test]
fn a_container_removed_behind_our_back_is_said_to_be() {
    let Some(yard) = engine::yard() else { return };
    let id = yard.submit_to_container(STEPS, &[]);
    wait_until("the script runs", || yard.ok(["logs", &id]) == "on\n");

    docker(["rm", "-f", &format!("trainyard-{id}")]);

    let shown = yard.ended(&id);
    assert_eq!(shown["status"], "Failed");
    assert_eq!(shown["exit"]["reason"], "engine_stopped", "{shown:#}");
    assert!(shown["exit"]["message"].as_str().unwrap().contains("removed"), "{shown:#}");
    assert_eq!(yard.call(["wait", &id]).status.code(), Some(125));
    assert_eq!(yard.ok(["logs", &id]), "on\n");
}

/// Starts [`STEPS`] in a container of `engine` and waits until it runs.
fn start(engine: &OwnEngine) -> (Yard, String) {
    let yard = Yard::new();
    let submitted = on(&yard, engine)
        .args(["run", "-d", "--json", "--docker", BASE_IMAGE, "--network", "none", "--source"])
        .arg(yard.script(STEPS))
        .arg("train.py")
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&submitted.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&submitted.stderr)));
    let id = answer["runId"].as_str().unwrap().to_owned();
    wait_until("the script runs", || yard.ok(["logs", &id]) == "on\n");
    (yard, id)
}

fn on(yard: &Yard, engine: &OwnEngine) -> Command {
    let mut command = yard.trainyard();
    command.env("DOCKER_HOST", engine.host());
    command
}

/// The container of the run is gone when that is over; one that lists packages may have met the
/// engine's end, and goes soon after.
fn all_are_gone(engine: &OwnEngine) {
    let host = engine.host();
    let of_runs = docker(["-H", &host, "ps", "-aq", "--filter", "label=trainyard.run"]);
    assert_eq!(of_runs, "");
    wait_until("all containers are gone", || docker(["-H", &host, "ps", "-aq"]).is_empty());
}

#[test]
fn an_engine_that_is_stopped_is_why_the_run_ended() {
    let Some(mut engine) = OwnEngine::start(false) else { return };
    let (yard, id) = start(&engine);

    engine.stop();
    engine.start_again();

    let shown = yard.ended(&id);
    all_are_gone(&engine);
    assert_eq!(shown["exit"]["reason"], "engine_stopped", "{shown:#}");
    assert_eq!(yard.call(["wait", &id]).status.code(), Some(125));
    assert_eq!(yard.ok(["logs", &id]), "on\n");
}

#[test]
fn a_run_goes_on_while_its_engine_restarts_with_live_restore() {
    let Some(mut engine) = OwnEngine::start(true) else { return };
    let (yard, id) = start(&engine);

    assert!(!yard.ok(["explain", &id]).contains("out of contact"));
    engine.stop();
    wait_until("it is told", || yard.ok(["explain", &id]).contains("out of contact since"));
    assert!(yard.ok(["show", &id]).contains("out of contact since"));
    assert!(yard.show(&id)["engineAwaySinceTimeUtc"].is_string());
    make(&yard, &id, "0");
    wait_until("the log grows", || yard.ok(["logs", &id]) == "on\nstep 0\n");
    engine.start_again();
    make(&yard, &id, "1");
    wait_until("the log grows", || yard.ok(["logs", &id]) == "on\nstep 0\nstep 1\n");
    engine.kill();
    make(&yard, &id, "2");
    wait_until("the log grows", || yard.ok(["logs", &id]).ends_with("step 2\n"));
    engine.start_again();
    make(&yard, &id, "end");

    let shown = yard.ended(&id);
    assert_eq!(shown["status"], "Completed", "{shown:#}");
    assert_eq!(yard.ok(["logs", &id]), "on\nstep 0\nstep 1\nstep 2\noff\n");
    assert_eq!(shown["exit"]["code"], 0);
    all_are_gone(&engine);
}

#[test]
fn a_run_that_ends_while_its_engine_is_down_ends_truly() {
    let Some(mut engine) = OwnEngine::start(true) else { return };
    let (yard, id) = start(&engine);

    engine.stop();
    make(&yard, &id, "end");
    wait_until("the log is whole", || yard.ok(["logs", &id]) == "on\noff\n");
    engine.start_again();

    let shown = yard.ended(&id);
    assert_eq!(shown["status"], "Completed", "{shown:#}");
    assert_eq!(shown["exit"]["code"], 0, "{shown:#}");
    all_are_gone(&engine);
    assert!(Path::new(&yard.run_directory(&id)).join("exit.json").exists());
}

/// Counts until it is told to end, notes how far it came, and ends with the code it is given.
const COUNTING: &str = "
import os, sys, time
number = 0
while not os.path.exists('outputs/end'):
    for number in range(number + 1, number + 51):
        print(number)
    sys.stdout.flush()
    time.sleep(0.02)
open('outputs/count', 'w').write(str(number))
sys.exit(int(sys.argv[1]))
";

/// Those runs of it, ids in the order in which they were handed in.
#[derive(Default)]
struct Counting {
    runs: Vec<String>,
    /// How many of them were told to end.
    told: usize,
}

impl Counting {
    /// Makes it `count` that are on.
    fn fill(&mut self, count: usize, yard: &Yard, engine: &OwnEngine) {
        while self.runs.len() - self.told < count {
            let submitted = on(yard, engine)
                .args(["run", "-d", "--json", "--docker", BASE_IMAGE, "--network", "none"])
                .arg("--source")
                .arg(yard.script(COUNTING))
                .args(["train.py", &code_of(self.runs.len()).to_string()])
                .output()
                .unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&submitted.stdout)
                .unwrap_or_else(|error| panic!("{error}: {}", text(&submitted.stderr)));
            self.runs.push(answer["runId"].as_str().unwrap().to_owned());
        }
        for run in &self.runs {
            wait_until("it counts", || !written(yard, run).is_empty());
        }
    }

    /// Tells the `count` oldest of those that are on to end.
    fn tell(&mut self, count: usize, yard: &Yard) {
        for run in &self.runs[self.told..self.told + count] {
            make(yard, run, "end");
        }
        self.told += count;
    }
}

fn written(yard: &Yard, run: &str) -> String {
    let log = yard.run_directory(run).join("user_logs/std_log.txt");
    fs::read_to_string(log).unwrap_or_default()
}

fn code_of(number: usize) -> usize {
    number % 5
}

#[test]
fn restarts_of_the_engine_cost_its_runs_nothing() {
    let (restarts, in_flight) = if is_soak() { (20, 10) } else { (1, 4) };
    let Some(mut engine) = OwnEngine::start(true) else { return };
    let yard = Yard::new();
    yard.configure(&format!("[agent]\nmax-runs = {in_flight}\n"));
    let (mut moments, mut counting) = (Moments::seeded(), Counting::default());
    for restart in 0..restarts {
        counting.fill(in_flight, &yard, &engine);
        // Some end while the engine goes, and some while there is none.
        counting.tell(in_flight / 4, &yard);
        std::thread::sleep(moments.within(200));
        if restart % 2 == 0 {
            engine.stop();
        } else {
            engine.kill();
        }
        counting.tell(in_flight / 4, &yard);
        std::thread::sleep(moments.within(1000));
        engine.start_again();
    }
    counting.tell(counting.runs.len() - counting.told, &yard);

    let mut bytes = 0;
    for (number, run) in counting.runs.iter().enumerate() {
        let shown = yard.ended(run);
        assert_eq!(shown["exit"]["code"], code_of(number), "{shown:#}");
        assert_eq!(shown["attempts"].as_array().unwrap().len(), 1, "{shown:#}");
        let count = yard.run_directory(run).join("work/outputs/count");
        let count: usize = fs::read_to_string(count).unwrap().parse().unwrap();
        let expected: String = (1..=count).map(|number| format!("{number}\n")).collect();
        let log = written(&yard, run);
        assert!(log == expected, "{} of {} bytes: {shown:#}", log.len(), expected.len());
        bytes += log.len();
    }
    println!("{restarts} restarts, {} runs, {bytes} bytes of log", counting.runs.len());
    all_are_gone(&engine);
}
