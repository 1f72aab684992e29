//! Trees: the listings of directories, in canonical bytes.
//!
//! # Canonical form, version 1
//!
//! ```text
//! "trainyard tree 1\n"                                    magic and version
//! per entry, in ascending order of the name's bytes:
//!     kind       u8      0 file, 1 executable file, 2 symbolic link, 3 directory
//!     name       u32 LE length, bytes
//!     0, 1:      size u64 LE, digest of the content (32 bytes)
//!     2:         target: u32 LE length, bytes
//!     3:         digest of the subdirectory's tree (32 bytes)
//! ```
//!
//! Owner, group, times and all of the mode but the executable bit are left out on purpose: they
//! differ between checkouts of the same source. Every text has its length before it and every
//! kind its number, so two different directories never have the same bytes.

use crate::digest::Digest;

const MAGIC: &[u8] = b"trainyard tree 1\n";

/// A directory's listing, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: Vec<TreeEntry>,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// The name, as the file system has it: bytes, neither empty, `.` nor `..`, without `/` or NUL.
    pub name: Vec<u8>,
    /// What has that name.
    pub kind: EntryKind,
}

/// What a name in a directory stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// The content's digest.
        digest: Digest,
        /// The content's length in bytes.
        size: u64,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A symbolic link, kept as a link.
    Symlink {
        /// Where it leads, as the file system has it.
        target: Vec<u8>,
    },
    /// A subdirectory.
    Directory {
        /// The digest of its tree.
        digest: Digest,
    },
}

/// Why bytes or entries are not a tree.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The first bytes are not those of a tree of a version that is known here.
    #[error("not a tree, or one of a version not known to this program")]
    Version,
    /// The bytes end in the middle of an entry, or have a kind that does not exist.
    #[error("malformed tree at byte {offset}")]
    Malformed {
        /// Where reading stopped.
        offset: usize,
    },
    /// A name that could lead out of its directory, or that no file system could have.
    #[error("illegal name {name:?} in a tree")]
    Name {
        /// The name, escaped.
        name: String,
    },
    /// The names are not in strictly ascending order.
    #[error("names of a tree are not in order at {name:?}")]
    Order {
        /// The first name that is out of order, escaped.
        name: String,
    },
}

impl Tree {
    /// Makes a tree of `entries` in any order.
    ///
    /// # Errors
    ///
    /// [`TreeError::Name`] for an illegal name, [`TreeError::Order`] for a name given twice.
    pub fn new(mut entries: Vec<TreeEntry>) -> Result<Self, TreeError> {
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let tree = Self { entries };
        tree.check()?;
        Ok(tree)
    }

    /// Returns the entries in ascending order of their names' bytes.
    #[must_use]
    pub fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    /// Returns the entry called `name`.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&TreeEntry> {
        let at = self.entries.binary_search_by(|entry| entry.name.as_slice().cmp(name)).ok()?;
        self.entries.get(at)
    }

    /// Returns the canonical bytes, the same on every machine.
    ///
    /// # Panics
    ///
    /// Never for a tree of a file system: names and link targets are shorter than 4 GiB.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAGIC.len() + self.entries.len() * 72);
        out.extend_from_slice(MAGIC);
        for entry in &self.entries {
            match &entry.kind {
                EntryKind::File { digest, size, executable } => {
                    put_head(&mut out, u8::from(*executable), &entry.name);
                    out.extend_from_slice(&size.to_le_bytes());
                    out.extend_from_slice(digest.as_bytes());
                }
                EntryKind::Symlink { target } => {
                    put_head(&mut out, 2, &entry.name);
                    put_text(&mut out, target);
                }
                EntryKind::Directory { digest } => {
                    put_head(&mut out, 3, &entry.name);
                    out.extend_from_slice(digest.as_bytes());
                }
            }
        }
        out
    }

    /// Returns the digest of the canonical bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }

    /// Reads a tree from its canonical bytes, refusing every other form.
    ///
    /// # Errors
    ///
    /// [`TreeError`]: the bytes are not those of a tree. Do not retry.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(TreeError::Version)?;
        let mut reader = Reader { rest, whole: bytes.len() };
        let mut entries = Vec::new();
        while !reader.rest.is_empty() {
            entries.push(reader.entry()?);
        }
        let tree = Self { entries };
        tree.check()?;
        Ok(tree)
    }

    fn check(&self) -> Result<(), TreeError> {
        for entry in &self.entries {
            let name = entry.name.as_slice();
            let illegal = matches!(name, b"" | b"." | b"..")
                || name.iter().any(|byte| matches!(byte, b'/' | 0));
            if illegal {
                return Err(TreeError::Name { name: name.escape_ascii().to_string() });
            }
        }
        match self.entries.windows(2).find(|pair| pair[0].name >= pair[1].name) {
            Some(pair) => Err(TreeError::Order { name: pair[1].name.escape_ascii().to_string() }),
            None => Ok(()),
        }
    }
}

