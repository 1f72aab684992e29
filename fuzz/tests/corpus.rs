//! Every target with its corpus, and with what is close to it.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fuzz::{TARGETS, Target};

/// How many bytes of a file are changed, one at a time, and at how many places it is cut.
const CHANGES: usize = 16;

fn corpus(target: Target) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    // What is handed in first may be asked for later.
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Returns `bytes` cut and changed at places spread over them.
fn close_to(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let step = bytes.len().div_ceil(CHANGES).max(1);
    let places = (0..bytes.len()).step_by(step);
    places.flat_map(move |at| {
        let mut changed = bytes.to_vec();
        // Another bit at each place.
        changed[at] ^= 1 << (at / step % 8);
        let doubled = [&bytes[..at], &bytes[at / 2..]].concat();
        [bytes[..at].to_vec(), changed, doubled]
    })
}

/// Reads `bytes`, and says which they were if that ends badly.
fn read(target: Target, path: &Path, bytes: &[u8]) {
    let read = catch_unwind(AssertUnwindSafe(|| (target.read)(bytes)));
    assert!(read.is_ok(), "{} of {path:?}: {:?}", target.name, bytes.escape_ascii().to_string());
}

fn check(name: &str) {
    let target = fuzz::target(name).unwrap();
    let corpus = corpus(target);
    assert!(corpus.len() >= 3, "{name} has {} files to begin with", corpus.len());
    for (path, bytes) in corpus {
        read(target, &path, &bytes);
        close_to(&bytes).for_each(|bytes| read(target, &path, &bytes));
    }
    read(target, Path::new("nothing"), b"");
}

macro_rules! targets {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*

        #[test]
        fn every_target_is_tried() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

targets! {
    api: "api",
    conda_file: "conda-file",
    dockerfile: "dockerfile",
    dockerignore: "dockerignore",
    frames: "frames",
    ignore_file: "ignore-file",
    job_file: "job-file",
    log: "log",
    metrics: "metrics",
    pack: "pack",
    requirements: "requirements",
    run_configuration: "run-configuration",
    shown_log: "shown-log",
    tree: "tree",
}
