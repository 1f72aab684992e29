//! Snapshots laid out in directories.
#![expect(clippy::unwrap_used, reason = "a test")]

mod objects;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use objects::{Node, content, directory, files_below, store_snapshot};
use snapshots::digest::Digest;
use snapshots::materialize::{MaterializeError, Materialized, materialize};
use snapshots::store::local::LocalStore;
use snapshots::tree::{EntryKind, Tree, TreeEntry};

fn store() -> (tempfile::TempDir, LocalStore) {
    let home = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&home.path().join("store")).unwrap();
    (home, store)
}

fn put(store: &LocalStore, bytes: &[u8]) -> Digest {
    let mut writer = store.writer().unwrap();
    writer.put(Digest::of(bytes), bytes).unwrap();
    writer.commit().unwrap();
    Digest::of(bytes)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_snapshot_is_laid_out_as_it_was() {
    let (home, store) = store();
    let large = content(1, 9 << 20);
    let many = (0..500u64).map(|n| (format!("{n}"), Node::File(content(n % 50, 100))));
    let record = store_snapshot(
        &store,
        &directory([
            ("deep", directory([("er", directory([("f", Node::File(b"f".to_vec()))]))])),
            ("empty", directory::<&str>([])),
            ("large", Node::File(large.clone())),
            ("link", Node::Link("deep/er")),
            ("many", directory(many)),
            ("nothing", Node::File(Vec::new())),
            ("run", Node::Executable(b"#!".to_vec())),
        ]),
    );
    let to = home.path().join("to");

    let made = materialize(&store, &record.id, &to, 3).unwrap();

    assert_eq!(made, Materialized { files: 505, bytes: (9 << 20) + 50_003 });
    assert_eq!(fs::read(to.join("link/f")).unwrap(), b"f");
    assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("deep/er"));
    assert!(fs::read(to.join("large")).unwrap() == large);
    for n in 0..500u64 {
        assert!(fs::read(to.join(format!("many/{n}"))).unwrap() == content(n % 50, 100));
    }
    assert_eq!(fs::read_dir(to.join("empty")).unwrap().count(), 0);
    let modes = ["run", "nothing", "large", "empty"].map(|name| mode(&to.join(name)));
    assert_eq!(modes, [0o755, 0o644, 0o644, 0o755]);
}

#[test]
fn what_a_run_does_to_its_files_does_not_reach_the_store() {
    let (home, store) = store();
    let large = content(1, 5 << 20);
    let root =
        directory([("a", Node::File(b"abc".to_vec())), ("large", Node::File(large.clone()))]);
    let record = store_snapshot(&store, &root);
    let to = home.path().join("to");
    materialize(&store, &record.id, &to, 1).unwrap();
    for name in ["a", "large"] {
        assert_eq!(fs::metadata(to.join(name)).unwrap().nlink(), 1);
        fs::write(to.join(name), "overwritten").unwrap();
    }

    assert_eq!(store.read(&Digest::of(b"abc")).unwrap(), b"abc");
    assert!(store.read(&Digest::of(&large)).unwrap() == large);
}

