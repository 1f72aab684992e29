//! Progress within the log of a build: a line that programs read and people may.
//!
//! ```text
//! progress 45200000/120300000 bytes: Pulling python:3.11 (3 of 7 layers)
//! ```

use std::fmt;

/// How far something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done: one line.
    pub what: String,
    /// How much is done.
    pub done: u64,
    /// How much there is, as far as is known; it may grow.
    pub total: u64,
    /// Of what.
    pub unit: Unit,
}

/// What progress is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Steps of a build.
    Steps,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Steps => "steps",
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what: String = self.what.chars().filter(|c| !c.is_control()).collect();
        write!(f, "progress {}/{} {}: {what}", self.done, self.total, self.unit.name())
    }
}

impl Progress {
    /// Whether the log has a line of its own for what is being done: steps of an image's build.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.unit == Unit::Steps && self.what.starts_with("Step ")
    }

    /// Reads a line of a log; `None` where it is not about progress.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let rest = line.trim_end().strip_prefix("progress ")?;
        let (counted, what) = rest.split_once(": ")?;
        let (numbers, unit) = counted.split_once(' ')?;
        let (done, total) = numbers.split_once('/')?;
        let unit = [Unit::Bytes, Unit::Steps].into_iter().find(|known| known.name() == unit)?;
        Some(Self {
            what: what.to_owned(),
            done: done.parse().ok()?,
            total: total.parse().ok()?,
            unit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let progress = Progress {
            what: "Pulling python:3.11 (3 of 7 layers)".to_owned(),
            done: 45,
            total: 120,
            unit: Unit::Bytes,
        };
        assert_eq!(Progress::parse(&format!("{progress}\n")), Some(progress));
    }

    #[test]
    fn other_lines_are_not_progress() {
        for line in [
            "",
            "progress",
            "progress 1/2",
            "progress 1/2 bytes",
            "progress a/2 bytes: x",
            "in progress 1/2 bytes: x",
        ] {
            assert_eq!(Progress::parse(line), None, "{line}");
        }
    }
}
