//! `trainyard sandbox`: what is said of a run's sandbox, and what this machine's is proved to be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use tests::attached::{AttachedYard, NAME};
use tests::vm::VmOptions;
use tests::{Yard, binary, engine, make_executable, python, text};

/// Returns what `sandbox explain` says with `arguments`.
#[track_caller]
fn explained(yard: &Yard, arguments: &[&str]) -> Value {
    yard.json([&["sandbox", "explain", "--json"], arguments].concat())
}

/// Returns how a run is said to see `path`.
fn sight<'a>(explained: &'a Value, path: &str) -> &'a Value {
    let sees = explained["sees"].as_array().unwrap();
    sees.iter().find(|sight| sight["path"] == path).unwrap_or(&Value::Null)
}

#[test]
fn what_a_run_would_have_is_told_from_its_arguments() {
    let yard = Yard::new();
    let source = yard.script("print('never run')");
    let (source, python) = (source.to_str().unwrap(), python());
    let of = ["--source", source, "--python", python.to_str().unwrap()];
    let mount = ["--mount", "/opt/in:/in", "--mount", "/opt/out:/out:rw"];
    let bounds = ["--network", "none", "--memory", "1g", "--pids", "9", "--timeout", "1h"];
    let arguments = [&of[..], &mount, &bounds, &["train.py", "--json"]].concat();

    let told = explained(&yard, &arguments);

    assert_eq!((&told["sandbox"], &told["tier"]), (&"default".into(), &"full".into()), "{told:#}");
    assert_eq!((&told["engine"], &told["network"]), (&"bubblewrap".into(), &"none".into()));
    assert_eq!(told["missing"], serde_json::json!([]), "a network that is none lacks nothing");
    let limits = serde_json::json!({ "memory": "1g", "pids": "9", "timeout": "3600 s" });
    assert_eq!(told["limits"], limits);
    assert_eq!(
        sight(&told, "/in"),
        &serde_json::json!({
            "path": "/in", "access": "read", "source": "/opt/in"
        })
    );
    assert_eq!(sight(&told, "/out")["access"], "change");
    assert_eq!(sight(&told, "/dev/shm")["bytes"], 512 << 20, "half of its memory");
    let work = yard.home().join("runs/RUN/work").display().to_string();
    assert_eq!(sight(&told, &work)["access"], "change", "{told:#}");
    assert_eq!(sight(&told, "/etc/shadow"), &Value::Null);
    let calls = told["refusedSystemCalls"].as_array().unwrap();
    let ptrace = calls.iter().find(|group| group["reason"] == "takes over another process");
    assert_eq!(ptrace.unwrap()["calls"], serde_json::json!(["ptrace"]));

    let page = yard.ok([&["sandbox", "explain"], &arguments[..]].concat());
    for line in [
        "Sandbox      default, full by bubblewrap; at least reduced, or it does not start\n",
        "Network      none: nothing but a loopback of its own\n",
        "Limits       memory 1g, pids 9, timeout 3600 s\n",
        "  read       /in, which is /opt/in\n",
        "  memory     /dev/shm, at most 512m\n",
        "  ptrace: takes over another process\n",
    ] {
        assert!(page.contains(line), "{line}{page}");
    }
    assert!(!yard.home().join("agent.sock").exists(), "nobody had to be asked, and nothing is run");
}

#[test]
fn what_a_run_had_is_told_from_its_launch_and_its_record() {
    let yard = Yard::new();
    let source = yard.script("open('/data/nothing')");
    let run = yard.submit(&source, &["--network", "loopback", "--mount", "/usr/share:/in"]);
    let ended = yard.ended(&run);

    let told = explained(&yard, &[&run]);

    assert_eq!(told["runId"], Value::from(run.as_str()));
    for part in ["tier", "engine", "missing", "denials", "network"] {
        assert_eq!(told[part], ended["exit"]["sandbox"][part], "{told:#}");
    }
    assert_eq!(sight(&told, "/in")["source"], "/usr/share");
    let work = yard.run_directory(&run).join("work").display().to_string();
    assert_eq!(sight(&told, &work)["access"], "change", "{told:#}");
    let page = yard.ok(["sandbox", "explain"]);
    assert!(page.contains(&format!("Run          {run}\n")), "the latest: {page}");
    assert!(page.contains("Kept from it\n  the sandbox does not show /data/nothing;"), "{page}");
    // As whoever has the run from the line before types it.
    let last = yard.json(["sandbox", "explain", "@", "--json"]);
    assert_eq!(last["runId"], Value::from(run.as_str()));
}

#[test]
fn a_run_that_waits_is_told_from_what_it_asks_for() {
    let yard = Yard::new();
    let run =
        yard.submit(&yard.script(""), &["--hold", "--mount", "/usr/share:/in", "--gpus", "0"]);

    let told = explained(&yard, &[&run]);

    assert_eq!(sight(&told, "/in")["source"], "/usr/share", "{told:#}");
    assert_eq!(told["tier"], "full");
}

