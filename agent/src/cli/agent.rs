//! `trainyard agent`: the daemon.

mod drain;
mod status;

use std::num::NonZeroUsize;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Context, Exit, Failure, Outcome};
use crate::agent::{Options, Policies};
use crate::client::Start;
use crate::config::Key;
use crate::listen::ListenError;

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
    /// Starts no more runs and waits until none is on
    ///
    /// Runs that are handed in meanwhile wait in the queue. The agent drains until it is told
    /// --undo, also when it is stopped and started again.
    #[command(after_help = "Example:\n  trainyard agent drain --timeout 2h")]
    Drain(drain::Args),
}

/// Carries out one of the commands.
pub(super) fn agent(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::Run { max_runs, detached } => run(*max_runs, *detached, context),
        Command::Status { json } => status::status(*json, context),
        Command::Stop => stop(context),
        Command::Drain(args) => drain::drain(args, context),
    }
}

fn stop(context: &Context) -> Outcome {
    let (client, status) = context.agent(Start::Never)?;
    // Of another machine's processes nothing is known here.
    let is_here = context.is_here()?;
    let process = i32::try_from(status.pid).ok().and_then(Pid::from_raw).filter(|_| is_here);
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
    if let Some(server) = workspace.server() {
        let message = format!("an agent answers on a socket, not at {}", server.name());
        return Err(Failure::usage(message)
            .hint("unset TRAINYARD_SOCKET; listen.address is where it also answers over TCP"));
    }
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
        disk: context.settings.disk_policy(),
        users: context.settings.user_policy(),
        sandbox: context.settings.sandbox_rules().map_err(Failure::usage)?,
        only_free_gpus: context.settings.text(Key::GpusOnlyFree).as_deref() == Some("true"),
    };
    let mut settings = context.settings.clone();
    let service_listens = !workspace.is_of_service() && settings.forget_where_the_service_listens();
    let options = Options {
        max_runs,
        announce: detached,
        verbose: !detached,
        policies,
        listen: settings.listen_policy(),
        service_listens,
    };
    crate::agent::run(workspace, options).map_err(|error| {
        let hint = error.downcast_ref().map(ListenError::hint);
        Failure::failed(error).maybe_hint(hint)
    })?;
    Ok(Exit::OK)
}
