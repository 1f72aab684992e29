//! `trainyard logs`: what a run printed.

use super::ending::BUILD_LOG;
use super::following::{self, OnInterrupt, Printer};
use super::{Context, Exit, Failure, Outcome, reference};
use crate::client::{Client, From, Start};
use crate::terminal::build_log::BuildLog;

/// Shows what a run printed
///
/// Both streams of the script go to standard output. With -f, waits for a queued run and follows
/// it to its end; Ctrl-C only leaves. Into a file or pipe the bytes are exact; on a terminal
/// control sequences are left out unless --raw is given.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trainyard logs -f @\n  trainyard logs -n 20 --stream stderr swift-otter-12"
)]
pub(super) struct Args {
    /// A run's id, a unique beginning of it, its name, or @ for the latest
    #[arg(value_name = "RUN", value_parser = reference::run, add = reference::runs(), default_value = "@")]
    run: String,
    /// Shows the log of this attempt, from 1; with -f, of those after it too [default: the latest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
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

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::All => "all",
        }
    }
}

/// Shows a run's log.
pub(super) fn logs(args: &Args, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    let mut printer = Printer::new(&context.terminal, args.raw).merged();
    if args.build {
        let bytes = context.wait_for(build_log(&client, &args.run, args.attempt))?;
        printer.write(&if args.raw { bytes } else { BuildLog::readable(&bytes) })?;
        printer.finish()?;
        return Ok(Exit::OK);
    }
    // The id, since what a name or @ stands for may change while we follow.
    let run = context.wait_for(async { Ok(client.run(&args.run).await?) })?;
    let id = &run.summary.run_id;
    let (attempt, offset) = context.wait_for(what_is_there(args, &client, id, &mut printer))?;
    if args.follow && !run.summary.status.is_ended() {
        let from = From {
            attempt: Some(attempt),
            offset,
            build_offset: u64::MAX,
            stream: args.stream.name(),
        };
        let following = following::follow(&client, id, from, &mut printer, OnInterrupt::Leave);
        context.wait_for(following)?;
    }
    printer.finish()?;
    Ok(Exit::OK)
}

async fn build_log(
    client: &Client,
    reference: &str,
    attempt: Option<u32>,
) -> Result<Vec<u8>, Failure> {
    let answer = client.file(reference, attempt, BUILD_LOG.as_bytes()).await?;
    Ok(answer.bytes().await.map_err(Failure::failed)?.to_vec())
}

/// Prints what the log holds by now and returns which attempt's it is and where it ends.
async fn what_is_there(
    args: &Args,
    client: &Client,
    id: &str,
    printer: &mut Printer<'_>,
) -> Result<(u32, u64), Failure> {
    let mut attempt = args.attempt;
    let mut offset = args.since.unwrap_or(0);
    let mut tail = args.lines;
    loop {
        let part = client.logs(id, attempt, (offset, tail.take()), args.stream.name()).await?;
        // The same from now on, whatever the latest is then.
        attempt = Some(part.attempt);
        printer.write(&part.bytes)?;
        if part.next_offset <= offset {
            return Ok((part.attempt, offset));
        }
        offset = part.next_offset;
    }
}
