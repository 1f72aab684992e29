//! What builds an environment.

pub mod venv;
