//! Environments that are images, with a real engine.

use std::collections::BTreeMap;

use super::*;
use crate::cache::Wanted;
use crate::engine::Engine;
use crate::environment::{DockerBase, DockerEnvironment};
use crate::host::HostVariables;
use crate::testing::engine::{BASE, engine, unique};

/// A cache of its own, and a Dockerfile that nobody else has.
pub(super) struct Images {
    pub(super) cache: EnvironmentCache,
    pub(super) directory: tempfile::TempDir,
    pub(super) marker: String,
    pub(super) engine: Engine,
}

impl Images {
    /// `None` where there is no engine.
    pub(super) fn new() -> Option<Self> {
        let engine = engine()?;
        let directory = tempfile::tempdir().unwrap();
        let cache = open(directory.path());
        Some(Self { cache, directory, marker: unique("cache"), engine })
    }

    pub(super) fn dockerfile(&self, more: &str) -> Environment {
        docker(DockerBase::Dockerfile {
            name: "Dockerfile".to_owned(),
            text: format!("FROM {BASE}\nLABEL test={}\n{more}", self.marker),
            context: None,
            build_arguments: BTreeMap::new(),
            target: None,
        })
    }

    pub(super) fn prepare(
        &self,
        environment: &Environment,
        fresh: bool,
    ) -> (PreparedEnvironment, Vec<u8>) {
        let mut log = Vec::new();
        let wanted = Wanted { environment, fresh, registry_password: None, objects: None };
        let never = AtomicBool::new(false);
        let prepared =
            self.cache.prepare(wanted, &mut |bytes| log.extend_from_slice(bytes), &never);
        (prepared.unwrap_or_else(|e| panic!("{e}\n{}", String::from_utf8_lossy(&log))), log)
    }

    fn has(&self, prepared: &PreparedEnvironment) -> bool {
        self.engine.image(&prepared.image.as_ref().unwrap().id).unwrap().is_some()
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        for entry in self.cache.list().unwrap_or_default() {
            if let Err(error) = self.cache.remove(&entry.key.to_string()) {
                eprintln!("left {}: {error}", entry.key);
            }
        }
    }
}

pub(super) fn open(directory: &Path) -> EnvironmentCache {
    let options = CacheOptions {
        host: HostVariables::new(std::env::vars_os()),
        settings: crate::builder::BuildSettings {
            // As on a machine behind a proxy that has certificates of its own.
            ca_bundle: std::env::var_os("SSL_CERT_FILE").map(PathBuf::from),
            ..crate::builder::BuildSettings::default()
        },
        home: directory.to_str().unwrap().to_owned(),
    };
    EnvironmentCache::open(&directory.join("environments"), options).unwrap()
}

pub(super) fn docker(base: DockerBase) -> Environment {
    let docker = DockerEnvironment {
        base,
        platform: None,
        packages: None,
        interpreter: None,
        registry: None,
    };
    Environment::Docker { docker: Box::new(docker) }
}

fn is_quick(what: &str, act: impl Fn()) {
    let best = (0..5).map(|_| {
        let started = Instant::now();
        act();
        started.elapsed()
    });
    let best = best.min().unwrap();
    println!("{what} took {best:?}");
    assert!(best < Duration::from_millis(50), "{what} took {best:?}");
}

#[test]
fn a_ready_image_is_used_as_it_is_and_one_that_is_not_here_is_not_pulled_to_find_that_out() {
    let Some(images) = Images::new() else { return };
    let of = |reference: &str| docker(DockerBase::Image { reference: reference.to_owned() });

    let (prepared, _) = images.prepare(&of(BASE), false);

    assert_eq!(prepared.key, None);
    assert!(prepared.reused && prepared.path_entries.is_empty());
    assert_eq!(prepared.image.as_ref().unwrap().reference, BASE);
    let facts = images.engine.image(BASE).unwrap().unwrap();
    assert_eq!(prepared.image.as_ref().unwrap().id, facts.id);
    let path = facts.environment.get("PATH");
    assert_eq!(prepared.image.as_ref().unwrap().search_path.as_ref(), path);
    assert_eq!(images.cache.find(&of(BASE)).unwrap(), Some(prepared));
    let absent = of("127.0.0.1:9/nobody/has-this:1");
    assert_eq!(images.cache.find(&absent).unwrap(), None);
    let explained = images.cache.explain(&absent).unwrap();
    assert!(explained.parts.is_none() && !explained.built);
    is_quick("a ready image", || drop(images.prepare(&of(BASE), false)));
}

#[test]
fn an_image_is_built_once_and_again_when_it_was_removed_behind_our_back() {
    let Some(images) = Images::new() else { return };
    let environment = images.dockerfile("RUN echo hello\n");
    assert_eq!(images.cache.find(&environment).unwrap(), None);

    let (first, _) = images.prepare(&environment, false);

    assert!(!first.reused && images.has(&first));
    let details = images.cache.show(&first.key.unwrap().to_string()).unwrap();
    assert_eq!(details.entry.kind, "docker");
    assert_eq!(details.entry.image, first.image);
    assert!(details.dockerfile.unwrap().contains(&images.marker));
    assert_eq!(images.cache.explain(&environment).unwrap().parts, details.parts);
    is_quick("an image that was built", || {
        let (again, log) = images.prepare(&environment, false);
        assert!(again.reused && log.is_empty());
    });

    images.engine.remove_image(&first.image.as_ref().unwrap().id).unwrap();
    assert_eq!(images.cache.find(&environment).unwrap(), None);
    let (second, _) = images.prepare(&environment, false);
    assert!(!second.reused && images.has(&second));

    images.cache.remove(&second.key.unwrap().to_string()).unwrap();
    assert!(!images.has(&second));
    assert_eq!(images.cache.sweep().unwrap(), 0);
    let left = fs::read_dir(images.directory.path().join("environments")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["tools.lock"], "who builds keeps tools from being removed meanwhile");
}

#[test]
fn a_fresh_image_leaves_the_one_of_a_run_until_that_has_ended() {
    let Some(images) = Images::new() else { return };
    let environment = images.dockerfile("RUN cat /proc/sys/kernel/random/uuid > /id\n");
    let never = AtomicBool::new(false);
    let (before, lease) = images.cache.prepare_leased(&environment, &mut |_| {}, &never).unwrap();
    let (after, _) = images.prepare(&environment, true);
    assert!(images.has(&before) && images.has(&after), "a run may be in the one before");

    // The next agent leases the very build again.
    drop(lease);
    let lease = open(images.directory.path()).lease_prepared(&before).unwrap();
    assert!(lease.is_some());
    images.cache.sweep().unwrap();
    assert!(images.has(&before));
    drop(lease);
    images.cache.sweep().unwrap();
    assert!(images.has(&after), "it stays, also where both are the same image");
    assert!(images.prepare(&environment, false).0.reused);
}
