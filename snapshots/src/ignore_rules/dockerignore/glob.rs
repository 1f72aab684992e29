//! One pattern of a `.dockerignore`, matched against paths.
//!
//! Docker turns a pattern into a regular expression, which gives its `**` three meanings: at the
//! end it takes everything, elsewhere any directories or none, and at the start of a pattern
//! without other wildcards anything that ends with the rest.

/// A pattern, taken apart.
#[derive(Debug)]
pub(super) struct Glob {
    /// What it starts with, up to its first wildcard.
    literal_start: String,
    steps: Vec<Step>,
}

#[derive(Debug, PartialEq)]
enum Step {
    /// This one.
    Char(char),
    /// Any but a slash.
    One,
    /// Any number of them without a slash.
    Star,
    /// Any number of any.
    All,
    /// Goes on behind [`Step::Directories`], or with it.
    MaybeDirectories,
    /// Any number of any, up to and with a slash.
    Directories,
    /// One in a class, or one that is not.
    Class { not: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// Reads a cleaned pattern; `None` if it cannot be one.
    pub(super) fn parse(pattern: &str) -> Option<Self> {
        let special = pattern.find(['*', '?', '[', '\\']);
        let literal_start = pattern[..special.unwrap_or(pattern.len())].to_owned();
        // Without other wildcards, whatever ends with the rest.
        if let Some(rest) = pattern.strip_prefix("**")
            && !rest.is_empty()
            && !rest.contains(['*', '?', '[', ']', '\\'])
        {
            let mut steps = match rest.strip_prefix('/') {
                Some(_) => vec![Step::MaybeDirectories, Step::Directories],
                None => vec![Step::All],
            };
            steps.extend(rest.strip_prefix('/').unwrap_or(rest).chars().map(Step::Char));
            return Some(Self { literal_start, steps });
        }
        let mut steps = Vec::new();
        let mut rest = pattern.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '*' if rest.next_if_eq(&'*').is_some() => {
                    rest.next_if_eq(&'/');
                    if rest.peek().is_none() {
                        steps.push(Step::All);
                    } else {
                        steps.extend([Step::MaybeDirectories, Step::Directories]);
                    }
                }
                '*' => steps.push(Step::Star),
                '?' => steps.push(Step::One),
                '\\' => steps.push(Step::Char(rest.next()?)),
                '[' => steps.push(class(&mut rest)?),
                c => steps.push(Step::Char(c)),
            }
        }
        Some(Self { literal_start, steps })
    }

    /// Returns what all paths that it matches start with.
    pub(super) fn literal_start(&self) -> &str {
        &self.literal_start
    }

    /// Returns whether it matches the whole of `path`. Takes time by the product of both lengths at
    /// most: it follows all ways at once.
    pub(super) fn matches(&self, path: &str) -> bool {
        if !path.starts_with(&self.literal_start) {
            return false;
        }
        let mut here = vec![false; self.steps.len() + 1];
        self.reach(&mut here, 0);
        for c in path.chars() {
            let mut next = vec![false; here.len()];
            for at in (0..self.steps.len()).filter(|at| here[*at]) {
                let (stays, goes_on) = self.steps[at].take(c);
                if stays {
                    self.reach(&mut next, at);
                }
                if goes_on {
                    self.reach(&mut next, at + 1);
                }
            }
            here = next;
        }
        here[self.steps.len()]
    }

    /// Marks step `at`, and those that can be reached from it without a character.
    fn reach(&self, marks: &mut [bool], at: usize) {
        if marks[at] {
            return;
        }
        marks[at] = true;
        match self.steps.get(at) {
            Some(Step::Star | Step::All) => self.reach(marks, at + 1),
            Some(Step::MaybeDirectories) => {
                self.reach(marks, at + 1);
                self.reach(marks, at + 2);
            }
            _ => {}
        }
    }
}

impl Step {
    /// Takes a character: whether it can take more, and whether the next step can go on.
    fn take(&self, c: char) -> (bool, bool) {
        match self {
            Self::Char(own) => (false, *own == c),
            Self::One => (false, c != '/'),
            Self::Star => (c != '/', false),
            Self::All => (true, false),
            Self::MaybeDirectories => (false, false),
            Self::Directories => (true, c == '/'),
            Self::Class { not, ranges } => {
                let within = ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
                (false, within != *not)
            }
        }
    }
}

/// Reads a class behind its opening bracket.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Step> {
    let not = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    let one = |rest: &mut std::iter::Peekable<std::str::Chars<'_>>| match rest.next()? {
        '\\' => rest.next(),
        ']' | '-' => None,
        c => Some(c),
    };
    while rest.next_if_eq(&']').is_none() {
        let from = one(rest)?;
        let to = if rest.next_if_eq(&'-').is_some() { one(rest)? } else { from };
        ranges.push((from, to));
    }
    (!ranges.is_empty()).then_some(Step::Class { not, ranges })
}
