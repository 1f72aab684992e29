//! Bringing a snapshot's objects to the agent's store.

use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;
use snapshots::snapshot::SnapshotRecord;
use utoipa::ToSchema;

/// Objects that the sender has.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MissingRequest {
    /// Their digests.
    #[schema(value_type = Vec<String>)]
    pub(crate) digests: Vec<Digest>,
}

/// Those that the agent's store lacks.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Missing {
    /// Their digests, in the order asked.
    #[schema(value_type = Vec<String>)]
    pub(crate) missing: Vec<Digest>,
}

/// What a pack brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct PackReceived {
    /// Objects that are new.
    pub(crate) objects: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// Says that all objects of a snapshot are there.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FinishRequest {
    /// The snapshot's record.
    #[schema(value_type = Object)]
    pub(crate) record: SnapshotRecord,
}
