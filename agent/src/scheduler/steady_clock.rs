//! A clock that goes on evenly whatever the machine's is set to: what waits for its time waits that
//! long, neither less nor for ever.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// The machine's time when it was made, and what passed since.
#[derive(Debug)]
pub(super) struct SteadyClock {
    time: Timestamp,
    made: Instant,
}

impl Default for SteadyClock {
    fn default() -> Self {
        Self { time: Timestamp::now(), made: Instant::now() }
    }
}

impl SteadyClock {
    /// Returns its time.
    pub(super) fn now(&self) -> Timestamp {
        self.time.saturating_add(self.made.elapsed()).unwrap_or(Timestamp::MAX)
    }

    /// Returns when `time`, which was chosen as `delay` from then at most, comes by this clock.
    pub(super) fn coming(&self, time: Timestamp, delay: Duration) -> Timestamp {
        coming(time, delay, Timestamp::now(), self.now())
    }

    /// Returns what the machine's clock says at `time` of this one, as both go now.
    pub(super) fn told(&self, time: Timestamp) -> Timestamp {
        let left = time.duration_since(self.now());
        Timestamp::now().saturating_add(left).unwrap_or(Timestamp::MAX)
    }
}

/// A clock that was set back since shows as a longer time than was chosen.
fn coming(time: Timestamp, delay: Duration, machine: Timestamp, steady: Timestamp) -> Timestamp {
    let longest = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    let left = time.duration_since(machine).clamp(SignedDuration::ZERO, longest);
    steady.saturating_add(left).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_comes_after_its_delay_at_most() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let delay = Duration::from_secs(10);
        // Chosen at 100 for 110, looked at when the machine says …
        for (machine, left) in [(100, 10), (104, 6), (110, 0), (3_700, 0), (99, 10), (-9_000, 10)] {
            assert_eq!(
                coming(at(110), delay, at(machine), at(5_000)),
                at(5_000 + left),
                "{machine}"
            );
        }
        assert_eq!(coming(at(110), delay, at(100), Timestamp::MAX), Timestamp::MAX);
    }
}
