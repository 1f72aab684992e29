//! A run as the agent keeps it.

pub(crate) mod display_name;
mod document;
pub(crate) mod driver;
pub(crate) mod errands;
pub(crate) mod launching;
pub(crate) mod live;
pub(crate) mod removal;
pub(crate) mod retry;
pub(crate) mod sandbox_offer;
pub(crate) mod sandboxing;
pub(crate) mod status;
pub(crate) mod submission;
pub(crate) mod workplace;