#[test]
fn a_run_without_a_sandbox_is_told_so() {
    let yard = Yard::new();
    let source = yard.script("");
    let arguments = ["--sandbox", "off", "--source", source.to_str().unwrap(), "train.py"];
    let run = yard.submit(&source, &["--sandbox", "off"]);
    yard.ended(&run);

    for told in [explained(&yard, &arguments), explained(&yard, &[&run])] {
        assert_eq!((&told["sandbox"], &told["sees"]), (&"off".into(), &Value::Null), "{told:#}");
    }
    let page = yard.ok(["sandbox", "explain", &run]);
    assert!(page.contains("off: a process like any other, which may see, change and reach all"));
}

#[test]
fn a_container_is_told_what_its_engine_keeps_it_to() {
    let Some(yard) = engine::yard() else { return };
    let source = yard.script("");
    let options = ["--docker", engine::BASE_IMAGE, "--memory", "256m", "--network", "none"];
    let source = source.to_str().unwrap();
    let arguments = [&options[..], &["--source", source, "train.py"]].concat();

    let told = explained(&yard, &arguments);
    let run = yard.submit_to_container("", &options[2..]);
    yard.ended(&run);
    let begun = explained(&yard, &[&run]);

    for told in [&told, &begun] {
        assert_eq!(told["sandbox"], "container", "{told:#}");
        let bound = |of: &str| {
            let bounds = told["bounds"].as_array().unwrap();
            bounds.iter().find(|bound| bound["of"] == of).unwrap()["to"].as_str().unwrap()
        };
        assert_eq!(bound("memory"), "256m");
        assert_eq!(bound("network"), "a loopback of its own, and nothing else");
        assert!(bound("privileges").ends_with("and none to be gained"), "{told:#}");
    }
    let page = yard.ok(["sandbox", "explain", &run]);
    assert!(
        page.contains("Kept to\n  files        its image, and of the run /azureml-run"),
        "{page}"
    );
}

#[test]
fn runs_are_proposed_where_one_can_be_named() {
    let yard = Yard::new();
    let run = yard.submit(&yard.script(""), &["--hold"]);

    let mut command = yard.trainyard();
    command
        .env("TRAINYARD_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "3")
        .env("_CLAP_IFS", "\n")
        .args(["--", "trainyard", "sandbox", "explain", ""]);
    let proposed = text(&command.output().unwrap().stdout);

    assert!(proposed.lines().any(|line| line == run), "{proposed}");
}

#[test]
fn what_another_machine_makes_of_it_is_for_that_one_to_find() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    let source = yard.script("");
    let mount = "/data:/in:rw";
    let arguments = ["--target", NAME, "--mount", mount, "--source", source.to_str().unwrap()];

    let told = explained(&yard, &[&arguments[..], &["train.py"]].concat());

    assert_eq!((&told["target"], &told["tier"]), (&NAME.into(), &Value::Null), "{told:#}");
    let sees = serde_json::json!([{ "path": "/in", "access": "change", "source": "/data" }]);
    assert_eq!(told["sees"], sees, "what was asked for, and nothing of this machine");
    let note = told["notes"][0].as_str().unwrap();
    assert!(note.ends_with("is for the machine of test-vm to find"), "{note}");
    let run = yard.submit_there(&source, &[]);
    let ended = yard.ended(&run);
    let told = explained(&yard, &[&run]);
    assert_eq!(told["tier"], ended["exit"]["sandbox"]["tier"], "as its record says: {told:#}");
    assert_eq!(told["sees"], serde_json::json!([]));
}

#[test]
fn what_names_neither_a_run_nor_a_script_is_refused() {
    let yard = Yard::new();
    let source = yard.script("");
    yard.submit(&source, &[]);
    let said = |arguments: &[&str]| {
        let refused = yard.call([&["sandbox", "explain"], arguments].concat());
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
        let said = text(&refused.stderr);
        said.lines().filter(|line| line.starts_with("error")).map(|it| format!("{it}\n")).collect()
    };

    let all: [String; 6] = [
        said(&["nobody"]),
        said(&["--network", "none", "@"]),
        said(&["nobody.py", "--epochs", "3"]),
        // As `run --dry-run` and the agent refuse it.
        said(&["--sandbox", "off", "--network", "none", "--command", "true"]),
        said(&["--mount", "/etc", "--command", "true"]),
        said(&["--docker", "image", "--mount", "/data", "--command", "true"]),
    ];

    insta::assert_snapshot!(all.concat());
}

/// The program where every user may execute it, and a home and a state for one.
struct Place {
    base: TempDir,
}

