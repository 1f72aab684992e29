//! Packs: many objects in one stream, each with its digest and length.
//!
//! The same form is used on the wire and for the pack files of a store, version 1:
//!
//! ```text
//! "trainyard pack 1\n"                            magic and version
//! per object:
//!     encoding   u8      1 as it is, 2 one zstd frame
//!     digest     32 bytes, of the object's own bytes
//!     length     u64 LE, of the object's own bytes
//!     stored     u64 LE, of the bytes that follow (equal to `length` for encoding 1)
//!     bytes
//! end marker:
//!     0          u8
//!     count      u64 LE, of the objects before it
//! ```
//!
//! What comes over a wire may be anything: [`ArchiveReader`] holds no more than the size of a
//! small object in memory, checks every digest of those, and ends at the first byte that is wrong.

mod entry;
mod reader;
mod writer;

use std::io;

pub use entry::Encoding;
pub(crate) use entry::{EntryHeader, HEADER_BYTES, MAGIC, end_marker};
pub use reader::{ArchiveReader, ArchivedObject, Content, Limits};
pub use writer::ArchiveWriter;
pub(crate) use writer::compressed;

use crate::digest::Digest;

/// Why a stream is not a pack, or not one that is taken.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The first bytes are not those of a pack of a version that is known here.
    #[error("not a pack of objects, or one of a version not known to this program")]
    Version,
    /// The stream ends before the pack does. What came before is sound.
    #[error("the pack ends in the middle, after {objects} objects")]
    Truncated {
        /// How many whole objects came before.
        objects: u64,
    },
    /// Something in the pack contradicts itself.
    #[error("malformed pack: {what}, after {objects} objects")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// How many whole objects came before.
        objects: u64,
    },
    /// The pack has more of something than is taken.
    #[error("the pack has more than {most} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The most that is taken.
        most: u64,
    },
    /// An object has not the digest that the pack says.
    #[error("content said to be {expected} is {actual}")]
    Mismatch {
        /// The digest that was said.
        expected: Digest,
        /// The digest it has.
        actual: Digest,
    },
    /// The stream cannot be read.
    #[error("cannot read a pack, after {objects} objects")]
    Read {
        /// How many whole objects came before.
        objects: u64,
        /// What the stream answered.
        source: io::Error,
    },
}

