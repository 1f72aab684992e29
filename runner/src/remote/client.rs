//! The asking side.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::de::DeserializeOwned;

use super::bytes::{BytesWriter, DecodeError, FramedBytes, PIECE, Rest};
use super::frame::{self, GREETING, Kind, Message};
use super::message::{Refusal, Request};
use crate::ssh::Wire;

/// How much a login shell may print before the greeting, in bytes.
const MOST_BEFORE_GREETING: usize = 64 << 10;

/// How many frames are compressed ahead of the one that is sent.
const AHEAD: usize = 16;

/// How long at most until it is looked whether a request is refused, when nothing is sent: what
/// compresses well comes seldom.
const LISTEN_EVERY: Duration = Duration::from_millis(100);

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The connection broke, or was silent for too long. Ask again over another.
    #[error("the connection broke")]
    Broken {
        /// What the stream answered.
        source: io::Error,
    },
    /// The other side speaks otherwise.
    #[error("the other side answers in a way that this program does not understand: {said}")]
    Protocol {
        /// What it said.
        said: String,
    },
    /// It will not, or cannot.
    #[error("{}", refusal.message)]
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// What was to be sent cannot be read on this side, or what came cannot be kept.
    #[error("cannot read what is to be sent, or keep what comes")]
    Local {
        /// Why.
        source: io::Error,
    },
}

/// A connection to a server.
pub trait Stream: Read + Write + Send {
    /// Says whether something can be read without waiting for long. Where that is not known, it is
    /// `false`: a refusal is then heard when all is sent.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    fn has_input(&mut self) -> io::Result<bool>;
}

impl Stream for Wire {
    fn has_input(&mut self) -> io::Result<bool> {
        Wire::has_input(self)
    }
}

/// The two pipes of a server that runs on this machine.
#[derive(Debug)]
pub struct Pipes<R, W> {
    /// Its stdout.
    pub from: R,
    /// Its stdin.
    pub to: W,
}

impl<R: Read, W> Read for Pipes<R, W> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.from.read(bytes)
    }
}

