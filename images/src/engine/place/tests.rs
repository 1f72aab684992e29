use std::fs;
use std::process::Command;

use super::*;

fn variables(set: &[(&str, &str)]) -> HostVariables {
    HostVariables::new(set.iter().map(|(name, value)| (name.into(), value.into())))
}

fn found(set: &[(&str, &str)]) -> Vec<String> {
    let EnginePlace { first, others, .. } = EnginePlace::find(&variables(set)).unwrap();
    std::iter::once(&first).chain(&others).map(Address::to_string).collect()
}

#[test]
fn the_usual_socket_comes_first_then_those_of_the_user() {
    assert_eq!(found(&[]), ["unix:///var/run/docker.sock"]);
    assert_eq!(
        found(&[("XDG_RUNTIME_DIR", "/run/user/7")]),
        [
            "unix:///var/run/docker.sock",
            "unix:///run/user/7/docker.sock",
            "unix:///run/user/7/podman/podman.sock",
        ]
    );
    assert_eq!(found(&[("XDG_RUNTIME_DIR", "here")]), ["unix:///var/run/docker.sock"]);
}

#[test]
fn what_is_named_is_meant() {
    let runtime = ("XDG_RUNTIME_DIR", "/run/user/7");
    assert_eq!(found(&[("DOCKER_HOST", "unix:///s"), runtime]), ["unix:///s"]);
    assert_eq!(found(&[("DOCKER_HOST", "tcp://m:2375/"), runtime]), ["tcp://m:2375"]);
    assert_eq!(found(&[("DOCKER_HOST", "ssh://m"), runtime]), ["ssh://m"]);
    assert_eq!(found(&[("DOCKER_HOST", "")]), ["unix:///var/run/docker.sock"]);
}

