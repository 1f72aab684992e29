//! Matches one ignore pattern against one path, as git's wildmatch does.
//!
//! Patterns and texts are bytes; nothing is decoded. `*`, `?`, `[…]` and `\` are special, braces
//! are not. A pattern that git cannot parse (an unclosed class, an unknown `[:class:]`, a trailing
//! backslash) matches nothing, as in git.
//!
//! The matcher needs no recursion. While a pattern is worked through from left to right only the
//! last `*` and the last `**` can be of use again: what an earlier one could reach by taking more,
//! a later one reaches too, because the text between them has been matched as early as possible.
//! So the time is bounded by a product of lengths, whatever the pattern.

/// Which characters the wildcards may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// A file name: there is no `/` in it, and `**` is the same as `*`.
    Name,
    /// A path: `*`, `?` and classes stop at `/`, and only `**` between slashes goes across.
    Path,
}

/// Returns whether `pattern` matches the whole of `text`.
pub(crate) fn matches(pattern: &[u8], text: &[u8], kind: Text) -> bool {
    Match { pattern, text, kind, p: 0, t: 0, star: None, deep: None }.run()
}

/// A wildcard that could take more of the text than it has so far.
#[derive(Clone, Copy)]
struct Retry {
    /// Where the pattern goes on behind the wildcard.
    p: usize,
    /// Where the text goes on behind what the wildcard has taken.
    t: usize,
    /// Takes directories, each with its slash, instead of characters.
    directories: bool,
}

struct Match<'a> {
    pattern: &'a [u8],
    text: &'a [u8],
    kind: Text,
    p: usize,
    t: usize,
    /// The last wildcard that stops at a slash. It comes after `deep`.
    star: Option<Retry>,
    /// The last wildcard that does not.
    deep: Option<Retry>,
}

/// What one step through the pattern found out.
enum Step {
    Matched,
    Mismatched,
    /// The pattern as a whole can match nothing.
    Malformed,
    /// Everything that is left matches.
    All,
}

impl Match<'_> {
    fn run(mut self) -> bool {
        loop {
            let step = match self.pattern.get(self.p) {
                None if self.t == self.text.len() => return true,
                None => Step::Mismatched,
                Some(b'*') => self.stars(),
                Some(_) if self.t == self.text.len() => Step::Mismatched,
                Some(b'?') => self.one(self.text[self.t] != b'/' || self.kind == Text::Name, 1),
                Some(b'[') => self.class(),
                Some(b'\\') => match self.pattern.get(self.p + 1) {
                    Some(&byte) => self.one(self.text[self.t] == byte, 2),
                    None => Step::Malformed,
                },
                Some(&byte) => self.one(self.text[self.t] == byte, 1),
            };
            match step {
                Step::All => return true,
                Step::Malformed => return false,
                Step::Matched => {}
                Step::Mismatched if self.retry() => {}
                Step::Mismatched => return false,
            }
        }
    }

    /// Goes past one character of the text if it `matched`.
    fn one(&mut self, matched: bool, pattern_bytes: usize) -> Step {
        if !matched {
            return Step::Mismatched;
        }
        self.p += pattern_bytes;
        self.t += 1;
        Step::Matched
    }

    fn class(&mut self) -> Step {
        let byte = self.text[self.t];
        match class(&self.pattern[self.p..], byte) {
            None => Step::Malformed,
            Some((matched, length)) => {
                self.one(matched && (byte != b'/' || self.kind == Text::Name), length)
            }
        }
    }

    /// Goes past a run of `*`, letting it take nothing for now.
    fn stars(&mut self) -> Step {
        let start = self.p;
        let run = self.pattern[start..].iter().take_while(|byte| **byte == b'*').count();
        let rest = &self.pattern[start + run..];
        let bounded = (start == 0 || self.pattern[start - 1] == b'/')
            && (rest.is_empty() || rest[0] == b'/' || rest.starts_with(b"\\/"));
        let deep = self.kind == Text::Name || (run >= 2 && bounded);
        if rest.is_empty() && (deep || !self.text[self.t..].contains(&b'/')) {
            return Step::All;
        }
        let directories = deep && self.kind == Text::Path && rest.first() == Some(&b'/');
        self.p = start + run + usize::from(directories);
        let retry = Some(Retry { p: self.p, t: self.t, directories });
        if deep {
            (self.deep, self.star) = (retry, None);
        } else {
            self.star = retry;
        }
        Step::Matched
    }

    /// Lets the last wildcard that can do so take more, and goes on behind it.
    fn retry(&mut self) -> bool {
        if let Some(star) = self.star.take()
            && self.text.get(star.t).is_some_and(|byte| *byte != b'/')
        {
            self.t = star.t + 1;
            self.p = star.p;
            self.star = Some(Retry { t: self.t, ..star });
            return true;
        }
        let Some(deep) = self.deep else { return false };
        let Some(left) = self.text.get(deep.t..) else { return false };
        let taken = if deep.directories {
            memchr::memchr(b'/', left)
        } else if let Some(literal) = self.literal_at(deep.p) {
            // One character has to be taken; those that cannot start the rest follow it at once.
            left.get(1..).and_then(|left| memchr::memchr(literal, left))
        } else {
            (!left.is_empty()).then_some(0)
        };
        let Some(taken) = taken else { return false };
        self.t = deep.t + taken + 1;
        self.p = deep.p;
        self.deep = Some(Retry { t: self.t, ..deep });
        true
    }

    fn literal_at(&self, p: usize) -> Option<u8> {
        self.pattern.get(p).copied().filter(|byte| !is_special(*byte))
    }
}

