//! Environment definitions, as users have them on disk.

pub mod requirements;
