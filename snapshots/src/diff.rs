//! The difference between two trees: added, removed, changed, renamed.
