//! The object store on a local disk.
//!
//! ```text
//! <store>/version            "1\n"
//!         lock               flock: shared while writing, exclusive while removing
//!         gate               flock: keeps new leases from starving clean-up
//!         packs/<name>.pack  objects under 4 MiB, in the form of [`crate::archive`]
//!         packs/<name>.idx   where each object of the pack is; rebuilt from it when lost
//!         objects/ab/<hex>   one file an object of 4 MiB and more
//!         damaged/<hex>      an empty file for each object that was found damaged
//!         snapshots/<id>.json
//!         holds/<id>.<any>   flock: somebody has a use for that snapshot
//!         generation         another value after anything was removed or found damaged
//!         temporary/         what is being written; nothing in it counts
//! ```
//!
//! # Durability
//!
//! Everything is written in `temporary/`, synced, renamed into place, and the directory synced.
//! A crash at any point leaves files in `temporary/` at worst, which the next clean-up removes.
//! An index is not synced: it has a checksum, and is rebuilt from its pack when that is wrong.
//!
//! # Writers against clean-up
//!
//! Any number of processes may read and write at once; objects are never changed, and storing
//! one twice is harmless. Only removal needs an argument. Clean-up must not remove what a writer
//! was told the store already has, so:
//!
//! 1. Whoever is told that the store has an object is told so under a shared [`Lease`] on `lock`,
//!    after the time stamp of the pack or file that holds it was set to now.
//! 2. Clean-up removes only under the exclusive lock, and only packs and files whose time stamp,
//!    read again under that lock, is older than its grace age.
//!
//! So while a lease is held nothing at all is removed; and what somebody was told about without
//! keeping a lease (a transfer is several requests) stays for the grace age at least. Packs that
//! were just written are as young. A snapshot's record is written under a lease, and clean-up
//! reads the records again once it has the exclusive lock. So it does with [`Hold`]s, which keep a
//! snapshot for longer than a lease may last.

mod damage;
mod durable;
mod generation;
mod hold;
mod large;
mod large_writer;
mod lease;
mod pack;
mod pack_index;
mod packs;
mod reach;
mod records;
mod removal;
mod writer;

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use hold::Hold;
pub use lease::Lease;
pub(crate) use pack::{Pack, decode};
pub(crate) use pack_index::Location;
pub(crate) use reach::Reach;
pub(crate) use removal::LargeObject;
pub use writer::{StoreWriter, Written};

use self::damage::Damage;
use self::large::LargeObjects;
use self::packs::Packs;
use super::StoreError;
use crate::digest::Digest;
use crate::path_error::IoContext;
use crate::tree::Tree;

/// What reading an object from one place gave.
enum Content<T> {
    /// It has the digest it is kept under.
    Sound(T),
    /// It has not, or cannot be read.
    Damaged,
    /// It is not there, or no longer.
    Gone,
}

impl<T> Content<T> {
    /// Sorts an error of reading: what the disk no longer gives is damage, the rest is not.
    fn of_error(error: io::Error, path: &Path) -> Result<Self, StoreError> {
        let unreadable = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
        match error.kind() {
            io::ErrorKind::NotFound => Ok(Self::Gone),
            io::ErrorKind::UnexpectedEof => Ok(Self::Damaged),
            _ if unreadable => Ok(Self::Damaged),
            _ => Ok(Err(error).context("read", path)?),
        }
    }
}

/// The newest version of the layout above.
const VERSION: u32 = 1;

/// An object store in a directory. Cheap to clone; any number of processes may have it open.
#[derive(Clone)]
pub struct LocalStore {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    temporary: PathBuf,
    packs: Packs,
    large: LargeObjects,
    damage: Damage,
}

