//! Runs in containers of the real engine, and what a test wants to know about those.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;

use runner::container::{
    ContainerLaunch, ContainerOptions, ContainerPolicy, ContainerRequest, plan,
};
use runner::exit_record::ExitRecord;
use runner::run_configuration::{Network, Resources};

use crate::support::TestRun;

/// A Debian with Python.
pub(crate) const BASE_IMAGE: &str = "trainyard-test-base:2";

/// A run of a Python script in a container.
pub(crate) struct ContainerRun {
    run: TestRun,
    host: Option<String>,
}

/// Tells whether an engine answers and has the base image; says so loudly when not.
fn engine_is_here() -> bool {
    let here = image_id(None, BASE_IMAGE).is_some();
    if !here {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "CI needs an engine with {BASE_IMAGE}"
        );
        eprintln!("\n*** NOT TESTED: no Docker engine with {BASE_IMAGE} ***\n");
    }
    here
}

/// Calls `docker` and returns what it says, `None` when it fails.
pub(crate) fn docker(host: Option<&str>, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("docker");
    if let Some(host) = host {
        command.args(["-H", host]);
    }
    let answer = command.args(arguments).output().ok()?;
    answer.status.success().then(|| String::from_utf8(answer.stdout).unwrap().trim().to_owned())
}

fn image_id(host: Option<&str>, image: &str) -> Option<String> {
    docker(host, &["image", "inspect", "--format", "{{.Id}}", image])
}

impl ContainerRun {
    /// Prepares a run of `script` in the base image; `None` where there is no engine.
    pub(crate) fn of(script: &str) -> Option<Self> {
        Self::with(script, &[])
    }

    /// The same with arguments as for `docker run`.
    pub(crate) fn with(script: &str, arguments: &[&str]) -> Option<Self> {
        engine_is_here().then(|| Self::on(None, BASE_IMAGE, script, arguments))
    }

    /// Prepares a run in `image` of the engine at `host`.
    pub(crate) fn on(host: Option<&str>, image: &str, script: &str, arguments: &[&str]) -> Self {
        let mut run = TestRun::of(script);
        let options = ContainerOptions {
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            shm_bytes: None,
        };
        let request = ContainerRequest {
            options: &options,
            resources: &Resources::default(),
            network: Network::None,
            policy: &ContainerPolicy::default(),
        };
        let prepared = images::environment::PreparedImage {
            id: image_id(host, image).unwrap(),
            reference: image.to_owned(),
            digest: None,
            base_digest: None,
            platform: "linux/amd64".to_owned(),
            search_path: None,
        };
        let me = (nix::unistd::geteuid(), nix::unistd::getegid());
        let user = format!("{}:{}", me.0, me.1);
        let home = run.base().join("home").display().to_string();
        let container = plan(&request).unwrap();
        let container = container.launch(&run.launch.run_id, &prepared, &user, &home, vec![]);
        run.launch.container = Some(container);
        run.launch.environment.clear();
        run.launch.program = ["python3", "-u", "script.py"].map(str::to_owned).to_vec();
        if let Some(host) = host {
            run.target = run.target.clone().with_engine([("DOCKER_HOST".into(), host.into())]);
        }
        Self { run, host: host.map(str::to_owned) }
    }

    pub(crate) fn container(&mut self) -> &mut ContainerLaunch {
        self.run.launch.container.as_mut().unwrap()
    }

    /// Has `script`'s lines carried out by the shell of the image in place of Python.
    pub(crate) fn shell(&mut self, script: &str) {
        self.launch.program = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    }

    /// Waits for its end, at which nothing of it may be left anywhere.
    pub(crate) fn end(&self) -> ExitRecord {
        let record = self.run.end();
        self.nothing_is_left();
        record
    }

    /// Starts it and waits for its end.
    pub(crate) fn carried_out(self) -> (Self, ExitRecord) {
        self.start();
        let record = self.end();
        (self, record)
    }

    pub(crate) fn nothing_is_left(&self) {
        let label = format!("label=trainyard.run={}", self.launch.run_id);
        let left = docker(self.host.as_deref(), &["ps", "-aq", "--filter", &label]).unwrap();
        assert_eq!(left, "", "a container was left");
        assert!(!self.directory.io().exists());
        assert!(!self.directory.temporary().exists());
        assert!(!self.secrets().exists());
    }

    /// Returns where its secrets are in memory.
    pub(crate) fn secrets(&self) -> PathBuf {
        let id = self.launch.run_id.as_str();
        let name = format!("trainyard-{}", &id[id.len().saturating_sub(64)..]);
        Path::new("/dev/shm").join(name)
    }

    /// Returns what `docker inspect` says of it, as it runs.
    pub(crate) fn inspected(&self) -> String {
        let name = &self.launch.container.as_ref().unwrap().name;
        docker(self.host.as_deref(), &["inspect", name]).unwrap()
    }
}

impl Deref for ContainerRun {
    type Target = TestRun;

    fn deref(&self) -> &TestRun {
        &self.run
    }
}

impl DerefMut for ContainerRun {
    fn deref_mut(&mut self) -> &mut TestRun {
        &mut self.run
    }
}

impl Drop for ContainerRun {
    fn drop(&mut self) {
        // A test that failed half-way leaves nothing either.
        if let Some(container) = &self.run.launch.container {
            docker(self.host.as_deref(), &["rm", "-f", &container.name]);
        }
    }
}
