//! Where a directory is in the tree that is walked.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::walk::base::Base;

/// A directory that was entered, with those it is in.
///
/// A chain of names, not a path: the paths of a tree as deep as a file system allows would not
/// fit in memory.
#[derive(Debug)]
pub(crate) struct Place {
    parent: Option<Arc<Place>>,
    name: Vec<u8>,
    /// Device and inode.
    pub(crate) identity: (u64, u64),
    /// The directory that links in this one must not lead out of.
    pub(crate) base: Arc<Base>,
    /// How many directories it is below its base.
    pub(crate) below_base: usize,
}

impl Place {
    /// Returns the place of the source itself.
    pub(crate) fn source(base: Arc<Base>, identity: (u64, u64)) -> Self {
        Self { parent: None, name: Vec::new(), identity, base, below_base: 0 }
    }

    /// Returns the place of the directory `name` in `parent`; with a `base` of its own when it is
    /// a link that is followed.
    pub(crate) fn inside(
        parent: &Arc<Self>,
        name: Vec<u8>,
        identity: (u64, u64),
        base: Option<Arc<Base>>,
    ) -> Self {
        let below_base = if base.is_some() { 0 } else { parent.below_base + 1 };
        let base = base.unwrap_or_else(|| parent.base.clone());
        Self { parent: Some(parent.clone()), name, identity, base, below_base }
    }

    /// Returns whether `identity` is this directory or one that it is in.
    pub(crate) fn is_within(&self, identity: (u64, u64)) -> bool {
        self.upwards().any(|place| place.identity == identity)
    }

    /// Writes the path from the source into `path`: without slashes at its ends, empty for the
    /// source.
    pub(crate) fn path(&self, path: &mut Vec<u8>) {
        path.clear();
        for name in self.names(usize::MAX) {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
    }

    /// Returns the names on the way from the base to this directory.
    pub(crate) fn names_below_base(&self) -> Vec<&[u8]> {
        self.names(self.below_base)
    }

    fn names(&self, most: usize) -> Vec<&[u8]> {
        let below_source = self.upwards().filter(|place| place.parent.is_some());
        let mut names: Vec<&[u8]> = below_source.take(most).map(|place| &*place.name).collect();
        names.reverse();
        names
    }

    fn upwards(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |place| place.parent.as_deref())
    }
}

impl Drop for Place {
    /// Takes the chain apart link by link: it is as long as the source is deep.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut place) = next.and_then(Arc::into_inner) {
            next = place.parent.take();
        }
    }
}

/// Returns `directory/name` as bytes.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(directory.len() + 1 + name.len());
    path.extend_from_slice(directory);
    if !directory.is_empty() && !name.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Returns a path as messages show it.
pub(crate) fn shown(path: Vec<u8>) -> PathBuf {
    if path.is_empty() { PathBuf::from(".") } else { OsString::from_vec(path).into() }
}
