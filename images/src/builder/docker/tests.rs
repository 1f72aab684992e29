use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

use snapshots::digest::Digest;
use snapshots::snapshot::{self, SnapshotOptions};
use snapshots::store::local::LocalStore;

use super::*;
use crate::builder::{BuildSettings, IndexSettings};
use crate::environment::DockerPackages;
use crate::host::HostVariables;
use crate::testing::engine::{BASE, engine, unique};

/// What must not be in an image.
const CANARY: &str = "canary-that-no-image-may-hold";

/// A machine that builds, whose pip is told of a host that does not exist.
struct Yard {
    engine: Engine,
    directory: tempfile::TempDir,
    host: HostVariables,
    settings: BuildSettings,
    key: EnvironmentKey,
    store: LocalStore,
    log: String,
}

impl Yard {
    fn new() -> Option<Self> {
        let engine = engine()?;
        let directory = tempfile::tempdir().unwrap();
        let mut variables: Vec<_> = std::env::vars_os().collect();
        variables.push(("PIP_TRUSTED_HOST".into(), CANARY.into()));
        // As on a machine behind a proxy that has certificates of its own.
        let bundle = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let bundle = bundle.unwrap_or_else(|| "/etc/ssl/certs/ca-certificates.crt".into());
        let ca_bundle = directory.path().join("ca.pem");
        let text = fs::read_to_string(bundle).unwrap_or_default();
        fs::write(&ca_bundle, format!("# {CANARY}\n{text}")).unwrap();
        Some(Self {
            engine,
            host: HostVariables::new(variables),
            settings: BuildSettings { ca_bundle: Some(ca_bundle), ..BuildSettings::default() },
            key: Digest::of(unique("key").as_bytes()).to_string().parse().unwrap(),
            store: LocalStore::open(&directory.path().join("objects")).unwrap(),
            directory,
            log: String::new(),
        })
    }

    fn set(&mut self, name: &str, value: &str) {
        let variables = self.host.iter().map(|(name, value)| (name.into(), value.into()));
        self.host = HostVariables::new(variables.chain([(name.into(), value.into())]));
    }

    fn build(&mut self, docker: &DockerEnvironment) -> Result<Built, BuildError> {
        let build = self.directory.path().join("build");
        let _removed = fs::remove_dir_all(&build);
        fs::create_dir(&build).unwrap();
        let index = IndexSettings::read(&self.host);
        let home = self.directory.path().to_str().unwrap();
        let workshop = Workshop {
            key: self.key,
            host: &self.host,
            index: &index,
            settings: &self.settings,
            fresh: false,
            directory: &build,
            tools: self.directory.path(),
            objects: Some(&self.store),
            home,
        };
        let text = &mut self.log;
        let mut log = |bytes: &[u8]| text.push_str(&String::from_utf8_lossy(bytes));
        let cancel = AtomicBool::new(false);
        let mut watch = Watch { log: &mut log, marker: ("TRAINYARD_TEST", "1"), cancel: &cancel };
        let bases = resolve(&self.engine, docker, None, false, &mut watch)?;
        build_with(&workshop, &self.engine, docker, &bases, &mut watch)
    }

    /// The images of this build that have no name.
    fn nameless(&self) -> Vec<String> {
        let ours = self.engine.our_images(self.directory.path().to_str().unwrap()).unwrap();
        ours.into_iter().filter(|image| image.tags.is_empty()).map(|image| image.id).collect()
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        let _removed = self.engine.remove_image(&image_name(&self.key));
        for image in self.nameless() {
            let _removed = self.engine.remove_image(&image);
        }
    }
}

fn build_with(
    workshop: &Workshop<'_>,
    engine: &Engine,
    docker: &DockerEnvironment,
    bases: &ResolvedBases,
    watch: &mut Watch<'_>,
) -> Result<Built, BuildError> {
    build(workshop, engine, docker, bases, &[], watch)
}

fn on(base: DockerBase, requirements: Option<&str>) -> DockerEnvironment {
    let file = |text: &str| RequirementsFile { name: "r.txt".to_owned(), text: text.to_owned() };
    DockerEnvironment {
        base,
        platform: None,
        packages: requirements.map(|text| DockerPackages::Requirements { files: vec![file(text)] }),
        interpreter: None,
        registry: None,
    }
}

fn image(reference: &str) -> DockerBase {
    DockerBase::Image { reference: reference.to_owned() }
}

fn own(text: &str, context: Option<Digest>) -> DockerBase {
    DockerBase::Dockerfile {
        name: "docker/Dockerfile".to_owned(),
        text: text.to_owned(),
        context,
        build_arguments: [("WORD".to_owned(), "given".to_owned())].into(),
        target: None,
    }
}

