//! One project in every kind of environment: the same numbers to the last digit, and nothing is
//! built for the second run.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tests::channel::conda_file;
use tests::engine::{self, BASE_IMAGE, EngineYard, docker};
use tests::reference::{self, REQUIREMENTS, Results};
use tests::registry::{PASSWORD, Registry, USER};
use tests::{Yard, python, text, wait_until};

/// All that a build would change: what environments say of themselves, apart from when they were
/// last used, the logs of their builds, and the images of the yard.
#[derive(Debug, PartialEq)]
struct Builds {
    environments: Vec<Value>,
    logs: Vec<Vec<u8>>,
    images: Vec<String>,
}

impl Builds {
    fn of(yard: &Yard, images: Vec<String>) -> Self {
        let mut environments = yard.json(["env", "list", "--json"]).as_array().unwrap().clone();
        for environment in &mut environments {
            let environment = environment.as_object_mut().unwrap();
            environment.remove("lastUsedTimeUtc");
            environment.remove("inUse");
        }
        let log = |environment: &Value| fs::read(environment["log"].as_str().unwrap()).unwrap();
        let logs = environments.iter().map(log).collect();
        Self { environments, logs, images }
    }
}

/// Runs the project and returns its record, after comparing what it computed.
fn run(yard: &Yard, source: &Path, options: &[&str], expected: &Results) -> Value {
    let output = yard
        .trainyard()
        .args(["run", "--source"])
        .arg(source)
        .args(options)
        .arg("train.py")
        .current_dir(source)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = yard.show("@");
    let results = Results::of(yard, shown["runId"].as_str().unwrap());
    assert_eq!(&results, expected, "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), expected.stdout);
    shown
}

/// Runs the project twice: what it comes to is what it comes to by hand, and the second run builds
/// nothing. Returns the record of the second.
fn twice(
    yard: &Yard,
    images: &dyn Fn() -> Vec<String>,
    files: &[(&str, &str)],
    options: &[&str],
) -> Value {
    let expected = reference::expected(yard);
    let source = reference::project(yard, files);
    let first = run(yard, &source, options, &expected);
    let builds = Builds::of(yard, images());

    let second = run(yard, &source, options, &expected);

    assert_eq!(Builds::of(yard, images()), builds, "the second run builds nothing");
    let (before, after) = (&first["preparedEnvironment"], &second["preparedEnvironment"]);
    assert_eq!(before["key"], after["key"]);
    assert_eq!(before["image"], after["image"]);
    assert_eq!(before["packages"], after["packages"]);
    if !builds.environments.is_empty() {
        assert_eq!((&before["reused"], &after["reused"]), (&false.into(), &true.into()));
    }
    second
}

fn on_this_machine(files: &[(&str, &str)], options: &[&str]) -> Value {
    twice(&Yard::new(), &Vec::new, files, options)
}

fn in_containers(yard: &EngineYard, files: &[(&str, &str)], options: &[&str]) -> Value {
    let shown = twice(yard, &|| yard.images(), files, options);
    wait_until("the container is gone", || yard.containers().is_empty());
    shown
}

/// Tells whether what was installed, by the record, is what was pinned.
fn assert_pinned(shown: &Value) {
    let packages = shown["preparedEnvironment"]["packages"].to_string().to_lowercase();
    assert!(packages.contains("scikit-learn"), "{packages}");
    assert!(packages.contains("1.7.2"), "{packages}");
}

#[test]
fn a_python_of_the_users_own() {
    let python = reference::user_managed_python();
    on_this_machine(&[], &["--python", python.to_str().unwrap()]);
}

#[test]
fn a_requirements_file() {
    let python = python();
    let options = ["--env", "requirements.txt", "--python", python.to_str().unwrap()];
    let shown = on_this_machine(&[("requirements.txt", REQUIREMENTS)], &options);
    assert_pinned(&shown);
}

#[test]
fn a_conda_file() {
    let shown = on_this_machine(&[("conda.yml", &conda_file())], &["--env", "conda.yml"]);
    assert_pinned(&shown);
}

#[test]
fn requirements_on_top_of_an_image() {
    let Some(yard) = engine::yard() else { return };
    let options = ["--docker", BASE_IMAGE, "--env", "requirements.txt"];
    let shown = in_containers(&yard, &[("requirements.txt", REQUIREMENTS)], &options);
    assert_pinned(&shown);

    // What the build had of this machine is not in what it made.
    let image = shown["preparedEnvironment"]["image"]["id"].as_str().unwrap();
    let history = docker(["history", "--no-trunc", image]);
    for ours in ["ca-certificates", "SSL_CERT_FILE", "PIP_"] {
        assert!(!history.contains(ours), "{ours}: {history}");
    }
    let look =
        "find / -xdev ( -name pip.conf -o -newer /etc/hostname -name '*.crt' ) 2>/dev/null; env";
    let found = docker([
        "run",
        "--rm",
        "--entrypoint",
        "sh",
        image,
        "-c",
        &look.replace("( ", "\\( ").replace(" )", " \\)"),
    ]);
    assert!(!found.contains("pip.conf") && !found.contains(".crt"), "{found}");
}

#[test]
fn a_conda_file_on_top_of_an_image() {
    let Some(yard) = engine::yard() else { return };
    let options = ["--docker", BASE_IMAGE, "--env", "conda.yml"];
    let shown = in_containers(&yard, &[("conda.yml", &conda_file())], &options);
    assert_pinned(&shown);
}

#[test]
fn a_dockerfile_of_the_users_own() {
    let Some(yard) = engine::yard() else { return };
    let dockerfile = format!(
        "FROM {BASE_IMAGE}\nCOPY requirements.txt ca.pem /tmp/\n\
         RUN PIP_CERT=/tmp/ca.pem pip install --break-system-packages --no-cache-dir --no-compile -r /tmp/requirements.txt\n"
    );
    let bundle = std::env::var("SSL_CERT_FILE")
        .unwrap_or_else(|_| "/etc/ssl/certs/ca-certificates.crt".into());
    let bundle = fs::read_to_string(bundle).unwrap();
    let files = [
        ("Dockerfile", dockerfile.as_str()),
        ("requirements.txt", REQUIREMENTS),
        ("ca.pem", &bundle),
        (".dockerignore", "*\n!ca.pem\n!requirements.txt\n"),
    ];
    let shown = in_containers(&yard, &files, &["--env", "Dockerfile"]);

    // What the build does not see does not decide it.
    let computed = Results::of(&yard, shown["runId"].as_str().unwrap());
    let key = &shown["preparedEnvironment"]["key"];
    let source = reference::project(&yard, &[("notes.txt", "not in the context")]);
    let again = run(&yard, &source, &["--env", "Dockerfile"], &computed);
    assert_eq!(&again["preparedEnvironment"]["key"], key);
    assert_eq!(again["preparedEnvironment"]["reused"], true);
}

#[test]
fn a_ready_image_of_a_registry_with_a_password() {
    let Some(yard) = engine::yard() else { return };
    let registry = Registry::start();
    let builder = engine::yard().unwrap();
    let source = reference::project(&builder, &[("requirements.txt", REQUIREMENTS)]);
    let built = builder.run(&source, &["--docker", BASE_IMAGE, "--env", "requirements.txt"]);
    assert_eq!(built.status.code(), Some(0), "{}", text(&built.stderr));
    let image = builder.show("@")["preparedEnvironment"]["image"].clone();
    let reference = registry.push(image["id"].as_str().unwrap(), "team/diabetes:1");
    drop(builder);
    let runconfig = format!(
        "script: train.py\ntarget: local\nframework: Python\n\
         environment:\n  python: {{userManagedDependencies: true}}\n  docker:\n    \
         enabled: true\n    baseImage: team/diabetes:1\n    \
         baseImageRegistry: {{address: '{}', username: {USER}, password: '{PASSWORD}'}}\n\
         docker: {{useDocker: true}}\n",
        registry.address()
    );

    let files = [(".azureml/local.runconfig", runconfig.as_str())];
    let shown = in_containers(&yard, &files, &["-c", ".azureml/local.runconfig"]);

    assert_eq!(shown["preparedEnvironment"]["key"], Value::Null);
    let digest = shown["preparedEnvironment"]["image"]["digest"].as_str().unwrap_or_default();
    assert!(
        digest.starts_with(&format!("{}/team/diabetes@sha256:", registry.address())),
        "{shown:#}"
    );
    docker(["rmi", "-f", &reference]);
}

#[test]
fn a_build_context_is_kept_until_it_was_sent() {
    let Some(yard) = engine::yard() else { return };
    let dockerfile =
        format!("FROM {BASE_IMAGE}\nLABEL trainyard.home={}\nCOPY note /\n", yard.home().display());
    let note = yard.home().display().to_string();
    let source = yard.project("context", &[("Dockerfile", &dockerfile), ("note", &note)]);
    let command = |arguments: &[&str]| {
        let mut command = yard.trainyard();
        command.args(arguments).current_dir(&source);
        command
    };
    let explained = command(&["env", "explain", "Dockerfile", "--json"]).output().unwrap();
    let explained: Value = serde_json::from_slice(&explained.stdout).unwrap();
    let key =
        explained["first"]["key"].as_str().unwrap_or_else(|| panic!("{explained:#}")).to_owned();
    // The build waits for its turn, with all that it needs taken.
    let lock = yard.home().join("environments").join(format!("{key}.lock"));
    let lock = fs::File::options().create(true).append(true).open(lock).unwrap();
    lock.lock().unwrap();
    let mut build =
        command(&["env", "build", "Dockerfile"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(build.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("Environment") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended");
    }

    yard.ok(["gc", "--grace", "0"]);
    drop(lock);

    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(build.wait().unwrap().success(), "{rest}");
    let freed = yard.json(["gc", "--grace", "0", "--json"]);
    assert_eq!(freed["snapshotsRemoved"], 1, "nobody needs it any more: {freed:#}");
}
