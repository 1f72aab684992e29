//! Proves each layer of a sandbox on this machine: by attempts that succeed outside, and are made
//! again in runs that a supervisor carries out as it does all others.
//!
//! ```text
//! attempts ──▶ outside                    each must succeed, or it proves nothing
//!          └─▶ a run for each network     each must fail, or the layer does not hold
//! ```
//!
//! What is not there on this machine is not promised: the record of the run says what is missing.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use snapshots::path_error::{IoContext as _, PathError};

use self::attempts::{ATTEMPTS, Attempt, Task, Tried};
use self::bait::{Bait, LaidOut, VARIABLE};
use super::cgroup::ProcessLimits;
use super::plan::{Missing, SandboxRecord};
use super::policy::{Mount, SandboxMode, SandboxPolicy, Tier};
use crate::durable_file;
use crate::exit_record::ExitRecord;
use crate::launch::{LAUNCH_VERSION, Launch};
use crate::log_reader::{LogReader, StreamFilter};
use crate::run_configuration::Network;
use crate::run_directory::RunDirectory;
use crate::run_id::RunId;

pub mod attempts;
mod bait;

/// What those in a sandbox may use: less than the attempts at its limits take.
const LIMITS: ProcessLimits =
    ProcessLimits { memory_bytes: Some(64 << 20), cpus: None, pids: Some(32) };

/// How long the attempts in one sandbox may take, in seconds.
const PATIENCE: f64 = 60.0;

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// The sandbox with all of the network.
    pub record: SandboxRecord,
    /// What this machine does not have, with limits among it.
    pub missing: Vec<Missing>,
    /// Each layer, in the order of [`ATTEMPTS`].
    pub layers: Vec<Layer>,
}

/// What came of the attempt at one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// What it is called.
    pub name: &'static str,
    /// What was tried.
    pub tried: &'static str,
    /// Whether it holds.
    pub holds: Holds,
    /// What stood in the way of the attempt.
    pub said: Option<String>,
}

/// Whether a layer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// The attempt succeeded outside, and not in the sandbox.
    Yes,
    /// It succeeded in the sandbox.
    No,
    /// Nothing on this machine would keep it from that, and nothing promises to.
    CannotBeHad,
    /// It does not succeed outside either.
    Unproven,
}

/// Why nothing was proved.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The sandbox that the machine seems to have could not be made.
    #[error("a run with --network {network} did not start: {message}")]
    NotStarted {
        /// What it was to reach.
        network: Network,
        /// Why not.
        message: String,
    },
    /// The attempts ended before all were made.
    #[error("nothing was heard of the attempt at {name}: {message}")]
    Silent {
        /// Which.
        name: &'static str,
        /// How they ended.
        message: String,
    },
    /// What they go for could not be laid out, or they could not be started.
    #[error("the attempts could not be prepared")]
    Prepare {
        /// Why not.
        #[from]
        source: io::Error,
    },
    /// A file of the run cannot be read or written.
    #[error(transparent)]
    File(#[from] PathError),
}

/// Makes every attempt outside and in sandboxes of runs; `program` is this program's own path,
/// without links. Sends nothing but to this machine's loopback. Takes seconds.
///
/// # Errors
///
/// Nothing is proved.
pub fn prove(program: &Path) -> Result<Proof, ProofError> {
    let laid_out = LaidOut::new()?;
    let probe = Probe { program, bait: &laid_out.bait };
    let outside = probe.outside()?;
    let (record, mut inside, mut missing) = probe.inside(Network::Full)?;
    // Without namespaces there is no narrower network: such runs do not start.
    if record.engine == "bubblewrap" {
        for network in [Network::Loopback, Network::None] {
            inside.extend(probe.inside(network)?.1);
        }
    }
    missing.splice(0..0, record.missing.iter().cloned());
    let layers = ATTEMPTS.iter().map(|attempt| layer(attempt, &outside, &inside, &missing));
    Ok(Proof { layers: layers.collect::<Result<_, _>>()?, record, missing })
}

