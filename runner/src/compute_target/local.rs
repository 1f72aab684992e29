//! The local target: this machine.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use images::cache::{EnvironmentCache, EnvironmentLease, Wanted};
use images::environment::PreparedEnvironment;
use secrecy::SecretString;
use snapshots::digest::Digest;
use snapshots::path_error::PathError;
use snapshots::store::local::LocalStore;
use tracing::{debug, error};

use super::supervisors::Supervisors;
use super::{
    ComputeTarget, Needs, NotPrepared, OutOfContact, Place, Ready, SupervisorState, TargetError,
};
use crate::build_log::BuildLog;
use crate::cancel_request::CancelRequest;
use crate::durable_file;
use crate::exit_record::ExitRecord;
use crate::gpu::{self, GpuUser};
use crate::installed_packages::{InstalledPackages, NoPackages};
use crate::outputs::{self, OutputLimits, Outputs};
use crate::process_identity::boot_id;
use crate::run_directory::RunDirectory;
use crate::script_user::ScriptUser;
use crate::snapshot_files::SnapshotFiles;
use crate::source;

/// This machine, with a state directory on it.
pub struct LocalTarget {
    home: PathBuf,
    supervisors: Supervisors,
    environments: EnvironmentCache,
    packages: InstalledPackages,
}

impl LocalTarget {
    /// Keeps runs in `home`, whose environments these are. `supervisors` carry them out.
    #[must_use]
    pub fn new(home: PathBuf, supervisors: Supervisors, environments: EnvironmentCache) -> Self {
        Self { home, supervisors, environments, packages: InstalledPackages::default() }
    }

    fn environment(
        &self,
        run: &RunDirectory,
        needs: &Needs,
        objects: &LocalStore,
        cancelled: &AtomicBool,
    ) -> Result<(PreparedEnvironment, Option<EnvironmentLease>), NotPrepared> {
        let begun = Instant::now();
        let password = registry_password(run)?;
        let wanted = Wanted {
            environment: &needs.environment,
            fresh: needs.fresh,
            registry_password: password.as_ref(),
            objects: Some(objects),
        };
        let mut log = BuildLog::of(run);
        let ready =
            self.environments.prepare_leased(wanted, &mut |bytes| log.write(bytes), cancelled);
        // Whatever came of it, nobody needs it any more.
        if let Err(error) = run.forget_registry_password() {
            error!(%error, "The password for a registry is still on the disk.");
        }
        let ready = ready?;
        log.finish()?;
        debug!(elapsed_us = begun.elapsed().as_micros(), "Prepared the environment.");
        Ok(ready)
    }
}

/// Reads the password that came with the run, if one did.
fn registry_password(run: &RunDirectory) -> Result<Option<SecretString>, PathError> {
    let password: Option<String> = durable_file::read_json(&run.registry_json())?;
    Ok(password.map(SecretString::from))
}

impl ComputeTarget for LocalTarget {
    fn name(&self) -> &str {
        "local"
    }

    fn place(&self) -> Result<Place, TargetError> {
        Ok(Place {
            home: self.home.canonicalize().unwrap_or_else(|_| self.home.clone()),
            user: ScriptUser::current(),
            knows_submitters: true,
            boot_id: boot_id()?,
        })
    }

    fn prepare(
        &self,
        run: &RunDirectory,
        needs: &Needs,
        objects: &LocalStore,
        cancelled: &AtomicBool,
    ) -> Result<Ready, NotPrepared> {
        let (source, environment) = std::thread::scope(|scope| {
            let source = scope.spawn(|| {
                let begun = Instant::now();
                let warnings = source::lay_out(objects, &needs.snapshot, run);
                debug!(elapsed_us = begun.elapsed().as_micros(), "Laid out the source.");
                warnings
            });
            let environment = self.environment(run, needs, objects, cancelled);
            (source.join().unwrap_or_else(|p| std::panic::resume_unwind(p)), environment)
        });
        if cancelled.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(NotPrepared::Cancelled);
        }
        let warnings = source?;
        let (environment, lease) = environment?;
        Ok(Ready { environment, warnings, lease })
    }

    fn lease(
        &self,
        environment: &PreparedEnvironment,
    ) -> Result<Option<EnvironmentLease>, TargetError> {
        Ok(self.environments.lease_prepared(environment).map_err(NoPackages::from)?)
    }

    fn gpus(&self, count: u32) -> Result<Vec<String>, TargetError> {
        Ok(gpu::choose(count)?)
    }

    fn gpu_users(&self) -> Result<Vec<GpuUser>, TargetError> {
        Ok(gpu::users()?)
    }

    fn start(&self, run: &RunDirectory) -> Result<(), TargetError> {
        self.supervisors.start(run).map(drop)
    }

    fn probe(&self, run: &RunDirectory) -> Result<SupervisorState, TargetError> {
        self.supervisors.probe(run)
    }

    fn wait(&self, run: &RunDirectory, limit: Duration) -> Result<SupervisorState, TargetError> {
        self.supervisors.wait(run, limit)
    }

    fn cancel(&self, run: &RunDirectory, request: &CancelRequest) -> Result<(), TargetError> {
        self.supervisors.cancel(run, request)
    }

    fn settle(&self, run: &RunDirectory) -> Result<ExitRecord, TargetError> {
        self.supervisors.settle(run)
    }

    fn collect(
        &self,
        run: &RunDirectory,
        snapshot: &Digest,
        objects: &LocalStore,
    ) -> Result<Outputs, TargetError> {
        let files = SnapshotFiles::new(objects.clone(), *snapshot);
        Ok(outputs::collect(run, &OutputLimits::default(), &|path| files.digest(path))?)
    }

    fn packages(&self, environment: &PreparedEnvironment) -> Result<Arc<[String]>, TargetError> {
        Ok(self.packages.in_environment(&self.environments, environment)?)
    }

    fn release(&self, _run: &RunDirectory) -> Result<(), TargetError> {
        Ok(())
    }

    fn out_of_contact(&self) -> Option<OutOfContact> {
        None
    }
}
