//! A pack file: many small objects behind one another, never changed once it is in place.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::pack_index::{Location, PackIndex};
use super::{Content, durable};
use crate::archive::{Encoding, EntryHeader, HEADER_BYTES, MAGIC, end_marker};
use crate::digest::Digest;
use crate::path_error::IoContext;
use crate::store::{LARGE_OBJECT_BYTES, StoreError};

/// How much is gathered before it is written.
const BUFFER_BYTES: usize = 1 << 20;

/// A pack in its place. The file is opened for each use, so that any number may exist.
pub(crate) struct Pack {
    name: String,
    path: PathBuf,
    index: PackIndex,
}

impl Pack {
    /// Loads the index of the pack `name`, rebuilding it when it is lost or unsound. `None` when
    /// the pack has gone meanwhile.
    pub(super) fn load(
        directory: &Path,
        temporary: &Path,
        name: &str,
    ) -> Result<Option<Self>, StoreError> {
        let path = directory.join(format!("{name}.pack"));
        let length = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Ok(Err(error).context("read", &path)?),
        };
        let stored = fs::read(directory.join(format!("{name}.idx"))).ok();
        if let Some(index) = stored.and_then(|bytes| PackIndex::decode(bytes, length)) {
            return Ok(Some(Self { name: name.to_owned(), path, index }));
        }
        tracing::warn!(pack = name, "Rebuilding the index of a pack.");
        let index = match scan(&path, length) {
            Ok(entries) => PackIndex::new(entries, length),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Ok(Err(error).context("read", &path)?),
        };
        if let Err(error) = write_index(&index, directory, temporary, name) {
            tracing::warn!(pack = name, %error, "Could not keep the rebuilt index.");
        }
        Ok(Some(Self { name: name.to_owned(), path, index }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the length of the file.
    pub(crate) fn length(&self) -> u64 {
        self.index.pack_length()
    }

    /// Returns every object with its place, by ascending digest.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Digest, Location)> {
        self.index.iter()
    }

    /// Returns whether the pack has the object.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.index.find(digest).is_some()
    }

    pub(super) fn index(&self) -> &PackIndex {
        &self.index
    }

    /// Reads one object and checks it.
    pub(super) fn read(
        &self,
        digest: &Digest,
        location: &Location,
    ) -> Result<Content<Vec<u8>>, StoreError> {
        if location.end() > self.index.pack_length() {
            return Ok(Content::Damaged);
        }
        let mut stored = vec![0; location.stored as usize];
        let read = File::open(&self.path)
            .and_then(|file| file.read_exact_at(&mut stored, location.content()));
        if let Err(error) = read {
            return Content::of_error(error, &self.path);
        }
        let bytes = decode(stored.into(), location);
        Ok(match bytes {
            Some(bytes) if Digest::of(&bytes) == *digest => Content::Sound(bytes.into_owned()),
            _ => Content::Damaged,
        })
    }

    /// Sets the pack's time stamp to now; `false` when it has gone.
    pub(super) fn freshen(&self) -> Result<bool, StoreError> {
        freshen(&self.path)
    }
}

/// Returns an object's own bytes from those that are stored, unchecked; `None` when they are not
/// what the encoding or the length says.
pub(crate) fn decode<'a>(stored: Cow<'a, [u8]>, location: &Location) -> Option<Cow<'a, [u8]>> {
    let bytes = match location.encoding {
        Encoding::Plain => stored,
        Encoding::Zstd => zstd::bulk::decompress(&stored, location.length as usize).ok()?.into(),
    };
    (bytes.len() == location.length as usize).then_some(bytes)
}

/// Sets a file's time stamp to now; `false` when it is not there.
pub(super) fn freshen(path: &Path) -> Result<bool, StoreError> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    match utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Ok(Err(error).context("touch", path)?),
    }
}

/// Finds the objects of a pack by its headers, up to the first that is not sound.
fn scan(path: &Path, length: u64) -> io::Result<Vec<(Digest, Location)>> {
    let file = File::open(path)?;
    let mut magic = [0; MAGIC.len()];
    let mut entries = Vec::new();
    if length < MAGIC.len() as u64 {
        return Ok(entries);
    }
    file.read_exact_at(&mut magic, 0)?;
    let mut offset = MAGIC.len() as u64;
    let mut header = [0; HEADER_BYTES];
    while magic == *MAGIC && offset + HEADER_BYTES as u64 <= length {
        file.read_exact_at(&mut header, offset)?;
        let Some(header) = EntryHeader::decode(&header) else { break };
        let lengths = (u32::try_from(header.length), u32::try_from(header.stored));
        let (Ok(object), Ok(stored)) = lengths else { break };
        let location = Location { offset, length: object, stored, encoding: header.encoding };
        if location.end() > length || header.length >= LARGE_OBJECT_BYTES {
            break;
        }
        offset = location.end();
        entries.push((header.digest, location));
    }
    Ok(entries)
}

fn write_index(
    index: &PackIndex,
    directory: &Path,
    temporary: &Path,
    name: &str,
) -> Result<(), StoreError> {
    let to = directory.join(format!("{name}.idx"));
    let mut file = durable::temporary_file(temporary)?;
    file.write_all(index.as_bytes()).context("write", &to)?;
    Ok(durable::rename(file, &to, durable::READ_ONLY)?)
}

/// A pack being written, in a temporary file.
pub(super) struct PackWriter {
    file: NamedTempFile,
    buffer: Vec<u8>,
    /// How many bytes the pack has, those in the buffer included.
    length: u64,
    entries: Vec<(Digest, Location)>,
}

impl PackWriter {
    pub(super) fn new(temporary: &Path) -> Result<Self, StoreError> {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        buffer.extend_from_slice(MAGIC);
        Ok(Self {
            file: durable::temporary_file(temporary)?,
            buffer,
            length: MAGIC.len() as u64,
            entries: Vec::new(),
        })
    }

    /// Adds an object of `length` bytes that is kept as `stored`.
    pub(super) fn add(
        &mut self,
        digest: Digest,
        length: u32,
        encoding: Encoding,
        stored: &[u8],
    ) -> Result<(), StoreError> {
        let header =
            EntryHeader { encoding, digest, length: length.into(), stored: stored.len() as u64 };
        if self.buffer.len() + HEADER_BYTES + stored.len() > BUFFER_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(&header.encode());
        self.buffer.extend_from_slice(stored);
        let stored = u32::try_from(stored.len()).unwrap_or(u32::MAX);
        let location = Location { offset: self.length, length, stored, encoding };
        self.length = location.end();
        self.entries.push((digest, location));
        Ok(())
    }

    /// Syncs the pack and gives it and its index their places. The caller syncs the directory.
    ///
    /// The index goes first: who sees the pack sees its index.
    pub(super) fn finish(mut self, directory: &Path, temporary: &Path) -> Result<Pack, StoreError> {
        self.buffer.extend_from_slice(&end_marker(self.entries.len() as u64));
        self.length += 9;
        self.flush()?;
        self.file.as_file().sync_data().context("sync", self.file.path())?;
        let index = PackIndex::new(self.entries, self.length);
        let name = Digest::of(index.as_bytes()).short(32);
        write_index(&index, directory, temporary, &name)?;
        let path = directory.join(format!("{name}.pack"));
        durable::rename(self.file, &path, durable::READ_ONLY)?;
        Ok(Pack { name, path, index })
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.file.as_file_mut().write_all(&self.buffer).context("write", self.file.path())?;
        self.buffer.clear();
        Ok(())
    }
}
