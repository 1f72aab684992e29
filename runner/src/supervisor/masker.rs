//! Secrets are masked in the log, wherever the pieces of output happen to be cut.

use crate::supervisor::secret_forms::forms;

/// What stands in the log for a secret.
const MASK: &[u8] = b"***";

/// Replaces secrets in a stream of bytes.
///
/// What may be the beginning of a secret is held back until more bytes decide; nothing else is.
/// Where several secrets fit, the longest is replaced.
#[derive(Clone, Debug)]
pub(crate) struct Masker {
    secrets: Vec<Vec<u8>>,
    is_first: Box<[bool; 256]>,
    held: Vec<u8>,
}

/// What is at a place in the stream.
enum Found {
    /// A secret of this length.
    Secret(usize),
    /// Perhaps a secret: more bytes are needed.
    Perhaps,
    /// No secret.
    Nothing,
}

impl Masker {
    /// Masks each of `values` in all its forms. An empty one is nothing.
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut secrets: Vec<Vec<u8>> = values.into_iter().flat_map(forms).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        let mut is_first = Box::new([false; 256]);
        for secret in &secrets {
            is_first[usize::from(secret[0])] = true;
        }
        Self { secrets, is_first, held: Vec::new() }
    }

    /// Says whether there is anything to mask.
    pub(crate) fn is_idle(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Appends to `out` what is certain after `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.is_idle() {
            out.extend_from_slice(bytes);
        } else if self.held.is_empty() {
            let rest = self.mask(bytes, out);
            self.held.extend_from_slice(rest);
        } else {
            let mut all = std::mem::take(&mut self.held);
            all.extend_from_slice(bytes);
            let rest = self.mask(&all, out);
            self.held = rest.to_vec();
        }
    }

    /// Appends to `out` what was held back: the stream is over.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        let mut rest = held.as_slice();
        while let Some((&first, after)) = rest.split_first() {
            if let Some(secret) = self.secrets.iter().find(|secret| rest.starts_with(secret)) {
                out.extend_from_slice(MASK);
                rest = &rest[secret.len()..];
            } else {
                out.push(first);
                rest = after;
            }
        }
    }

    /// Appends what is certain and returns what is not.
    fn mask<'b>(&self, mut rest: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
        loop {
            let plain = rest.iter().position(|&byte| self.is_first[usize::from(byte)]);
            let plain = plain.unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            rest = &rest[plain..];
            if rest.is_empty() {
                return rest;
            }
            match self.at(rest) {
                Found::Secret(length) => {
                    out.extend_from_slice(MASK);
                    rest = &rest[length..];
                }
                Found::Perhaps => return rest,
                Found::Nothing => {
                    out.push(rest[0]);
                    rest = &rest[1..];
                }
            }
        }
    }

    /// Looks at the beginning of `rest`. Longer secrets come first, so the first that decides is
    /// the right one.
    fn at(&self, rest: &[u8]) -> Found {
        for secret in &self.secrets {
            if rest.starts_with(secret) {
                return Found::Secret(secret.len());
            }
            if rest.len() < secret.len() && secret.starts_with(rest) {
                return Found::Perhaps;
            }
        }
        Found::Nothing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(secrets: &[&[u8]], pieces: &[&[u8]]) -> Vec<u8> {
        let mut masker = Masker::new(secrets.iter().copied());
        let mut out = Vec::new();
        for piece in pieces {
            masker.push(piece, &mut out);
        }
        masker.finish(&mut out);
        out
    }

    #[test]
    fn a_secret_is_masked_at_every_split() {
        let text = b"token=hunter2, again hunter2hunter2 and hunter3\nhunter";
        let expected = b"token=***, again ****** and hunter3\nhunter";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(masked(&[b"hunter2"], &pieces), expected, "{first} {second}");
            }
        }
    }

    #[test]
    fn the_longest_secret_is_masked_at_every_split() {
        let text = b"abc abcdef abcde abcdefabc";
        let expected = b"*** *** ***de ******";
        for split in 0..=text.len() {
            let pieces = [&text[..split], &text[split..]];
            assert_eq!(masked(&[b"abc", b"abcdef"], &pieces), expected, "{split}");
        }
    }

    #[test]
    fn only_what_may_be_a_secret_is_held_back() {
        let mut masker = Masker::new([b"hunter2".as_slice()]);
        let mut out = Vec::new();

        masker.push(b"loss 0.5 hunt", &mut out);
        assert_eq!(out, b"loss 0.5 ");
        masker.push(b"ing", &mut out);
        assert_eq!(out, b"loss 0.5 hunting");
    }

    #[test]
    fn a_secret_of_several_lines_is_masked_line_by_line_too() {
        let key: &[u8] = b"-----BEGIN-----\nc2VjcmV0c2VjcmV0\n}\n";

        assert_eq!(masked(&[key], &[key]), b"***");
        assert_eq!(masked(&[key], &[b"> c2VjcmV0c2VjcmV0\r\n}"]), b"> ***\r\n}");
    }

    #[test]
    fn an_empty_secret_masks_nothing() {
        assert_eq!(masked(&[b""], &[b"abc"]), b"abc");
    }

    proptest! {
        #[test]
        fn the_cut_makes_no_difference(
            secrets in proptest::collection::vec("[ab]{1,6}", 1..4),
            text in "[abc]{0,40}",
            cuts in proptest::collection::vec(0usize..41, 0..6),
        ) {
            let secrets: Vec<&[u8]> = secrets.iter().map(String::as_bytes).collect();
            let text = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();

            let out = masked(&secrets, &pieces);

            prop_assert_eq!(&out, &masked(&secrets, &[text]));
            for secret in secrets {
                prop_assert!(memchr::memmem::find(&out, secret).is_none());
            }
        }
    }
}
