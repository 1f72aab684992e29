//! Bytes that go with a message: one zstd stream, in frames.

use std::io::{self, BufRead, Read, Write as _};

use zstd::stream::{read::Decoder, write::Encoder};

use super::frame::{self, Kind};

/// How much is put into one frame, before it is sent.
const PIECE: usize = 256 << 10;

/// Fast enough that a gigabit link waits for nothing; text still becomes a fraction of itself.
const LEVEL: i32 = 1;

/// The largest window that is taken, as a power of two: 8 MiB is what a reader then needs.
const WINDOW_LOG: u32 = 23;

/// Takes frames.
pub(super) type FrameSink<'a> = dyn FnMut(Kind, Vec<u8>) -> io::Result<()> + 'a;

/// Sends bytes as frames.
pub(super) struct BytesWriter<'a> {
    encoder: Encoder<'static, Pieces<'a>>,
}

impl<'a> BytesWriter<'a> {
    pub(super) fn new(to: &'a mut FrameSink<'a>) -> io::Result<Self> {
        let pieces = Pieces { to, piece: Vec::new() };
        Ok(Self { encoder: Encoder::new(pieces, LEVEL)? })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.encoder.write_all(bytes)
    }

    /// Sends what is left, and the end.
    pub(super) fn finish(self) -> io::Result<()> {
        let mut pieces = self.encoder.finish()?;
        pieces.send()?;
        (pieces.to)(Kind::End, Vec::new())
    }
}

struct Pieces<'a> {
    to: &'a mut FrameSink<'a>,
    piece: Vec<u8>,
}

impl Pieces<'_> {
    fn send(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            (self.to)(Kind::Bytes, std::mem::take(&mut self.piece))?;
        }
        Ok(())
    }
}

impl io::Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            self.piece.reserve_exact(PIECE);
        }
        let length = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..length]);
        if self.piece.len() == PIECE {
            self.send()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads bytes that come as frames, to their end. Alive frames are passed over.
pub(super) struct FramedBytes<'a> {
    from: &'a mut dyn Read,
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
    /// A refusal came in place of the rest.
    Refused(Vec<u8>),
    /// The stream itself broke.
    Broken,
}

/// Why bytes were not decoded to their end.
#[derive(Debug)]
pub(super) enum DecodeError {
    /// What came is no zstd stream, or breaks off.
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
    pub(super) fn new(from: &'a mut dyn Read) -> Self {
        Self { from, piece: Vec::new(), at: 0, state: State::Going }
    }

    /// Decodes what comes.
    pub(super) fn decoder(&mut self) -> io::Result<Decoder<'static, &mut Self>> {
        let mut decoder = Decoder::with_buffer(self)?;
        decoder.window_log_max(WINDOW_LOG)?;
        Ok(decoder)
    }

    /// Hands what comes, decoded, to `to`, up to the end.
    pub(super) fn decode(
        &mut self,
        to: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), DecodeError> {
        let stream = |source| DecodeError::Stream { source };
        let mut decoder = self.decoder().map_err(stream)?;
        let mut buffer = vec![0; PIECE];
        loop {
            match decoder.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    to(&buffer[..length]).map_err(|source| DecodeError::Sink { source })?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(stream(error)),
            }
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
                State::Going => self.next_piece()?,
                State::Ended => return Ok(Rest::Ended),
                State::Refused(json) => return Ok(Rest::Refused(json)),
                State::Broken => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
    }

    fn next_piece(&mut self) -> io::Result<()> {
        let read = frame::read(self.from)
            .and_then(|frame| frame.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof)));
        let (kind, payload) = read.inspect_err(|_| self.state = State::Broken)?;
        match kind {
            Kind::Bytes => (self.piece, self.at) = (payload, 0),
            Kind::Alive => {}
            Kind::End => self.state = State::Ended,
            Kind::Refusal => self.state = State::Refused(payload),
            Kind::Message | Kind::Part => {
                self.state = State::Broken;
                let what = "a message where bytes were to come";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        Ok(())
    }
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
        while self.at == self.piece.len() && matches!(self.state, State::Going) {
            self.next_piece()?;
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
        framed.decoder()?.read_to_end(&mut bytes)?;
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
    fn an_end_without_bytes_is_no_stream() {
        assert_eq!(unframed(&framed(b"")).unwrap(), b"");
        // So ends what its sender gave up.
        let mut sent = Vec::new();
        frame::write(&mut sent, Kind::End, &[]).unwrap();
        assert_eq!(unframed(&sent).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_window_that_takes_too_much_memory_is_refused() {
        let mut encoder = Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.write_all(&vec![7; 20 << 20]).unwrap();
        let mut sent = Vec::new();
        for piece in encoder.finish().unwrap().chunks(PIECE) {
            frame::write(&mut sent, Kind::Bytes, piece).unwrap();
        }
        frame::write(&mut sent, Kind::End, &[]).unwrap();

        let error = unframed(&sent).unwrap_err();

        assert!(error.to_string().contains("too much memory"), "{error}");
    }
}