impl<R, W: Write> Write for Pipes<R, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl<R: Read + AsFd + Send, W: Write + Send> Stream for Pipes<R, W> {
    fn has_input(&mut self) -> io::Result<bool> {
        let mut descriptors = [PollFd::new(&self.from, PollFlags::IN)];
        Ok(poll(&mut descriptors, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
    }
}

/// Asks a server over `stream`, one thing after the other.
pub struct RemoteClient<S> {
    stream: BufReader<S>,
    good: bool,
}

impl<S: Stream> RemoteClient<S> {
    /// Waits for the greeting, passing over what came before it.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Protocol`] with the first line of what came instead;
    /// [`RemoteError::Broken`].
    pub fn greet(stream: S) -> Result<Self, RemoteError> {
        let mut stream = BufReader::with_capacity(64 << 10, stream);
        let mut seen = Vec::new();
        loop {
            let read = match stream.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(|source| RemoteError::Broken { source })?,
            };
            let Some(&byte) = read.first() else {
                return Err(RemoteError::Protocol { said: first_line(&seen) });
            };
            stream.consume(1);
            seen.push(byte);
            if seen.ends_with(GREETING) {
                return Ok(Self { stream, good: true });
            }
            if seen.len() >= MOST_BEFORE_GREETING {
                return Err(RemoteError::Protocol { said: first_line(&seen) });
            }
        }
    }

    /// Returns the stream.
    pub fn stream(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// Says whether something else can be asked. After an error of any kind it may not be so: what
    /// was refused leaves a good connection as a rule.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.good
    }

    /// Asks something whose answer is one message.
    ///
    /// # Errors
    ///
    /// [`RemoteError`].
    pub fn ask<A: DeserializeOwned>(&mut self, request: &Request) -> Result<A, RemoteError> {
        self.request(request)?;
        let answer = self.answer()?;
        self.good = true;
        Ok(answer)
    }

    /// Asks something that bytes go with. A refusal in the middle is heard as soon as it is there.
    ///
    /// # Errors
    ///
    /// [`RemoteError`]; [`RemoteError::Local`] with what `bytes` answered.
    pub fn send<A: DeserializeOwned>(
        &mut self,
        request: &Request,
        bytes: &mut dyn Read,
    ) -> Result<A, RemoteError> {
        self.request(request)?;
        match self.send_bytes(bytes) {
            Ok(Sent::All) => {}
            Ok(Sent::Heard(refusal)) => {
                // It is as true over a connection that broke meanwhile.
                self.good = self.give_up().is_ok();
                return Err(RemoteError::Refused { refusal });
            }
            Ok(Sent::NotRead(source)) => {
                // It refuses what it has not got whole; then all is said.
                let refused = self.give_up().map(|()| self.answer::<serde::de::IgnoredAny>());
                self.good = matches!(refused, Ok(Err(RemoteError::Refused { .. })));
                return Err(RemoteError::Local { source });
            }
            Err(source) => return Err(self.last_words(source)),
        }
        let answer = self.answer()?;
        self.good = true;
        Ok(answer)
    }

    /// Asks something whose answer bytes follow, and hands those to `to` as they come.
    ///
    /// # Errors
    ///
    /// [`RemoteError`]; [`RemoteError::Local`] with what `to` answered, after which the connection
    /// is of no use.
    pub fn receive<A: DeserializeOwned>(
        &mut self,
        request: &Request,
        to: &mut dyn FnMut(&A, &[u8]) -> io::Result<()>,
    ) -> Result<A, RemoteError> {
        self.request(request)?;
        let answer = self.answer()?;
        let mut framed = FramedBytes::new(&mut self.stream);
        let decoded = framed.decode(&mut |bytes| to(&answer, bytes));
        let decoded = match decoded {
            Err(DecodeError::Sink { source }) => return Err(RemoteError::Local { source }),
            Err(DecodeError::Stream { source }) => Err(source),
            Ok(()) => Ok(()),
        };
        match (decoded, framed.is_broken()) {
            (Err(source), true) => return Err(understood(source)),
            (decoded, _) => match framed.drain().map_err(understood)? {
                Rest::Refused(json) => {
                    let refusal = refusal(&json)?;
                    return Err(self.refused(refusal));
                }
                // It ended, but not as it should.
                Rest::Ended => decoded.map_err(|error| RemoteError::Protocol {
                    said: format!("bytes that cannot be read: {error}"),
                })?,
            },
        }
        self.good = true;
        Ok(answer)
    }

    fn request(&mut self, request: &Request) -> Result<(), RemoteError> {
        if !self.good {
            let source = io::Error::other("the connection cannot be used any more");
            return Err(RemoteError::Broken { source });
        }
        let json = serde_json::to_vec(request)
            .map_err(|error| RemoteError::Local { source: error.into() })?;
        if json.len() > frame::MOST_MESSAGE {
            let what = format!("a request of {} bytes is too large", json.len());
            return Err(RemoteError::Local { source: io::Error::other(what) });
        }
        // Whatever goes wrong from here on, nobody knows what comes next.
        self.good = false;
        let stream = self.stream.get_mut();
        let written =
            frame::write_message(stream, Kind::Message, &json).and_then(|()| stream.flush());
        written.map_err(|source| self.last_words(source))
    }

    /// Two threads: what is next is read and compressed in this one, while what came before is
    /// encrypted and sent in the other.
    fn send_bytes(&mut self, bytes: &mut dyn Read) -> io::Result<Sent> {
        let stream = &mut self.stream;
        thread::scope(|scope| {
            let (frames, ahead) = sync_channel(AHEAD);
            let sending = scope.spawn(move || send_frames(stream, &ahead));
            let compressed = compress(bytes, frames);
            let sent = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            match (sent, compressed) {
                // Nobody took the rest, and so it was not compressed.
                (Sent::Heard(refusal), _) => Ok(Sent::Heard(refusal)),
                (_, Err(error)) => Ok(Sent::NotRead(error)),
                (sent, Ok(())) => Ok(sent),
            }
        })
    }

    fn give_up(&mut self) -> io::Result<()> {
        let stream = self.stream.get_mut();
        frame::write(stream, Kind::Cut, &[])?;
        stream.flush()
    }

    /// Reads the answer to what was asked.
    fn answer<A: DeserializeOwned>(&mut self) -> Result<A, RemoteError> {
        let (kind, json) = next_message(&mut self.stream).map_err(understood)?;
        if kind == Kind::Refusal {
            let refusal = refusal(&json)?;
            return Err(self.refused(refusal));
        }
        serde_json::from_slice(&json).map_err(|error| RemoteError::Protocol {
            said: format!("{} ({error})", first_line(&json)),
        })
    }

    fn refused(&mut self, refusal: Refusal) -> RemoteError {
        self.good = true;
        RemoteError::Refused { refusal }
    }

    /// Returns the refusal that was sent before the connection broke, if there is one.
    fn last_words(&mut self, source: io::Error) -> RemoteError {
        match next_message(&mut self.stream) {
            Ok((Kind::Refusal, json)) => match refusal(&json) {
                Ok(refusal) => RemoteError::Refused { refusal },
                Err(error) => error,
            },
            _ => RemoteError::Broken { source },
        }
    }
}

/// How far sending came.
enum Sent {
    All,
    /// It was refused on the way.
    Heard(Refusal),
    /// What was to be sent could not be read.
    NotRead(io::Error),
}

/// Compresses what `bytes` gives and hands it to `frames`, with the end.
fn compress(bytes: &mut dyn Read, frames: SyncSender<(Kind, Vec<u8>)>) -> io::Result<()> {
    let mut sink = move |kind, payload| {
        frames.send((kind, payload)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    };
    let mut writer = BytesWriter::new(&mut sink)?;
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        bytes.take(PIECE as u64).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return writer.finish();
        }
        writer.send(piece)?;
    }
}

