//! Frames read ahead of whoever takes them.
//!
//! What comes over SSH waits in the SSH server until it is read, and the server lets no more come
//! than two megabytes. While a thread reads on, bytes are on their way during the time that those
//! before are checked and written.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::frame::{self, FrameSource, Kind};

/// How many frames are read ahead: eight megabytes of bytes, as they are sent.
const AHEAD: usize = 32;

/// The frames of a stream, of which a thread reads the next ones.
#[derive(Debug)]
pub(super) struct FramesAhead {
    frames: Receiver<io::Result<(Kind, Vec<u8>)>>,
}

impl FramesAhead {
    /// Begins to read. The thread goes when the stream ends, breaks or speaks otherwise than agreed,
    /// and, once this is dropped, with the next frame.
    pub(super) fn new(mut from: impl Read + Send + 'static) -> io::Result<Self> {
        let (ahead, frames) = sync_channel(AHEAD);
        let read_on = move || {
            while let Some(read) = frame::read(&mut from).transpose() {
                let is_last = read.is_err();
                if ahead.send(read).is_err() || is_last {
                    return;
                }
            }
        };
        thread::Builder::new().name("frames ahead".to_owned()).spawn(read_on)?;
        Ok(Self { frames })
    }
}

impl FrameSource for FramesAhead {
    fn next_frame(&mut self) -> io::Result<Option<(Kind, Vec<u8>)>> {
        self.frames.recv().ok().transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn frames_come_in_order_and_the_end_or_what_broke_after_them() {
        let mut sent = Vec::new();
        for number in 0..100_u8 {
            frame::write(&mut sent, Kind::Bytes, &[number]).unwrap();
        }
        for (cut, end) in [(sent.len(), None), (sent.len() - 1, Some(io::ErrorKind::UnexpectedEof))]
        {
            let mut frames = FramesAhead::new(io::Cursor::new(sent[..cut].to_vec())).unwrap();
            let whole = if end.is_none() { 100 } else { 99 };
            for number in 0..whole {
                assert_eq!(frames.next_frame().unwrap(), Some((Kind::Bytes, vec![number])));
            }
            assert_eq!(frames.next_frame().err().map(|error| error.kind()), end);
            assert_eq!(frames.next_frame().unwrap(), None, "it is over");
        }
    }

    #[test]
    fn more_comes_while_nothing_is_taken_but_not_without_limit() {
        let (from, mut to) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut frames = FramesAhead::new(from).unwrap();
        // The stream itself holds less than one of these frames.
        let payload = vec![7; frame::MOST];
        for _ in 0..AHEAD {
            frame::write(&mut to, Kind::Bytes, &payload).unwrap();
        }
        to.set_nonblocking(true).unwrap();
        let mut more = 0;
        while let Ok(written) = to.write(&payload) {
            more += written;
            assert!(more < 4 * frame::MOST, "it reads without limit");
        }
        drop(to);
        for _ in 0..AHEAD {
            assert_eq!(frames.next_frame().unwrap().unwrap().1, payload);
        }
    }
}
