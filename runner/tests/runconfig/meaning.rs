//! The environment, Docker's switches, launchers, and files of older versions.

use std::fmt::Write as _;

use runner::run_configuration::{EnvironmentChoice, Network, load};

use crate::project::{Project, described, loaded};

fn environment(text: &str) -> EnvironmentChoice {
    let project = Project::new();
    let loaded = project.load(format!("environment:\n  {text}")).unwrap();
    let choice = serde_json::to_string(&loaded.configuration.environment).unwrap();
    let root = project.directory.path().to_str().unwrap();
    serde_json::from_str(&choice.replace(root, "ROOT")).unwrap()
}

#[test]
fn a_user_managed_python_is_current_named_or_at_a_path() {
    let python =
        |rest: &str| environment(&format!("python: {{userManagedDependencies: true{rest}}}"));
    let at = |path: &str| EnvironmentChoice::Interpreter { path: path.into() };
    assert_eq!(python(""), EnvironmentChoice::CurrentPython);
    assert_eq!(python(", interpreterPath: python"), EnvironmentChoice::CurrentPython);
    assert_eq!(python(", interpreterPath: python3.9"), at("python3.9"));
    assert_eq!(python(", interpreterPath: venv/bin/python"), at("ROOT/venv/bin/python"));
    assert_eq!(python(", interpreterPath: /opt/python"), at("/opt/python"));
    // The SDK writes the file's name in any case.
    assert_eq!(python(", condaDependenciesFile: c.yml"), EnvironmentChoice::CurrentPython);
}

#[test]
fn what_an_environment_leaves_out_is_not_made_up() {
    assert_eq!(environment("python: {}"), EnvironmentChoice::Default);
    assert_eq!(environment("environmentVariables: {A: 1}"), EnvironmentChoice::Default);
    let named = |version: Option<&str>| EnvironmentChoice::Named {
        name: "AzureML-Minimal".to_owned(),
        version: version.map(str::to_owned),
    };
    assert_eq!(environment("name: AzureML-Minimal"), named(None));
    assert_eq!(environment("{name: AzureML-Minimal, version: 12}"), named(Some("12")));
}

#[test]
fn docker_switches_decide_as_the_sdk_documents() {
    let cases = [
        (
            "docker: {useDocker: true}\nenvironment: {docker: {enabled: false, baseImage: x}}",
            true,
            1,
        ),
        ("docker: {useDocker: false}\nenvironment: {docker: {enabled: true}}", false, 1),
        (
            "docker: {useDocker: true}\nenvironment: {docker: {enabled: true, baseImage: x}}",
            true,
            0,
        ),
        // The one note is on the image, which nobody named.
        ("docker: {useDocker: true}", true, 1),
        ("environment: {docker: {enabled: true, baseImage: x}}", true, 0),
        ("docker: {useDocker: }\nenvironment: {docker: {enabled: true, baseImage: x}}", true, 0),
        ("script: a.py", false, 0),
    ];
    for (text, expected, notes) in cases {
        let loaded = loaded(text);
        let docker = matches!(loaded.configuration.environment, EnvironmentChoice::Docker(_));
        assert_eq!((docker, loaded.notes.len()), (expected, notes), "{text}");
    }
}

#[test]
fn processes_are_counted_as_the_launcher_does() {
    let cases = [
        "framework: PyTorch",
        "framework: TensorFlow",
        "nodeCount: 2",
        "communicator: Nccl\npytorch: {processCount: 1}",
        "communicator: gloo\nnodeCount: 2",
        "communicator: nccl\npytorch: {processCount: 4}",
        "communicator: IntelMpi",
        "communicator: OpenMpi\nmpi: {processCountPerNode: 2}\nnodeCount: 3",
        "communicator: ParameterServer\ntensorflow: {workerCount: 1, parameterServerCount: 0}",
        "communicator: ParameterServer",
        "framework: CNTK",
    ];
    let mut table = String::new();
    for text in cases {
        let asked = loaded(text).configuration.distribution;
        writeln!(table, "{text:?}: {}", serde_json::to_string(&asked).unwrap()).unwrap();
    }
    insta::assert_snapshot!(table, @r#"
    "framework: PyTorch": null
    "framework: TensorFlow": null
    "nodeCount: 2": {"launcher":"python","nodeCount":2,"processCount":null}
    "communicator: Nccl\npytorch: {processCount: 1}": null
    "communicator: gloo\nnodeCount: 2": {"launcher":"pytorch","nodeCount":2,"processCount":2}
    "communicator: nccl\npytorch: {processCount: 4}": {"launcher":"pytorch","nodeCount":1,"processCount":4}
    "communicator: IntelMpi": null
    "communicator: OpenMpi\nmpi: {processCountPerNode: 2}\nnodeCount: 3": {"launcher":"mpi","nodeCount":3,"processCount":6}
    "communicator: ParameterServer\ntensorflow: {workerCount: 1, parameterServerCount: 0}": null
    "communicator: ParameterServer": {"launcher":"tensorflow","nodeCount":1,"processCount":2}
    "framework: CNTK": {"launcher":"cntk","nodeCount":1,"processCount":null}
    "#);
}

#[test]
fn a_legacy_file_is_read_with_its_compute_file() {
    let project = Project::new();
    project.file(
        "aml_config/mine.compute",
        "type: local\nuserManagedEnvironment: true\npythonLocation: /opt/python\nbaseDockerImage: old/image\n",
    );
    let file = project.file(
        "aml_config/mine.runconfig",
        "ArgumentVector: [train.py, --lr, 0.10]\nTarget: mine\nFramework: Python\n\
         CondaDependenciesFile: aml_config/conda.yml\nTrackedRun: true\nEnvironmentVariables: {A_B: 1}\n",
    );

    let loaded = load(&file).unwrap();

    insta::assert_snapshot!(described(&loaded, project.directory.path()), @r#"
    script: "train.py"
    arguments: ["--lr","0.10"]
    environment: {"kind":"interpreter","path":"/opt/python"}
    environmentVariables: {"A_B":"1"}
    source: ROOT
    note: ArgumentVector is of a legacy run configuration, from before 2019 (ROOT/aml_config/mine.runconfig:1)
    note: baseDockerImage has no effect here: the run is on this machine (mine.compute:4)
    "#);
}

#[test]
fn a_legacy_file_without_a_compute_file_keeps_its_conda_file_and_target() {
    let project = Project::new();
    let loaded = project
        .load("ArgumentVector: [train.py]\nTarget: docker\nCondaDependenciesFile: c.yml")
        .unwrap();
    insta::assert_snapshot!(described(&loaded, project.directory.path()), @r#"
    script: "train.py"
    target: "docker"
    environment: {"kind":"conda","file":"ROOT/c.yml"}
    source: ROOT
    note: ArgumentVector is of a legacy run configuration, from before 2019 (ROOT/.azureml/test.runconfig:1)
    "#);
}

#[test]
fn a_sandbox_is_asked_for_under_a_key_of_our_own() {
    let own = "script: train.py\nx-trainyard:\n  sandbox: {network: none, mounts: ['/data']}\n";

    let loaded = loaded(own);

    let configuration = loaded.configuration;
    assert_eq!(configuration.network, Some(Network::None));
    assert_eq!(configuration.mounts, ["/data".parse().unwrap()]);
    assert!(
        loaded.notes.iter().all(|note| !note.key.contains("x-trainyard")),
        "{:?}",
        loaded.notes
    );
}
