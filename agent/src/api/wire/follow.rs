//! The events of `GET /v1/runs/{ref}/follow`, as server-sent events.
//!
//! The event's name says which of these its data is. A stream that ends without `end` was
//! broken: ask again from the last `nextOffset`, which is also the event's id, of the attempt that
//! was on. An offset behind the end of a log sends none of its bytes, and the largest there is none
//! of any attempt's. A comment at least every 20 s shows that the
//! stream is alive.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::run::{Exit, OutOfContact, Run};
use crate::run::status::RunStatus;

/// `status`: where the run stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct StatusEvent {
    /// Where the run stands.
    pub(crate) status: RunStatus,
    /// Its place in the queue, from 1, while it is in it.
    pub(crate) position: Option<usize>,
    /// That its target cannot be reached now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) out_of_contact: Option<OutOfContact>,
    /// When the agent said so.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) time: Timestamp,
}

/// `build`: bytes of the environment's build log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct BuildEvent {
    /// Where they begin in `system_logs/environment_build.log`.
    pub(crate) offset: u64,
    /// The bytes, base64.
    pub(crate) data: String,
}

/// `log`: bytes that the script wrote to one of its streams, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogEvent {
    /// Where they begin in `user_logs/std_log.txt`.
    pub(crate) offset: u64,
    /// Where to go on reading.
    pub(crate) next_offset: u64,
    /// `stdout` or `stderr`.
    pub(crate) stream: String,
    /// When the first of them was written, in nanoseconds since 1970.
    pub(crate) time_ns: i64,
    /// The bytes, base64.
    pub(crate) data: String,
}

/// `attempt`: an attempt ended, every byte of it was sent, and another follows. Offsets begin at 0
/// again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttemptEvent {
    /// Which attempt ended, from 1.
    pub(crate) ended: u32,
    /// How.
    pub(crate) exit: Exit,
    /// Which attempt follows.
    pub(crate) next: u32,
    /// How many there are at most.
    pub(crate) of: u32,
    /// When it begins, where it has not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) begins_time_utc: Option<Timestamp>,
}

/// `end`: the run is over and every byte was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct EndEvent {
    /// The run as it ended.
    pub(crate) run: Box<Run>,
}
