//! Frames: how messages are told apart on a stream.
//!
//! ```text
//! frame   = length of the payload, 4 bytes, big-endian | kind, 1 byte | payload, at most 1 MiB
//! message = any number of `Part`, then `Message` or `Refusal`: one JSON document in pieces
//! bytes   = any number of `Bytes` and `Packed`, then `End`, or `Cut` where the sender gives up
//! ```
//!
//! A server begins with [`GREETING`], so that what a login shell prints before it can be passed
//! over. While it works on something it sends [`Kind::Alive`] every [`ALIVE_EVERY`], between any two
//! frames.

use std::io::{self, Read, Write};
use std::time::Duration;

/// The version of everything that is said here. Both sides are the same program as a rule.
pub const PROTOCOL: u32 = 2;

/// What a server says first.
pub const GREETING: &[u8] = b"\0trainyard-remote 1\n";

/// How often a server that is at work says so.
pub const ALIVE_EVERY: Duration = Duration::from_secs(3);

/// The largest payload, in bytes.
pub const MOST: usize = 1 << 20;

/// The largest message, in bytes: a list of 100,000 outputs with long names is shorter.
pub const MOST_MESSAGE: usize = 64 << 20;

/// What comes before a payload, in bytes.
const HEADER: usize = 5;

/// A payload up to this size, in bytes, leaves in one write with its header: one packet.
const SMALL: usize = 16 << 10;

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request or an answer, as JSON, or the rest of it.
    Message,
    /// A piece of a message that goes on in the next frame.
    Part,
    /// Bytes that belong to the message before.
    Bytes,
    /// The same as one zstd frame.
    Packed,
    /// The end of such bytes. Empty.
    End,
    /// No more of them come, and they are not whole. Empty.
    Cut,
    /// A refusal: [`super::message::Refusal`] as JSON. It takes the place of an answer, or of the
    /// rest of one.
    Refusal,
    /// Nothing yet; wait. Empty.
    Alive,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Message,
        Self::Part,
        Self::Bytes,
        Self::Packed,
        Self::End,
        Self::Cut,
        Self::Refusal,
        Self::Alive,
    ];

    fn byte(self) -> u8 {
        match self {
            Self::Message => b'M',
            Self::Part => b'P',
            Self::Bytes => b'B',
            Self::Packed => b'Z',
            Self::End => b'E',
            Self::Cut => b'C',
            Self::Refusal => b'R',
            Self::Alive => b'A',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }
}

/// Writes one frame. Does not flush.
///
/// # Errors
///
/// What the stream answered; `InvalidInput` for a payload over [`MOST`].
pub fn write(to: &mut dyn Write, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MOST);
    let Some(length) = length else {
        let what = format!("a payload of {} bytes is too large for a frame", payload.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    };
    let mut frame = Vec::with_capacity(HEADER + payload.len().min(SMALL));
    frame.extend(length.to_be_bytes());
    frame.push(kind.byte());
    if payload.len() <= SMALL {
        frame.extend_from_slice(payload);
        return to.write_all(&frame);
    }
    to.write_all(&frame)?;
    to.write_all(payload)
}

/// Writes a message as one frame or, if it is long, several, of which the last is of `kind`. Does
/// not flush.
///
/// # Errors
///
/// What the stream answered; `InvalidInput` for a message over [`MOST_MESSAGE`], of which nothing is
/// written.
pub fn write_message(to: &mut dyn Write, kind: Kind, json: &[u8]) -> io::Result<()> {
    if json.len() > MOST_MESSAGE {
        let what = format!("a message of {} bytes is too large", json.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let mut rest = json;
    while let Some((piece, after)) =
        rest.split_at_checked(MOST).filter(|(_, after)| !after.is_empty())
    {
        write(to, Kind::Part, piece)?;
        rest = after;
    }
    write(to, kind, rest)
}

/// Reads one frame, `Alive` too. `None` at the end of the stream, between two frames.
///
/// # Errors
///
/// What the stream answered; `UnexpectedEof` within a frame, `InvalidData` for what is no frame.
pub fn read(from: &mut dyn Read) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut header = [0; HEADER];
    if first_byte(from, &mut header)? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut header[1..])?;
    let [a, b, c, d, kind] = header;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let garbage = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let Some(kind) = Kind::of(kind) else {
        return Err(garbage(format!("there is no kind of frame {kind:#04x}")));
    };
    let most = if matches!(kind, Kind::End | Kind::Cut | Kind::Alive) { 0 } else { MOST };
    // Before anything is made ready for it: nobody has to be believed so much memory.
    if length > most {
        return Err(garbage(format!("a frame of {length} bytes; {kind:?} has {most} at most")));
    }
    let mut payload = vec![0; length];
    from.read_exact(&mut payload)?;
    Ok(Some((kind, payload)))
}

/// Where frames come from.
pub(super) trait FrameSource {
    /// Takes the next frame, as [`read`] does.
    fn next_frame(&mut self) -> io::Result<Option<(Kind, Vec<u8>)>>;
}

