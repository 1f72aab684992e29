//! Building an environment once, whoever asks for it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use snapshots::path_error::{IoContext, PathError};
use snapshots::store::local::LocalStore;

use super::asked::{Asked, Base};
use super::lease::Leased;
use super::leftover_processes;
use super::lock::{self, Locked};
use super::record::{self, Building, Failure, Names, Record, RecordedImage};
use super::{EnvironmentCache, EnvironmentError, subject, sweep};
use crate::builder::{self, BuildError, Built, Watch, Workshop};
use crate::environment::{Environment, RequirementsFile};
use crate::key::KeyParts;

/// How often those who wait for a build look for more of its log.
const TICK: Duration = Duration::from_millis(30);

/// What is to be built.
pub(super) struct Job<'a> {
    pub(super) parts: &'a KeyParts,
    pub(super) environment: &'a Environment,
    pub(super) asked: &'a Asked,
    /// Nothing of earlier builds counts.
    pub(super) fresh: bool,
    /// The build that does not count, because a fresh one is wanted.
    pub(super) not: Option<String>,
    /// What was resolved before, where that still counts and the build is not there any more.
    pub(super) previous: Vec<RequirementsFile>,
    /// Where the context of a Dockerfile is.
    pub(super) objects: Option<&'a LocalStore>,
}

/// Returns the environment, leased, and whether somebody else built it.
pub(super) fn build_once(
    cache: &EnvironmentCache,
    job: &Job<'_>,
    log: &mut dyn FnMut(&[u8]),
    cancel: &AtomicBool,
) -> Result<(Leased, bool), EnvironmentError> {
    let key = &job.parts.key;
    let names = Names { cache: cache.directory(), key };
    let (_lock, watched) = wait_for_turn(&names, log, cancel)?;
    // One that was made since it was asked for is as fresh as can be.
    if let Some(leased) = cache.leased(key, job.asked)?
        && job.not.as_ref() != Some(&leased.record.directory)
    {
        return Ok((leased, true));
    }
    // Who has seen a build fail need not see it fail again.
    if let Some(failure) = record::read::<Failure>(&names.failure())?
        && watched.as_deref() == Some(failure.directory.as_str())
    {
        let log = record::log_file(cache.directory(), &failure.directory);
        return Err(EnvironmentError::Failed { build: failure.build, log });
    }
    build(cache, &names, job, log, cancel)?;
    // Nobody removes it as long as its lock is held.
    let gone = || EnvironmentError::NotFound { prefix: key.to_string() };
    let leased = cache.leased(key, job.asked)?.ok_or_else(gone)?;
    // The build that this one takes the place of, unless a run is in it.
    if let Err(error) = sweep::leftovers_of(&names, &cache.leftovers()) {
        tracing::warn!(%error, "Left a replaced environment to be swept.");
    }
    Ok((leased, false))
}

/// Waits until nobody else is busy with the key, passing on what the build writes to its log.
/// Returns the lock, and the build that was watched last.
fn wait_for_turn(
    names: &Names<'_>,
    log: &mut dyn FnMut(&[u8]),
    cancel: &AtomicBool,
) -> Result<(Locked, Option<String>), EnvironmentError> {
    let mut watched: Option<(String, File)> = None;
    loop {
        if let Some(lock) = lock::try_lock(&names.lock())? {
            if let Some((_, file)) = &mut watched {
                pass_on(file, log);
            }
            return Ok((lock, watched.map(|(directory, _)| directory)));
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(EnvironmentError::Cancelled);
        }
        // Before looking for the next build, so that none of this one's end is missed.
        if let Some((_, file)) = &mut watched {
            pass_on(file, log);
        }
        if let Some(building) = record::read::<Building>(&names.building())?
            && watched.as_ref().is_none_or(|(directory, _)| *directory != building.directory)
            && let Ok(file) = File::open(record::log_file(names.cache, &building.directory))
        {
            if let Some((_, ended)) = &mut watched {
                pass_on(ended, log);
            }
            watched = Some((building.directory, file));
            continue;
        }
        thread::sleep(TICK);
    }
}

