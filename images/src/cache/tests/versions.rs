//! What older versions left in the cache.

use super::*;

/// Puts what version 1 left of an environment where one of this version was. Returns its directory.
fn as_version_1(fixture: &Fixture, built: &PreparedEnvironment) -> PathBuf {
    let key = built.key.unwrap();
    let directory = built.prefix.parent().unwrap().to_owned();
    let name = directory.file_name().unwrap().to_str().unwrap();
    let cache = fixture.cache();
    let text = include_str!("version_1.json")
        .replace("{KEY}", &key.to_string())
        .replace("{DIRECTORY}", name)
        .replace("{CACHE}", cache.directory().to_str().unwrap());
    fs::write(cache.names(&key).record(), text).unwrap();
    fs::remove_file(directory.join("record.json")).unwrap();
    fs::rename(cache.names(&key).lease(name), cache.names(&key).old_lease()).unwrap();
    directory
}

#[test]
fn records_of_version_1_are_found_used_and_shown() {
    let fixture = Fixture::quick();
    let built = prepared(&fixture.cache(), "");
    as_version_1(&fixture, &built);

    let cache = fixture.cache();
    let again = prepared(&cache, "");

    assert!(again.reused);
    assert_eq!(again.interpreter, built.interpreter);
    assert_eq!(again.variables, built.variables);
    assert_eq!(again.path_entries, built.path_entries);
    assert_eq!(again.python_version.as_deref(), Some("3.11.7"));
    let details = cache.show(&built.key.unwrap().to_string()).unwrap();
    assert_eq!(details.entry.python_version.as_deref(), Some("3.11.7"));
    assert_eq!(details.packages, ["six==1.16.0"]);
    assert_eq!((details.parts, details.lock), (None, Vec::new()));
}

#[test]
fn environments_of_version_1_are_leased_replaced_and_removed() {
    let fixture = Fixture::quick();
    let cache = fixture.cache();
    let built = prepared(&cache, "");
    let directory = as_version_1(&fixture, &built);
    let key = built.key.unwrap();

    let lease = cache.lease(&key).unwrap();
    assert!(cache.list().unwrap()[0].in_use);
    let same = cache.lease_prepared(&built).unwrap();
    super::fresh::afresh(&cache, "");
    assert!(directory.is_dir(), "a run is in it");
    drop((lease, same));
    assert_eq!(cache.sweep().unwrap(), 1);
    assert!(!directory.exists());
    cache.remove(&key.to_string()).unwrap();

    assert_eq!(cache.sweep().unwrap(), 0);
    assert!(fixture.files().is_empty(), "{:?}", fixture.files());
}
