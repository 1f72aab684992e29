//! Gives free places to queued runs.
