//! The header before each object, to and from its bytes.

use crate::digest::Digest;

/// The first bytes of every pack, with the version.
pub(crate) const MAGIC: &[u8; 17] = b"trainyard pack 1\n";

/// The length of an object's header.
pub(crate) const HEADER_BYTES: usize = 1 + 32 + 8 + 8;

/// The first byte of the end marker, where an encoding would be.
pub(crate) const END: u8 = 0;

/// How an object's bytes are kept in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Plain,
    /// As one zstd frame.
    Zstd,
}

impl Encoding {
    /// Returns the encoding's number in packs and indexes.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Plain => 1,
            Self::Zstd => 2,
        }
    }

    /// Returns the encoding of that number, if there is one.
    pub(crate) const fn of_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Plain),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// What stands before an object's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryHeader {
    pub(crate) encoding: Encoding,
    pub(crate) digest: Digest,
    pub(crate) length: u64,
    pub(crate) stored: u64,
}

impl EntryHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = self.encoding.number();
        bytes[1..33].copy_from_slice(self.digest.as_bytes());
        bytes[33..41].copy_from_slice(&self.length.to_le_bytes());
        bytes[41..49].copy_from_slice(&self.stored.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` for an unknown encoding or a plain object with two lengths.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let header = Self {
            encoding: Encoding::of_number(bytes[0])?,
            digest: Digest::from_bytes(array(&bytes[1..33])),
            length: u64::from_le_bytes(array(&bytes[33..41])),
            stored: u64::from_le_bytes(array(&bytes[41..49])),
        };
        let honest = header.encoding != Encoding::Plain || header.length == header.stored;
        honest.then_some(header)
    }
}

/// Returns the bytes that end a pack of `count` objects.
pub(crate) fn end_marker(count: u64) -> [u8; 9] {
    let mut bytes = [END; 9];
    bytes[1..].copy_from_slice(&count.to_le_bytes());
    bytes
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}
