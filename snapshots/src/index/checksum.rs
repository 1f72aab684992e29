//! A checksum against torn and rotten index files: fast, and no defence against anybody.

/// Odd 64-bit constants without a pattern: the fractional parts of the square roots of 2, 3, 5, 7.
const FACTORS: [u64; 4] =
    [0x6a09_e667_f3bc_c909, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b, 0xa54f_f53a_5f1d_36f1];

/// Returns the checksum of `bytes` at `place`: the same bytes elsewhere have another one.
pub(super) fn checksum(place: u64, bytes: &[u8]) -> u64 {
    // Four chains, so that the processor multiplies for all of them at a time.
    let mut chains = FACTORS.map(|factor| place ^ factor);
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (chain, word) in chains.iter_mut().zip(words) {
            *chain = step(*chain, u64::from_le_bytes(*word));
        }
    }
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    for (chain, word) in chains.iter_mut().zip(last.as_chunks::<8>().0) {
        *chain = step(*chain, u64::from_le_bytes(*word));
    }
    chains.into_iter().fold(bytes.len() as u64, step)
}

fn step(chain: u64, word: u64) -> u64 {
    let mixed = (chain ^ word).wrapping_mul(FACTORS[0]);
    mixed.rotate_left(29) ^ (mixed >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_the_length_and_the_place_count() {
        let bytes: Vec<u8> = (0..77).collect();
        let whole = checksum(1, &bytes);
        assert_ne!(checksum(2, &bytes), whole);
        assert_ne!(checksum(1, &[&bytes[..], &[0]].concat()), whole);
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert_ne!(checksum(1, &flipped), whole, "bit {at}");
        }
    }
}
