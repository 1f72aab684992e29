//! One directory in the index.
//!
//! ```text
//! checksum       u64, of all that follows and of where the block is
//! tree           32 bytes, the digest of the directory's tree
//! directory      stamp: size u64, modified i64, changed i64, inode u64, device u64, mode u32
//! rules          32 bytes, what identifies the ignore rules that held inside
//! ignore file    u8, 1 when the directory had one of its own
//! children       count u32, then per subdirectory in order: offset u64, length u32 of its block
//! entries        count u32, then per entry in ascending order of names:
//!     kind u8, name (u16 length, bytes), then
//!     0 file: stamp, digest (32 bytes)     1 link: target (u16 length, bytes)     2 directory
//! ```

use super::checksum::checksum;
use super::stamp::Stamp;
use crate::digest::Digest;

/// Where a block is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// Its first byte.
    pub(crate) offset: u64,
    /// How many bytes it is.
    pub(crate) length: u32,
}

/// What is known of a directory as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The digest of its tree.
    pub(crate) tree: Digest,
    /// Its own stamp before it was listed; [`Stamp::UNKNOWN`] when names may have come or gone
    /// since without changing it.
    pub(crate) directory: Stamp,
    /// What identifies the ignore rules that held inside.
    pub(crate) rules: Digest,
    /// Whether it had an ignore file of its own.
    pub(crate) ignore_file: bool,
}

/// One name in a directory, as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known<'a> {
    /// The name.
    pub(crate) name: &'a [u8],
    /// What had that name.
    pub(crate) kind: KnownKind<'a>,
}

/// What had a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KnownKind<'a> {
    /// A file whose content had this digest when it had this stamp.
    File {
        /// [`Stamp::UNKNOWN`] when the content may have changed since without changing it.
        stamp: Stamp,
        /// The content's digest.
        digest: Digest,
    },
    /// A link, with its target as the tree has it.
    Link {
        /// The target.
        target: &'a [u8],
    },
    /// A directory.
    Directory {
        /// Where its block is.
        block: Location,
    },
}

/// A block that was read and is sound.
#[derive(Clone)]
pub(crate) struct Block<'a> {
    /// What is known of the directory as a whole.
    pub(crate) head: Head,
    children: &'a [u8],
    entries: Reader<'a>,
    left: u32,
}

/// Writes a block that is to be at `offset`.
pub(crate) fn encode<'a>(
    offset: u64,
    head: &Head,
    entries: impl Iterator<Item = Known<'a>> + Clone,
    out: &mut Vec<u8>,
) -> Location {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(head.tree.as_bytes());
    put_stamp(out, &head.directory);
    out.extend_from_slice(head.rules.as_bytes());
    out.push(u8::from(head.ignore_file));
    let children = entries.clone().filter_map(|entry| match entry.kind {
        KnownKind::Directory { block } => Some(block),
        _ => None,
    });
    put_count(out, children.clone().count());
    for child in children {
        out.extend_from_slice(&child.offset.to_le_bytes());
        out.extend_from_slice(&child.length.to_le_bytes());
    }
    put_count(out, entries.clone().count());
    for entry in entries {
        let kind = match entry.kind {
            KnownKind::File { .. } => 0,
            KnownKind::Link { .. } => 1,
            KnownKind::Directory { .. } => 2,
        };
        out.push(kind);
        put_text(out, entry.name);
        match &entry.kind {
            KnownKind::File { stamp, digest } => {
                put_stamp(out, stamp);
                out.extend_from_slice(digest.as_bytes());
            }
            KnownKind::Link { target } => put_text(out, target),
            KnownKind::Directory { .. } => {}
        }
    }
    let sum = checksum(offset, &out[start + 8..]);
    out[start..start + 8].copy_from_slice(&sum.to_le_bytes());
    // A longer block cannot be told of, so it is written as one that no checksum fits.
    Location { offset, length: u32::try_from(out.len() - start).unwrap_or(0) }
}

