//! What is known of a run's sandbox: from its launch where it has begun, else from what it asks for.

use std::collections::BTreeMap;

use images::environment::Environment;
use runner::base_environment::BaseEnvironment;
use runner::container::bounds::Bound;
use runner::durable_file;
use runner::launch::{DEFAULT_GRACE_SECONDS, LAUNCH_VERSION, Launch};
use runner::run_configuration::{Resources, size};
use runner::run_directory::RunDirectory;
use runner::run_id::RunId;
use runner::sandbox::cgroup::ProcessLimits;
use runner::sandbox::forecast::forecast;
use runner::sandbox::plan::{Plan, SandboxRecord, SandboxRefused};
use runner::sandbox::policy::SandboxPolicy;
use runner::script_user::ScriptUser;

use crate::api::wire::agent::AgentStatus;
use crate::api::wire::run::Run;
use crate::cli::run::{Ready, dry, sending};
use crate::cli::{Context, Failure, run};
use crate::client::Start;
use crate::gpus;
use crate::run::launching;
use crate::run::sandbox_offer::SandboxOffer;
use crate::run::sandboxing::Asked;
use crate::targets::LOCAL;

/// What is known of it.
pub(super) struct Explained {
    /// The run, where it is one that was handed in.
    pub(super) run_id: Option<String>,
    /// Where it runs.
    pub(super) target: String,
    /// What keeps it.
    pub(super) keeper: Keeper,
    /// What it may use.
    pub(super) limits: Vec<(&'static str, String)>,
    /// What else is to be known, in sentences.
    pub(super) notes: Vec<String>,
}

/// What keeps a run to what it was given.
pub(super) enum Keeper {
    /// Nothing does.
    Nobody,
    /// A container's engine.
    Engine(Vec<Bound>),
    /// A sandbox.
    Sandbox(Box<Sandboxed>),
}

/// A sandbox, as far as it is known.
pub(super) struct Sandboxed {
    /// What was asked for.
    pub(super) policy: SandboxPolicy,
    /// What it is here and now, where here is where it runs.
    pub(super) plan: Option<Result<Plan, SandboxRefused>>,
    /// What it was, once the run is over.
    pub(super) record: Option<SandboxRecord>,
}

/// A run that has not begun.
struct Draft<'a> {
    target: &'a str,
    experiment: &'a str,
    asked: Asked<'a>,
    environment: &'a Environment,
    variables: BTreeMap<String, String>,
    has_command: bool,
    resources: &'a Resources,
    timeout_seconds: Option<f64>,
}

/// Whose run it would be.
struct Owner {
    offer: SandboxOffer,
    status: Option<AgentStatus>,
    is_here: bool,
}

impl Sandboxed {
    /// Returns the plan, if it can be had.
    pub(super) fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()?.as_ref().ok()
    }

    /// Returns why it cannot be had.
    pub(super) fn refused(&self) -> Option<&SandboxRefused> {
        self.plan.as_ref()?.as_ref().err()
    }

    /// Returns what it was, or would be.
    pub(super) fn record(&self) -> Option<&SandboxRecord> {
        self.record.as_ref().or_else(|| self.plan().map(|plan| &plan.record))
    }
}

impl Explained {
    /// Explains what a run with these arguments would have, after the checks of `run --dry-run`.
    ///
    /// # Errors
    ///
    /// It could not be handed in.
    pub(super) fn of_arguments(args: &run::Args, context: &Context) -> Result<Self, Failure> {
        let ready = Ready::new(args, context)?;
        let container = ready.check(context)?;
        let Ready { wanted, chosen, .. } = &ready;
        let configuration = &wanted.configuration;
        let mut variables = chosen.variables.clone();
        variables.extend(configuration.environment_variables.clone());
        let draft = Draft {
            target: &configuration.target,
            experiment: configuration.experiment.as_deref().unwrap_or_default(),
            asked: sending::asked(wanted, chosen),
            environment: &chosen.environment,
            variables,
            has_command: configuration.command.is_some(),
            resources: &configuration.resources,
            timeout_seconds: configuration
                .timeout_seconds
                .map(|seconds| std::time::Duration::from_secs(seconds).as_secs_f64()),
        };
        let owner = Owner {
            offer: dry::offer(context)?,
            status: context.agent(Start::Never).ok().map(|(_, status)| status),
            is_here: context.is_here()?,
        };
        draft.explained(&owner, container.map(|plan| plan.bounds()), context)
    }

