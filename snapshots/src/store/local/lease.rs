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

/// Shared by leases, held alone by clean-up.
const LOCK: &str = "lock";
/// Passed through by new leases, held for moments by clean-up that waits for the old ones.
const GATE: &str = "gate";
/// How long new leases are kept waiting for the ones before to end. Whoever has a lease may take
/// another before it ends the first, so they are not kept waiting until all have.
const HOLD: Duration = Duration::from_millis(100);

impl Lease {
    pub(super) fn shared(directory: &Path) -> Result<Self, StoreError> {
        let gate = open(directory, GATE)?;
        gate.lock_shared().context("lock", directory.join(GATE))?;
        let file = open(directory, LOCK)?;
        file.lock_shared().context("lock", directory.join(LOCK))?;
        Ok(Self { _file: file })
    }
}

impl Exclusive {
    /// Waits for at most `patience` until every lease has ended, and starts another generation.
    pub(super) fn wait(directory: &Path, patience: Duration) -> Result<Self, StoreError> {
        let gate = open(directory, GATE)?;
        let file = open(directory, LOCK)?;
        let started = Instant::now();
        loop {
            // Writers that come one after the other would keep clean-up out for ever.
            gate.lock().context("lock", directory.join(GATE))?;
            let held = Instant::now();
            while held.elapsed() < HOLD {
                match file.try_lock() {
                    Ok(()) => {
                        generation::renew(directory)?;
                        return Ok(Self { _file: file });
                    }
                    Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
                    Err(TryLockError::Error(error)) => {
                        return Ok(Err(error).context("lock", directory.join(LOCK))?);
                    }
                }
                if started.elapsed() >= patience {
                    return Err(StoreError::Busy { path: directory.to_owned() });
                }
            }
            gate.unlock().context("unlock", directory.join(GATE))?;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Every lock has a file description of its own, so that threads of one process count as well.
fn open(directory: &Path, name: &str) -> Result<File, StoreError> {
    let path = directory.join(name);
    let mut options = OpenOptions::new();
    Ok(options.create(true).append(true).open(&path).context("open", &path)?)
}
