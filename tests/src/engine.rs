//! The Docker engine for tests: whether it is there, yards for runs in containers, and what is
//! left in the engine when they are over.

use std::ffi::OsStr;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::{Yard, text};

/// The image that containers are started from: a Debian or Ubuntu with Python.
pub const BASE_IMAGE: &str = "trainyard-test-base:2";

/// Tells whether an engine answers and has the base image; says so loudly when not.
///
/// # Panics
///
/// Under continuous integration (`CI=true`), when it is not: nothing is left out there.
#[must_use]
pub fn docker_is_here() -> bool {
    let image = Command::new("docker").args(["image", "inspect", BASE_IMAGE]).output();
    let here = image.is_ok_and(|output| output.status.success());
    if !here {
        let complaint = format!("no Docker engine with {BASE_IMAGE}: tests/run sees to both");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{complaint}");
        eprintln!("\n*** LEFT OUT, NOTHING WAS TESTED: {complaint} ***\n");
    }
    here
}

/// A yard whose runs and builds use the engine; what they leave in it goes with the yard.
pub struct EngineYard {
    yard: Yard,
    _traces: Traces,
}

/// Makes one, or `None` where there is no engine.
#[must_use]
pub fn yard() -> Option<EngineYard> {
    docker_is_here().then(|| {
        let yard = Yard::new();
        yard.configure(&build_settings());
        let _traces = Traces { home: yard.home() };
        EngineYard { yard, _traces }
    })
}

/// The configuration that lets builds in containers trust what this machine trusts.
#[must_use]
pub fn build_settings() -> String {
    let bundle = std::env::var("SSL_CERT_FILE").ok().filter(|path| Path::new(path).is_file());
    bundle.map_or_else(String::new, |path| format!("[build]\nca-bundle = {path:?}\n"))
}

impl Deref for EngineYard {
    type Target = Yard;

    fn deref(&self) -> &Yard {
        &self.yard
    }
}

impl EngineYard {
    /// Runs `train.py` of `source` in the foreground; `options` come before it.
    pub fn run(&self, source: &Path, options: &[&str]) -> Output {
        self.trainyard()
            .args(["run", "--source"])
            .arg(source)
            .args(options)
            .arg("train.py")
            .output()
            .unwrap()
    }

    /// Runs `script` as `train.py` in a container of the base image.
    pub fn in_container(&self, script: &str, options: &[&str]) -> Output {
        let options = [&["--docker", BASE_IMAGE], options].concat();
        self.run(&self.script(script), &options)
    }

    /// Submits `script` to run in a container of the base image, detached; returns the run id.
    #[track_caller]
    pub fn submit_to_container(&self, script: &str, options: &[&str]) -> String {
        let source = self.script(script);
        let mut arguments = vec!["run", "-d", "--json", "--docker", BASE_IMAGE, "--source"];
        arguments.push(source.to_str().unwrap());
        arguments.extend(options);
        arguments.push("train.py");
        self.json(arguments)["runId"].as_str().unwrap().to_owned()
    }

    /// Returns the ids of the containers, running or not, of this yard's runs.
    #[must_use]
    pub fn containers(&self) -> Vec<String> {
        let home = label(&self.home());
        ids(&["ps", "-aq", "--no-trunc", "--filter", &home, "--filter", "label=trainyard.run"])
    }

    /// Returns the ids of all images that this yard made.
    #[must_use]
    pub fn images(&self) -> Vec<String> {
        ids(&["images", "-q", "--no-trunc", "--filter", &label(&self.home())])
    }
}

/// Removes what a yard made in the engine.
struct Traces {
    home: PathBuf,
}

impl Drop for Traces {
    fn drop(&mut self) {
        let label = label(&self.home);
        let containers = ids(&["ps", "-aq", "--filter", &label]);
        if !containers.is_empty() {
            eprintln!("left over, removed: containers {containers:?}");
            drop(Command::new("docker").args(["rm", "-f"]).args(containers).output());
        }
        let images = ids(&["images", "-q", "--filter", &label]);
        if !images.is_empty() {
            drop(Command::new("docker").args(["rmi", "-f"]).args(images).output());
        }
    }
}

fn label(home: &Path) -> String {
    format!("label=trainyard.home={}", home.display())
}

fn ids(arguments: &[&str]) -> Vec<String> {
    let output = Command::new("docker").args(arguments).output().unwrap();
    text(&output.stdout).split_whitespace().map(str::to_owned).collect()
}

/// Runs the Docker command line, which must succeed, and returns its standard output.
#[track_caller]
pub fn docker<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// What there is in the engine, and of this machine's files, that runs could leave behind.
#[derive(Debug, PartialEq, Eq)]
pub struct Belongings {
    /// Ids of containers of the yard.
    pub containers: Vec<String>,
    /// Ids of images of the yard.
    pub images: Vec<String>,
    /// Names of volumes, whoever made them.
    pub volumes: Vec<String>,
    /// Names of networks, whoever made them.
    pub networks: Vec<String>,
    /// Directories of secrets in memory that the yard's runs use.
    pub secrets: Vec<PathBuf>,
    /// What is in the directory for temporary files and says it is ours.
    pub temporary: Vec<PathBuf>,
}

impl Belongings {
    /// Looks.
    #[must_use]
    pub fn of(yard: &EngineYard) -> Self {
        Self {
            containers: yard.containers(),
            images: yard.images(),
            volumes: ids(&["volume", "ls", "-q"]),
            networks: ids(&["network", "ls", "--format", "{{.Name}}"]),
            secrets: named(Path::new("/dev/shm"), "trainyard"),
            temporary: named(&std::env::temp_dir(), "trainyard"),
        }
    }
}

fn named(directory: &Path, name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().contains(name))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}
