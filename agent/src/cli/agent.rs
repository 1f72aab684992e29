//! `trainyard agent`: the daemon.

use std::fmt::Write;
use std::num::NonZeroUsize;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Context, Exit, Failure, Outcome};
use crate::agent::{Options, Policies};
use crate::client::Start;
use crate::config::Key;
use crate::terminal::{Plain, measure};

/// Starts, asks and stops the agent
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Runs the agent in the foreground, until it is told to stop
    #[command(after_help = "Example:\n  trainyard agent run")]
    Run {
        /// How many runs may be on at once [default: two per core]
        #[arg(long, value_name = "N")]
        max_runs: Option<NonZeroUsize>,
        /// Leaves the caller's session and says `ready` on standard output (used by the CLI)
        #[arg(long, hide = true)]
        detached: bool,
    },
    /// Says whether an agent answers, and how it is
    #[command(after_help = "Example:\n  trainyard agent status --json")]
    Status {
        /// Prints one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Stops the agent; its runs go on, and the next agent finds them
    #[command(after_help = "Example:\n  trainyard agent stop")]
    Stop,
    /// Lets running runs end and starts no new ones (not yet)
    #[command(after_help = "Example:\n  trainyard agent drain")]
    Drain,
}

/// Carries out one of the commands.
pub(super) fn agent(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::Run { max_runs, detached } => run(*max_runs, *detached, context),
        Command::Status { json } => status(*json, context),
        Command::Stop => stop(context),
        Command::Drain => Err(Failure::not_yet("agent drain")),
    }
}

fn status(json: bool, context: &Context) -> Outcome {
    let (_, status) = context.agent(Start::Never)?;
    if json {
        context.print_json(&status)?;
        return Ok(Exit::OK);
    }
    let now = Timestamp::now();
    let started = if context.terminal.out_is_terminal() {
        measure::ago(status.started_time_utc, now)
    } else {
        measure::rfc3339(status.started_time_utc)
    };
    let mut text = String::new();
    for (name, value) in [
        ("Version", status.version.clone()),
        ("Process", status.pid.to_string()),
        ("State", status.home.display().to_string()),
        ("Started", started),
        ("Running", format!("{} of {}", status.runs.running, status.concurrency)),
        ("Queued", status.runs.queued.to_string()),
    ] {
        writeln!(text, "{name:<8} {}", Plain(&value)).expect("a string takes every text");
    }
    context.print(text)?;
    Ok(Exit::OK)
}

fn stop(context: &Context) -> Outcome {
    let (client, status) = context.agent(Start::Never)?;
    let process = i32::try_from(status.pid).ok().and_then(Pid::from_raw);
    let process = process.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    context.wait_for(async { Ok(client.stop().await?) })?;
    if let Some(process) = process {
        // Its files are at rest only when it is gone.
        let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
        let gone = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience));
        if !gone.is_ok_and(|ended| ended > 0) {
            let message = format!("the agent (pid {}) has not ended yet", status.pid);
            return Err(Failure::failed(anyhow::anyhow!(message)));
        }
    }
    let running = status.runs.running as u64;
    let line = match running {
        0 => format!("agent (pid {})", status.pid),
        1 => format!("agent (pid {}); 1 run goes on", status.pid),
        _ => format!("agent (pid {}); {running} runs go on", status.pid),
    };
    context.terminal.status("Stopped", line);
    Ok(Exit::OK)
}

fn run(max_runs: Option<NonZeroUsize>, detached: bool, context: &Context) -> Outcome {
    let workspace = context.workspace()?;
    if detached {
        // Whoever started us must not take us along when its terminal closes. It fails only where
        // we lead a process group, which is as good.
        rustix::process::setsid().ok();
    }
    let set = context.settings.number(Key::MaxRuns).and_then(|number| usize::try_from(number).ok());
    let max_runs = max_runs.or_else(|| NonZeroUsize::new(set?));
    let policies = Policies {
        build: context.settings.build_settings(),
        container: context.settings.container_policy(),
        upkeep: context.settings.upkeep_policy(),
    };
    let options = Options { max_runs, announce: detached, verbose: !detached, policies };
    crate::agent::run(workspace, options).map_err(Failure::failed)?;
    Ok(Exit::OK)
}
