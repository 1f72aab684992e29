//! What a script printed, on its way to a terminal.
//!
//! Stored logs are exact and a program that reads ours gets exact bytes. A terminal acts on what
//! it is sent, so there we drop every control sequence: CSI, OSC, DCS, SOS, PM and APC in their
//! 7-bit and 8-bit forms, other escapes, C0 and C1 control characters and bidirectional controls.
//! Colours go as well: our own lines are told from a script's by theirs. What stays is newline,
//! tab, and carriage return, without which a progress bar would fill the screen; it can rewrite
//! the script's own line only, since our lines begin on a line of their own.

use super::plain::is_formatting;

/// Takes out what a terminal would act on. Keeps its place between calls, since sequences and
/// characters may be split anywhere.
#[derive(Debug, Default)]
pub(crate) struct LogFilter {
    state: State,
    /// The first bytes of a character whose end has not come yet.
    partial: Vec<u8>,
    /// How many characters of a string have come.
    string_length: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and an intermediate byte: one final byte more.
    EscapeIntermediate,
    /// Inside CSI, up to a final byte.
    Csi,
    /// Inside OSC, DCS, SOS, PM or APC, up to ST (or BEL).
    String,
    /// After ESC inside a string: `\` ends it.
    StringEscape,
}

/// A string sequence longer than this is no sequence: what follows is shown again, so that one
/// stray byte cannot hide the rest of a log.
const LONGEST_STRING: usize = 4096;

impl LogFilter {
    /// Appends to `out` what of `bytes` may be shown.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        let mut chunks = whole.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            for character in chunk.valid().chars() {
                self.step(character, out);
            }
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            if chunks.peek().is_none() && may_continue(invalid) {
                self.partial = invalid.to_vec();
            } else if let &[byte @ 0x80..=0x9f] = invalid {
                // A lone C1 byte: the 8-bit form of a control sequence.
                self.step(char::from(byte), out);
            } else {
                self.step('\u{fffd}', out);
            }
        }
    }

    fn begin_string(&mut self) -> State {
        self.string_length = 0;
        State::String
    }

    fn step(&mut self, character: char, out: &mut Vec<u8>) {
        self.state = match (self.state, character) {
            (State::StringEscape, '\\') => State::Text,
            (State::String | State::StringEscape, '\u{7}' | '\u{9c}' | '\u{18}' | '\u{1a}') => {
                State::Text
            }
            (State::String, '\u{1b}') => State::StringEscape,
            (State::String | State::StringEscape, _) => {
                self.string_length += 1;
                if self.string_length > LONGEST_STRING || character == '\n' {
                    show(character, out);
                    State::Text
                } else {
                    State::String
                }
            }
            (_, '\u{1b}') => State::Escape,
            (_, '\u{9b}') => State::Csi,
            (_, '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') => self.begin_string(),
            (State::Escape, '[') => State::Csi,
            (State::Escape, 'P' | 'X' | ']' | '^' | '_') => self.begin_string(),
            (State::Escape | State::EscapeIntermediate, ' '..='/') => State::EscapeIntermediate,
            (State::Escape | State::EscapeIntermediate, '0'..='~') => State::Text,
            (State::Csi, '\u{20}'..='\u{3f}') => State::Csi,
            (State::Csi, '\u{40}'..='\u{7e}') => State::Text,
            // Whatever breaks a sequence off is shown by the rules for text.
            _ => {
                show(character, out);
                State::Text
            }
        };
    }
}

