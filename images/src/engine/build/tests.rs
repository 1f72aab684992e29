use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::*;
use crate::context::{ContextError, ContextWriter};

const BASE: &str = "trainyard-test-base:2";

#[derive(Debug)]
#[allow(dead_code)]
enum Error {
    Engine(EngineError),
    Context(ContextError),
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// A build of `dockerfile` with a file beside it.
struct Try {
    engine: Engine,
    build: ImageBuild,
    log: String,
}

impl Try {
    fn new(name: &str) -> Option<Self> {
        let build = ImageBuild {
            dockerfile: "Dockerfile".to_owned(),
            name: format!("trainyard-test-{name}-{}:x", std::process::id()),
            labels: BTreeMap::from([("trainyard.test".to_owned(), "1".to_owned())]),
            network: "default".to_owned(),
            ..ImageBuild::default()
        };
        Some(Self { engine: crate::testing::engine::engine()?, build, log: String::new() })
    }

    fn run(&mut self, dockerfile: &str, cancel: &AtomicBool) -> Result<BuildEnd, Error> {
        let log = &mut self.log;
        self.engine.build_image(
            &self.build,
            |out| {
                let mut context = ContextWriter::new(out);
                context.file("Dockerfile", dockerfile.as_bytes()).map_err(Error::Context)?;
                context.file("beside", b"here\n").map_err(Error::Context)?;
                context.finish().map_err(Error::Context)
            },
            &mut |bytes| log.push_str(&String::from_utf8_lossy(bytes)),
            cancel,
        )
    }

    fn end(&mut self, dockerfile: &str) -> BuildEnd {
        self.run(dockerfile, &AtomicBool::new(false)).unwrap()
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        let _removed = self.engine.remove_image(&self.build.name);
    }
}

#[test]
fn an_image_is_built_from_its_context() {
    let Some(mut build) = Try::new("build") else { return };
    build.build.arguments.insert("WORD".to_owned(), "given".to_owned());
    build.build.fresh = true;

    let end = build.end(&format!(
        "FROM {BASE} AS one\nRUN echo first > /first\nFROM {BASE}\nARG WORD\n\
         COPY --from=one /first /first\nCOPY . /c/\nRUN cat /first /c/beside; echo $WORD"
    ));

    let BuildEnd::Image(id) = end else { panic!("{end:?}\n{}", build.log) };
    assert!(build.log.contains("first\nhere\ngiven\n"), "{}", build.log);
    assert!(build.log.contains("progress "), "{}", build.log);
    let image = build.engine.image(&build.build.name).unwrap().unwrap();
    assert_eq!(image.id, id);
    assert_eq!(image.labels["trainyard.test"], "1");
}

#[test]
fn what_fails_says_so() {
    let Some(mut build) = Try::new("fails") else { return };

    let end = build.end(&format!("FROM {BASE}\nRUN echo seen; exit 3"));
    let BuildEnd::Failed(message) = end else { panic!("{end:?}") };
    assert!(message.contains('3'), "{message}");
    assert!(build.log.contains("seen\n"), "{}", build.log);

    let end = build.end("FROM trainyard-test-base:2\nNONSENSE x");
    let BuildEnd::Failed(message) = end else { panic!("{end:?}") };
    assert!(message.to_lowercase().contains("unknown instruction"), "{message}");
}

#[test]
fn secrets_are_there_while_a_step_runs_and_nowhere_else() {
    let Some(mut build) = Try::new("secret") else { return };
    let secret = "canary in a secret".repeat(1000);
    let text = SecretSlice::from(secret.clone().into_bytes());
    build.build.secrets.insert("pip.conf".to_owned(), text);
    build.build.fresh = true;

    let end = build.end(&format!(
        "FROM {BASE}\nRUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf wc -c < /etc/pip.conf\n\
         RUN --mount=type=secret,id=none,target=/none test ! -e /none && test ! -s /etc/pip.conf"
    ));

    assert!(matches!(end, BuildEnd::Image(_)), "{end:?}\n{}", build.log);
    assert!(build.log.contains(&format!("{}\n", secret.len())), "{}", build.log);
}

#[test]
fn cancelling_ends_the_build_in_the_engine_too() {
    let Some(mut build) = Try::new("cancel") else { return };
    build.build.fresh = true;
    let cancel = AtomicBool::new(false);
    // No other process sleeps for so long.
    let seconds = format!("{}", 71_000_000 + std::process::id());
    let dockerfile = format!("FROM {BASE}\nRUN echo begun; sleep {seconds}");

    let (took, error) = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !sleeps(&seconds) {
                thread::sleep(Duration::from_millis(10));
            }
            cancel.store(true, Ordering::Relaxed);
            Instant::now()
        });
        let error = build.run(&dockerfile, &cancel).unwrap_err();
        (watcher.join().unwrap().elapsed(), error)
    });

    assert!(matches!(error, Error::Engine(EngineError::Cancelled)), "{error:?}");
    assert!(took < Duration::from_millis(200), "{took:?}");
    let until = Instant::now() + Duration::from_secs(15);
    while sleeps(&seconds) {
        assert!(Instant::now() < until, "the engine still builds");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Whether some process sleeps for `seconds`.
fn sleeps(seconds: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|command| command == format!("sleep\0{seconds}\0").as_bytes())
}

#[test]
fn an_error_of_the_context_is_told_as_it_is() {
    let Some(build) = Try::new("context") else { return };

    let built = build.engine.build_image(
        &build.build,
        |_| Err(Error::Context(ContextError::Changed { path: "x".into() })),
        &mut |_| {},
        &AtomicBool::new(false),
    );

    assert!(matches!(built, Err(Error::Context(ContextError::Changed { .. }))), "{built:?}");
}

#[test]
fn what_goes_into_a_request_is_escaped() {
    let build = ImageBuild {
        name: "a:b".to_owned(),
        arguments: BTreeMap::from([("A".to_owned(), "x&y=\"z\"".to_owned())]),
        target: Some("é".to_owned()),
        ..ImageBuild::default()
    };

    insta::assert_snapshot!(query(&build, None), @"dockerfile=&t=a%3Ab&rm=1&forcerm=1&labels=%7B%7D&buildargs=%7B%22A%22%3A%22x%26y%3D%5C%22z%5C%22%22%7D&networkmode=&version=2&target=%C3%A9");
}