fn pass_on(file: &mut File, log: &mut dyn FnMut(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = file.read(&mut buffer) {
        if length == 0 {
            break;
        }
        log(&buffer[..length]);
    }
}

/// Builds, with the key's lock held.
fn build(
    cache: &EnvironmentCache,
    names: &Names<'_>,
    job: &Job<'_>,
    log: &mut dyn FnMut(&[u8]),
    cancel: &AtomicBool,
) -> Result<(), EnvironmentError> {
    record::remove_file(&names.failure())?;
    sweep::leftovers_of(names, &cache.leftovers())?;
    let directory = tempfile::Builder::new()
        .prefix(&format!("{}-", names.key))
        .tempdir_in(cache.directory())
        .context("create a directory in", cache.directory())?;
    let name = directory.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let lease = names.cache.join(format!("{name}.lease"));
    File::create(&lease).context("create", &lease)?;
    let log_path = record::log_file(cache.directory(), &name);
    let log_file = File::create(&log_path).context("create", &log_path)?;
    // From here on the directory and its processes can be found by whoever comes after a crash.
    let path = directory.keep();
    let mut tee = Tee { file: log_file, path: &log_path, to: log, failed: None };
    let built = run(cache, names, job, &path, &name, &mut tee, cancel);
    let result = match (built, tee.failed.take()) {
        (Ok(_), Some(error)) => Err(error.into()),
        (other, _) => other,
    };
    match result {
        Ok(built) => finish(names, job, &name, built)?,
        Err(error) => {
            let error = give_up(names, &path, &name, error)?;
            // An engine may hold what was begun.
            sweep::leftovers_of(names, &cache.leftovers())?;
            return Err(error);
        }
    }
    Ok(record::remove_file(&names.building())?)
}

fn run(
    cache: &EnvironmentCache,
    names: &Names<'_>,
    job: &Job<'_>,
    path: &Path,
    name: &str,
    tee: &mut Tee<'_>,
    cancel: &AtomicBool,
) -> Result<Built, BuildError> {
    let in_engine = matches!(job.asked.base, Base::Images { .. });
    record::write(&names.building(), &Building { directory: name.to_owned(), in_engine })?;
    let _tools = cache.lease_tools()?;
    let options = &cache.options;
    let workshop = Workshop {
        key: *names.key,
        host: &options.host,
        index: &job.asked.settings,
        settings: &options.settings,
        fresh: job.fresh,
        directory: path,
        tools: &cache.tools(),
        objects: job.objects,
        home: &options.home,
    };
    let mut log = |bytes: &[u8]| tee.write(bytes);
    let marker = (leftover_processes::VARIABLE, name);
    let built = by_kind(&workshop, job, &mut Watch { log: &mut log, marker, cancel });
    // The tools' groups have ended. What has left them ends here.
    leftover_processes::kill_all(name);
    built
}

fn by_kind(
    workshop: &Workshop<'_>,
    job: &Job<'_>,
    watch: &mut Watch<'_>,
) -> Result<Built, BuildError> {
    match (job.environment, &job.asked.base) {
        (Environment::Requirements { files, .. }, Base::Interpreter(base)) => {
            builder::venv::build(workshop, base, files, &job.previous, watch)
        }
        (Environment::UvProject { project, .. }, Base::Interpreter(base)) => {
            builder::uv_project::build(workshop, base, project, &job.previous, watch)
        }
        (Environment::Conda { packages }, _) => {
            builder::conda::build(workshop, packages, &job.previous, watch)
        }
        (Environment::Docker { docker }, Base::Images { engine, bases }) => {
            builder::docker::build(workshop, engine, docker, bases, &job.previous, watch)
        }
        // Such have no key, or were asked for with another base.
        (Environment::UserManaged { .. }, _) | (_, _) => Err(BuildError::Cancelled),
    }
}

/// Makes what was built exist, in the place of what was there.
fn finish(
    names: &Names<'_>,
    job: &Job<'_>,
    name: &str,
    built: Built,
) -> Result<(), EnvironmentError> {
    let path = names.cache.join(name);
    let (image, image_bytes) = match built.image {
        None => (None, 0),
        Some(built) => {
            let bytes = built.bytes;
            let (image, interpreter) = (built.image, built.interpreter);
            let (prefix, dockerfile) = (built.prefix, built.dockerfile);
            (Some(RecordedImage { image, interpreter, prefix, dockerfile }), bytes)
        }
    };
    let prefix = match (&image, &built.python) {
        (Some(image), _) => image.prefix.clone(),
        (None, Some(facts)) => facts.prefix.to_string_lossy().into_owned(),
        // Conda environments need not have a Python.
        (None, None) => builder::conda::prefix(&path).to_string_lossy().into_owned(),
    };
    let record = Record {
        version: record::VERSION,
        key: *names.key,
        kind: subject::kind(job.environment).to_owned(),
        definition: subject::name(job.environment),
        directory: name.to_owned(),
        created_time_utc: Timestamp::now(),
        bytes: disk_usage(&path)? + image_bytes,
        built_by: built.built_by,
        python_version: built.python_version,
        facts: built.python,
        base: job.asked.base.facts().cloned(),
        variables: subject::variables(job.environment, prefix),
        image,
        packages: built.packages,
        files: subject::files(job.environment),
        lock: built.lock,
        parts: Some(job.parts.clone()),
    };
    record::write(&record::within(names.cache, name), &record)?;
    // Thousands of files by other programs: one call for the file system beats one for each.
    let cache = File::open(names.cache).context("open", names.cache)?;
    rustix::fs::syncfs(&cache).context("sync", names.cache)?;
    record::write(&names.record(), &record)?;
    Ok(record::remove_file(&names.failure())?)
}

/// Removes what was begun. The log of a build that failed is kept.
fn give_up(
    names: &Names<'_>,
    path: &Path,
    name: &str,
    error: BuildError,
) -> Result<EnvironmentError, EnvironmentError> {
    if let Err(error) = record::remove_directory(path) {
        tracing::warn!(%error, "Left a failed build to be swept.");
    }
    record::remove_file(&names.cache.join(format!("{name}.lease")))?;
    let log = record::log_file(names.cache, name);
    Ok(match error {
        BuildError::Failed(build) => {
            let failure = Failure {
                version: record::VERSION,
                directory: name.to_owned(),
                failed_time_utc: Timestamp::now(),
                build: build.clone(),
            };
            // On a full disk, who waits has to see for themselves.
            if let Err(error) = record::write(&names.failure(), &failure) {
                tracing::warn!(%error, "Could not keep why a build failed.");
            }
            EnvironmentError::Failed { build, log }
        }
        other => {
            record::remove_file(&log)?;
            other.into()
        }
    })
}

/// Writes to the log file first and then to whoever asked for the build, so that those who wait for
/// it never see less.
struct Tee<'a> {
    file: File,
    path: &'a Path,
    to: &'a mut dyn FnMut(&[u8]),
    failed: Option<PathError>,
}

impl Tee<'_> {
    fn write(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(bytes).context("write", self.path).err();
        }
        (self.to)(bytes);
    }
}

/// Returns the space that the files of `directory` take.
fn disk_usage(directory: &Path) -> Result<u64, PathError> {
    use std::os::unix::fs::MetadataExt;

    let mut bytes = 0;
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).context("read", &directory)? {
            let entry = entry.context("read", &directory)?;
            let data = entry.metadata().context("read", entry.path())?;
            bytes += data.blocks() * 512;
            if data.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(bytes)
}
