//! Stores, trees and records for tests, made by hand.
#![allow(dead_code, reason = "each test binary uses its own part of it")]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::Path;

use snapshots::digest::Digest;
use snapshots::snapshot::SnapshotRecord;
use snapshots::store::local::LocalStore;
use snapshots::tree::{EntryKind, Tree, TreeEntry};

/// A file's content that differs for every seed and is `length` bytes long.
pub(crate) fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// What a directory of a made-up snapshot holds.
pub(crate) enum Node {
    /// A file.
    File(Vec<u8>),
    /// An executable file.
    Executable(Vec<u8>),
    /// A symbolic link.
    Link(&'static str),
    /// A directory.
    Directory(BTreeMap<String, Node>),
}

/// Makes a directory of names and what they stand for.
pub(crate) fn directory<N: Into<String>>(nodes: impl IntoIterator<Item = (N, Node)>) -> Node {
    Node::Directory(nodes.into_iter().map(|(name, node)| (name.into(), node)).collect())
}

/// Stores a directory with all that is in it, and its record; returns the record.
pub(crate) fn store_snapshot(store: &LocalStore, root: &Node) -> SnapshotRecord {
    let mut objects = Vec::new();
    let EntryKind::Directory { digest } = entry(root, &mut objects) else { panic!("no directory") };
    let mut writer = store.writer().unwrap();
    for bytes in &objects {
        writer.put(Digest::of(bytes), bytes).unwrap();
    }
    writer.commit().unwrap();
    let record = record(digest);
    store.put_record(&record).unwrap();
    record
}

/// Makes a record of a snapshot.
pub(crate) fn record(id: Digest) -> SnapshotRecord {
    SnapshotRecord {
        version: 1,
        id,
        file_count: 0,
        directory_count: 0,
        total_bytes: 0,
        created_time_utc: jiff::Timestamp::UNIX_EPOCH,
        kept: false,
        warnings: Vec::new(),
    }
}

fn entry(node: &Node, objects: &mut Vec<Vec<u8>>) -> EntryKind {
    let mut file = |bytes: &Vec<u8>, executable| {
        objects.push(bytes.clone());
        EntryKind::File { digest: Digest::of(bytes), size: bytes.len() as u64, executable }
    };
    match node {
        Node::File(bytes) => file(bytes, false),
        Node::Executable(bytes) => file(bytes, true),
        Node::Link(target) => EntryKind::Symlink { target: target.as_bytes().to_vec() },
        Node::Directory(nodes) => {
            let entries = nodes
                .iter()
                .map(|(name, node)| TreeEntry {
                    name: name.as_bytes().to_vec(),
                    kind: entry(node, objects),
                })
                .collect();
            let bytes = Tree::new(entries).unwrap().encode();
            let digest = Digest::of(&bytes);
            objects.push(bytes);
            EntryKind::Directory { digest }
        }
    }
}

/// Returns every object of the snapshot with its bytes, read from the store.
pub(crate) fn objects_of(store: &LocalStore, root: Digest) -> BTreeMap<Digest, Vec<u8>> {
    let mut objects = BTreeMap::new();
    let mut trees = vec![root];
    while let Some(digest) = trees.pop() {
        objects.insert(digest, store.read(&digest).unwrap());
        for entry in store.read_tree(&digest).unwrap().entries() {
            match entry.kind {
                EntryKind::Directory { digest } => trees.push(digest),
                EntryKind::File { digest, .. } => {
                    objects.insert(digest, store.read(&digest).unwrap());
                }
                EntryKind::Symlink { .. } => {}
            }
        }
    }
    objects
}

/// Returns the files below a directory.
pub(crate) fn files_below(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}
