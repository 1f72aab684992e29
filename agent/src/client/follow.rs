//! Following a run: its status and its bytes, across broken streams and restarted agents.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::{Method, Response};

use super::events::{EventParser, RawEvent};
use super::{Client, ClientError};
use crate::api::wire::follow::{AttemptEvent, BuildEvent, EndEvent, LogEvent, StatusEvent};
use crate::api::wire::run::Run;

/// Where following begins, and what is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From {
    /// With which attempt; `None` means the latest.
    pub(crate) attempt: Option<u32>,
    /// Offset in its log; `u64::MAX` means no log at all, of no attempt.
    pub(crate) offset: u64,
    /// Offset in its build log; likewise.
    pub(crate) build_offset: u64,
    /// `stdout`, `stderr` or `all`.
    pub(crate) stream: &'static str,
}

/// What happened to the run.
#[derive(Debug)]
pub(crate) enum Event {
    /// It stands elsewhere now.
    Status(StatusEvent),
    /// Its environment's build said something.
    Build(Vec<u8>),
    /// The script wrote something.
    Log {
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether it was to standard error.
        is_stderr: bool,
    },
    /// An attempt is over, everything it wrote was passed on, and another follows.
    Attempt(Box<AttemptEvent>),
    /// It is over, and everything it wrote was passed on.
    End(Box<Run>),
}

/// How long nothing may be heard before we give up.
const GIVE_UP: Duration = Duration::from_secs(120);

/// A stream without any sign of life for so long is broken; the agent sends one far more often.
const SILENCE: Duration = Duration::from_secs(60);

/// A run that is being followed.
///
/// A stream that breaks off is never taken for the run's end: [`next`](Self::next) asks again from
/// the last byte it passed on, starting an agent if the old one is gone.
pub(crate) struct Follow<'a> {
    client: &'a Client,
    reference: String,
    from: From,
    response: Option<Response>,
    parser: EventParser,
    /// Since when nothing was heard, and how long to wait before the next attempt.
    trouble: Option<(Instant, Duration)>,
}

impl<'a> Follow<'a> {
    pub(super) fn new(client: &'a Client, reference: &str, from: From) -> Self {
        Self {
            client,
            reference: reference.to_owned(),
            from,
            response: None,
            parser: EventParser::default(),
            trouble: None,
        }
    }

