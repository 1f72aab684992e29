//! The files themselves, by several threads, in the order of the packs.

use std::fs::{File, Permissions};
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, openat};

use super::MaterializeError;
use super::destination::Destination;
use super::directories::Directories;
use super::plan::{Plan, PlannedFile, Source};
use crate::digest::Digest;
use crate::path_error::IoContext;
use crate::store::local::{LocalStore, decode};

/// How much of a pack is read at once.
const BATCH_BYTES: u64 = 2 << 20;
/// How much that nobody asked for is read rather than starting anew behind it.
const GAP_BYTES: u64 = 64 << 10;

/// Writes every file of the plan.
pub(super) fn write_all(
    store: &LocalStore,
    plan: &Plan,
    destination: &Destination,
    threads: usize,
) -> Result<(), MaterializeError> {
    let batches = batches(&plan.files);
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let first_error = Mutex::new(None);
    let work = || {
        let mut worker = Worker::new(store, plan, destination);
        while !failed.load(Ordering::Relaxed) {
            let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            if let Err(error) = worker.write(&plan.files[batch.clone()]) {
                failed.store(true, Ordering::Relaxed);
                first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(batches.len()) {
            scope.spawn(work);
        }
        work();
    });
    first_error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Cuts the files, which are in the order of their places, into pieces that are read at once.
fn batches(files: &[PlannedFile]) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let mut start = 0;
    for at in 1..=files.len() {
        let together = at < files.len() && same_batch(&files[start], &files[at - 1], &files[at]);
        if !together {
            batches.push(start..at);
            start = at;
        }
    }
    batches
}

fn same_batch(first: &PlannedFile, last: &PlannedFile, next: &PlannedFile) -> bool {
    match (&first.source, &last.source, &next.source) {
        (Source::Packed(pack, start), Source::Packed(_, end), Source::Packed(other, at)) => {
            pack.name() == other.name()
                && at.end() - start.offset <= BATCH_BYTES
                && at.offset.saturating_sub(end.end()) <= GAP_BYTES
        }
        _ => false,
    }
}

struct Worker<'a> {
    store: &'a LocalStore,
    plan: &'a Plan,
    directories: Directories<'a>,
    span: Vec<u8>,
    /// Whether modes come out other than asked for, by the umask or an inherited ACL; not known
    /// before the first file of the two modes.
    modes_differ: [Option<bool>; 2],
}

impl<'a> Worker<'a> {
    fn new(store: &'a LocalStore, plan: &'a Plan, destination: &'a Destination) -> Self {
        Self {
            store,
            plan,
            directories: Directories::new(destination.root(), plan),
            span: Vec::new(),
            modes_differ: [None; 2],
        }
    }

    /// Writes the files of one batch.
    fn write(&mut self, files: &[PlannedFile]) -> Result<(), MaterializeError> {
        let [first, .., last] = files else {
            return files.first().map_or(Ok(()), |file| self.write_one(file));
        };
        let (Source::Packed(pack, start), Source::Packed(_, end)) = (&first.source, &last.source)
        else {
            return files.iter().try_for_each(|file| self.write_one(file));
        };
        let mut span = std::mem::take(&mut self.span);
        span.resize(usize::try_from(end.end() - start.offset).unwrap_or(0), 0);
        let read =
            File::open(pack.path()).and_then(|file| file.read_exact_at(&mut span, start.offset));
        if read.is_err() {
            // One by one it shows what is damaged, and other copies are tried.
            return files.iter().try_for_each(|file| self.write_one(file));
        }
        let mut checked = None;
        for file in files {
            let Source::Packed(_, at) = &file.source else { continue };
            let from = usize::try_from(at.content() - start.offset).unwrap_or(usize::MAX);
            let stored = span.get(from..).and_then(|rest| rest.get(..at.stored as usize));
            let bytes = stored.and_then(|stored| decode(stored.into(), at));
            match bytes {
                Some(bytes)
                    if checked == Some(file.digest) || Digest::of(&bytes) == file.digest =>
                {
                    checked = Some(file.digest);
                    self.make(file, &bytes)?;
                }
                _ => self.write_one(file)?,
            }
        }
        self.span = span;
        Ok(())
    }

    /// Writes one file with the store's help: it knows of every copy, and remembers damage.
    fn write_one(&mut self, file: &PlannedFile) -> Result<(), MaterializeError> {
        let plan = self.plan;
        let content = |source| MaterializeError::Content { path: plan.path_of(file), source };
        if matches!(file.source, Source::Packed(..)) {
            let bytes = self.store.read(&file.digest).map_err(content)?;
            return self.make(file, &bytes);
        }
        let mut out = self.create(file)?;
        let length = self.store.copy_to(&file.digest, &mut out).map_err(content)?;
        self.check_length(file, length)
    }

    fn make(&mut self, file: &PlannedFile, bytes: &[u8]) -> Result<(), MaterializeError> {
        self.check_length(file, bytes.len() as u64)?;
        let mut out = self.create(file)?;
        match out.write_all(bytes) {
            Ok(()) => Ok(()),
            written => Ok(written.context("write", self.plan.path_of(file))?),
        }
    }

    fn check_length(&self, file: &PlannedFile, actual: u64) -> Result<(), MaterializeError> {
        if actual == file.size {
            return Ok(());
        }
        Err(MaterializeError::Length { path: self.plan.path_of(file), said: file.size, actual })
    }

    /// Makes the file, empty, new, with its mode.
    fn create(&mut self, file: &PlannedFile) -> Result<File, MaterializeError> {
        let mode = if file.executable { 0o755 } else { 0o644 };
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = self.directories.get(file.directory)?;
        let made = openat(directory, file.name.as_slice(), flags, Mode::from_raw_mode(mode));
        let out = match made {
            Ok(out) => File::from(out),
            made => File::from(made.context("create", self.plan.path_of(file))?),
        };
        file.made.store(true, Ordering::Relaxed);
        let known = &mut self.modes_differ[usize::from(file.executable)];
        let differs = match *known {
            Some(differs) => differs,
            None => {
                let actual = out.metadata().context("read", self.plan.path_of(file))?.mode();
                *known.insert(actual & 0o777 != mode)
            }
        };
        if differs {
            out.set_permissions(Permissions::from_mode(mode))
                .context("set the mode of", self.plan.path_of(file))?;
        }
        Ok(out)
    }
}