fn put_head(out: &mut Vec<u8>, kind: u8, name: &[u8]) {
    out.push(kind);
    put_text(out, name);
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).expect("names and link targets are shorter than 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text);
}

struct Reader<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl Reader<'_> {
    fn entry(&mut self) -> Result<TreeEntry, TreeError> {
        let offset = self.whole - self.rest.len();
        let [kind] = self.array()?;
        let name = self.text()?;
        let kind = match kind {
            0 | 1 => EntryKind::File {
                size: u64::from_le_bytes(self.array()?),
                digest: Digest::from_bytes(self.array()?),
                executable: kind == 1,
            },
            2 => EntryKind::Symlink { target: self.text()? },
            3 => EntryKind::Directory { digest: Digest::from_bytes(self.array()?) },
            _ => return Err(TreeError::Malformed { offset }),
        };
        Ok(TreeEntry { name, kind })
    }

    fn text(&mut self) -> Result<Vec<u8>, TreeError> {
        let length = u32::from_le_bytes(self.array()?);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.take(length).map(<[u8]>::to_vec)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TreeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn take(&mut self, length: usize) -> Result<&[u8], TreeError> {
        let offset = self.whole - self.rest.len();
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or(TreeError::Malformed { offset })?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Tree {
        let digest = Digest::of(b"x");
        let entry = |name: &[u8], kind| TreeEntry { name: name.to_vec(), kind };
        Tree::new(vec![
            entry(b"train.py", EntryKind::File { digest, size: 1, executable: false }),
            entry(b"run.sh", EntryKind::File { digest, size: 1, executable: true }),
            entry(b"data", EntryKind::Directory { digest: Tree::default().digest() }),
            entry(b"\xff\n-", EntryKind::Symlink { target: b"../train.py".to_vec() }),
        ])
        .unwrap()
    }

    /// Golden digests: a change here is a change of every snapshot id, so it needs a new version
    /// of the canonical form and a reader for the old one.
    #[test]
    fn golden_digests() {
        insta::assert_snapshot!(Tree::default().digest(), @"32b2c5b60c55f19f0ed8ae4fc5a41ea3231e455cafca4d83ce7f251fcc2a3113");
        insta::assert_snapshot!(sample().digest(), @"9d0960c88b53599346cbcf185adbbe71f15b57958fa0d8ccf8570afb99848f09");
    }

    #[test]
    fn a_tree_survives_its_bytes() {
        assert_eq!(Tree::decode(&sample().encode()).unwrap(), sample());
    }

    #[test]
    fn illegal_names_are_refused() {
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0b"] {
            let kind = EntryKind::Symlink { target: b"x".to_vec() };
            let refused = Tree::new(vec![TreeEntry { name: name.to_vec(), kind }]);
            assert!(matches!(refused, Err(TreeError::Name { .. })), "{name:?}");
        }
    }

    #[test]
    fn a_name_twice_is_refused() {
        let entry = TreeEntry { name: b"a".to_vec(), kind: EntryKind::Symlink { target: vec![] } };
        assert!(matches!(Tree::new(vec![entry.clone(), entry]), Err(TreeError::Order { .. })));
    }

    proptest! {
        #[test]
        fn every_cut_and_every_flipped_bit_is_refused_or_another_tree(at in 0usize..400, bit in 0u8..8) {
            let bytes = sample().encode();
            let at = at % bytes.len();
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            if let Ok(tree) = Tree::decode(&flipped) {
                prop_assert_eq!(tree.encode(), flipped);
            }
            if let Ok(tree) = Tree::decode(&bytes[..at]) {
                prop_assert_eq!(tree.encode(), &bytes[..at]);
            }
        }
    }
}
