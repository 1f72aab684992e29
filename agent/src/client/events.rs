//! Server-sent events, from bytes that come in pieces.

/// An event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RawEvent {
    /// What it is called; empty if it has no name.
    pub(super) name: String,
    /// Its data; lines are joined by newlines.
    pub(super) data: Vec<u8>,
}

/// Reads events as the HTML standard says.
#[derive(Debug, Default)]
pub(super) struct EventParser {
    buffer: Vec<u8>,
    /// Where in the buffer the first line begins that was not taken.
    start: usize,
    /// Up to where the buffer was searched for the end of that line.
    searched: usize,
    event: RawEvent,
    has_data: bool,
}

impl EventParser {
    /// Adds bytes of the stream.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next whole event, if there is one.
    pub(super) fn next(&mut self) -> Option<RawEvent> {
        loop {
            let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
                self.searched = self.buffer.len();
                return None;
            };
            let end = self.searched + at;
            let line = &self.buffer[self.start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                self.start = end + 1;
                self.searched = end + 1;
                let event = std::mem::take(&mut self.event);
                if std::mem::take(&mut self.has_data) {
                    return Some(event);
                }
                continue;
            }
            let (field, value) = match memchr::memchr(b':', line) {
                Some(colon) => (&line[..colon], &line[colon + 1..]),
                None => (line, &b""[..]),
            };
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match field {
                b"event" => self.event.name = String::from_utf8_lossy(value).into_owned(),
                b"data" => {
                    if self.has_data {
                        self.event.data.push(b'\n');
                    }
                    self.event.data.extend_from_slice(value);
                    self.has_data = true;
                }
                // Comments keep the connection alive; ids are in the data as well.
                _ => {}
            }
            self.start = end + 1;
            self.searched = end + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &[u8] = b": hello\n\nevent: log\nid: 5\ndata: {\"a\":1}\n\nevent: end\r\ndata:x\r\ndata: y\r\n\r\nevent: nothing\n\nevent: cut\ndata: z\n";

    fn events(pieces: &[&[u8]]) -> Vec<RawEvent> {
        let mut parser = EventParser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.feed(piece);
            while let Some(event) = parser.next() {
                events.push(event);
            }
        }
        events
    }

    fn event(name: &str, data: &[u8]) -> RawEvent {
        RawEvent { name: name.to_owned(), data: data.to_vec() }
    }

    #[test]
    fn only_whole_events_with_data_are_events() {
        let expected = [event("log", b"{\"a\":1}"), event("end", b"x\ny")];
        assert_eq!(events(&[STREAM]), expected);
    }

    proptest! {
        #[test]
        fn a_stream_may_be_cut_anywhere(a in 0..STREAM.len(), b in 0..STREAM.len()) {
            let (a, b) = (a.min(b), a.max(b));
            let pieces = [&STREAM[..a], &STREAM[a..b], &STREAM[b..]];
            prop_assert_eq!(events(&pieces), events(&[STREAM]));
        }
    }
}