#[test]
fn certificates_are_where_docker_has_them() {
    let of = |set: &[(&str, &str)]| {
        let set: Vec<_> = set.iter().chain(&[("DOCKER_HOST", "tcp://m:2376")]).copied().collect();
        match EnginePlace::find(&variables(&set)).unwrap().first {
            Address::Tcp { tls, .. } => tls.map(|files| files.directory().to_owned()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of(&[("DOCKER_CERT_PATH", "/c")]), None);
    let verify = ("DOCKER_TLS_VERIFY", "1");
    assert_eq!(of(&[("DOCKER_CERT_PATH", "/c"), verify]), Some("/c".into()));
    assert_eq!(of(&[("DOCKER_CONFIG", "/d"), verify]), Some("/d".into()));
    assert_eq!(of(&[("HOME", "/h"), verify]), Some("/h/.docker".into()));
}

/// The files of a user's `docker`, made by `docker` itself.
struct Contexts(tempfile::TempDir);

impl Contexts {
    /// `None` where there is no `docker`.
    #[expect(clippy::print_stderr, reason = "a test that proves nothing says so")]
    fn new() -> Option<Self> {
        let here = Command::new("docker").arg("--version").output();
        if !here.is_ok_and(|output| output.status.success()) {
            assert!(std::env::var("CI").is_err(), "there is no docker");
            eprintln!("SKIPPED, nothing was tested: there is no docker");
            return None;
        }
        Some(Self(tempfile::tempdir().unwrap()))
    }

    fn directory(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn docker(&self, arguments: &[&str]) {
        let mut command = Command::new("docker");
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
        command.env("DOCKER_CONFIG", self.0.path()).arg("context").args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn create(&self, name: &str, engine: &str) {
        self.docker(&["create", name, "--docker", engine]);
    }

    fn find(&self, set: &[(&str, &str)]) -> Result<EnginePlace, EngineError> {
        let config = [("DOCKER_CONFIG", self.directory())];
        EnginePlace::find(&variables(&[&config[..], set].concat()))
    }

    fn said(&self, set: &[(&str, &str)]) -> String {
        let error = self.find(set).unwrap_err();
        assert!(error.hint().is_some(), "{error}");
        error.to_string().replace(self.directory(), "DIR")
    }
}

#[test]
fn the_host_wins_then_the_named_context_then_the_current_one() {
    let Some(contexts) = Contexts::new() else { return };
    contexts.create("lab", "host=unix:///lab.sock");
    contexts.create("desk", "host=tcp://127.0.0.1:9");
    let of = |set: &[(&str, &str)]| {
        let place = contexts.find(set).unwrap();
        let origin = place.origin().to_string().replace(contexts.directory(), "DIR");
        format!("{} {origin}", place.first)
    };
    let usual = "unix:///var/run/docker.sock one of the usual sockets";
    assert_eq!(of(&[]), usual);
    contexts.docker(&["use", "lab"]);
    let named = ("DOCKER_CONTEXT", "desk");
    assert_eq!(of(&[]), "unix:///lab.sock named by docker context \"lab\" of DIR/config.json");
    assert_eq!(
        of(&[named]),
        "tcp://127.0.0.1:9 named by docker context \"desk\" of DOCKER_CONTEXT"
    );
    assert_eq!(of(&[("DOCKER_HOST", "unix:///s"), named]), "unix:///s named by DOCKER_HOST");
    assert_eq!(of(&[("DOCKER_CONTEXT", "default")]), usual);
    contexts.docker(&["use", "default"]);
    assert_eq!(of(&[]), usual);
}

#[test]
fn contexts_are_in_the_home_directory_as_a_rule() {
    let Some(contexts) = Contexts::new() else { return };
    contexts.create("lab", "host=unix:///lab.sock");
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(contexts.directory(), home.path().join(".docker")).unwrap();
    let set = [("HOME", home.path().to_str().unwrap()), ("DOCKER_CONTEXT", "lab")];
    assert_eq!(found(&set), ["unix:///lab.sock"]);
}

#[test]
fn a_context_has_its_own_certificates() {
    let Some(contexts) = Contexts::new() else { return };
    let files = tempfile::tempdir().unwrap();
    let [cert, key] =
        ["cert.pem", "key.pem"].map(|name| files.path().join(name).display().to_string());
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-subj", "/CN=engine", "-keyout", &key, "-out", &cert])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    contexts.create("lab", &format!("host=tcp://127.0.0.1:9,ca={cert},cert={cert},key={key}"));
    let place = contexts.find(&[("DOCKER_CONTEXT", "lab")]).unwrap();
    let Address::Tcp { tls: Some(tls), .. } = &place.first else { panic!("{place:?}") };
    assert_eq!(fs::read(tls.key()).unwrap(), fs::read(key).unwrap());
    assert!(tls.client().is_ok());

    // What a supervisor is told stays true, whatever becomes of the context.
    let set = [("DOCKER_CONFIG", contexts.directory()), ("DOCKER_CONTEXT", "lab"), ("A", "1")];
    let pinned = EnginePlace::pinned(&variables(&set));
    assert_eq!((pinned.get("DOCKER_CONTEXT"), pinned.get("A")), (None, Some("1".as_ref())));
    let again = EnginePlace::find(&pinned).unwrap();
    assert_eq!((again.first, again.origin), (place.first, EngineOrigin::Variable));
}

#[test]
fn a_context_without_certificates_is_not_given_those_of_the_variables() {
    let Some(contexts) = Contexts::new() else { return };
    contexts.create("lab", "host=tcp://127.0.0.1:9");
    let set = [
        ("DOCKER_CONFIG", contexts.directory()),
        ("DOCKER_CONTEXT", "lab"),
        ("DOCKER_TLS_VERIFY", "1"),
    ];
    let place = EnginePlace::find(&variables(&set)).unwrap();
    assert_eq!(place.first, Address::Tcp { host: "127.0.0.1:9".to_owned(), tls: None });
    assert_eq!(
        EnginePlace::find(&EnginePlace::pinned(&variables(&set))).unwrap().first,
        place.first
    );
}

#[test]
fn a_context_that_cannot_be_used_is_named_with_the_reason() {
    let Some(contexts) = Contexts::new() else { return };
    let named = |name: &'static str| [("DOCKER_CONTEXT", name)];
    assert_eq!(
        contexts.said(&named("nope")),
        "docker context \"nope\", which DOCKER_CONTEXT names, cannot be used: there is none of \
         that name in DIR/contexts"
    );
    contexts.create("open", "host=tcp://127.0.0.1:9,skip-tls-verify=true");
    assert!(contexts.said(&named("open")).ends_with("which is always checked"));

    contexts.create("far", "host=ssh://user@vm");
    let place = contexts.find(&named("far")).unwrap();
    assert_eq!(place.first, Address::Unknown("ssh://user@vm".to_owned()));
    let pinned = EnginePlace::pinned(&variables(&[
        ("DOCKER_CONFIG", contexts.directory()),
        ("DOCKER_CONTEXT", "far"),
    ]));
    assert_eq!(pinned.get("DOCKER_HOST"), Some("ssh://user@vm".as_ref()));

    let meta = contexts.0.path().join("contexts/meta");
    let broken = meta.join(snapshots::digest::Digest::of(b"broken").to_string());
    fs::create_dir(&broken).unwrap();
    for (text, why) in [("{", "is not understood"), ("{\"Endpoints\": {}}", "no Docker engine")] {
        fs::write(broken.join("meta.json"), text).unwrap();
        let said = contexts.said(&named("broken"));
        assert!(said.contains(why), "{said}");
    }
    // `docker` warns of such a file and goes on without.
    fs::write(contexts.0.path().join("config.json"), "{").unwrap();
    assert_eq!(contexts.find(&[]).unwrap().origin(), &EngineOrigin::Usual);
}