fn show(character: char, out: &mut Vec<u8>) {
    let visible = matches!(character, '\n' | '\t' | '\r')
        || !(character.is_control() || is_formatting(character));
    if visible {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Tells whether the bytes are the beginning of a character.
fn may_continue(invalid: &[u8]) -> bool {
    let length = match invalid.first() {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => return false,
    };
    invalid.len() < length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        LogFilter::default().feed(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Each sequence, and what of `a<sequence>b` may be seen.
    const CORPUS: &[(&[u8], &str)] = &[
        // Cursor movement, erasing, scrolling.
        (b"\x1b[2J", "ab"),
        (b"\x1b[H", "ab"),
        (b"\x1b[1;1H", "ab"),
        (b"\x1b[1A", "ab"),
        (b"\x1b[99B", "ab"),
        (b"\x1b[3C", "ab"),
        (b"\x1b[4D", "ab"),
        (b"\x1b[K", "ab"),
        (b"\x1b[1K", "ab"),
        (b"\x1b[3J", "ab"),
        (b"\x1b[5S", "ab"),
        (b"\x1b[s", "ab"),
        (b"\x1b[u", "ab"),
        (b"\x1b7", "ab"),
        (b"\x1b8", "ab"),
        (b"\x1bc", "ab"),
        (b"\x1bM", "ab"),
        (b"\x1bD", "ab"),
        // Colours and attributes.
        (b"\x1b[31m", "ab"),
        (b"\x1b[1;32m", "ab"),
        (b"\x1b[38;2;1;2;3m", "ab"),
        (b"\x1b[8m", "ab"),
        (b"\x1b[0m", "ab"),
        // Modes: alternate screen, mouse, bracketed paste, cursor off.
        (b"\x1b[?1049h", "ab"),
        (b"\x1b[?1000h", "ab"),
        (b"\x1b[?2004l", "ab"),
        (b"\x1b[?25l", "ab"),
        (b"\x1b[!p", "ab"),
        // Questions that make a terminal type an answer.
        (b"\x1b[c", "ab"),
        (b"\x1b[6n", "ab"),
        (b"\x1b[>q", "ab"),
        (b"\x1bP$qm\x1b\\", "ab"),
        // Strings: title, clipboard, hyperlink, DCS, APC, PM, SOS.
        (b"\x1b]0;title\x07", "ab"),
        (b"\x1b]2;title\x1b\\", "ab"),
        (b"\x1b]52;c;ZXZpbA==\x07", "ab"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "alinkb"),
        (b"\x1bP1$r\x1b\\", "ab"),
        (b"\x1b_Gq=1\x1b\\", "ab"),
        (b"\x1b^pm\x1b\\", "ab"),
        (b"\x1bXsos\x1b\\", "ab"),
        // Character sets and other escapes with intermediates.
        (b"\x1b(0", "ab"),
        (b"\x1b)B", "ab"),
        (b"\x1b#8", "ab"),
        (b"\x1b%G", "ab"),
        // 8-bit forms, alone and as UTF-8.
        (b"\x9b2J", "ab"),
        (b"\xc2\x9b2J", "ab"),
        (b"\x9d0;title\x07", "ab"),
        (b"\xc2\x9d0;title\xc2\x9c", "ab"),
        (b"\x90q\x9c", "ab"),
        (b"\x85", "ab"),
        // Plain control characters.
        (b"\x08\x08", "ab"),
        (b"\x07", "ab"),
        (b"\x0b", "ab"),
        (b"\x0c", "ab"),
        (b"\x0e", "ab"),
        (b"\x7f", "ab"),
        (b"\0", "ab"),
        // Reordering.
        ("\u{202e}".as_bytes(), "ab"),
        ("\u{2066}".as_bytes(), "ab"),
        ("\u{200f}".as_bytes(), "ab"),
        // Broken off, nested, doubled.
        (b"\x1b\x1b[2J", "ab"),
        (b"\x1b[\x1b[2J", "ab"),
        (b"\x1b[3\x1b]0;x\x07", "ab"),
        // What stays.
        (b"\t", "a\tb"),
        (b"\r", "a\rb"),
        (b"\n", "a\nb"),
        ("é東🎉".as_bytes(), "aé東🎉b"),
        (b"\xff", "a\u{fffd}b"),
    ];

    #[test]
    fn a_terminal_gets_no_control_sequence() {
        assert!(CORPUS.len() >= 60, "{}", CORPUS.len());
        for (sequence, expected) in CORPUS {
            let text = [b"a", *sequence, b"b"].concat();
            assert_eq!(shown(&text), *expected, "{}", sequence.escape_ascii());
        }
    }

    #[test]
    fn an_unended_string_hides_its_line_only() {
        assert_eq!(shown(b"a\x1b]0;never ends\nnext"), "a\nnext");
    }

    #[test]
    fn sequences_and_characters_may_be_split_anywhere() {
        for (sequence, expected) in CORPUS {
            let text = [b"a", *sequence, b"b"].concat();
            for at in 0..text.len() {
                let mut filter = LogFilter::default();
                let mut out = Vec::new();
                filter.feed(&text[..at], &mut out);
                filter.feed(&text[at..], &mut out);
                assert_eq!(out, expected.as_bytes(), "{} at {at}", sequence.escape_ascii());
            }
        }
    }

    proptest! {
        #[test]
        fn no_control_character_gets_through(bytes: Vec<u8>) {
            let shown = shown(&bytes);
            let bad = |c: char| {
                (c.is_control() && !matches!(c, '\n' | '\t' | '\r')) || is_formatting(c)
            };
            prop_assert!(!shown.chars().any(bad), "{shown:?}");
        }
    }
}
