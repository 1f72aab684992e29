//! The thread that follows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use snapshots::error_chain::chain;
use snapshots::path_error::PathError;

use super::files::{MirrorError, MirrorFiles};
use super::{LINGER, Shared};
use crate::compute_target::SupervisorState;
use crate::compute_target::ssh::pool::Client;
use crate::compute_target::ssh::trouble::Trouble;
use crate::exit_record::ExitRecord;
use crate::remote::client::RemoteError;
use crate::remote::message::{self, News, Piece, Request, RunNews, Standing};
use crate::run_directory::RunDirectory;
use crate::run_id::RunId;

/// How long the machine waits for news when all that is followed is on its way.
const CALM: Duration = Duration::from_secs(1);

/// The same while something else will soon be asked about.
const BUSY: Duration = Duration::from_millis(100);

/// How long until a run is tried again that could not be brought up to date.
const AGAIN: Duration = Duration::from_secs(1);

/// The runs whose files this thread has.
type Taken = BTreeMap<RunId, MirrorFiles>;

/// What is asked about: the question, and the epoch of each run in it.
struct Look {
    runs: Vec<message::Known>,
    epochs: BTreeMap<RunId, u64>,
    wait: Duration,
}

/// Follows until there is nothing to follow.
pub(super) fn follow(shared: &Shared) {
    let mut client = None;
    let mut taken = Taken::new();
    while is_wanted(shared) {
        let Some(look) = look(shared, &mut taken) else {
            pause(shared, BUSY);
            continue;
        };
        client = match client {
            None => connect(shared, &mut taken),
            Some(client) => ask(shared, client, &look, &taken),
        };
    }
    drop(client);
    shared.pool.close_idle();
}

