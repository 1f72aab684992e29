//! What is new of runs: where they stand, and what their files have grown by.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::libc;
use snapshots::path_error::{IoContext as _, PathError};

use super::{Answer, Server, json};
use crate::compute_target::SupervisorState;
use crate::log_index::{HEADER, RECORD_BYTES, Record};
use crate::plain_file::open_beneath;
use crate::remote::files::MIRRORED;
use crate::remote::message::{Known, News, Piece, Refusal, RunNews, Standing};
use crate::remote::run::RemoteRun;

/// The largest piece of one file, in bytes.
const PIECE: u64 = 1 << 20;

/// The largest answer, in bytes.
const ANSWER: u64 = 8 << 20;

/// How long is waited at most.
const LONGEST: Duration = Duration::from_secs(60);

/// How long it takes until something new is seen: at first, and when nothing comes.
const NAPS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));

/// Those of [`MIRRORED`] that grow after a restart, too.
const GO_ON: [&str; 3] = ["system_logs/environment_build.log", "events", "supervisor.log"];

/// Places in [`MIRRORED`].
const LOG: usize = 0;
const INDEX: usize = 1;

impl Server<'_> {
    pub(super) fn look(&self, runs: &[Known], wait_ms: u64) -> Result<Answer<'_>, Refusal> {
        let deadline = Instant::now() + Duration::from_millis(wait_ms).min(LONGEST);
        for known in runs {
            let run = self.run(&known.run);
            if run.prepare_json().exists()
                && let Err(refusal) = make_up(&run, known).and_then(|()| self.take_up(&run))
            {
                // The next look tries again; the others' news do not wait for that.
                eprintln!("run {}: {}", known.run, refusal.message);
            }
        }
        let mut nap = NAPS.0;
        loop {
            let (found, failed) = self.found(runs);
            let over = Instant::now() >= deadline || self.out.is_broken();
            match failed {
                Some(refusal) if found.news.is_empty() && over => return Err(refusal),
                _ if !found.news.is_empty() || over => return found.answer(),
                _ => {}
            }
            thread::sleep(nap.min(deadline.saturating_duration_since(Instant::now())));
            nap = (nap * 2).min(NAPS.1);
        }
    }

    /// Looks once. A run that cannot be looked at is passed over, and told of beside the others.
    fn found(&self, runs: &[Known]) -> (Found, Option<Refusal>) {
        let mut found = Found { news: Vec::new(), bytes: Vec::new() };
        let mut failed = None;
        // Each is the first now and then: one with much to say does not keep the others waiting.
        let turn = usize::try_from(Timestamp::now().subsec_nanosecond() / 1000).unwrap_or(0);
        let (later, first) = runs.split_at(turn.checked_rem(runs.len()).unwrap_or(0));
        for known in first.iter().chain(later) {
            match self.news(known, &mut found.bytes) {
                Ok(news) => found.news.extend(news),
                Err(refusal) => failed = Some(refusal),
            }
        }
        (found, failed)
    }

    /// Returns what is new of a run, and appends the bytes of its pieces to `bytes`.
    fn news(&self, known: &Known, bytes: &mut Vec<u8>) -> Result<Option<RunNews>, Refusal> {
        let run = self.run(&known.run);
        let standing = run.standing(&self.workshop()?.target)?;
        let mut look = RunLook {
            run: &run,
            known,
            ended: matches!(&standing, Standing::Supervised { state: SupervisorState::Ended(_) }),
            bytes,
            pieces: Vec::new(),
            more: false,
        };
        look.files()?;
        let RunLook { pieces, more, .. } = look;
        let is_new = !pieces.is_empty() || known.standing.as_ref() != Some(&standing);
        Ok(is_new.then(|| RunNews { run: known.run.clone(), standing, pieces, more }))
    }
}

/// Lengthens what a power cut has left shorter than it is at home, so that what is appended from
/// now on goes on where that ends. The log is not: nothing is appended to it after a restart, and
/// the record says how long it is.
fn make_up(run: &RemoteRun, known: &Known) -> Result<(), Refusal> {
    for (name, have) in MIRRORED.iter().zip(&known.have).filter(|(name, _)| GO_ON.contains(name)) {
        let path = run.directory.path().join(name);
        if fs::symlink_metadata(&path).map_or(0, |found| found.len()) >= *have {
            continue;
        }
        let mut open = OpenOptions::new();
        let open = open.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let open = open.open(&path).context("open", &path)?;
        open.set_len(*have).context("lengthen", &path)?;
    }
    Ok(())
}

