use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use snapshots::snapshot::{self, SnapshotOptions};

use super::*;

/// What tar says of an archive.
fn listed(archive: &[u8]) -> String {
    let mut tar = Command::new("tar")
        .args(["--utc", "--numeric-owner", "-tvf", "-"])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    tar.stdin.take().unwrap().write_all(archive).unwrap();
    let output = tar.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn source() -> tempfile::TempDir {
    let source = tempfile::tempdir().unwrap();
    let path = |name: &str| source.path().join(name);
    fs::create_dir_all(path("a/empty")).unwrap();
    fs::write(path("Dockerfile"), "FROM x").unwrap();
    fs::write(path("a/run.sh"), vec![b'x'; 513]).unwrap();
    fs::set_permissions(path("a/run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("a/run.sh", path("link")).unwrap();
    fs::create_dir(path(&"d".repeat(90))).unwrap();
    fs::write(path(&format!("{}/{}", "d".repeat(90), "f".repeat(90))), "long").unwrap();
    symlink("t".repeat(120), path("z")).unwrap();
    source
}

#[test]
fn a_snapshot_becomes_the_same_archive_each_time() {
    let (source, home) = (source(), tempfile::tempdir().unwrap());
    let store = LocalStore::open(home.path()).unwrap();
    let taken = snapshot::take(source.path(), &store, &SnapshotOptions::default(), &()).unwrap();
    let archive = || {
        let mut archive = Vec::new();
        let mut context = ContextWriter::new(&mut archive);
        context.tree(&store, &taken.record.id, Some("Dockerfile")).unwrap();
        context.file("settings/Dockerfile", b"FROM y").unwrap();
        context.finish().unwrap();
        archive
    };

    let first = archive();

    assert_eq!(first, archive());
    let listed = listed(&first).replace(&"d".repeat(90), "d90").replace(&"f".repeat(90), "f90");
    insta::assert_snapshot!(listed.replace(&"t".repeat(120), "t120"), @"
    lrwxrwxrwx 0/0               0 1980-01-01 00:00 link -> a/run.sh
    lrwxrwxrwx 0/0               0 1980-01-01 00:00 z -> t120
    drwxr-xr-x 0/0               0 1980-01-01 00:00 d90/
    -rw-r--r-- 0/0               4 1980-01-01 00:00 d90/f90
    drwxr-xr-x 0/0               0 1980-01-01 00:00 a/
    -rwxr-xr-x 0/0             513 1980-01-01 00:00 a/run.sh
    drwxr-xr-x 0/0               0 1980-01-01 00:00 a/empty/
    drwxr-xr-x 0/0               0 1980-01-01 00:00 settings/
    -rw-r--r-- 0/0               6 1980-01-01 00:00 settings/Dockerfile
    ");
}

#[test]
fn a_directory_is_taken_as_it_is() {
    let source = source();
    let mut archive = Vec::new();

    let mut context = ContextWriter::new(&mut archive);
    context.host_directory(&source.path().join("a"), "conda").unwrap();
    context.finish().unwrap();

    insta::assert_snapshot!(listed(&archive), @"
    drwxr-xr-x 0/0               0 1980-01-01 00:00 conda/
    -rwxr-xr-x 0/0             513 1980-01-01 00:00 conda/run.sh
    drwxr-xr-x 0/0               0 1980-01-01 00:00 conda/empty/
    ");
}

#[test]
fn sizes_over_eight_gigabytes_fit() {
    let mut archive = header(b"large", &Kind::File { executable: false }, 9 << 30);
    archive.truncate(512);

    // Only its header: tar tells of it before it misses the content.
    let mut tar = Command::new("tar")
        .args(["-tvf", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    tar.stdin.take().unwrap().write_all(&archive).unwrap();
    let output = tar.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("9663676416"));
}

#[test]
fn a_snapshot_that_is_gone_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let store = LocalStore::open(home.path()).unwrap();
    let mut archive = Vec::new();

    let error = ContextWriter::new(&mut archive).tree(&store, &Digest::of(b"x"), None);

    assert!(matches!(error, Err(ContextError::Store(StoreError::Missing { .. }))));
}

/// Something that an archive is written to, and that tries to have all objects removed meanwhile.
struct Collecting<'a> {
    ended: &'a std::sync::mpsc::Receiver<()>,
    start: Option<Box<dyn FnOnce() + 'a>>,
}

impl Write for Collecting<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(start) = self.start.take() {
            start();
            // What can clean up at all does so in no time.
            let waited = self.ended.recv_timeout(std::time::Duration::from_secs(1));
            assert!(waited.is_err(), "it did not wait for the archive");
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_of_a_context_is_removed_while_it_is_sent() {
    let (source, home) = (source(), tempfile::tempdir().unwrap());
    let store = LocalStore::open(home.path()).unwrap();
    let root = snapshot::take(source.path(), &store, &SnapshotOptions::default(), &()).unwrap();
    let root = root.record.id;
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let collect = || {
            let other = LocalStore::open(home.path()).unwrap();
            let collected =
                snapshots::gc::collect(&other, &[], std::time::Duration::ZERO, false).unwrap();
            sender.send(()).unwrap();
            collected
        };
        let mut collector = None;
        let mut out = Collecting {
            ended: &ended,
            start: Some(Box::new(|| collector = Some(scope.spawn(collect)))),
        };
        let mut writer = ContextWriter::new(&mut out);
        writer.tree(&store, &root, None).unwrap();
        writer.finish().unwrap();
        drop(out);

        let collected = collector.unwrap().join().unwrap();
        assert!(collected.objects > 0, "{collected:?}");
    });
    assert!(!store.contains(&root).unwrap());
}
