//! The difference between two trees: added, removed, changed, renamed.

mod text;

use std::collections::BTreeMap;

pub use text::unified;

use crate::digest::Digest;
use crate::snapshot::MemoryTrees;
use crate::store::StoreError;
use crate::store::local::LocalStore;
use crate::tree::{EntryKind, Tree};

/// Where trees come from: a store, or a directory that was hashed just now.
pub trait TreeSource {
    /// Returns the directory listing with this digest.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it is not there, or cannot be read.
    fn tree(&self, digest: &Digest) -> Result<Tree, StoreError>;
}

impl TreeSource for LocalStore {
    fn tree(&self, digest: &Digest) -> Result<Tree, StoreError> {
        self.read_tree(digest)
    }
}

impl TreeSource for MemoryTrees {
    fn tree(&self, digest: &Digest) -> Result<Tree, StoreError> {
        self.get(digest).cloned().ok_or(StoreError::Missing { digest: *digest })
    }
}

/// One path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path below the root, names separated by `/`; of a renamed file the new one.
    pub path: Vec<u8>,
    /// What happened to it.
    pub kind: ChangeKind,
    /// What was there before; never a directory with something in it.
    pub old: Option<EntryKind>,
    /// What is there now.
    pub new: Option<EntryKind>,
}

/// What happened to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It is no longer there.
    Removed,
    /// Its content, its executable bit or what it is.
    Changed,
    /// The same content was at another path before.
    Renamed {
        /// That path.
        from: Vec<u8>,
    },
}

/// Returns what changed from the tree `old` to the tree `new`, by path. Subtrees that are the same
/// are not looked into; a directory counts only while it is empty.
///
/// # Errors
///
/// [`StoreError`]: a tree cannot be read.
pub fn diff(
    old_source: &dyn TreeSource,
    old: &Digest,
    new_source: &dyn TreeSource,
    new: &Digest,
) -> Result<Vec<Change>, StoreError> {
    let mut walk = Walk { old_source, new_source, changes: Vec::new(), rest: Vec::new() };
    walk.rest.push((Vec::new(), Some(*old), Some(*new)));
    while let Some((path, old, new)) = walk.rest.pop() {
        walk.directory(&path, old, new)?;
    }
    let mut changes = join_renames(walk.changes);
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(changes)
}

struct Walk<'a> {
    old_source: &'a dyn TreeSource,
    new_source: &'a dyn TreeSource,
    changes: Vec<Change>,
    /// Directories still to be compared, each with its tree before and now.
    rest: Vec<(Vec<u8>, Option<Digest>, Option<Digest>)>,
}

impl Walk<'_> {
    fn directory(
        &mut self,
        path: &[u8],
        old: Option<Digest>,
        new: Option<Digest>,
    ) -> Result<(), StoreError> {
        if old == new {
            return Ok(());
        }
        let old_tree = old.map(|old| self.old_source.tree(&old)).transpose()?;
        let new_tree = new.map(|new| self.new_source.tree(&new)).transpose()?;
        let mut names: BTreeMap<&[u8], (Option<&EntryKind>, Option<&EntryKind>)> = BTreeMap::new();
        for entry in old_tree.iter().flat_map(Tree::entries) {
            names.entry(&entry.name).or_default().0 = Some(&entry.kind);
        }
        for entry in new_tree.iter().flat_map(Tree::entries) {
            names.entry(&entry.name).or_default().1 = Some(&entry.kind);
        }
        if names.is_empty() && !path.is_empty() {
            let directory =
                |digest: Option<Digest>| digest.map(|digest| EntryKind::Directory { digest });
            self.note(path.to_vec(), directory(old), directory(new));
        }
        for (name, (old, new)) in names {
            if old != new {
                let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
                self.name([path, separator, name].concat(), old, new);
            }
        }
        Ok(())
    }

    fn name(&mut self, path: Vec<u8>, old: Option<&EntryKind>, new: Option<&EntryKind>) {
        let directory = |kind: Option<&EntryKind>| match kind {
            Some(EntryKind::Directory { digest }) => Some(*digest),
            _ => None,
        };
        let other = |kind: Option<&EntryKind>| {
            kind.filter(|kind| !matches!(kind, EntryKind::Directory { .. })).cloned()
        };
        let (old_directory, new_directory) = (directory(old), directory(new));
        let (old, new) = (other(old), other(new));
        if old_directory.is_some() || new_directory.is_some() {
            self.rest.push((path.clone(), old_directory, new_directory));
        }
        self.note(path, old, new);
    }

    fn note(&mut self, path: Vec<u8>, old: Option<EntryKind>, new: Option<EntryKind>) {
        let kind = match (&old, &new) {
            (None, None) => return,
            (None, Some(_)) => ChangeKind::Added,
            (Some(_), None) => ChangeKind::Removed,
            (Some(_), Some(_)) => ChangeKind::Changed,
        };
        self.changes.push(Change { path, kind, old, new });
    }
}

