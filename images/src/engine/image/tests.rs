use std::fs;
use std::sync::atomic::AtomicBool;

use base64::Engine as _;

use super::*;
use crate::host::HostVariables;
use crate::progress::Progress;
use crate::testing::engine::{BASE, engine, engine_with, unique};
use crate::testing::registry::{PASSWORD, Registry, USER};
use crate::testing::write_executable;

static NEVER: AtomicBool = AtomicBool::new(false);

fn login(registry: &Registry, password: &str) -> RegistryLogin {
    RegistryLogin {
        address: registry.address.clone(),
        username: USER.to_owned(),
        password: password.to_owned().into(),
    }
}

fn pull(
    engine: &Engine,
    reference: &str,
    login: Option<&RegistryLogin>,
) -> (Result<ImageFacts, EngineError>, String) {
    let mut log = Vec::new();
    let pulled =
        engine.pull(reference, None, login, &mut |bytes| log.extend_from_slice(bytes), &NEVER);
    (pulled, String::from_utf8(log).unwrap())
}

/// Somebody with an empty home directory, unless `docker login` wrote this.
fn somebody(directory: &std::path::Path, config: Option<&str>) -> Option<Engine> {
    if let Some(config) = config {
        fs::write(directory.join("config.json"), config).unwrap();
    }
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let own = [("DOCKER_CONFIG", directory.to_str().unwrap()), ("PATH", &path)];
    let own = own.iter().map(|(name, value)| (name.into(), value.into()));
    let host = std::env::var_os("DOCKER_HOST").map(|host| ("DOCKER_HOST".into(), host));
    engine_with(&HostVariables::new(own.chain(host)))
}

#[test]
fn an_image_is_known_by_name_and_id() {
    let Some(engine) = engine() else { return };
    let image = engine.image(BASE).unwrap().unwrap();
    assert!(image.id.starts_with("sha256:") && image.bytes > 1_000_000, "{image:?}");
    assert!(image.tags.contains(&BASE.to_owned()), "{image:?}");
    assert_eq!(image.platform, engine.facts().platform);
    assert_eq!(engine.image(&image.id).unwrap(), Some(image));
    assert_eq!(engine.image(&unique("none")).unwrap(), None);
    for bad in ["", "a b", "../info", "UPPER/case"] {
        let error = engine.image(bad).unwrap_err();
        assert!(matches!(error, EngineError::NoImage { .. }), "{bad}: {error:?}");
    }
}

#[test]
fn names_of_ours_go_and_those_of_others_stay() {
    let Some(engine) = engine() else { return };
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().to_str().unwrap();
    let name = format!("{OUR_NAMES}{}", unique("image"));
    let labels = format!("LABEL {LABEL}=1 {HOME_LABEL}={home}");
    let made = std::process::Command::new("sh")
        .args(["-c", "tar -c -C /etc hostname | docker import -c \"$1\" - \"$2\" >&2", "-"])
        .args([labels.as_str(), &name])
        .status();
    assert!(made.unwrap().success());
    let image = engine.image(&name).unwrap().unwrap();
    assert_eq!(engine.our_images(home).unwrap(), std::slice::from_ref(&image));
    assert_eq!(engine.our_images("/elsewhere").unwrap(), []);

    let other = unique("other");
    engine.tag_image(&image.id, &format!("{other}:1")).unwrap();
    engine.remove_image(&image.id).unwrap();
    let left = engine.image(&image.id).unwrap().unwrap();
    assert_eq!(left.tags, [format!("{other}:1")]);

    engine.remove_image(&format!("{other}:1")).unwrap();
    engine.remove_image(&image.id).unwrap();
    assert_eq!(engine.image(&image.id).unwrap(), None);
}

