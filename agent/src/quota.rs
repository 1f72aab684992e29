//! How much each user may have: runs that are not over, and bytes on the disk.
//!
//! Both are looked at when something is handed in. What a run writes while it is on is not stopped,
//! but counts the next time. Who rules the agent has no limit.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::agent::Agent;
use crate::peer::Peer;
use crate::statistics::bytes_under;
use crate::store::StoreError;
use crate::task;
use crate::terminal::measure::size;

/// What each user may have at most; none is as much as they like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QuotaPolicy {
    /// Runs that are not over.
    pub(crate) max_runs: Option<u64>,
    /// Bytes of snapshots and run directories.
    pub(crate) max_bytes: Option<u64>,
}

impl QuotaPolicy {
    /// Returns what holds for `peer`.
    pub(crate) fn of(self, peer: Peer) -> Self {
        if peer.rules { Self::default() } else { self }
    }
}

/// A user has as much as they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("you would use {} of the {} that a user of this agent may", size(*used), size(*limit))]
pub(crate) struct Bytes {
    /// What they use, or would.
    pub(crate) used: u64,
    /// What they may.
    pub(crate) limit: u64,
}

/// Why a user may bring no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoRoom {
    /// They have as much as they may.
    #[error(transparent)]
    Over(#[from] Bytes),
    /// Nobody knows how much they have.
    #[error(transparent)]
    Records(#[from] StoreError),
}

/// One upload of a user at a time, where bytes are limited: two would each be given all that is
/// left.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<HashMap<u32, Arc<tokio::sync::Mutex<()>>>>);

/// What an upload may bring.
pub(crate) struct Allowance {
    /// What is used already, the limit, and the turn of the user's upload. None: there is no limit.
    limited: Option<(Bytes, OwnedMutexGuard<()>)>,
}

impl Agent {
    /// Says how many bytes `uid` takes: their object store, and the directories of their runs.
    ///
    /// # Errors
    ///
    /// The records cannot be read.
    pub(crate) async fn bytes_of(&self, uid: u32) -> Result<u64, StoreError> {
        let runs = self.store.ids_of(uid).await?;
        let runs = runs.iter().map(|run| self.workspace.run_directory(run).path().to_owned());
        let store = self.objects.directory(self.objects.of(uid));
        let directories: Vec<_> = runs.chain([store]).collect();
        let all = move || directories.iter().map(|directory| bytes_under(directory)).sum();
        Ok(task::blocking(all).await)
    }

    /// Checks that `peer` has fewer bytes than they may; returns how many, where there is a limit.
    ///
    /// # Errors
    ///
    /// They have not, or the records cannot be read.
    pub(crate) async fn check_bytes(&self, peer: Peer) -> Result<Option<Bytes>, NoRoom> {
        let Some(limit) = self.users.quota.of(peer).max_bytes else { return Ok(None) };
        let bytes = Bytes { used: self.bytes_of(peer.uid).await?, limit };
        if bytes.used < limit { Ok(Some(bytes)) } else { Err(bytes.into()) }
    }

    /// Checks that `peer` may bring more bytes, when it is their upload's turn.
    ///
    /// # Errors
    ///
    /// They may not, or the records cannot be read.
    pub(crate) async fn allowance(&self, peer: Peer) -> Result<Allowance, NoRoom> {
        if self.users.quota.of(peer).max_bytes.is_none() {
            return Ok(Allowance { limited: None });
        }
        let turn = {
            let mut uploads = self.uploads.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(uploads.entry(peer.uid).or_default())
        };
        let turn = turn.lock_owned().await;
        let bytes = self.check_bytes(peer).await?;
        Ok(Allowance { limited: bytes.map(|bytes| (bytes, turn)) })
    }
}

impl Allowance {
    /// Reads from `inner` no more than is allowed.
    pub(crate) fn limit<R: Read>(self, inner: R) -> Limited<R> {
        Limited { inner, read: 0, allowance: self }
    }
}

/// Something that fails when more is read from it than a user may bring.
pub(crate) struct Limited<R> {
    inner: R,
    read: u64,
    allowance: Allowance,
}

impl<R> Limited<R> {
    /// Says whether it failed for that.
    pub(crate) fn over(&self) -> Option<Bytes> {
        let (before, _) = self.allowance.limited.as_ref()?;
        let now = Bytes { used: before.used + self.read, ..*before };
        (now.used > now.limit).then_some(now)
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.read += read as u64;
        if self.over().is_some() { Err(io::ErrorKind::QuotaExceeded.into()) } else { Ok(read) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ruler_has_no_limit() {
        let policy = QuotaPolicy { max_runs: Some(1), max_bytes: Some(2) };
        assert_eq!(policy.of(Peer { uid: 7, rules: false }), policy);
        assert_eq!(policy.of(Peer { uid: 7, rules: true }), QuotaPolicy::default());
    }

    #[tokio::test]
    async fn no_more_is_read_than_is_left() {
        let turn = || async { Arc::<tokio::sync::Mutex<()>>::default().lock_owned().await };
        let read = |limit, turn| {
            let bytes = Bytes { used: 90, limit };
            let mut limited = Allowance { limited: Some((bytes, turn)) }.limit(&[0; 10][..]);
            let whole = io::copy(&mut limited, &mut io::sink());
            (whole.map_err(|error| error.kind()), limited.over())
        };
        assert_eq!(read(100, turn().await), (Ok(10), None));
        let over = Bytes { used: 100, limit: 99 };
        assert_eq!(read(99, turn().await), (Err(io::ErrorKind::QuotaExceeded), Some(over)));
    }
}
