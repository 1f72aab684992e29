//! `trainyard logs`: what a run printed.

use super::{Context, Failure, Outcome};

/// Shows what a run printed
///
/// The script's stdout goes to stdout and its stderr to stderr. With -f, waits for a queued run
/// and follows it to its end; Ctrl-C only leaves. Into a file or pipe the bytes are exact; on a
/// terminal control sequences are left out unless --raw is given.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trainyard logs -f @\n  trainyard logs -n 20 --stream stderr swift-otter-12"
)]
pub(super) struct Args {
    /// A run's id, a unique beginning of it, its name, or @ for the latest
    #[arg(value_name = "RUN", default_value = "@")]
    run: String,
    /// Follows the run until it ends
    #[arg(short, long)]
    follow: bool,
    /// Shows the last N lines only
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "since")]
    lines: Option<u64>,
    /// Begins at this byte offset of the log
    #[arg(long, value_name = "OFFSET")]
    since: Option<u64>,
    /// Shows one stream only
    #[arg(long, value_enum, default_value_t = Stream::All)]
    stream: Stream,
    /// Shows the log of the environment's build instead
    #[arg(long, conflicts_with_all = ["lines", "since", "stream"])]
    build: bool,
    /// Shows the bytes as they are, control sequences included
    #[arg(long)]
    raw: bool,
}

/// Which of the script's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Stream {
    /// Standard output
    Stdout,
    /// Standard error
    Stderr,
    /// Both
    All,
}

/// Shows a run's log.
pub(super) fn logs(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("logs"))
}
