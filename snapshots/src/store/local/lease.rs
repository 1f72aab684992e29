//! The lock between those who write to a store and those who remove from it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use super::generation;
use crate::path_error::IoContext;
use crate::store::StoreError;

/// While it lives, nothing is removed from the store. Dropping it, or dying, ends it.
#[derive(Debug)]
pub struct Lease {
    _file: File,
}

/// While it lives, nobody else writes to the store or removes from it.
pub(crate) struct Exclusive {
    _file: File,
}

impl Lease {
    pub(super) fn shared(directory: &Path) -> Result<Self, StoreError> {
        let file = open(directory)?;
        file.lock_shared().context("lock", directory.join("lock"))?;
        Ok(Self { _file: file })
    }
}

impl Exclusive {
    /// Waits for at most `patience` until every lease has ended.
    pub(super) fn wait(directory: &Path, patience: Duration) -> Result<Self, StoreError> {
        let file = open(directory)?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => {
                    generation::renew(directory)?;
                    return Ok(Self { _file: file });
                }
                Err(TryLockError::WouldBlock) if started.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Busy { path: directory.to_owned() });
                }
                Err(TryLockError::Error(error)) => {
                    return Ok(Err(error).context("lock", directory.join("lock"))?);
                }
            }
        }
    }
}

/// Every lock has a file description of its own, so that threads of one process count as well.
fn open(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join("lock");
    let mut options = OpenOptions::new();
    Ok(options.create(true).append(true).open(&path).context("open", &path)?)
}
