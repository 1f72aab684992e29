//! Where each object of a pack is: a sorted table with a fan-out, searched in memory.
//!
//! Version 1:
//!
//! ```text
//! "trainyard index 1\n"                   magic and version
//! pack length   u64 LE                    of the pack file this is the index of
//! fan-out       256 × u32 LE              entries whose digest's first byte is at most n
//! per object, by ascending digest:
//!     digest    32 bytes
//!     offset    u64 LE                    of the object's header in the pack
//!     length    u32 LE
//!     stored    u32 LE
//!     encoding  u8
//! checksum      32 bytes                  SHA-256 of everything before it
//! ```

use crate::archive::{Encoding, HEADER_BYTES};
use crate::digest::Digest;

const MAGIC: &[u8; 18] = b"trainyard index 1\n";
const FAN_OUT: usize = MAGIC.len() + 8;
const TABLE: usize = FAN_OUT + 256 * 4;
const ENTRY: usize = 32 + 8 + 4 + 4 + 1;
const CHECKSUM: usize = 32;

/// An index's bytes, checked, searched in place.
pub(super) struct PackIndex {
    bytes: Vec<u8>,
}

/// Where an object's bytes are in a pack, and how they are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The offset of the object's header.
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) stored: u32,
    pub(crate) encoding: Encoding,
}

impl Location {
    /// Returns the offset of the object's first stored byte.
    pub(crate) fn content(&self) -> u64 {
        self.offset + HEADER_BYTES as u64
    }

    /// Returns the offset after the object's last stored byte.
    pub(crate) fn end(&self) -> u64 {
        self.content() + u64::from(self.stored)
    }
}

impl PackIndex {
    /// Makes the index of a pack of `pack_length` bytes; of an object that is in the pack twice,
    /// the first copy counts.
    pub(super) fn new(mut entries: Vec<(Digest, Location)>, pack_length: u64) -> Self {
        entries.sort_unstable_by_key(|(digest, location)| (*digest, location.offset));
        entries.dedup_by_key(|(digest, _)| *digest);
        let mut bytes = Vec::with_capacity(TABLE + entries.len() * ENTRY + CHECKSUM);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&pack_length.to_le_bytes());
        let mut at = 0u32;
        let mut rest = entries.iter().peekable();
        for first in 0..=255u8 {
            while rest.next_if(|(digest, _)| digest.as_bytes()[0] == first).is_some() {
                at += 1;
            }
            bytes.extend_from_slice(&at.to_le_bytes());
        }
        for (digest, location) in &entries {
            bytes.extend_from_slice(digest.as_bytes());
            bytes.extend_from_slice(&location.offset.to_le_bytes());
            bytes.extend_from_slice(&location.length.to_le_bytes());
            bytes.extend_from_slice(&location.stored.to_le_bytes());
            bytes.push(location.encoding.number());
        }
        let checksum = Digest::of(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        Self { bytes }
    }

    /// Takes an index from its file's bytes; `None` when they are not the sound index of a pack
    /// of `pack_length` bytes.
    pub(super) fn decode(bytes: Vec<u8>, pack_length: u64) -> Option<Self> {
        let table = bytes.len().checked_sub(TABLE + CHECKSUM)?;
        let index = Self { bytes };
        let (body, checksum) = index.bytes.split_at(TABLE + table);
        let sound = body.starts_with(MAGIC)
            && body[MAGIC.len()..FAN_OUT] == pack_length.to_le_bytes()
            && Digest::of(body).as_bytes().as_slice() == checksum
            && index.len() * ENTRY == table;
        let mut fans = (0..256).map(|first| index.fan(first));
        let ordered =
            fans.try_fold(0, |last, fan| (last <= fan).then_some(fan)) == Some(index.len());
        (sound && ordered).then_some(index)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns how many objects the pack has.
    pub(super) fn len(&self) -> usize {
        self.fan(255)
    }

    pub(super) fn pack_length(&self) -> u64 {
        u64::from_le_bytes(array(&self.bytes[MAGIC.len()..]))
    }

    /// Returns where the object is, if the pack has it.
    pub(super) fn find(&self, digest: &Digest) -> Option<Location> {
        let first = usize::from(digest.as_bytes()[0]);
        let mut low = if first == 0 { 0 } else { self.fan(first - 1) };
        let mut high = self.fan(first);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.row(middle)[..32].cmp(digest.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.location(middle),
            }
        }
        None
    }

    /// Returns every object with its place, by ascending digest.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Digest, Location)> {
        (0..self.len())
            .filter_map(|at| Some((Digest::from_bytes(array(self.row(at))), self.location(at)?)))
    }

    fn location(&self, at: usize) -> Option<Location> {
        let row = self.row(at);
        Some(Location {
            offset: u64::from_le_bytes(array(&row[32..])),
            length: u32::from_le_bytes(array(&row[40..])),
            stored: u32::from_le_bytes(array(&row[44..])),
            encoding: Encoding::of_number(row[48])?,
        })
    }

    fn row(&self, at: usize) -> &[u8] {
        &self.bytes[TABLE + at * ENTRY..][..ENTRY]
    }

    fn fan(&self, first: usize) -> usize {
        u32::from_le_bytes(array(&self.bytes[FAN_OUT + first * 4..])) as usize
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}
