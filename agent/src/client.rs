//! The command line's side of the API, and starting an agent where none answers.

mod access;
mod error;
mod events;
mod follow;
mod line;
mod start;
mod upload;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use error::ClientError;
pub(crate) use follow::{Event, Follow, From};
pub(crate) use start::StartError;

use line::Line;

use crate::api::wire::agent::{AgentStatus, GcReport, GcRequest};
use crate::api::wire::problem::Problem;
use crate::api::wire::run::{CancelRequest, Outputs, Run, RunSummary};
use crate::api::wire::submission::{SubmitRequest, Submitted};
use crate::api::wire::target::{Detached, Target};
use crate::api::wire::waiting::ChangeWaiting;
use crate::workspace::Workspace;

/// Whether an agent is started where none answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Yes: what was asked for needs one.
    IfNone,
    /// No: without an agent there is nothing to do.
    Never,
}

/// How long an answer may take that the agent has at hand.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often something is asked again whose answer was lost, and how long after an agent broke off
/// in the middle of one.
const ATTEMPTS: u32 = 5;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);

/// The largest part of a log to ask for at once.
const LOG_PART_BYTES: u64 = 1 << 20;

/// A connection to the agent of a workspace.
pub(crate) struct Client {
    line: Line,
    workspace: Workspace,
    start: Start,
}

/// Which runs a list shows.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ListQuery {
    /// So many at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
    /// Of this experiment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) experiment: Option<String>,
    /// With this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    /// With this tag: `k` or `k=v`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    /// Of all users.
    #[serde(rename = "allUsers", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) all_users: bool,
    /// Handed in by oneself under this idempotency key.
    #[serde(rename = "idempotencyKey", skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
}

/// A part of a run's log.
pub(crate) struct LogPart {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// Which attempt's they are.
    pub(crate) attempt: u32,
    /// Where to go on reading.
    pub(crate) next_offset: u64,
}

impl Client {
    /// Connects to the agent of `workspace`, starting one if `start` says so, and returns what it
    /// says of itself. `announce` is called before an agent is started.
    ///
    /// # Errors
    ///
    /// No agent answers and none could be started.
    pub(crate) async fn connect(
        workspace: &Workspace,
        start: Start,
        announce: impl Fn(),
    ) -> Result<(Self, AgentStatus), ClientError> {
        let is_here = workspace.server().is_none();
        if is_here {
            access::check(workspace.socket())?;
        }
        // Nobody starts an agent on another machine.
        let start = if is_here { start } else { Start::Never };
        if start == Start::IfNone && !workspace.socket().exists() {
            announce();
            start::start(workspace)?;
        }
        let client = Self::new(workspace, start)?;
        let status = client.revive(announce).await?;
        Ok((client, status))
    }

    fn new(workspace: &Workspace, start: Start) -> Result<Self, ClientError> {
        Ok(Self { line: Line::to(workspace)?, workspace: workspace.clone(), start })
    }

    /// Asks the agent how it is.
    pub(crate) async fn status(&self) -> Result<AgentStatus, ClientError> {
        self.get(&["status"], &()).await
    }

    /// Submits a run, under `key` or one that nobody else has. An answer that got lost is asked for
    /// again; the run is made once.
    pub(crate) async fn submit(
        &self,
        request: &SubmitRequest,
        key: Option<&str>,
    ) -> Result<Submitted, ClientError> {
        let key = key.map_or_else(|| format!("{:032x}", rand::random::<u128>()), str::to_owned);
        let mut attempt = 1;
        loop {
            let sent = self
                .request(Method::POST, &["runs"])
                .header("idempotency-key", &key)
                .json(request)
                .timeout(PATIENCE);
            match self.json(sent, "submit the run").await {
                Err(error) if error.is_lost() && attempt < ATTEMPTS => {
                    attempt += 1;
                    self.revive(|| {}).await?;
                }
                answer => return answer,
            }
        }
    }

    /// Returns runs, newest first.
    pub(crate) async fn runs(&self, query: &ListQuery) -> Result<Vec<RunSummary>, ClientError> {
        self.get(&["runs"], query).await
    }

