//! A run as it is shown.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::collections::BTreeMap;

use images::environment::{PreparedImage, RequirementsFile};
use jiff::Timestamp;
use runner::compute_target;
use runner::exit_record::ExitRecord;
use runner::sandbox::cgroup::Confinement;
use runner::sandbox::plan::SandboxRecord;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::submission::{SubmitRequest, is_default};
use super::waiting::WaitsFor;
use crate::run::status::RunStatus;

/// A run without its long parts: what lists show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunSummary {
    /// The run's id: `<experiment>_<unix seconds>_<8 hex>`.
    pub(crate) run_id: String,
    /// The number of the user who handed it in.
    #[serde(default)]
    pub(crate) uid: u32,
    /// The name of that user, if the agent's machine knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// What it belongs to.
    pub(crate) experiment: String,
    /// Its name for people.
    pub(crate) display_name: String,
    /// Where it stands.
    pub(crate) status: RunStatus,
    /// Its place in the queue, from 1, while it is in it and could start.
    pub(crate) position: Option<usize>,
    /// What it waits for, while it is in the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waits_for: Option<WaitsFor>,
    /// Its priority in the queue: higher goes first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) priority: i32,
    /// Which attempt it is at, where it may be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<RunAttempt>,
    /// Where it runs.
    pub(crate) target: String,
    /// That the target cannot be reached now. The run goes on there; its status is the last that
    /// was heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) out_of_contact: Option<OutOfContact>,
    /// What people call its environment.
    pub(crate) environment: String,
    /// What it runs: the script with its arguments, or the command.
    pub(crate) command_line: String,
    /// Its source.
    pub(crate) snapshot_id: String,
    /// When the script started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) start_time_utc: Option<Timestamp>,
    /// When the run was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) end_time_utc: Option<Timestamp>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_time_utc: Timestamp,
    /// The user's labels.
    pub(crate) tags: BTreeMap<String, String>,
    /// How it ended.
    pub(crate) exit: Option<Exit>,
}

/// A run with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// The version of this document.
    pub(crate) schema_version: u32,
    /// What lists show.
    #[serde(flatten)]
    pub(crate) summary: RunSummary,
    /// Facts, such as those of git.
    pub(crate) properties: BTreeMap<String, String>,
    /// What the script reported, by name, in the order in which it came.
    pub(crate) metrics: BTreeMap<String, Vec<MetricPoint>>,
    /// Every try at starting it.
    pub(crate) attempts: Vec<Attempt>,
    /// Logs, as paths for `/v1/runs/{ref}/files/{path}`.
    pub(crate) log_files: Vec<String>,
    /// What it left in `outputs/` and `logs/`.
    pub(crate) output_files: Vec<OutputFile>,
    /// The environment as it was prepared.
    pub(crate) prepared_environment: Option<PreparedEnvironment>,
    /// What the user was warned of, at submission and since.
    pub(crate) warnings: Vec<String>,
    /// Since when the container engine of a run that is on does not answer. Whether the script goes
    /// on, and its end, are not known before the engine is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) engine_away_since_time_utc: Option<Timestamp>,
    /// The run directory on the agent's machine.
    pub(crate) run_directory: String,
    /// What was handed in, without the values of secrets: enough to hand it in again.
    pub(crate) request: SubmitRequest,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Exit {
    /// Why, in a word: `completed`, `script_failed`, `cancelled`, …
    pub(crate) reason: String,
    /// The script's exit code, where it exited.
    pub(crate) code: Option<i32>,
    /// The signal that ended it, where one did.
    pub(crate) signal: Option<i32>,
    /// Why, for people.
    pub(crate) message: String,
    /// Who cancelled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cancelled_by: Option<String>,
    /// What `trainyard run` and `wait` exit with.
    pub(crate) process_exit_code: i32,
    /// What held its processes together, its limits and what was counted: `holder`, `limits`,
    /// `lost`, `oomKills`, `memoryLimitHits`, `pidsLimitHits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) confinement: Option<Box<Confinement>>,
    /// The sandbox it was in: `tier`, `engine`, `network`, and `missing` with `layer`, `why` and
    /// `advice` for each thing it was not kept from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) sandbox: Option<Box<SandboxRecord>>,
}

/// Which attempt a run is at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunAttempt {
    /// The attempt that is on, comes next or was the last, from 1.
    pub(crate) number: u32,
    /// How many there are at most.
    pub(crate) of: u32,
    /// What ended the one before, in a word: `lost_contact`, `out_of_memory`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
}

