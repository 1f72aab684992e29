//! Build contexts hold what Docker's own command line would send.
//!
//! `docker build --output` of `FROM scratch` and `COPY . /` lays out what was sent. It needs an
//! engine and a command line that has BuildKit; without them the tests pass with a word, except
//! where everything is to be there.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use snapshots::snapshot::{self, SnapshotOptions};
use snapshots::store::local::LocalStore;
use snapshots::walk;

const FILES: &[&str] = &[
    ".env",
    "README.md",
    "a.py",
    "a.txt",
    "b.txt",
    "data/deep/keep.txt",
    "data/deep/y.csv",
    "data/x.csv",
    "docs/b[1].md",
    "node_modules/p/i.js",
    "sp ace.txt",
    "src/m.py",
    "src/m.pyc",
    "src/node_modules/q.js",
    "src/pkg/n.py",
    "src/pkg/n.pyc",
];

fn context(ignore: &str) -> tempfile::TempDir {
    let context = tempfile::tempdir().unwrap();
    for file in FILES {
        let path = context.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    fs::create_dir_all(context.path().join("empty/inner")).unwrap();
    fs::write(context.path().join(".dockerignore"), ignore).unwrap();
    fs::write(context.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    context
}

/// What a snapshot holds: files, and directories without any.
fn listed(context: &Path) -> BTreeSet<String> {
    let dockerfile = Some(PathBuf::from("Dockerfile"));
    let options = SnapshotOptions { dockerfile, ..SnapshotOptions::default() };
    let listing = walk::list(context, &options).unwrap();
    let text = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
    let mut found: BTreeSet<String> = listing.files.iter().map(|file| text(&file.path)).collect();
    let all: Vec<String> =
        found.iter().cloned().chain(listing.directories.iter().map(|d| text(d))).collect();
    for directory in &listing.directories {
        let directory = format!("{}/", text(directory));
        if !all.iter().any(|path| path.starts_with(&directory)) {
            found.insert(directory);
        }
    }
    found
}

/// A command line with BuildKit, if there is one.
fn docker() -> Option<&'static str> {
    let found = ["docker", "/usr/bin/docker"].into_iter().find(|docker| {
        let (context, out) = (context(""), tempfile::tempdir().unwrap());
        sent(docker, context.path(), out.path())
    });
    if found.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI needs docker with BuildKit");
        eprintln!("NOT TESTED: there is no docker with BuildKit");
    }
    found
}

fn sent(docker: &str, context: &Path, out: &Path) -> bool {
    let mut command = Command::new(docker);
    command.args(["build", "-q", "-o"]).arg(out).arg(context).env("DOCKER_BUILDKIT", "1");
    command.output().is_ok_and(|output| output.status.success())
}

/// What was laid out: files, and directories without any.
fn laid_out(root: &Path, directory: &Path, found: &mut BTreeSet<String>) {
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let inside: Vec<_> = fs::read_dir(directory).unwrap().map(Result::unwrap).collect();
    if inside.is_empty() && directory != root {
        found.insert(name(directory) + "/");
    }
    for entry in inside {
        if entry.file_type().unwrap().is_dir() {
            laid_out(root, &entry.path(), found);
        } else {
            found.insert(name(&entry.path()));
        }
    }
}

#[test]
fn contexts_hold_what_docker_sends() {
    let cases = [
        "*\n!a.py\n!src/pkg",
        "*.txt\n!a.txt\n**/node_modules",
        "data\n!data/deep/keep.txt\n/src/",
        "data/*\n**/p\nsrc/*/n.py",
        "# c\n #a.py\n\n  a.txt  \n./data/../docs//",
        "!a.txt\n[ab].txt\n**/*.pyc\n!src/pkg/n.pyc",
        "docs/b\\[1\\].md\nd*/d*\nDockerfile\n.dockerignore",
        "**keep.txt\n?.py\nsrc/**/n.py\ndata/deep/y.csv/",
        "a.*\n!*.py\n*.py\n[^a]*.md\nnode_modules/**",
        ".\n/\n..",
    ];
    let Some(docker) = docker() else { return };
    for ignore in cases {
        let (context, out) = (context(ignore), tempfile::tempdir().unwrap());
        assert!(sent(docker, context.path(), out.path()), "{ignore}");
        let mut wanted = BTreeSet::new();
        laid_out(out.path(), out.path(), &mut wanted);

        assert_eq!(listed(context.path()), wanted, "{ignore}");
    }
}

#[test]
fn what_comes_back_is_seen_by_the_next_snapshot_too() {
    let context = context("data\nempty\n!data/deep/keep.txt\n!empty/*/x");
    let home = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&home.path().join("store")).unwrap();
    let options = SnapshotOptions {
        dockerfile: Some(PathBuf::from("Dockerfile")),
        index: Some(home.path().join("index")),
        ..SnapshotOptions::default()
    };
    let names = || -> Vec<String> {
        let taken = snapshot::take(context.path(), &store, &options, &()).unwrap();
        assert_eq!(taken.record.id, snapshot::digest_only(context.path(), &options).unwrap().0);
        let tree = store.read_tree(&taken.record.id).unwrap();
        tree.entries().iter().map(|entry| String::from_utf8(entry.name.clone()).unwrap()).collect()
    };
    let keep = context.path().join("data/deep/keep.txt");

    assert!(names().contains(&"data".to_owned()));
    fs::remove_file(&keep).unwrap();
    assert!(!names().contains(&"data".to_owned()));
    assert!(!names().contains(&"data".to_owned()));
    fs::write(&keep, "y").unwrap();
    assert!(names().contains(&"data".to_owned()));
    assert!(!names().contains(&"empty".to_owned()));
    fs::write(context.path().join("empty/inner/x"), "z").unwrap();
    assert!(names().contains(&"empty".to_owned()));
}

#[test]
fn the_ignore_file_of_the_dockerfile_goes_before_that_of_the_context() {
    let context = context("a.py");
    fs::create_dir(context.path().join("docker")).unwrap();
    fs::write(context.path().join("docker/x.Dockerfile.dockerignore"), "b.txt").unwrap();
    let listed = |dockerfile: &str| {
        let dockerfile = Some(PathBuf::from(dockerfile));
        let options = SnapshotOptions { dockerfile, ..SnapshotOptions::default() };
        let listing = walk::list(context.path(), &options).unwrap();
        listing
            .files
            .into_iter()
            .map(|file| String::from_utf8(file.path).unwrap())
            .collect::<Vec<_>>()
    };

    let own = listed("docker/x.Dockerfile");
    assert!(own.contains(&"a.py".to_owned()) && !own.contains(&"b.txt".to_owned()));
    let other = listed("docker/y.Dockerfile");
    assert!(!other.contains(&"a.py".to_owned()) && other.contains(&"b.txt".to_owned()));
}
