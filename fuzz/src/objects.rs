//! What comes with a source: packs of objects, trees, ignore files.

use std::fs;
use std::sync::LazyLock;

use snapshots::archive::Limits;
use snapshots::ignore_rules::IgnoreRules;
use snapshots::store::local::LocalStore;
use snapshots::transfer::receive_pack;
use snapshots::tree::Tree;

/// Small, so that they are met.
const LIMITS: Limits = Limits { object_bytes: 1 << 20, total_bytes: 4 << 20, objects: 100 };

/// A pack is taken whole or leaves nothing behind.
pub(crate) fn pack(bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = LocalStore::open(directory.path()).expect("a store");
    let empty = store.generation().expect("it can be told");
    match receive_pack(&store, &mut &bytes[..], LIMITS) {
        Ok(_) => {}
        // What came whole before the stream broke off is kept, and sound.
        Err(snapshots::transfer::TransferError::Archive(error)) if error.is_interruption() => {}
        Err(_) => assert_eq!(store.generation().expect("it can be told"), empty),
    }
}

/// A tree has one form.
pub(crate) fn tree(bytes: &[u8]) {
    if let Ok(tree) = Tree::decode(bytes) {
        assert_eq!(tree.encode(), bytes);
    }
}

/// The same rules decide the same of every path, whatever they are.
pub(crate) fn ignore_file(bytes: &[u8]) {
    static NONE: LazyLock<[IgnoreRules; 2]> = LazyLock::new(|| {
        [".amlignore", ".gitignore"].map(|name| {
            let source = tempfile::tempdir().expect("a directory");
            fs::write(source.path().join(name), "").expect("a file");
            IgnoreRules::for_source(source.path()).expect("it is empty")
        })
    });
    let (path, text) = split(bytes);
    for rules in &*NONE {
        let Ok(rules) = rules.enter(b"", text) else { continue };
        for is_dir in [false, true] {
            let first = rules.decide(path, is_dir).excluded;
            assert_eq!(rules.decide(path, is_dir).excluded, first);
        }
    }
}

/// What `.dockerignore` says decides without an end.
pub(crate) fn dockerignore(bytes: &[u8]) {
    let (path, text) = split(bytes);
    let source = tempfile::tempdir().expect("a directory");
    fs::write(source.path().join(".dockerignore"), text).expect("a file");
    if let Ok(rules) = IgnoreRules::for_build_context(source.path(), "Dockerfile".as_ref()) {
        rules.decide(path, false);
        rules.decide(path, true);
    }
}

/// Returns the first line, which is a path, and the rest.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, b""),
    }
}
