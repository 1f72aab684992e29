//! Builds that end before they are finished.

use std::process::{Child, Stdio};

use super::*;

/// Prepares in another process: this test program, told to run the "test" below.
pub(super) fn prepare_elsewhere(fixture: &Fixture) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cache::tests::crash::in_another_process", "--ignored", "--quiet"])
        .env("TRAINYARD_TEST_CACHE", fixture.cache_path())
        .env("TRAINYARD_TEST_HOST", fixture.host.to_text())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn in_another_process() {
    let cache = PathBuf::from(std::env::var_os("TRAINYARD_TEST_CACHE").unwrap());
    let host = Host::from_text(&std::env::var("TRAINYARD_TEST_HOST").unwrap());
    prepared(
        &EnvironmentCache::open(
            &cache,
            crate::cache::CacheOptions { host: host.variables(), ..Default::default() },
        )
        .unwrap(),
        "",
    );
}

/// A build that never ends, whose tool has a child in a session of its own and heeds no `SIGTERM`.
fn endless() -> (Fixture, [PathBuf; 2]) {
    let mut fixture = Fixture::with_tool(
        "[ \"$1\" = pip ] && { trap '' TERM; echo going on forever\n\
         setsid sleep 600 & echo $! > $PIP_PIDS.child; echo $$ > $PIP_PIDS; wait; }",
    );
    let pids = fixture.directory.path().join("pids");
    fixture.host.set("PIP_PIDS", pids.to_str().unwrap());
    (fixture, [pids.clone(), pids.with_extension("child")])
}

#[test]
fn a_killed_builder_leaves_nothing_that_looks_finished() {
    let (fixture, pids) = endless();
    let mut builder = prepare_elsewhere(&fixture);
    wait_until("the tool is at work", &|| pids.iter().all(|path| pid_in(path).is_some()));
    let tool = pids.each_ref().map(|path| pid_in(path).unwrap());

    builder.kill().unwrap();
    builder.wait().unwrap();
    let cache = fixture.cache();

    assert!(cache.list().unwrap().is_empty());
    assert_eq!(cache.find(&requirements("")).unwrap(), None);
    assert!(tool.iter().all(|pid| lives(*pid)), "the tool outlives the builder");
    insta::assert_snapshot!(fixture.files().join("\n"), @r#"
    <key>-<nonce>.lease
    <key>-<nonce>.log
    <key>-<nonce>/
    <key>.building.json
    <key>.lock
    "#);
    assert_eq!(cache.sweep().unwrap(), 1);
    wait_until("the tool has ended", &|| tool.iter().all(|pid| !lives(*pid)));
    assert!(fixture.files().is_empty(), "{:?}", fixture.files());
}

#[test]
fn the_next_build_clears_up_after_a_killed_one() {
    let (fixture, pids) = endless();
    let mut builder = prepare_elsewhere(&fixture);
    wait_until("the tool is at work", &|| pids.iter().all(|path| pid_in(path).is_some()));
    builder.kill().unwrap();
    builder.wait().unwrap();

    let mut quick = Fixture::quick();
    quick.host.set("PIP_PIDS", "unused");
    let cache = EnvironmentCache::open(
        &fixture.cache_path(),
        crate::cache::CacheOptions { host: quick.host.variables(), ..Default::default() },
    )
    .unwrap();
    // The same key: the wheels' place is part of it.
    quick.host.copy_index_from(&fixture.host);
    let cache_like = EnvironmentCache::open(
        cache.directory(),
        crate::cache::CacheOptions { host: quick.host.variables(), ..Default::default() },
    )
    .unwrap();
    let built = prepared(&cache_like, "");

    assert!(!built.reused);
    assert!(pids.iter().all(|path| !lives(pid_in(path).unwrap())));
    insta::assert_snapshot!(fixture.files().join("\n"), @r#"
    <key>-<nonce>.lease
    <key>-<nonce>.log
    <key>-<nonce>/
    <key>.json
    <key>.lock
    "#);
}

#[test]
fn cancelling_ends_every_process_and_leaves_no_file() {
    static CANCEL: AtomicBool = AtomicBool::new(false);
    let (fixture, pids) = endless();
    let watched = pids.clone();
    cancel_when(move || watched.iter().all(|path| pid_in(path).is_some()), &CANCEL);

    let result = fixture.cache().prepare(&requirements(""), &mut |_| {}, &CANCEL);

    assert!(matches!(result, Err(EnvironmentError::Cancelled)), "{result:?}");
    assert!(pids.iter().all(|path| !lives(pid_in(path).unwrap())));
    assert_eq!(fixture.files(), ["<key>.lock"]);
}

#[test]
fn a_sweep_leaves_a_build_that_is_going_on_alone() {
    static CANCEL: AtomicBool = AtomicBool::new(false);
    let (fixture, pids) = endless();
    let cache = fixture.cache();

    thread::scope(|scope| {
        let builder =
            scope.spawn(|| fixture.cache().prepare(&requirements(""), &mut |_| {}, &CANCEL));
        wait_until("the tool is at work", &|| pids.iter().all(|path| pid_in(path).is_some()));

        let swept = cache.sweep().unwrap();

        let alive = pids.iter().all(|path| lives(pid_in(path).unwrap()));
        CANCEL.store(true, Ordering::Relaxed);
        assert!(builder.join().unwrap().is_err());
        assert_eq!(swept, 0);
        assert!(alive);
    });
}

#[test]
fn a_sweep_keeps_what_is_finished_and_the_log_of_what_failed() {
    let fixture = Fixture::quick();
    let cache = fixture.cache();
    prepared(&cache, "");
    let failing = Fixture::with_tool("exit 3");
    let failing = EnvironmentCache::open(
        &fixture.cache_path(),
        crate::cache::CacheOptions { host: failing.host.variables(), ..Default::default() },
    )
    .unwrap();
    assert!(prepare(&failing, &requirements("other\n")).0.is_err());
    let before = fixture.files();

    assert_eq!(cache.sweep().unwrap(), 0);

    assert_eq!(fixture.files(), before);
    insta::assert_snapshot!(before.join("\n"), @r#"
    <key>-<nonce>.lease
    <key>-<nonce>.log
    <key>-<nonce>.log
    <key>-<nonce>/
    <key>.failed.json
    <key>.json
    <key>.lock
    <key>.lock
    "#);
}
