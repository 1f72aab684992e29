//! Limits on snapshots, and what to say when one is passed.
