//! Puts a script into the best sandbox that its policy asks for and this machine can make.

use std::path::Path;
use std::sync::Arc;

use snapshots::path_error::PathError;

use crate::launch::Launch;
use crate::log_reader::{LogReader, StreamFilter};
use crate::run_directory::RunDirectory;
use crate::sandbox::cgroup::Join;
use crate::sandbox::denials::{self, LAST_WORDS, Surroundings};
use crate::sandbox::host::HostFacts;
use crate::sandbox::mounts::OpenedMounts;
use crate::sandbox::places::{self, Places};
use crate::sandbox::plan::{Plan, SandboxRecord, plan};
use crate::sandbox::policy::SandboxPolicy;
use crate::sandbox::probe;
use crate::supervisor::attempt::NotStarted;
use crate::supervisor::sandboxed::{self, SandboxError, Sandboxed, Wishes};
use crate::supervisor::script::{RunningScript, Script};
use crate::supervisor::temporary_directory::TemporaryDirectory;
use crate::supervisor::verdict::ScriptStatus;
use crate::supervisor::watches::Watches;

/// A script that runs, and its sandbox if it is in one.
pub(super) type SandboxedScript = (RunningScript, Option<(Sandboxed, Plan)>);

/// Where a sandbox is made, and what for.
#[derive(Clone, Copy)]
pub(super) struct SandboxPlace<'a> {
    pub(super) run: &'a RunDirectory,
    pub(super) launch: &'a Launch,
    pub(super) temporary: &'a TemporaryDirectory,
}

impl SandboxPlace<'_> {
    /// Starts `script` as `policy` says, unless `watches` tell first that its end is wanted.
    ///
    /// What was found does not tell all: a machine may refuse what it seems to have. Then it is
    /// tried whether it refuses that to everybody, and only if so is there less of a sandbox; what
    /// is wrong with this run's alone is its end.
    pub(super) fn start(
        self,
        script: &Script<'_>,
        policy: &SandboxPolicy,
        join: Option<&Arc<Join>>,
        watches: &Watches,
    ) -> Result<SandboxedScript, NotStarted> {
        let mounts = OpenedMounts::open(policy, self.state())
            .map_err(|refused| NotStarted::Sandbox(refused.into()))?;
        let mut facts = HostFacts::look();
        let places = self.places(script);
        places.make()?;
        loop {
            let plan = plan(policy, &facts, &places, self.memory())?;
            match self.try_start(script, (&plan, &mounts), (places.home.is_none(), join), watches) {
                Ok((running, sandboxed)) => return Ok((running, Some((sandboxed, plan)))),
                Err(SandboxError::Script(error)) => return Err(error.into()),
                Err(SandboxError::Ended { ending }) => return Err(NotStarted::Ended { ending }),
                Err(SandboxError::NotConnected { words }) => facts.network.refusal = Some(words),
                // Perhaps only within the namespace of users that a network of its own takes.
                Err(SandboxError::NotMade { words }) if plan.is_connected() => {
                    facts.network.refusal = Some(words);
                }
                Err(error @ SandboxError::NotMade { .. }) if plan.rooms.is_some() => {
                    facts.refusal = probe::refusal(&facts);
                    if facts.refusal.is_none() {
                        return Err(NotStarted::Sandbox(error));
                    }
                }
                Err(error) => return Err(NotStarted::Sandbox(error)),
            }
        }
    }

    /// Returns what the record says of the sandbox of a script that ended so: where it failed, with
    /// what its last words say that it was kept from.
    pub(super) fn record(self, plan: Plan, status: ScriptStatus) -> SandboxRecord {
        let signal = match status {
            ScriptStatus::Code(0) => return plan.record,
            ScriptStatus::Code(_) => None,
            ScriptStatus::Signal(signal) => Some(signal),
        };
        // Words that cannot be read say nothing.
        let words = self.last_words().unwrap_or_default();
        let around = Surroundings { temporary: self.temporary.path(), state: self.state() };
        let denials = denials::denials(&String::from_utf8_lossy(&words), signal, &plan, around);
        SandboxRecord { denials, ..plan.record }
    }

    fn last_words(self) -> Result<Vec<u8>, PathError> {
        let mut log = LogReader::open(self.run)?;
        let begin = log.len()?.saturating_sub(LAST_WORDS);
        let (segments, _) = log.read(begin, usize::MAX, StreamFilter::All)?;
        Ok(segments.into_iter().flat_map(|segment| segment.bytes).collect())
    }

    /// Returns the agent's state.
    fn state(&self) -> &Path {
        self.run.state()
    }

    fn try_start(
        self,
        script: &Script<'_>,
        (plan, mounts): (&Plan, &OpenedMounts),
        (has_no_home, join): (bool, Option<&Arc<Join>>),
        watches: &Watches,
    ) -> Result<(RunningScript, Sandboxed), SandboxError> {
        let mut script = script.clone();
        if plan.rooms.is_none() {
            // Nothing is put at the places of the real ones.
            let own = |path: &Path| path.to_string_lossy().into_owned();
            script.default_variable("TMPDIR", &own(self.temporary.path()));
            let home = own(&places::home_in(self.temporary.path()));
            script.environment.insert("HOME".to_owned(), home);
        } else {
            script.default_variable("TMPDIR", "/tmp");
            // Of whom the machine does not know where they are at home.
            if has_no_home && let Some(home) = script.environment.get_mut("HOME") {
                "/tmp".clone_into(home);
            }
        }
        let wishes = Wishes { run: self.run, watches };
        sandboxed::start(&script, (plan, mounts), join.cloned(), wishes)
    }

    fn places(self, script: &Script<'_>) -> Places {
        Places::of_run(self.run, script.program, &script.environment, self.temporary.path())
    }

    /// Returns what `/dev/shm` may hold, in bytes.
    fn memory(self) -> Option<u64> {
        self.launch.shared_memory()
    }
}