#[test]
fn an_image_is_pulled_from_a_registry_that_wants_a_login() {
    let Some(registry) = Registry::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let Some(engine) = somebody(directory.path(), None) else { return };
    let reference = registry.reference.as_str();

    for wrong in [None, Some(&login(&registry, "wrong"))] {
        let error = pull(&engine, reference, wrong).0.unwrap_err();
        assert!(matches!(error, EngineError::Denied { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("docker login"));
    }

    let right = login(&registry, PASSWORD);
    let (pulled, log) = pull(&engine, reference, Some(&right));
    let image = pulled.unwrap();
    let digest = image.digests[0].split_once('@').unwrap().1;
    assert_eq!(log.lines().last(), Some(format!("Pulled {reference}: {digest}").as_str()));
    assert!(log.lines().rev().skip(1).all(|line| Progress::parse(line).is_some()), "{log}");

    // Two at once, and by the digest.
    let by_digest = format!("{}@{digest}", reference.rsplit_once(':').unwrap().0);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| pull(&engine, reference, Some(&right)).0.unwrap());
        assert_eq!(pull(&engine, &by_digest, Some(&right)).0.unwrap().id, image.id);
        assert_eq!(other.join().unwrap().id, image.id);
    });

    let missing = format!("{}:none", reference.rsplit_once(':').unwrap().0);
    let error = pull(&engine, &missing, Some(&right)).0.unwrap_err();
    assert!(matches!(error, EngineError::NoImage { .. }), "{error:?}");
    remove(&engine, reference, &by_digest);
}

/// Removes what was pulled by two names.
fn remove(engine: &Engine, reference: &str, by_digest: &str) {
    engine.remove_image(reference).unwrap();
    engine.remove_image(by_digest).unwrap();
    assert_eq!(engine.image(reference).unwrap(), None);
}

#[test]
fn logins_are_taken_from_where_docker_keeps_them() {
    let Some(registry) = Registry::start() else { return };
    let (reference, address) = (registry.reference.as_str(), &registry.address);
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
    for config in [
        format!(r#"{{"auths": {{"{address}": {{"auth": "{auth}"}}}}}}"#),
        format!(r#"{{"credHelpers": {{"{address}": "test"}}}}"#),
        r#"{"credsStore": "test"}"#.to_owned(),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let helper = format!(
            "#!/bin/sh\n[ \"$1\" = get ] && read -r server\n[ \"$server\" = {address} ] && \
             printf '{{\"ServerURL\": \"x\", \"Username\": \"{USER}\", \"Secret\": \"{PASSWORD}\"}}'\n"
        );
        write_executable(&directory.path().join("docker-credential-test"), &helper);
        let Some(engine) = somebody(directory.path(), Some(&config)) else { return };
        let (pulled, log) = pull(&engine, reference, None);
        pulled.unwrap();
        assert!(!log.contains(PASSWORD), "{log}");
        engine.remove_image(reference).unwrap();
    }

    let directory = tempfile::tempdir().unwrap();
    let broken = r#"{"credsStore": "none-such"}"#;
    let Some(engine) = somebody(directory.path(), Some(broken)) else { return };
    let (pulled, log) = pull(&engine, reference, None);
    assert!(matches!(pulled, Err(EngineError::Denied { .. })), "{pulled:?}");
    assert!(
        log.contains("docker-credential-none-such") && log.contains("without a login"),
        "{log}"
    );
}

#[test]
fn a_registry_that_is_not_there_is_said_to_be_so() {
    let Some(engine) = engine() else { return };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = pull(&engine, &format!("127.0.0.1:{port}/a"), None).0.unwrap_err();
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error:?}");
    assert!(error.hint().is_some());
}

#[test]
fn a_pull_is_cancelled_at_once() {
    let Some(engine) = engine() else { return };
    // A registry that never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let reference = format!("{}/a:1", listener.local_addr().unwrap());
    let cancel = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| engine.pull(&reference, None, None, &mut |_| {}, &cancel));
        // It has begun when the engine asks the registry.
        let asked = listener.accept().unwrap();
        cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        let started = std::time::Instant::now();
        let pulled = pulling.join().unwrap();
        assert!(matches!(pulled, Err(EngineError::Cancelled)), "{pulled:?}");
        assert!(started.elapsed() < std::time::Duration::from_millis(500));
        drop(asked);
    });
}
