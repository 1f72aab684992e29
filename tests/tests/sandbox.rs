//! The sandbox through the command line: every run is in one, what is asked of it, and what is
//! said of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tests::{Yard, binary, python, text};

const LOOK: &str = "import os\nprint(len([name for name in os.listdir('/proc') if name.isdigit()]), os.environ['TMPDIR'])\n\
    open('outputs/x', 'w').write('x')\n";

#[test]
fn a_run_is_in_a_sandbox_unless_it_is_not_to_be_and_says_so() {
    let yard = Yard::new();
    let source = yard.project("p", &[("train.py", LOOK)]);
    let run = |options: &[&str]| {
        let run = yard.submit(&source, options);
        yard.ended(&run)
    };

    let plain = run(&[]);
    assert_eq!(plain["exit"]["reason"], "completed", "{plain}");
    assert_eq!(plain["exit"]["sandbox"]["tier"], "full");
    assert_eq!(plain["request"]["network"], "full", "what came of it is in the record");
    assert_eq!(plain["outputFiles"][0]["path"], "outputs/x", "{plain}");

    let outside = run(&["--sandbox", "off"]);
    assert_eq!(outside["exit"]["sandbox"], serde_json::Value::Null);

    let alone = run(&["--sandbox", "strict", "--network", "none"]);
    assert_eq!(alone["exit"]["sandbox"]["network"], "none", "{alone}");
    let id = alone["runId"].as_str().unwrap();
    assert_eq!(yard.ok(["logs", id]), "2 /tmp\n");
    let page = yard.ok(["show", id]);
    assert!(page.contains("Sandbox      full\n") && page.contains("Network      none\n"), "{page}");
}

/// Hands in `train.py` of `source` with `options`, and returns what it printed.
fn printed(yard: &Yard, source: &Path, options: &[&str]) -> String {
    let run = yard.submit(source, options);
    let shown = yard.ended(&run);
    assert_eq!(shown["status"], "Completed", "{shown:#}\n{}", yard.ok(["logs", &run]));
    assert_eq!(shown["exit"]["sandbox"]["tier"], "full", "{shown:#}");
    yard.ok(["logs", &run])
}

#[test]
fn environments_wherever_they_are_made_are_seen() {
    let yard = Yard::new();
    let source =
        yard.script("import os, small, sys\nprint(small.__file__ is not None, sys.prefix)");
    // In the home directory, which is an empty one within, as people have theirs.
    let venv = yard.user_home().join("venvs/mine");
    let made = Command::new(python()).args(["-m", "venv", "--without-pip"]).arg(&venv).status();
    assert!(made.unwrap().success());
    let library = fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap().path();
    fs::write(library.join("site-packages/small.py"), "").unwrap();

    let program = venv.join("bin/python");
    let options = ["--python", program.to_str().unwrap()];
    let run = yard.json(
        ["run", "-d", "--json", "--source", source.to_str().unwrap()]
            .iter()
            .chain(&options)
            .chain(&["train.py"]),
    );
    let shown = yard.ended(run["runId"].as_str().unwrap());
    let log = yard.ok(["logs", "@"]);
    assert_eq!(log, format!("True {}\n", venv.display()), "{shown:#}");

    // A conda environment is a prefix of its own, with its programs on the path.
    let conda = yard.user_home().join("conda/envs/mine");
    fs::create_dir_all(conda.join("bin")).unwrap();
    fs::create_dir_all(conda.join("conda-meta")).unwrap();
    fs::write(conda.join("bin/tool"), "#!/bin/sh\ncat \"$CONDA_PREFIX/share/words\"\n").unwrap();
    tests::make_executable(&conda.join("bin/tool"));
    fs::create_dir(conda.join("share")).unwrap();
    fs::write(conda.join("share/words"), "of conda\n").unwrap();
    let source = yard.script("import subprocess\nsubprocess.run(['tool'], check=True)");
    let (prefix, path) = (
        format!("CONDA_PREFIX={}", conda.display()),
        format!("PATH={}:/usr/bin:/bin", conda.join("bin").display()),
    );
    assert_eq!(printed(&yard, &source, &["-e", &prefix, "-e", &path]), "of conda\n");
}