impl LocalStore {
    /// Opens the store in `directory`, making it when there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Version`] for a store of a newer program, [`StoreError::Path`] when the
    /// directory cannot be made or read.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let temporary = directory.join("temporary");
        for made in ["packs", "objects", "damaged", "snapshots", "temporary"] {
            let path = directory.join(made);
            fs::create_dir_all(&path).context("create", &path)?;
        }
        check_version(directory, &temporary)?;
        let inner = Inner {
            packs: Packs::new(directory.join("packs"), temporary.clone()),
            large: LargeObjects::new(directory.join("objects")),
            damage: Damage::new(directory.join("damaged")),
            directory: directory.to_owned(),
            temporary,
        };
        let store = Self { inner: Arc::new(inner) };
        store.refresh()?;
        Ok(store)
    }

    /// Returns the store's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Keeps every object from being removed for as long as the lease lives.
    ///
    /// Hold one from the first question about what the store has until the record that refers to
    /// the answers is stored. Waits while objects are being removed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`]: the lock file cannot be opened or locked.
    pub fn lease(&self) -> Result<Lease, StoreError> {
        Lease::shared(&self.inner.directory)
    }

    /// Returns whether the store has the object, and keeps it for the grace age when it does.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`]: the store cannot be read.
    pub fn contains(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.missing(std::slice::from_ref(digest))?.is_empty())
    }

    /// Returns those of `digests` that the store does not have or knows to be damaged, in their
    /// order and each once. What it has, it keeps for the grace age at least.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`]: the store cannot be read.
    pub fn missing(&self, digests: &[Digest]) -> Result<Vec<Digest>, StoreError> {
        let _lease = self.lease()?;
        self.refresh()?;
        let mut missing = Vec::new();
        let mut asked = HashSet::with_capacity(digests.len());
        let mut freshened = HashSet::new();
        for digest in digests {
            if asked.insert(*digest) && !self.claim(digest, &mut freshened)? {
                missing.push(*digest);
            }
        }
        Ok(missing)
    }

    /// Returns the object's bytes, checked against its digest.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] or [`StoreError::Damaged`]: store the content again.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.copy_to(digest, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes the object's bytes to `out` and returns how many they are.
    ///
    /// An object under 4 MiB is checked before its first byte is written. A larger one is checked
    /// as it streams: on an error the reader must throw away what it got.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] or [`StoreError::Damaged`]: store the content again.
    /// [`StoreError::Stream`]: `out` did not take the bytes.
    pub fn copy_to(&self, digest: &Digest, out: &mut dyn Write) -> Result<u64, StoreError> {
        // What another process wrote, or moved to another pack, shows after a second look.
        for look in 0..2 {
            if look > 0 {
                self.refresh()?;
            }
            let mut damaged = false;
            for (pack, location) in self.inner.packs.copies(digest) {
                match pack.read(digest, &location)? {
                    Content::Sound(bytes) => {
                        out.write_all(&bytes).map_err(|source| StoreError::Stream { source })?;
                        return Ok(bytes.len() as u64);
                    }
                    Content::Damaged => damaged = true,
                    Content::Gone => {}
                }
            }
            match self.inner.large.copy_to(digest, out)? {
                Content::Sound(length) => return Ok(length),
                Content::Damaged => return Err(self.damaged(digest)?),
                Content::Gone if damaged && look > 0 => return Err(self.damaged(digest)?),
                Content::Gone => {}
            }
        }
        Err(StoreError::Missing { digest: *digest })
    }

    /// Reads a directory's listing.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], and [`StoreError::NotATree`] for an object that is something else.
    pub fn read_tree(&self, digest: &Digest) -> Result<Tree, StoreError> {
        let bytes = self.read(digest)?;
        Tree::decode(&bytes).map_err(|source| StoreError::NotATree { digest: *digest, source })
    }

    /// Starts writing objects. Several writers at once are fine, each used by one thread.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`]: the store cannot be locked or read.
    pub fn writer(&self) -> Result<StoreWriter, StoreError> {
        StoreWriter::new(self.clone())
    }

    /// Returns where a small object is, for reading many in the order of their places. Hold a
    /// lease, or the pack may go.
    pub(crate) fn locate(&self, digest: &Digest) -> Option<(Arc<Pack>, Location)> {
        self.inner.packs.find(digest)
    }

    /// Opens a large object for reading. Its bytes are not checked: see [`Self::check`].
    pub(crate) fn open_large(&self, digest: &Digest) -> Result<fs::File, StoreError> {
        let path = self.inner.large.path(digest);
        match fs::File::open(&path) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Missing { digest: *digest })
            }
            Err(error) => Ok(Err(error).context("open", &path)?),
        }
    }

    /// Reads the object and throws its bytes away.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub(crate) fn check(&self, digest: &Digest) -> Result<(), StoreError> {
        self.copy_to(digest, &mut io::sink()).map(drop)
    }

    /// Returns whether any object is known to be damaged.
    pub(crate) fn has_damage(&self) -> Result<bool, StoreError> {
        self.inner.damage.refresh()?;
        Ok(!self.inner.damage.is_empty())
    }

    /// Looks for what other processes have added or removed.
    pub(crate) fn refresh(&self) -> Result<(), StoreError> {
        self.inner.packs.refresh()?;
        self.inner.damage.refresh()
    }

    /// Remembers that the object is damaged, and returns the error that says so.
    fn damaged(&self, digest: &Digest) -> Result<StoreError, StoreError> {
        self.inner.damage.mark(digest)?;
        Ok(StoreError::Damaged { digest: *digest })
    }

    /// Returns whether a sound copy is there, after setting its time stamp to now. The packs that
    /// were seen to are remembered in `freshened`. Call it under a lease.
    fn claim(&self, digest: &Digest, freshened: &mut HashSet<String>) -> Result<bool, StoreError> {
        if self.inner.damage.contains(digest) {
            return Ok(false);
        }
        if let Some((pack, _)) = self.inner.packs.find(digest) {
            return Ok(freshened.contains(pack.name()) || {
                let there = pack.freshen()?;
                there && freshened.insert(pack.name().to_owned())
            });
        }
        self.inner.large.freshen(digest)
    }
}

