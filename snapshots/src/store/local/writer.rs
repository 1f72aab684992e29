//! Storing objects: gathered in temporary files, given their places all at once.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Read, Write};

use tempfile::NamedTempFile;

use super::large_writer::LargeWriter;
use super::lease::Lease;
use super::pack::PackWriter;
use super::{LocalStore, durable};
use crate::archive::{self, Encoding};
use crate::digest::Digest;
use crate::path_error::IoContext;
use crate::store::{LARGE_OBJECT_BYTES, StoreError};

/// How much of a large object is read at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// Stores objects. Nothing shows in the store before [`Self::commit`]; dropped, it leaves nothing.
///
/// It holds a [`Lease`], so what it skipped because the store has it is still there afterwards.
pub struct StoreWriter {
    store: LocalStore,
    pack: Option<PackWriter>,
    large: Vec<(Digest, NamedTempFile)>,
    seen: HashSet<Digest>,
    healing: Vec<Digest>,
    freshened: HashSet<String>,
    written: Written,
    _lease: Lease,
}

/// What a writer added to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// How many objects.
    pub objects: u64,
    /// Their own bytes, before any compression.
    pub bytes: u64,
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

impl StoreWriter {
    pub(super) fn new(store: LocalStore) -> Result<Self, StoreError> {
        let lease = store.lease()?;
        store.refresh()?;
        Ok(Self {
            store,
            pack: None,
            large: Vec::new(),
            seen: HashSet::new(),
            healing: Vec::new(),
            freshened: HashSet::new(),
            written: Written::default(),
            _lease: lease,
        })
    }

    /// Returns whether the store or this writer has the object; it then stays until the writer
    /// ends.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`]: the store cannot be read.
    pub fn has(&mut self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.seen.contains(digest) || self.store.claim(digest, &mut self.freshened)?)
    }

    /// Stores an object unless the store or this writer has it; returns whether it is new.
    ///
    /// `digest` is taken from the caller, who has just computed it from these very bytes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`]: the object could not be written. Drop the writer.
    pub fn put(&mut self, digest: Digest, bytes: &[u8]) -> Result<bool, StoreError> {
        if !self.wants(digest)? {
            return Ok(false);
        }
        self.keep(digest, bytes, None)?;
        Ok(true)
    }

    /// Stores another copy of an object that the store has, for clean-up to remove the first.
    ///
    /// It is compressed where that pays: nobody waits for it as for a snapshot, and what is kept
    /// for long is worth it.
    pub(crate) fn put_again(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        self.keep(digest, bytes, archive::compressed(bytes).as_deref())
    }

    fn keep(
        &mut self,
        digest: Digest,
        bytes: &[u8],
        compressed: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let temporary = &self.store.inner.temporary;
        match u32::try_from(bytes.len()) {
            Ok(length) if u64::from(length) < LARGE_OBJECT_BYTES => {
                let pack = match &mut self.pack {
                    Some(pack) => pack,
                    none => none.insert(PackWriter::new(temporary)?),
                };
                match compressed {
                    Some(stored) => pack.add(digest, length, Encoding::Zstd, stored)?,
                    None => pack.add(digest, length, Encoding::Plain, bytes)?,
                }
            }
            _ => {
                let mut file = durable::temporary_file(temporary)?;
                file.write_all(bytes).context("write", file.path())?;
                self.large.push((digest, file));
            }
        }
        self.written += Written { objects: 1, bytes: bytes.len() as u64 };
        Ok(())
    }

    /// Stores what `from` gives, of any length, without holding it in memory; returns its digest,
    /// its length and whether it is new.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stream`]: `from` cannot be read; the writer is as it was.
    /// [`StoreError::Path`]: the object could not be written. Drop the writer.
    pub fn put_large(&mut self, from: &mut dyn Read) -> Result<(Digest, u64, bool), StoreError> {
        let mut start = Vec::new();
        let mut head = from.take(LARGE_OBJECT_BYTES);
        head.read_to_end(&mut start).map_err(|source| StoreError::Stream { source })?;
        if (start.len() as u64) < LARGE_OBJECT_BYTES {
            let digest = Digest::of(&start);
            return Ok((digest, start.len() as u64, self.put(digest, &start)?));
        }
        let mut writer = LargeWriter::new(&self.store.inner.temporary)?;
        writer.write(&start)?;
        let mut chunk = start;
        chunk.truncate(CHUNK_BYTES);
        loop {
            match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => writer.write(&chunk[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(StoreError::Stream { source }),
            }
        }
        let (digest, length, file) = writer.finish();
        if !self.wants(digest)? {
            return Ok((digest, length, false));
        }
        self.large.push((digest, file));
        self.written += Written { objects: 1, bytes: length };
        Ok((digest, length, true))
    }

    /// Makes what was put durable and then visible.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`]: not everything could be made durable. What was is harmless; store
    /// the rest again.
    pub fn commit(self) -> Result<Written, StoreError> {
        let inner = &self.store.inner;
        for (_, file) in &self.large {
            file.as_file().sync_data().context("sync", file.path())?;
        }
        let mut directories = BTreeSet::new();
        for (digest, file) in self.large {
            directories.insert(inner.large.place(&digest, file)?);
        }
        let packs = inner.packs.directory();
        let pack = self.pack.map(|pack| pack.finish(packs, &inner.temporary)).transpose()?;
        if pack.is_some() {
            directories.insert(packs.to_owned());
        }
        for directory in &directories {
            durable::sync_directory(directory)?;
        }
        if let Some(pack) = pack {
            inner.packs.add(pack);
        }
        for digest in &self.healing {
            inner.damage.heal(digest)?;
        }
        Ok(self.written)
    }

    /// Returns whether the object has to be written: neither the store nor this writer has it.
    fn wants(&mut self, digest: Digest) -> Result<bool, StoreError> {
        if !self.seen.insert(digest) || self.store.claim(&digest, &mut self.freshened)? {
            return Ok(false);
        }
        if self.store.inner.damage.contains(&digest) {
            self.healing.push(digest);
        }
        Ok(true)
    }
}
