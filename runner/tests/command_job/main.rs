//! v2 command-job YAML: what is read from it, and values that arrive at a program as they are.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod values;

use std::fmt::Write as _;
use std::path::Path;

use runner::run_configuration::{
    ConfigurationError, EnvironmentChoice, Loaded, Network, Overrides, load, not_yet,
};
use runner::sandbox::policy::SandboxMode;

const SAMPLE: &str = include_str!("../samples/v2-command-job.yml");

fn load_in(directory: &Path, text: &str) -> Result<Loaded, ConfigurationError> {
    std::fs::create_dir_all(directory.join("data")).unwrap();
    std::fs::write(directory.join("data/file.csv"), "1,2").unwrap();
    let file = directory.join("job.yml");
    std::fs::write(&file, text).unwrap();
    load(&file)
}

fn loaded(text: &str) -> Loaded {
    load_in(tempfile::tempdir().unwrap().path(), text).unwrap()
}

fn command(text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let command = load_in(directory.path(), text).unwrap().configuration.command.unwrap();
    command.replace(directory.path().to_str().unwrap(), "ROOT")
}

fn problem(text: &str) -> String {
    use std::error::Error as _;
    let directory = tempfile::tempdir().unwrap();
    let error = load_in(directory.path(), text).unwrap_err();
    let cause = error.source().unwrap().to_string();
    cause.replace(directory.path().to_str().unwrap(), "ROOT")
}

#[test]
fn the_sample_is_read_and_refused_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = load_in(directory.path(), SAMPLE).unwrap();
    let mut text = serde_json::to_string_pretty(&loaded.configuration).unwrap();
    writeln!(text, "\nsource: {}", loaded.source_directory.unwrap().display()).unwrap();
    for note in &loaded.notes {
        writeln!(text, "note: {note}").unwrap();
    }
    assert_eq!(not_yet(&loaded.configuration), Ok(()));
    let text = text.replace(directory.path().to_str().unwrap(), "ROOT");
    insta::assert_snapshot!(text, @r#"
    {
      "script": null,
      "command": "mkdir -p \"$TRAINYARD_OUTPUT_DIR\"/model || exit\npython train.py --data ROOT/data --lr 0.01 --out \"$TRAINYARD_OUTPUT_DIR\"/model",
      "arguments": [],
      "target": "local",
      "environment": {
        "kind": "docker",
        "base": {
          "image": "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1"
        },
        "packages": {
          "conda": {
            "file": "ROOT/conda.yml"
          }
        }
      },
      "container": {
        "arguments": [
          "--cpus=2"
        ],
        "shmBytes": 2147483648
      },
      "environmentVariables": {
        "LOG_LEVEL": "info"
      },
      "experiment": "iris",
      "displayName": "iris-local",
      "description": null,
      "tags": {
        "team": "demo"
      },
      "properties": {},
      "timeoutSeconds": 3600,
      "graceSeconds": null,
      "resources": {
        "cpus": null,
        "memoryBytes": null,
        "pids": null,
        "diskBytes": null,
        "shmBytes": null,
        "gpus": null
      },
      "network": null,
      "sandbox": null,
      "mounts": [],
      "distribution": null,
      "remoteData": [],
      "services": [],
      "retry": null,
      "priority": 0,
      "after": [],
      "afterAny": [],
      "held": false
    }
    source: ROOT/src
    note: distribution.type has no effect here: the one process is started directly, without MASTER_ADDR, RANK and the like in its environment (ROOT/job.yml:18)
    "#);
}

#[test]
fn the_sample_runs_with_another_environment() {
    let flags = Overrides {
        environment: Some(EnvironmentChoice::File { path: "requirements.txt".into() }),
        ..Overrides::default()
    };
    let both = loaded(SAMPLE).configuration.overlaid(&flags);
    assert_eq!(both.validate(), Ok(()));
    assert_eq!(not_yet(&both), Ok(()));
}

#[test]
fn a_job_is_told_from_a_run_configuration_by_what_is_in_it() {
    for text in ["type: command\ncommand: a", "command: a", "command: a\ncompute: local"] {
        assert_eq!(loaded(text).configuration.command.as_deref(), Some("a"), "{text}");
    }
    // v1 knows these, and no such key is an error there.
    let v1 = loaded("command: a\nframework: Python\nzzz: 1");
    assert_eq!(v1.notes[0].key, "zzz");
}

