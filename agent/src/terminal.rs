//! What people see: aligned lines, colours on a terminal only, text that cannot move the cursor.
//!
//! Our own lines go to standard error and begin with a verb, right-aligned to twelve columns.
//! Everything in them that somebody else wrote (file names, display names, messages of other
//! programs) passes through [`Plain`]. What a script printed passes through [`log_filter`], and
//! only where a terminal shows it.

pub(crate) mod build_log;
pub(crate) mod log_filter;
pub(crate) mod measure;
mod plain;
mod progress;
pub(crate) mod table;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

pub(crate) use plain::{Plain, plain_bytes};
pub(crate) use progress::Progress;

/// Columns that the verb of a line takes, as cargo's do.
const VERB_COLUMNS: usize = 12;

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The two streams people read, and how to write to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    quiet: bool,
    colored_out: bool,
    colored_err: bool,
    out_is_terminal: bool,
    err_is_terminal: bool,
}

impl Terminal {
    /// Looks at the process's streams. `quiet` drops all of our own lines but warnings and errors.
    pub(crate) fn new(color: ColorWhen, quiet: bool) -> Self {
        let choice = match color {
            ColorWhen::Auto => anstream::ColorChoice::Auto,
            ColorWhen::Always => anstream::ColorChoice::Always,
            ColorWhen::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
        let colored = |choice| choice != anstream::ColorChoice::Never;
        Self {
            quiet,
            colored_out: colored(anstream::AutoStream::choice(&io::stdout())),
            colored_err: colored(anstream::AutoStream::choice(&io::stderr())),
            out_is_terminal: io::stdout().is_terminal(),
            err_is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Tells whether standard output is a terminal.
    pub(crate) fn out_is_terminal(&self) -> bool {
        self.out_is_terminal
    }

    /// Tells whether standard error is a terminal.
    pub(crate) fn err_is_terminal(&self) -> bool {
        self.err_is_terminal
    }

    /// Tells whether our own lines are to be left out.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Says what is done: `    Snapshot 42 files`.
    pub(crate) fn status(&self, verb: &str, text: impl Display) {
        if !self.quiet {
            self.say(AnsiColor::Green.on_default().bold(), verb, &text.to_string());
        }
    }

    /// Says what ended badly, in red: `      Failed in 3s`.
    pub(crate) fn failed(&self, verb: &str, text: impl Display) {
        if !self.quiet {
            self.say(AnsiColor::Red.on_default().bold(), verb, &text.to_string());
        }
    }

    /// Adds a line to what was said: one of somebody else's, set in.
    pub(crate) fn detail(&self, text: impl Display) {
        if !self.quiet {
            print_line(&format!("  {}", Plain(&text.to_string())));
        }
    }

    /// Says what deserves attention but stops nothing.
    pub(crate) fn warning(&self, text: impl Display) {
        self.label(AnsiColor::Yellow.on_default().bold(), "warning", &text.to_string());
    }

    /// Says why the command did not do its work.
    pub(crate) fn error(&self, text: impl Display) {
        self.label(AnsiColor::Red.on_default().bold(), "error", &text.to_string());
    }

    /// Says what to do next.
    pub(crate) fn help(&self, text: impl Display) {
        self.label(AnsiColor::Cyan.on_default().bold(), "help", &tidy(&text.to_string()));
    }

    /// Returns `text` in `style` if standard output shows colours.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        if self.colored_out { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Returns `bytes` of a name as standard output is to have them: as they are where a program
    /// reads them, harmless where a person does.
    pub(crate) fn name(&self, bytes: &[u8]) -> Vec<u8> {
        if self.out_is_terminal { plain_bytes(bytes).into_bytes() } else { bytes.to_vec() }
    }

    fn say(&self, style: Style, verb: &str, text: &str) {
        let gap = " ".repeat(VERB_COLUMNS.saturating_sub(verb.chars().count()));
        let verb = self.styled(style, verb);
        print_line(&format!("{gap}{verb} {}", Plain(text)));
    }

    fn label(&self, style: Style, label: &str, text: &str) {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let mut whole = format!("{}: {}", self.styled(style, label), Plain(first));
        for line in lines {
            whole.push_str("\n  ");
            whole.push_str(&Plain(line).to_string());
        }
        print_line(&whole);
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.colored_err { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Returns a hint as all of ours are written: in lower case and without a full stop at its end.
fn tidy(hint: &str) -> String {
    let hint = hint.strip_suffix('.').unwrap_or(hint);
    let mut characters = hint.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if first.is_ascii_uppercase() && second.is_lowercase() => {
            format!("{}{}", first.to_ascii_lowercase(), characters.as_str())
        }
        _ => hint.to_owned(),
    }
}

/// Writes a line to standard error in one call, so that lines of several threads do not mix. A
/// closed standard error has nobody to tell.
fn print_line(line: &str) {
    io::stderr().lock().write_all(format!("{line}\n").as_bytes()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_colored_stream_gets_escape_sequences() {
        let mut terminal = Terminal::new(ColorWhen::Never, false);
        assert_eq!(terminal.paint(AnsiColor::Green.on_default(), "x"), "x");

        terminal.colored_out = true;
        assert_eq!(terminal.paint(AnsiColor::Green.on_default(), "x"), "\u{1b}[32mx\u{1b}[0m");
    }

    #[test]
    fn hints_are_written_alike() {
        for (given, shown) in [
            ("Name another with --env.", "name another with --env"),
            ("PATH is empty.", "PATH is empty"),
            ("`trainyard gc` frees space", "`trainyard gc` frees space"),
            ("", ""),
        ] {
            assert_eq!(tidy(given), shown);
        }
    }

    #[test]
    fn names_are_exact_for_programs_and_harmless_for_people() {
        let mut terminal = Terminal::new(ColorWhen::Never, false);
        terminal.out_is_terminal = false;
        assert_eq!(terminal.name(b"a\x1b[2J\xff"), b"a\x1b[2J\xff");

        terminal.out_is_terminal = true;
        assert_eq!(terminal.name(b"a\x1b[2J\xff"), br"a\x1b[2J\xff");
    }
}
