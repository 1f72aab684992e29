//! Reads one directory: its names, what they are, and which of them count.

use std::ops::Range;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::place::{join, shown};
use super::walker::{Entered, Rules, Walker, keeps_times, read_error};
use crate::digest::Hasher;
use crate::index::block::{Block, KnownKind};
use crate::index::stamp::Stamp;
use crate::limits::looks_secret;
use crate::snapshot::{SnapshotError, Warning};

/// What a directory holds of a snapshot, by name.
pub(crate) struct DirectoryListing {
    /// The names, one after the other.
    pub(crate) names: Vec<u8>,
    /// In ascending order of names.
    pub(crate) found: Vec<Found>,
    /// The rules that hold inside.
    pub(crate) rules: Rules,
    /// Whether the directory has an ignore file of its own.
    pub(crate) ignore_file: bool,
    /// The names are those that the index has.
    pub(crate) from_index: bool,
    /// The names are the same for as long as the directory's stamp and the rules are.
    pub(crate) lasting: bool,
    /// There was a warning, which has to be given again each time, or a directory that only stays
    /// if something in it does.
    warned: bool,
}

/// One name.
pub(crate) struct Found {
    /// Where it is in [`DirectoryListing::names`].
    pub(crate) name: Range<usize>,
    /// What has that name.
    pub(crate) kind: FoundKind,
}

/// What has a name.
pub(crate) enum FoundKind {
    /// A regular file.
    File {
        /// As it was when it was found.
        stamp: Stamp,
        /// It is behind a link.
        followed: bool,
    },
    /// A link to be kept as one.
    Link {
        /// What to keep as its target.
        target: Vec<u8>,
    },
    /// A directory to be entered.
    Directory {
        /// It is behind a link.
        followed: bool,
    },
}

/// Buffers that a thread uses again and again.
#[derive(Default)]
pub(crate) struct ListingBuffers {
    raw: Vec<u8>,
    typed: Vec<(Range<usize>, FileType)>,
    path: Vec<u8>,
}

impl Walker {
    /// Lists a directory; by the names in `known` when they surely are what is there.
    pub(crate) fn list(
        &self,
        entered: &Entered,
        known: Option<Block<'_>>,
        buffers: &mut ListingBuffers,
    ) -> Result<DirectoryListing, SnapshotError> {
        let mut names = Vec::new();
        buffers.typed.clear();
        if let Some(known) = known.filter(|known| known.head.directory == entered.stamp) {
            let rules = entered.rules_inside(known.head.ignore_file)?;
            if rules.fingerprint == known.head.rules {
                let ignore_file = known.head.ignore_file;
                known_names(known, &mut names, &mut buffers.typed);
                let mut listing =
                    DirectoryListing::new(names, rules, ignore_file, buffers.typed.len());
                listing.from_index = true;
                return self.resolve(entered, listing, buffers);
            }
        }
        read_names(entered, &mut names, buffers)?;
        let own = entered.rules.rules.file_name().as_bytes();
        let ignore_file = buffers
            .typed
            .iter()
            .any(|(name, kind)| names[name.clone()] == *own && *kind == FileType::RegularFile);
        let rules = entered.rules_inside(ignore_file)?;
        let warned = self.select(&entered.path, &names, &rules, buffers);
        buffers.typed.sort_unstable_by(|(a, _), (b, _)| names[a.clone()].cmp(&names[b.clone()]));
        let mut listing = DirectoryListing::new(names, rules, ignore_file, buffers.typed.len());
        listing.warned = warned;
        let mut listing = self.resolve(entered, listing, buffers)?;
        listing.lasting = !listing.warned
            && entered.settled
            && rustix::fs::fstatfs(&entered.opened).is_ok_and(|system| keeps_times(&system));
        Ok(listing)
    }

    /// Keeps the names that count; returns whether there was something about one that the index
    /// does not tell.
    fn select(
        &self,
        directory: &[u8],
        names: &[u8],
        rules: &Rules,
        buffers: &mut ListingBuffers,
    ) -> bool {
        let path = &mut buffers.path;
        path.clear();
        path.extend_from_slice(directory);
        if !directory.is_empty() {
            path.push(b'/');
        }
        let start = path.len();
        let mut warned = false;
        buffers.typed.retain(|(name, kind)| {
            let name = &names[name.clone()];
            path.truncate(start);
            path.extend_from_slice(name);
            if name == b".git" {
                return false;
            }
            if rules.rules.decide(path, *kind == FileType::Directory).excluded {
                let enter = *kind == FileType::Directory && rules.rules.may_keep_below(path);
                // While nothing in it is kept, it is not in the index.
                warned |= enter;
                return enter;
            }
            if *kind == FileType::RegularFile && looks_secret(path) {
                self.warn(Warning::Secret { path: shown(path.clone()) });
                warned = true;
            }
            true
        });
        warned
    }

