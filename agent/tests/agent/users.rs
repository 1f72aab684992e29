//! Several users of one agent: each has their own, and hears nothing of what others have.

#[path = "users/routes.rs"]
mod routes;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};
use snapshots::digest::Digest;
use snapshots::error_chain::chain;
use snapshots::snapshot::SnapshotRecord;
use snapshots::store::local::LocalStore;
use snapshots::transfer::{self, Destination as _, Sent};

use crate::objects::{Remote, noise, snapshot};
use crate::support::{Answer, Workspace, as_user, call, python};

/// Two users whom no system knows, and one whom every system has, in the group of its name.
const ANA: u32 = 61_001;
const BEN: u32 = 61_002;
const DAEMON: u32 = 1;

/// Makes `daemon` one who looks after the agent.
const ADMINISTRATORS: (&str, &str) = ("TRAINYARD_USERS_ADMIN_GROUP", "daemon");

/// Starts an agent for all users; `None` where we cannot be somebody else.
fn shared(variables: &[(&str, &str)]) -> Option<Workspace> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let mut workspace = Workspace::new(&[]);
    workspace.start_shared(&[&[ADMINISTRATORS], variables].concat());
    Some(workspace)
}

fn asks(workspace: &Workspace, uid: u32, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let headers: &[&str] = if body.is_some() { &["content-type: application/json"] } else { &[] };
    let body = body.map(Value::to_string).unwrap_or_default();
    as_user(uid, || call(&workspace.socket(), method, path, headers, body.as_bytes()))
}

fn get(workspace: &Workspace, uid: u32, path: &str) -> Answer {
    asks(workspace, uid, "GET", path, None)
}

fn post(workspace: &Workspace, uid: u32, path: &str, body: &Value) -> Answer {
    asks(workspace, uid, "POST", path, Some(body))
}

fn send(workspace: &Workspace, uid: u32, store: &LocalStore, record: &SnapshotRecord) -> Sent {
    let mut remote = Remote { socket: workspace.socket(), cut_at: None, uid };
    transfer::send(store, record, &mut remote, &()).unwrap()
}

fn submission(snapshot: &Digest, command: &str) -> Value {
    json!({
        "experiment": "exp",
        "command": command,
        "target": "local",
        "environment": { "kind": "userManaged", "interpreter": python() },
        "environmentName": "python",
        "snapshotId": snapshot,
    })
}

fn submit(workspace: &Workspace, uid: u32, submission: &Value) -> String {
    let answer = post(workspace, uid, "/v1/runs", submission);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["runId"].as_str().unwrap().to_owned()
}

/// Sends a small snapshot.
fn sent(workspace: &Workspace, uid: u32, directory: &Path) -> SnapshotRecord {
    let (store, record) = snapshot(directory, &[("a.txt", b"of ana\n")]);
    send(workspace, uid, &store, &record);
    record
}

