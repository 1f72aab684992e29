//! Files that say what to run, and in what.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use images::definition::dockerfile::{Dockerfile, Reading};
use images::definition::{conda_file as conda, requirements as pip};

/// A `.runconfig` or the YAML of a command job.
pub(crate) fn run_configuration(bytes: &[u8]) {
    in_a_file("job.yml", bytes, |path| {
        let _refused = runner::run_configuration::load(&path);
    });
}

/// The file of a conda environment.
pub(crate) fn conda_file(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _refused = conda::parse("environment.yml", text);
    }
}

/// A list of packages for pip, which may name other files.
pub(crate) fn requirements(bytes: &[u8]) {
    in_a_file("requirements.txt", bytes, |path| {
        let _refused = pip::load(&path);
    });
}

/// A Dockerfile of the user's own.
pub(crate) fn dockerfile(bytes: &[u8]) {
    let arguments = BTreeMap::from([("BASE".to_owned(), "python:3.12".to_owned())]);
    let reading = Reading {
        name: "Dockerfile",
        arguments: &arguments,
        target: None,
        platform: "linux/amd64",
    };
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _refused = Dockerfile::parse(text, &reading);
    }
}

fn in_a_file(name: &str, bytes: &[u8], read: impl FnOnce(PathBuf)) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(name);
    fs::write(&path, bytes).expect("a file");
    read(path);
}
