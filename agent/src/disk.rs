//! Telling a full disk from other trouble.

use std::error::Error;
use std::io;
use std::iter::successors;

use images::engine::EngineError;

/// Says whether `error`, or something it came from, is that a disk or a quota is full.
pub(crate) fn is_full(error: &(dyn Error + 'static)) -> bool {
    let full = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    };
    let engine_full = |error: &EngineError| matches!(error, EngineError::DiskFull { .. });
    successors(Some(error), |error| (*error).source()).any(|cause| {
        cause.downcast_ref().is_some_and(full) || cause.downcast_ref().is_some_and(engine_full)
    })
}

#[cfg(test)]
mod tests {
    use snapshots::path_error::PathError;

    use super::*;
    use crate::run::source::SourceError;

    #[test]
    fn a_full_disk_is_found_behind_what_it_caused() {
        let because = |source: io::Error| {
            SourceError::from(PathError { action: "write", path: "a".into(), source })
        };

        assert!(is_full(&because(rustix::io::Errno::NOSPC.into())));
        assert!(is_full(&because(rustix::io::Errno::DQUOT.into())));
        assert!(!is_full(&because(rustix::io::Errno::ACCESS.into())));
        assert!(is_full(&EngineError::DiskFull { message: String::new() }));
    }
}
