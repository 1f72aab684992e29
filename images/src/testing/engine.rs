//! The engine of this machine.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::engine::{ContainerSpec, Engine};
use crate::host::HostVariables;

/// An image with a shell and Python, known to whoever prepares a machine for tests.
pub(crate) const BASE: &str = "trainyard-test-base:2";

/// Returns an engine that has [`BASE`]. Without one a test fails where everything has to be there
/// (`CI=true`), and says that it proves nothing elsewhere.
pub(crate) fn engine() -> Option<Engine> {
    engine_with(&HostVariables::new(std::env::vars_os()))
}

/// The same as seen by somebody with these variables.
pub(crate) fn engine_with(variables: &HostVariables) -> Option<Engine> {
    let missing = match Engine::connect(variables) {
        Ok(engine) => match engine.image(BASE) {
            Ok(Some(_)) => return Some(engine),
            other => format!("the engine has no {BASE}: {other:?}"),
        },
        Err(error) => error.to_string(),
    };
    assert!(std::env::var("CI").is_err(), "{missing}");
    #[expect(clippy::print_stderr, reason = "a test that proves nothing says so")]
    {
        eprintln!("SKIPPED, nothing was tested: {missing}");
    }
    None
}

/// A name that nothing else has.
pub(crate) fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("trainyard-test-{what}-{}-{count}", std::process::id())
}

/// A container that runs a line of shell.
pub(crate) fn shell(engine: &Engine, line: &str) -> ContainerSpec {
    ContainerSpec {
        image: engine.image(BASE).unwrap().unwrap().id,
        entrypoint: vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()],
        network: "none".to_owned(),
        user: "1000:1000".to_owned(),
        ..ContainerSpec::default()
    }
}
