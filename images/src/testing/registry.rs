//! A registry of this machine that wants a login.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::engine::{BASE, engine, unique};

/// The user it knows.
pub(crate) const USER: &str = "reader";
/// Their password: one that shows whether it is written in the right alphabet.
pub(crate) const PASSWORD: &str = "p?~>p?~>p?~>é";

/// A registry with one image. Ends with this.
pub(crate) struct Registry {
    process: Child,
    /// As `127.0.0.1:5000`.
    pub(crate) address: String,
    /// The image.
    pub(crate) reference: String,
    _directory: tempfile::TempDir,
}

impl Registry {
    /// Starts one; `None` where this machine has no engine, or no registry to start.
    pub(crate) fn start() -> Option<Self> {
        engine()?;
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_str().unwrap();
        let users = Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]).output();
        let Ok(users) = users else {
            assert!(std::env::var("CI").is_err(), "there is no htpasswd");
            return None;
        };
        fs::write(directory.path().join("users"), users.stdout).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\n\
             http: {{addr: '{address}'}}\nauth: {{htpasswd: {{realm: test, path: {root}/users}}}}\n"
        );
        let file = directory.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let registry = Self {
            process,
            reference: format!("{address}/{}:1", unique("image")),
            address,
            _directory: directory,
        };
        registry.wait();
        registry.push();
        Some(registry)
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&self.address).is_err() {
            assert!(Instant::now() < until, "the registry does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A small image: the base would take seconds.
    fn push(&self) {
        let engine = engine().unwrap();
        assert!(engine.image(BASE).unwrap().is_some());
        let mut import = Command::new("docker");
        import.args(["import", "-", &self.reference]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut import = import.spawn().unwrap();
        // Two blocks of zeroes are an empty archive; the file in it makes the image this one's own.
        let archive = Command::new("tar").args(["-c", "-C", "/etc", "hostname"]).output().unwrap();
        import.stdin.take().unwrap().write_all(&archive.stdout).unwrap();
        assert!(import.wait().unwrap().success());
        let config = tempfile::tempdir().unwrap();
        let docker = |arguments: &[&str], input: &str| {
            let mut command = Command::new("docker");
            command.env("DOCKER_CONFIG", config.path()).args(arguments);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success(), "{arguments:?}");
        };
        docker(&["login", "-u", USER, "--password-stdin", &self.address], PASSWORD);
        docker(&["push", &self.reference], "");
        docker(&["rmi", &self.reference], "");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
