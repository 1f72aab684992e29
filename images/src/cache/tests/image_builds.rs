//! How images are built: afresh, from what is put on top, and to no end.

use std::process::{Child, Stdio};

use super::images::{Images, docker, open};
use super::*;
use crate::engine::ShortRun;
use crate::environment::{DockerBase, DockerEnvironment, DockerPackages, UvProject};
use crate::testing::engine::unique;
use crate::testing::engine::{BASE, shell};

fn ready(reference: &str) -> DockerBase {
    DockerBase::Image { reference: reference.to_owned() }
}

fn with(packages: DockerPackages) -> Environment {
    let Environment::Docker { docker } = docker(ready(BASE)) else { panic!("it is one") };
    let docker = DockerEnvironment { packages: Some(packages), ..*docker };
    Environment::Docker { docker: Box::new(docker) }
}

/// What a line of shell writes in the image of `prepared`.
fn said(images: &Images, prepared: &PreparedEnvironment, line: &str) -> String {
    let mut spec = shell(&images.engine, line);
    spec.image.clone_from(&prepared.image.as_ref().unwrap().id);
    let short = ShortRun { home: "/none", purpose: "test", limit: Duration::from_secs(60) };
    let (code, stdout, stderr) = images.engine.run_container(&spec, short).unwrap();
    assert_eq!((code, String::from_utf8(stderr).unwrap()), (0, String::new()));
    String::from_utf8(stdout).unwrap()
}

#[test]
fn a_fresh_image_uses_nothing_of_earlier_builds_and_an_ordinary_one_does() {
    let Some(images) = Images::new() else { return };
    // The engine remembers what any test before had it do.
    let environment = images.dockerfile(&format!("RUN echo {} > /it\n", unique("it")));
    let ran = |log: Vec<u8>| {
        let log = String::from_utf8(log).unwrap();
        let line = log.lines().find(|line| line.starts_with("Step ") && line.contains("RUN"));
        !line.unwrap_or_else(|| panic!("{log}")).ends_with("(cached)")
    };

    let (first, log) = images.prepare(&environment, false);
    assert!(ran(log));
    images.cache.remove(&first.key.unwrap().to_string()).unwrap();
    let (again, log) = images.prepare(&environment, false);
    assert!(!again.reused && !ran(log), "what the engine remembers is as good");
    for _ in 0..2 {
        let (fresh, log) = images.prepare(&environment, true);
        assert!(!fresh.reused && ran(log));
    }
}

#[test]
fn an_image_that_has_only_python3_is_started_with_that() {
    let Some(images) = Images::new() else { return };
    let (built, _) =
        images.prepare(&images.dockerfile("USER root\nRUN rm -f $(which -a python)\n"), false);
    assert_eq!(built.interpreter, Path::new("python3"));
    let named = docker(ready(&built.image.as_ref().unwrap().reference));
    let before = images.cache.find(&named).unwrap().unwrap();
    assert_eq!(before.interpreter, Path::new("python"), "nothing is started to find that out");

    let (prepared, _) = images.prepare(&named, false);

    assert_eq!(prepared.key, None);
    assert_eq!(prepared.interpreter, Path::new("python3"));
    assert_eq!(prepared.python_version, built.python_version);
    assert_eq!(images.cache.find(&named).unwrap(), Some(prepared.clone()));
    assert!(said(&images, &prepared, "python3 --version").starts_with("Python 3."));
}

#[test]
fn an_image_without_python_can_be_used_for_other_things() {
    let Some(images) = Images::new() else { return };
    let line = "USER root\nRUN rm -f $(which -a python python3) /usr/bin/python3*\n";
    let (built, log) = images.prepare(&images.dockerfile(line), false);
    let log = String::from_utf8(log).unwrap();
    assert!(log.contains("the image has no python and no python3 that says what it is"), "{log}");

    let (prepared, _) = images.prepare(&docker(ready(&built.image.unwrap().reference)), false);

    assert_eq!((prepared.interpreter.to_str(), prepared.python_version), (Some("python"), None));
}

#[cfg(feature = "conda")]
#[test]
fn conda_packages_are_put_on_an_image() {
    let Some(images) = Images::new() else { return };
    let channel = crate::builder::conda::tests::tiny_channel(&["1.0", "2.0"]);
    let text = "channels: [./channel]\ndependencies: [tinytool, tinydata<2]\n";
    let packages =
        crate::definition::conda_file::of_text("conda.yml", text, channel.path()).unwrap();
    let environment = with(DockerPackages::Conda { packages });

    let (first, _) = images.prepare(&environment, false);

    assert_eq!(said(&images, &first, "/opt/trainyard/env/bin/tinytool"), "1.0\n");
    assert_eq!(first.prefix, Path::new("/opt/trainyard/env"));
    assert_eq!(first.variables["CONDA_PREFIX"], "/opt/trainyard/env");
    let details = images.cache.show(&first.key.unwrap().to_string()).unwrap();
    assert_eq!(details.packages, ["tinydata=1.0=trainyard_0", "tinytool=0.3=trainyard_0"]);
    assert_eq!(first.lock[0].name, "conda.lock");
    assert!(images.prepare(&environment, false).0.reused);
}

