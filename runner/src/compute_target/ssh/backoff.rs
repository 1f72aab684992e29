//! How long until the next try.

use std::time::{Duration, Instant};

/// After the first failure.
const FIRST: Duration = Duration::from_millis(200);

/// The longest that a machine which is back waits for us.
const LONGEST: Duration = Duration::from_secs(30);

/// When the next try is due: twice as long after every failure, from 0.2 s to 30 s.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    wait: Option<Duration>,
    due: Option<Instant>,
}

impl Backoff {
    /// Takes note of a failure at `now`. One that will not pass by itself is not tried often:
    /// servers shut those out who knock at a closed door.
    pub(super) fn failed(&mut self, now: Instant, is_passing: bool) {
        let next = self.wait.map_or(FIRST, |wait| (wait * 2).min(LONGEST));
        let next = if is_passing { next } else { LONGEST };
        self.wait = Some(next);
        self.due = Some(now + next);
    }

    /// Takes note of a success.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Returns how long it is from `now` until the next try is due.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute_and_begin_anew() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.left(now), Duration::ZERO);

        let waits: Vec<u128> = (0..10)
            .map(|_| {
                backoff.failed(now, true);
                backoff.left(now).as_millis()
            })
            .collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(backoff.left(now + Duration::from_secs(31)), Duration::ZERO);

        backoff.succeeded();
        assert_eq!(backoff.left(now), Duration::ZERO);
        backoff.failed(now, true);
        assert_eq!(backoff.left(now), FIRST);
    }

    #[test]
    fn a_closed_door_is_not_knocked_at_often() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        backoff.failed(now, false);
        assert_eq!(backoff.left(now), LONGEST);
    }
}
