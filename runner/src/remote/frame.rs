//! Frames: how messages are told apart on a stream.
//!
//! ```text
//! frame = length of the payload, 4 bytes, big-endian | kind, 1 byte | payload, at most 1 MiB
//! ```
//!
//! A server begins with [`GREETING`], so that what a login shell prints before it can be passed
//! over. While it works on something it sends [`Kind::Alive`] every [`ALIVE_EVERY`].

use std::io::{self, Read, Write};
use std::time::Duration;

/// The version of everything that is said here. Both sides are the same program as a rule.
pub const PROTOCOL: u32 = 1;

/// What a server says first.
pub const GREETING: &[u8] = b"\0trainyard-remote 1\n";

/// How often a server that is at work says so.
pub const ALIVE_EVERY: Duration = Duration::from_secs(3);

/// The largest payload, in bytes.
pub const MOST: usize = 1 << 20;

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request or an answer, as JSON.
    Message,
    /// Bytes that belong to the message before.
    Bytes,
    /// The end of such bytes.
    End,
    /// A refusal: [`super::message::Refusal`] as JSON. It takes the place of an answer.
    Refusal,
    /// Nothing yet; wait.
    Alive,
}

/// Writes one frame.
///
/// # Errors
///
/// What the stream answered.
pub fn write(to: &mut dyn Write, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let _ = (to, kind, payload);
    todo!()
}

/// Reads one frame, `Alive` too. `None` at the end of the stream, between two frames.
///
/// # Errors
///
/// What the stream answered; `InvalidData` for what is no frame.
pub fn read(from: &mut dyn Read) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let _ = from;
    todo!()
}