/// Whether the canary is in an image, what it says of itself, or its history.
fn holds_canary(reference: &str) -> bool {
    let told = |arguments: &[&str]| {
        let output = Command::new("docker").args(arguments).output().unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stdout).contains(CANARY)
    };
    told(&["history", "--no-trunc", reference]) || told(&["inspect", reference]) || {
        let mut save = Command::new("docker");
        let mut save = save.args(["save", reference]).stdout(Stdio::piped()).spawn().unwrap();
        let mut from = save.stdout.take().unwrap();
        let (mut seen, mut buffer, mut found) = (Vec::new(), vec![0; 1 << 20], false);
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..length]);
            found |= seen.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
            seen.drain(..seen.len().saturating_sub(CANARY.len()));
        }
        assert!(save.wait().unwrap().success());
        found
    }
}

#[test]
fn packages_are_put_on_an_image_and_nothing_of_the_host_with_them() {
    let Some(mut yard) = Yard::new() else { return };

    let built = yard.build(&on(image(BASE), Some("six==1.16.0")));
    let built = built.unwrap_or_else(|error| panic!("{error:?}\n{}", yard.log));

    assert_eq!(built.packages, ["six==1.16.0"]);
    assert_eq!(built.lock[0].text, "six==1.16.0\n");
    assert!(built.python_version.unwrap().starts_with("3."));
    let image = built.image.unwrap();
    assert_eq!(image.interpreter, "/opt/trainyard/env/bin/python");
    assert_eq!(image.prefix, "/opt/trainyard/env");
    let path = image.image.search_path.unwrap();
    assert!(path.starts_with("/opt/trainyard/env/bin:/usr/"), "{path}");
    assert!(image.bytes > 1 << 20, "{}", image.bytes);
    assert!(image.dockerfile.starts_with("FROM trainyard-base:"), "{}", image.dockerfile);
    assert!(image.image.base_digest.unwrap().starts_with("sha256:"));
    let found = yard.engine.image(&image_name(&yard.key)).unwrap().unwrap();
    assert_eq!(found.id, image.image.id);
    assert_eq!(found.labels[KEY_LABEL], yard.key.to_string());
    assert_eq!(found.user, yard.engine.image(BASE).unwrap().unwrap().user);
    assert!(!holds_canary(&image_name(&yard.key)));
    assert!(yard.nameless().is_empty());
}

#[test]
fn a_dockerfile_of_the_users_is_built_from_its_context() {
    let Some(mut yard) = Yard::new() else { return };
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("docker")).unwrap();
    fs::write(source.path().join("docker/Dockerfile"), "an older one").unwrap();
    // Never seen before, so that no step comes from the engine's cache.
    let line = format!("print({:?})", source.path());
    fs::write(source.path().join("train.py"), &line).unwrap();
    let taken = snapshot::take(source.path(), &yard.store, &SnapshotOptions::default(), &());
    let text = format!(
        "FROM {BASE}\nARG WORD\nCOPY . /c\nENV PATH=/c:$PATH\n\
         RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca-bundle \
         cat /c/train.py && echo $WORD && grep -c {CANARY} /run/secrets/pip.conf && \
         head -c 8 /run/secrets/ca-bundle"
    );

    let built = yard.build(&on(own(&text, Some(taken.unwrap().record.id)), None));
    let built = built.unwrap_or_else(|error| panic!("{error:?}\n{}", yard.log));

    assert!(yard.log.contains(&format!("{line}given\n1\n# canary")), "{}", yard.log);
    let image = built.image.unwrap();
    assert!(image.image.search_path.unwrap().starts_with("/c:"));
    assert_eq!(image.dockerfile, text);
    assert!(image.interpreter.starts_with("python"), "{}", image.interpreter);
}

#[test]
fn packages_are_put_on_a_dockerfile_of_the_users() {
    let Some(mut yard) = Yard::new() else { return };
    let text = format!("# mine\nFROM {BASE}\nRUN echo own > /own\nUSER 1000:1000");

    let built = yard.build(&on(own(&text, None), Some("# nothing\n")));
    let built = built.unwrap_or_else(|error| panic!("{error:?}\n{}", yard.log));

    let image = built.image.unwrap();
    assert!(image.dockerfile.starts_with(&format!("# docker/Dockerfile\n{text}\n")));
    assert_eq!(yard.engine.image(&image.image.id).unwrap().unwrap().user, "1000:1000");
    assert_eq!(image.interpreter, "/opt/trainyard/env/bin/python");
    assert!(built.packages.is_empty(), "{:?}", built.packages);
}

#[test]
fn what_a_build_fails_of_is_told() {
    let Some(mut yard) = Yard::new() else { return };
    yard.set("PIP_NO_INDEX", "1");

    let error = yard.build(&on(image(BASE), Some("no-such-package-at-all"))).unwrap_err();

    let BuildError::Failed(failed) = error else { panic!("{error:?}") };
    assert_eq!(failed.cause, FailureCause::Unresolvable, "{failed:?}");
    assert_eq!(failed.what, "the image could not be built: a step ended with exit code 1");
    let error = yard.build(&on(image(BASE), Some("-i https://${NOT_SET_AT_ALL}@h/"))).unwrap_err();
    assert!(matches!(error, BuildError::Variable { .. }), "{error:?}");
    let error = yard.build(&on(own("FROM", None), None)).unwrap_err();
    assert!(matches!(error, BuildError::Definition(_)), "{error:?}");
}
