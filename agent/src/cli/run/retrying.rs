//! The options that say how a run is tried again.

use runner::run_configuration::{InvalidRetryPolicy, RetryOn, RetryPolicy, duration};

use crate::cli::Failure;

/// How a run is tried again.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Retries")]
pub(in crate::cli) struct Retrying {
    /// Tries the run again, N times at most, when what ended it is not the script's doing
    ///
    /// That is lost contact, a reboot, a supervisor or container engine that was ended, or a fault
    /// of the agent. A run that was cancelled or could not be prepared is never tried again. Each
    /// attempt begins anew, and keeps its own log, outputs and end.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    retries: Option<u32>,
    /// Tries it again after these ends of the script too
    #[arg(long, value_name = "END", value_enum, value_delimiter = ',', requires = "retries")]
    on: Vec<End>,
    /// Waits so long before the second attempt, then twice as long each time, up to 1h [default: 10s]
    #[arg(long, value_name = "DURATION", requires = "retries")]
    retry_delay: Option<String>,
}

/// An end of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum End {
    /// It failed: an exit code, or a signal
    Failure,
    /// It was out of memory
    Oom,
    /// It reached --timeout
    Timeout,
}

impl From<End> for RetryOn {
    fn from(end: End) -> Self {
        match end {
            End::Failure => Self::Failure,
            End::Oom => Self::Oom,
            End::Timeout => Self::Timeout,
        }
    }
}

impl Retrying {
    /// Returns what is asked for, if it is.
    ///
    /// # Errors
    ///
    /// The delay is none, or too long.
    pub(super) fn policy(&self) -> Result<Option<RetryPolicy>, Failure> {
        let Some(retries) = self.retries else { return Ok(None) };
        let delay = self.retry_delay.as_deref().map(duration::parse_seconds).transpose();
        let on = self.on.iter().copied().map(RetryOn::from).collect();
        let policy = RetryPolicy::new(retries, on, delay.map_err(Failure::usage)?);
        policy.check().map_err(|error: InvalidRetryPolicy| {
            Failure::usage(error)
                .hint("the delay doubles by itself; begin with a shorter --retry-delay")
        })?;
        Ok(Some(policy))
    }
}
