//! What the command line does without an agent: snapshots, settings, help, refusals.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tests::Yard;

/// Runs `command` and returns its exit code, standard output and standard error.
fn said(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Runs `trainyard` with `arguments`, which must go well, and returns its JSON.
fn json(yard: &Yard, arguments: &[&str]) -> Value {
    let (code, out, err) = said(yard.trainyard().args(arguments));
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

fn keys(document: &Value) -> Vec<&str> {
    document.as_object().unwrap().keys().map(String::as_str).collect()
}

fn project(yard: &Yard) -> String {
    let files = [
        ("train.py", "import helper\n"),
        ("helper.py", "x = 1\n"),
        ("data/big.csv", "1,2,3\n"),
        (".gitignore", "data/\n*.log\n"),
    ];
    yard.project("project", &files).to_str().unwrap().to_owned()
}

#[test]
fn the_files_of_a_snapshot_are_listed_without_taking_one() {
    let yard = Yard::new();
    let source = project(&yard);

    let document = json(&yard, &["snapshot", "files", &source, "--json"]);

    assert_eq!(keys(&document), ["schemaVersion", "files", "totalBytes", "fileCount", "warnings"]);
    let paths: Vec<_> =
        document["files"].as_array().unwrap().iter().map(|file| &file["path"]).collect();
    assert_eq!(paths, [".gitignore", "helper.py", "train.py"]);
    assert_eq!(document["fileCount"], 3);
    assert_eq!(document["totalBytes"], 32);
    assert!(!yard.home().exists(), "listing keeps no state");
}

#[test]
fn a_piped_list_of_files_has_exact_names() {
    let yard = Yard::new();
    let source = yard.project("odd", &[]);
    let name = b"a\x1b[2J\xff\n-";
    fs::write(source.join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();

    let listed = yard.trainyard().args(["snapshot", "files", "-0"]).arg(&source).output().unwrap();
    let document = json(&yard, &["snapshot", "files", source.to_str().unwrap(), "--json"]);

    assert_eq!(listed.stdout, [name, &b"\0"[..]].concat());
    assert_eq!(document["files"][0]["pathBase64"], "YRtbMkr/Ci0=");
}

#[test]
fn a_snapshot_is_made_listed_laid_out_compared_and_removed() {
    let yard = Yard::new();
    let source = project(&yard);

    let first = json(&yard, &["snapshot", "create", &source, "--json"]);
    let again = json(&yard, &["snapshot", "create", &source, "--json"]);

    let expected = [
        "schemaVersion",
        "snapshotId",
        "fileCount",
        "totalBytes",
        "newObjects",
        "newBytes",
        "elapsedMs",
    ];
    assert_eq!(keys(&first), expected);
    assert_eq!(first["fileCount"], 3);
    assert_eq!(again["snapshotId"], first["snapshotId"]);
    assert_eq!(again["newObjects"], 0);

    let id = first["snapshotId"].as_str().unwrap();
    let listed = json(&yard, &["snapshot", "list", "--json"]);
    assert_eq!(listed[0]["snapshotId"], id);
    assert_eq!(listed[0]["kept"], true);

    let copy = yard.home().with_file_name("copy");
    let made =
        json(&yard, &["snapshot", "materialize", &id[..8], copy.to_str().unwrap(), "--json"]);
    assert_eq!(made["fileCount"], 3);
    assert_eq!(fs::read_to_string(copy.join("helper.py")).unwrap(), "x = 1\n");
    let (code, _, err) = said(yard.trainyard().args(["snapshot", "materialize", id]).arg(&copy));
    assert_eq!(code, 2, "{err}");

    fs::write(copy.join("helper.py"), "x = 2\n").unwrap();
    fs::rename(copy.join("train.py"), copy.join("main.py")).unwrap();
    fs::remove_file(copy.join(".gitignore")).unwrap();
    let copy = copy.to_str().unwrap();
    let (code, out, err) = said(yard.trainyard().args(["snapshot", "diff", id, copy]));
    assert_eq!(code, 0, "{err}");
    assert_eq!(out, "D .gitignore\nM helper.py\nR train.py → main.py\n");
    let (_, out, _) = said(yard.trainyard().args(["snapshot", "diff", "-p", id, copy]));
    assert!(out.contains("-x = 1\n+x = 2\n"), "{out}");

    let (code, _, _) = said(yard.trainyard().args(["snapshot", "remove", &id[..8]]));
    assert_eq!(code, 0);
    assert_eq!(json(&yard, &["snapshot", "list", "--json"]), serde_json::json!([]));
}

#[test]
fn explaining_names_the_rule_with_file_and_line() {
    let yard = Yard::new();
    let source = project(&yard);
    fs::write(Path::new(&source).join(".gitignore"), "# big\ndata/\nhelper.py\n").unwrap();

    let (code, out, err) = said(yard.trainyard().args([
        "snapshot",
        "explain",
        &source,
        "--script",
        "train.py",
        "data/big.csv",
        "train.py",
    ]));

    assert_eq!(code, 0, "{err}");
    insta::assert_snapshot!(out + &err, @r#"
    out  data/big.csv  (inside data, .gitignore:2: data/)
    in   train.py  (no rule matches)
    warning: helper.py is left out, but imported by train.py:1 (.gitignore:3: helper.py)
    "#);
}

#[test]
fn settings_tell_where_they_come_from() {
    let yard = Yard::new();
    let here = yard.project("here", &[("trainyard.toml", "\nexperiment = \"toml\"\n")]);

    let (code, out, _) = said(
        yard.trainyard()
            .current_dir(&here)
            .env("TRAINYARD_TIMEOUT", "15m")
            .args(["config", "show", "--origin"]),
    );
    assert_eq!(code, 0);
    assert!(out.contains("experiment = \"toml\"  # trainyard.toml:2\n"), "{out}");
    assert!(out.contains("timeout = \"15m\"  # TRAINYARD_TIMEOUT\n"), "{out}");
    assert!(out.contains("target = \"local\"  # default\n"), "{out}");

    fs::write(here.join("trainyard.toml"), "[snapshot]\nmax-file = 5\n").unwrap();
    let (code, out, err) = said(yard.trainyard().current_dir(&here).args(["list"]));
    assert_eq!((code, out.as_str()), (2, ""));
    insta::assert_snapshot!(err, @r#"
    error: trainyard.toml:2: unknown key "snapshot.max-file"
    help: `trainyard config show` lists what can be set
    "#);
}

#[test]
fn what_makes_no_sense_is_refused_with_2_and_changes_nothing() {
    let yard = Yard::new();
    let source = project(&yard);
    fs::write(Path::new(&source).join("conda.yml"), "dependencies: 7\n").unwrap();
    fs::write(Path::new(&source).join("bad.txt"), "-r missing.txt\n").unwrap();
    let run = |arguments: &[&str]| {
        let (code, out, err) =
            said(yard.trainyard().args(["run", "--source", &source]).args(arguments));
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        err.replace(&source, "SOURCE").replace(yard.home().parent().unwrap().to_str().unwrap(), "…")
    };

    let messages = [
        run(&["missing.py"]),
        run(&["train.py"]),
        run(&["--env", "nowhere.txt", "train.py"]),
        run(&["--env", "bad.txt", "train.py"]),
        run(&["--env", "sklearn", "train.py"]),
        run(&["--docker", "Python 3.12", "train.py"]),
        run(&["--python", "/nonexistent/python", "train.py"]),
        run(&["--timeout", "soon", "train.py"]),
        run(&["--experiment", "no spaces", "train.py"]),
        run(&["-e", "1X=y", "train.py"]),
        run(&["-e", "NOT_SET_ANYWHERE", "train.py"]),
        run(&["--secret", "TOKEN=/nonexistent", "train.py"]),
        run(&["--json", "train.py"]),
        run(&[]),
    ];

    insta::assert_snapshot!(messages.join("\n"), @r#"
    error: there is no script "missing.py"
    help: it was looked for in SOURCE and in the current directory; --source names another directory

    error: cannot use conda file "conda.yml": line 1, column 15: `dependencies` is a list
        1 | dependencies: 7
          |               ^

    error: there is no environment file "nowhere.txt"
    help: it was looked for in SOURCE and in the current directory, and is no registered name

    error: "bad.txt" line 1 names "missing.txt", which does not exist
    help: paths are relative to the directory of the file that names them

    error: no environment is registered as "sklearn"
    help: `trainyard env register NAME FILE` gives an environment a name

    error: "Python 3.12" cannot be the name of an image
    help: an image is named as in python:3.11-slim or registry.example.com/name@sha256:…

    error: interpreter "/nonexistent/python" does not exist
    help: give the path of a Python interpreter, or of a virtual environment

    error: "soon" is not a duration, such as 90s, 15m, 2h or 1d12h

    error: experiment name "no spaces" is not 1 to 255 letters, digits, '_' and '-', of which the first is a letter or digit
    help: choose another with --experiment

    error: "1X" is not a name of a variable
    help: a name has letters, digits and underscores and begins with no digit

    error: NOT_SET_ANYWHERE is not set here, so its value cannot be passed on
    help: export NOT_SET_ANYWHERE, or give the value

    error: cannot read the file for the secret TOKEN: No such file or directory
    help: --secret TOKEN=FILE takes a file; --secret TOKEN takes your own value

    error: --json goes with --detach or --dry-run only
    help: standard output is the script's; `trainyard show @ --json` tells of the run

    error: nothing to run: neither a script nor a command was named
    help: name the SCRIPT after the options, or give a shell line with --command
    "#);
    assert!(!yard.home().exists(), "a refused run keeps no state");
}

#[test]
fn what_is_not_there_yet_says_so() {
    let yard = Yard::new();
    let text = "command: python train.py\nenvironment: {image: python}\nservices: {board: {type: tensor_board}}\n";
    let job = yard.project("project", &[("job.yml", text)]).join("job.yml");
    let (code, out, err) = said(yard.trainyard().arg("submit").arg(job));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("not yet"), "{err}");
}

#[test]
fn a_dry_run_says_what_would_run_and_does_nothing() {
    let yard = Yard::new();
    let source = project(&yard);

    let document = json(
        &yard,
        &["run", "--source", &source, "--dry-run", "--json", "-e", "A=1", "train.py", "--lr", "1"],
    );

    assert_eq!(document["dryRun"]["script"], "[\"train.py\", \"--lr\", \"1\"]");
    assert_eq!(document["dryRun"]["experiment"], "project");
    assert_eq!(document["fileCount"], 3);
    assert!(!yard.home().exists(), "a dry run keeps no state");
}

#[test]
fn a_reader_that_had_enough_ends_the_command_quietly() {
    let yard = Yard::new();
    let source = yard.project("many", &[]);
    for number in 0..5_000 {
        fs::write(source.join(format!("a-file-with-a-long-name-{number}")), "").unwrap();
    }
    for arguments in [&["snapshot", "files"][..], &["snapshot", "files", "--json"]] {
        let mut child = yard
            .trainyard()
            .args(arguments)
            .arg(&source)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 10];
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut first).unwrap();
        drop(out);
        let ended = child.wait_with_output().unwrap();

        assert_eq!(ended.status.code(), Some(0), "{arguments:?}");
        let err = String::from_utf8(ended.stderr).unwrap();
        assert!(!err.contains("panicked") && !err.contains("error"), "{err}");
    }
}

#[test]
fn no_agent_is_started_to_ask_whether_one_answers() {
    let yard = Yard::new();
    for arguments in [["agent", "status"], ["agent", "stop"]] {
        let (code, out, err) = said(yard.trainyard().args(arguments));
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.contains("no agent answers"), "{err}");
    }
    assert!(!yard.home().exists());
}

#[test]
fn help_and_version_go_to_standard_output() {
    let yard = Yard::new();
    let (code, out, err) = said(yard.trainyard().args(["run", "--help"]));
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("trainyard run train.py"), "{out}");

    let (code, out, _) = said(yard.trainyard().arg("--version"));
    assert_eq!(code, 0);
    assert_eq!(out, format!("trainyard {}\n", env!("CARGO_PKG_VERSION")));

    let (code, out, err) = said(&mut yard.trainyard());
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("Usage: trainyard"), "{err}");
}

