//! The stat cache: which files were read before and have not changed since.
//!
//! One file for a source and a store, with a block for each directory, read one by one as
//! the walk comes by: nothing is read of directories that are gone, and nothing is looked up, for
//! a block's names have the order that the walk has.
//!
//! ```text
//! "trainyard index\0"   magic
//! version    u32 LE     1
//! store      32 bytes   what identifies the store and all that was ever removed from it
//! root       offset u64, length u32: the block of the source itself
//! checksum   u64        of the above
//! …                     blocks, those of subdirectories before that of the directory
//! ```
//!
//! The file is never changed: a new one takes its place. It is not synced, because every part of
//! it has a checksum; one that is lost, torn or of another version only costs the time to read
//! the source again.
//!
//! # When it is believed
//!
//! A file has the digest it is said to have when all of its stamp is the same (size, times, inode,
//! device, mode): a change after it was read would have moved the change time, because that was
//! older than a step of the file system's clock before it was read. A directory has the names it is said to have when the same
//! holds for its own stamp, and the same ignore rules hold inside; its files are asked for their
//! stamps all the same. The store has the objects when nothing was removed from it since.

pub(crate) mod block;
mod checksum;
pub(crate) mod stamp;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use self::block::{Block, Head, Known, Location};
use self::checksum::checksum;
use crate::digest::Digest;
use crate::path_error::{IoContext, PathError};

const MAGIC: &[u8; 16] = b"trainyard index\0";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16 + 4 + 32 + 12 + 8;

/// An index that was written earlier.
pub(crate) struct Index {
    file: File,
    length: u64,
    /// The block of the source itself.
    pub(crate) root: Location,
    /// What identified the store when the index was written.
    pub(crate) store: Digest,
}

impl Index {
    /// Opens the index at `path`, if there is a sound one.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0).ok()?;
        let (fields, sum) = header.split_last_chunk::<8>()?;
        let fields = fields.strip_prefix(MAGIC)?.strip_prefix(&VERSION.to_le_bytes())?;
        let (store, root) = fields.split_first_chunk::<32>()?;
        let (offset, root_length) = root.split_first_chunk::<8>()?;
        let root = Location {
            offset: u64::from_le_bytes(*offset),
            length: u32::from_le_bytes(root_length.try_into().ok()?),
        };
        let sound = u64::from_le_bytes(*sum) == checksum(0, &header[..HEADER_BYTES - 8]);
        sound.then(|| Self { file, length, root, store: Digest::from_bytes(*store) })
    }

    /// Reads the block at `location` into `buffer`; nothing when it is not sound.
    pub(crate) fn block<'a>(
        &self,
        location: Location,
        buffer: &'a mut Vec<u8>,
    ) -> Option<Block<'a>> {
        let end = location.offset.checked_add(u64::from(location.length))?;
        if end > self.length {
            return None;
        }
        buffer.resize(usize::try_from(location.length).ok()?, 0);
        self.file.read_exact_at(buffer, location.offset).ok()?;
        Block::decode(location.offset, buffer)
    }
}

/// An index that is being made, by several threads.
pub(crate) struct IndexWriter {
    bytes: Mutex<Vec<u8>>,
}

impl IndexWriter {
    /// Starts an empty index.
    pub(crate) fn new() -> Self {
        Self { bytes: Mutex::new(vec![0; HEADER_BYTES]) }
    }

    /// Adds a directory's block. Those of its subdirectories must have been added.
    pub(crate) fn add<'a>(
        &self,
        head: &Head,
        entries: impl Iterator<Item = Known<'a>> + Clone,
    ) -> Location {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = bytes.len() as u64;
        block::encode(offset, head, entries, &mut bytes)
    }

    /// Puts the index in the place of the one at `path`.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or written.
    pub(crate) fn save(self, path: &Path, root: Location, store: &Digest) -> Result<(), PathError> {
        let mut bytes = self.bytes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(store.as_bytes());
        header.extend_from_slice(&root.offset.to_le_bytes());
        header.extend_from_slice(&root.length.to_le_bytes());
        let sum = checksum(0, &header);
        header.extend_from_slice(&sum.to_le_bytes());
        bytes[..HEADER_BYTES].copy_from_slice(&header);

        let directory = path.parent().unwrap_or_else(|| Path::new("."));
        std::fs::create_dir_all(directory).context("create", directory)?;
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            file.write_all(&bytes)?;
            file.persist(path)?;
            Ok(())
        };
        write().context("write", path)
    }
}

#[cfg(test)]
mod tests {
    use super::block::KnownKind;
    use super::stamp::Stamp;
    use super::*;

    fn written(path: &Path) -> (Head, Digest) {
        let digest = Digest::of(b"x");
        let head =
            Head { tree: digest, directory: Stamp::UNKNOWN, rules: digest, ignore_file: false };
        let writer = IndexWriter::new();
        let kind = KnownKind::File { stamp: Stamp::UNKNOWN, digest };
        let child = writer.add(&head, [Known { name: b"file", kind }].into_iter());
        let kind = KnownKind::Directory { block: child };
        let root = writer.add(&head, [Known { name: b"directory", kind }].into_iter());
        writer.save(path, root, &digest).unwrap();
        (head, digest)
    }

    #[test]
    fn an_index_is_read_as_it_was_written() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("made/index");
        let (head, store) = written(&path);

        let index = Index::open(&path).unwrap();
        assert_eq!(index.store, store);
        let mut buffer = vec![];
        let root = index.block(index.root, &mut buffer).unwrap();
        assert_eq!(root.head, head);
        let entries: Vec<_> = root.collect();
        let [Known { name: b"directory", kind: KnownKind::Directory { block } }] = entries[..]
        else {
            panic!("{entries:?}");
        };
        assert!(index.block(block, &mut vec![]).is_some());
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_noticed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("index");
        written(&path);
        let whole = std::fs::read(&path).unwrap();
        let sound = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let Some(index) = Index::open(&path) else { return false };
            let mut buffer = vec![];
            let Some(mut root) = index.block(index.root, &mut buffer) else { return false };
            let Some(Known { kind: KnownKind::Directory { block }, .. }) = root.next() else {
                return false;
            };
            index.block(block, &mut vec![]).is_some()
        };
        assert!(sound(&whole));
        for at in 0..whole.len() {
            assert!(!sound(&whole[..at]), "cut at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            assert!(!sound(&flipped), "flipped at {at}");
        }
    }
}