/// Since when a target cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutOfContact {
    /// The target.
    pub(crate) target: String,
    /// When it was heard of last.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) since: Timestamp,
    /// What the last try met with.
    pub(crate) why: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl OutOfContact {
    /// Says of which target it is told.
    pub(crate) fn of(target: &str, contact: compute_target::OutOfContact) -> Self {
        let compute_target::OutOfContact { since, why, hint } = contact;
        Self { target: target.to_owned(), since, why, hint }
    }
}

/// One value of a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MetricPoint {
    /// Where on the x axis, if the script said.
    pub(crate) step: Option<i64>,
    /// The value. `null` where it is not a finite number.
    pub(crate) value: Option<f64>,
    /// When the script reported it, as far as is known.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) time_utc: Timestamp,
}

/// One try at starting a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attempt {
    /// Which attempt, from 1. A start that was taken back before the script began is followed by
    /// another of the same attempt.
    pub(crate) number: u32,
    /// Why it was made: `submitted`, or what ended the one before.
    pub(crate) reason: String,
    /// When it was begun.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) start_time_utc: Timestamp,
    /// When it was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) end_time_utc: Option<Timestamp>,
    /// How it ended.
    pub(crate) exit: Option<Exit>,
    /// What it left in `outputs/` and `logs/`, where another attempt followed. What the last one
    /// left is the run's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) output_files: Vec<OutputFile>,
}

/// A file that a run left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutputFile {
    /// Where, relative to the script's working directory.
    pub(crate) path: String,
    /// The path's bytes where they are not UTF-8, since JSON has no other way to say them. To get
    /// the file, its bytes go into the URL, percent-encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path_base64: Option<String>,
    /// Its length.
    pub(crate) size: u64,
    /// Its digest.
    pub(crate) sha256: String,
}

/// What a run has left so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outputs {
    /// The files.
    pub(crate) output_files: Vec<OutputFile>,
    /// What was passed over, and why.
    pub(crate) notes: Vec<String>,
}

/// An environment as it was prepared for a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PreparedEnvironment {
    /// Its key, where it was built here.
    pub(crate) key: Option<String>,
    /// What people call it.
    pub(crate) name: String,
    /// The Python that ran.
    pub(crate) interpreter: String,
    /// Its version.
    pub(crate) python_version: Option<String>,
    /// Where it lives.
    pub(crate) prefix: String,
    /// It had been built before.
    pub(crate) reused: bool,
    /// What `pip freeze` said, once it has been asked: a run's `end` event may come before that,
    /// but whoever then asks for the run gets it.
    #[serde(default)]
    pub(crate) packages: Vec<String>,
    /// The image of its container, where it ran in one: `id`, `reference`, `digest`, `baseDigest`,
    /// `platform`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) image: Option<PreparedImage>,
    /// What was resolved when it was built: files, each with `name` and `text`, that build it again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub(crate) lock: Vec<RequirementsFile>,
}

/// Asks for a run to end.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelRequest {
    /// Without grace.
    #[serde(default)]
    pub(crate) now: bool,
}

impl OutputFile {
    /// Makes one of a path's bytes.
    pub(crate) fn new(path: &[u8], size: u64, sha256: String) -> Self {
        let text = String::from_utf8_lossy(path).into_owned();
        let is_exact = text.as_bytes() == path;
        let path_base64 = (!is_exact).then(|| BASE64_STANDARD.encode(path));
        Self { path: text, path_base64, size, sha256 }
    }

    /// The path's bytes.
    pub(crate) fn path_bytes(&self) -> Vec<u8> {
        let exact = self.path_base64.as_ref().and_then(|text| BASE64_STANDARD.decode(text).ok());
        exact.unwrap_or_else(|| self.path.clone().into_bytes())
    }
}

impl From<&ExitRecord> for Exit {
    fn from(record: &ExitRecord) -> Self {
        let by = record.cancelled_by.as_ref().map(|by| match &by.user {
            Some(user) => format!("{user} (uid {})", by.uid),
            None => format!("uid {}", by.uid),
        });
        Self {
            reason: record.reason.name().to_owned(),
            code: record.code,
            signal: record.signal,
            message: record.message.clone(),
            cancelled_by: by,
            process_exit_code: record.process_exit_code(),
            confinement: record.confinement.clone(),
            sandbox: record.sandbox.clone(),
        }
    }
}

impl PreparedEnvironment {
    /// Puts together what was prepared and what is installed in it.
    pub(crate) fn new(
        environment: images::environment::PreparedEnvironment,
        packages: Vec<String>,
    ) -> Self {
        Self {
            key: environment.key.map(|key| key.to_string()),
            name: environment.name,
            interpreter: environment.interpreter.to_string_lossy().into_owned(),
            python_version: environment.python_version,
            prefix: environment.prefix.to_string_lossy().into_owned(),
            reused: environment.reused,
            packages,
            image: environment.image,
            lock: environment.lock,
        }
    }
}
