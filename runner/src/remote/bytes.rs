//! Bytes that go with a message: pieces in frames, each compressed by itself where that pays.
//!
//! A piece in a `Bytes` frame may be as large as any payload; in a `Packed` one it has [`PIECE`]
//! bytes at most.

use std::io::{self, BufRead, Read};

use zstd::bulk::{Compressor, Decompressor};

use super::frame::{FrameSource, Kind};

/// How much is put into one frame, before it is compressed. A reader takes no more of a
/// compressed one either.
pub(super) const PIECE: usize = 256 << 10;

/// Fast enough that a gigabit link waits for nothing; text still becomes a fraction of itself.
const LEVEL: i32 = 1;

/// Takes frames.
pub(super) type FrameSink<'a> = dyn FnMut(Kind, Vec<u8>) -> io::Result<()> + 'a;

/// Sends bytes as frames.
pub(super) struct BytesWriter<'a> {
    to: &'a mut FrameSink<'a>,
    compressor: Compressor<'static>,
    piece: Vec<u8>,
    hope: Hope,
}

/// Whether it is worth trying to compress the next piece.
///
/// A file that does not compress is tried again ever more seldom: what is in vain costs as much
/// time as what is not.
#[derive(Debug, Default)]
struct Hope {
    /// How many pieces are passed over before the next is tried.
    left: u32,
    /// How many were passed over the last time.
    gap: u32,
}

impl Hope {
    /// At most 4 MB of something that would have compressed are sent as they are.
    const MOST: u32 = 15;

    /// Says whether the next piece is to be tried.
    fn tries(&mut self) -> bool {
        let tries = self.left == 0;
        self.left = self.left.saturating_sub(1);
        tries
    }

    /// Hears what came of it.
    fn hears(&mut self, gained: bool) {
        self.gap = if gained { 0 } else { (2 * self.gap + 1).min(Self::MOST) };
        self.left = self.gap;
    }
}

impl<'a> BytesWriter<'a> {
    pub(super) fn new(to: &'a mut FrameSink<'a>) -> io::Result<Self> {
        let compressor = Compressor::new(LEVEL)?;
        Ok(Self { to, compressor, piece: Vec::new(), hope: Hope::default() })
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.piece.reserve_exact(PIECE - self.piece.len());
            let (now, after) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = after;
            if self.piece.len() == PIECE {
                let piece = std::mem::take(&mut self.piece);
                self.send(piece)?;
            }
        }
        Ok(())
    }

    /// Sends a piece of at most [`PIECE`] bytes.
    pub(super) fn send(&mut self, piece: Vec<u8>) -> io::Result<()> {
        if !self.hope.tries() {
            return (self.to)(Kind::Bytes, piece);
        }
        let packed = self.compressor.compress(&piece)?;
        let gained = packed.len() < piece.len();
        self.hope.hears(gained);
        if gained { (self.to)(Kind::Packed, packed) } else { (self.to)(Kind::Bytes, piece) }
    }

    /// Sends what is left, and the end.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            let piece = std::mem::take(&mut self.piece);
            self.send(piece)?;
        }
        (self.to)(Kind::End, Vec::new())
    }
}

/// Reads bytes that come as frames, to their end. Alive frames are passed over.
pub(super) struct FramedBytes<'a> {
    from: &'a mut dyn FrameSource,
    piece: Vec<u8>,
    /// How much of the piece was read.
    at: usize,
    state: State,
}

/// How far a [`FramedBytes`] came.
#[derive(Debug)]
enum State {
    Going,
    Ended,
    /// Whoever sent them gave up: what came is not all.
    Cut,
    /// A refusal came in place of the rest.
    Refused(Vec<u8>),
    /// The stream itself broke.
    Broken,
}

/// Why bytes were not read to their end.
#[derive(Debug)]
pub(super) enum DecodeError {
    /// What came cannot be decompressed, or breaks off.
    Stream { source: io::Error },
    /// Whoever they were for did not take them.
    Sink { source: io::Error },
}

/// What came in place of the rest of the bytes.
#[derive(Debug)]
pub(super) enum Rest {
    /// Nothing: the bytes are at their end.
    Ended,
    /// A refusal, as JSON.
    Refused(Vec<u8>),
}

impl<'a> FramedBytes<'a> {
    pub(super) fn new(from: &'a mut dyn FrameSource) -> Self {
        Self { from, piece: Vec::new(), at: 0, state: State::Going }
    }

    /// Hands what comes to `to`, up to the end.
    pub(super) fn decode(
        &mut self,
        to: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), DecodeError> {
        loop {
            let piece = self.fill_buf().map_err(|source| DecodeError::Stream { source })?;
            let length = piece.len();
            if length == 0 {
                return Ok(());
            }
            to(piece).map_err(|source| DecodeError::Sink { source })?;
            self.consume(length);
        }
    }

