//! Configuration files that people have: honoured, named, or refused, never ignored.

use std::fs;

use tests::{Yard, python, text};

#[test]
fn a_runconfig_of_a_user_managed_environment_runs_as_it_did() {
    let yard = Yard::new();
    let configuration = format!(
        "script: train.py\narguments:\n- --lr\n- 1e-4\ntarget: local\nframework: Python\nenvironment:\n  name: mine\n  \
         environmentVariables:\n    EXAMPLE_ENV_VAR: EXAMPLE_VALUE\n    MODE: test\n  python:\n    userManagedDependencies: true\n    \
         interpreterPath: {}\nmaxRunDurationSeconds: 600\n",
        python().display()
    );
    let script = "import os, sys\nprint(sys.argv[1:], os.environ.get('MODE'), os.environ.get('EXAMPLE_ENV_VAR'))";
    let files = [("train.py", script), (".azureml/local.runconfig", configuration.as_str())];
    let source = yard.project("azure", &files);

    let output = yard
        .trainyard()
        .current_dir(&source)
        .args(["run", "-c", ".azureml/local.runconfig"])
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "['--lr', '1e-4'] test None\n");
}

#[test]
fn a_command_job_runs_with_its_literal_inputs() {
    let yard = Yard::new();
    let job = "command: python train.py --lr ${{inputs.lr}} --note ${{inputs.note}}\ncode: ./src\nexperiment_name: iris\n\
               inputs:\n  lr: 0.010\n  note: \"two words; and $HOME\"\ncompute: local\ntags: {team: demo}\n";
    let files = [("src/train.py", "import sys\nprint(sys.argv[1:])"), ("job.yml", job)];
    let source = yard.project("v2", &files);

    let output = yard
        .trainyard()
        .current_dir(&source)
        .arg("run")
        .arg("--python")
        .arg(python())
        .args(["-c", "job.yml"])
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "['--lr', '0.010', '--note', 'two words; and $HOME']\n");
    let shown = yard.show("@");
    assert_eq!(shown["experiment"], "iris");
    assert_eq!(shown["tags"]["team"], "demo");
}

#[test]
fn what_this_version_cannot_do_is_refused_and_nothing_is_changed() {
    let yard = Yard::new();
    let source = yard.script("print('never')");
    let source = source.to_str().unwrap();
    let refused: [&[&str]; 4] =
        [&["--cpus", "0"], &["--memory", "1k"], &["--retries", "101"], &["--shm-size", "much"]];
    for options in refused {
        let output = yard
            .trainyard()
            .args(["run", "--source", source])
            .args(options)
            .arg("train.py")
            .output()
            .unwrap();

        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{options:?}: {stderr}");
        assert!(
            stderr.contains(options[0].trim_start_matches('-')) || stderr.contains(options[1]),
            "{options:?}: {stderr}"
        );
        assert_eq!(text(&output.stdout), "");
    }
    assert!(!yard.home().join("agent.db").exists(), "no agent was needed to refuse");
}

#[test]
fn a_secret_reaches_the_script_and_nothing_else() {
    let yard = Yard::new();
    let secret = "s3cr3t-hunter2-value";
    let source = yard.script(
        "import os\nprint('token is', os.environ['TOKEN'])\nassert len(os.environ['TOKEN']) == 20",
    );
    let output = yard
        .trainyard()
        .env("TOKEN", secret)
        .args(["run", "--secret", "TOKEN", "--source"])
        .arg(source)
        .arg("--python")
        .arg(python())
        .arg("train.py")
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "token is ***\n");
    let mut directories = vec![yard.home()];
    let mut looked_at = 0;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.is_file() {
                let found = fs::read(&path)
                    .unwrap()
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes());
                assert!(!found, "the secret is in {path:?}");
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 5, "only {looked_at} files were looked at");
}

#[test]
fn a_script_that_is_not_there_is_named_and_nothing_is_submitted() {
    let yard = Yard::new();
    let source = yard.script("print(1)");
    let output =
        yard.trainyard().args(["run", "--source"]).arg(source).arg("trian.py").output().unwrap();

    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("trian.py"), "{}", text(&output.stderr));
}

#[test]
fn a_dry_run_says_what_would_happen_and_starts_nothing() {
    let yard = Yard::new();
    let source = yard.script("print('never')");
    let output = yard
        .trainyard()
        .args(["run", "--dry-run", "--source"])
        .arg(source)
        .arg("--python")
        .arg(python())
        .arg("train.py")
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("train.py"), "{said}");
    assert!(!yard.home().join("agent.db").exists(), "{said}");
}
