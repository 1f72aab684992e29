//! Requests and answers.
//!
//! Where bytes go with a message, they are in frames: [`super::client`] and the server compress and
//! decompress, nobody else needs to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use images::environment::PreparedEnvironment;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;
use snapshots::snapshot::SnapshotRecord;

use crate::cancel_request::CancelRequest;
use crate::compute_target::{Needs, Place, SupervisorState, Told};
use crate::launch::Launch;
use crate::outputs::OutputFile;
use crate::run_id::RunId;

/// What a server can be asked. `Debug` shows no secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Who and where are you? Answer: [`Hello`].
    Hello {
        /// [`super::frame::PROTOCOL`].
        protocol: u32,
    },
    /// What is this machine? Answer: [`super::report::MachineReport`].
    Report,
    /// Which of these objects do you lack? Answer: a list of digests.
    Missing {
        /// At most [`snapshots::transfer::BATCH`].
        digests: Vec<Digest>,
    },
    /// Take this pack, whose bytes follow. Answer: [`Done`]. What of a pack that breaks off had come
    /// whole is kept.
    Pack,
    /// The snapshot is complete. Answer: [`Finished`].
    Finish {
        /// What is kept.
        record: SnapshotRecord,
    },
    /// Prepare a run: its directory, source and environment, by a process of its own. Answer:
    /// [`Done`] at once; [`News`] tells what came of it. Asked again, also after a process that died
    /// over it, it goes on; a run that was prepared or refused stays so until the machine is booted.
    Prepare {
        /// Which run.
        run: RunId,
        /// Whose it is: the state directory of the agent, and its machine.
        owner: String,
        /// What it needs.
        needs: Needs,
        /// The password for the registry of its image.
        registry_password: Option<Hidden>,
    },
    /// Start a prepared run. Answer: [`Started`]. Refused with [`RefusalKind::NotPrepared`] when it
    /// is not, or not since this boot.
    Start {
        /// Which run.
        run: RunId,
        /// What its supervisor is to do.
        launch: Box<Launch>,
        /// The values of its secrets.
        secrets: BTreeMap<String, Hidden>,
    },
    /// What is new? Waits until something is, but no longer than `wait_ms`, at most a minute.
    /// Answer: [`News`], and then the bytes of all its pieces, one after the other. A run whose
    /// preparation died is taken up again.
    Look {
        /// About these runs.
        runs: Vec<Known>,
        /// In milliseconds.
        wait_ms: u64,
    },
    /// End a run, or its preparation. Answer: [`Done`]. Also counts if it starts later; then ask to
    /// settle one that never will.
    Cancel {
        /// Which run.
        run: RunId,
        /// Who asked, and how.
        cancel: CancelRequest,
    },
    /// End what a supervisor that is gone left. A run that was to end and never started ends as
    /// cancelled. Answer: [`ExitRecord`](crate::exit_record::ExitRecord), also when it is there
    /// already.
    Settle {
        /// Which run.
        run: RunId,
    },
    /// The UUIDs of so many GPUs. Answer: a list of texts.
    Gpus {
        /// How many.
        count: u32,
    },
    /// Who has memory on GPUs? Answer: a list of [`GpuUser`](crate::gpu::GpuUser).
    GpuUsers,
    /// What a run left, or has left so far. Answer: [`Left`].
    Collect {
        /// Which run.
        run: RunId,
        /// What it began with: unchanged files do not count.
        snapshot: Digest,
    },
    /// The content of a file below `work/` of a run, from `offset` to where it ends at that moment.
    /// Answer: [`Done`], then the bytes. Refused with [`RefusalKind::NotFound`] when it is no plain
    /// file with one name, and with [`RefusalKind::Changed`], also in the middle, when it is shorter
    /// than it was.
    Fetch {
        /// Which run.
        run: RunId,
        /// `outputs/…` or `logs/…`, in base64: names are bytes.
        path: Base64Path,
        /// In bytes.
        offset: u64,
    },
    /// What is installed in an environment. Answer: a list of texts, as `pip freeze` has them.
    Packages {
        /// The environment.
        environment: PreparedEnvironment,
    },
    /// Nothing of this run is needed any more: remove its directory. Answer: [`Done`], also when
    /// there is none. Ends a preparation; refused with [`RefusalKind::StillSupervised`] for a run
    /// that is not over, or whose end has not been settled.
    Release {
        /// Which run.
        run: RunId,
    },
    /// Remove what nobody needs: also versions of this program that nobody runs, and what uploads
    /// left. Nothing that was used in the last hour goes. Answer: [`Cleaned`].
    Clean(Cleaning),
    /// Remove everything of ours that no run of another agent needs. Answer: [`Purged`].
    Purge {
        /// Whose runs do not count.
        owner: String,
    },
}