impl ArchiveError {
    /// Returns whether the stream broke off, as opposed to being wrong: then what came is sound,
    /// and asking again for the rest makes sense.
    #[must_use]
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::Read { .. })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::LARGE_OBJECT_BYTES;

    fn pack(objects: &[&[u8]], encoding: Encoding) -> Vec<u8> {
        let mut writer = ArchiveWriter::new(Vec::new()).unwrap();
        for bytes in objects {
            writer.add(Digest::of(bytes), bytes, encoding).unwrap();
        }
        writer.finish().unwrap()
    }

    /// Reads a pack to its end, large objects too, and returns what was in it.
    fn unpack(bytes: &[u8], limits: Limits) -> Result<Vec<(Digest, Vec<u8>)>, ArchiveError> {
        let mut reader = ArchiveReader::new(bytes, limits)?;
        let mut objects = Vec::new();
        while let Some(object) = reader.next()? {
            let mut content = Vec::new();
            match object.content {
                Content::Bytes(bytes) => content = bytes,
                Content::Stream(mut stream) => {
                    io::Read::read_to_end(&mut stream, &mut content)
                        .map_err(|source| ArchiveError::Read { objects: 0, source })?;
                }
            }
            objects.push((object.digest, content));
        }
        Ok(objects)
    }

    /// Golden digests: a change here is a change of what every store and every wire holds.
    #[test]
    fn golden_bytes() {
        insta::assert_snapshot!(pack(&[b"a"], Encoding::Plain).escape_ascii(), @"trainyard pack 1\\n\\x01\\xca\\x97\\x81\\x12\\xca\\x1b\\xbd\\xca\\xfa\\xc21\\xb3\\x9a#\\xdcM\\xa7\\x86\\xef\\xf8\\x14|Nr\\xb9\\x80w\\x85\\xaf\\xeeH\\xbb\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00a\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00");
        let objects: [&[u8]; 3] = [b"", b"abc", &[b'x'; 1000]];
        insta::assert_snapshot!(Digest::of(&pack(&objects, Encoding::Plain)), @"a0d5fcba18c6b7a8826dd0e30ba8af7912ea64b3713c98e1f7def7e9c130d272");
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let large: Vec<u8> =
            (0..LARGE_OBJECT_BYTES).step_by(8).flat_map(u64::to_le_bytes).collect();
        let objects: [&[u8]; 4] = [b"", b"abc", &[b'x'; 1000], &large];
        for encoding in [Encoding::Plain, Encoding::Zstd] {
            let unpacked = unpack(&pack(&objects, encoding), Limits::default()).unwrap();
            assert!(unpacked.iter().map(|(_, bytes)| bytes.as_slice()).eq(objects));
            assert!(unpacked.iter().all(|(digest, bytes)| Digest::of(bytes) == *digest));
        }
        let compressed = pack(&objects, Encoding::Zstd).len();
        assert!(compressed < pack(&objects, Encoding::Plain).len());
    }

    #[test]
    fn each_limit_is_kept() {
        let bytes = pack(&[b"abc", b"de"], Encoding::Plain);
        let limits = Limits { object_bytes: 3, total_bytes: 5, objects: 2 };
        assert_eq!(unpack(&bytes, limits).unwrap().len(), 2);
        for (limits, what) in [
            (Limits { object_bytes: 2, ..limits }, "bytes in one object"),
            (Limits { total_bytes: 4, ..limits }, "bytes in all"),
            (Limits { objects: 1, ..limits }, "objects"),
        ] {
            let refused = unpack(&bytes, limits);
            assert!(
                matches!(refused, Err(ArchiveError::Limit { what: named, .. }) if named == what)
            );
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let zeros = vec![0; 3 << 20];
        let stored = zstd::bulk::compress(&zeros, 19).unwrap();
        let header = EntryHeader {
            encoding: Encoding::Zstd,
            digest: Digest::of(&zeros),
            length: zeros.len() as u64,
            stored: stored.len() as u64,
        };
        let bytes = [MAGIC.as_slice(), &header.encode(), &stored, &end_marker(1)].concat();
        let refused = unpack(&bytes, Limits::default());
        assert!(matches!(refused, Err(ArchiveError::Limit { .. })));

        // Our own writer keeps such an object as it is.
        assert_eq!(unpack(&pack(&[&zeros], Encoding::Zstd), Limits::default()).unwrap().len(), 1);
    }

    #[test]
    fn every_cut_is_an_interruption_and_bytes_behind_the_end_are_not() {
        let mut bytes = pack(&[b"abc", b"", b"de"], Encoding::Plain);
        for cut in 0..bytes.len() {
            let error = unpack(&bytes[..cut], Limits::default()).unwrap_err();
            assert!(error.is_interruption(), "cut at {cut}: {error}");
        }
        bytes.push(0);
        let error = unpack(&bytes, Limits::default()).unwrap_err();
        assert!(matches!(error, ArchiveError::Malformed { .. }));
    }

    proptest! {
        #[test]
        fn no_mutation_of_a_pack_passes_or_panics(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            compressed: bool,
            large: bool,
        ) {
            let big = vec![7; if large { 4 << 20 } else { 1 }];
            let encoding = if compressed { Encoding::Zstd } else { Encoding::Plain };
            let sound = pack(&[b"abc", &[b'x'; 300], &big, b"z"], encoding);
            let mut bytes = sound.clone();
            // Headers are where it hurts.
            let within = bytes.len().min(600);
            for (at, value) in changes {
                bytes[at.index(within)] = value;
            }
            match unpack(&bytes, Limits::default()) {
                // Only the bytes of a large object are not checked here.
                Ok(objects) => for (digest, content) in objects {
                    let checked = (content.len() as u64) < LARGE_OBJECT_BYTES;
                    prop_assert!(!checked || Digest::of(&content) == digest);
                },
                Err(_) => prop_assert_ne!(bytes, sound),
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            let _refused = unpack(&[MAGIC.as_slice(), &bytes].concat(), Limits::default());
            prop_assert!(unpack(&bytes, Limits::default()).is_err());
        }
    }
}
