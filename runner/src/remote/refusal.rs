//! What an error becomes on its way to the asking side.

use std::error::Error;
use std::io;

use images::cache::EnvironmentError;
use snapshots::error_chain::{causes, chain};
use snapshots::path_error::PathError;
use snapshots::store::StoreError;
use snapshots::transfer::TransferError;

use super::message::{Refusal, RefusalKind};
use crate::compute_target::TargetError;

/// The longest message of a refusal, in bytes: it has to fit into one frame.
const MOST: usize = 64 << 10;

impl Refusal {
    /// Says no with a sentence of our own.
    pub(super) fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MOST));
        Self { kind, message, hint: None }
    }

    /// Says what to do next.
    pub(super) fn advised(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// Says no because of `error`, of which a full disk is told apart.
    pub(super) fn because(error: &(dyn Error + 'static)) -> Self {
        let full = causes(error).any(is_disk_full);
        let kind = if full { RefusalKind::DiskFull } else { RefusalKind::Failed };
        let hint = full.then(|| "free space on the machine's disk, and try again".to_owned());
        Self::new(kind, chain(error)).advised(hint)
    }
}

fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    error.downcast_ref::<io::Error>().is_some_and(|error| full.contains(&error.kind()))
}

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Self {
        Self::because(&error)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::because(&error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::because(&error)
    }
}

impl From<TransferError> for Refusal {
    fn from(error: TransferError) -> Self {
        let refusal = Self::because(&error);
        match error {
            TransferError::Archive(_) if refusal.kind == RefusalKind::Failed => {
                Self { kind: RefusalKind::Invalid, ..refusal }
            }
            TransferError::Record { .. } => Self { kind: RefusalKind::Invalid, ..refusal },
            _ => refusal,
        }
    }
}

impl From<EnvironmentError> for Refusal {
    fn from(error: EnvironmentError) -> Self {
        let refusal = Self::because(&error);
        let hint = refusal.hint.clone().or_else(|| error.hint());
        refusal.advised(hint)
    }
}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        let refusal = Self::because(&error);
        let hint = refusal.hint.clone().or_else(|| error.hint());
        let kind = match error {
            TargetError::StillSupervised { .. } => RefusalKind::StillSupervised,
            TargetError::NotStarted { .. } => RefusalKind::NotStarted,
            _ => refusal.kind,
        };
        Self { kind, ..refusal }.advised(hint)
    }
}

#[cfg(test)]
mod tests {
    use snapshots::path_error::IoContext as _;

    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_however_deep_it_is() {
        let full: Result<(), _> = Err(io::Error::from(io::ErrorKind::StorageFull));
        let refusal = Refusal::from(TargetError::from(full.context("write", "/x").unwrap_err()));

        assert_eq!(refusal.kind, RefusalKind::DiskFull);
        assert_eq!(refusal.message, r#"cannot write "/x": no storage space"#);
        assert!(refusal.hint.unwrap().contains("free space"));
    }

    #[test]
    fn a_refusal_fits_into_a_frame() {
        let refusal = Refusal::new(RefusalKind::Failed, "é".repeat(super::super::frame::MOST));
        assert!(serde_json::to_vec(&refusal).unwrap().len() < super::super::frame::MOST);
    }
}