    /// Explains what a run has that was handed in.
    ///
    /// # Errors
    ///
    /// There is no such run, or the agent does not answer.
    pub(super) fn of_run(reference: &str, context: &Context) -> Result<Self, Failure> {
        let (client, status) = context.agent(Start::IfNone)?;
        let run = context.wait_for(async { Ok(client.run(reference).await?) })?;
        let is_here = context.is_here()?;
        let directory = RunDirectory::new(&run.run_directory);
        // One of another user's agent is not for everybody to read.
        let launch: Option<Launch> = (is_here && run.summary.target == LOCAL)
            .then(|| durable_file::read_json(&directory.launch_json()).ok().flatten())
            .flatten();
        let mut explained = match launch {
            Some(launch) => Self::of_launch(&launch, &directory),
            None => {
                let offer = dry::offer(context)?;
                let owner = Owner { offer, status: Some(status), is_here };
                of_request(&run, &owner, context)?
            }
        };
        if let Some(exit) = &run.summary.exit
            && let Keeper::Sandbox(sandboxed) = &mut explained.keeper
        {
            sandboxed.record = exit.sandbox.as_deref().cloned();
            if sandboxed.record.is_some() {
                let note = "tier, engine and what is missing are of the run that is over; what it \
                            sees is as it would be now";
                explained.notes.push(note.to_owned());
            }
        }
        let confinement = run.summary.exit.as_ref().and_then(|exit| exit.confinement.as_ref());
        if let Some(lost) = confinement.map(|it| it.lost.join(", ")).filter(|it| !it.is_empty()) {
            explained.notes.push(format!("it had no limit on {lost}: no cgroup could be had"));
        }
        Ok(Self { run_id: Some(run.summary.run_id), target: run.summary.target, ..explained })
    }

    fn of_launch(launch: &Launch, directory: &RunDirectory) -> Self {
        let keeper = match (&launch.container, &launch.sandbox) {
            (Some(container), _) => Keeper::Engine(container.bounds()),
            (None, None) => Keeper::Nobody,
            (None, Some(policy)) => Keeper::Sandbox(Box::new(Sandboxed {
                policy: policy.clone(),
                plan: Some(forecast(policy, launch, directory)),
                record: None,
            })),
        };
        let target = LOCAL.to_owned();
        Self { run_id: None, target, keeper, limits: limits(launch), notes: Vec::new() }
    }
}

fn of_request(run: &Run, owner: &Owner, context: &Context) -> Result<Explained, Failure> {
    let request = &run.request;
    let asked = Asked::from(request);
    let plan = asked.container.map(|_| {
        launching::plan(request, &context.settings.container_policy()).map_err(Failure::usage)
    });
    let draft = Draft {
        target: &request.target,
        experiment: &request.experiment,
        asked,
        environment: &request.environment,
        variables: request.environment_variables.0.clone(),
        has_command: request.command.is_some(),
        resources: &request.resources,
        timeout_seconds: request.timeout_seconds,
    };
    draft.explained(owner, plan.transpose()?.map(|plan| plan.bounds()), context)
}

