//! Lines out of pieces, with the offset from which to read again.

/// Puts pieces of a stream together to lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lines {
    longest: usize,
    /// Where to read on.
    next: u64,
    /// The beginning of a line whose end has not come, and where it is.
    begun: Vec<u8>,
    begun_at: u64,
    /// The line was too long, and what is left of it is passed over.
    skipping: bool,
}

impl Lines {
    /// Starts at `offset`, which is where a line begins. Lines over `longest` are passed over.
    pub(super) fn from(offset: u64, longest: usize) -> Self {
        Self { longest, next: offset, begun: Vec::new(), begun_at: offset, skipping: false }
    }

    /// Where to read on.
    pub(super) fn next_offset(&self) -> u64 {
        self.next
    }

    /// From where to read to get all lines that have not been seen, without what is in memory.
    pub(super) fn resume_at(&self) -> u64 {
        if self.begun.is_empty() { self.next } else { self.begun_at }
    }

    /// Says that everything up to `offset` has been read, whether it was for us or not.
    pub(super) fn reach(&mut self, offset: u64) {
        self.next = self.next.max(offset);
    }

    /// Takes the bytes at `offset` and passes on each line that ends in them.
    pub(super) fn add(&mut self, offset: u64, bytes: &[u8], each: &mut dyn FnMut(&[u8])) {
        let mut rest = bytes;
        let mut at = offset;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.end_line(&rest[..end], each);
            rest = &rest[end + 1..];
            at += end as u64 + 1;
        }
        self.next = at + rest.len() as u64;
        if rest.is_empty() || self.skipping {
            return;
        }
        if self.begun.is_empty() {
            self.begun_at = at;
        }
        if self.begun.len() + rest.len() > self.longest {
            self.begun = Vec::new();
            self.skipping = true;
        } else {
            self.begun.extend_from_slice(rest);
        }
    }

    /// Passes on a last line that has no end.
    pub(super) fn finish(&mut self, each: &mut dyn FnMut(&[u8])) {
        if !self.begun.is_empty() {
            self.end_line(&[], each);
        }
    }

    fn end_line(&mut self, tail: &[u8], each: &mut dyn FnMut(&[u8])) {
        if std::mem::take(&mut self.skipping) {
            return;
        }
        if self.begun.is_empty() {
            each(tail);
        } else {
            let mut line = std::mem::take(&mut self.begun);
            line.extend_from_slice(tail);
            each(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines_of(text: &[u8], cuts: &[usize], longest: usize) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut lines = Lines::from(0, longest);
        let mut at = 0;
        for cut in cuts.iter().map(|cut| cut % (text.len() + 1)).chain([text.len()]) {
            if cut > at {
                lines.add(at as u64, &text[at..cut], &mut |line| found.push(line.to_vec()));
                at = cut;
            }
        }
        lines.finish(&mut |line| found.push(line.to_vec()));
        found
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_the_pieces(
            text in proptest::collection::vec(proptest::sample::select(b"ab\n".to_vec()), 0..200),
            mut cuts in proptest::collection::vec(0..201_usize, 0..10),
        ) {
            cuts.sort_unstable();
            let mut expected: Vec<_> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            if expected.last().is_some_and(Vec::is_empty) {
                expected.pop();
            }

            prop_assert_eq!(lines_of(&text, &cuts, 1000), expected);
        }

        #[test]
        fn reading_again_from_where_it_says_misses_and_repeats_nothing(
            text in proptest::collection::vec(proptest::sample::select(b"ab\n".to_vec()), 0..200),
            cut in 0..201_usize,
        ) {
            let cut = cut.min(text.len());
            let mut found = Vec::new();
            let mut first = Lines::from(0, 1000);
            first.add(0, &text[..cut], &mut |line| found.push(line.to_vec()));

            let from = first.resume_at();
            let mut second = Lines::from(from, 1000);
            let start = usize::try_from(from).unwrap();
            second.add(from, &text[start..], &mut |line| found.push(line.to_vec()));
            second.finish(&mut |line| found.push(line.to_vec()));

            prop_assert_eq!(found, lines_of(&text, &[], 1000));
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_whole() {
        let found = lines_of(b"aaaaaaaaaa\nb\n", &[2, 4, 8], 5);

        assert_eq!(found, [b"b".to_vec()]);
    }

    #[test]
    fn what_lies_between_two_pieces_belongs_to_someone_else() {
        let mut found = Vec::new();
        let mut lines = Lines::from(0, 100);
        lines.add(0, b"on", &mut |line| found.push(line.to_vec()));
        lines.add(50, b"e\n", &mut |line| found.push(line.to_vec()));
        lines.reach(80);

        assert_eq!(found, [b"one".to_vec()]);
        assert_eq!((lines.next_offset(), lines.resume_at()), (80, 80));
    }
}
