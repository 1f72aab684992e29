//! Preparing: the source is laid out and the environment made ready, side by side.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use images::cache::{EnvironmentCache, EnvironmentError, EnvironmentLease, Wanted};
use images::environment::{Environment, PreparedEnvironment};
use runner::durable_file;
use runner::exit_record::ExitReason;
use runner::run_directory::RunDirectory;
use secrecy::SecretString;
use snapshots::path_error::{IoContext, PathError};
use tracing::{debug, debug_span, error};

use super::starting::Prepared;
use super::{Context, Stopped};
use crate::api::wire::submission::{Hidden, SubmitRequest};
use crate::run::status::RunEvent;
use crate::run::{source, workplace};
use crate::store::{Change, Facts, NewAttempt, StoreError};
use crate::task;

/// A run that has a place and nothing else.
pub(super) struct Admitted {
    context: Context,
}

impl Admitted {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    /// Lays the source out and prepares the environment. A cancel ends the build of the latter.
    pub(super) async fn prepare(self) -> Result<Prepared, Stopped> {
        let mut context = self.context;
        let reason = match &context.row.boot_id {
            None => "submitted",
            Some(boot) if *boot != context.agent.boot_id => "host_rebooted",
            Some(_) => "agent_restarted",
        };
        let attempt = NewAttempt { reason, boot_id: context.agent.boot_id.clone() };
        let facts = Facts { attempt: Some(attempt), ..Facts::default() };
        let change = Change::now(RunEvent::PlaceGiven).with(facts);
        match context.agent.record(&context.row.id, change).await {
            Ok(_) => {}
            // It was cancelled between leaving the queue and this.
            Err(StoreError::Denied(_)) => return Err(Stopped::cancelled(context)),
            Err(error) => return Err(error.into()),
        }
        let directory = context.directory.clone();
        if let Err(error) = task::blocking(move || workplace::create(&directory)).await {
            return Err(Stopped::never(context, ExitReason::AgentFault, &error));
        }
        let laying_out = lay_out(&context);
        let environment = environment(&mut context);
        let (source, environment) = tokio::join!(laying_out, environment);
        if context.is_cancelled() {
            return Err(Stopped::cancelled(context));
        }
        let warnings = match source {
            Ok(warnings) => warnings,
            Err(error) => {
                return Err(Stopped::never(context, ExitReason::CannotStart, &error));
            }
        };
        match environment {
            Ok((environment, lease)) => Ok(Prepared::new(context, environment, lease, warnings)),
            Err(error) => {
                let reason = ExitReason::EnvironmentFailed;
                Err(match error {
                    NoEnvironment::Build(error) => {
                        let hint = password_hint(&context.row.request, &error);
                        Stopped::advised(context, reason, &error, hint.or_else(|| error.hint()))
                    }
                    NoEnvironment::Path(error) => Stopped::never(context, reason, &error),
                })
            }
        }
    }
}

/// Returns an error and its causes on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

fn lay_out(
    context: &Context,
) -> impl Future<Output = Result<Vec<String>, source::SourceError>> + 'static {
    let agent = Arc::clone(&context.agent);
    let snapshot = context.row.request.snapshot_id;
    let directory = context.directory.clone();
    task::blocking(move || {
        let _span = debug_span!("lay_out").entered();
        let begun = std::time::Instant::now();
        let warnings = source::lay_out(&agent.objects, &snapshot, &directory);
        debug!(elapsed_us = begun.elapsed().as_micros(), "Laid out the source.");
        warnings
    })
}

type Ready = (PreparedEnvironment, Option<EnvironmentLease>);

/// Why there is no environment.
#[derive(Debug, thiserror::Error)]
enum NoEnvironment {
    #[error(transparent)]
    Build(#[from] EnvironmentError),
    #[error(transparent)]
    Path(#[from] PathError),
}

async fn environment(context: &mut Context) -> Result<Ready, NoEnvironment> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let cache = context.agent.environments.clone();
    let asked = context.row.request.environment.clone();
    let fresh = context.row.request.fresh_environment;
    let directory = context.directory.clone();
    let stop = Arc::clone(&cancelled);
    let building = task::blocking(move || {
        let password = registry_password(&directory)?;
        let registry_password = password.as_ref();
        let wanted = Wanted { environment: &asked, fresh, registry_password };
        let ready = prepare(&cache, wanted, &directory, &stop);
        // Whatever came of it, nobody needs it any more.
        if let Err(error) = directory.forget_registry_password() {
            error!(%error, "The password for a registry is still on the disk.");
        }
        ready
    });
    tokio::pin!(building);
    loop {
        tokio::select! {
            ready = &mut building => return ready,
            changed = context.cancel.changed(), if !cancelled.load(Ordering::Relaxed) => {
                // Whoever could ask is gone only when the agent stops; then nobody asks.
                cancelled.store(changed.is_ok(), Ordering::Relaxed);
                if changed.is_err() {
                    return building.await;
                }
            }
        }
    }
}

/// Says what a run needs that runs another one again, whose password for a registry was not kept.
fn password_hint(request: &SubmitRequest, error: &EnvironmentError) -> Option<String> {
    let Environment::Docker { docker } = &request.environment else { return None };
    let registry = docker.registry.as_ref().filter(|_| error.is_denied())?;
    let again = request.rerun_of.as_ref()?;
    Some(format!(
        "the password of {} at {} was not kept: give it again, \
         `trainyard rerun {again} --registry-password-stdin < FILE`, or `docker login {}` as the \
         user whose agent this is",
        registry.username, registry.address, registry.address
    ))
}

/// Reads the password that came with the run, if one did.
fn registry_password(directory: &RunDirectory) -> Result<Option<SecretString>, PathError> {
    let path = directory.registry_json();
    let password: Option<Hidden> = durable_file::read_json(&path)?;
    Ok(password.map(|password| password.0.into()))
}

fn prepare(
    cache: &EnvironmentCache,
    wanted: Wanted<'_>,
    directory: &RunDirectory,
    cancelled: &AtomicBool,
) -> Result<Ready, NoEnvironment> {
    let begun = std::time::Instant::now();
    let mut log = BuildLog { directory, file: None, failed: None };
    let ready = cache.prepare_leased(wanted, &mut |bytes| log.write(bytes), cancelled)?;
    if let Some(error) = log.failed {
        return Err(error.into());
    }
    debug!(elapsed_us = begun.elapsed().as_micros(), "Prepared the environment.");
    Ok(ready)
}

/// The log of a build; there is a file only if the build says something.
struct BuildLog<'a> {
    directory: &'a RunDirectory,
    file: Option<File>,
    failed: Option<PathError>,
}

impl BuildLog<'_> {
    fn write(&mut self, bytes: &[u8]) {
        let path = self.directory.build_log();
        let written =
            self.open(&path).and_then(|file| file.write_all(bytes).context("write", &path));
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }

    fn open(&mut self, path: &std::path::Path) -> Result<&mut File, PathError> {
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            let file = options.append(true).create(true).mode(0o600).open(path);
            self.file = Some(file.context("open", path)?);
        }
        Ok(self.file.as_mut().expect("just set"))
    }
}
