//! A registry with a password on this machine, gone when dropped.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::engine::docker;
use crate::{text, wait_until};

/// The registry's one user.
pub const USER: &str = "engineer";

/// That user's password.
pub const PASSWORD: &str = "pass:w0rd with spaces";

/// A registry that only [`USER`] may use.
pub struct Registry {
    server: Child,
    address: String,
    directory: TempDir,
}

impl Registry {
    /// Starts one on a free port of the loopback interface, where engines need no certificate.
    ///
    /// # Panics
    ///
    /// When `docker-registry` or `htpasswd` is missing or does not start.
    #[must_use]
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("registry").tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let users = Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]).output().unwrap();
        fs::write(path("users"), users.stdout).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let configuration = format!(
            "version: 0.1\nlog: {{level: warn}}\n\
             storage: {{filesystem: {{rootdirectory: {:?}}}}}\n\
             http: {{addr: \"{free}\"}}\n\
             auth: {{htpasswd: {{realm: tests, path: {:?}}}}}\n",
            path("data"),
            path("users"),
        );
        fs::write(path("registry.yml"), configuration).unwrap();
        let log = fs::File::create(path("log")).unwrap();
        let server = Command::new("docker-registry")
            .arg("serve")
            .arg(path("registry.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("docker-registry is installed: tests/run sees to that");
        wait_until("the registry answers", || TcpStream::connect(free).is_ok());
        Self { server, address: free.to_string(), directory }
    }

    /// Returns its address, as `127.0.0.1:34567`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Gives the registry the engine's image `image` as `name` (`team/image:1`), and returns what it
    /// is called there. The engine itself forgets that name.
    #[track_caller]
    pub fn push(&self, image: &str, name: &str) -> String {
        let reference = format!("{}/{name}", self.address);
        let store = self.directory.path().join("docker-config");
        self.log_in(&store);
        docker(["tag", image, &reference]);
        docker(["--config", store.to_str().unwrap(), "push", "-q", &reference]);
        docker(["rmi", &reference]);
        reference
    }

    /// Logs [`USER`] in, as `docker login` does, with `store` in place of `~/.docker`.
    pub fn log_in(&self, store: &std::path::Path) {
        use std::io::Write as _;
        let mut login = Command::new("docker")
            .arg("--config")
            .arg(store)
            .args(["login", "-u", USER, "--password-stdin", &self.address])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        login.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
        let output = login.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}
