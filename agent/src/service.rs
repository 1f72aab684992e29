//! Being a service: signals, readiness, stopping.

use std::io::{self, Write};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

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
