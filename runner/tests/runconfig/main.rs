//! SDK v1 `.runconfig` files: what is read from them, what is said about them, what is refused.

mod meaning;
mod program;
mod project;
mod refusals;
mod samples;
mod schema;