/// What a look came upon.
struct Found {
    news: Vec<RunNews>,
    bytes: Vec<u8>,
}

impl Found {
    fn answer<'a>(self) -> Result<Answer<'a>, Refusal> {
        let Self { news, bytes } = self;
        let message = json(&News { runs: news })?;
        Ok(Answer::WithBytes(message, Box::new(move |to| Ok(to(&bytes)?))))
    }
}

/// A look at the files of one run.
struct RunLook<'a> {
    run: &'a RemoteRun,
    known: &'a Known,
    ended: bool,
    bytes: &'a mut Vec<u8>,
    pieces: Vec<Piece>,
    more: bool,
}

impl RunLook<'_> {
    fn files(&mut self) -> Result<(), PathError> {
        // The log has all that the index, looked at before it, speaks of.
        let index = self.grown(INDEX)?;
        let log_end = self.have(LOG) + self.take(LOG)?;
        if let Some((file, size)) = index {
            self.take_index(&file, size, log_end)?;
        }
        for file in (0..MIRRORED.len()).filter(|file| ![LOG, INDEX].contains(file)) {
            self.take(file)?;
        }
        Ok(())
    }

    fn have(&self, file: usize) -> u64 {
        self.known.have.get(file).copied().unwrap_or(0)
    }

    /// Opens a file that has more than is known.
    fn grown(&self, file: usize) -> Result<Option<(File, u64)>, PathError> {
        let name = MIRRORED[file];
        let path = self.run.directory.path().join(name);
        // As a rule it has not, and this is the least that tells.
        if fs::symlink_metadata(&path).map_or(0, |found| found.len()) <= self.have(file) {
            return Ok(None);
        }
        let open = open_beneath(self.run.directory.path(), name.as_bytes());
        let Some(open) = open.context("open", &path)? else { return Ok(None) };
        let size = open.metadata().context("look at", &path)?.len();
        Ok((size > self.have(file)).then_some((open, size)))
    }

    /// Takes up what a file has grown by, as much as there is room for, and returns how much.
    fn take(&mut self, file: usize) -> Result<u64, PathError> {
        let Some((open, size)) = self.grown(file)? else { return Ok(0) };
        let offset = self.have(file);
        let wanted = (size - offset).min(PIECE).min(self.room());
        let piece = read_at(&open, offset, wanted).context("read", MIRRORED[file])?;
        self.more |= offset + (piece.len() as u64) < size;
        Ok(self.put(file, offset, &piece))
    }

    /// Takes up what the index says of the log up to `log_end`, in whole records.
    fn take_index(&mut self, open: &File, size: u64, log_end: u64) -> Result<(), PathError> {
        let have = self.have(INDEX);
        let (header, record) = (HEADER.len() as u64, RECORD_BYTES as u64);
        let first = have.saturating_sub(header) / record * record + header;
        let start = if have < header { 0 } else { first };
        let wanted = (size - start).min(PIECE).min(self.room());
        let bytes = read_at(open, start, wanted).context("read", MIRRORED[INDEX])?;
        let end = if self.ended && !self.more {
            // All that will ever be there; what is no record was left by a power cut.
            bytes.len()
        } else {
            let records = bytes.get(usize::try_from(first - start).unwrap_or(0)..).unwrap_or(&[]);
            let told = records.chunks_exact(RECORD_BYTES).take_while(|bytes| {
                let record = <[u8; RECORD_BYTES]>::try_from(*bytes).ok();
                record.and_then(|bytes| Record::decode(&bytes)).is_some_and(|r| r.end <= log_end)
            });
            bytes.len().min(usize::try_from(first - start).unwrap_or(0))
                + told.count() * RECORD_BYTES
        };
        self.more |= start + (end as u64) < size && (self.ended || end == bytes.len());
        let known = usize::try_from(have - start).unwrap_or(usize::MAX);
        if let Some(new) = bytes.get(known..end).filter(|new| !new.is_empty()) {
            self.put(INDEX, have, new);
        }
        Ok(())
    }

    fn room(&self) -> u64 {
        ANSWER.saturating_sub(self.bytes.len() as u64)
    }

    fn put(&mut self, file: usize, offset: u64, piece: &[u8]) -> u64 {
        let length = piece.len() as u64;
        if length > 0 {
            self.bytes.extend_from_slice(piece);
            self.pieces.push(Piece { file, offset, length });
        }
        length
    }
}

/// Reads up to `length` bytes; fewer where the file ends.
fn read_at(file: &File, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