impl Place {
    fn new() -> Self {
        let base = tempfile::Builder::new().prefix("plain").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(binary(), base.path().join("trainyard")).unwrap();
        fs::create_dir(base.path().join("home")).unwrap();
        Self { base }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    /// Probes as whoever `before` makes of this user, by a command in front.
    fn probe(&self, before: &[&str]) -> Output {
        let program = self.at("trainyard");
        let words = before.iter().map(Path::new).chain([program.as_path()]);
        let words: Vec<_> = words.chain(["sandbox", "probe", "--json"].map(Path::new)).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("HOME", self.at("home")).env("TRAINYARD_HOME", self.at("state"));
        command.output().unwrap()
    }

    /// The same where `other` is in the place of bubblewrap.
    fn probe_with(&self, other: &Path) -> Output {
        let line = format!("mount --bind '{}' /usr/bin/bwrap && exec \"$@\"", other.display());
        self.probe(&["unshare", "--mount", "sh", "-c", &line, "sh"])
    }
}

/// Reads what a probe found: the document, and the layers that are so.
fn found(output: &Output, holds: &str) -> (Value, Vec<String>) {
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    let layers = document["layers"].as_array().unwrap().clone();
    let names = layers.iter().filter(|layer| layer["holds"] == holds);
    let names = names.map(|layer| layer["name"].as_str().unwrap().to_owned()).collect();
    (document, names)
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("\n*** NOT TESTED: only root can become another user or hide a program ***\n");
    }
    is_root
}

/// What no user goes without where bubblewrap, Landlock and the filter are there.
const ALWAYS: [&str; 13] = [
    "files",
    "writing",
    "processes",
    "ipc",
    "hostname",
    "abstract sockets",
    "network loopback",
    "network none",
    "landlock",
    "system calls",
    "capabilities",
    "descriptors",
    "environment",
];

#[test]
fn every_layer_is_proved_for_this_user() {
    let output = Place::new().probe(&["env"]);

    let (document, holds) = found(&output, "yes");
    assert!(ALWAYS.iter().all(|layer| holds.iter().any(|it| it == layer)), "{document:#}");
    assert_eq!((output.status.code(), &document["holds"]), (Some(0), &true.into()));
    assert_eq!(document["tier"], "full");
    assert!(found(&output, "no").1.is_empty() && found(&output, "unproven").1.is_empty());
}

#[test]
fn every_layer_is_proved_for_a_user_without_rights() {
    if !is_root() {
        return; // Then the test above is of one.
    }
    const UID: &str = "23456";
    let place = Place::new();

    let output = place.probe(&["setpriv", "--reuid", UID, "--regid", UID, "--clear-groups", "--"]);

    let (document, holds) = found(&output, "yes");
    assert!(ALWAYS.iter().all(|layer| holds.iter().any(|it| it == layer)), "{document:#}");
    assert_eq!(output.status.code(), Some(0), "{document:#}");
    // Whatever it cannot have comes with what to do.
    for name in found(&output, "cannot_be_had").1 {
        let missing = document["missing"].as_array().unwrap();
        let one = missing.iter().find(|one| one["layer"] == name.as_str()).unwrap();
        assert!(!one["advice"].as_str().unwrap().is_empty(), "{document:#}");
    }
}

#[test]
fn what_there_is_without_bubblewrap_is_proved_and_what_is_missing_is_named() {
    if !is_root() {
        return;
    }

    let output = Place::new().probe_with(Path::new("/dev/null"));

    let (document, missing) = found(&output, "cannot_be_had");
    let without = ["processes", "ipc", "hostname", "network", "network loopback", "network none"];
    assert_eq!(missing, without, "{document:#}");
    assert_eq!((output.status.code(), &document["tier"]), (Some(0), &"reduced".into()));
    assert_eq!(document["missing"][0]["why"], "bubblewrap is not installed");
    let holds = found(&output, "yes").1;
    for kept in ["files", "writing", "abstract sockets", "landlock", "system calls"] {
        assert!(holds.iter().any(|it| it == kept), "{kept}: {document:#}");
    }
}

#[test]
fn a_layer_that_does_not_hold_although_it_is_promised_is_named() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let (real, fake) = (place.at("bwrap"), place.at("forgetful"));
    fs::copy("/usr/bin/bwrap", &real).unwrap();
    // Bubblewrap, but for one option that is never passed on.
    let forgets = |option: &str| {
        let script = format!(
            "#!/bin/bash\n\
             fd=$2; shift 2\n\
             mapfile -d '' -t all <&\"$fd\"\n\
             for one in \"${{all[@]}}\"; do [ \"$one\" = {option} ] || kept+=(\"$one\"); done\n\
             exec '{}' \"${{kept[@]}}\" \"$@\"\n",
            real.display()
        );
        fs::write(&fake, script).unwrap();
        make_executable(&fake);
    };
    for (option, layer) in [("--unshare-ipc", "ipc"), ("--unshare-uts", "hostname")] {
        forgets(option);

        let output = place.probe_with(&fake);

        let (document, fails) = found(&output, "no");
        assert_eq!(
            (output.status.code(), fails),
            (Some(1), vec![layer.to_owned()]),
            "{document:#}"
        );
        assert_eq!(document["holds"], false);
    }
}

#[test]
fn attempts_are_made_by_the_probe_only() {
    let output = Command::new(binary()).args(["sandbox-attempts", "nonsense"]).output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("`trainyard sandbox probe` only"));
}
