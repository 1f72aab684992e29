//! `trainyard run --dry-run`: what would be sent and run.

use std::fmt::Write;

use images::environment::{DockerBase, DockerPackages, Environment};
use runner::container::{self, ContainerPlan, ContainerRequest};
use runner::run_configuration::{Resources, size};
use runner::sandbox::host::HostFacts;
use runner::sandbox::policy::SandboxMode;
use runner::sandbox::probe;

use super::configuration::Wanted;
use super::environment::{BuildContext, Chosen};
use super::{Ready, build_context, sending};
use crate::cli::context::SCHEMA_VERSION;
use crate::cli::{Context, Exit, Failure, Outcome, snapshotting, target};
use crate::client::Start;
use crate::config::Settings;
use crate::peer::Peer;
use crate::run::sandbox_offer::SandboxOffer;
use crate::targets::LOCAL;
use crate::terminal::{Plain, measure};

/// Says what would happen; nothing does.
pub(super) fn show(context: &Context, ready: &Ready, json: bool) -> Outcome {
    let Ready { wanted, chosen, with, .. } = ready;
    let workspace = context.workspace()?;
    let source = wanted.source.directory();
    let options = snapshotting::options(context, &workspace, source, false);
    let listing = snapshots::walk::list(source, &options)?;
    let mut warnings = wanted.notes.clone();
    warnings.extend(chosen.notes.iter().cloned());
    warnings.extend(listing.warnings.iter().map(ToString::to_string));
    let offer = offer(context)?;
    warnings.extend(sending::sandbox_warning(wanted, chosen, Some(&offer)));
    let mut facts = facts(wanted, chosen);
    facts.extend(container_facts(wanted, chosen));
    facts.extend(bounds(wanted, chosen, &offer));
    if let Some(BuildContext::Directory(directory, dockerfile)) = &chosen.build_context {
        let (files, bytes) = build_context::list(context, &workspace, directory, dockerfile)?;
        let (files, bytes) = (measure::count(files, "file"), measure::size(bytes));
        facts.push(("context", format!("{files}, {bytes} in {}", directory.display())));
    }
    if with.fresh {
        facts.push(("fresh", "the environment is resolved again".to_owned()));
    }
    let mut variables = chosen.variables.clone();
    variables.extend(wanted.configuration.environment_variables.clone());
    if json {
        let facts: serde_json::Map<_, _> =
            facts.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        context.print_json(&serde_json::json!({
            "schemaVersion": SCHEMA_VERSION,
            "dryRun": facts,
            "environmentVariables": variables.keys().collect::<Vec<_>>(),
            "tags": wanted.configuration.tags,
            "fileCount": listing.files.len(),
            "totalBytes": listing.total_bytes,
            "warnings": warnings,
        }))?;
        return Ok(Exit::OK);
    }
    let mut text = String::new();
    for (name, value) in facts {
        writeln!(text, "{name:<12} {}", Plain(&value)).expect("a string takes every text");
    }
    let files = measure::count(listing.files.len() as u64, "file");
    let bytes = measure::size(listing.total_bytes);
    writeln!(text, "{:<12} {files}, {bytes}", "snapshot").expect("a string takes every text");
    context.print(text)?;
    snapshotting::warn(context, &warnings);
    Ok(Exit::OK)
}

/// Returns what the agent offers of a sandbox, or one that this user would start.
pub(in crate::cli) fn offer(context: &Context) -> Result<SandboxOffer, Failure> {
    let answer = context.agent(Start::Never).ok().and_then(|(_, agent)| agent.sandbox);
    match answer {
        Some(offer) => Ok(offer),
        None => {
            let rules = context.settings.sandbox_rules().map_err(Failure::usage)?;
            let peer = Peer { uid: rustix::process::geteuid().as_raw(), rules: true };
            Ok(SandboxOffer::new(&rules, &probe::tried(HostFacts::look()), peer))
        }
    }
}

/// Says what the run reaches, and how much of a sandbox it has.
fn bounds(wanted: &Wanted, chosen: &Chosen, offer: &SandboxOffer) -> Vec<(&'static str, String)> {
    let asked = sending::asked(wanted, chosen);
    let forecast = offer.forecast(asked);
    let is_here = wanted.configuration.target == LOCAL;
    let sandbox = match &forecast.policy {
        None => SandboxMode::Off.to_string(),
        Some(policy) if is_here => format!("{}, {} here", policy.mode, offer.tier),
        Some(policy) => policy.mode.to_string(),
    };
    let sandbox = asked.container.is_none().then_some(("sandbox", sandbox));
    sandbox.into_iter().chain([("network", forecast.network.to_string())]).collect()
}

/// Checks that there is the target, which the agent knows. Nobody need know of this machine.
///
/// # Errors
///
/// There is none of that name, or the agent cannot be asked.
pub(super) fn check_target(context: &Context, wanted: &Wanted) -> Result<(), Failure> {
    let target = &wanted.configuration.target;
    if target == LOCAL {
        return Ok(());
    }
    let (client, _) = context.agent(Start::IfNone)?;
    target::check_known(context, &client, target).map_err(|failure| failure.noting(&wanted.notes))
}

