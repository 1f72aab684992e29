//! The agent as a process: through its socket, killed and started again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "agent/listening.rs"]
mod listening;
#[path = "agent/objects.rs"]
mod objects;
#[path = "agent/service.rs"]
mod service;
mod support;
#[path = "agent/trouble.rs"]
mod trouble;
#[path = "agent/users.rs"]
mod users;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::{Workspace, call};

/// The log of the run, as the follower put it together.
fn log_of(events: &[(String, Value)]) -> String {
    let mut offset = 0;
    let mut log = String::new();
    for (_, event) in events.iter().filter(|(name, _)| name == "log") {
        assert_eq!(event["offset"], offset, "a gap or an overlap");
        offset = event["nextOffset"].as_u64().unwrap();
        let bytes = base64(event["data"].as_str().unwrap());
        log += std::str::from_utf8(&bytes).unwrap();
    }
    log
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.decode(text).unwrap()
}

#[test]
fn a_run_is_followed_from_the_queue_to_its_end() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let line =
        r#"cat a.txt; echo out; echo '{"name":"loss","value":0.5,"step":1}'; echo new > outputs/b"#;

    let run = workspace.submit(&workspace.submission(line));
    let events = workspace.follow(&run);

    assert_eq!(log_of(&events), "aout\n{\"name\":\"loss\",\"value\":0.5,\"step\":1}\n");
    let statuses: Vec<_> = events.iter().filter(|(name, _)| name == "status").collect();
    assert_eq!(statuses.last().unwrap().1["status"], "Completed");
    let (name, end) = events.last().unwrap();
    assert_eq!(name, "end");
    assert_eq!(end["run"]["exit"]["processExitCode"], 0);
    assert_eq!(end["run"]["metrics"]["loss"][0]["value"], 0.5);
    assert_eq!(end["run"]["outputFiles"][0]["path"], "outputs/b");
    assert_eq!(workspace.get(&format!("/v1/runs/{run}/files/outputs/b")).body, b"new\n");
    let log = workspace.get("/v1/runs/@/logs?tail=1&stream=stdout");
    assert_eq!(log.body, b"{\"name\":\"loss\",\"value\":0.5,\"step\":1}\n");
    assert!(log.head.contains("trainyard-ended: true"), "{}", log.head);
}

#[test]
fn killing_the_agent_loses_no_run_and_no_byte() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let line = "for i in $(seq 200); do echo line $i; sleep 0.01; done; exit 3";
    let run = workspace.submit(&workspace.submission(line));
    let queued = workspace.submit(&workspace.submission("echo later"));
    workspace.wait(&run, |run| run["status"] == "Running");

    for _ in 0..3 {
        workspace.kill();
        workspace.start();
    }
    let events = workspace.follow(&run);

    let expected: String = (1..=200).map(|i| format!("line {i}\n")).collect();
    assert_eq!(log_of(&events), expected);
    let end = &events.last().unwrap().1["run"];
    assert_eq!(end["exit"]["reason"], "script_failed");
    assert_eq!(end["exit"]["code"], 3);
    assert_eq!(end["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(log_of(&workspace.follow(&queued)), "later\n");
}

#[test]
fn a_run_goes_on_while_the_agent_is_away() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let run = workspace.submit(
        &workspace.submission("echo begun; while [ ! -e stop ]; do sleep 0.01; done; echo over"),
    );
    let found = workspace.wait(&run, |run| run["status"] == "Running");

    let begun = Instant::now();
    let told = workspace.post("/v1/agent/stop", &json!({}));
    assert!(workspace.ended_well());
    assert_eq!(told.status, 202);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(!workspace.socket().exists());

    let work = format!("{}/work", found["runDirectory"].as_str().unwrap());
    std::fs::write(format!("{work}/stop"), "").unwrap();
    workspace.start();
    let events = workspace.follow(&run);

    assert_eq!(log_of(&events), "begun\nover\n");
    assert_eq!(events.last().unwrap().1["run"]["status"], "Completed");
}

#[test]
fn a_second_agent_refuses_and_names_the_first() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let pid = workspace.get("/v1/status").json()["pid"].clone();

    let second = workspace.trainyard(&["agent", "run"]);

    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains(&format!("pid {pid}")), "{said}");
    assert_eq!(workspace.get("/v1/status").status, 200);
}