#[test]
fn the_dependencies_of_a_project_are_put_on_an_image() {
    let Some(images) = Images::new() else { return };
    let pyproject = "[project]\nname = \"demo\"\nversion = \"1\"\nrequires-python = \">=3.8\"\n\
        dependencies = [\"six==1.16.0\"]\n";
    let project = UvProject { pyproject: pyproject.to_owned(), lock: None };
    let environment = with(DockerPackages::UvProject { project });

    let (first, _) = images.prepare(&environment, false);

    let line = "/opt/trainyard/env/bin/python -c 'import six; print(six.__version__)'";
    assert_eq!(said(&images, &first, line), "1.16.0\n");
    assert_eq!(first.variables["VIRTUAL_ENV"], "/opt/trainyard/env");
    assert_eq!(first.path_entries, [Path::new("/opt/trainyard/env/bin")]);
    let details = images.cache.show(&first.key.unwrap().to_string()).unwrap();
    assert_eq!(details.packages, ["six==1.16.0"]);
    assert!(images.prepare(&environment, false).0.reused);
}

const DIRECTORY: &str = "TRAINYARD_TEST_DIRECTORY";
const TEXT: &str = "TRAINYARD_TEST_DOCKERFILE";

#[test]
#[ignore = "run by another test, in a process of its own"]
fn in_another_process() {
    let cache = open(Path::new(&std::env::var_os(DIRECTORY).unwrap()));
    let environment = docker(own(std::env::var(TEXT).unwrap()));
    prepare(&cache, &environment).0.unwrap();
}

fn own(text: String) -> DockerBase {
    DockerBase::Dockerfile {
        name: "Dockerfile".to_owned(),
        text,
        context: None,
        build_arguments: std::collections::BTreeMap::new(),
        target: None,
    }
}

fn elsewhere(images: &Images, text: &str) -> Child {
    let name = "cache::tests::image_builds::in_another_process";
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--quiet"])
        .env(DIRECTORY, images.directory.path())
        .env(TEXT, text)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether a process of this machine is called so.
fn runs(command: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let wanted = command.replace(' ', "\0") + "\0";
    lines.into_iter().any(|line| line == wanted.as_bytes())
}

#[test]
fn a_killed_builder_leaves_no_image_that_looks_finished() {
    static CANCEL: AtomicBool = AtomicBool::new(false);
    let Some(images) = Images::new() else { return };
    let sleep = format!("sleep 600.{}", std::process::id());
    let text =
        format!("FROM {BASE}\nLABEL test={}\nRUN echo at work; {sleep}; true\n", images.marker);
    let mut builder = elsewhere(&images, &text);
    wait_until("the build is at work", &|| runs(&sleep));

    builder.kill().unwrap();
    builder.wait().unwrap();

    let environment = docker(own(text));
    let home = images.directory.path().to_str().unwrap();
    wait_until("the engine has ended the step", &|| !runs(&sleep));
    assert!(images.cache.list().unwrap().is_empty());
    assert_eq!(images.cache.find(&environment).unwrap(), None);
    assert_eq!(images.engine.our_images(home).unwrap(), []);
    assert_eq!(images.engine.our_containers(home).unwrap(), []);

    // The name that is given to what is built on is taken back, too.
    let key = images.cache.explain(&environment).unwrap().parts.unwrap().key;
    let base = crate::builder::docker::base_name(&key, home);
    images.engine.tag_image(&images.engine.image(BASE).unwrap().unwrap().id, &base).unwrap();

    // The next build clears up, and is itself cancelled, as this step never ends.
    let watched = sleep.clone();
    cancel_when(move || runs(&watched), &CANCEL);
    let result = images.cache.prepare(&environment, &mut |_| {}, &CANCEL);
    assert!(matches!(result, Err(EnvironmentError::Cancelled)), "{result:?}");
    wait_until("the engine has ended the step", &|| !runs(&sleep));
    assert_eq!(images.engine.image(&base).unwrap(), None);
    assert!(images.engine.image(BASE).unwrap().is_some());
    images.cache.sweep().unwrap();
    let left = fs::read_dir(images.cache.directory()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["tools.lock"], "who builds keeps tools from being removed meanwhile");
}