/// Returns whether `byte` means something other than itself in a pattern.
pub(crate) fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b'\\')
}

/// Returns whether `byte` is in the class that `pattern` starts with, and the length of the class
/// with its brackets; `None` if there is no end to it or a name in it is unknown.
fn class(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let mut at = 1;
    let negated = matches!(pattern.get(at), Some(b'!' | b'^'));
    at += usize::from(negated);
    let mut matched = false;
    // The character that a `-` would make the start of a range.
    let mut previous = None;
    let mut first = true;
    loop {
        match *pattern.get(at)? {
            b']' if !first => return Some((matched != negated, at + 1)),
            b'\\' => {
                at += 1;
                let escaped = *pattern.get(at)?;
                matched |= byte == escaped;
                previous = Some(escaped);
            }
            b'-' if previous.is_some() && pattern.get(at + 1).is_some_and(|end| *end != b']') => {
                at += 1;
                if pattern[at] == b'\\' {
                    at += 1;
                }
                let range = previous?..=*pattern.get(at)?;
                matched |= range.contains(&byte);
                previous = None;
            }
            b'[' if pattern.get(at + 1) == Some(&b':') => {
                let name = &pattern[at + 2..];
                let end = memchr::memchr(b']', name)?;
                if let Some(name) = name[..end].strip_suffix(b":") {
                    matched |= in_named_class(name, byte)?;
                    at += 2 + end;
                    previous = None;
                } else {
                    matched |= byte == b'[';
                    previous = Some(b'[');
                }
            }
            literal => {
                matched |= byte == literal;
                previous = Some(literal);
            }
        }
        at += 1;
        first = false;
    }
}

