//! SDK v1 `.runconfig` files: what is read from them, what is said about them, what is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod docker;
mod environment_files;
mod meaning;
mod program;
mod project;
mod refusals;
mod samples;
mod schema;
