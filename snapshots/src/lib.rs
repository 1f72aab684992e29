//! Snapshots of source directories.
//!
//! A *blob* is a file's bytes by SHA-256, a *tree* is a directory's listing, a *snapshot* is a
//! root tree with its id. This crate knows which files belong to a snapshot, keeps their content
//! in an object store, moves what another store lacks, and lays a snapshot out again. It knows
//! nothing of runs, Docker, SSH or HTTP, and it reads neither terminal, home nor environment:
//! its callers hand settings in.
//!
//! ```text
//! source dir ─ walk (ignore_rules) ─▶ index ─▶ snapshot ─▶ store ─▶ transfer ─▶ store elsewhere
//!                                                            └────▶ materialize ─▶ directory
//! ```
#![forbid(unsafe_code)]

pub mod archive;
pub mod diff;
pub mod digest;
pub mod error_chain;
pub mod explain;
pub mod gc;
pub mod git;
pub mod ignore_rules;
pub mod index;
pub mod limits;
pub mod materialize;
pub mod path_error;
pub mod snapshot;
pub mod store;
pub mod transfer;
pub mod tree;
pub mod walk;
mod wildmatch;
