//! Files as the Azure ML SDK and its command line write them: read, and run as far as what they
//! name can be had.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tests::engine::{self, BASE_IMAGE};
use tests::{Yard, python, text};

/// What the SDK writes for `Environment("default-environment")`, every key of it.
const DEFAULT: &str = include_str!("azureml/default.runconfig");

/// The conda file it writes beside it.
const CONDA: &str = include_str!("azureml/conda_dependencies.yml");

/// The user's setting that takes Microsoft's images from this machine.
const MAP: &str = "[images.map]\n\"mcr.microsoft.com/azureml/*\" = \"trainyard-test-base:2\"\n";

/// Says what can be seen of a run configuration.
const SCRIPT: &str = "
import os, sys
print(sys.argv[1:], [os.environ.get(name) for name in ('MY_VAR', 'FOO_BAR', 'EXAMPLE_ENV_VAR')])
print(os.getcwd() == '/azureml-run')
";

/// Returns `text` with each of `changes` made, each of which must be possible.
fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in the sample");
        text.replacen(from, to, 1)
    })
}

fn project(yard: &Yard, name: &str, file: &str, runconfig: &str, conda: &str) -> PathBuf {
    let files =
        [("train.py", SCRIPT), (file, runconfig), (".azureml/conda_dependencies.yml", conda)];
    yard.project(name, &files)
}

fn run(yard: &Yard, source: &Path, file: &str, options: &[&str]) -> Output {
    yard.trainyard().current_dir(source).args(["run", "-c", file]).args(options).output().unwrap()
}