/// Says what came of `attempt`. Pure.
fn layer(
    attempt: &Attempt,
    outside: &[Tried],
    inside: &[Tried],
    missing: &[Missing],
) -> Result<Layer, ProofError> {
    let Attempt { name, tried, kept_by, .. } = *attempt;
    let find = |all: &[Tried]| all.iter().find(|tried| tried.name == name).cloned();
    let is_missing = |layer: &&str| missing.iter().any(|one| one.layer == **layer);
    let (holds, said) = if !kept_by.is_empty() && kept_by.iter().all(is_missing) {
        (Holds::CannotBeHad, None)
    } else {
        let silent = |message: &str| ProofError::Silent { name, message: message.to_owned() };
        let within = find(inside).ok_or_else(|| silent("it was not made in the sandbox"))?;
        let without = find(outside).ok_or_else(|| silent("it was not made outside"))?;
        match (within.kept, without.kept) {
            (None, _) => (Holds::No, None),
            (Some(said), None) => (Holds::Yes, Some(said)),
            (Some(_), Some(said)) => (Holds::Unproven, Some(said)),
        }
    };
    Ok(Layer { name, tried, holds, said })
}

/// Makes attempts.
struct Probe<'a> {
    program: &'a Path,
    bait: &'a Bait,
}

impl Probe<'_> {
    fn task(&self, of: impl Fn(&Attempt) -> bool) -> Result<String, ProofError> {
        let names = ATTEMPTS.iter().filter(|attempt| of(attempt)).map(|it| it.name.to_owned());
        let task = Task { bait: self.bait.clone(), names: names.collect() };
        Ok(serde_json::to_string(&task).map_err(io::Error::from)?)
    }

    fn outside(&self) -> Result<Vec<Tried>, ProofError> {
        let output = Command::new(self.program)
            .args([attempts::COMMAND, &self.task(|_| true)?])
            .env(VARIABLE, &self.bait.word)
            .stdin(Stdio::null())
            .output()?;
        Ok(read(&output.stdout))
    }

    /// Makes those attempts that are for this network in the sandbox of a run. Returns what its
    /// record says, and what it lost of its limits.
    fn inside(
        &self,
        network: Network,
    ) -> Result<(SandboxRecord, Vec<Tried>, Vec<Missing>), ProofError> {
        // The state of an agent that there is not.
        let state = bait::directory()?;
        let run = RunDirectory::new(state.path().join("runs/probe"));
        fs::create_dir_all(run.work()).context("create", run.work())?;
        let launch = self.launch(network)?;
        durable_file::write_json(&run.launch_json(), &launch)?;
        let log = fs::File::create(run.supervisor_log())?;
        Command::new(self.program)
            .arg("supervise")
            .arg(run.path())
            .env(VARIABLE, &self.bait.word)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .status()?;
        let nothing = || ProofError::NotStarted { network, message: said_in(&run) };
        let record = ExitRecord::read(&run)?.ok_or_else(nothing)?;
        let Some(sandbox) = record.sandbox else {
            return Err(ProofError::NotStarted { network, message: record.message });
        };
        let (segments, _) = LogReader::open(&run)?.read(0, usize::MAX, StreamFilter::All)?;
        let text: Vec<u8> = segments.into_iter().flat_map(|segment| segment.bytes).collect();
        let tried = read(&text);
        if let Some(attempt) = ATTEMPTS.iter().find(|attempt| {
            attempt.network == network && tried.iter().all(|it| it.name != attempt.name)
        }) {
            return Err(ProofError::Silent { name: attempt.name, message: record.message });
        }
        let lost = record.confinement.map(|confinement| confinement.lost).unwrap_or_default();
        Ok((*sandbox, tried, lost_limits(&lost)))
    }

    fn launch(&self, network: Network) -> Result<Launch, ProofError> {
        let show = |path: &Path| {
            let path = PathBuf::from(path);
            Mount { source: path.clone(), at: path, writable: false }
        };
        let policy = SandboxPolicy {
            mode: SandboxMode::Default,
            network,
            mounts: vec![show(self.program), show(&self.bait.shown)],
            minimum: Tier::None,
            ..SandboxPolicy::default()
        };
        let not_text = || io::Error::from(io::ErrorKind::InvalidFilename);
        let program = self.program.to_str().ok_or_else(not_text)?.to_owned();
        let task = self.task(|attempt| attempt.network == network)?;
        Ok(Launch {
            version: LAUNCH_VERSION,
            run_id: RunId::generate("sandbox-probe", 0, rand::random()),
            program: vec![program, attempts::COMMAND.to_owned(), task],
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            secret_names: Vec::new(),
            working_directory: "work".into(),
            timeout_seconds: Some(PATIENCE),
            grace_seconds: 0.0,
            limits: Some(LIMITS),
            disk_bytes: None,
            sandbox: Some(policy),
            container: None,
        })
    }
}

