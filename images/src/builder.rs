//! What builds an environment.

mod failure;
mod index_settings;
mod variables;
pub mod venv;

pub use self::failure::{BuildError, FailedBuild, FailureCause};
pub(crate) use self::index_settings::IndexSettings;
