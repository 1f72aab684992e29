//! The log of a build, told apart: what people read, and lines of progress.

use images::progress::{Progress, Unit};

use super::measure;

/// How every line of progress begins.
const BEGIN: &[u8] = b"progress ";

/// A line that is longer is not about progress.
const LONGEST: usize = 4 << 10;

/// Takes the lines of progress out of a log that comes in pieces. All other bytes stay as they are.
#[derive(Debug, Default)]
pub(crate) struct BuildLog {
    /// The beginning of a line that may be about progress.
    open: Vec<u8>,
    /// Whether a line has begun that is not.
    in_text: bool,
}

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes as they came.
    Text(Vec<u8>),
    /// How far something is.
    Progress(Progress),
}

impl BuildLog {
    /// Takes the next bytes and returns what is known of them by now.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends = part.ends_with(b"\n");
            if self.in_text {
                push(&mut pieces, part);
                self.in_text = !ends;
                continue;
            }
            self.open.extend_from_slice(part);
            let common = self.open.len().min(BEGIN.len());
            let may_be = self.open[..common] == BEGIN[..common] && self.open.len() <= LONGEST;
            if !ends && may_be {
                continue;
            }
            let line = std::mem::take(&mut self.open);
            self.in_text = !ends;
            match std::str::from_utf8(&line).ok().filter(|_| ends).and_then(Progress::parse) {
                Some(progress) => pieces.push(Piece::Progress(progress)),
                None => push(&mut pieces, &line),
            }
        }
        pieces
    }

    /// Returns what is left at the end: the beginning of a line.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.open)
    }

    /// Returns a whole log as people read it: without lines of progress but the last of each row
    /// of them, as [`done`] tells it.
    pub(crate) fn readable(bytes: &[u8]) -> Vec<u8> {
        let mut log = Self::default();
        let mut text = Vec::new();
        let mut last = None;
        for piece in log.feed(bytes) {
            match piece {
                Piece::Progress(progress) => last = Some(progress),
                Piece::Text(bytes) => {
                    text.extend(last.take().iter().flat_map(|last| done(last).into_bytes()));
                    text.extend(bytes);
                }
            }
        }
        text.extend(last.iter().flat_map(|last| done(last).into_bytes()));
        text.extend(log.finish());
        text
    }
}

/// Puts text together that belongs together.
fn push(pieces: &mut Vec<Piece>, bytes: &[u8]) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.extend_from_slice(bytes),
        _ => pieces.push(Piece::Text(bytes.to_vec())),
    }
}

/// Returns the one line that tells of progress where nobody watched it; nothing where the log has
/// told it already.
pub(crate) fn done(progress: &Progress) -> String {
    if progress.is_announced() {
        return String::new();
    }
    format!("{}, {}\n", progress.what, share(progress))
}

/// Returns `45 MB of 120 MB` or `3 of 7 steps`.
pub(crate) fn share(progress: &Progress) -> String {
    let Progress { done, total, unit, .. } = progress;
    match unit {
        Unit::Bytes if done == total => measure::size(*done),
        Unit::Bytes => format!("{} of {}", measure::size(*done), measure::size(*total)),
        Unit::Steps => format!("{done} of {}", measure::count(*total, "step")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOG: &str = "Step 1\nprogress 1/2 bytes: Pulling a\nprogress 2/2 bytes: Pulling a\n\
                       progressive\nprogress 1/3 steps: Building\n";

    #[test]
    fn a_log_is_read_without_its_progress_but_for_the_last() {
        let text = String::from_utf8(BuildLog::readable(LOG.as_bytes())).unwrap();
        insta::assert_snapshot!(text, @r#"
        Step 1
        Pulling a, 2 B
        progressive
        Building, 1 of 3 steps
        "#);
    }

    #[test]
    fn a_step_of_an_image_is_told_once() {
        let log = b"Step 1/2: FROM a\nprogress 0/2 steps: Step 1/2: FROM a\nStep 2/2: RUN b\n\
                    progress 1/2 steps: Step 2/2: RUN b\nsaid\nprogress 2/2 steps: Step 2/2: RUN b\n";
        let text = String::from_utf8(BuildLog::readable(log)).unwrap();
        assert_eq!(text, "Step 1/2: FROM a\nStep 2/2: RUN b\nsaid\n");
    }

    #[test]
    fn what_only_looks_like_progress_stays() {
        for text in ["progress", "progress 1/2 bytes: cut", "progress of\n", "é progress 1"] {
            assert_eq!(BuildLog::readable(text.as_bytes()), text.as_bytes(), "{text:?}");
        }
        let long = [BEGIN, &[b'x'; 2 * LONGEST]].concat();
        let mut log = BuildLog::default();
        assert_eq!(log.feed(&long), [Piece::Text(long.clone())]);
        assert_eq!(log.finish(), b"");
    }

    proptest! {
        /// However a log is cut, the same comes of it.
        #[test]
        fn a_log_may_be_cut_anywhere(cuts in prop::collection::vec(0..LOG.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, LOG.len()]);
            cuts.sort_unstable();
            let mut log = BuildLog::default();
            let (mut text, mut progress) = (Vec::new(), 0);
            for cut in cuts.windows(2) {
                for piece in log.feed(&LOG.as_bytes()[cut[0]..cut[1]]) {
                    match piece {
                        Piece::Text(bytes) => text.extend(bytes),
                        Piece::Progress(_) => progress += 1,
                    }
                }
            }
            prop_assert_eq!(String::from_utf8(text).unwrap(), "Step 1\nprogressive\n");
            prop_assert_eq!(progress, 3);
        }
    }
}
