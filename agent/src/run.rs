//! A run as the agent keeps it.

pub(crate) mod status;
