//! What builds keep for later ones.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn put(fixture: &Fixture, name: &str, bytes: usize) -> std::path::PathBuf {
    let path = fixture.cache_path().join("tools").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, vec![7; bytes]).unwrap();
    path
}

fn make_old(path: &std::path::Path) {
    File::open(path).unwrap().set_modified(SystemTime::now() - 2 * DAY).unwrap();
}

#[test]
fn tools_that_no_build_used_are_counted_and_removed_after_they_were_shown() {
    let fixture = Fixture::quick();
    let cache = fixture.cache();
    assert_eq!(cache.clean_up_tools(DAY, false).unwrap(), ToolCleanup::default());
    put(&fixture, "conda/pkgs/mine.bin", 1 << 20);
    let shared = put(&fixture, "conda/pkgs/shared.bin", 4 << 20);
    let environment = fixture.cache_path().join("linked");
    fs::hard_link(&shared, &environment).unwrap();
    put(&fixture, "fresh", 1 << 20);
    make_old(&fixture.cache_path().join("tools/conda"));

    let planned = cache.clean_up_tools(DAY, true).unwrap();
    assert!(shared.exists(), "a dry run removes nothing");
    let removed = cache.clean_up_tools(DAY, false).unwrap();

    assert_eq!(planned, removed);
    let [conda] = removed.removed.as_slice() else { panic!("{removed:?}") };
    assert_eq!(conda.name, "conda");
    assert!((1 << 20..2 << 20).contains(&conda.bytes), "what is shared counts there: {conda:?}");
    assert!((1 << 20..2 << 20).contains(&removed.bytes_left), "{removed:?}");
    assert!(!shared.exists() && environment.exists());
    assert!(cache.clean_up_tools(DAY, false).unwrap().removed.is_empty());
}

#[test]
fn a_build_keeps_the_tools_and_notes_their_use() {
    let fixture = Fixture::quick();
    let tools = fixture.cache_path().join("tools");
    fs::create_dir_all(&tools).unwrap();
    fs::rename(fixture.directory.path().join("uv"), tools.join("uv")).unwrap();
    make_old(&tools.join("uv"));
    let cache = fixture.cache();
    let building = cache.lease_tools().unwrap();

    let meanwhile = cache.clean_up_tools(DAY, false).unwrap();
    assert!(meanwhile.removed.is_empty() && meanwhile.bytes_left > 0, "{meanwhile:?}");
    drop(building);
    assert_eq!(cache.clean_up_tools(DAY, true).unwrap().removed.len(), 1);
    prepared(&cache, "");

    assert!(cache.clean_up_tools(DAY, false).unwrap().removed.is_empty(), "it was used");
}
