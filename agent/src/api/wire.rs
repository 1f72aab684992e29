//! What travels between the command line and the agent: JSON documents, one file per subject.
//!
//! Both sides use these types, and the OpenAPI document is made from them. Fields are only ever
//! added, and an added one has a default, so that a newer command line can talk to an agent that
//! was started before an upgrade. Environments travel as [`images::cache`] has them.

pub(crate) mod agent;
pub(crate) mod follow;
pub(crate) mod problem;
pub(crate) mod run;
pub(crate) mod submission;
pub(crate) mod target;
pub(crate) mod token;
pub(crate) mod transfer;
pub(crate) mod waiting;
