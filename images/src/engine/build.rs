//! Builds by BuildKit: a build context sent as a tar stream, and the engine's answer as a log.
//!
//! Not by bollard: without its `buildkit` feature it cannot read what BuildKit answers, and with it
//! (59 more crates) there are no secrets for `RUN --mount=type=secret`.

mod connection;
mod messages;
mod session;
mod step_line;
mod trace;
mod wire;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use secrecy::SecretSlice;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::messages::Messages;
use super::address::Address;
use super::{Engine, EngineError};

/// How often it is looked whether somebody cancelled.
const TICK: Duration = Duration::from_millis(40);

/// How much of the context is sent in one piece, and how many pieces may wait.
const PIECE_BYTES: usize = 128 << 10;
const PIECES: usize = 4;

/// What is built, besides its context.
#[derive(Clone, Debug, Default)]
pub struct ImageBuild {
    /// Where the Dockerfile is in the context.
    pub dockerfile: String,
    /// What to call the image.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Values of `ARG` lines. Those of the proxies are not kept in the image.
    pub arguments: BTreeMap<String, String>,
    /// The stage to build. Default: the last.
    pub target: Option<String>,
    /// As `linux/amd64`. Default: the engine's own.
    pub platform: Option<String>,
    /// The network of its steps: `default`, `host` or `none`.
    pub network: String,
    /// Nothing of earlier builds is used.
    pub fresh: bool,
    /// What `RUN --mount=type=secret,id=…` gets, by id.
    pub secrets: BTreeMap<String, SecretSlice<u8>>,
}

/// How a build came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildEnd {
    /// The image's id.
    Image(String),
    /// What could not be done. The log has the rest.
    Failed(String),
}

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

fn empty() -> Body {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync()
}

impl Engine {
    /// Builds an image. `context` writes a tar archive; an error of its own is returned as it is.
    ///
    /// Setting `cancel` ends the build, in the engine too.
    ///
    /// # Errors
    ///
    /// The engine does not answer or refuses, or somebody cancelled. A build that fails is none.
    pub fn build_image<E: From<EngineError> + Send>(
        &self,
        build: &ImageBuild,
        context: impl FnOnce(&mut dyn Write) -> Result<(), E> + Send,
        log: &mut dyn FnMut(&[u8]),
        cancel: &AtomicBool,
    ) -> Result<BuildEnd, E> {
        let (sender, receiver) = mpsc::channel(PIECES);
        let connection = Connection {
            name: &self.facts.address,
            address: &self.address,
            api: &self.facts.api_version,
        };
        thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let mut out = Pieces { sender, piece: Vec::new() };
                let written = context(&mut out);
                if written.is_ok() {
                    out.finish();
                } else {
                    // An end without this would be the end of the archive.
                    let cut = io::Error::other("the build context could not be read");
                    let _sent = out.sender.blocking_send(Err(cut));
                }
                written
            });
            let built = self.runtime.block_on(connection.build(build, receiver, log, cancel));
            let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (built, written) {
                // With an answer, it does not matter that it came before the end of the context.
                (Ok(end), _) => Ok(end),
                (Err(EngineError::Cancelled), _) => Err(EngineError::Cancelled.into()),
                (Err(EngineError::Gone { .. }), Err(error)) => Err(error),
                (Err(error), _) => Err(error.into()),
            }
        })
    }

    /// Gives the image `id` one more name.
    ///
    /// # Errors
    ///
    /// The engine does not answer or refuses.
    pub fn tag_image(&self, id: &str, name: &str) -> Result<(), EngineError> {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let options = bollard::query_parameters::TagImageOptionsBuilder::default()
            .repo(repository)
            .tag(tag)
            .build();
        let tagged = self.runtime.block_on(self.docker.tag_image(id, Some(options)));
        tagged.map_err(|source| EngineError::Refused { status: 0, message: source.to_string() })
    }
}