/// Waits while there is nothing to follow. Says whether there is.
fn is_wanted(shared: &Shared) -> bool {
    let until = Instant::now() + LINGER;
    let mut state = shared.state();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if state.is_over || (state.runs.is_empty() && left.is_zero()) {
            state.is_on = false;
            return false;
        }
        if !state.runs.is_empty() {
            return true;
        }
        let waited = shared.changed.wait_timeout(state, left);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn pause(shared: &Shared, limit: Duration) {
    let state = shared.state();
    if !state.is_over {
        let waited = shared.changed.wait_timeout(state, limit);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Puts the question together; `None` when somebody else still has the files of all runs.
fn look(shared: &Shared, taken: &mut Taken) -> Option<Look> {
    let mut state = shared.state();
    taken.retain(|run, _| state.runs.contains_key(run));
    let mut look = Look { runs: Vec::new(), epochs: BTreeMap::new(), wait: CALM };
    let mut faults = false;
    for (run, followed) in &mut state.runs {
        let lengths = take(taken, run, &followed.directory).and_then(|files| match files {
            Some(files) => files.lengths().map(Some),
            None => Ok(None),
        });
        match lengths {
            Ok(None) => {}
            Ok(Some(have)) => {
                let standing = followed.standing.clone();
                if !matches!(standing, Some(Standing::Supervised { .. })) {
                    look.wait = BUSY;
                }
                look.epochs.insert(run.clone(), followed.epoch);
                look.runs.push(message::Known { run: run.clone(), have, standing });
            }
            Err(error) => {
                followed.fault = Some(chain(&error));
                faults = true;
            }
        }
    }
    if faults {
        shared.changed.notify_all();
    }
    (!look.runs.is_empty()).then_some(look)
}

fn take<'a>(
    taken: &'a mut Taken,
    run: &RunId,
    directory: &RunDirectory,
) -> Result<Option<&'a MirrorFiles>, PathError> {
    if !taken.contains_key(run)
        && let Some(files) = MirrorFiles::take(directory)?
    {
        taken.insert(run.clone(), files);
    }
    Ok(taken.get(run))
}

/// Connects, or waits until that may be tried again.
fn connect(shared: &Shared, taken: &mut Taken) -> Option<Client> {
    shared.state().asking_since.get_or_insert_with(Instant::now);
    match shared.pool.connect() {
        Ok(client) => {
            shared.state().asking_since = None;
            Some(client)
        }
        Err(_) => {
            // Another may get through, with what logs in by now.
            taken.clear();
            shared.changed.notify_all();
            shared.pool.contact.wait(LINGER);
            None
        }
    }
}

/// Asks what is new and takes it. Returns the connection if it is still good.
fn ask(shared: &Shared, mut client: Client, look: &Look, taken: &Taken) -> Option<Client> {
    let wait_ms = u64::try_from(look.wait.as_millis()).unwrap_or(u64::MAX);
    let request = Request::Look { runs: look.runs.clone(), wait_ms };
    let mut incoming = Incoming::default();
    let answer = client.receive::<News>(&request, &mut |news, bytes| {
        incoming.take(news, bytes, taken);
        Ok(())
    });
    match answer {
        Ok(news) => {
            shared.pool.contact.heard();
            shared.state().asking_since = None;
            for run in news.runs {
                hear(shared, look, taken, run, &incoming);
            }
            shared.changed.notify_all();
            if !incoming.faults.is_empty() {
                pause_for_faults(shared);
            }
            Some(client)
        }
        Err(RemoteError::Refused { refusal }) => {
            tracing::error!(why = refusal.message, "The machine does not say what is new.");
            fault_all(shared, &refusal.message);
            pause_for_faults(shared);
            client.is_good().then_some(client)
        }
        Err(error) => {
            let _told = shared.pool.failed(&Trouble::Remote(error));
            shared.changed.notify_all();
            None
        }
    }
}

fn fault_all(shared: &Shared, why: &str) {
    for followed in shared.state().runs.values_mut() {
        followed.fault = Some(why.to_owned());
    }
    shared.changed.notify_all();
}

/// Waits a moment before what did not work is tried again.
fn pause_for_faults(shared: &Shared) {
    pause(shared, AGAIN);
}

/// What comes after the news: the bytes of all pieces, one after the other.
#[derive(Default)]
struct Incoming {
    /// What is still to come, once the first byte is there.
    pieces: Option<VecDeque<(RunId, Piece)>>,
    faults: BTreeMap<RunId, String>,
}

impl Incoming {
    /// Appends what came to the files it belongs to. What cannot be appended is passed over: the
    /// other runs must not wait for one.
    fn take(&mut self, news: &News, mut bytes: &[u8], taken: &Taken) {
        let pieces = self.pieces.get_or_insert_with(|| {
            let of_run = |run: &RunNews| {
                run.pieces.iter().map(|piece| (run.run.clone(), *piece)).collect::<Vec<_>>()
            };
            news.runs.iter().flat_map(of_run).collect()
        });
        while let Some((run, piece)) = pieces.front_mut() {
            let length = usize::try_from(piece.length).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(length);
            // After a fault nothing of the run is taken any more: the index speaks of the log.
            if !self.faults.contains_key(run) {
                let appended = taken.get(run).map_or(Ok(()), |files| append(files, piece, now));
                if let Err(error) = appended {
                    self.faults.insert(run.clone(), chain(&error));
                }
            }
            piece.offset += length as u64;
            piece.length -= length as u64;
            bytes = later;
            if piece.length > 0 {
                return;
            }
            pieces.pop_front();
        }
    }
}

fn append(files: &MirrorFiles, piece: &Piece, bytes: &[u8]) -> Result<(), MirrorError> {
    if bytes.is_empty() { Ok(()) } else { files.append(piece.file, piece.offset, bytes) }
}

/// Takes note of what is new of a run, whose bytes are all at home.
fn hear(shared: &Shared, look: &Look, taken: &Taken, news: RunNews, incoming: &Incoming) {
    let RunNews { run, standing, more, .. } = news;
    let mut state = shared.state();
    let Some(followed) = state.runs.get_mut(&run) else { return };
    let fault = incoming.faults.get(&run).cloned();
    if let (Some(why), None) = (&fault, &followed.fault) {
        tracing::error!(%run, why, "A run is not brought up to date.");
    }
    followed.fault = fault;
    followed.was_started |= matches!(&standing, Standing::Supervised { state }
        if *state != SupervisorState::NotStarted);
    // More is to come, or did not arrive; or the question was asked before something happened.
    if followed.fault.is_some() || look.epochs.get(&run) != Some(&followed.epoch) {
        return;
    }
    if more && !is_on(&standing) {
        return;
    }
    let Standing::Supervised { state: SupervisorState::Ended(exit) } = &standing else {
        followed.standing = Some(standing);
        return;
    };
    let Some(files) = taken.get(&run) else { return };
    let directory = followed.directory.clone();
    drop(state);
    let closed = close(files, &directory, exit);
    let mut state = shared.state();
    match (closed, state.runs.get_mut(&run)) {
        (Err(error), Some(followed)) => followed.fault = Some(chain(&error)),
        (Err(_), None) => {}
        (Ok(()), _) => drop(state.runs.remove(&run)),
    }
}

/// Says whether this is not the end of something: that is told when all before it is at home.
fn is_on(standing: &Standing) -> bool {
    matches!(
        standing,
        Standing::Preparing | Standing::Supervised { state: SupervisorState::Running(_) }
    )
}

/// Records the end of a run at home, all of whose files are there.
fn close(files: &MirrorFiles, run: &RunDirectory, exit: &ExitRecord) -> Result<(), MirrorError> {
    let exit = files.end(exit)?;
    files.sync()?;
    Ok(exit.write(run).map(drop)?)
}
