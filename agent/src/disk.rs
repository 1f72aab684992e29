//! Telling a full disk from other trouble, and keeping it from filling up.

pub(crate) mod governor;
pub(crate) mod runs;
pub(crate) mod shortage;

use std::error::Error;
use std::io;
use std::iter::successors;

use images::cache::EnvironmentError;
use images::engine::EngineError;

/// Says whether `error`, or something it came from, is that a disk or a quota is full.
pub(crate) fn is_full(error: &(dyn Error + 'static)) -> bool {
    let full = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    };
    successors(Some(error), |error| (*error).source())
        .any(|cause| cause.downcast_ref().is_some_and(full) || is_engine_full(cause))
}

/// Says whether the disk is full where a container engine keeps its things. What hands an error on
/// as its own hides it from the chain of causes.
fn is_engine_full(cause: &(dyn Error + 'static)) -> bool {
    let behind = match cause.downcast_ref() {
        Some(EnvironmentError::Engine(error)) => Some(error),
        _ => cause.downcast_ref(),
    };
    matches!(behind, Some(EngineError::DiskFull { .. }))
}

#[cfg(test)]
mod tests {
    use snapshots::path_error::PathError;

    use super::*;
    use runner::source::SourceError;

    #[test]
    fn a_full_disk_is_found_behind_what_it_caused() {
        let because = |source: io::Error| {
            SourceError::from(PathError { action: "write", path: "a".into(), source })
        };

        assert!(is_full(&because(rustix::io::Errno::NOSPC.into())));
        assert!(is_full(&because(rustix::io::Errno::DQUOT.into())));
        assert!(!is_full(&because(rustix::io::Errno::ACCESS.into())));
        let engine = || EngineError::DiskFull { message: String::new() };
        assert!(is_full(&engine()));
        assert!(is_full(&EnvironmentError::Engine(engine())));
        assert!(!is_full(&EnvironmentError::Cancelled));
    }
}