/// Collects what is written into pieces.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.sender.blocking_send(Ok(piece.into())).map_err(gone)
    }

    fn finish(&mut self) {
        if !self.piece.is_empty() {
            let _sent = self.send();
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the engine is.
struct Connection<'a> {
    /// Its address, for messages.
    name: &'a str,
    address: &'a Address,
    api: &'a str,
}

impl Connection<'_> {
    async fn build(
        &self,
        build: &ImageBuild,
        context: mpsc::Receiver<io::Result<Bytes>>,
        log: &mut dyn FnMut(&[u8]),
        cancel: &AtomicBool,
    ) -> Result<BuildEnd, EngineError> {
        // What runs beside the build; its connections end with it.
        let mut tasks = JoinSet::new();
        let built = tokio::select! {
            built = self.run(build, context, log, &mut tasks) => built,
            () = cancelled(cancel) => Err(EngineError::Cancelled),
        };
        tasks.shutdown().await;
        built
    }

    async fn run(
        &self,
        build: &ImageBuild,
        mut context: mpsc::Receiver<io::Result<Bytes>>,
        log: &mut dyn FnMut(&[u8]),
        tasks: &mut JoinSet<()>,
    ) -> Result<BuildEnd, EngineError> {
        let session = match build.secrets.is_empty() {
            true => None,
            false => Some(self.session(build, tasks).await?),
        };
        let body = http_body_util::StreamBody::new(futures_util::stream::poll_fn(move |cx| {
            context
                .poll_recv(cx)
                .map(|piece| piece.map(|piece| piece.map(hyper::body::Frame::data)))
        }));
        let path = format!("/v{}/build?{}", self.api, query(build, session.as_deref()));
        let request = Request::post(path)
            .header("Host", "docker")
            .header("Content-Type", "application/x-tar")
            .body(body.boxed_unsync());
        let request = request.map_err(|source| self.gone(source))?;
        let mut sender = self.connect(tasks).await?;
        let answer = sender.send_request(request).await.map_err(|source| self.gone(source))?;
        let status = answer.status();
        let mut answer = answer.into_body();
        if !status.is_success() {
            let body = answer.collect().await.map_err(|source| self.gone(source))?.to_bytes();
            let end = refused(status.as_u16(), &body)?;
            if let BuildEnd::Failed(message) = &end {
                log(format!("{message}\n").as_bytes());
            }
            return Ok(end);
        }
        let mut messages = Messages::default();
        while let Some(frame) = answer.frame().await {
            let frame = frame.map_err(|source| self.gone(source))?;
            if let Some(bytes) = frame.data_ref() {
                messages.take(bytes, log);
            }
        }
        messages.finish(log);
        match (messages.error, messages.image) {
            (Some(error), _) => Ok(BuildEnd::Failed(error)),
            (None, Some(image)) => Ok(BuildEnd::Image(image)),
            (None, None) => Err(self.gone(io::Error::from(io::ErrorKind::UnexpectedEof))),
        }
    }

    /// Starts a session that answers what the build asks, and returns its id.
    async fn session(
        &self,
        build: &ImageBuild,
        tasks: &mut JoinSet<()>,
    ) -> Result<String, EngineError> {
        let id = session_id();
        let request = session::request(&id, &format!("/v{}/session", self.api));
        let request = request.map_err(|source| self.gone(source))?;
        let mut sender = self.connect(tasks).await?;
        let answer = sender.send_request(request).await.map_err(|source| self.gone(source))?;
        if answer.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(EngineError::Unable {
                what: format!("start a build session (status {})", answer.status()),
            });
        }
        let secrets = session::Secrets::new(build.secrets.clone());
        tasks.spawn(async move {
            // The connection lives as long as somebody may send on it.
            session::serve(answer, secrets).await;
            drop(sender);
        });
        Ok(id)
    }

    async fn connect(&self, tasks: &mut JoinSet<()>) -> Result<SendRequest<Body>, EngineError> {
        let stream = connection::connect(self.name, self.address).await?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|source| self.gone(source))?;
        tasks.spawn(async move {
            // What goes wrong, whoever waits for an answer sees.
            let _ended = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    fn gone(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> EngineError {
        EngineError::gone(self.name, source)
    }
}

/// Returns a name that no other session of any process here has. It guards nothing: whoever may
/// speak to the engine may do everything.
fn session_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("trainyard{:x}x{since:x}x{count:x}", std::process::id())
}

/// Ends when `cancel` is set.
async fn cancelled(cancel: &AtomicBool) {
    while !cancel.load(Ordering::Relaxed) {
        tokio::time::sleep(TICK).await;
    }
}

/// A Dockerfile that cannot be read is the user's to mend; all else is not.
fn refused(status: u16, body: &[u8]) -> Result<BuildEnd, EngineError> {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    let message = value["message"].as_str().unwrap_or_else(|| text.trim()).to_owned();
    if status == 400 {
        Ok(BuildEnd::Failed(message))
    } else {
        Err(EngineError::Refused { status, message })
    }
}

/// Returns the query of the request.
fn query(build: &ImageBuild, session: Option<&str>) -> String {
    let json = |map: &BTreeMap<String, String>| serde_json::json!(map).to_string();
    let mut parts = vec![
        ("dockerfile", build.dockerfile.clone()),
        ("t", build.name.clone()),
        ("rm", "1".to_owned()),
        ("forcerm", "1".to_owned()),
        ("labels", json(&build.labels)),
        ("buildargs", json(&build.arguments)),
        ("networkmode", build.network.clone()),
        // BuildKit.
        ("version", "2".to_owned()),
    ];
    parts.extend(build.target.clone().map(|target| ("target", target)));
    parts.extend(build.platform.clone().map(|platform| ("platform", platform)));
    parts.extend(build.fresh.then(|| ("nocache", "1".to_owned())));
    parts.extend(session.map(|session| ("session", session.to_owned())));
    let encode = |value: &str| {
        percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let parts = parts.iter().map(|(name, value)| format!("{name}={}", encode(value)));
    parts.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests;
