//! Following a run: status, build log, log and end, as server-sent events.
//!
//! A follower costs a task and a few buffers. It is not sent more than it takes: the next piece
//! is read from the log when there is room for it, however far behind the follower is.

mod events;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use runner::run_id::RunId;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info_span, warn};
use utoipa::IntoParams;

use super::asked::{FollowerPlace, NamedRun};
use super::error::ApiError;
use super::routes::attempt::Attempt;
use super::routes::logs;
use super::wire::follow::AttemptEvent;
use super::wire::problem::Problem;
use super::wire::run::OutOfContact;
use crate::agent::Agent;
use crate::run::status::RunStatus;
use crate::task;

use events::{Pieces, Position};

/// Pieces that may wait for the follower.
const ROOM: usize = 2;

/// A follower hears something at least this often, or knows that the line is dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long after the last output a script counts as talkative, and how often its log is then
/// looked at, and otherwise.
///
/// To look is one `fstat`, and only while someone follows. The kernel's notifications would save
/// that, but cost one of the 128 queues a user has by default for each, shared with every
/// editor, and are not there at all on some file systems.
const TALKATIVE: Duration = Duration::from_secs(1);
const OFTEN: Duration = Duration::from_millis(2);
const SELDOM: Duration = Duration::from_millis(20);

/// What to follow.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub(super) struct FollowQuery {
    /// From which attempt on. Default: the header `Last-Event-ID`, else the latest.
    attempt: Option<u32>,
    /// From which byte of its log on. Default: the header `Last-Event-ID`, else 0.
    offset: Option<u64>,
    /// From which byte of the build log on. Default: 0.
    #[serde(default)]
    build_offset: u64,
    /// `stdout`, `stderr` or `all`, the default.
    stream: Option<String>,
}

/// Follows a run to its end: server-sent events `status`, `build`, `log`, `attempt` and `end`.
///
/// Waits for a run that is queued. After `attempt` come the logs of the next attempt, from 0. A
/// stream that ends without `end` was broken: follow again from the last `nextOffset` of the attempt
/// that was on; each `log` event's id stands for both.
#[utoipa::path(get, path = "/v1/runs/{ref}/follow", operation_id = "followRun", tag = "runs",
    params(("ref" = String, Path, description = "Which run."), FollowQuery),
    responses(
        (status = 200, description = "The events.", body = String,
            content_type = "text/event-stream"),
        (status = 404, description = "There is no such run.", body = Problem),
        (status = 503, description = "As many are followed over TCP as may be.", body = Problem),
    ))]
