//! `trainyard run`: from a source directory to the script's exit code.

pub(super) mod build_context;
pub(super) mod configuration;
pub(super) mod dry;
pub(super) mod environment;
pub(super) mod job_file;
pub(super) mod place;
mod retrying;
pub(super) mod sending;
pub(super) mod transfer;

use std::path::Path;

use self::configuration::Wanted;
use self::environment::{Chooser, Chosen};
use self::retrying::Retrying;
use super::following::follow_to_exit;
use super::rerun::say_submitted;
use super::{Context, Failure, Outcome, reference, target, variables};
use crate::client::Start;
use crate::config::Settings;
use runner::container::ContainerPlan;
use runner::sandbox::policy::{Mount, SandboxMode};

/// Runs a script and follows it to its end
///
/// Takes a snapshot of the source directory, prepares the environment, runs the script and shows
/// what it prints: its stdout on stdout, its stderr on stderr. The exit code is the script's own;
/// 128+N when signal N ended it, 124 at the time limit, 130 when cancelled, 125 when the fault is
/// ours or the machine's. Ctrl-C cancels the run and waits
/// for its end, a second one does not wait.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trainyard run train.py --epochs 3
  trainyard run --source examples/diabetes --env requirements.txt train.py
  trainyard run -e SEED=1 --secret WANDB_API_KEY --timeout 2h train.py
  trainyard run --mount /data --network none train.py --data /data/train.csv
  trainyard run --docker python:3.11-slim --env requirements.txt --memory 4g train.py
  trainyard run --retries 3 --on oom,failure --timeout 6h train.py
  trainyard run --command 'make data && python train.py'")]
pub(super) struct Args {
    /// The script, looked for in the source directory, then in the current one; then its arguments
    #[arg(value_name = "SCRIPT [ARGS]", trailing_var_arg = true, conflicts_with = "command")]
    script: Vec<String>,
    /// Runs this shell line in place of a script
    #[arg(long, value_name = "LINE")]
    command: Option<String>,
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    machine: Machine,
    #[command(flatten)]
    retrying: Retrying,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    how: How,
}

/// What is run, and what is recorded with it.
#[derive(Debug, clap::Args)]
pub(super) struct What {
    /// Directory to take the snapshot of [default: .]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    source: Option<std::path::PathBuf>,
    /// Experiment the run belongs to [default: the source directory's name]
    #[arg(long, value_name = "NAME")]
    experiment: Option<String>,
    /// Compute target [default: local]
    #[arg(long, value_name = "NAME", add = reference::targets())]
    target: Option<String>,
    /// Environment: a registered name, or a file looked for in the source directory, then here
    ///
    /// A file is a requirements .txt, a conda .yml, a pyproject.toml, a uv.lock, a Dockerfile with
    /// its directory, or an environment of Azure ML: a v2 YAML, or the folder of a saved one.
    /// docker:IMAGE is an image as it is. With --docker, the packages that the file lists are put
    /// on top of that image.
    #[arg(long, value_name = "NAME|FILE")]
    env: Option<String>,
    /// Resolves the environment again, and pulls its image again, whatever was built before
    #[arg(long)]
    fresh: bool,
    /// Takes the packages that a conda file lists from pip, by the same names
    #[arg(long)]
    conda_from_pip: bool,
    /// Reads a .runconfig or a v2 command-job YAML; options on the command line beat it
    #[arg(short = 'c', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    runconfig: Option<std::path::PathBuf>,
    /// Python to use, or to base the environment on; a path or a name on the compute target
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::ExecutablePath)]
    python: Option<std::path::PathBuf>,
    /// Runs in a container of this image
    #[arg(long, value_name = "IMAGE")]
    docker: Option<String>,
    /// Sets a variable for the script; without =V it gets your own value
    #[arg(short = 'e', long = "env-var", value_name = "K[=V]")]
    env_vars: Vec<String>,
    /// Sets a secret variable from FILE, or from your own value; kept out of records and logs
    #[arg(long = "secret", value_name = "K[=FILE]")]
    secrets: Vec<String>,
    /// Name shown to people [default: two words and a number]
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Records a tag
    #[arg(long = "tag", value_name = "K=V")]
    tags: Vec<String>,
}

/// What the run may use.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct Machine {
    /// Ends the run after this time, as in 90, 15m or 1h30m
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// Number of GPUs that are the run's alone while it is on; 0 hides them all
    ///
    /// Outside of containers they are named in CUDA_VISIBLE_DEVICES. Without this option a script
    /// sees every GPU of its machine, and one in a container none.
    #[arg(long, value_name = "N")]
    gpus: Option<u32>,
    /// Number of CPUs
    #[arg(long, value_name = "N")]
    cpus: Option<f64>,
    /// Memory limit
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Limit of processes and threads
    #[arg(long, value_name = "N")]
    pids: Option<u64>,
    /// What its files may take on the disk: source, outputs, logs, temporary files
    #[arg(long, value_name = "SIZE")]
    disk: Option<String>,
    /// Size of /dev/shm, as 2g; default half of --memory
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
    /// What of the network the run may reach: full, loopback or none; the latter take a sandbox
    ///
    /// Without this option it is as `sandbox.network` of the agent's settings says, else full for
    /// those who rule the agent and none for others.
    #[arg(long, value_name = "MODE")]
    network: Option<String>,
    /// How much a run outside of containers is kept from: default, strict or off
    ///
    /// In a sandbox it sees its own files, its Python and the system's programs, and none of the
    /// machine's other files and processes. strict does not start it where this machine cannot do
    /// all of that, off is a process like any other. Without this option it is as `sandbox.default`
    /// of the agent's settings says.
    #[arg(long, value_name = "MODE")]
    sandbox: Option<SandboxMode>,
    /// Shows the sandbox a file or directory of the machine; :rw lets it be changed
    #[arg(long = "mount", value_name = "SRC[:DST][:rw]")]
    mounts: Vec<Mount>,
}