#[test]
fn an_empty_directory_is_taken_and_any_other_is_refused() {
    let (home, store) = store();
    let record = store_snapshot(&store, &directory([("a", Node::File(b"a".to_vec()))]));
    let empty = home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    materialize(&store, &record.id, &empty, 1).unwrap();

    let again = materialize(&store, &record.id, &empty, 1);
    assert!(matches!(again, Err(MaterializeError::NotEmpty { .. })));
    assert_eq!(fs::read(empty.join("a")).unwrap(), b"a");

    let file = home.path().join("file");
    fs::write(&file, "mine").unwrap();
    assert!(matches!(materialize(&store, &record.id, &file, 1), Err(MaterializeError::Path(_))));
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn a_destination_that_is_a_link_is_refused() {
    let (home, store) = store();
    let record = store_snapshot(&store, &directory([("a", Node::File(b"a".to_vec()))]));
    fs::create_dir(home.path().join("elsewhere")).unwrap();
    symlink("elsewhere", home.path().join("link")).unwrap();

    materialize(&store, &record.id, &home.path().join("link"), 1).unwrap_err();

    assert_eq!(files_below(&home.path().join("elsewhere")), Vec::<PathBuf>::new());
}

#[test]
fn links_out_of_the_snapshot_are_never_followed() {
    let (home, store) = store();
    let outside = home.path().join("outside");
    fs::create_dir(&outside).unwrap();
    // Names cannot be the same, so what could be written through a link is a name below one.
    let record = store_snapshot(
        &store,
        &directory([
            ("a", Node::Link("../outside")),
            (
                "b",
                directory([("a", Node::Link("../../outside")), ("c", Node::File(b"c".to_vec()))]),
            ),
            ("z", Node::File(b"z".to_vec())),
        ]),
    );

    materialize(&store, &record.id, &home.path().join("to"), 2).unwrap();

    assert_eq!(files_below(&outside), Vec::<PathBuf>::new());
}

#[test]
fn hostile_trees_are_refused_and_leave_nothing() {
    let (home, store) = store();
    let file = put(&store, b"x");
    let head = b"trainyard tree 1\n".as_slice();
    let entry = |kind: u8, name: &[u8], tail: &[u8]| {
        let length = u32::try_from(name.len()).unwrap().to_le_bytes();
        [&[kind], length.as_slice(), name, tail].concat()
    };
    let content = [1u64.to_le_bytes().as_slice(), file.as_bytes()].concat();
    let target = [4u32.to_le_bytes().as_slice(), b"/tmp"].concat();
    let link = entry(2, b"a", &target);
    let subtree = put(&store, &[head, &entry(0, b"f", &content)].concat());
    let hostile = [
        entry(0, b"..", &content),
        entry(0, b"../x", &content),
        entry(0, b"/tmp/x", &content),
        entry(0, b"a/../../x", &content),
        [link.clone(), entry(3, b"a", subtree.as_bytes())].concat(),
        [link, entry(0, b"a", &content)].concat(),
    ];
    for (n, entries) in hostile.iter().enumerate() {
        let root = put(&store, &[head, entries].concat());
        let to = home.path().join(format!("to-{n}"));
        let refused = materialize(&store, &root, &to, 1);
        assert!(matches!(refused, Err(MaterializeError::Content { .. })), "{n}");
        assert!(!to.exists(), "{n}");
    }
}

#[test]
fn a_failure_leaves_nothing_behind() {
    let (home, store) = store();
    let names = (0..200u64).map(|n| (format!("{n}"), Node::File(content(n, 500))));
    let root = directory([("d", directory(names)), ("link", Node::Link("d"))]);
    let record = store_snapshot(&store, &root);
    let pack = files_below(&home.path().join("store/packs")).pop().unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let last = content(199, 500);
    let at = bytes.windows(500).position(|window| window == last).unwrap();
    bytes[at] ^= 1;
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, bytes).unwrap();
    let given = home.path().join("given");
    fs::create_dir(&given).unwrap();

    for to in [home.path().join("made"), given.clone()] {
        let error = materialize(&store, &record.id, &to, 2).unwrap_err();
        assert_eq!(error.to_string(), "cannot lay out \"d/199\"");
    }

    assert!(!home.path().join("made").exists());
    assert_eq!(fs::read_dir(given).unwrap().count(), 0);
}

#[test]
fn a_tree_that_lies_about_a_length_is_refused() {
    let (home, store) = store();
    let digest = put(&store, b"four");
    let kind = EntryKind::File { digest, size: 5, executable: false };
    let tree = Tree::new(vec![TreeEntry { name: b"f".to_vec(), kind }]).unwrap();
    let root = put(&store, &tree.encode());

    let refused = materialize(&store, &root, &home.path().join("to"), 1);

    assert!(matches!(refused, Err(MaterializeError::Length { said: 5, actual: 4, .. })));
    assert!(!home.path().join("to").exists());
}

#[test]
fn a_tree_bomb_is_refused() {
    let (home, store) = store();
    let mut digest = put(&store, &Tree::default().encode());
    for _ in 0..30 {
        let kind = EntryKind::Directory { digest };
        let entries =
            [b"a", b"b"].map(|name| TreeEntry { name: name.to_vec(), kind: kind.clone() });
        digest = put(&store, &Tree::new(entries.to_vec()).unwrap().encode());
    }

    let refused = materialize(&store, &digest, &home.path().join("to"), 1);

    assert!(matches!(refused, Err(MaterializeError::TooMany { .. })));
    assert!(!home.path().join("to").exists());
}

#[test]
fn paths_longer_than_the_system_takes_at_once_work() {
    let (home, store) = store();
    let mut root = directory([("bottom", Node::File(b"deep".to_vec()))]);
    for _ in 0..300 {
        root = directory([("n".repeat(100), root)]);
    }
    let record = store_snapshot(&store, &root);

    let made = materialize(&store, &record.id, &home.path().join("to"), 2).unwrap();

    assert_eq!(made, Materialized { files: 1, bytes: 4 });
    // The temporary directory is removed a level at a time, which std does by descriptor.
}

#[test]
fn modes_do_not_depend_on_what_a_directory_gives_its_files() {
    let (home, store) = store();
    let record = store_snapshot(
        &store,
        &directory([("d", directory([("x", Node::Executable(b"x".to_vec()))]))]),
    );
    let to = home.path().join("to");
    fs::create_dir(&to).unwrap();
    fs::set_permissions(&to, fs::Permissions::from_mode(0o700)).unwrap();

    materialize(&store, &record.id, &to, 1).unwrap();

    assert_eq!([mode(&to), mode(&to.join("d")), mode(&to.join("d/x"))], [0o700, 0o755, 0o755]);
}