    /// Asks what each name stands for now.
    fn resolve(
        &self,
        entered: &Entered,
        mut listing: DirectoryListing,
        buffers: &mut ListingBuffers,
    ) -> Result<DirectoryListing, SnapshotError> {
        for (name, kind) in buffers.typed.drain(..) {
            let bytes = &listing.names[name.clone()];
            let kind = match kind {
                // The index does not tell a directory behind a link from one that is here.
                FileType::Directory if self.follow_links && listing.from_index => None,
                FileType::Directory => Some(FoundKind::Directory { followed: false }),
                FileType::RegularFile => file(entered, bytes),
                _ => None,
            };
            let kind = match kind {
                Some(kind) => Some(kind),
                None => self.look(entered, bytes, &mut listing.warned)?,
            };
            listing.found.extend(kind.map(|kind| Found { name, kind }));
        }
        Ok(listing)
    }
}

impl DirectoryListing {
    fn new(names: Vec<u8>, rules: Rules, ignore_file: bool, count: usize) -> Self {
        let found = Vec::with_capacity(count);
        Self { names, found, rules, ignore_file, from_index: false, lasting: false, warned: false }
    }
}

impl Entered {
    /// Returns the rules inside, reading the directory's own ignore file if it has one.
    fn rules_inside(&self, ignore_file: bool) -> Result<Rules, SnapshotError> {
        // The source's own ignore file is part of the rules it came with.
        if !ignore_file || self.is_source || !self.rules.rules.nest() {
            return Ok(self.rules.clone());
        }
        let name = self.rules.rules.file_name().as_bytes();
        let path = || join(&self.path, name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let text = match rustix::fs::openat(&self.opened, name, flags, Mode::empty()) {
            Ok(file) => read_text(std::fs::File::from(file)),
            Err(Errno::NOENT | Errno::LOOP) => return Ok(self.rules.clone()),
            Err(errno) => Err(errno.into()),
        };
        let text = text.map_err(|source| crate::path_error::PathError {
            action: "read",
            path: shown(path()),
            source,
        })?;
        let rules = self.rules.rules.enter(&self.path, &text)?;
        let mut hasher = Hasher::new();
        hasher.update(self.rules.fingerprint.as_bytes());
        hasher.update(&(self.path.len() as u64).to_le_bytes());
        hasher.update(&self.path);
        hasher.update(&text);
        Ok(Rules { rules, fingerprint: hasher.finish() })
    }
}

/// Reads an ignore file, of which [`crate::ignore_rules`] refuses more than a mebibyte.
fn read_text(file: std::fs::File) -> std::io::Result<Vec<u8>> {
    use std::io::Read;

    let mut text = Vec::new();
    file.take((1 << 20) + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn file(entered: &Entered, name: &[u8]) -> Option<FoundKind> {
    let stat = rustix::fs::statat(&entered.opened, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
        .then(|| FoundKind::File { stamp: Stamp::of(&stat), followed: false })
}

fn known_names(known: Block<'_>, names: &mut Vec<u8>, typed: &mut Vec<(Range<usize>, FileType)>) {
    for entry in known {
        let kind = match entry.kind {
            KnownKind::File { .. } => FileType::RegularFile,
            KnownKind::Link { .. } => FileType::Symlink,
            KnownKind::Directory { .. } => FileType::Directory,
        };
        typed.push((push_name(names, entry.name), kind));
    }
}

/// Reads all names of a directory but its own and its parent's.
fn read_names(
    entered: &Entered,
    names: &mut Vec<u8>,
    buffers: &mut ListingBuffers,
) -> Result<(), SnapshotError> {
    buffers.raw.clear();
    buffers.raw.reserve(32 << 10);
    let mut directory = RawDir::new(&entered.opened, buffers.raw.spare_capacity_mut());
    while let Some(entry) = directory.next() {
        let entry = match entry {
            Ok(entry) => entry,
            // It was removed while it was read.
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(read_error(errno, "list", &entered.path)),
        };
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            match rustix::fs::statat(&entered.opened, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => kind = FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(read_error(errno, "read", &join(&entered.path, name))),
            }
        }
        buffers.typed.push((push_name(names, name), kind));
    }
    Ok(())
}

fn push_name(names: &mut Vec<u8>, name: &[u8]) -> Range<usize> {
    let start = names.len();
    names.extend_from_slice(name);
    start..names.len()
}
