//! Text of others inside our own lines, made harmless.

use std::fmt::{self, Display, Write};

/// Shows a text on one line in which nothing can move the cursor, change colours or reorder
/// letters: every control character (C0, DEL, C1) and every invisible formatting character is
/// shown escaped, as `\x1b` or `\u{202e}`. Escaping rather than dropping keeps two different
/// names different.
pub(crate) struct Plain<'a>(pub(crate) &'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\t' => f.write_char(' ')?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\0'..='\x1f' | '\x7f' => write!(f, "\\x{:02x}", u32::from(character))?,
                character if character.is_control() || is_formatting(character) => {
                    write!(f, "\\u{{{:x}}}", u32::from(character))?;
                }
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// Returns the bytes of a name for people: like [`Plain`], and each byte that is not UTF-8 as
/// `\xff`.
pub(crate) fn plain_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&Plain(chunk.valid()).to_string());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// Tells whether a character is invisible and changes how its neighbours are shown: bidirectional
/// controls, zero-width characters, line and paragraph separators, tags.
pub(super) fn is_formatting(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_shown_escaped() {
        for (text, shown) in [
            ("train.py", "train.py"),
            ("münchen 東京", "münchen 東京"),
            ("a\nb\rc\td", "a\\nb\\rc d"),
            ("\u{1b}[2J", "\\x1b[2J"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("evil\u{202e}yp.", "evil\\u{202e}yp."),
            ("\u{7f}\0", "\\x7f\\x00"),
        ] {
            assert_eq!(Plain(text).to_string(), shown);
        }
    }

    #[test]
    fn different_names_stay_different() {
        assert_ne!(plain_bytes(b"a\xff"), plain_bytes(b"a\xfe"));
        assert_eq!(plain_bytes(b"a\xffb"), "a\\xffb");
    }

    proptest! {
        #[test]
        fn nothing_shown_is_a_control_character(bytes: Vec<u8>) {
            let shown = plain_bytes(&bytes);
            prop_assert!(!shown.chars().any(|c| c.is_control() || is_formatting(c)), "{shown:?}");
        }
    }
}