#[test]
fn a_user_without_rights_has_a_whole_one_too() {
    if !rustix::process::geteuid().is_root() {
        return; // Every other test here is of such a user then.
    }
    const UID: &str = "23456";
    let base = tempfile::Builder::new().prefix("plain").tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| base.path().join(name);
    fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(binary(), at("trainyard")).unwrap();
    for name in ["home", "state", "source"] {
        fs::create_dir(at(name)).unwrap();
    }
    fs::write(
        at("source/train.py"),
        "import os, sys\nprint(os.getuid(), os.path.exists(sys.argv[1]))\nopen(os.path.expanduser('~/x'), 'w')\n",
    )
    .unwrap();
    fs::write(at("home/secret"), "hunter2").unwrap();
    let owned = Command::new("chown").args(["-R", UID]).args(["home", "state"].map(at)).status();
    assert!(owned.unwrap().success());
    let trainyard = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", UID, "--regid", UID, "--clear-groups"])
            .arg(at("trainyard"))
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", at("home"))
            .env("TRAINYARD_HOME", at("state"))
            .current_dir(at("source"));
        command.output().unwrap()
    };

    let secret = at("home/secret").display().to_string();
    let ran = trainyard(&["run", "--python", "/usr/bin/python3", "train.py", &secret]);
    let shown = trainyard(&["show", "--json"]);
    let stopped = trainyard(&["agent", "stop"]);

    assert_eq!(text(&ran.stdout), format!("{UID} False\n"), "{}", text(&ran.stderr));
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["exit"]["sandbox"]["tier"], "full", "{shown:#}");
    assert!(stopped.status.success(), "{stopped:?}");
}

#[test]
fn a_run_that_failed_says_what_was_kept_from_it_and_which_option_allows_it() {
    let yard = Yard::new();
    let data = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::write(data.path().join("x"), "data").unwrap();
    let file = data.path().join("x").display().to_string();
    let (seen, out) = (format!("--mount={}:/in", data.path().display()), "/in/new");
    let network = "import socket\nsocket.socket().connect(('192.0.2.1', 80))";
    let shared = "import subprocess\nsubprocess.run(['dd', 'if=/dev/zero', 'of=/dev/shm/x', 'bs=1M'], check=True)";
    let mut said = String::new();
    for (script, options) in [
        (format!("open({file:?})"), &[][..]),
        (format!("import subprocess\nsubprocess.run(['cat', {file:?}], check=True)"), &[]),
        (format!("open({out:?}, 'w')"), &[seen.as_str()]),
        (network.to_owned(), &["--network", "none"]),
        (
            "import socket\nsocket.getaddrinfo('example.invalid', 80)".to_owned(),
            &["--network", "none"],
        ),
        (shared.to_owned(), &["--memory", "64m"]),
        (
            "import subprocess\nsubprocess.run(['unshare', '-U', 'true'], check=True)".to_owned(),
            &[],
        ),
        ("raise SystemExit(3)".to_owned(), &[]),
    ] {
        let run = yard.submit(&yard.script(&script), options);
        let shown = yard.ended(&run);
        assert_eq!(shown["status"], "Failed", "{shown:#}");
        let record = fs::read_to_string(yard.run_directory(&run).join("exit.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        assert_eq!(record["sandbox"]["denials"], shown["exit"]["sandbox"]["denials"]);
        let message = shown["exit"]["message"].as_str().unwrap();
        assert!(yard.ok(["explain", &run]).contains(message), "{message}");
        said += &message.replace(&data.path().display().to_string(), "DATA");
        said.push('\n');
    }

    insta::assert_snapshot!(said);
}

#[test]
fn what_cannot_be_had_is_refused_with_what_to_do() {
    let yard = Yard::new();
    let source = yard.project("p", &[("train.py", LOOK)]);
    let home = yard.home().display().to_string();
    let said = |options: &[&str]| {
        let source = source.to_str().unwrap();
        let arguments = [&["run", "--source", source], options, &["train.py"]].concat();
        let refused = yard.call(arguments);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
        let text = text(&refused.stderr).replace(&home, "<home>");
        let lines =
            text.lines().filter(|line| line.starts_with("error") || line.starts_with("help"));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let all = [
        said(&["--sandbox", "on"]),
        said(&["--sandbox", "off", "--network", "loopback"]),
        said(&["--sandbox", "off", "--mount", "/opt"]),
        said(&["--mount", "data"]),
        said(&["--mount", "/etc:/in"]),
        said(&["--mount", &home]),
    ];

    insta::assert_snapshot!(all.concat());
}

#[test]
fn shared_memory_has_the_size_that_is_asked_for_and_takes_a_sandbox() {
    let yard = Yard::new();
    let source = yard.script(
        "import os\nfound = os.statvfs('/dev/shm')\nprint(found.f_blocks * found.f_frsize)",
    );
    let run = |options: &[&str]| {
        let source = source.to_str().unwrap();
        let mut command = yard.trainyard();
        command.args(["run", "--shm-size", "3m", "--source", source]).args(options);
        command.arg("train.py").output().unwrap()
    };

    let output = run(&[]);
    assert_eq!(text(&output.stdout), "3145728\n", "{}", text(&output.stderr));

    let refused = run(&["--sandbox", "off"]);
    assert_ne!(refused.status.code(), Some(0));
    let said = text(&refused.stderr);
    assert!(said.contains("--shm-size takes a sandbox, and --sandbox off asks for none"), "{said}");
}
