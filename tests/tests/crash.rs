//! kill -9 of the agent and of a snapshot at moments nobody chose; then everything is still true.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use tests::moments::Moments;
use tests::{Yard, python, text, wait_until};

#[test]
fn an_accepted_run_survives_the_agents_death_at_any_moment() {
    let yard = Yard::new();
    let script = "
import time
for i in range(20):
    print('line', i)
    time.sleep(0.01)
";
    let source = yard.script(script);
    let expected: String = (0..20).map(|i| format!("line {i}\n")).collect();
    let mut moments = Moments::seeded();
    let mut accepted = Vec::new();
    for _ in 0..12 {
        accepted.push(yard.submit(&source, &[]));
        std::thread::sleep(moments.within(400));
        yard.kill_agent();
    }

    for run in &accepted {
        let shown = yard.ended(run);
        assert_eq!(shown["status"], "Completed", "{shown:#}");
        assert_eq!(shown["exit"]["code"], 0);
        assert_eq!(yard.ok(["logs", run]), expected, "every line once");
        // A start that the dead agent only meant to make is made again, and says so; the lines
        // above show that the script itself ran once.
        let attempts = shown["attempts"].as_array().unwrap();
        assert_eq!(attempts[0]["reason"], "submitted");
        assert!(attempts[1..].iter().all(|attempt| attempt["reason"] != "submitted"), "{shown:#}");
    }
    let listed = yard.json(["list", "--json"]);
    let listed: BTreeSet<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["runId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, accepted.into_iter().collect(), "none lost, none made up");
}

#[test]
fn a_snapshot_killed_at_any_moment_leaves_a_store_that_works() {
    let yard = Yard::new();
    let source = yard.home().with_file_name("many");
    for directory in 0..40 {
        let directory = source.join(format!("d{directory}"));
        fs::create_dir_all(&directory).unwrap();
        for file in 0..50 {
            fs::write(
                directory.join(format!("f{file}")),
                format!("{directory:?} {file}").repeat(200),
            )
            .unwrap();
        }
    }
    fs::write(source.join("large.bin"), vec![7; 6 << 20]).unwrap();
    let source = source.to_str().unwrap();
    let mut moments = Moments::seeded();
    for _ in 0..25 {
        let mut child = yard
            .trainyard()
            .args(["snapshot", "create", source])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(moments.within(150));
        drop(child.kill());
        child.wait().unwrap();
    }

    let created = yard.json(["snapshot", "create", source, "--json"]);

    assert_eq!(created["fileCount"], 2001);
    let id = created["snapshotId"].as_str().unwrap();
    let copy = yard.home().with_file_name("copy");
    yard.ok(["snapshot", "materialize", id, copy.to_str().unwrap()]);
    let compared =
        std::process::Command::new("diff").args(["-r", source]).arg(&copy).output().unwrap();
    assert!(compared.status.success(), "{}", text(&compared.stdout));
    assert_eq!(
        yard.json(["snapshot", "create", copy.to_str().unwrap(), "--json"])["snapshotId"],
        id
    );
}

#[test]
fn submissions_snapshots_and_gc_at_once_disturb_nobody() {
    let yard = Yard::new();
    yard.ok(["list"]);
    let expected = |i: usize| format!("source {i}\n");
    let sources: Vec<_> = (0..4)
        .map(|i| {
            let script = "print(open('data.txt').read())";
            yard.project(
                &format!("source-{i}"),
                &[("train.py", script), ("data.txt", &format!("source {i}"))],
            )
        })
        .collect();

    let runs: Vec<(usize, String)> = std::thread::scope(|scope| {
        let submitters: Vec<_> = sources
            .iter()
            .enumerate()
            .map(|(i, source)| {
                let yard = &yard;
                scope.spawn(move || {
                    (0..4).map(|_| (i, yard.submit(source, &[]))).collect::<Vec<_>>()
                })
            })
            .collect();
        let collector = scope.spawn(|| {
            for _ in 0..6 {
                yard.ok(["gc"]);
            }
        });
        collector.join().unwrap();
        submitters.into_iter().flat_map(|submitter| submitter.join().unwrap()).collect()
    });

    assert_eq!(runs.len(), 16);
    for (i, run) in runs {
        assert_eq!(yard.ended(&run)["status"], "Completed");
        assert_eq!(yard.ok(["logs", &run]), expected(i));
    }
}

#[test]
fn stopping_the_agent_leaves_the_run_alone() {
    let yard = Yard::new();
    let gate = yard.shared("gate");
    let source = yard.script(&format!("import os, time\nprint('on')\nwhile not os.path.exists({gate:?}): time.sleep(0.01)\nprint('off')"));
    let run = yard.submit(&source, &[]);
    wait_until("the script runs", || yard.ok(["logs", &run]) == "on\n");

    yard.ok(["agent", "stop"]);
    fs::write(&gate, "").unwrap();

    let shown = yard.ended(&run);
    assert_eq!(shown["status"], "Completed");
    assert_eq!(yard.ok(["logs", &run]), "on\noff\n");
}

#[test]
fn another_agents_store_gets_only_what_it_lacks() {
    let (mine, other) = (Yard::new(), Yard::new());
    let source = mine.project(
        "sent",
        &[("train.py", "print('over there')"), ("data/large.txt", &"x".repeat(100_000))],
    );
    other.ok(["list"]);
    let run = || {
        mine.trainyard()
            .env("TRAINYARD_SOCKET", other.home().join("agent.sock"))
            .args(["run", "--source"])
            .arg(&source)
            .arg("--python")
            .arg(python())
            .arg("train.py")
            .output()
            .unwrap()
    };

    let output = run();

    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "over there\n");
    assert_eq!(other.show("@")["status"], "Completed");
    assert!(!mine.home().join("agent.db").exists(), "no agent of my own was started");
    assert_eq!(run().status.code(), Some(0));
}

#[test]
fn an_agent_that_ends_while_it_is_asked_is_followed_by_another() {
    use std::io::Read as _;
    let yard = Yard::new();
    std::fs::create_dir_all(yard.home()).unwrap();
    let socket = yard.home().join("agent.sock");
    let dying = std::os::unix::net::UnixListener::bind(&socket).unwrap();

    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut asked, _) = dying.accept().unwrap();
            assert!(asked.read(&mut [0]).unwrap() > 0);
            // With part of the question unread, so that who asks is cut off.
            drop((asked, dying));
        });
        assert_eq!(yard.json(["list", "--json"]), serde_json::json!([]));
    });
}