    /// Returns the run that `reference` stands for.
    pub(crate) async fn run(&self, reference: &str) -> Result<Run, ClientError> {
        self.get(&["runs", reference], &()).await
    }

    /// Asks for a run to end.
    pub(crate) async fn cancel(&self, reference: &str, now: bool) -> Result<Run, ClientError> {
        let asked = self
            .request(Method::POST, &["runs", reference, "cancel"])
            .json(&CancelRequest { now })
            .timeout(PATIENCE);
        self.json(asked, "cancel the run").await
    }

    /// Changes how a run in the queue waits.
    pub(crate) async fn change_waiting(
        &self,
        reference: &str,
        change: &ChangeWaiting,
    ) -> Result<Run, ClientError> {
        let asked = self.request(Method::POST, &["runs", reference, "waiting"]);
        self.json(asked.json(change), "change how the run waits").await
    }

    /// Forgets an ended run.
    pub(crate) async fn remove(&self, reference: &str) -> Result<(), ClientError> {
        let asked = self.request(Method::DELETE, &["runs", reference]);
        self.send(asked, "remove the run").await.map(drop)
    }

    /// Returns a part of the log of a run's attempt, or of its latest one: from `offset`, or from
    /// the last `tail` lines on.
    pub(crate) async fn logs(
        &self,
        reference: &str,
        attempt: Option<u32>,
        (offset, tail): (u64, Option<u64>),
        stream: &str,
    ) -> Result<LogPart, ClientError> {
        let mut query = vec![("stream", stream.to_owned()), ("limit", LOG_PART_BYTES.to_string())];
        match tail {
            Some(lines) => query.push(("tail", lines.to_string())),
            None => query.push(("offset", offset.to_string())),
        }
        query.extend(attempt.map(|number| ("attempt", number.to_string())));
        let asked = self.request(Method::GET, &["runs", reference, "logs"]).query(&query);
        let answer = self.send(asked, "read the log").await?;
        let said = |name: &str| -> Result<u64, ClientError> {
            let value = answer.headers().get(name);
            let number = value.and_then(|value| value.to_str().ok()?.parse().ok());
            number.ok_or(ClientError::Nonsense { asked: "read the log".to_owned() })
        };
        let next_offset = said("trainyard-next-offset")?;
        let attempt = u32::try_from(said("trainyard-attempt")?).unwrap_or(u32::MAX);
        let bytes = answer
            .bytes()
            .await
            .map_err(|source| ClientError::Broken { asked: "read the log".to_owned(), source })?;
        Ok(LogPart { bytes: bytes.to_vec(), attempt, next_offset })
    }

