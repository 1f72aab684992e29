//! What commands say and do of runs on a machine over SSH, while they are on and afterwards.

use std::fs;

use serde_json::Value;
use tests::attached::{AttachedYard, NAME, attach_by_key};
use tests::vm::VmOptions;
use tests::{Yard, text, wait_until};

/// Has something to fetch, then waits until it may go on, there or here, and ends.
const WAITS: &str = r#"
import os, sys, time
with open("outputs/first", "w") as file:
    file.write("first")
print("on", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
with open("outputs/second", "w") as file:
    file.write("second")
"#;

/// Submits [`WAITS`], which waits for `go`, and waits until it is on.
#[track_caller]
fn start(yard: &Yard, go: &str) -> String {
    let source = yard.script(WAITS);
    let source = source.to_str().unwrap();
    let run = ["run", "-d", "--json", "--target", NAME, "--source", source, "train.py", go];
    let run = yard.json(run)["runId"].as_str().unwrap().to_owned();
    wait_until("the script is on", || yard.ok(["logs", &run]) == "on\n");
    run
}

/// Lists what is in the user's home there.
fn home(yard: &AttachedYard) -> String {
    yard.vm.exec("find /home/azureuser ! -path '*/.ssh*' -printf '%p %s %l\n' | sort")
}

#[test]
fn a_run_that_is_on_is_fetched_from_moved_and_not_taken_away() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    let run = start(&yard, "/tmp/go");
    let fetch = |name: &str| {
        let to = yard.home().with_file_name(name);
        yard.ok(["outputs", &run, to.to_str().unwrap()]);
        let files = ["outputs/first", "outputs/second"].map(|file| fs::read(to.join(file)).ok());
        files.map(|file| file.map(|bytes| text(&bytes)))
    };

    assert_eq!(fetch("while-it-is-on"), [Some("first".to_owned()), None]);
    for detach in [&["target", "detach", NAME][..], &["target", "detach", NAME, "--purge", "--yes"]]
    {
        let refused = yard.call(detach);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("{NAME:?} is in use by {run}")), "{said}");
        assert!(said.contains("`trainyard cancel RUN`"), "{said}");
    }
    yard.vm.exec("touch /tmp/go");

    assert_eq!(yard.ended(&run)["status"], "Completed");
    assert_eq!(fetch("afterwards"), ["first", "second"].map(|text| Some(text.to_owned())));
    is_moved_to_and_fro(&yard, &run);
    a_purge_leaves_what_is_not_ours(&yard);
}

/// Tells that `run` is the same here, but for what the commands say of both machines.
fn is_moved_to_and_fro(yard: &AttachedYard, run: &str) {
    let shown = yard.project("gone", &[("go", "")]);
    let go = shown.join("go");
    let (source, shown) = (yard.script(WAITS), shown.to_str().unwrap());
    let source = source.to_str().unwrap();
    let here = ["run", "--json", "-d", "--mount", shown, "--source", source, "train.py"];
    let first = yard.json(here.iter().copied().chain([go.to_str().unwrap()]));
    let first = first["runId"].as_str().unwrap();
    assert_eq!(yard.ended(first)["status"], "Completed");

    yard.vm.exec(&format!("mkdir -p {0} && touch {0}/go", go.parent().unwrap().display()));
    let moved = yard.call(["rerun", "--target", NAME, first]);
    let said = text(&moved.stderr);
    assert_eq!(moved.status.code(), Some(0), "{said}");
    let python = format!("python3 of {NAME}");
    assert!(said.contains("takes the place of"), "{said}");
    let there = yard.show("@");
    assert_eq!((&there["target"], &there["environment"]), (&NAME.into(), &python.as_str().into()));
    assert_eq!(there["outputFiles"], yard.show(first)["outputFiles"]);

    let diff = yard.json(["diff", "--json", first, "@"]);
    let told = yard.ok(["diff", first, "@"]);
    assert!(told.contains(&format!("target: local → {NAME}")), "{told}");
    assert!(told.contains("Code  (the same)"), "{told}");
    assert!(diff.is_object(), "{diff:#}");
    let told = yard.ok(["diff", run, "@"]);
    assert!(!told.contains("target:") && told.contains("Environment  (the same)"), "{told}");

    // And back.
    let back = yard.call(["rerun", "--target", "local", "@"]);
    let said = text(&back.stderr);
    assert_eq!(back.status.code(), Some(0), "{said}");
    assert!(said.contains("of local takes the place of python3"), "{said}");
    assert_eq!(yard.show("@")["target"], "local");
}