pub(super) async fn follow(
    State(agent): State<Arc<Agent>>,
    NamedRun(run): NamedRun,
    place: FollowerPlace,
    headers: HeaderMap,
    query: Result<Query<FollowQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    let filter = logs::stream(query.stream.as_deref())?;
    let resumed = headers.get("last-event-id").and_then(|id| Position::parse(id.to_str().ok()?));
    let asked = query.attempt.or_else(|| resumed.map(|it| it.attempt));
    let attempt = Attempt::of(&agent, &run, asked).await?;
    let offset = query.offset.or_else(|| resumed.map(|it| it.offset)).unwrap_or(0);
    let pieces = Pieces::new(attempt.run, attempt.number, filter, offset, query.build_offset);
    let (sender, receiver) = mpsc::channel(ROOM);
    let span = info_span!("follow", %run);
    let follower = Follower::new(agent, run, sender, pieces);
    let following = task::spawn(span, async move {
        match follower.follow().await {
            Ok(()) => {}
            Err(Gone::Away) => debug!("A follower left before the end."),
            Err(Gone::Broken(error)) => warn!("Could not go on telling of a run: {error:#}"),
        }
    });
    // The task ends with the body, so with the connection, and the place is free again.
    let pieces = futures_util::stream::unfold(
        (receiver, following, place),
        |(mut receiver, following, place)| async move {
            let piece: Bytes = receiver.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(piece), (receiver, following, place)))
        },
    );
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Why following ended before the run did.
enum Gone {
    /// The follower went, or the agent stops.
    Away,
    /// Something cannot be read.
    Broken(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Gone {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

struct Follower {
    agent: Arc<Agent>,
    run: RunId,
    to: mpsc::Sender<Bytes>,
    pieces: Pieces,
    /// When something last came from the script, or the run last moved on.
    stirred: Instant,
    /// When the follower was last sent something.
    heard: Instant,
}

impl Follower {
    fn new(agent: Arc<Agent>, run: RunId, to: mpsc::Sender<Bytes>, pieces: Pieces) -> Self {
        let now = Instant::now();
        Self { agent, run, to, pieces, stirred: now, heard: now }
    }

    async fn follow(mut self) -> Result<(), Gone> {
        let mut told = None;
        let mut watched = self.agent.live.watch(&self.run);
        let target = self.agent.store.row(&self.run).await?.request.target;
        loop {
            // The status is read before the logs: an ended run's logs are whole.
            let has_moved = watched.as_ref().is_none_or(|it| it.has_changed().unwrap_or(true));
            let status = self.status(&mut watched).await?;
            if told.is_none() || has_moved {
                self.go_through_attempts().await?;
            }
            let position = match status {
                RunStatus::Queued => self.position(),
                _ => None,
            };
            let contact = match status.is_ended() {
                true => None,
                false => self.agent.targets.out_of_contact(&target),
            };
            // What was written before the run moved on comes before the news that it did.
            self.send_logs().await?;
            let since = contact.as_ref().map(|contact| contact.since);
            if told != Some((status, position, since)) {
                let contact = contact.map(|contact| OutOfContact::of(&target, contact));
                self.send(events::status(status, position, contact)).await?;
                told = Some((status, position, since));
                self.stirred = Instant::now();
            }
            if status.is_ended() {
                let run = self.agent.document(&self.run).await?;
                return self.send(events::end(run)).await;
            }
            self.wait(status, &mut watched).await?;
        }
    }

    /// Sends the rest of every attempt that is over while another is on, or comes next.
    async fn go_through_attempts(&mut self) -> Result<(), Gone> {
        let row = self.agent.store.row(&self.run).await?;
        while self.pieces.attempt() < row.attempt {
            self.send_logs().await?;
            let ended = self.pieces.attempt();
            let document = self.agent.store.document(&self.run).await?;
            let starts = document.attempts.into_iter().rev();
            let exit = starts.filter(|it| it.number == ended).find_map(|it| it.exit);
            if let Some((exit, run)) = exit.zip(document.summary.attempt) {
                let (next, of) = (ended + 1, run.of);
                let begins_time_utc = row.not_before.filter(|_| next == row.attempt);
                let event = AttemptEvent { ended, exit, next, of, begins_time_utc };
                self.send(events::attempt(&event)).await?;
            }
            self.pieces = self.pieces.clone().of_next();
        }
        Ok(())
    }

    fn position(&self) -> Option<usize> {
        let mut waits = self.agent.waits();
        waits.remove(self.run.as_str())?.position
    }

    async fn status(
        &self,
        watched: &mut Option<watch::Receiver<RunStatus>>,
    ) -> Result<RunStatus, Gone> {
        match watched {
            Some(watched) => Ok(*watched.borrow_and_update()),
            // Over before anyone watched.
            None => Ok(self.agent.store.row(&self.run).await?.status),
        }
    }

    /// Sends all there is of the logs.
    async fn send_logs(&mut self) -> Result<(), Gone> {
        while self.pieces.has_more()? {
            let mut pieces = self.pieces.clone();
            let read = task::blocking(move || pieces.next().map(|piece| (pieces, piece))).await?;
            let (pieces, piece) = read;
            self.pieces = pieces;
            let Some(piece) = piece else { return Ok(()) };
            self.stirred = Instant::now();
            self.send(piece).await?;
        }
        Ok(())
    }

    async fn send(&mut self, piece: Bytes) -> Result<(), Gone> {
        self.heard = Instant::now();
        tokio::select! {
            sent = self.to.send(piece) => sent.map_err(|_| Gone::Away),
            () = self.agent.stop.asked() => Err(Gone::Away),
        }
    }

    /// Waits until there may be something new.
    async fn wait(
        &mut self,
        status: RunStatus,
        watched: &mut Option<watch::Receiver<RunStatus>>,
    ) -> Result<(), Gone> {
        let writes = !matches!(status, RunStatus::NotStarted | RunStatus::Queued);
        let look = match self.stirred.elapsed() < TALKATIVE {
            _ if !writes => Duration::from_secs(1),
            true => OFTEN,
            false => SELDOM,
        };
        let moved = async {
            match watched {
                // Gone with the end of the run, of which it tells first.
                Some(watched) => drop(watched.changed().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = moved => {}
            () = tokio::time::sleep(look) => {}
            () = self.to.closed() => return Err(Gone::Away),
            () = self.agent.stop.asked() => return Err(Gone::Away),
        }
        if self.heard.elapsed() > KEEP_ALIVE {
            self.send(Bytes::from_static(b":\n\n")).await?;
        }
        Ok(())
    }
}
