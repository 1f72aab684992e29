//! All packs of a store, as far as this process has seen them.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::pack::Pack;
use super::pack_index::Location;
use crate::digest::Digest;
use crate::path_error::IoContext;
use crate::store::StoreError;

/// Packs with fewer objects are looked up through one table, so that many small packs cost a
/// search no more than one large one does.
const SMALL_PACK: usize = 4096;

pub(super) struct Packs {
    directory: PathBuf,
    temporary: PathBuf,
    view: RwLock<View>,
}

#[derive(Default)]
struct View {
    packs: HashMap<String, Arc<Pack>>,
    large: Vec<Arc<Pack>>,
    small: HashMap<Digest, Arc<Pack>>,
}

impl Packs {
    pub(super) fn new(directory: PathBuf, temporary: PathBuf) -> Self {
        Self { directory, temporary, view: RwLock::default() }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Looks for packs that came or went. A listing and nothing more when none did.
    pub(super) fn refresh(&self) -> Result<(), StoreError> {
        let mut names = HashSet::new();
        for entry in fs::read_dir(&self.directory).context("list", &self.directory)? {
            let path = entry.context("list", &self.directory)?.path();
            if path.extension() == Some(OsStr::new("pack")) {
                names.extend(path.file_stem().and_then(OsStr::to_str).map(str::to_owned));
            }
        }
        let (gone, new): (bool, Vec<_>) = {
            let view = self.read();
            let gone = view.packs.keys().any(|name| !names.contains(name));
            (gone, names.iter().filter(|name| !view.packs.contains_key(*name)).collect())
        };
        let mut loaded = Vec::new();
        for name in new {
            loaded.extend(Pack::load(&self.directory, &self.temporary, name)?);
        }
        if gone || !loaded.is_empty() {
            let mut view = self.write();
            if gone {
                view.retain(&names);
            }
            for pack in loaded {
                view.add(Arc::new(pack));
            }
        }
        Ok(())
    }

    pub(super) fn add(&self, pack: Pack) {
        self.write().add(Arc::new(pack));
    }

    /// Returns a place where the object is, as last seen.
    pub(super) fn find(&self, digest: &Digest) -> Option<(Arc<Pack>, Location)> {
        let view = self.read();
        if let Some(pack) = view.small.get(digest) {
            return pack.index().find(digest).map(|location| (Arc::clone(pack), location));
        }
        let found = |pack: &Arc<Pack>| Some((Arc::clone(pack), pack.index().find(digest)?));
        view.large.iter().find_map(found)
    }

    /// Returns every place where the object is, as last seen, the likeliest first.
    pub(super) fn copies(&self, digest: &Digest) -> impl Iterator<Item = (Arc<Pack>, Location)> {
        let first = self.find(digest);
        let tried = first.as_ref().map(|(pack, _)| Arc::clone(pack));
        first.into_iter().chain(Others { packs: self, digest: *digest, tried, rest: None })
    }

    /// Returns every pack, as last seen.
    pub(super) fn all(&self) -> Vec<Arc<Pack>> {
        self.read().packs.values().map(Arc::clone).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The copies of an object besides the first, searched for only when they are asked for.
struct Others<'a> {
    packs: &'a Packs,
    digest: Digest,
    tried: Option<Arc<Pack>>,
    rest: Option<std::vec::IntoIter<Arc<Pack>>>,
}

impl Iterator for Others<'_> {
    type Item = (Arc<Pack>, Location);

    fn next(&mut self) -> Option<Self::Item> {
        let tried = self.tried.as_ref()?;
        let rest = self.rest.get_or_insert_with(|| self.packs.all().into_iter());
        rest.filter(|pack| pack.name() != tried.name())
            .find_map(|pack| pack.index().find(&self.digest).map(|location| (pack, location)))
    }
}

impl View {
    fn add(&mut self, pack: Arc<Pack>) {
        if self.packs.insert(pack.name().to_owned(), Arc::clone(&pack)).is_some() {
            return;
        }
        if pack.index().len() < SMALL_PACK {
            self.small.extend(pack.index().iter().map(|(digest, _)| (digest, Arc::clone(&pack))));
        } else {
            self.large.push(pack);
        }
    }

    fn retain(&mut self, names: &HashSet<String>) {
        let packs = std::mem::take(self).packs;
        for (name, pack) in packs {
            if names.contains(&name) {
                self.add(pack);
            }
        }
    }
}