/// Joins a removed and an added file of the same content, in the order of their paths; of no
/// content there is nothing to recognise.
fn join_renames(mut changes: Vec<Change>) -> Vec<Change> {
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    let mut removed: BTreeMap<Digest, Vec<usize>> = BTreeMap::new();
    for (at, change) in changes.iter().enumerate().rev() {
        if let (ChangeKind::Removed, Some(digest)) = (&change.kind, content(change.old.as_ref())) {
            removed.entry(digest).or_default().push(at);
        }
    }
    let mut joined = vec![false; changes.len()];
    for at in 0..changes.len() {
        if changes[at].kind != ChangeKind::Added {
            continue;
        }
        let digest = content(changes[at].new.as_ref());
        let from = digest.and_then(|digest| removed.get_mut(&digest)).and_then(Vec::pop);
        if let Some(from) = from {
            joined[from] = true;
            changes[at].kind = ChangeKind::Renamed { from: changes[from].path.clone() };
            changes[at].old = changes[from].old.clone();
        }
    }
    let mut joined = joined.into_iter();
    changes.retain(|_| joined.next() != Some(true));
    changes
}

fn content(kind: Option<&EntryKind>) -> Option<Digest> {
    match kind {
        Some(EntryKind::File { digest, size, .. }) if *size > 0 => Some(*digest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::TreeEntry;

    /// Trees in memory, each made of paths and contents.
    #[derive(Default)]
    struct Trees(BTreeMap<Digest, Tree>);

    impl TreeSource for Trees {
        fn tree(&self, digest: &Digest) -> Result<Tree, StoreError> {
            self.0.get(digest).cloned().ok_or(StoreError::Missing { digest: *digest })
        }
    }

    impl Trees {
        /// Adds a tree of files; a path that ends in `/` is an empty directory, a content that
        /// starts with `->` makes a link.
        fn add(&mut self, files: &[(&str, &str)]) -> Digest {
            let mut entries = Vec::new();
            let mut below: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
            for (path, content) in files {
                match path.split_once('/') {
                    Some((name, "")) => drop(below.entry(name).or_default()),
                    Some((name, rest)) => below.entry(name).or_default().push((rest, content)),
                    None => {
                        let kind = match content.strip_prefix("->") {
                            Some(target) => EntryKind::Symlink { target: target.into() },
                            None => EntryKind::File {
                                digest: Digest::of(content.as_bytes()),
                                size: content.len() as u64,
                                executable: content.starts_with("#!"),
                            },
                        };
                        entries.push(TreeEntry { name: path.as_bytes().to_vec(), kind });
                    }
                }
            }
            for (name, files) in below {
                let kind = EntryKind::Directory { digest: self.add(&files) };
                entries.push(TreeEntry { name: name.as_bytes().to_vec(), kind });
            }
            let tree = Tree::new(entries).unwrap();
            let digest = tree.digest();
            self.0.insert(digest, tree);
            digest
        }
    }

    fn between(old: &[(&str, &str)], new: &[(&str, &str)]) -> String {
        let mut trees = Trees::default();
        let (old, new) = (trees.add(old), trees.add(new));
        let mut text = String::new();
        for change in diff(&trees, &old, &trees, &new).unwrap() {
            let path = change.path.escape_ascii();
            text += &match change.kind {
                ChangeKind::Added => format!("added {path}\n"),
                ChangeKind::Removed => format!("removed {path}\n"),
                ChangeKind::Changed => format!("changed {path}\n"),
                ChangeKind::Renamed { from } => format!("renamed {} {path}\n", from.escape_ascii()),
            };
        }
        text
    }

    #[test]
    fn every_kind_of_change_is_told_by_path() {
        let old = [("a", "1"), ("b", "2"), ("d/e", "3"), ("d/f", "4"), ("l", "->a"), ("o/", "")];
        let new = [("b", "#!2"), ("c", "5"), ("d/e", "3"), ("d/g", "4"), ("l", "->b"), ("p/", "")];
        insta::assert_snapshot!(between(&old, &new), @r#"
        removed a
        changed b
        added c
        renamed d/f d/g
        changed l
        removed o
        added p
        "#);
    }

    #[test]
    fn a_moved_directory_is_its_files_renamed() {
        let old = [("a/x", "1"), ("a/y/z", "2")];
        let new = [("b/x", "1"), ("b/y/z", "2")];
        insta::assert_snapshot!(between(&old, &new), @r#"
        renamed a/x b/x
        renamed a/y/z b/y/z
        "#);
    }

    #[test]
    fn a_file_that_becomes_a_directory_is_removed_and_its_files_added() {
        insta::assert_snapshot!(between(&[("a", "1")], &[("a/b", "2")]), @r#"
        removed a
        added a/b
        "#);
    }

    #[test]
    fn empty_files_are_never_taken_for_renamed_and_a_copy_is_added() {
        insta::assert_snapshot!(between(&[("a", ""), ("b", "x")], &[("b", "x"), ("c", ""), ("d", "x")]), @r#"
        removed a
        added c
        added d
        "#);
    }

    #[test]
    fn what_is_the_same_is_not_even_read() {
        let mut trees = Trees::default();
        let same = trees.add(&[("a", "1")]);
        assert_eq!(diff(&Trees::default(), &same, &Trees::default(), &same).unwrap(), []);
        assert!(diff(&Trees::default(), &same, &trees, &Digest::of(b"")).is_err());
    }
}
