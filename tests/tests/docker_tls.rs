//! Engines behind TLS: runs and builds work, by variables and by `docker context`; whoever is not
//! trusted is told so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tests::engine::{BASE_IMAGE, docker};
use tests::own_engine::{OwnEngine, TLS_HOST};
use tests::{Yard, certificates, text};

/// A build that is given a secret, for which it has a connection of its own.
const DOCKERFILE: &str = "
RUN --mount=type=secret,id=ca-bundle,required cp /run/secrets/ca-bundle /bundle
";

struct Secured {
    engine: OwnEngine,
    yard: Yard,
    source: PathBuf,
    files: tempfile::TempDir,
}

impl Secured {
    fn start() -> Option<Self> {
        let files = certificates::make("127.0.0.1");
        let engine = OwnEngine::tls(files.path())?;
        let yard = Yard::new();
        yard.configure(&format!("[build]\nca-bundle = {:?}\n", files.path().join("ca.pem")));
        let dockerfile = format!("FROM {BASE_IMAGE}\n{DOCKERFILE}");
        let script = "import os; print(os.path.exists('/bundle'))";
        let source = yard.project("source", &[("train.py", script), ("Dockerfile", &dockerfile)]);
        Some(Self { engine, yard, source, files })
    }

    /// Runs `train.py` with `options`, with an agent of its own.
    fn run(&self, variables: &[(&str, &str)], options: &[&str]) -> Output {
        let mut command = self.trainyard(variables);
        command.arg("run").args(options).args(["--network", "none", "--source"]);
        let output = command.arg(&self.source).arg("train.py").output().unwrap();
        assert!(self.trainyard(&[]).args(["agent", "stop"]).status().unwrap().success());
        output
    }

    fn trainyard(&self, variables: &[(&str, &str)]) -> Command {
        let mut command = self.engine.trainyard(&self.yard);
        command.envs(variables.iter().copied());
        command
    }

    #[track_caller]
    fn printed(&self, variables: &[(&str, &str)], options: &[&str]) -> String {
        let output = self.run(variables, options);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }
}

#[test]
fn runs_and_builds_work_behind_tls() {
    let Some(secured) = Secured::start() else { return };
    let image = ["--docker", BASE_IMAGE];
    let files = secured.files.path().to_str().unwrap();
    let verified = [("DOCKER_HOST", TLS_HOST), ("DOCKER_TLS_VERIFY", "1")];
    let trusted = [&verified[..], &[("DOCKER_CERT_PATH", files)]].concat();

    assert_eq!(secured.printed(&trusted, &image), "False\n");
    assert_eq!(secured.printed(&trusted, &["--env", "Dockerfile"]), "True\n");
    is_refused(&secured, &verified);

    // The same by a context that `docker` made, which is current.
    let config = secured.yard.user_home().join(".docker");
    create_context(&config, secured.files.path());
    assert_eq!(secured.printed(&[], &["--env", "Dockerfile"]), "True\n");
    let doctor = secured.trainyard(&[]).arg("doctor").output().unwrap();
    let doctor = text(&doctor.stdout);
    let named = format!("at {TLS_HOST}, named by docker context \"lab\" of {}", config.display());
    assert!(doctor.contains(&named), "{doctor}");

    let host = secured.engine.host();
    let left = docker(["-H", &host, "ps", "-aq", "--filter", "label=trainyard.run"]);
    assert_eq!(left, "", "a run is over when its container is gone");
}

/// Whoever has other certificates is refused by both sides, and whoever has none by the first.
fn is_refused(secured: &Secured, verified: &[(&str, &str)]) {
    let others = certificates::make("127.0.0.1");
    let said = |directory: &Path| {
        let path = ("DOCKER_CERT_PATH", directory.to_str().unwrap());
        let output = secured.run(&[verified, &[path][..]].concat(), &["--docker", BASE_IMAGE]);
        assert_eq!(output.status.code(), Some(125), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
        text(&output.stderr)
    };
    let untrusted = format!("there is no TLS with the container engine at {TLS_HOST}");
    let engine = said(others.path());
    assert!(engine.contains(&untrusted) && engine.contains("ca.pem has to be"), "{engine}");
    fs::copy(secured.files.path().join("ca.pem"), others.path().join("ca.pem")).unwrap();
    let client = said(others.path());
    assert!(client.contains(&untrusted), "{client}");
    fs::remove_file(others.path().join("key.pem")).unwrap();
    let missing = said(others.path());
    assert!(missing.contains("key.pem") && missing.contains("DOCKER_CERT_PATH"), "{missing}");

    let output = secured.run(&verified[..1], &["--docker", BASE_IMAGE]);
    let plain = text(&output.stderr);
    assert!(plain.contains("DOCKER_TLS_VERIFY"), "{plain}");
}

fn create_context(config: &Path, files: &Path) {
    let file = |name: &str| files.join(name).display().to_string();
    let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(file);
    let engine = format!("host={TLS_HOST},ca={ca},cert={cert},key={key}");
    for arguments in [&["create", "lab", "--docker", &engine][..], &["use", "lab"]] {
        let mut command = Command::new("docker");
        command.env("DOCKER_CONFIG", config).env_remove("DOCKER_HOST");
        let output = command.arg("context").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}
