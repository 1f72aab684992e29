//! The files that the SDK wrote.

use std::fmt::Write as _;
use std::path::Path;

use runner::run_configuration::{EnvironmentChoice, Overrides, load, not_yet};

use crate::project::{Project, described};

fn sample(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    described(&load(&root.join(path)).unwrap(), &root)
}

#[test]
fn a_file_fresh_from_the_sdk_says_nothing_but_its_conda_file() {
    insta::assert_snapshot!(sample("01-default/.azureml/local.runconfig"), @r#"
    environment: {"kind":"conda","file":"ROOT/01-default/.azureml/conda_dependencies.yml"}
    source: ROOT/01-default
    note: environment.python.condaDependenciesFile lists only what the SDK puts there (python=3.8.13, azureml-defaults), and that is what is built; packages of your own go into it, or name another environment with --env or --python (ROOT/01-default/.azureml/local.runconfig:17)
    "#);
}

#[test]
fn docker_with_conda_and_a_remote_target_is_refused_as_a_whole() {
    insta::assert_snapshot!(sample("02-docker-conda/.azureml/docker.runconfig"), @r#"
    script: "train.py"
    arguments: ["--lr","0.01"]
    target: "cpu-dsvm"
    environment: {"kind":"docker","base":{"image":"mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1"},"packages":{"conda":{"file":"ROOT/02-docker-conda/.azureml/conda_dependencies.yml"}},"platform":"linux/amd64"}
    container: {"arguments":["--cpus=2"],"shmBytes":4294967296}
    environmentVariables: {"FOO_BAR":"baz","MY_VAR":"1"}
    timeoutSeconds: 3600
    remoteData: ["dataReferences.d1"]
    source: ROOT/02-docker-conda
    note: docker.useDocker (true) wins over environment.docker.enabled (false): the run uses Docker (ROOT/02-docker-conda/.azureml/docker.runconfig:60)
    refused: not yet in this version: data from a datastore (dataReferences.d1)
    hint: Put the data on this machine and give the script its path.
    "#);
}

#[test]
fn a_user_managed_python_runs_without_a_word() {
    insta::assert_snapshot!(sample("03-user-managed/.azureml/local.runconfig"), @r#"
    script: "train.py"
    environment: {"kind":"interpreter","path":"/opt/venv/bin/python"}
    source: ROOT/03-user-managed
    "#);
}

#[test]
fn an_environment_in_a_file_of_its_own_is_read() {
    insta::assert_snapshot!(
        sample("04-pytorch-command-separate-env/.azureml/dist.runconfig"),
        @r#"
    command: "python train.py --x 1"
    target: "gpu-cluster"
    environment: {"kind":"conda","file":"ROOT/04-pytorch-command-separate-env/.azureml/conda_dependencies.yml"}
    timeoutSeconds: 7200
    distribution: {"launcher":"pytorch","nodeCount":2,"processCount":4}
    source: ROOT/04-pytorch-command-separate-env
    note: environment.python.condaDependenciesFile lists only what the SDK puts there (python=3.8.13, azureml-defaults), and that is what is built; packages of your own go into it, or name another environment with --env or --python (.azureml/environment.yml:8)
    refused: not yet in this version: distributed runs (pytorch, 4 processes on 2 nodes)
    hint: Ask for one process on one node, started by Python itself.
    "#
    );
}

#[test]
fn the_two_docker_switches_of_folder_attach_are_explained() {
    insta::assert_snapshot!(sample("05-cli-folder-attach-docker/.azureml/docker"), @r#"
    environment: {"kind":"conda","file":"ROOT/05-cli-folder-attach-docker/.azureml/conda_dependencies.yml"}
    source: ROOT/05-cli-folder-attach-docker
    note: docker.useDocker (false) wins over environment.docker.enabled (true): the run does not use Docker (ROOT/05-cli-folder-attach-docker/.azureml/docker:58)
    note: environment.python.condaDependenciesFile lists only what the SDK puts there (python=3.8.13, azureml-defaults), and that is what is built; packages of your own go into it, or name another environment with --env or --python (ROOT/05-cli-folder-attach-docker/.azureml/docker:17)
    "#);
}

#[test]
fn the_wire_form_is_a_run_configuration_too() {
    insta::assert_snapshot!(sample("run_config_wire.json"), @r#"
    environment: {"kind":"conda","listed":{"text":"\"name\": \"project_environment\"\n\"dependencies\":\n  - \"python=3.8.13\"\n  -\n    \"pip\":\n      - \"azureml-defaults\"\n\"channels\":\n  - \"anaconda\"\n  - \"conda-forge\"\n","place":"ROOT/run_config_wire.json"}}
    source: ROOT
    note: environment.python.condaDependencies lists only what the SDK puts there (python=3.8.13, azureml-defaults), and that is what is built; packages of your own go into it, or name another environment with --env or --python (ROOT/run_config_wire.json:21)
    "#);
}

#[test]
fn an_environment_directory_of_the_sdk_can_be_named() {
    let mut text = String::new();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    for name in ["env-default", "env-docker", "env-dockerfile"] {
        let file = samples.join(name).join("azureml_environment.json");
        let project = Project::new();
        let loaded =
            project.load(format!("script: train.py\nenvironment: {}", file.display())).unwrap();
        writeln!(text, "{name}\n{}", described(&loaded, project.directory.path())).unwrap();
    }
    let text = text.replace(samples.to_str().unwrap(), "SAMPLES");
    insta::assert_snapshot!(text, @r#"
    env-default
    script: "train.py"
    environment: {"kind":"conda","file":"SAMPLES/env-default/conda_dependencies.yml"}
    source: ROOT
    note: environment.python.condaDependenciesFile lists only what the SDK puts there (python=3.8.13, azureml-defaults), and that is what is built; packages of your own go into it, or name another environment with --env or --python (SAMPLES/env-default/azureml_environment.json:1)

    env-docker
    script: "train.py"
    environment: {"kind":"conda","file":"SAMPLES/env-docker/conda_dependencies.yml"}
    environmentVariables: {"MY_VAR":"1"}
    source: ROOT

    env-dockerfile
    script: "train.py"
    environment: {"kind":"docker","base":{"dockerfile":{"file":"SAMPLES/env-dockerfile/BaseDockerfile","context":null}},"platform":"linux/amd64"}
    container: {"arguments":[],"shmBytes":2147483648}
    source: ROOT
    note: environment.docker.enabled (false) does not count: the environment has a Dockerfile, so it is a container (SAMPLES/env-dockerfile/azureml_environment.json:14)
    "#);
}

#[test]
fn flags_take_the_place_of_what_cannot_be_had_yet() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let file = load(&root.join("01-default/.azureml/local.runconfig")).unwrap();
    let flags = Overrides {
        script: Some("train.py".to_owned()),
        environment: Some(EnvironmentChoice::Interpreter { path: "/usr/bin/python3".into() }),
        ..Overrides::default()
    };

    let both = file.configuration.overlaid(&flags);

    assert_eq!(both.validate(), Ok(()));
    assert_eq!(not_yet(&both), Ok(()));
}
