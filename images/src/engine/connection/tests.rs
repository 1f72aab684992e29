use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Instant;

use super::*;
use crate::engine::Engine;
use crate::host::HostVariables;
use crate::testing::engine::engine;

const VERSION: &str = r#"{"Version": "1", "ApiVersion": "1.41", "Os": "linux", "Arch": "amd64"}"#;

/// Something that answers every request with the same status and text. Ends with the process.
fn fake(directory: &Path, name: &str, status: &'static str, text: &'static str) -> Address {
    let path = directory.join(name);
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = BufReader::new(stream.try_clone().unwrap());
            request.lines().take_while(|line| line.as_ref().is_ok_and(|l| !l.is_empty())).count();
            let length = text.len();
            // Whoever asked may have gone.
            let _sent = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
            );
        }
    });
    Address::Unix(path)
}

fn try_open(first: &Address, others: &[Address], limit: u64) -> Result<EngineFacts, EngineError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let opened = runtime.block_on(open(first, others, Duration::from_millis(limit)));
    opened.map(|(_, _, facts)| facts)
}

fn error(first: &Address) -> EngineError {
    let error = try_open(first, &[], 5000).unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    error
}

#[test]
fn one_that_answers_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let good = fake(directory.path(), "good", "200 OK", VERSION);
    assert_eq!(try_open(&good, &[], 5000).unwrap().address, good.to_string());
}

#[test]
fn the_next_place_is_tried_where_there_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let good = fake(directory.path(), "good", "200 OK", VERSION);
    let missing = Address::Unix(directory.path().join("missing"));
    let stale = directory.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    let stale = Address::Unix(stale);
    let found = try_open(&missing, &[stale.clone(), good.clone()], 5000).unwrap();
    assert_eq!(found.address, good.to_string());

    for none in [&missing, &stale, &Address::Unix(directory.path().join("good/x"))] {
        assert!(matches!(error(none), EngineError::NotFound { .. }), "{none}");
    }
    let all = try_open(&missing, &[stale], 5000).unwrap_err();
    assert_eq!(
        all.to_string(),
        format!("there is no container engine: nothing answers at {missing}")
    );
}

#[test]
fn one_that_is_not_for_us_is_said_rather_than_one_that_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let closed =
        fake(directory.path(), "closed", "403 Forbidden", r#"{"message": "denied by plugin"}"#);
    let missing = Address::Unix(directory.path().join("missing"));
    let error = try_open(&closed, &[missing], 5000).unwrap_err();
    assert!(matches!(error, EngineError::NotPermitted { .. }), "{error:?}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("newgrp docker") && hint.contains("whatever root can"), "{hint}");
}

#[test]
fn a_socket_of_somebody_else_is_not_permitted() {
    let directory = tempfile::tempdir().unwrap();
    let socket = fake(directory.path(), "socket", "200 OK", VERSION);
    let path = PathBuf::from(socket.to_string().strip_prefix("unix://").unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if rustix::process::geteuid().is_root() {
        // Nothing is closed to root; what others get is the same as this.
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(matches!(socket_error("s", denied), EngineError::NotPermitted { .. }));
    } else {
        assert!(matches!(error(&socket), EngineError::NotPermitted { .. }));
    }
}

#[test]
fn what_is_no_engine_is_said_to_be_none() {
    let directory = tempfile::tempdir().unwrap();
    for (name, status, text) in [
        ("page", "200 OK", "<html>"),
        ("object", "200 OK", "{}"),
        ("missing", "404 Not Found", "page not found"),
    ] {
        let address = fake(directory.path(), name, status, text);
        let error = error(&address);
        assert!(matches!(error, EngineError::Strange { .. }), "{name}: {error:?}");
    }
}

#[test]
fn podman_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let podman = fake(
        directory.path(),
        "podman",
        "200 OK",
        r#"{"ApiVersion": "1.41", "Components": [{"Name": "Podman Engine", "Version": "4.3.1"}]}"#,
    );
    let missing = Address::Unix(directory.path().join("missing"));
    let error = try_open(&missing, &[podman], 5000).unwrap_err();
    assert!(error.to_string().contains("is Podman 4.3.1, which cannot be used"), "{error}");
    assert!(error.hint().unwrap().contains("rootless"));
}

#[test]
fn one_that_hangs_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hangs");
    let _listener = UnixListener::bind(&path).unwrap();
    let started = Instant::now();
    let error = try_open(&Address::Unix(path), &[], 300).unwrap_err();
    let EngineError::Gone { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "it said nothing within 0.3 s");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn other_machines_are_reached_by_tcp_alone() {
    let of = |variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Engine::connect(&HostVariables::new(variables)).unwrap_err()
    };
    let error = of(&[("DOCKER_HOST", "ssh://user@vm")]);
    assert!(matches!(error, EngineError::UnknownAddress { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("ssh -L"));

    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = format!("tcp://127.0.0.1:{port}");
    let error = of(&[("DOCKER_HOST", &host)]);
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");

    let tls =
        [("DOCKER_HOST", host.as_str()), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/no")];
    let error = of(&tls);
    assert_eq!(
        error.to_string(),
        "cannot use \"/no/key.pem\", which TLS with the container engine needs"
    );
    assert!(error.hint().unwrap().contains("DOCKER_CERT_PATH"));
}

#[test]
fn the_engine_of_this_machine_says_what_it_is() {
    let Some(engine) = engine() else { return };
    let facts = engine.facts();
    assert!(facts.platform.starts_with("linux/"), "{facts:?}");
    assert!(!facts.version.is_empty() && [1, 2].contains(&facts.cgroup_version), "{facts:?}");
}

#[test]
fn connecting_is_quick() {
    let Some(engine) = engine() else { return };
    drop(engine);
    let variables = HostVariables::new(std::env::vars_os());
    // A few milliseconds; the best of several and ten times that, for this machine may be busy.
    let times: BTreeSet<Duration> = (0..10)
        .map(|_| {
            let started = Instant::now();
            Engine::connect(&variables).unwrap();
            started.elapsed()
        })
        .collect();
    assert!(times.first().unwrap() < &Duration::from_millis(100), "{times:?}");
}

#[test]
fn logins_are_written_in_the_alphabet_that_engines_read() {
    let bytes: Vec<u8> = b"ab+/+/==".iter().map(|&byte| url_safe(byte)).collect();
    assert_eq!(bytes, b"ab-_-_==");
}
