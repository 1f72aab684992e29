//! Rules about the tree itself: who may import whom, and how long a file may be.

use std::fs;
use std::path::{Path, PathBuf};

/// Each crate may use any to its right, none to its left.
const ORDER: [&str; 4] = ["agent", "runner", "images", "snapshots"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn a_crate_imports_only_what_is_to_its_right() {
    for (at, name) in ORDER.iter().enumerate() {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(section) = manifest.get(section).and_then(|table| table.as_table()) else {
                continue;
            };
            for dependency in section.keys() {
                let allowed = !ORDER[..=at].contains(&dependency.as_str());
                assert!(allowed && dependency != "tests", "{name} imports {dependency}");
            }
        }
    }
}

#[test]
fn no_source_file_is_longer_than_500_lines() {
    let mut directories: Vec<_> = ORDER.iter().map(|name| root().join(name).join("src")).collect();
    let mut seen = 0;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let lines = fs::read_to_string(&path).unwrap().lines().count();
                assert!(lines <= 500, "{path:?} has {lines} lines: it holds two nouns");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} files were looked at");
}

#[test]
fn only_the_runner_may_use_unsafe_code() {
    for (name, file) in [("snapshots", "lib.rs"), ("images", "lib.rs"), ("agent", "lib.rs")] {
        let source = fs::read_to_string(root().join(name).join("src").join(file)).unwrap();
        assert!(source.contains("#![forbid(unsafe_code)]"), "{name} does not forbid unsafe code");
    }
}
