//! Conda packages by the rattler crates, for machines without conda.

mod client;
mod records;
mod reporter;

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::pin::pin;
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rattler::install::Installer;
use rattler::package_cache::PackageCache;
use rattler_conda_types::{RepoDataRecord, Subdir};
use rattler_repodata_gateway::Gateway;
use rattler_solve::CancellationToken;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::Order;
use crate::builder::failure::last_lines;
use crate::builder::{BuildError, FailedBuild, FailureCause, Watch};

/// What it is called in records.
const NAME: &str = "rattler (built in)";

/// How often a wish to stop is looked for.
const TICK: Duration = Duration::from_millis(50);

/// How long files that are being written may take after that. What comes later is swept with the
/// directory.
const SHUTDOWN: Duration = Duration::from_millis(100);

/// Why it did not work.
enum Trouble {
    Cancelled,
    /// A channel or a package could not be fetched.
    Unreachable(String),
    /// In the solver's words.
    Unsolvable(String),
    Other(String),
}

/// Whom the lines of the log go to.
#[derive(Clone)]
struct Teller(UnboundedSender<String>);

impl Teller {
    fn tell(&self, line: impl Into<String>) {
        // Nobody listens any more once the build was cancelled.
        let _heard = self.0.send(line.into()).is_ok();
    }
}

/// Makes the environment, and returns what made it.
pub(super) fn create(order: &Order<'_>, watch: &mut Watch<'_>) -> Result<String, BuildError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| BuildError::Run { program: PathBuf::from(NAME), source })?;
    let (sender, mut lines) = unbounded_channel();
    let stop = CancellationToken::new();
    let mut said = Vec::new();
    let mut say = |line: String| {
        let line = line + "\n";
        (watch.log)(line.as_bytes());
        if !line.starts_with("progress ") {
            said.extend_from_slice(line.as_bytes());
        }
    };
    let cancel = watch.cancel;
    let ended = runtime.block_on(async {
        let mut work = pin!(work(order, Teller(sender), stop.clone()));
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                biased;
                _ = tick.tick() => if cancel.load(Ordering::Relaxed) {
                    stop.cancel();
                    break Err(Trouble::Cancelled);
                },
                Some(line) = lines.recv() => say(line),
                ended = &mut work => break ended,
            }
        }
    });
    while let Ok(line) = lines.try_recv() {
        say(line);
    }
    let (what, cause, text) = match ended {
        Ok(()) => return Ok(NAME.to_owned()),
        Err(Trouble::Cancelled) => {
            runtime.shutdown_timeout(SHUTDOWN);
            return Err(BuildError::Cancelled);
        }
        Err(Trouble::Unreachable(text)) => {
            ("the channels could not be read", FailureCause::NoChannel, text)
        }
        Err(Trouble::Unsolvable(text)) => {
            ("no packages satisfy it", FailureCause::Unresolvable, text)
        }
        Err(Trouble::Other(text)) => ("rattler failed", FailureCause::Other, text),
    };
    say(text.clone());
    let cause = unless_disk_is_full(cause, &text);
    let what = format!("cannot make the conda environment of {}: {what}", order.name);
    let last_lines = last_lines(&said);
    Err(BuildError::Failed(FailedBuild { what, cause, last_lines }))
}

/// The crates have no code for it, only the system's words.
fn unless_disk_is_full(cause: FailureCause, text: &str) -> FailureCause {
    match FailureCause::guess(text, "") {
        FailureCause::DiskFull => FailureCause::DiskFull,
        _ => cause,
    }
}

async fn work(order: &Order<'_>, teller: Teller, stop: CancellationToken) -> Result<(), Trouble> {
    let platform =
        Subdir::from_str(order.platform).map_err(|error| Trouble::Other(error.to_string()))?;
    let client = client::build(order.host, &order.channels, order.explicit)
        .map_err(|error| Trouble::Other(format!("error: {}", chain(&error))))?;
    let packages = PackageCache::new(order.cache.join("packages"));
    let gateway = Gateway::builder()
        .with_client(client.clone())
        .with_cache_dir(order.cache.join("repodata"))
        .with_package_cache(packages.clone())
        .finish();
    let query = records::Query { order, gateway: &gateway, platform, teller: &teller };
    let (records, specs) = match order.explicit {
        Some(lock) => (query.of_lock(lock).await?, Vec::new()),
        None => query.solve(stop).await?,
    };
    tell_records(&records, &teller);
    let mut installer = Installer::new()
        .with_package_cache(packages)
        .with_download_client(client)
        .with_target_platform(platform)
        .with_requested_specs(specs)
        // What packages bring is not run while they are installed, least of all for an image.
        .with_execute_link_scripts(false)
        .with_reporter(reporter::Installation::new(teller));
    if let Some(target) = order.target_prefix {
        installer = installer.with_alternative_target_prefix(target);
    }
    let installed = installer.install(order.prefix, records).await;
    installed.map(drop).map_err(|error| {
        use rattler::install::InstallerError;
        let text = format!("error: {}", chain(&error));
        match error {
            InstallerError::Cancelled => Trouble::Cancelled,
            InstallerError::FailedToFetch(..) => Trouble::Unreachable(text),
            _ => Trouble::Other(text),
        }
    })
}

fn tell_records(records: &[RepoDataRecord], teller: &Teller) {
    let mut lines: Vec<String> = records
        .iter()
        .map(|record| {
            let package = &record.package_record;
            let name = package.name.as_normalized();
            format!("  {name} {} {}", package.version, package.build)
        })
        .collect();
    lines.sort_unstable();
    teller.tell(format!("Packages: {}\n{}", lines.len(), lines.join("\n")));
}

/// Returns an error with all its causes, a line each.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _written = write!(text, "\n  because: {cause}").is_ok();
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_channel_that_cannot_be_read() {
        let full = std::io::Error::from_raw_os_error(28);
        let text = chain(&BuildError::Run { program: "x".into(), source: full });

        assert_eq!(unless_disk_is_full(FailureCause::NoChannel, &text), FailureCause::DiskFull);
        assert_eq!(
            unless_disk_is_full(FailureCause::NoChannel, "error: tcp connect error"),
            FailureCause::NoChannel
        );
    }
}