#[test]
fn fifty_callers_with_the_same_keys_make_one_run_of_each() {
    let keys = if std::env::var_os("TRAINYARD_SOAK").is_some() { 200 } else { 20 };
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let body = workspace.submission("true").to_string();
    let socket = workspace.socket();

    let mut runs = BTreeSet::new();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..50)
            .map(|caller| {
                let (body, socket) = (&body, &socket);
                scope.spawn(move || {
                    (0..keys)
                        .map(|key| {
                            let key = format!("idempotency-key: {}", (key + caller) % keys);
                            let headers = ["content-type: application/json", &key];
                            let answer =
                                call(socket, "POST", "/v1/runs", &headers, body.as_bytes());
                            assert_eq!(answer.status, 201, "{answer:?}");
                            answer.json()["runId"].as_str().unwrap().to_owned()
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for caller in callers {
            runs.extend(caller.join().unwrap());
        }
    });

    assert_eq!(runs.len(), keys);
    let listed = workspace.get("/v1/runs").json();
    assert_eq!(listed.as_array().unwrap().len(), keys);
}

#[test]
fn every_refusal_says_why_and_what_to_do() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let good = workspace.submission("true");
    let with = |key: &str, value: Value| {
        let mut body = good.clone();
        body[key] = value;
        body.to_string()
    };
    let run = workspace.submit(&good);
    let latest = workspace.submit(&good);
    workspace.wait("@", |run| run["status"] == "Completed");
    workspace.wait(&run, |run| run["status"] == "Completed");
    let json = "content-type: application/json";
    let unknown = "0".repeat(64);
    let cancel = format!("/v1/runs/{run}/cancel");
    let long = "x".repeat(17 << 20);
    let mut requests: Vec<(&str, String, Vec<&str>, String)> = vec![
        ("GET", "/v1/nothing".into(), vec![], String::new()),
        ("PUT", "/v1/runs".into(), vec![], String::new()),
        ("GET", "/v1/runs?status=fast".into(), vec![], String::new()),
        ("GET", "/v1/runs?colour=red".into(), vec![], String::new()),
        ("GET", "/v1/runs/nobody".into(), vec![], String::new()),
        ("GET", "/v1/runs/exp".into(), vec![], String::new()),
        ("GET", "/v1/runs/@/files/outputs/none".into(), vec![], String::new()),
        ("GET", "/v1/runs/@/files/run.json".into(), vec![], String::new()),
        ("GET", "/v1/runs/@/logs?stream=third".into(), vec![], String::new()),
        ("POST", cancel, vec![json], "{}".into()),
        ("POST", "/v1/runs".into(), vec![], good.to_string()),
        ("POST", "/v1/runs".into(), vec!["content-type: text/plain"], good.to_string()),
        ("POST", "/v1/runs".into(), vec![json], "{".into()),
        ("POST", "/v1/runs".into(), vec![json], long),
        ("POST", "/v1/transfers/pack".into(), vec![json], "{}".into()),
        (
            "POST",
            "/v1/transfers/pack".into(),
            vec!["content-type: application/octet-stream"],
            "no pack".into(),
        ),
        ("GET", "/v1/environments/abc".into(), vec![], String::new()),
    ];
    for (key, value) in [
        ("colour", json!("red")),
        ("experiment", json!("../etc")),
        ("displayName", json!("\u{1b}[2J")),
        ("script", json!("train.py")),
        ("command", json!(" ")),
        ("target", json!("cloud")),
        ("timeoutSeconds", json!(-1)),
        ("environmentVariables", json!({"A=B": "c"})),
        ("gitPatch", json!("not base64!")),
        ("snapshotId", json!("short")),
        ("snapshotId", json!(unknown)),
    ] {
        requests.push(("POST", "/v1/runs".into(), vec![json], with(key, value)));
    }

    let mut table = String::new();
    for (method, path, headers, body) in requests {
        let answer = call(&workspace.socket(), method, &path, &headers, body.as_bytes());
        let error = &answer.json()["error"];
        let text = |name: &str| {
            error[name].as_str().unwrap_or("-").replace(&run, "<run>").replace(&latest, "<latest>")
        };
        let path = path.replace(&run, "<run>");
        table += &format!(
            "{method} {path}\n    {} {}: {}\n    {}\n",
            answer.status,
            text("code"),
            text("message"),
            text("hint")
        );
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_refusal_is_heard_whatever_is_still_being_sent() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let body = vec![b'x'; 17 << 20];

    for headers in [["content-type: application/json"], ["content-type: text/plain"]]
        .into_iter()
        .cycle()
        .take(20)
    {
        for path in ["/v1/runs", "/v1/transfers/pack", "/v1/nothing"] {
            let answer = call(&workspace.socket(), "POST", path, &headers, &body);
            assert_ne!(answer.json()["error"]["message"], Value::Null, "{answer:?}");
        }
    }
}

#[test]
fn someone_else_is_turned_away() {
    if !rustix::process::geteuid().is_root() {
        // Only root can be someone else.
        return;
    }
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let everyone = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    // Without this the file system turns them away, before the agent does.
    everyone(&workspace.socket(), 0o666);
    everyone(&workspace.home(), 0o755);
    everyone(workspace.home().parent().unwrap(), 0o755);
    let script = r#"
        use IO::Socket::UNIX;
        my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "connect: $!";
        print $s "GET /v1/status HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        print <$s>;
    "#;
    let ask = |uid: u32| {
        let mut perl = Command::new("perl");
        perl.args(["-e", script]).arg(workspace.socket()).uid(uid).current_dir("/");
        let output = perl.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };

    let (own, other) = (ask(0), ask(65534));

    assert!(own.starts_with("HTTP/1.1 200"), "{own}");
    assert!(other.starts_with("HTTP/1.1 403"), "{other}");
    assert!(other.contains("foreign_user"), "{other}");
    assert!(!other.contains("storeId"), "{other}");
}

#[test]
fn a_run_is_cancelled_wherever_it_stands() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let places = workspace.get("/v1/status").json()["concurrency"].as_u64().unwrap();
    let waits = workspace
        .submission("trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.01; done");
    let on: Vec<_> = (0..places).map(|_| workspace.submit(&waits)).collect();
    let queued = workspace.submit(&waits);
    let next = workspace.submit(&waits);
    assert_eq!(workspace.get(&format!("/v1/runs/{next}")).json()["position"], 2);

    let cancelled = workspace.post(&format!("/v1/runs/{queued}/cancel"), &json!({})).json();
    assert_eq!(cancelled["status"], "Canceled");
    assert_eq!(workspace.get(&format!("/v1/runs/{next}")).json()["position"], 1);
    workspace.wait(&on[0], |_| workspace.get(&format!("/v1/runs/{}/logs", on[0])).body == b"up\n");
    workspace.post(&format!("/v1/runs/{}/cancel", on[0]), &json!({}));
    let events = workspace.follow(&on[0]);

    let log = log_of(&events);
    assert!(log.starts_with("up\n") && log.contains("asked\n"), "{log}");
    let run = &events.last().unwrap().1["run"];
    assert_eq!(run["status"], "Canceled");
    assert_eq!(run["exit"]["reason"], "cancelled");
    assert!(run["exit"]["cancelledBy"].as_str().unwrap().contains("uid"), "{run}");
    for run in on[1..].iter().chain([&next]) {
        workspace.post(&format!("/v1/runs/{run}/cancel"), &json!({"now": true}));
        workspace.wait(run, |run| run["status"] == "Canceled");
    }
}

#[test]
fn a_killed_supervisor_is_told_as_such_and_leaves_nothing() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    // Within a sandbox it is told a number of there.
    let mut submission = workspace.submission("echo $$ > pid; exec sleep 1000");
    submission["sandbox"] = "off".into();
    let run = workspace.submit(&submission);
    let found = workspace.wait(&run, |run| run["status"] == "Running");
    let directory = std::path::PathBuf::from(found["runDirectory"].as_str().unwrap());
    workspace.wait(&run, |_| {
        std::fs::read_to_string(directory.join("work/pid")).is_ok_and(|p| p.ends_with('\n'))
    });
    let script = std::fs::read_to_string(directory.join("work/pid")).unwrap();
    let supervisor: Value =
        serde_json::from_slice(&std::fs::read(directory.join("supervisor.json")).unwrap()).unwrap();

    let pid = i32::try_from(supervisor["supervisor"]["pid"].as_i64().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let ended = workspace.wait(&run, |run| run["status"] == "Failed");

    assert_eq!(ended["exit"]["reason"], "supervisor_killed");
    assert_eq!(ended["exit"]["processExitCode"], 125);
    let left = std::fs::read_to_string(format!("/proc/{}/stat", script.trim()));
    assert!(left.is_err() || left.unwrap().contains(") Z "), "the script goes on");
}

#[test]
fn secrets_are_in_no_record() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let mut submission = workspace.submission("[ ${#TOKEN} = 14 ] && echo same");
    submission["secrets"] = json!({"TOKEN": "hunter2hunter2"});

    let run = workspace.submit(&submission);
    let events = workspace.follow(&run);

    assert_eq!(log_of(&events), "same\n");
    assert_eq!(events.last().unwrap().1["run"]["request"]["secrets"], json!({"TOKEN": ""}));
    workspace.post("/v1/agent/stop", &json!({}));
    assert!(workspace.ended_well());
    let mut looked_at = 0;
    let mut directories = vec![workspace.home()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                let found = bytes.windows(14).any(|window| window == b"hunter2hunter2");
                assert!(!found, "the secret is in {path:?}");
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 10);
}

#[test]
fn a_good_day_leaves_no_error_in_the_log() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    for line in ["true", "false", "echo out"] {
        let run = workspace.submit(&workspace.submission(line));
        workspace.follow(&run);
    }

    workspace.post("/v1/agent/stop", &json!({}));
    assert!(workspace.ended_well());

    let log = std::fs::read_to_string(workspace.home().join("agent.log")).unwrap();
    let troubles: Vec<_> =
        log.lines().filter(|line| line.contains("ERROR") || line.contains("WARN")).collect();
    assert!(troubles.is_empty(), "{troubles:#?}");
    assert!(log.contains("Stopped."), "{log}");
}