/// Returns whether `byte` is in a POSIX class, as git's own tables have it: ASCII only.
fn in_named_class(name: &[u8], byte: u8) -> Option<bool> {
    Some(match name {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        // Neither vertical tab nor form feed: not space to git.
        b"space" => matches!(byte, b' ' | b'\t' | b'\n' | b'\r'),
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn path(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), Text::Path)
    }

    fn name(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), Text::Name)
    }

    #[test]
    fn a_star_stops_at_a_slash_and_two_between_slashes_do_not() {
        assert!(path("a/*/c", "a/b/c"));
        assert!(!path("a/*/c", "a/b/b/c"));
        assert!(!path("a*c", "a/c"));
        assert!(path("a/**/c", "a/c") && path("a/**/c", "a/b/b/c"));
        assert!(path("**/c", "c") && path("**/c", "a/b/c"));
        assert!(path("a/**", "a/b/c") && !path("a/**", "a"));
        assert!(
            path("a/**b", "a/xb") && !path("a/**b", "a/x/b"),
            "two stars within a name are one"
        );
        assert!(path("**", "a/b/c") && path("***/c", "a/b/c"));
        assert!(!path("*", "a/b") && path("*", "a"));
        assert!(path("**/*.py", "a/b.py") && !path("*/*.py", "a/b/c.py"));
    }

    #[test]
    fn a_later_star_takes_back_what_an_earlier_one_took() {
        assert!(path("**/a*/b*/c", "a1/x/a2/b1/c"));
        assert!(path("**/x/**/x/y", "x/x/x/y") && !path("**/x/**/x/y", "x/y"));
        assert!(name("*a*ab*b", "aaabb") && !name("*a*ab*c", "aaabb"));
        assert!(name("*.py[cod]", "x.py.pyc"));
    }

    #[test]
    fn classes_are_read_as_git_reads_them() {
        assert!(
            name("[]a]", "]") && name("[!]a]", "b") && name("[^]a]", "b") && !name("[!]a]", "]")
        );
        assert!(name("[a-]", "-") && name("[--0]", ".") && name("[a-c-e]", "-"));
        assert!(!name("[a-c-e]", "d"), "the end of a range starts none");
        assert!(name("[\\]]", "]") && name("[a-\\c]", "b") && name("[\\a-c]", "b"));
        assert!(!name("[z-a]", "m"), "a range the wrong way round is empty");
        assert!(name("[[:digit:][:upper:]]", "7") && !name("[[:digit:]-z]", "a"));
        assert!(name("[[:digit]", ":") && name("[[:]", "["), "no name without its end");
        assert!(!path("a[/]b", "a/b") && !path("a[!x]b", "a/b") && !path("a?b", "a/b"));
        assert!(matches(b"[\x80-\xff]", b"\xe9", Text::Name), "classes hold bytes");
    }

    #[test]
    fn what_git_cannot_parse_matches_nothing() {
        for pattern in
            ["[", "[a", "[!", "[]", "[a\\", "[a-", "[[:nope:]]", "[[:alpha:", "a\\", "*["]
        {
            for text in ["", "a", "[", "[a", "]", "-", "\\", "a\\", "[[:nope:]]"] {
                assert!(!name(pattern, text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn escapes_and_braces_are_literal() {
        assert!(name("\\*\\?\\[", "*?[") && !name("\\*", "x") && name("\\a", "a"));
        assert!(name("*.{a,b}", "x.{a,b}") && !name("*.{a,b}", "x.a"));
    }

    #[test]
    fn hostile_patterns_cost_a_product_and_not_a_power() {
        let deep_a = "a/".repeat(2000) + "c";
        let cases = [
            ("*a".repeat(200) + "b", "a".repeat(4000)),
            ("**/".repeat(1000) + "b", deep_a.clone()),
            ("**/a/".repeat(500) + "b", deep_a.clone()),
            ("**/*a*".repeat(500) + "b", deep_a.clone()),
            ("**/*a*/".repeat(500) + "b", deep_a.clone()),
            ("a/**/**/*/**/".repeat(300) + "b", deep_a),
            ("*[!b]".repeat(500) + "b", "a".repeat(4000)),
            ("?*".repeat(500) + "b", "a".repeat(4000)),
        ];
        let count = cases.len();
        // A power of these lengths would outlast the machine; a product takes a tenth of a second.
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for (pattern, text) in cases {
                let matched = path(&pattern, &text) || name(&pattern, &text);
                sender.send((pattern, matched)).unwrap();
            }
        });
        for _ in 0..count {
            let answer = receiver.recv_timeout(Duration::from_secs(60));
            let (pattern, matched) = answer.expect("a pattern that takes too long");
            assert!(!matched, "{pattern:.20}…");
        }
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_definition_by_recursion(
            pattern in "[ab/*?]{0,9}(\\[ab\\])?[ab/*]{0,5}",
            text in "[ab]{1,3}(/[ab]{1,3}){0,4}",
        ) {
            let (p, t) = (pattern.as_bytes(), text.as_bytes());
            proptest::prop_assert_eq!(matches(p, t, Text::Path), defined(p, 0, t));
        }
    }

    /// The rules told without regard to time. `at` is where in `pattern` to go on.
    fn defined(pattern: &[u8], at: usize, text: &[u8]) -> bool {
        let Some(&byte) = pattern.get(at) else { return text.is_empty() };
        if byte == b'*' {
            let end = at + pattern[at..].iter().take_while(|b| **b == b'*').count();
            let deep = end - at > 1
                && (at == 0 || pattern[at - 1] == b'/')
                && matches!(pattern.get(end), None | Some(b'/'));
            let skips = deep && end < pattern.len() && defined(pattern, end + 1, text);
            return skips
                || (0..=text.len())
                    .take_while(|n| deep || !text[..*n].contains(&b'/'))
                    .any(|n| defined(pattern, end, &text[n..]));
        }
        let Some((&first, rest)) = text.split_first() else { return false };
        match byte {
            b'?' => first != b'/' && defined(pattern, at + 1, rest),
            b'[' => matches!(first, b'a' | b'b') && defined(pattern, at + 4, rest),
            _ => byte == first && defined(pattern, at + 1, rest),
        }
    }
}
