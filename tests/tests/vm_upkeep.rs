//! A machine over SSH is cleaned by itself.

use std::fs;

use serde_json::Value;
use tests::attached::{AttachedYard, NAME, attach};
use tests::vm::{KeyPair, USER, VmOptions};
use tests::{Yard, text, wait_until};

/// A script that goes on until the machine has a file.
fn waits_for(file: &str) -> String {
    format!(
        "import os, time\nprint('on', flush=True)\n\
         while not os.path.exists('{file}'):\n    time.sleep(0.1)\n"
    )
}

#[test]
fn what_an_agent_did_not_come_back_for_goes_after_a_run_of_another() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    let runs = format!("/home/{USER}/.trainyard/runs");
    let ours = yard.submit_there(&yard.script(&waits_for("/tmp/go")), &[]);
    wait_until("our run is on", || yard.ok(["logs", &ours]).contains("on"));
    // Another agent starts a run there and is never heard of again.
    let other = Yard::new();
    let output = attach(&other, &yard.vm, "same-vm")
        .arg("--private-key-file")
        .arg(KeyPair::Ed25519.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let source = other.script(&waits_for("/tmp/left"));
    let run = ["run", "-d", "--json", "--target", "same-vm", "--source", source.to_str().unwrap()];
    let left = other.json(run.iter().chain(&["train.py"]))["runId"].as_str().unwrap().to_owned();
    wait_until("its run is on", || other.ok(["logs", &left]).contains("on"));
    other.ok(["agent", "stop"]);
    yard.vm.exec("touch /tmp/left");
    wait_until("its run is over", || {
        let ended = format!("ls {runs}/{left}/exit.json 2>/dev/null || true");
        !yard.vm.exec(&ended).is_empty()
    });
    let both = [&ours, &left].map(|run| format!("{runs}/{run}")).join(" ");
    yard.vm.exec(&format!("touch -d '10 days ago' {both}"));
    // As if it had been attached for longer.
    yard.kill_agent();
    let path = yard.home().join(format!("targets/{NAME}.json"));
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    record["attachedTimeUtc"] = "2026-01-01T00:00:00Z".into();
    fs::write(&path, record.to_string()).unwrap();

    // The agent that takes up our run cleans at once.
    let cleaned = || yard.json(["target", "show", NAME, "--json"])["remote"]["cleaned"].clone();
    wait_until("it is cleaned", || !cleaned().is_null());

    assert_eq!(cleaned()["runs"], 1, "{}", cleaned());
    assert!(yard.ok(["target", "show", NAME]).contains("1 run"));
    assert_eq!(yard.vm.exec(&format!("ls {runs}")), ours, "ours is on, however old it is");
    let log = fs::read_to_string(yard.home().join("agent.log")).unwrap();
    assert!(log.contains("Cleaned an attached machine."), "{log}");
    yard.vm.exec("touch /tmp/go");
    assert_eq!(yard.ended(&ours)["status"], "Completed");
    yard.wait_until_nothing_is_left();
}