impl<'a> Block<'a> {
    /// Reads the block that was at `offset`; nothing when it is not sound.
    pub(crate) fn decode(offset: u64, bytes: &'a [u8]) -> Option<Self> {
        let (sum, rest) = bytes.split_first_chunk::<8>()?;
        if u64::from_le_bytes(*sum) != checksum(offset, rest) {
            return None;
        }
        let mut reader = Reader(rest);
        let head = Head {
            tree: Digest::from_bytes(reader.array()?),
            directory: reader.stamp()?,
            rules: Digest::from_bytes(reader.array()?),
            ignore_file: reader.array::<1>()? == [1],
        };
        let children = u32::from_le_bytes(reader.array()?);
        let children = reader.take(usize::try_from(children).ok()?.checked_mul(12)?)?;
        let left = u32::from_le_bytes(reader.array()?);
        Some(Self { head, children, entries: reader, left })
    }

    fn entry(&mut self) -> Option<Known<'a>> {
        let [kind] = self.entries.array()?;
        let name = self.entries.text()?;
        let kind = match kind {
            0 => KnownKind::File {
                stamp: self.entries.stamp()?,
                digest: Digest::from_bytes(self.entries.array()?),
            },
            1 => KnownKind::Link { target: self.entries.text()? },
            2 => {
                let (offset, rest) = self.children.split_first_chunk::<8>()?;
                let (length, rest) = rest.split_first_chunk::<4>()?;
                self.children = rest;
                let offset = u64::from_le_bytes(*offset);
                KnownKind::Directory {
                    block: Location { offset, length: u32::from_le_bytes(*length) },
                }
            }
            _ => return None,
        };
        Some(Known { name, kind })
    }
}

impl<'a> Iterator for Block<'a> {
    type Item = Known<'a>;

    fn next(&mut self) -> Option<Known<'a>> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.entry();
        if entry.is_none() {
            self.left = 0;
        }
        entry
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

/// Names have at most 255 bytes and link targets fewer than 4,096.
fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&text[..usize::from(length)]);
}

fn put_stamp(out: &mut Vec<u8>, stamp: &Stamp) {
    out.extend_from_slice(&stamp.size.to_le_bytes());
    out.extend_from_slice(&stamp.modified.to_le_bytes());
    out.extend_from_slice(&stamp.changed.to_le_bytes());
    out.extend_from_slice(&stamp.inode.to_le_bytes());
    out.extend_from_slice(&stamp.device.to_le_bytes());
    out.extend_from_slice(&stamp.mode.to_le_bytes());
}

#[derive(Clone)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_le_bytes(self.array()?);
        self.take(usize::from(length))
    }

    fn stamp(&mut self) -> Option<Stamp> {
        Some(Stamp {
            size: u64::from_le_bytes(self.array()?),
            modified: i64::from_le_bytes(self.array()?),
            changed: i64::from_le_bytes(self.array()?),
            inode: u64::from_le_bytes(self.array()?),
            device: u64::from_le_bytes(self.array()?),
            mode: u32::from_le_bytes(self.array()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Head, Vec<Known<'static>>) {
        let digest = Digest::of(b"x");
        let stamp =
            Stamp { size: 7, modified: -1, changed: 2, inode: 3, device: 4, mode: 0o100_644 };
        let head = Head { tree: digest, directory: stamp, rules: digest, ignore_file: true };
        let block = Location { offset: 64, length: 9 };
        let entries = vec![
            Known { name: b"\xff\n", kind: KnownKind::File { stamp, digest } },
            Known { name: b"a", kind: KnownKind::Directory { block } },
            Known { name: b"b", kind: KnownKind::Link { target: b"../x" } },
            Known { name: b"c", kind: KnownKind::Directory { block } },
        ];
        (head, entries)
    }

    #[test]
    fn a_block_survives_its_bytes() {
        let (head, entries) = sample();
        let mut bytes = vec![];
        let location = encode(640, &head, entries.iter().copied(), &mut bytes);
        assert_eq!(location, Location { offset: 640, length: u32::try_from(bytes.len()).unwrap() });

        let block = Block::decode(640, &bytes).unwrap();
        assert_eq!(block.head, head);
        assert_eq!(block.collect::<Vec<_>>(), entries);
    }

    #[test]
    fn a_damaged_block_is_none() {
        let (head, entries) = sample();
        let mut bytes = vec![];
        encode(640, &head, entries.into_iter(), &mut bytes);
        assert!(Block::decode(641, &bytes).is_none(), "at another place");
        for at in 0..bytes.len() {
            assert!(Block::decode(640, &bytes[..at]).is_none(), "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert!(Block::decode(640, &flipped).is_none(), "flipped at {at}");
        }
    }
}
