//! Lists what a snapshot of a directory holds, without following a link out of it.

#![expect(dead_code, reason = "the parts are here before the whole")]

pub(crate) mod base;
pub(crate) mod link;
pub(crate) mod place;
pub(crate) mod queue;