#[test]
fn completion_scripts_are_sound_and_complete_commands() {
    let yard = Yard::new();
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, err) = said(yard.trainyard().args(["completions", shell]));
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains("trainyard"), "{shell}: {out}");
    }
    let (_, script, _) = said(yard.trainyard().args(["completions", "bash"]));
    let checked = Command::new("bash").args(["-n", "-c", &script]).status().unwrap();
    assert!(checked.success());

    let (code, out, _) = said(
        yard.trainyard()
            .env("TRAINYARD_COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", "1")
            .env("_CLAP_IFS", "\n")
            .args(["--", "trainyard", "snap"]),
    );
    assert_eq!((code, out.trim()), (0, "snapshot"));
}

#[test]
fn every_command_has_a_manual_page() {
    let yard = Yard::new();
    let directory = yard.home().with_file_name("man");
    let (code, _, err) = said(yard.trainyard().arg("man").arg(&directory));
    assert_eq!(code, 0, "{err}");
    for page in ["trainyard.1", "trainyard-run.1", "trainyard-snapshot-files.1"] {
        let text = fs::read_to_string(directory.join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
}

#[test]
fn doctor_says_what_works_and_what_to_install() {
    let yard = Yard::new();
    let document = json(&yard, &["doctor", "--json"]);

    assert_eq!(document["fit"], true);
    let names: Vec<_> =
        document["checks"].as_array().unwrap().iter().map(|check| &check["name"]).collect();
    for name in ["python", "venv", "uv", "disk space", "state directory", "agent"] {
        assert!(names.iter().any(|found| *found == name), "{name}");
    }

    let (code, out, _) = said(yard.trainyard().env("PATH", "/nonexistent").arg("doctor"));
    assert_eq!(code, 1);
    assert!(out.contains("BAD  python"), "{out}");
}

#[test]
fn the_command_line_starts_in_no_time() {
    let yard = Yard::new();
    let best = (0..20)
        .map(|_| {
            let started = std::time::Instant::now();
            assert!(yard.trainyard().arg("--version").output().unwrap().status.success());
            started.elapsed()
        })
        .min()
        .unwrap();
    // Some 3 ms unburdened, in a debug build.
    assert!(best.as_millis() < 100, "{best:?}");
}

#[test]
fn what_a_run_configuration_says_in_passing_comes_before_a_refusal() {
    let yard = Yard::new();
    let configuration = "script: train.py\nnodeCount: 2\nnoSuchKey: 1\n";
    let source = yard
        .project("project", &[("train.py", "pass\n"), (".azureml/vm.runconfig", configuration)]);

    let (code, out, err) =
        said(yard.trainyard().current_dir(source).args(["run", "-c", ".azureml/vm.runconfig"]));

    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    let note = err.find("warning: ").expect("the unknown key is named");
    assert!(err.contains("noSuchKey"), "{err}");
    assert!(note < err.find("error: not yet").unwrap(), "{err}");
    assert!(!yard.home().exists(), "a refusal keeps no state");
}

#[test]
fn a_failed_run_shows_its_last_words_and_what_to_do() {
    let yard = Yard::new();
    let source = yard.script("print('first')\nraise SystemExit('no data')\n");
    let (code, _, err) = said(
        yard.trainyard()
            .args(["run", "--name", "two words", "--source"])
            .arg(&source)
            .arg("train.py"),
    );
    assert_eq!(code, 1, "{err}");

    let (_, page, _) = said(yard.trainyard().args(["show", "@"]));
    let (_, reasons, _) = said(yard.trainyard().args(["explain", "@"]));

    assert!(page.contains("Failed in "), "{page}");
    let end = "Last lines\n  first\n  no data\n";
    assert!(page.contains(end) && reasons.ends_with(end), "{page}{reasons}");
    assert!(page.ends_with("Next\n  `trainyard logs 'two words'` shows all that it printed\n"));
}

#[test]
fn a_script_may_begin_with_a_dash() {
    let yard = Yard::new();
    let source = yard.project("project", &[("-x.py", "print('ran')\n")]);

    let (code, out, err) =
        said(yard.trainyard().args(["run", "--source"]).arg(&source).args(["--", "-x.py"]));

    assert_eq!((code, out.as_str()), (0, "ran\n"), "{err}");
}

#[test]
fn a_name_that_several_runs_have_is_not_proposed() {
    let yard = Yard::new();
    let source = yard.script("pass\n");
    let submit = || {
        let mut command = yard.trainyard();
        command.args(["run", "-d", "--name", "same", "--source"]).arg(&source).arg("train.py");
        said(&mut command)
    };

    let (_, _, first) = submit();
    let (_, id, second) = submit();

    assert!(first.contains("trainyard logs -f same\n"), "{first}");
    assert!(second.contains(&format!("trainyard logs -f {id}")), "{second}");
}

#[test]
fn a_run_whose_name_a_shell_would_split_is_completed_by_its_id() {
    let yard = Yard::new();
    let source = yard.script("pass\n");
    let ids = ["plain", "two words"].map(|name| yard.submit(&source, &["--name", name]));

    let (code, out, err) = said(
        yard.trainyard()
            .env("TRAINYARD_COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", "2")
            .env("_CLAP_IFS", "\n")
            .args(["--", "trainyard", "show", ""]),
    );

    assert_eq!(code, 0, "{err}");
    let candidates: Vec<_> = out.lines().collect();
    assert!(candidates.contains(&"plain"), "{out}");
    assert!(!out.contains("two words"), "{out}");
    assert!(ids.iter().all(|id| candidates.contains(&id.as_str())), "{out}");
}

/// Starts `trainyard run` of a script that ignores SIGTERM and waits until it does. What is returned
/// reads the command's standard error up to a line with a given word.
fn started(yard: &Yard) -> (std::process::Child, impl FnMut(&str) -> String + use<>) {
    let source = yard.script(
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         print('deaf', file=sys.stderr)\ntime.sleep(120)\n",
    );
    let mut command = yard.trainyard();
    command.args(["run", "--name", "stubborn", "--source"]).arg(source).arg("train.py");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut read = move |word: &str| {
        let line = lines.find(|line| line.as_ref().unwrap().contains(word));
        line.unwrap_or_else(|| panic!("{word:?} was not said")).unwrap()
    };
    read("deaf");
    (child, read)
}

fn send(signal: &str, child: &std::process::Child) {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_second_interrupt_leaves_and_says_how_to_return() {
    let yard = Yard::new();
    let (mut child, mut read) = started(&yard);
    let status = || yard.show("stubborn")["status"].clone();

    send("-INT", &child);
    read("Cancelling stubborn");
    send("-INT", &child);

    let line = read("Detached");
    assert!(line.contains("`trainyard logs -f stubborn` returns to it"), "{line}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(["CancelRequested", "Finalizing", "Canceled"].contains(&status().as_str().unwrap()));
    yard.ok(["cancel", "--now", "stubborn"]);
    assert_eq!(yard.ended("stubborn")["status"], "Canceled");
}

#[test]
fn a_closed_terminal_leaves_the_run_alone() {
    let yard = Yard::new();
    let (mut child, _) = started(&yard);

    send("-HUP", &child);

    assert_eq!(child.wait().unwrap().code(), None, "it ends by the signal");
    assert_eq!(yard.show("stubborn")["status"], "Running");
    yard.ok(["cancel", "--now", "stubborn"]);
    assert_eq!(yard.ended("stubborn")["status"], "Canceled");
}