/// Reads what the attempts said: a line for each.
fn read(text: &[u8]) -> Vec<Tried> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

fn said_in(run: &RunDirectory) -> String {
    let said = fs::read_to_string(run.supervisor_log()).unwrap_or_default();
    let last = said.lines().last().unwrap_or("its supervisor ended without a word");
    last.to_owned()
}

/// Says what no cgroup limits here. Swap beside a limit of memory is no limit of memory.
fn lost_limits(lost: &[String]) -> Vec<Missing> {
    let is_lost = |names: &[&str]| lost.iter().any(|one| names.contains(&one.as_str()));
    let missing = |layer: &str, what: &str| Missing {
        layer: layer.to_owned(),
        why: format!("no cgroup that this user can have limits {what}"),
        advice: "`trainyard doctor` says under limits how to have one".to_owned(),
    };
    let memory = is_lost(&["memory", "swap"]).then(|| missing(attempts::MEMORY, "memory"));
    let pids = is_lost(&["processes"]).then(|| missing(attempts::PIDS, "processes"));
    memory.into_iter().chain(pids).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(kept: Option<&str>) -> Vec<Tried> {
        let kept = |_: &Attempt| kept.map(str::to_owned);
        ATTEMPTS.iter().map(|it| Tried { name: it.name.to_owned(), kept: kept(it) }).collect()
    }

    #[test]
    fn an_attempt_proves_something_where_it_succeeds_outside_and_is_promised_not_to_inside() {
        let got = tried(None);
        let kept = tried(Some("Operation not permitted"));
        let missing = |layer: &str| {
            vec![Missing { layer: layer.to_owned(), why: String::new(), advice: String::new() }]
        };
        let mut table = String::new();
        for (name, outside, inside, missing) in [
            ("kept", &got, &kept, Vec::new()),
            ("not kept", &got, &got, Vec::new()),
            ("kept outside too", &kept, &kept, Vec::new()),
            ("kept outside, not inside", &kept, &got, Vec::new()),
            ("nothing that keeps it", &got, &got, missing("namespaces")),
            ("something else is missing", &got, &got, missing("network")),
        ] {
            let attempt = ATTEMPTS.iter().find(|attempt| attempt.name == "processes").unwrap();
            let layer = layer(attempt, outside, inside, &missing).unwrap();
            table += &format!("{name}: {:?}, {:?}\n", layer.holds, layer.said);
        }
        insta::assert_snapshot!(table, @r#"
        kept: Yes, Some("Operation not permitted")
        not kept: No, None
        kept outside too: Unproven, Some("Operation not permitted")
        kept outside, not inside: No, None
        nothing that keeps it: CannotBeHad, None
        something else is missing: No, None
        "#);
    }

    #[test]
    fn one_of_several_that_keep_it_is_enough() {
        let files = ATTEMPTS.iter().find(|attempt| attempt.name == "files").unwrap();
        let missing = |layers: &[&str]| -> Vec<Missing> {
            let one = |layer: &&str| Missing {
                layer: (*layer).to_owned(),
                why: String::new(),
                advice: String::new(),
            };
            layers.iter().map(one).collect()
        };
        let holds = |layers: &[&str]| {
            let missing = missing(layers);
            layer(files, &tried(None), &tried(Some("no")), &missing).unwrap().holds
        };

        assert_eq!(holds(&["namespaces"]), Holds::Yes, "Landlock is there");
        assert_eq!(holds(&["namespaces", "landlock"]), Holds::CannotBeHad);
    }

    #[test]
    fn an_attempt_of_which_nothing_was_heard_proves_nothing() {
        let error = layer(&ATTEMPTS[0], &tried(None), &[], &[]).unwrap_err();

        assert_eq!(
            error.to_string(),
            "nothing was heard of the attempt at files: it was not made in the sandbox"
        );
    }

    #[test]
    fn limits_that_no_cgroup_has_are_missing() {
        let layers = |lost: &[&str]| -> Vec<String> {
            let lost: Vec<_> = lost.iter().map(|one| (*one).to_owned()).collect();
            lost_limits(&lost).into_iter().map(|one| one.layer).collect()
        };

        assert_eq!(layers(&[]), Vec::<String>::new());
        assert_eq!(layers(&["swap"]), ["memory"]);
        assert_eq!(layers(&["memory", "processor time", "processes"]), ["memory", "pids"]);
    }
}
