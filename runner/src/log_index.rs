//! The log's index: which bytes of `std_log.txt` came from which stream, and when.
//!
//! A header of 8 bytes, then records of 24 bytes, all little-endian. Each record says where a
//! piece of the log ends; it begins where the one before ended. The data is written before its
//! record, so a reader may find data without a record (not described yet), and, after a power
//! cut, records without data or half a record: both are cut off.

/// The first bytes of an index: a name, then the version.
pub const HEADER: [u8; 8] = *b"TYLOGIX\x01";

/// The length of an encoded [`Record`].
pub const RECORD_BYTES: usize = 24;

/// One of the two streams a script writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where one piece of the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The offset in `std_log.txt` of the first byte after the piece.
    pub end: u64,
    /// When the supervisor read the piece, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Which stream it came from.
    pub stream: Stream,
}

impl Record {
    /// Returns the bytes that stand for this record.
    #[must_use]
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..8].copy_from_slice(&self.end.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes[16] = match self.stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        };
        bytes
    }

    /// Reads a record; `None` when the bytes are none, such as the zeros that a power cut leaves.
    #[must_use]
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let number = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(eight)
        };
        let stream = match bytes[16..] {
            [1, 0, 0, 0, 0, 0, 0, 0] => Stream::Stdout,
            [2, 0, 0, 0, 0, 0, 0, 0] => Stream::Stderr,
            _ => return None,
        };
        Some(Self { end: number(0), time_ns: number(8), stream })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_golden() {
        let record = Record { end: 0x0102, time_ns: 3, stream: Stream::Stderr };
        let expected = [2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(record.encode(), expected);
    }

    #[test]
    fn zeros_are_no_record() {
        assert_eq!(Record::decode(&[0; RECORD_BYTES]), None);
    }

    proptest! {
        #[test]
        fn records_come_back(end: u64, time_ns: u64, err: bool) {
            let stream = if err { Stream::Stderr } else { Stream::Stdout };
            let record = Record { end, time_ns, stream };
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }
    }
}