fn check_version(directory: &Path, temporary: &Path) -> Result<(), StoreError> {
    let path = directory.join("version");
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(found) if found <= VERSION => Ok(()),
            found => Err(StoreError::Version {
                path: directory.to_owned(),
                found: found.unwrap_or(u32::MAX),
                known: VERSION,
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(durable::write(temporary, &path, format!("{VERSION}\n").as_bytes())?)
        }
        Err(error) => Ok(Err(error).context("read", &path)?),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn put(store: &LocalStore, contents: &[&[u8]]) -> Written {
        let mut writer = store.writer().unwrap();
        for bytes in contents {
            writer.put(Digest::of(bytes), bytes).unwrap();
        }
        writer.commit().unwrap()
    }

    #[test]
    fn what_is_put_is_read_again_by_whoever_opens_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        let other = LocalStore::open(dir.path()).unwrap();
        let large = vec![7; 5 << 20];

        let written = put(&store, &[b"a", b"", &large, b"a"]);

        assert_eq!(written, Written { objects: 3, bytes: 1 + (5 << 20) });
        for store in [&store, &other, &LocalStore::open(dir.path()).unwrap()] {
            for bytes in [&b"a"[..], b"", &large] {
                assert!(store.read(&Digest::of(bytes)).unwrap() == bytes);
            }
        }
        assert_eq!(put(&other, &[b"a", &large]), Written::default());
    }

    #[test]
    fn nothing_shows_before_the_commit_and_an_abandoned_writer_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        let mut writer = store.writer().unwrap();
        writer.put(Digest::of(b"a"), b"a").unwrap();
        writer.put_large(&mut std::io::repeat(1).take(6 << 20)).unwrap();

        assert!(!store.contains(&Digest::of(b"a")).unwrap());
        drop(writer);

        assert_eq!(fs::read_dir(dir.path().join("temporary")).unwrap().count(), 0);
        assert!(matches!(store.read(&Digest::of(b"a")), Err(StoreError::Missing { .. })));
    }

    #[test]
    fn missing_keeps_the_order_and_names_each_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        put(&store, &[b"have"]);
        let [a, b, have] = [&b"a"[..], b"b", b"have"].map(Digest::of);

        assert_eq!(store.missing(&[b, have, a, b, a]).unwrap(), [b, a]);
    }

    #[test]
    fn a_newer_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        LocalStore::open(dir.path()).unwrap();
        fs::write(dir.path().join("version"), "2\n").unwrap();

        let refused = LocalStore::open(dir.path());

        assert!(matches!(refused, Err(StoreError::Version { found: 2, known: 1, .. })));
    }
}