    /// Begins to follow a run.
    pub(crate) fn follow(&self, reference: &str, from: From) -> Follow<'_> {
        Follow::new(self, reference, from)
    }

    /// Opens a file of a run's attempt, or of its latest one; `path` is one of those that the run
    /// names.
    pub(crate) async fn file(
        &self,
        reference: &str,
        attempt: Option<u32>,
        path: &[u8],
    ) -> Result<Response, ClientError> {
        let query = attempt.map(|number| [("attempt", number)]);
        let asked = self.line.file(reference, path).query(&query);
        self.send(asked, "read the file").await
    }

    /// Frees what nothing refers to.
    pub(crate) async fn gc(&self, request: &GcRequest) -> Result<GcReport, ClientError> {
        let asked = self.request(Method::POST, &["gc"]).json(request);
        self.json(asked, "free space").await
    }

    /// Tells the agent to stop.
    pub(crate) async fn stop(&self) -> Result<(), ClientError> {
        let asked = self.request(Method::POST, &["agent", "stop"]).timeout(PATIENCE);
        self.send(asked, "stop the agent").await.map(drop)
    }

    /// Tells the agent to start none of the runs that wait, or to start runs again.
    pub(crate) async fn drain(&self, undo: bool) -> Result<AgentStatus, ClientError> {
        let method = if undo { Method::DELETE } else { Method::POST };
        let asked = self.request(method, &["agent", "drain"]).timeout(PATIENCE);
        self.json(asked, if undo { "end the drain" } else { "drain the agent" }).await
    }

    /// Asks for a document.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &impl Serialize,
    ) -> Result<T, ClientError> {
        let asked = self.request(Method::GET, segments).query(query).timeout(PATIENCE);
        self.json(asked, &format!("read {}", segments.join("/"))).await
    }

    /// Asks for a text, such as an environment's build log.
    pub(crate) async fn get_bytes(&self, segments: &[&str]) -> Result<Vec<u8>, ClientError> {
        let what = format!("read {}", segments.join("/"));
        let answer = self.send(self.request(Method::GET, segments), &what).await?;
        let bytes = answer.bytes().await;
        Ok(bytes.map_err(|source| ClientError::Broken { asked: what, source })?.to_vec())
    }

    /// Asks for something to be done, however long it takes.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        body: &impl Serialize,
        what: &str,
    ) -> Result<T, ClientError> {
        self.json(self.request(Method::POST, segments).json(body), what).await
    }

    /// Returns the target called `name`, if there is still one.
    pub(crate) async fn target(&self, name: &str) -> Result<Option<Target>, ClientError> {
        match self.get(&["targets", name], &()).await {
            Err(ClientError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Lets an attached machine go, and with `purge` removes all of ours from it.
    pub(crate) async fn detach(&self, name: &str, purge: bool) -> Result<Detached, ClientError> {
        let asked = self.request(Method::DELETE, &["targets", name]).query(&[("purge", purge)]);
        self.json(asked, "detach the target").await
    }

    /// Lists what a run has left so far, and brings it to the agent's machine.
    pub(crate) async fn outputs(&self, reference: &str) -> Result<Outputs, ClientError> {
        self.json(self.request(Method::POST, &["runs", reference, "outputs"]), "fetch outputs")
            .await
    }

    /// Deletes what `segments` name.
    pub(crate) async fn delete(&self, segments: &[&str]) -> Result<(), ClientError> {
        let what = format!("remove {}", segments.join("/"));
        self.send(self.request(Method::DELETE, segments), &what).await.map(drop)
    }

    /// Asks the agent how it is, and starts one where there is none and that is allowed: also when
    /// the one that was there ends just now, with our question unanswered.
    async fn revive(&self, announce: impl Fn()) -> Result<AgentStatus, ClientError> {
        let mut attempt = 1;
        loop {
            match self.status().await {
                Err(error) if error.is_lost() && self.may_start() && attempt < ATTEMPTS => {
                    if error.is_gone() {
                        announce();
                    } else {
                        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                    }
                    start::start(&self.workspace)?;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    fn may_start(&self) -> bool {
        self.start == Start::IfNone
    }

    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        self.line.request(method, segments)
    }

    async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        asked: &str,
    ) -> Result<T, ClientError> {
        let answer = self.send(request, asked).await?;
        answer
            .json()
            .await
            .map_err(|source| ClientError::Broken { asked: asked.to_owned(), source })
    }

    async fn send(&self, request: RequestBuilder, asked: &str) -> Result<Response, ClientError> {
        let answer = request.send().await.map_err(|error| self.line.failure(asked, error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        match answer.json::<Problem>().await {
            Ok(problem) => Err(ClientError::Refused { status, problem: problem.error }),
            Err(_) if status == StatusCode::NOT_FOUND => {
                Err(ClientError::Older { asked: asked.to_owned() })
            }
            Err(_) => Err(ClientError::Nonsense { asked: asked.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_connection_that_was_closed_while_nobody_asked_is_not_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(directory.path().join("home"));
        workspace.create().unwrap();
        let listener = UnixListener::bind(workspace.socket()).unwrap();
        // Each connection is good for one answer, whatever was agreed on.
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            }
        });
        let client = Client::new(&workspace, Start::Never).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

        runtime.block_on(client.remove("a")).unwrap();
        runtime.block_on(client.remove("b")).unwrap();

        server.join().unwrap();
    }
}