fn dry(yard: &Yard, source: &Path, file: &str, options: &[&str]) -> Value {
    let output = run(yard, source, file, &[&["--dry-run", "--json"], options].concat());
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

#[test]
fn sample_01_is_a_conda_environment_whose_channels_must_be_reachable() {
    let yard = Yard::new();
    let file = ".azureml/local.runconfig";
    let source = project(&yard, "sample-01", file, DEFAULT, CONDA);

    let loaded = dry(&yard, &source, file, &["train.py"]);
    assert!(loaded.to_string().contains("conda_dependencies.yml"), "{loaded:#}");

    let none = CONDA.replace("- anaconda\n- conda-forge", "- http://127.0.0.1:9/channel");
    std::fs::write(source.join(".azureml/conda_dependencies.yml"), none).unwrap();
    let output = run(&yard, &source, file, &["train.py"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("http://127.0.0.1:9/channel"), "{said}");
    assert!(said.contains("--conda-from-pip"), "{said}");
}

#[test]
fn sample_02_runs_in_the_image_that_the_configuration_maps_to() {
    let Some(yard) = engine::yard() else { return };
    yard.configure(&format!("{}{MAP}", engine::build_settings()));
    let runconfig = changed(
        DEFAULT,
        &[
            ("script:\narguments: []", "script: train.py\narguments:\n- --lr\n- '0.01'"),
            ("target: local", "target: cpu-dsvm"),
            ("maxRunDurationSeconds:\n", "maxRunDurationSeconds: 3600\n"),
            ("EXAMPLE_ENV_VAR: EXAMPLE_VALUE", "MY_VAR: '1'"),
            ("userManagedDependencies: false", "userManagedDependencies: true"),
            ("useDocker: false", "useDocker: true"),
            (
                "useDocker: true\n  sharedVolumes: true\n  arguments: []\n  shmSize: 2g",
                "useDocker: true\n  sharedVolumes: true\n  arguments:\n  - --cpus=2\n  shmSize: 4g",
            ),
            (
                "dataReferences: {}",
                "dataReferences:\n  d1:\n    dataStoreName: workspaceblobstore\n    pathOnDataStore: data\n    \
                 mode: download\n    overwrite: false\n    pathOnCompute: /tmp/d",
            ),
            ("\nenvironmentVariables: {}", "\nenvironmentVariables:\n  FOO_BAR: baz"),
        ],
    );
    let file = ".azureml/docker.runconfig";
    let source = project(&yard, "sample-02", file, &runconfig, CONDA);

    let data = run(&yard, &source, file, &["--target", "local"]);
    assert_eq!(data.status.code(), Some(2));
    assert!(text(&data.stderr).contains("dataReferences.d1"), "{}", text(&data.stderr));

    let (from, to) =
        (runconfig.find("dataReferences:").unwrap(), runconfig.find("data: {}").unwrap());
    let without = format!("{}{}", &runconfig[..from], &runconfig[to..]);
    std::fs::write(source.join(file), without).unwrap();
    let elsewhere = run(&yard, &source, file, &[]);
    assert_eq!(elsewhere.status.code(), Some(2));
    assert!(text(&elsewhere.stderr).contains("cpu-dsvm"), "{}", text(&elsewhere.stderr));

    let output = run(&yard, &source, file, &["--target", "local"]);
    let said = text(&output.stderr);
    assert_eq!(text(&output.stdout), "['--lr', '0.01'] ['1', 'baz', None]\nTrue\n", "{said}");
    for noted in ["mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04", BASE_IMAGE] {
        assert!(said.contains(noted), "{noted} is not named: {said}");
    }
}

#[test]
fn sample_03_runs_in_the_python_it_names() {
    let yard = Yard::new();
    let user_managed = [
        ("script:", "script: train.py"),
        ("userManagedDependencies: false", "userManagedDependencies: true"),
        ("interpreterPath: python", "interpreterPath: /opt/no-such-venv/bin/python"),
    ];
    let runconfig = changed(DEFAULT, &user_managed);
    let file = ".azureml/local.runconfig";
    let source = project(&yard, "sample-03", file, &runconfig, CONDA);

    let missing = run(&yard, &source, file, &[]);
    assert!(matches!(missing.status.code(), Some(2 | 125)));
    assert!(text(&missing.stderr).contains("/opt/no-such-venv/bin/python"));

    let output = run(&yard, &source, file, &["--python", python().to_str().unwrap()]);
    assert_eq!(text(&output.stdout), "[] [None, None, None]\nFalse\n", "{}", text(&output.stderr));
}

#[test]
fn sample_04_asks_for_several_machines_and_is_told_so() {
    let yard = Yard::new();
    let (from, to) = (DEFAULT.find("  name: default").unwrap(), DEFAULT.find("history:").unwrap());
    let environment: String =
        DEFAULT[from..to].lines().map(|line| line.replacen("  ", "", 1) + "\n").collect();
    let runconfig = changed(
        &format!("{}{}", &DEFAULT[..from], &DEFAULT[to..]),
        &[
            ("environment:\n", "environment: .azureml/environment.yml\n"),
            (
                "target: local\nframework: Python\ncommunicator: None",
                "target: gpu-cluster\nframework: PyTorch\ncommunicator: nccl",
            ),
            ("nodeCount: 1", "nodeCount: 2"),
            ("processCount:\n  nodeCount: 1", "processCount: 4\n  nodeCount: 2"),
            ("command: ''", "command: python train.py --x 1"),
        ],
    );
    let file = ".azureml/dist.runconfig";
    let source = project(&yard, "sample-04", file, &runconfig, CONDA);
    std::fs::write(source.join(".azureml/environment.yml"), environment).unwrap();

    let output = run(&yard, &source, file, &["--target", "local"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("2 nodes"), "{said}");

    // One machine of it can be had.
    let one = changed(
        &runconfig,
        &[
            ("nodeCount: 2", "nodeCount: 1"),
            ("processCount: 4\n  nodeCount: 2", "processCount: 1\n  nodeCount: 1"),
        ],
    );
    std::fs::write(source.join(file), one).unwrap();
    let python = python();
    let options = ["--target", "local", "--python", python.to_str().unwrap()];
    let loaded = dry(&yard, &source, file, &options);
    assert!(loaded.to_string().contains("python train.py --x 1"), "{loaded:#}");
}

#[test]
fn sample_05_says_which_of_its_two_switches_counts() {
    let yard = Yard::new();
    let runconfig = changed(DEFAULT, &[("enabled: false", "enabled: true")]);
    let file = ".azureml/docker";
    let source = project(&yard, "sample-05", file, &runconfig, CONDA);

    let output = run(&yard, &source, file, &["--dry-run", "train.py"]);

    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("useDocker") && said.contains("enabled"), "{said}");
}

#[test]
fn the_v2_sample_runs_in_its_mapped_image() {
    let Some(yard) = engine::yard() else { return };
    yard.configure(&format!("{}{MAP}", engine::build_settings()));
    let job = "
$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json
type: command
display_name: iris-local
experiment_name: iris
code: ./src
command: python train.py --data ${{inputs.data}} --lr ${{inputs.lr}} --out ${{outputs.model}}
inputs:
  data: {type: uri_folder, path: ./data, mode: ro_mount}
  lr: 0.01
outputs:
  model: {type: uri_folder, mode: rw_mount}
environment:
  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1
environment_variables: {LOG_LEVEL: info}
compute: local
resources: {instance_count: 1, shm_size: 2g, docker_args: \"--cpus=2\"}
distribution: {type: pytorch, process_count_per_instance: 1}
limits: {timeout: 3600}
tags: {team: demo}
";
    let files = [("src/train.py", SCRIPT), ("data/a.csv", "1,2\n"), ("job.yml", job)];
    let source = yard.project("sample-v2", &files);

    let output = run(&yard, &source, "job.yml", &[]);

    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let printed = text(&output.stdout);
    assert!(printed.contains("'--lr', '0.01', '--out', "), "{printed}");
    assert!(printed.ends_with("[None, None, None]\nTrue\n"), "{printed}");
    assert!(said.contains("distribution.type"), "{said}");
    assert_eq!(yard.show("@")["displayName"], "iris-local");
}