fn a_purge_leaves_what_is_not_ours(yard: &AttachedYard) {
    yard.vm.exec(
        "mkdir /home/azureuser/precious /home/azureuser/.trainyard-other && \
         echo data >/home/azureuser/precious/data && \
         ln -s /home/azureuser/precious /home/azureuser/.trainyard/store/precious",
    );
    let is_theirs = |line: &&str| !line.contains("/.trainyard/") && !line.contains("/.trainyard ");
    let before = home(yard);
    let before: Vec<_> = before.lines().filter(is_theirs).skip(1).collect();
    assert!(before.len() > 3, "{before:?}");

    let asked = yard.call(["target", "detach", NAME, "--purge"]);
    assert_eq!(asked.status.code(), Some(2));
    assert!(text(&asked.stderr).contains("--yes"), "{}", text(&asked.stderr));
    assert!(home(yard).contains("/.trainyard/"));
    yard.ok(["target", "detach", NAME, "--purge", "--yes"]);

    let after = home(yard);
    assert_eq!(after.lines().skip(1).collect::<Vec<_>>(), before);
    assert_eq!(yard.ok(["-q", "target", "list"]), "local\n");
}

#[test]
fn what_no_agent_came_back_for_is_cleaned_and_nothing_else() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    let gone = Yard::new();
    assert!(attach_by_key(&gone, &yard.vm, NAME).status().unwrap().success());
    let lost = start(&gone, "/tmp/go");
    gone.kill_agent();
    let on = start(&yard, "/tmp/go-too");
    let runs = || yard.vm.exec("ls /home/azureuser/.trainyard/runs");
    let clean = |more: &[&str]| -> Value {
        let clean = ["gc", "--target", NAME, "--json"];
        yard.json(clean.iter().chain(more))
    };
    assert_eq!(runs().lines().count(), 2);
    assert_eq!(clean(&["--older", "0s"])["runs"], 0, "both are on");
    yard.vm.exec("touch /tmp/go");
    wait_until("the run nobody looks after is over", || yard.processes().len() < 6);
    let ended = || yard.vm.exec("ls /home/azureuser/.trainyard/runs/*/exit.json").lines().count();
    wait_until("its end is written", || ended() == 1);

    assert_eq!(clean(&["--older", "0s"])["runs"], 0, "it may still be come back for");
    yard.vm.exec(&format!("touch -d '2 hours ago' /home/azureuser/.trainyard/runs/{lost}"));
    assert_eq!(clean(&[])["runs"], 0, "it may be, unless somebody says that it is too old");
    let would = clean(&["--older", "0s", "--dry-run"]);
    assert_eq!((&would["runs"], &would["dryRun"]), (&1.into(), &true.into()), "{would:#}");
    assert_eq!(runs().lines().count(), 2);

    let told = yard.call(["gc", "--target", NAME, "--older", "0s"]);

    let said = text(&told.stderr);
    assert!(said.contains("Freed") && said.contains("1 run") && said.contains(NAME), "{said}");
    assert!(runs().contains(&on) && !runs().contains(&lost), "{}", runs());
    assert_eq!(clean(&["--older", "0s"])["runs"], 0);
    yard.vm.exec("touch /tmp/go-too");
    let shown = yard.ended(&on);
    assert_eq!(shown["status"], "Completed", "{shown:#}");
    assert_eq!(shown["outputFiles"].as_array().unwrap().len(), 2, "{shown:#}");
    // Who comes back too late is told.
    let shown = gone.ended(&lost);
    assert_eq!(shown["status"], "Failed", "{shown:#}");
    yard.wait_until_nothing_is_left();
}