/// Checks what is asked of the run's sandbox as the agent does when it is handed in.
///
/// # Errors
///
/// It may not be asked for. Judged by this user's settings, as somebody who rules the agent.
pub(super) fn check_sandbox(
    context: &Context,
    wanted: &Wanted,
    chosen: &Chosen,
    settings: &Settings,
) -> Result<(), Failure> {
    let rules = settings.sandbox_rules().map_err(Failure::usage)?;
    let peer = Peer { uid: rustix::process::geteuid().as_raw(), rules: true };
    let workspace = context.workspace()?;
    rules.check(sending::asked(wanted, chosen), peer, workspace.home()).map_err(|refused| {
        let hint = refused.hint();
        Failure::usage(refused).hint(hint).noting(&wanted.notes)
    })
}

/// Checks what is asked of the run's container as the agent does when it is handed in, and returns
/// what it may be.
///
/// # Errors
///
/// It may not be asked for. Judged by this user's settings: those of an agent of somebody else may
/// allow more or less.
pub(super) fn check_container(
    wanted: &Wanted,
    chosen: &Chosen,
    settings: &Settings,
) -> Result<Option<ContainerPlan>, Failure> {
    if !chosen.is_contained() {
        return Ok(None);
    }
    let request = ContainerRequest {
        options: &chosen.container,
        resources: &wanted.configuration.resources,
        network: wanted.configuration.network.unwrap_or_default(),
        policy: &settings.container_policy(),
    };
    match container::plan(&request) {
        Ok(plan) => Ok(Some(plan)),
        Err(refused) => {
            let hint = refused.hint.clone();
            Err(Failure::usage(refused).hint(hint))
        }
    }
}

/// Says what the run's container is to be; never a password.
fn container_facts(wanted: &Wanted, chosen: &Chosen) -> Vec<(&'static str, String)> {
    let Environment::Docker { docker } = &chosen.environment else {
        return limits(&wanted.configuration.resources);
    };
    let mut facts = Vec::new();
    match &docker.base {
        DockerBase::Image { reference } => facts.push(("image", reference.clone())),
        DockerBase::Dockerfile { name, .. } => facts.push(("dockerfile", name.clone())),
    }
    let packages = docker.packages.as_ref().map(|packages| match packages {
        DockerPackages::Requirements { files } => {
            files.first().map(|file| file.name.clone()).unwrap_or_default()
        }
        DockerPackages::UvProject { .. } => "pyproject.toml".to_owned(),
        DockerPackages::Conda { packages } => packages.name.clone(),
    });
    let registry = docker.registry.as_ref();
    let resources = &wanted.configuration.resources;
    let bytes = |bytes: Option<u64>| bytes.map(size::print_bytes);
    let arguments = &chosen.container.arguments;
    let known = [
        ("packages", packages),
        ("platform", docker.platform.clone()),
        ("registry", registry.map(|user| format!("{} as {}", user.address, user.username))),
        ("arguments", (!arguments.is_empty()).then(|| format!("{arguments:?}"))),
        ("shm-size", bytes(chosen.container.shm_bytes)),
        ("gpus", resources.gpus.map(|gpus| gpus.to_string())),
    ];
    facts.extend(known.into_iter().filter_map(|(name, value)| Some((name, value?))));
    facts.extend(limits(resources));
    facts
}

/// Says what limits runs in containers and others have.
fn limits(resources: &Resources) -> Vec<(&'static str, String)> {
    let known = [
        ("cpus", resources.cpus.map(|cpus| cpus.to_string())),
        ("memory", resources.memory_bytes.map(size::print_bytes)),
        ("pids", resources.pids.map(|pids| pids.to_string())),
        ("disk", resources.disk_bytes.map(size::print_bytes)),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn facts(wanted: &Wanted, chosen: &Chosen) -> Vec<(&'static str, String)> {
    let configuration = &wanted.configuration;
    let mut facts = vec![
        ("source", wanted.source.directory().display().to_string()),
        ("experiment", configuration.experiment.clone().unwrap_or_default()),
        ("target", configuration.target.clone()),
        ("environment", format!("{} ({})", chosen.name, chosen.because)),
    ];
    let of_image = match &chosen.environment {
        Environment::Docker { docker } => docker.interpreter.clone(),
        _ => None,
    };
    let python = chosen.environment.interpreter().map(|path| path.display().to_string());
    facts.extend(python.or(of_image).map(|python| ("python", python)));
    match (&configuration.script, &configuration.command) {
        (Some(script), _) => {
            let words: Vec<_> = std::iter::once(script).chain(&configuration.arguments).collect();
            facts.push(("script", format!("{words:?}")));
        }
        (None, command) => facts.push(("command", command.clone().unwrap_or_default())),
    }
    if let Some(seconds) = configuration.timeout_seconds {
        facts.push(("timeout", format!("{seconds} s")));
    }
    facts.extend(configuration.retry.as_ref().map(|policy| ("retries", policy.to_string())));
    facts
}
