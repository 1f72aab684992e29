//! Which ends of an attempt are followed by another, how many and when.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The most retries of one run.
pub const MOST_RETRIES: u32 = 100;

/// The longest wait before an attempt.
pub const LONGEST_DELAY_SECONDS: u64 = 60 * 60;

/// How a run is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryPolicy {
    /// How often at most: 1 to [`MOST_RETRIES`].
    pub retries: u32,
    /// After which ends, besides those that are not the script's doing.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub on: BTreeSet<RetryOn>,
    /// How long the run waits before its second attempt; before each further one twice as long,
    /// but never longer than [`LONGEST_DELAY_SECONDS`].
    #[serde(default = "default_delay")]
    pub delay_seconds: u64,
}

/// An end of the script that another attempt may follow, if it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// It failed by itself: an exit code, or a signal.
    Failure,
    /// It was out of memory.
    Oom,
    /// It reached its time limit.
    Timeout,
}

/// A policy that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRetryPolicy {
    /// Too few retries, or too many.
    #[error("{retries} retries are not 1 to {MOST_RETRIES}")]
    Retries {
        /// How many.
        retries: u32,
    },
    /// Too long a delay.
    #[error("a first delay of {seconds} s is longer than any between attempts: at most 1h")]
    Delay {
        /// How long.
        seconds: u64,
    },
}

/// Returns how long a run waits before its second attempt where nobody says.
fn default_delay() -> u64 {
    10
}

impl RetryPolicy {
    /// Makes a policy of what was given; what was not is the default.
    #[must_use]
    pub fn new(retries: u32, on: BTreeSet<RetryOn>, delay_seconds: Option<u64>) -> Self {
        Self { retries, on, delay_seconds: delay_seconds.unwrap_or_else(default_delay) }
    }

    /// Checks that the policy can be followed.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), InvalidRetryPolicy> {
        if !(1..=MOST_RETRIES).contains(&self.retries) {
            return Err(InvalidRetryPolicy::Retries { retries: self.retries });
        }
        if self.delay_seconds > LONGEST_DELAY_SECONDS {
            return Err(InvalidRetryPolicy::Delay { seconds: self.delay_seconds });
        }
        Ok(())
    }

    /// Returns how many attempts there are in all.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.retries.saturating_add(1)
    }
}

impl RetryOn {
    /// Returns its name in options and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Oom => "oom",
            Self::Timeout => "timeout",
        }
    }
}

impl fmt::Display for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, the first after {} s", self.retries, self.delay_seconds)?;
        let on: Vec<_> = self.on.iter().map(|on| on.name()).collect();
        if on.is_empty() { Ok(()) } else { write!(f, ", on {} too", on.join(" and ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_told_in_a_line() {
        let all = [RetryOn::Timeout, RetryOn::Oom];
        let told = RetryPolicy::new(3, all.into(), Some(60)).to_string();
        assert_eq!(told, "3, the first after 60 s, on oom and timeout too");
        assert_eq!(RetryPolicy::new(1, [].into(), None).to_string(), "1, the first after 10 s");
    }

    #[test]
    fn the_json_of_a_policy_is_stable() {
        let policy = RetryPolicy::new(3, [RetryOn::Oom, RetryOn::Failure].into(), None);
        let json = r#"{"retries":3,"on":["failure","oom"],"delaySeconds":10}"#;
        assert_eq!(serde_json::to_string(&policy).unwrap(), json);
        assert_eq!(serde_json::from_str::<RetryPolicy>(r#"{"retries":1}"#).unwrap().attempts(), 2);
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        let refused = |retries, seconds| {
            RetryPolicy::new(retries, BTreeSet::new(), Some(seconds)).check().unwrap_err()
        };
        insta::assert_snapshot!(
            [refused(0, 0), refused(101, 0), refused(1, 3601)].map(|it| it.to_string()).join("\n"),
            @r"
        0 retries are not 1 to 100
        101 retries are not 1 to 100
        a first delay of 3601 s is longer than any between attempts: at most 1h
        "
        );
        assert_eq!(RetryPolicy::new(100, BTreeSet::new(), Some(3600)).check(), Ok(()));
    }
}