impl Draft<'_> {
    fn explained(
        &self,
        owner: &Owner,
        container: Option<Vec<Bound>>,
        context: &Context,
    ) -> Result<Explained, Failure> {
        let home = match &owner.status {
            Some(status) => status.home.clone(),
            None => context.workspace()?.home().to_owned(),
        };
        let directory = RunDirectory::new(home.join("runs/RUN"));
        let own = rustix::process::geteuid().as_raw();
        let uid = owner.status.as_ref().map_or(own, |status| status.uid);
        let policy = owner.offer.forecast(self.asked).policy;
        let launch = self.launch(&directory, &ScriptUser::of(uid), policy);
        let is_at_hand = self.target == LOCAL && owner.is_here;
        let mut notes = Vec::new();
        let keeper = match (container, &launch.sandbox) {
            (Some(bounds), _) => Keeper::Engine(bounds),
            (None, None) => Keeper::Nobody,
            (None, Some(policy)) => {
                let plan = is_at_hand.then(|| forecast(policy, &launch, &directory));
                let policy = policy.clone();
                Keeper::Sandbox(Box::new(Sandboxed { policy, plan, record: None }))
            }
        };
        if matches!(keeper, Keeper::Sandbox(_)) {
            if !is_at_hand {
                notes.push(format!(
                    "what it sees besides, and how much of a sandbox there is, is for the machine \
                     of {} to find",
                    self.target
                ));
            } else {
                notes.push(format!("RUN stands for its id, below {}", home.display()));
                notes.extend(self.note_on_environment(&home));
            }
            if is_at_hand && uid != own {
                notes.push(format!(
                    "the agent is of user {uid}, who may have more or less of a sandbox than you: \
                     `trainyard agent status --json` says how much"
                ));
            }
        }
        let target = self.target.to_owned();
        Ok(Explained { run_id: None, target, keeper, limits: limits(&launch), notes })
    }

    fn note_on_environment(&self, home: &std::path::Path) -> Option<String> {
        let is_built = !matches!(self.environment, Environment::UserManaged { .. });
        is_built.then(|| {
            let built = home.join("environments");
            format!("its environment is made below {} and seen too, to be read", built.display())
        })
    }

    /// Puts together what its supervisor would be told, as far as that is known.
    fn launch(
        &self,
        directory: &RunDirectory,
        user: &ScriptUser,
        sandbox: Option<SandboxPolicy>,
    ) -> Launch {
        let run_id = RunId::generate(self.experiment, 0, 0);
        let mut environment = BaseEnvironment {
            run_id: &run_id,
            experiment: self.experiment,
            directory,
            path_entries: &[],
            home: &user.home,
            user: &user.name,
            time_zone: None,
        }
        .variables();
        environment.extend(self.variables.clone());
        if self.resources.gpus == Some(0) {
            environment.insert(gpus::VARIABLE.to_owned(), String::new());
        }
        let python = self.environment.interpreter().map(|path| path.to_string_lossy().into_owned());
        let program = if self.has_command { Some(user.shell.clone()) } else { python };
        let is_contained = self.asked.container.is_some();
        Launch {
            version: LAUNCH_VERSION,
            run_id,
            program: program.into_iter().collect(),
            environment,
            secret_names: Vec::new(),
            working_directory: "work".into(),
            timeout_seconds: self.timeout_seconds,
            grace_seconds: DEFAULT_GRACE_SECONDS,
            limits: ProcessLimits::of(self.resources).filter(|_| !is_contained),
            disk_bytes: self.resources.disk_bytes,
            sandbox,
            container: None,
        }
    }
}

/// Lists what a run may use; what a container may is among its bounds.
fn limits(launch: &Launch) -> Vec<(&'static str, String)> {
    let limits = launch.limits.clone().unwrap_or_default();
    let known = [
        ("memory", limits.memory_bytes.map(size::print_bytes)),
        ("cpus", limits.cpus.map(|cpus| cpus.to_string())),
        ("pids", limits.pids.map(|pids| pids.to_string())),
        ("disk", launch.disk_bytes.map(size::print_bytes)),
        ("timeout", launch.timeout_seconds.map(|seconds| format!("{seconds} s"))),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
