//! What is wrong in a document, with the line it is on.

use std::fmt;

/// What is wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub text: String,
    /// The line itself, cut to a readable length, with nothing in it that moves a cursor.
    pub snippet: String,
}

impl Problem {
    /// How much of a line is shown, in characters to either side of the column.
    const SHOWN: usize = 60;

    /// Describes `text` as wrong at a place in `document`.
    #[must_use]
    pub fn at(document: &str, line: usize, column: usize, text: impl Into<String>) -> Self {
        let whole = document.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let from = column.saturating_sub(Self::SHOWN);
        let snippet = whole.chars().skip(from).take(2 * Self::SHOWN).map(printable).collect();
        Self { line, column, text: text.into(), snippet }
    }
}

fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        // Marks that turn the direction of writing could make a line read as another.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => c,
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.text)?;
        if self.snippet.is_empty() {
            return Ok(());
        }
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let before = self.column.saturating_sub(self.column.saturating_sub(Self::SHOWN) + 1);
        write!(f, "\n  {number} | {}\n  {gutter} | {}^", self.snippet, " ".repeat(before))
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}HERE{}", "a".repeat(500), "b".repeat(500));
        let shown = Problem::at(&line, 1, 501, "wrong").to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines.iter().all(|line| line.len() < 140), "{shown}");
        let caret = lines[2].find('^').unwrap();
        assert!(lines[1][caret..].starts_with("HERE"), "{shown}");
    }

    #[test]
    fn nothing_that_is_shown_moves_the_cursor_or_turns_the_text() {
        let shown = Problem::at("a: \u{1b}[2J\t\u{202e}x\u{7f}", 1, 4, "wrong").to_string();
        insta::assert_snapshot!(shown, @r#"
        line 1, column 4: wrong
          1 | a: �[2J �x�
            |    ^
        "#);
    }

    #[test]
    fn a_place_outside_the_document_has_no_snippet() {
        assert_eq!(Problem::at("a", 7, 1, "wrong").to_string(), "line 7, column 1: wrong");
    }
}