/// How the run waits.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Queue")]
pub(super) struct Waiting {
    /// Place in the queue: higher goes first; a lower one rises as it waits [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Waits until these runs have completed; if one does not, this one is ended too
    #[arg(long, value_name = "RUN", value_delimiter = ',', value_parser = reference::run, add = reference::runs())]
    after: Vec<String>,
    /// Waits until these runs are over, however they end
    #[arg(long, value_name = "RUN", value_delimiter = ',', value_parser = reference::run, add = reference::runs())]
    after_any: Vec<String>,
    /// Waits until `trainyard queue release`
    #[arg(long)]
    hold: bool,
}

/// How the command itself behaves.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "This command")]
pub(super) struct How {
    /// Returns as soon as the run is accepted, and prints its id
    #[arg(short, long)]
    detach: bool,
    /// Says what would be sent and run, and does nothing
    #[arg(long)]
    dry_run: bool,
    /// Shows the script's output as it is, control sequences included
    #[arg(long)]
    raw: bool,
    /// Submits once under this key: again, it finds the run that is there, and follows that
    #[arg(long, value_name = "TEXT", value_parser = sending::key)]
    idempotency_key: Option<String>,
    /// With --detach or --dry-run: prints one JSON document
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Takes what `submit` says over what the file says.
    pub(super) fn submitted_with(&mut self, target: Option<&str>, fresh: bool, from_pip: bool) {
        if let Some(target) = target {
            self.what.target = Some(target.to_owned());
        }
        self.what.fresh |= fresh;
        self.what.conda_from_pip |= from_pip;
    }

    /// Returns the script and its arguments as they were typed.
    pub(super) fn words(&self) -> &[String] {
        &self.script
    }

    /// Says whether there is a script of this name.
    pub(super) fn finds(&self, script: &str) -> bool {
        let source = self.what.source.as_deref().unwrap_or_else(|| Path::new("."));
        [source, Path::new(".")].iter().any(|directory| directory.join(script).is_file())
    }

    /// Says whether one JSON document is wanted.
    pub(super) fn json(&self) -> bool {
        self.how.json
    }
}

/// A run of which all is known that can be before it is sent.
pub(super) struct Ready {
    pub(super) wanted: Wanted,
    pub(super) chosen: Chosen,
    pub(super) with: sending::With,
    settings: Settings,
}

impl Ready {
    /// Reads what was asked for, and chooses the environment.
    ///
    /// # Errors
    ///
    /// It cannot be had, or not yet.
    pub(super) fn new(args: &Args, context: &Context) -> Result<Self, Failure> {
        let mut settings = context.settings.clone();
        let secrets = variables::secrets(&args.what.secrets, &variables::of_this_process)?;
        let wanted = configuration::wanted(args, &mut settings)?;
        let chooser = Chooser {
            settings: &settings,
            conda_from_pip: args.what.conda_from_pip,
            ..Chooser::new(context, &wanted.source)?.on(&wanted.configuration.target)
        };
        let chosen = configuration::choose(&wanted, &chooser)?;
        let with = sending::With {
            secrets,
            fresh: args.what.fresh,
            key: args.how.idempotency_key.clone(),
        };
        Ok(Self { wanted, chosen, with, settings })
    }
}

impl Ready {
    /// Checks what the agent would, and returns what the run's container may be.
    ///
    /// # Errors
    ///
    /// It would be refused there.
    pub(super) fn check(&self, context: &Context) -> Result<Option<ContainerPlan>, Failure> {
        dry::check_target(context, &self.wanted)?;
        dry::check_sandbox(context, &self.wanted, &self.chosen, &self.settings)?;
        dry::check_container(&self.wanted, &self.chosen, &self.settings)
    }
}

/// Runs a script.
pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    if args.how.json && !(args.how.detach || args.how.dry_run) {
        return Err(Failure::usage("--json goes with --detach or --dry-run only")
            .hint("standard output is the script's; `trainyard show @ --json` tells of the run"));
    }
    let ready = Ready::new(args, context)?;
    if args.how.dry_run {
        ready.check(context)?;
        return dry::show(context, &ready, args.how.json);
    }
    let Ready { wanted, chosen, with, .. } = ready;
    let (client, agent) = context.agent(Start::IfNone)?;
    target::check_known(context, &client, &wanted.configuration.target)
        .map_err(|failure| failure.noting(&wanted.notes))?;
    let submitted = sending::Sender::new(context, &client, &agent)?.send(&wanted, &chosen, with)?;
    if args.how.detach {
        return say_submitted(context, &client, &submitted, args.how.json);
    }
    if submitted.existing {
        let line = format!("{}, submitted before under this key", submitted.display_name);
        context.terminal.status("Found", line);
    }
    follow_to_exit(context, &client, &submitted.run_id, &submitted.display_name, args.how.raw)
}