impl<R: Read> FrameSource for R {
    fn next_frame(&mut self) -> io::Result<Option<(Kind, Vec<u8>)>> {
        read(self)
    }
}

fn first_byte(from: &mut dyn Read, header: &mut [u8; HEADER]) -> io::Result<usize> {
    loop {
        match from.read(&mut header[..1]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// Puts the pieces of a message together.
#[derive(Debug, Default)]
pub struct Message {
    json: Vec<u8>,
}

impl Message {
    /// Takes up a frame and returns the message once it is whole.
    ///
    /// # Errors
    ///
    /// `InvalidData`: the message is over [`MOST_MESSAGE`], or the frame is no part of one.
    pub fn take(&mut self, kind: Kind, payload: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        let garbage = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        if !matches!(kind, Kind::Part | Kind::Message | Kind::Refusal) {
            return garbage(format!("{kind:?} where a message was to come"));
        }
        if self.json.len() + payload.len() > MOST_MESSAGE {
            return garbage(format!("a message of more than {MOST_MESSAGE} bytes"));
        }
        if self.json.is_empty() {
            self.json = payload;
        } else {
            self.json.extend(payload);
        }
        Ok((kind != Kind::Part).then(|| std::mem::take(&mut self.json)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Vec<(Kind, Vec<u8>)>> {
        let kind = prop::sample::select(Kind::ALL.to_vec());
        let payload = prop::collection::vec(any::<u8>(), 0..200);
        let frame = (kind, payload).prop_map(|(kind, payload)| match kind {
            Kind::End | Kind::Cut | Kind::Alive => (kind, Vec::new()),
            _ => (kind, payload),
        });
        prop::collection::vec(frame, 0..8)
    }

    /// Hands out one byte at a time, with interruptions.
    struct Dripping<'a>(&'a [u8], bool);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    fn read_all(from: &mut dyn Read) -> io::Result<Vec<(Kind, Vec<u8>)>> {
        let mut all = Vec::new();
        while let Some(frame) = read(from)? {
            all.push(frame);
        }
        Ok(all)
    }

    proptest! {
        #[test]
        fn frames_come_back(frames in frames()) {
            let mut bytes = Vec::new();
            for (kind, payload) in &frames {
                write(&mut bytes, *kind, payload).unwrap();
            }
            prop_assert_eq!(&read_all(&mut bytes.as_slice()).unwrap(), &frames);
            prop_assert_eq!(&read_all(&mut Dripping(&bytes, false)).unwrap(), &frames);
        }

        #[test]
        fn a_stream_that_breaks_off_is_the_end_only_between_frames(frames in frames(), cut: usize) {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            for (kind, payload) in &frames {
                write(&mut bytes, *kind, payload).unwrap();
                ends.push(bytes.len());
            }
            let cut = cut % (bytes.len() + 1);
            match read_all(&mut &bytes[..cut]) {
                Ok(_) => prop_assert!(ends.contains(&cut)),
                Err(error) => {
                    prop_assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                    prop_assert!(!ends.contains(&cut));
                }
            }
        }

        #[test]
        fn garbage_never_panics_nor_takes_more_than_it_has(bytes: Vec<u8>) {
            let mut rest = bytes.as_slice();
            while let Ok(Some((_, payload))) = read(&mut rest) {
                prop_assert!(payload.len() <= bytes.len());
            }
        }

        #[test]
        fn messages_come_back_in_pieces(length in 0..3 * MOST, refused: bool) {
            let json = vec![b'x'; length];
            let kind = if refused { Kind::Refusal } else { Kind::Message };
            let mut bytes = Vec::new();
            write_message(&mut bytes, kind, &json).unwrap();

            let mut message = Message::default();
            let mut whole = Vec::new();
            for (kind, payload) in read_all(&mut bytes.as_slice()).unwrap() {
                whole.extend(message.take(kind, payload).unwrap());
            }

            prop_assert_eq!(whole, vec![json]);
        }
    }

    #[test]
    fn a_hostile_length_is_refused_before_it_is_believed() {
        for (length, kind) in [(MOST + 1, b'B'), (u32::MAX as usize, b'M'), (1, b'E'), (1, b'A')] {
            let mut bytes = u32::try_from(length).unwrap().to_be_bytes().to_vec();
            bytes.push(kind);
            let error = read(&mut bytes.as_slice()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{length} {kind}: {error}");
        }
        let error = read(&mut b"HTTP/1.1 400 Bad Request".as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "there is no kind of frame 0x2f");
    }

    #[test]
    fn what_is_too_large_is_not_sent() {
        let mut sent = Vec::new();
        let error = write(&mut sent, Kind::Bytes, &vec![0; MOST + 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let error =
            write_message(&mut sent, Kind::Message, &vec![0; MOST_MESSAGE + 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(sent.is_empty());
    }

    #[test]
    fn a_message_has_an_end() {
        let mut message = Message::default();
        let refused = (0..=MOST_MESSAGE / MOST)
            .find_map(|_| message.take(Kind::Part, vec![0; MOST]).err())
            .unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert!(Message::default().take(Kind::Bytes, Vec::new()).is_err());
    }
}
