//! Where the agent's log goes: to the journal where systemd reads it, to a file otherwise.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context as _;
use tracing::{Event, Level, Subscriber, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{self as lines, FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// A log of this size is put aside when an agent starts; one older is kept.
const LOG_SIZE: u64 = 16 << 20;

/// Begins to log: to the journal alone where standard error is its stream, otherwise to `path`,
/// and to standard error too if `verbose`.
pub(crate) fn begin(path: &Path, verbose: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .with_default_directive(Level::INFO.into())
        .with_env_var("TRAINYARD_LOG")
        .from_env_lossy();
    let registry = tracing_subscriber::registry().with(filter);
    let begun = if is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref()) {
        let layer = lines::layer().with_ansi(false).with_writer(io::stderr);
        registry.with(layer.event_format(Journal::default())).try_init()
    } else {
        let to_file = lines::layer().with_ansi(false).with_writer(open(path)?);
        let to_stderr = verbose.then(|| lines::layer().with_writer(io::stderr));
        registry.with(to_file).with(to_stderr).try_init()
    };
    begun.context("cannot begin to log")?;
    log_panics();
    Ok(())
}

/// Opens the log file, after putting one aside that has become large.
fn open(path: &Path) -> anyhow::Result<File> {
    if path.metadata().is_ok_and(|found| found.len() > LOG_SIZE) {
        let aside = path.with_extension("log.old");
        std::fs::rename(path, &aside).with_context(|| format!("cannot put aside {path:?}"))?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    file.with_context(|| format!("cannot open {path:?}"))
}

/// Says whether standard error is the stream of the journal that `named`, the value of
/// `JOURNAL_STREAM`, means: the variable is inherited, and the stream may have been replaced.
fn is_journal(named: Option<&str>) -> bool {
    let Some((device, inode)) = named.and_then(|named| named.split_once(':')) else { return false };
    let found = std::fs::metadata("/proc/self/fd/2");
    found.is_ok_and(|found| device.parse() == Ok(found.dev()) && inode.parse() == Ok(found.ino()))
}

/// Puts panics into the log: a detached agent has no standard error.
fn log_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        error!(message = panic.payload_as_str(), at = ?panic.location(), "Panicked.");
        usual(panic);
    }));
}

/// Lines as the journal wants them: the priority before them, as `sd-daemon(3)` has it, and no
/// time, which it adds.
#[derive(Debug)]
struct Journal(Format<Full, ()>);

impl Default for Journal {
    fn default() -> Self {
        Self(Format::default().without_time().with_level(false).with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// Returns the priority of `syslog(3)` for a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{info, info_span, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_journal_gets_priorities_and_run_ids() {
        let kept = Kept::default();
        let out = kept.clone();
        let layer = lines::layer().with_ansi(false).with_writer(move || out.clone());
        let subscriber =
            tracing_subscriber::registry().with(layer.event_format(Journal::default()));

        tracing::subscriber::with_default(subscriber, || {
            info!(pid = 7, "Started.");
            info_span!("run", run = "exp_1_00000001").in_scope(|| warn!("The script hangs."));
        });

        let said = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        insta::assert_snapshot!(said, @r#"
        <6>trainyard::service::log::tests: Started. pid=7
        <4>run{run="exp_1_00000001"}: trainyard::service::log::tests: The script hangs.
        "#);
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        let found = std::fs::metadata("/proc/self/fd/2").unwrap();
        let own = format!("{}:{}", found.dev(), found.ino());

        assert!(is_journal(Some(&own)));
        for other in [None, Some(""), Some("1"), Some("1:2"), Some("x:y")] {
            assert!(!is_journal(other), "{other:?}");
        }
    }
}
