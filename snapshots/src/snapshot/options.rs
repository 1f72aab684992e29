//! How a snapshot is taken.

use std::path::PathBuf;
use std::thread;

use crate::limits::Limits;

/// How a snapshot is taken or listed.
#[derive(Clone, Debug, Default)]
pub struct SnapshotOptions {
    /// Store what links that lead out of the source lead to, under the links' names, instead of
    /// refusing them. Links that stay inside are kept as links all the same.
    pub follow_links: bool,
    /// How large the snapshot may be.
    pub limits: Limits,
    /// Take it as the build context of the Dockerfile of this name (its path in the source), ruled
    /// by `.dockerignore` alone.
    pub dockerfile: Option<PathBuf>,
    /// Directories that are left out wherever they are, as this program's own state is.
    pub state_directories: Vec<PathBuf>,
    /// The index file of this source and store, made when it is missing. Without one every file
    /// is read.
    pub index: Option<PathBuf>,
    /// How many threads read; 0 for as many as is good here.
    pub threads: usize,
    /// Keep the snapshot until somebody removes it.
    pub kept: bool,
}

impl SnapshotOptions {
    /// More threads than cores: while one waits for the disk, others hash.
    pub(crate) fn threads(&self) -> usize {
        const LEAST: usize = 8;
        match self.threads {
            0 => thread::available_parallelism().map_or(LEAST, |cores| cores.get().max(LEAST)),
            threads => threads,
        }
    }
}
