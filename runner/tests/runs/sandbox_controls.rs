//! What must keep working in a sandbox: each script of `tests/controls` says the same to the byte
//! in one as without. Those that need more than Python are for `tests/training`.

use std::fs;
use std::path::{Path, PathBuf};

use runner::exit_record::ExitReason;
use runner::run_configuration::Network;

use crate::sandbox::sandboxed;
use crate::support::TestRun;

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/controls")
}

/// Carries out a control, and returns what it says. As every run of an agent, it is told of a home.
fn said(mut run: TestRun) -> String {
    run.launch.environment.insert("HOME".to_owned(), "/tmp".to_owned());
    let (run, record) = run.carried_out();
    assert_eq!(record.reason, ExitReason::Completed, "{}", run.text());
    run.text()
}

/// Carries out the control without a sandbox, in one, and in one without a network.
fn works(name: &str) {
    let script = fs::read_to_string(scripts().join(name).with_extension("py")).unwrap();
    let outside = said(TestRun::of(&script));
    assert!(!outside.is_empty() && !outside.contains("False"), "{outside}");
    assert_eq!(said(sandboxed(&script)), outside);
    let mut alone = sandboxed(&script);
    alone.launch.sandbox.as_mut().unwrap().network = Network::None;
    assert_eq!(said(alone), outside);
}

macro_rules! controls {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            works(stringify!($name));
        })+

        #[test]
        fn every_control_is_a_test() {
            let mut found: Vec<_> = fs::read_dir(scripts())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|it| it == "py"))
                .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
                .collect();
            found.sort();
            assert_eq!(found, [$(stringify!($name)),+]);
        }
    };
}

controls! {
    descriptors files loopback processes shared_memory signals subprocesses system_calls threads
    users
}