    /// Returns the next thing that happened. After [`Event::End`] there is nothing more.
    ///
    /// Dropping the future loses nothing: the next call goes on where it was.
    ///
    /// # Errors
    ///
    /// The agent refused, or could not be reached for [`GIVE_UP`]. The run goes on.
    pub(crate) async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            while let Some(raw) = self.parser.next() {
                self.trouble = None;
                if let Some(event) = self.understand(&raw)? {
                    return Ok(event);
                }
            }
            if let Err(error) = self.read_more().await {
                self.response = None;
                self.parser = EventParser::default();
                self.pause(error).await?;
            }
        }
    }

    /// Reads the next bytes of the stream, opening it first if need be.
    async fn read_more(&mut self) -> Result<(), ClientError> {
        let asked = "follow the run";
        if self.response.is_none() {
            let mut query = vec![
                ("offset", self.from.offset.to_string()),
                ("buildOffset", self.from.build_offset.to_string()),
                ("stream", self.from.stream.to_owned()),
            ];
            query.extend(self.from.attempt.map(|number| ("attempt", number.to_string())));
            let request = self
                .client
                .request(Method::GET, &["runs", &self.reference, "follow"])
                .query(&query);
            self.response = Some(self.client.send(request, asked).await?);
        }
        let Some(response) = &mut self.response else { return Ok(()) };
        match tokio::time::timeout(SILENCE, response.chunk()).await {
            Ok(Ok(Some(bytes))) => {
                self.parser.feed(&bytes);
                Ok(())
            }
            Ok(Ok(None)) | Err(_) => Err(ClientError::Nonsense { asked: asked.to_owned() }),
            Ok(Err(source)) => Err(ClientError::Broken { asked: asked.to_owned(), source }),
        }
    }

    /// Waits before the next attempt, or gives up.
    async fn pause(&mut self, error: ClientError) -> Result<(), ClientError> {
        let is_refusal = matches!(error, ClientError::Refused { .. } | ClientError::Older { .. });
        if is_refusal && !error.is_lost() {
            return Err(error);
        }
        let (since, wait) =
            self.trouble.unwrap_or_else(|| (Instant::now(), Duration::from_millis(50)));
        if since.elapsed() > GIVE_UP {
            return Err(ClientError::Lost { source: Box::new(error) });
        }
        self.trouble = Some((since, (wait * 2).min(Duration::from_secs(5))));
        tokio::time::sleep(wait).await;
        // Whether that worked, the next attempt shows.
        self.client.revive(|| {}).await.ok();
        Ok(())
    }

    fn understand(&mut self, raw: &RawEvent) -> Result<Option<Event>, ClientError> {
        match raw.name.as_str() {
            "status" => Ok(Some(Event::Status(parse(raw)?))),
            "build" => {
                let BuildEvent { offset, data } = parse(raw)?;
                let bytes = fresh(decode(&data)?, offset, &mut self.from.build_offset);
                Ok((!bytes.is_empty()).then_some(Event::Build(bytes)))
            }
            "log" => {
                let LogEvent { offset, next_offset, stream, data, .. } = parse(raw)?;
                let bytes = decode(&data)?;
                if next_offset <= self.from.offset || bytes.is_empty() {
                    return Ok(None);
                }
                let known = self.from.offset.saturating_sub(offset);
                let known = usize::try_from(known).unwrap_or(usize::MAX).min(bytes.len());
                self.from.offset = next_offset;
                let bytes = bytes[known..].to_vec();
                Ok(Some(Event::Log { bytes, is_stderr: stream == "stderr" }))
            }
            "attempt" => {
                let event: AttemptEvent = parse(raw)?;
                let begin = |offset| if offset == u64::MAX { u64::MAX } else { 0 };
                self.from = From {
                    attempt: Some(event.next),
                    offset: begin(self.from.offset),
                    build_offset: begin(self.from.build_offset),
                    ..self.from
                };
                Ok(Some(Event::Attempt(Box::new(event))))
            }
            "end" => {
                let EndEvent { run } = parse(raw)?;
                Ok(Some(Event::End(run)))
            }
            // A newer agent may have more to say.
            _ => Ok(None),
        }
    }
}

/// Returns what of `bytes`, which begin at `offset`, lies behind `seen`, and moves `seen` on.
fn fresh(bytes: Vec<u8>, offset: u64, seen: &mut u64) -> Vec<u8> {
    let known = usize::try_from(seen.saturating_sub(offset)).unwrap_or(usize::MAX);
    let known = known.min(bytes.len());
    *seen = (*seen).max(offset + bytes.len() as u64);
    bytes[known..].to_vec()
}

fn parse<T: serde::de::DeserializeOwned>(raw: &RawEvent) -> Result<T, ClientError> {
    serde_json::from_slice(&raw.data)
        .map_err(|_| ClientError::Nonsense { asked: format!("tell of {}", raw.name) })
}

fn decode(data: &str) -> Result<Vec<u8>, ClientError> {
    BASE64_STANDARD
        .decode(data)
        .map_err(|_| ClientError::Nonsense { asked: "follow the run".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_come_twice_are_passed_on_once() {
        let mut seen = 3;
        assert_eq!(fresh(b"abcdef".to_vec(), 0, &mut seen), b"def");
        assert_eq!(seen, 6);
        assert_eq!(fresh(b"ef".to_vec(), 4, &mut seen), b"");
        assert_eq!(fresh(b"gh".to_vec(), 6, &mut seen), b"gh");
        assert_eq!(seen, 8);
    }
}
