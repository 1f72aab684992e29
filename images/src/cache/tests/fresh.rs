//! Builds that take the place of others.

use super::*;
use crate::cache::Wanted;

/// Prepares without regard to what is there.
pub(super) fn afresh(cache: &EnvironmentCache, text: &str) -> PreparedEnvironment {
    let never = AtomicBool::new(false);
    let environment = requirements(text);
    let wanted =
        Wanted { environment: &environment, fresh: true, registry_password: None, objects: None };
    cache.prepare(wanted, &mut |_| {}, &never).unwrap()
}

#[test]
fn a_fresh_build_resolves_again_and_takes_the_place_of_the_one_before() {
    let mut fixture = Fixture::new().with_wheels(&[("demo-one", "1.0")]);
    if let Some(uv) = uv() {
        fixture.host.put_first_on_path(uv.parent().unwrap());
    }
    let cache = fixture.cache();
    let before = prepared(&cache, "demo-one\n");
    let fixture = fixture.with_wheels(&[("demo-one", "1.1")]);

    assert_eq!(prepared(&cache, "demo-one\n").prefix, before.prefix, "what was resolved stays");
    let after = afresh(&cache, "demo-one\n");

    assert_eq!(after.key, before.key);
    assert!(!after.reused);
    assert_eq!(say(&after, "import demo_one; print(demo_one.version)"), "1.1");
    assert_eq!([&before.lock[0].text, &after.lock[0].text], ["demo-one==1.0\n", "demo-one==1.1\n"]);
    assert_eq!(prepared(&cache, "demo-one\n").prefix, after.prefix);
    assert!(!before.prefix.exists(), "nobody was in it");
    insta::assert_snapshot!(fixture.files().join("\n"), @r#"
    <key>-<nonce>.lease
    <key>-<nonce>.log
    <key>-<nonce>/
    <key>.json
    <key>.lock
    "#);
}

fn builds_the_same_again(fixture: Fixture) {
    let cache = fixture.cache();
    let before = prepared(&cache, "demo-one\n");
    let fixture = fixture.with_wheels(&[("demo-one", "1.1")]);

    fs::remove_dir_all(before.prefix.parent().unwrap()).unwrap();
    let again = prepared(&cache, "demo-one\n");

    assert!(!again.reused);
    assert_eq!(say(&again, "import demo_one; print(demo_one.version)"), "1.0");
    assert_eq!(again.lock, before.lock);
    fs::remove_dir_all(again.prefix.parent().unwrap()).unwrap();
    let after = afresh(&cache, "demo-one\n");
    assert_eq!(say(&after, "import demo_one; print(demo_one.version)"), "1.1");
    drop(fixture);
}

#[test]
fn what_is_lost_is_built_by_pip_with_the_versions_it_had() {
    builds_the_same_again(Fixture::new().with_wheels(&[("demo-one", "1.0")]));
}

#[test]
fn what_is_lost_is_built_by_uv_with_the_versions_it_had() {
    let Some(uv) = uv() else { return };
    let mut fixture = Fixture::new().with_wheels(&[("demo-one", "1.0")]);
    fixture.host.put_first_on_path(uv.parent().unwrap());
    builds_the_same_again(fixture);
}

#[test]
fn a_run_keeps_the_build_it_began_with_also_when_the_agent_starts_again() {
    let fixture = Fixture::quick();
    let cache = fixture.cache();
    let never = AtomicBool::new(false);
    let (before, lease) = cache.prepare_leased(&requirements(""), &mut |_| {}, &never).unwrap();

    let after = afresh(&cache, "");
    assert_ne!(before.prefix, after.prefix);
    assert_eq!(cache.sweep().unwrap(), 0);
    assert!(before.interpreter.exists());

    // The next agent leases the very build again, and then it is in use as before.
    drop(lease);
    let lease = fixture.cache().lease_prepared(&before).unwrap();
    assert_eq!(cache.sweep().unwrap(), 0);
    assert!(before.interpreter.exists());
    assert!(!cache.list().unwrap()[0].in_use, "the one that took its place is not");
    cache.remove(&after.key.unwrap().to_string()).unwrap();
    assert!(before.interpreter.exists(), "it outlives even that");

    drop(lease);
    assert_eq!(cache.sweep().unwrap(), 1);
    assert!(fixture.files().is_empty(), "{:?}", fixture.files());
    assert!(matches!(cache.lease_prepared(&before), Err(EnvironmentError::NotFound { .. })));
}

#[test]
fn a_fresh_build_that_fails_or_is_killed_leaves_the_one_before() {
    let fixture = Fixture::with_tool("[ -e \"$PIP_BROKEN\" ] && { echo broken; exit 3; }");
    let mut fixture = fixture;
    let broken = fixture.directory.path().join("broken");
    fixture.host.set("PIP_BROKEN", broken.to_str().unwrap());
    let cache = fixture.cache();
    let before = prepared(&cache, "");
    fs::write(&broken, "").unwrap();

    let environment = requirements("");
    let wanted =
        Wanted { environment: &environment, fresh: true, registry_password: None, objects: None };
    let never = AtomicBool::new(false);
    let failed = cache.prepare(wanted, &mut |_| {}, &never);

    assert!(matches!(failed, Err(EnvironmentError::Failed { .. })), "{failed:?}");
    assert_eq!(prepared(&cache, "").prefix, before.prefix);
    assert_eq!(say(&before, "print(1)"), "1");
}

#[test]
fn a_crash_between_the_record_and_the_end_leaves_the_new_build_and_only_that() {
    let fixture = Fixture::quick();
    let cache = fixture.cache();
    let before = prepared(&cache, "");
    let key = before.key.unwrap();
    let names = cache.names(&key);
    let old_name = before.prefix.parent().unwrap().file_name().unwrap().to_owned();
    let kept = fixture.directory.path().join("kept");
    fs::rename(before.prefix.parent().unwrap(), &kept).unwrap();
    let after = afresh(&cache, "");

    // As it is when whoever built was killed right after writing the record.
    fs::rename(&kept, cache.directory().join(&old_name)).unwrap();
    let new_name = after.prefix.parent().unwrap().file_name().unwrap().to_str().unwrap();
    fs::write(names.building(), format!("{{\"directory\": {new_name:?}}}")).unwrap();

    assert_eq!(prepared(&fixture.cache(), "").prefix, after.prefix);
    assert_eq!(cache.sweep().unwrap(), 1);
    assert!(after.prefix.exists() && !before.prefix.exists());
    assert_eq!(cache.list().unwrap().len(), 1);
    assert!(!names.building().exists());
}

#[test]
fn two_who_want_it_fresh_at_once_share_one_build() {
    let fixture =
        Fixture::with_tool("[ \"$1\" = venv ] && { echo x >> \"$PIP_COUNT\"; sleep 0.3; }");
    let mut fixture = fixture;
    let count = fixture.directory.path().join("count");
    fixture.host.set("PIP_COUNT", count.to_str().unwrap());
    let before = prepared(&fixture.cache(), "");

    let [one, two] = thread::scope(|scope| {
        [(); 2]
            .map(|()| scope.spawn(|| afresh(&fixture.cache(), "")))
            .map(|thread| thread.join().unwrap())
    });

    assert_eq!(one.prefix, two.prefix);
    assert_ne!(one.prefix, before.prefix);
    assert_eq!(fs::read_to_string(&count).unwrap().lines().count(), 2);
}

#[test]
fn cleaning_up_takes_what_was_not_used_for_longest_and_nothing_that_is_used_meanwhile() {
    let fixture = Fixture::quick();
    let cache = fixture.cache();
    let [a, b, c] = ["a\n", "b\n", "c\n"].map(|text| prepared(&cache, text));
    let _lease = cache.lease_prepared(&a).unwrap();
    assert!(cache.plan_cleanup(u64::MAX).unwrap().remove.is_empty());

    let plan = cache.plan_cleanup(0).unwrap();
    let planned: Vec<_> = plan.remove.iter().map(|entry| Some(entry.key)).collect();
    assert_eq!(planned, [b.key, c.key], "the first is in use");
    prepared(&cache, "b\n");
    let removed = cache.clean_up(&plan).unwrap();

    assert_eq!(removed.iter().map(|entry| Some(entry.key)).collect::<Vec<_>>(), [c.key]);
    assert_eq!(cache.list().unwrap().len(), 2);
}