/// A value that `Debug` does not show.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// A path's bytes, as base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Base64Path(pub String);

/// It is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The server's [`super::frame::PROTOCOL`].
    pub protocol: u32,
    /// The server's version.
    pub version: String,
    /// What a run finds there.
    pub place: Place,
    /// What the machine's clock says.
    pub time_utc: Timestamp,
    /// Tells the machine and user from all others: `/etc/machine-id` and the uid, hashed.
    pub machine: String,
}

/// What came of [`Request::Finish`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "finished", rename_all = "snake_case")]
pub enum Finished {
    /// It is kept.
    Kept,
    /// These are not there.
    Incomplete {
        /// The objects.
        missing: Vec<Digest>,
    },
}

/// What came of [`Request::Start`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Started {
    /// Its supervisor has taken it over.
    Now,
    /// It had one already.
    Before,
}

/// What the asking side has of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// Which run.
    pub run: RunId,
    /// How much of each of [`super::files::MIRRORED`], in that order, in bytes; of those that are
    /// not listed, nothing.
    pub have: Vec<u64>,
    /// What it was told last; nothing is news that is still so.
    pub standing: Option<Standing>,
}

/// Where a run stands on the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    /// There is no such run: it was never prepared, or was released.
    Unknown,
    /// It is being prepared.
    Preparing,
    /// It is prepared.
    Prepared {
        /// Its environment.
        environment: Box<PreparedEnvironment>,
        /// What the user should know.
        warnings: Vec<String>,
    },
    /// It could not be prepared.
    NotPrepared {
        /// Why.
        told: Told,
    },
    /// It was started.
    Supervised {
        /// Where its supervisor stands.
        state: SupervisorState,
    },
}

impl Eq for Standing {}

/// What is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// About those runs of which something is.
    pub runs: Vec<RunNews>,
}

/// What is new of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunNews {
    /// Which run.
    pub run: RunId,
    /// Where it stands. It is read before the pieces: the files of an ended run are whole.
    pub standing: Standing,
    /// What its files have grown by, each by 1 MiB at most, all runs together by 8 MiB. A piece of
    /// the log's index comes after one of the log, if that has grown, and speaks of nothing that
    /// has not been sent.
    pub pieces: Vec<Piece>,
    /// Whether there is more than the pieces have: ask again at once.
    pub more: bool,
}

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Its place in [`super::files::MIRRORED`].
    pub file: usize,
    /// Where they begin.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

/// What a run left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The files.
    pub files: Vec<OutputFile>,
    /// What was passed over, and why.
    pub notes: Vec<String>,
    /// Whether no file may be there that neither names.
    pub whole: bool,
}

/// What clean-up is to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cleaning {
    /// Runs that are not on and that nobody released, and snapshots that no run needs, go if they
    /// are older than this, in seconds.
    pub runs_older_seconds: u64,
    /// Runs that stay however old they are: whoever asks does not have all of them at home.
    #[serde(default)]
    pub keep: BTreeSet<RunId>,
    /// How many bytes objects and environments may take: over that, snapshots that no run needs
    /// go, then environments that were not used for longest.
    pub max_bytes: Option<u64>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What clean-up removed, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cleaned {
    /// Run directories.
    pub runs: u64,
    /// Their bytes.
    pub run_bytes: u64,
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Environments.
    pub environments: u64,
    /// Their bytes.
    pub environment_bytes: u64,
    /// Versions of this program, and what uploads of it left.
    #[serde(default)]
    pub programs: u64,
    /// Their bytes.
    #[serde(default)]
    pub program_bytes: u64,
}

/// What came of [`Request::Purge`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Purged {
    /// The state directory on the machine.
    pub home: PathBuf,
    /// Whether it is gone. If not, runs of others are there, and only what is ours went.
    pub whole: bool,
    /// How many bytes that were.
    pub bytes: u64,
}

/// Why a server did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// For programs.
    pub kind: RefusalKind,
    /// For people: an error and its causes.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The two sides are of different versions.
    Protocol,
    /// There is no such run or file.
    NotFound,
    /// The machine's disk is full.
    DiskFull,
    /// A run that is still supervised cannot be settled or released.
    StillSupervised,
    /// A run that was neither started nor cancelled cannot be settled.
    NotStarted,
    /// A run cannot be started that is not prepared: prepare it.
    NotPrepared,
    /// A file is not what it was: list the files again.
    Changed,
    /// A pack or another request is malformed.
    Invalid,
    /// Anything else.
    Failed,
}