/// Sends frames up to the last that comes, unless a refusal is heard.
fn send_frames<S: Stream>(
    stream: &mut BufReader<S>,
    frames: &Receiver<(Kind, Vec<u8>)>,
) -> io::Result<Sent> {
    loop {
        match frames.recv_timeout(LISTEN_EVERY) {
            Ok((kind, payload)) => frame::write(stream.get_mut(), kind, &payload)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                stream.get_mut().flush()?;
                return Ok(Sent::All);
            }
        }
        if let Some(refusal) = heard(stream)? {
            return Ok(Sent::Heard(refusal));
        }
    }
}

/// Looks, without waiting, whether a refusal has come.
fn heard<S: Stream>(stream: &mut BufReader<S>) -> io::Result<Option<Refusal>> {
    while !stream.buffer().is_empty() || stream.get_mut().has_input()? {
        match frame::read(stream)? {
            Some((Kind::Alive, _)) => {}
            Some((Kind::Refusal, json)) => {
                let refusal = serde_json::from_slice(&json);
                return Ok(Some(refusal.map_err(io::Error::from)?));
            }
            Some((kind, _)) => {
                let what = format!("{kind:?} before all was sent");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    Ok(None)
}

/// Reads a whole message, which may be a refusal.
fn next_message(from: &mut dyn Read) -> io::Result<(Kind, Vec<u8>)> {
    let mut message = Message::default();
    loop {
        match frame::read(from)? {
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some((Kind::Alive, _)) => {}
            Some((kind, payload)) => {
                if let Some(json) = message.take(kind, payload)? {
                    return Ok((kind, json));
                }
            }
        }
    }
}

fn refusal(json: &[u8]) -> Result<Refusal, RemoteError> {
    serde_json::from_slice(json)
        .map_err(|error| RemoteError::Protocol { said: format!("{} ({error})", first_line(json)) })
}

/// Tells a stream that broke from one that says what was not agreed.
fn understood(source: io::Error) -> RemoteError {
    if source.kind() == io::ErrorKind::InvalidData {
        RemoteError::Protocol { said: source.to_string() }
    } else {
        RemoteError::Broken { source }
    }
}

/// Returns the first line that says something, fit to be shown.
fn first_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let shown = line.unwrap_or("it ended without a word").chars().take(200);
    shown.map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
