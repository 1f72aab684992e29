//! Being a service: signals, readiness, signs of life, stopping.

pub(crate) mod log;
mod notify;

use std::convert::Infallible;

use std::io::{self, Write};

pub(crate) use notify::Notifier;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info};

use crate::agent::Agent;
use crate::store::StoreError;

/// Tells every part of the agent to stop. Runs and their supervisors are not parts of it.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stop {
    /// Says that it is time.
    pub(crate) fn ask(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is time.
    pub(crate) async fn asked(&self) {
        let mut asked = self.0.subscribe();
        // The sender is `self`, so it cannot go away meanwhile.
        drop(asked.wait_for(|asked| *asked).await);
    }
}

/// Asks for the stop when the process gets SIGTERM or SIGINT.
pub(crate) async fn stop_on_signals(stop: Stop) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    info!(signal = name, "Told to stop.");
    stop.ask();
    Ok(())
}

/// Tells systemd that the agent is alive and what it does. Part of the main loop and not of a thread beside it: a sign of life is given only after
/// the records and the scheduler have answered, so that an agent which hangs in either is ended
/// and started anew. Records that refuse, as on a full disk, have answered.
pub(crate) async fn keep_told(agent: &Agent, notifier: &Notifier) -> Infallible {
    let Some(interval) = notifier.interval() else { return std::future::pending().await };
    loop {
        let records = !matches!(agent.store.round_trip().await, Err(StoreError::Closed));
        if !(records && agent.scheduler.look().await) {
            error!(records, "Records or scheduler are gone: no more signs of life.");
            return std::future::pending().await;
        }
        let counts = agent.scheduler.counts();
        let draining = if agent.drain.now().is_some() { ", draining" } else { "" };
        let (running, queued) = (counts.running, counts.queued);
        notifier.tell(&format!("WATCHDOG=1\nSTATUS={running} on, {queued} queued{draining}"));
        tokio::time::sleep(interval).await;
    }
}

/// Says `ready` on stdout, then lets go of stdout and stderr, so that whoever started the agent
/// sees both ends close and is not kept waiting.
pub(crate) fn announce_ready() -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(b"ready\n")?;
    out.flush()?;
    let nothing = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&nothing)?;
    nix::unistd::dup2_stderr(&nothing)?;
    Ok(())
}