#[test]
fn literals_are_filled_in_as_written() {
    let text = "\
command: a ${{inputs.lr}} ${{ inputs.flag }} ${{inputs.n}} ${{inputs.typed}} ${{inputs.words}}
inputs:
  lr: 1e-4
  flag: true
  n: 0.10
  typed: {type: integer, value: 007}
  words: two words
";
    assert_eq!(command(text), "a 1e-4 true 0.10 007 'two words'");
}

#[test]
fn local_data_is_read_where_it_lies() {
    let text = "\
command: a ${{inputs.folder}} ${{inputs.file}}
inputs:
  folder: {type: uri_folder, path: ./data, mode: ro_mount}
  file: {type: uri_file, path: data/file.csv, mode: direct}
";
    assert_eq!(command(text), "a ROOT/data ROOT/data/file.csv");
}

#[test]
fn outputs_are_below_the_runs_outputs() {
    let text = "\
command: |
  a ${{outputs.model}} ${{outputs.scores}} ${{outputs.plots}}
  b
outputs:
  model:
  scores: {type: uri_file}
  plots: {type: uri_folder, mode: rw_mount}
";
    insta::assert_snapshot!(command(text), @r#"
    mkdir -p "$TRAINYARD_OUTPUT_DIR"/model "$TRAINYARD_OUTPUT_DIR"/plots || exit
    a "$TRAINYARD_OUTPUT_DIR"/model "$TRAINYARD_OUTPUT_DIR"/scores "$TRAINYARD_OUTPUT_DIR"/plots
    b
    "#);
}

#[test]
fn data_in_azure_is_refused_by_name() {
    let text = "\
command: a ${{inputs.data}} ${{outputs.model}}
inputs:
  data: {type: uri_folder, path: 'azureml://datastores/x/paths/y'}
outputs:
  model: {type: uri_folder, path: 'azureml://datastores/x/paths/z'}
environment: azureml:sklearn@latest
compute: azureml:gpu-cluster
services: {board: {type: tensor_board}}
resources: {instance_count: 2}
";
    let refused = not_yet(&loaded(text).configuration).unwrap_err();
    insta::assert_snapshot!(format!("{refused}\n{}", refused.hint()), @r#"
    not yet in this version: distributed runs (python on 2 nodes); data from a datastore (inputs.data azureml://datastores/x/paths/y, outputs.model.path); interactive services (services.board)
    Ask for one process on one node, started by Python itself. Put the data on this machine and give the script its path. Take them out of the file.
    "#);
}

#[test]
fn what_has_no_effect_is_noted() {
    let text = "\
command: a
name: id
display_name: shown
inputs: {unused: 1, data: {type: uri_folder, path: data, mode: download}}
outputs: {model: {type: mlflow_model, name: registered}}
identity: {type: managed}
queue_settings: {job_tier: spot}
resources: {instance_type: big, shm_size: 2g}
distribution: {type: pytorch}
environment_variables: {A: '${{inputs.unused}}'}
";
    let notes: Vec<_> = loaded(text)
        .notes
        .iter()
        .map(|note| {
            let line = note.place.as_ref().map_or(0, |place| place.line);
            format!("{line}: {} {}", note.key, note.text)
        })
        .collect();
    insta::assert_snapshot!(notes.join("\n"), @r#"
    8: resources.shm_size has no effect here: the environment is not a Docker image
    9: distribution.type has no effect here: the one process is started directly, without MASTER_ADDR, RANK and the like in its environment
    4: inputs.data.mode has no effect here: the data is read where it lies
    5: outputs.model.name has no effect here: nothing is registered
    4: inputs.unused has no effect here: the command does not name it
    4: inputs.data has no effect here: the command does not name it
    5: outputs.model has no effect here: the command does not name it
    2: name has no effect here: every run gets an id of its own
    6: identity has no effect here: the script runs with your rights on this machine
    7: queue_settings has no effect here: runs start in the order they were submitted
    8: resources.instance_type has no effect here: the run is on this machine
    10: environment_variables.A is set as written: only the command is filled in
    0: code is not given: the source directory is the folder of the job file
    "#);
}

#[test]
fn processes_are_counted_as_the_launcher_does() {
    let cases = [
        "{type: pytorch, process_count_per_instance: 4}",
        "{type: mpi}",
        "{type: tensorflow, worker_count: 2, parameter_server_count: 1}",
        "{type: ray}",
    ];
    let mut table = String::new();
    for case in cases {
        let asked = loaded(&format!("command: a\ndistribution: {case}")).configuration.distribution;
        writeln!(table, "{case}: {}", serde_json::to_string(&asked).unwrap()).unwrap();
    }
    insta::assert_snapshot!(table, @r#"
    {type: pytorch, process_count_per_instance: 4}: {"launcher":"pytorch","nodeCount":1,"processCount":4}
    {type: mpi}: null
    {type: tensorflow, worker_count: 2, parameter_server_count: 1}: {"launcher":"tensorflow","nodeCount":1,"processCount":3}
    {type: ray}: {"launcher":"ray","nodeCount":1,"processCount":1}
    "#);
}

#[test]
fn environments_are_told_apart() {
    let cases = [
        "azureml:name:1",
        "{image: python:3.11}",
        "{image: python:3.11, conda_file: c.yml}",
        "{build: {path: ./docker}}",
        "{conda_file: conda.yml}",
        "{conda_file: {dependencies: [python]}}",
        "{name: x, version: 2}",
        "{}",
    ];
    let mut table = String::new();
    let directory = tempfile::tempdir().unwrap();
    for case in cases {
        let text = format!("command: a\nenvironment: {case}");
        let choice = load_in(directory.path(), &text).unwrap().configuration.environment;
        writeln!(table, "{case}: {}", serde_json::to_string(&choice).unwrap()).unwrap();
    }
    let table = table.replace(directory.path().to_str().unwrap(), "ROOT");
    insta::assert_snapshot!(table, @r#"
    azureml:name:1: {"kind":"named","name":"name","version":"1"}
    {image: python:3.11}: {"kind":"docker","base":{"image":"python:3.11"}}
    {image: python:3.11, conda_file: c.yml}: {"kind":"docker","base":{"image":"python:3.11"},"packages":{"conda":{"file":"ROOT/c.yml"}}}
    {build: {path: ./docker}}: {"kind":"docker","base":{"dockerfile":{"file":"ROOT/docker/Dockerfile","context":"ROOT/docker"}}}
    {conda_file: conda.yml}: {"kind":"conda","file":"ROOT/conda.yml"}
    {conda_file: {dependencies: [python]}}: {"kind":"conda","listed":{"text":"dependencies:\n  - python\n","place":"ROOT/job.yml"}}
    {name: x, version: 2}: {"kind":"named","name":"x","version":"2"}
    {}: {"kind":"default"}
    "#);
}

#[test]
fn an_environment_may_be_in_a_file_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("envs/env.yml");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "name: x\nversion: 1\nimage: a\nconda_file: conda.yml\n").unwrap();
    let mut table = String::new();
    for written in ["file:./envs/env.yml", "./envs/env.yml", "envs/missing.yml", "azureml:x.yml"] {
        let text = format!("command: a\nenvironment: {written}");
        let outcome = match load_in(directory.path(), &text) {
            Ok(loaded) => {
                let choice = serde_json::to_string(&loaded.configuration.environment).unwrap();
                let notes: Vec<_> = loaded.notes.iter().map(|note| note.key.as_str()).collect();
                format!("{choice} {notes:?}")
            }
            Err(error) => {
                use std::error::Error as _;
                error.source().unwrap().to_string()
            }
        };
        writeln!(table, "{written}: {outcome}").unwrap();
    }
    let table = table.replace(directory.path().to_str().unwrap(), "ROOT");
    insta::assert_snapshot!(table, @r#"
    file:./envs/env.yml: {"kind":"docker","base":{"image":"a"},"packages":{"conda":{"file":"ROOT/envs/conda.yml"}}} ["version", "code"]
    ./envs/env.yml: {"kind":"docker","base":{"image":"a"},"packages":{"conda":{"file":"ROOT/envs/conda.yml"}}} ["version", "code"]
    envs/missing.yml: line 2, column 14: environment: cannot read "envs/missing.yml": No such file or directory (os error 2)
      2 | environment: envs/missing.yml
        |              ^
    azureml:x.yml: {"kind":"named","name":"x.yml","version":null} ["code"]
    "#);
}

#[test]
fn words_for_docker_are_split_as_a_shell_does() {
    let arguments = |written: &str| {
        let text =
            format!("command: a\nenvironment: {{image: x}}\nresources: {{docker_args: {written}}}");
        loaded(&text).configuration.container.arguments
    };
    assert_eq!(arguments("--cpus=2 --label 'a b'"), ["--cpus=2", "--label", "a b"]);
    assert_eq!(arguments("[--cpus, '2']"), ["--cpus", "2"]);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let texts = [
        "type: pipeline\ncommand: a",
        "type: command",
        "code: .",
        "command: a\ncolour: red",
        "command: a\ndisplayName: x",
        "command: a\nlimits: {timeout: 5m}",
        "command: a\nlimits: {timeoutt: 5}",
        "command: a\nresources: {gpus: 1}",
        "command: a\nenvironment: {imagee: x}",
        "command: a\nenvironment: {image: x, build: {dockerfile_path: y}}",
        "command: a\nenvironment: {build: {dockerfile: y}}",
        "command: a\nenvironment: {image: x}\nresources: {docker_args: --label 'a}",
        "command: a\nenvironment: {image: x}\nresources: {shm_size: big}",
        "command: a\ndistribution: {type: smoke}",
        "command: a\ncode: https://example.com/x",
        "command: a ${{inputs.x}}",
        "command: a ${{inputs.x}}\ninputs: {y: 1}",
        "command: a ${{search_space.x}}\ninputs: {y: 1}",
        "command: a `${{inputs.y}}`\ninputs: {y: 1}",
        "command: a\ninputs: {1y: 1}",
        "command: a\ninputs: {y: [1]}",
        "command: a\ninputs: {y: }",
        "command: a\ninputs: {y: {type: uri_folder}}",
        "command: a\ninputs: {y: {type: uri_folder, path: missing}}",
        "command: a\ninputs: {y: {type: uri_folder, path: data/file.csv}}",
        "command: a\ninputs: {y: {type: uri_file, path: data}}",
        "command: a\ninputs: {y: {type: folder, path: data}}",
        "command: a\ninputs: {y: {pathh: data}}",
        "command: a\noutputs: {y: {type: folder}}",
        "command: a\noutputs: {y: 1}",
    ];
    let mut table = String::new();
    for text in texts {
        writeln!(table, "{}\n", problem(text)).unwrap();
    }
    insta::assert_snapshot!("wrong_values", table);
}

#[test]
fn a_job_says_its_sandbox_under_a_key_of_our_own() {
    let read = |text: &str| {
        let job = format!("type: command\ncommand: x\nx-trainyard:\n{text}");
        let configuration = loaded(&job).configuration;
        let mounts: Vec<String> = configuration.mounts.iter().map(ToString::to_string).collect();
        (configuration.sandbox, configuration.network, mounts)
    };
    assert_eq!(read("  sandbox: strict"), (Some(SandboxMode::Strict), None, vec![]));
    assert_eq!(
        read("  sandbox: { mode: default, network: none, mounts: ['/data', '/out:/o:rw'] }"),
        (
            Some(SandboxMode::Default),
            Some(Network::None),
            vec!["/data".to_owned(), "/out:/o:rw".to_owned()]
        )
    );
    assert_eq!(read("  sandbox: { network: loopback }"), (None, Some(Network::Loopback), vec![]));

    let refused = [
        "  sandbox: on",
        "  sandbox: [strict]",
        "  sandbox: { net: none }",
        "  sandbox: { network: host }",
        "  sandbox: { mounts: /data }",
        "  sandbox: { mounts: [data] }",
        "  retries: 3",
    ];
    let said = refused.map(|text| {
        let said = problem(&format!("type: command\ncommand: x\nx-trainyard:\n{text}"));
        said.lines().next().unwrap_or_default().to_owned()
    });
    insta::assert_snapshot!(said.join("\n"));
}