fn ids(answer: &Answer) -> Vec<String> {
    let runs = answer.json();
    let runs = runs.as_array().unwrap_or_else(|| panic!("{answer:?}"));
    runs.iter().map(|run| run["runId"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_one_user_has_stored_is_missing_for_another_down_to_the_counts() {
    let Some(workspace) = shared(&[]) else { return };
    let own = tempfile::tempdir().unwrap();
    let large = noise(100_000);
    let (store, record) = snapshot(own.path(), &[("large", &large), ("d/small", b"x")]);
    let [first, second] = [ANA, BEN].map(|uid| send(&workspace, uid, &store, &record));
    let again = send(&workspace, ANA, &store, &record);

    assert!(first.objects == 4 && first.bytes > 100_000, "{first:?}");
    assert_eq!(first, second);
    assert_eq!(again.objects, 0, "one's own is sent once");
    // Who rules has no key to others' stores either; there is no question that would need it.
    let mut daemon = Remote { socket: workspace.socket(), cut_at: None, uid: DAEMON };
    let mut root = Remote { socket: workspace.socket(), cut_at: None, uid: 0 };
    let digests = [record.id];
    assert_eq!(daemon.missing(&digests).unwrap(), digests);
    assert_eq!(root.missing(&digests).unwrap(), digests);
    for user in [ANA, BEN] {
        assert!(workspace.home().join(format!("users/{user}/store")).is_dir());
    }
}

#[test]
fn whoever_rules_sees_and_changes_everybodys_and_nobody_else_does() {
    let Some(workspace) = shared(&[]) else { return };
    let own = tempfile::tempdir().unwrap();
    let record = sent(&workspace, ANA, own.path());
    let run = submit(&workspace, ANA, &submission(&record.id, "cat a.txt"));
    workspace.wait(&run, |run| run["status"] == "Completed");

    for (uid, rules) in [(0, true), (DAEMON, true), (ANA, false), (BEN, false)] {
        let status = get(&workspace, uid, "/v1/status").json();
        assert_eq!(status["rules"], rules, "{uid}");
        let all = get(&workspace, uid, "/v1/runs?allUsers=true");
        let gc = post(&workspace, uid, "/v1/gc", &json!({"environmentMaxBytes": 1_u64 << 40}));
        let drained = post(&workspace, uid, "/v1/agent/drain", &json!({}));
        let undone = asks(&workspace, uid, "DELETE", "/v1/agent/drain", None);
        let told = [&all, &gc, &drained, &undone].map(|answer| answer.status);
        assert_eq!(told, [if rules { 200 } else { 403 }; 4], "{uid}");
        if rules {
            assert_eq!(ids(&all), [run.as_str()]);
            assert_eq!(all.json()[0]["uid"], ANA);
            assert_eq!(get(&workspace, uid, &format!("/v1/runs/{run}")).status, 200);
        } else {
            assert_eq!(all.json()["error"]["code"], "not_administrator");
        }
        let listed = ids(&get(&workspace, uid, "/v1/runs"));
        assert_eq!(listed.len(), usize::from(uid == ANA), "one's own, unless all are asked for");
        let latest = get(&workspace, uid, "/v1/runs/@").status;
        assert_eq!(latest, if uid == ANA { 200 } else { 404 }, "the latest is one's own");
    }
    // What somebody sees they can run again, from where its source is.
    let mut again = submission(&record.id, "cat a.txt");
    again["rerunOf"] = json!(run);
    let refused = post(&workspace, BEN, "/v1/runs", &again);
    assert_eq!(
        (refused.status, refused.json()["error"]["code"].as_str()),
        (409, Some("snapshot_missing"))
    );
    let again = submit(&workspace, DAEMON, &again);
    workspace.wait(&again, |run| run["status"] == "Completed");
    assert_eq!(get(&workspace, DAEMON, "/v1/runs/@/logs").body, b"of ana\n");
    assert_eq!(ids(&get(&workspace, ANA, "/v1/runs")), [run]);
}

#[test]
fn a_user_gets_no_more_than_they_may_and_hears_what_to_do() {
    let quotas = [("TRAINYARD_USERS_MAX_RUNS", "1"), ("TRAINYARD_USERS_MAX_BYTES", "250 KiB")];
    let Some(workspace) = shared(&quotas) else { return };
    let own = tempfile::tempdir().unwrap();
    let record = sent(&workspace, ANA, own.path());
    let mut held = submission(&record.id, "true");
    held["held"] = json!(true);
    let run = submit(&workspace, ANA, &held);

    let refused = post(&workspace, ANA, "/v1/runs", &held);
    let error = &refused.json()["error"];
    assert_eq!((refused.status, error["code"].as_str()), (429, Some("too_many_runs")));
    insta::assert_snapshot!(error["message"].as_str().unwrap(), @"you have 1 runs that are not over, of 1 that a user of this agent may have");
    let usage = get(&workspace, ANA, "/v1/usage").json();
    assert_eq!(
        (&usage["runs"], &usage["maxRuns"], &usage["maxBytes"]),
        (&json!(1), &json!(1), &json!(256_000))
    );
    for _ in 0..2 {
        send_as_ruler(&workspace, &held);
    }
    post(&workspace, ANA, &format!("/v1/runs/{run}/cancel"), &json!({}));
    let next = submit(&workspace, ANA, &held);

    let large = tempfile::tempdir().unwrap();
    let (store, record) = snapshot(large.path(), &[("large", &noise(300_000))]);
    let mut remote = Remote { socket: workspace.socket(), cut_at: None, uid: ANA };
    let told = chain(&transfer::send(&store, &record, &mut remote, &()).unwrap_err());
    assert!(
        told.contains("over_quota") && told.contains("that a user of this agent may"),
        "{told}"
    );
    assert!(told.contains("trainyard gc") && told.contains("trainyard remove"), "{told}");
    assert!(remote.missing(&[record.id]).unwrap() == [record.id], "nothing was kept of it");
    send(&workspace, DAEMON, &store, &record);
    let big = noise(300_000);
    let work = workspace.home().join("runs").join(&next).join("work");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::write(work.join("big"), big).unwrap();
    post(&workspace, ANA, &format!("/v1/runs/{next}/cancel"), &json!({}));
    let refused = post(&workspace, ANA, "/v1/runs", &held);
    assert_eq!(
        (refused.status, refused.json()["error"]["code"].as_str()),
        (507, Some("over_quota"))
    );

    let keyed = |uid, body: &Value| {
        let headers = ["content-type: application/json", "idempotency-key: nightly"];
        let body = body.to_string();
        as_user(uid, || call(&workspace.socket(), "POST", "/v1/runs", &headers, body.as_bytes()))
    };
    assert_eq!(keyed(ANA, &held).status, 507, "there is no run under that key");

    let removed = asks(&workspace, ANA, "DELETE", &format!("/v1/runs/{next}"), None);
    assert_eq!(removed.status, 204, "{removed:?}");
    let accepted = keyed(ANA, &held).json();
    assert_eq!(accepted["existing"], Value::Null, "{accepted}");
    let work = workspace.home().join("runs").join(accepted["runId"].as_str().unwrap());
    std::fs::create_dir_all(&work).unwrap();
    std::fs::write(work.join("big"), noise(300_000)).unwrap();

    // They have all the runs and bytes that they may: the key is looked at first.
    let again = keyed(ANA, &held).json();
    assert_eq!((&again["runId"], &again["existing"]), (&accepted["runId"], &json!(true)));
    let under = |uid| ids(&get(&workspace, uid, "/v1/runs?idempotencyKey=nightly"));
    assert_eq!(under(ANA), [accepted["runId"].as_str().unwrap()]);
    assert!(under(DAEMON).is_empty(), "a key belongs to a user");
    held["priority"] = json!(1);
    assert_eq!(keyed(ANA, &held).status, 409);
}

/// Hands in a run as one who has no limits.
fn send_as_ruler(workspace: &Workspace, submission: &Value) {
    submit(workspace, DAEMON, submission);
}

#[test]
fn what_another_user_sent_is_no_source_and_nothing_to_build_from() {
    let Some(workspace) = shared(&[]) else { return };
    let own = tempfile::tempdir().unwrap();
    let (store, record) = snapshot(own.path(), &[("a.txt", b"of ana\n")]);
    send(&workspace, ANA, &store, &record);
    let refused = post(&workspace, BEN, "/v1/runs", &submission(&record.id, "cat a.txt"));
    assert_eq!(refused.json()["error"]["code"], "snapshot_missing");
    // Nor is it something to build an image from.
    let other = tempfile::tempdir().unwrap();
    let (store, source) = snapshot(other.path(), &[("b.txt", b"of ben\n")]);
    send(&workspace, BEN, &store, &source);
    let mut built = submission(&source.id, "cat b.txt");
    built["environment"] = json!({"kind": "docker", "docker": {"base": {
        "from": "dockerfile", "name": "Dockerfile", "text": "FROM a", "context": record.id,
    }}});
    let refused = post(&workspace, BEN, "/v1/runs", &built).json();
    assert_eq!(refused["error"]["code"], "snapshot_missing", "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains(&record.id.to_string()));
}

#[test]
fn freeing_what_is_ones_own_takes_nothing_of_others() {
    let Some(workspace) = shared(&[]) else { return };
    let own = tempfile::tempdir().unwrap();
    let (store, mut record) = snapshot(own.path(), &[("a.txt", b"of both\n")]);
    record.kept = false;
    let all = [record.id];
    for uid in [ANA, BEN] {
        send(&workspace, uid, &store, &record);
    }

    let freed = post(&workspace, ANA, "/v1/gc", &json!({"graceSeconds": 0})).json();

    assert!(freed["objectsRemoved"].as_u64().unwrap() >= 2, "{freed}");
    let missing =
        |uid| Remote { socket: workspace.socket(), cut_at: None, uid }.missing(&all).unwrap().len();
    assert_eq!((missing(ANA), missing(BEN)), (1, 0));
    // Whoever rules frees everybody's.
    post(&workspace, DAEMON, "/v1/gc", &json!({"graceSeconds": 0}));
    assert_eq!(missing(BEN), 1);
}

#[test]
fn the_network_is_for_who_rules_or_asks_for_it() {
    let Some(workspace) = shared(&[]) else { return };
    let own = tempfile::tempdir().unwrap();
    let shows = |uid: u32, network: Option<&str>| {
        let record = sent(&workspace, uid, &own.path().join(uid.to_string()));
        let mut submission = submission(&record.id, "ls /sys/class/net | wc -l");
        if let Some(network) = network {
            submission["network"] = network.into();
        }
        let run = submit(&workspace, uid, &submission);
        let ended = workspace.wait(&run, |run| run["status"] == "Completed");
        let of_sandbox = ended["exit"]["sandbox"]["network"].clone();
        assert_eq!(ended["request"]["network"], of_sandbox, "{ended}");
        of_sandbox.as_str().unwrap().to_owned()
    };

    assert_eq!([ANA, DAEMON, 0].map(|uid| shows(uid, None)), ["none", "full", "full"]);
    assert_eq!(shows(ANA, Some("full")), "full", "everybody may ask");
    for (uid, network) in [(ANA, "none"), (DAEMON, "full")] {
        let status = get(&workspace, uid, "/v1/status").json();
        assert_eq!(status["sandbox"]["network"], network, "{status}");
        assert_eq!(status["sandbox"]["mode"], "default", "{status}");
    }
}

#[test]
fn nobody_but_who_rules_is_led_out_of_what_the_administrator_shows() {
    let settings = tempfile::tempdir().unwrap();
    // Not beside the agent's state, which no run is shown.
    let shown = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| shown.path().join(name);
    for name in ["listed/inner", "other"] {
        fs::create_dir_all(at(name)).unwrap();
        fs::write(at(name).join("file"), name).unwrap();
    }
    symlink("inner", at("listed/in")).unwrap();
    symlink("../other", at("listed/out")).unwrap();
    fs::create_dir(settings.path().join("trainyard")).unwrap();
    let text = format!("[sandbox]\nmounts = [{:?}]\n", at("listed"));
    fs::write(settings.path().join("trainyard/config.toml"), text).unwrap();
    let variables = [("XDG_CONFIG_HOME", settings.path().to_str().unwrap())];
    let Some(workspace) = shared(&variables) else { return };
    let own = tempfile::tempdir().unwrap();
    let end = |uid: u32, name: &str| {
        let record = sent(&workspace, uid, &own.path().join(uid.to_string()));
        let mut submission = submission(&record.id, "cat /in/file");
        submission["mounts"] = json!([{ "source": at(name), "at": "/in" }]);
        let run = submit(&workspace, uid, &submission);
        let ended = workspace.wait(&run, |run| run["exit"] != Value::Null);
        ended["exit"]["message"].as_str().unwrap().replace(shown.path().to_str().unwrap(), "")
    };

    let done = end(ANA, "listed/in");
    assert_eq!(end(DAEMON, "listed/out"), done);
    assert_eq!(
        end(ANA, "listed/out"),
        "--mount /listed/out leads to /other, which no run is shown: it is in none of the \
         directories that the administrator shows"
    );
}