    /// Says whether the stream itself broke, or spoke otherwise than agreed.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.state, State::Broken)
    }

    /// Passes over what is left of the bytes.
    pub(super) fn drain(mut self) -> io::Result<Rest> {
        loop {
            match self.state {
                State::Going => drop(self.next_frame()?),
                State::Ended | State::Cut => return Ok(Rest::Ended),
                State::Refused(json) => return Ok(Rest::Refused(json)),
                State::Broken => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
    }

    /// Takes the next frame, and returns the piece that it holds.
    fn next_frame(&mut self) -> io::Result<Option<(Kind, Vec<u8>)>> {
        let read = self
            .from
            .next_frame()
            .and_then(|frame| frame.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof)));
        let (kind, payload) = read.inspect_err(|_| self.state = State::Broken)?;
        match kind {
            Kind::Bytes | Kind::Packed => return Ok(Some((kind, payload))),
            Kind::Alive => {}
            Kind::End => self.state = State::Ended,
            Kind::Cut => self.state = State::Cut,
            Kind::Refusal => self.state = State::Refused(payload),
            Kind::Message | Kind::Part => {
                self.state = State::Broken;
                let what = "a message where bytes were to come";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        Ok(None)
    }
}

/// Decompresses a piece: nobody has to be believed more memory than one takes.
fn unpacked(packed: &[u8]) -> io::Result<Vec<u8>> {
    let unpacked = Decompressor::new()?.decompress(packed, PIECE);
    unpacked.map_err(|error| {
        let what = format!("a piece that cannot be decompressed: {error}");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

impl Read for FramedBytes<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for FramedBytes<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.piece.len() {
            match self.state {
                State::Going => {}
                State::Cut => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => return Ok(&[]),
            }
            let Some((kind, payload)) = self.next_frame()? else { continue };
            self.piece = if kind == Kind::Packed { unpacked(&payload)? } else { payload };
            self.at = 0;
        }
        Ok(&self.piece[self.at..])
    }

    fn consume(&mut self, length: usize) {
        self.at += length;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::remote::frame;

    fn framed(bytes: &[u8]) -> Vec<u8> {
        let mut sent = Vec::new();
        let mut sink = |kind: Kind, payload: Vec<u8>| {
            frame::write(&mut sent, Kind::Alive, &[])?;
            frame::write(&mut sent, kind, &payload)
        };
        let mut writer = BytesWriter::new(&mut sink).unwrap();
        for piece in bytes.chunks(70_000) {
            writer.write(piece).unwrap();
        }
        writer.finish().unwrap();
        sent
    }

    fn unframed(mut sent: &[u8]) -> io::Result<Vec<u8>> {
        let mut framed = FramedBytes::new(&mut sent);
        let mut bytes = Vec::new();
        framed.read_to_end(&mut bytes)?;
        framed.drain()?;
        Ok(bytes)
    }

    proptest! {
        #[test]
        fn bytes_come_back(seed: u64, length in 0..2_000_000_usize) {
            // What cannot be compressed takes several frames.
            let mut state = seed | 1;
            let mut bytes = Vec::with_capacity(length + 8);
            while bytes.len() < length {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.extend(state.to_le_bytes());
            }
            bytes.truncate(length);

            let sent = framed(&bytes);

            prop_assert_eq!(unframed(&sent).unwrap(), bytes);
            let cut = usize::try_from(seed % sent.len() as u64).unwrap();
            prop_assert!(unframed(&sent[..cut]).is_err());
        }
    }

    #[test]
    fn what_compresses_is_compressed_and_what_does_not_is_sent_as_it_is() {
        let sizes = |bytes: &[u8]| {
            let mut kinds = Vec::new();
            let mut sink = |kind: Kind, payload: Vec<u8>| {
                kinds.push((kind, payload.len()));
                Ok(())
            };
            let mut writer = BytesWriter::new(&mut sink).unwrap();
            writer.write(bytes).unwrap();
            writer.finish().unwrap();
            kinds
        };
        let noise: Vec<u8> = (0..PIECE / 8 + 1).flat_map(|_| rand::random::<[u8; 8]>()).collect();
        assert_eq!(sizes(&noise), [(Kind::Bytes, PIECE), (Kind::Bytes, 8), (Kind::End, 0)]);
        let [(Kind::Packed, length), (Kind::End, 0)] = sizes(&[7; PIECE])[..] else { panic!() };
        assert!(length < 100, "{length}");
    }

    #[test]
    fn what_does_not_compress_is_tried_ever_more_seldom_and_what_does_at_once() {
        let mut hope = Hope::default();
        let mut tried = |pieces: u32, compresses: bool| -> Vec<u32> {
            let tries = |_: &u32| {
                let tries = hope.tries();
                if tries {
                    hope.hears(compresses);
                }
                tries
            };
            (0..pieces).filter(tries).collect()
        };

        assert_eq!(tried(60, false), [0, 2, 6, 14, 30, 46]);
        let again = tried(20, true);
        assert!(again[0] <= Hope::MOST && again.len() == 20 - again[0] as usize, "{again:?}");
        assert_eq!(tried(3, false), [0, 2]);
    }

    #[test]
    fn what_its_sender_gave_up_is_not_taken_for_the_end() {
        assert_eq!(unframed(&framed(b"")).unwrap(), b"");
        let mut sent = Vec::new();
        frame::write(&mut sent, Kind::Bytes, b"some").unwrap();
        frame::write(&mut sent, Kind::Cut, &[]).unwrap();
        assert_eq!(unframed(&sent).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_piece_that_takes_too_much_memory_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; PIECE + 1], LEVEL).unwrap();
        for payload in [&bomb[..], b"no zstd", &bomb[..bomb.len() / 2]] {
            let mut sent = Vec::new();
            frame::write(&mut sent, Kind::Packed, payload).unwrap();
            frame::write(&mut sent, Kind::End, &[]).unwrap();
            let error = unframed(&sent).unwrap_err();
            assert!(error.to_string().contains("cannot be decompressed"), "{error}");
        }
    }
}
