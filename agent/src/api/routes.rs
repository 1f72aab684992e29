//! The routes, a file per subject.

pub(super) mod agent;
pub(super) mod attempt;
pub(super) mod environments;
pub(super) mod files;
pub(super) mod gc;
pub(super) mod health;
pub(super) mod logs;
pub(super) mod runs;
pub(super) mod targets;
pub(super) mod tokens;
pub(super) mod transfers;
