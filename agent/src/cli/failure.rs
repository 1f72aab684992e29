//! How a command ends that did not do its work: message, hint, exit code.

use std::error::Error;
use std::io;

/// The exit code of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    /// All went well.
    pub(crate) const OK: Self = Self(0);
    /// The work could not be done.
    pub(crate) const FAILED: Self = Self(1);
    /// What was asked for makes no sense, or not yet.
    pub(crate) const USAGE: Self = Self(2);
    /// `run` and `wait` only: the fault is ours or the machine's, not the script's.
    pub(crate) const OURS: Self = Self(125);
    /// What a program ends with that writes into a pipe nobody reads: 128 + SIGPIPE.
    pub(crate) const PIPE: Self = Self(141);
}

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    /// The user: bad usage or input, nothing was changed.
    User,
    /// Us, or the machine.
    Host,
    /// Nobody: our reader had enough.
    Reader,
}

/// Why a command did not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    blame: Blame,
    error: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
    /// What was noticed on the way here.
    notes: Vec<String>,
}

/// What a command returns.
pub(crate) type Outcome = Result<Exit, Failure>;

impl Failure {
    /// The work could not be done.
    pub(crate) fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { blame: Blame::Host, error: error.into(), hint: None, notes: Vec::new() }
    }

    /// What was asked for cannot be; nothing was changed.
    pub(crate) fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { blame: Blame::User, error: error.into(), hint: None, notes: Vec::new() }
    }

    /// What was asked for is planned, but does not exist in this version.
    pub(crate) fn not_yet(what: impl std::fmt::Display) -> Self {
        Self::usage(format!("not yet in this version: {what}"))
    }

    /// Adds what to do next, unless the error has said so itself.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Adds what to do next if there is something.
    pub(crate) fn maybe_hint(self, hint: Option<impl Into<String>>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Adds what was noticed before it failed and may explain it.
    pub(crate) fn noting(mut self, notes: &[String]) -> Self {
        self.notes.extend_from_slice(notes);
        self
    }

    /// Returns what was noticed before it failed.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the exit code; `is_run` is whether the command's code is otherwise its script's.
    pub(crate) fn exit(&self, is_run: bool) -> Exit {
        match self.blame {
            Blame::User => Exit::USAGE,
            Blame::Host if is_run => Exit::OURS,
            Blame::Host => Exit::FAILED,
            Blame::Reader if is_run => Exit::PIPE,
            Blame::Reader => Exit::OK,
        }
    }

    /// Returns the message with its causes, or nothing when there is nobody to tell.
    pub(crate) fn message(&self) -> Option<String> {
        if self.blame == Blame::Reader {
            return None;
        }
        let mut message = without_numbers(&self.error.to_string());
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let text = without_numbers(&error.to_string());
            // Some libraries repeat the cause in their own text.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        Some(message)
    }

    /// Returns what to do next.
    pub(crate) fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// Returns `text` without the numbers that the standard library puts behind the system's words, as
/// in `No such file or directory (os error 2)`.
fn without_numbers(text: &str) -> String {
    const BEGIN: &str = " (os error ";
    let mut rest = text;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once(BEGIN) {
        kept.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        match after[end..].strip_prefix(')') {
            Some(behind) if end > 0 => rest = behind,
            _ => {
                kept.push_str(BEGIN);
                rest = after;
            }
        }
    }
    kept + rest
}

/// Writing to standard output is the only I/O that a command does itself.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                blame: Blame::Reader,
                error: error.into(),
                hint: None,
                notes: Vec::new(),
            };
        }
        Self::failed(Output { source: error })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
struct Output {
    source: io::Error,
}

impl From<crate::registered::RegisterError> for Failure {
    fn from(error: crate::registered::RegisterError) -> Self {
        use crate::registered::RegisterError as Error;
        let hint = error.hint();
        let is_input =
            matches!(error, Error::Name { .. } | Error::Reserved { .. } | Error::Exists { .. });
        let failure = if is_input { Self::usage(error) } else { Self::failed(error) };
        failure.maybe_hint(hint)
    }
}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        let hint = error.hint();
        Self::usage(error).maybe_hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_to_blame_decides_the_exit_code() {
        let closed = || Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        let full = || Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        let table: Vec<_> = [
            ("bad input", Failure::usage("x")),
            ("not yet", Failure::not_yet("x")),
            ("failed", Failure::failed("x")),
            ("disk full", full()),
            ("reader gone", closed()),
        ]
        .iter()
        .map(|(name, failure)| {
            format!("{name:<12} run {:<3} else {}", failure.exit(true).0, failure.exit(false).0)
        })
        .collect();

        insta::assert_snapshot!(table.join("\n"), @r#"
        bad input    run 2   else 2
        not yet      run 2   else 2
        failed       run 125 else 1
        disk full    run 125 else 1
        reader gone  run 141 else 0
        "#);
    }

    #[test]
    fn a_message_has_every_cause_once() {
        let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        insta::assert_snapshot!(full.message().unwrap(), @"cannot write to standard output: no storage space");

        let closed = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(closed.message(), None);
    }

    #[test]
    fn a_message_has_the_words_of_the_system_but_not_its_numbers() {
        for (given, shown) in [
            ("x: No such file or directory (os error 2)", "x: No such file or directory"),
            ("a (os error 2): b (os error 13), c", "a: b, c"),
            ("the file \"x (os error y)\"", "the file \"x (os error y)\""),
            ("the end (os error ", "the end (os error "),
            ("the end (os error )", "the end (os error )"),
        ] {
            assert_eq!(Failure::failed(given).message().unwrap(), shown);
        }
    }

    #[test]
    fn the_first_hint_is_kept() {
        let failure = Failure::failed("x").hint("closest to the error").hint("further away");
        assert_eq!(failure.next_step(), Some("closest to the error"));
    }
}
