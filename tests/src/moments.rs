//! Moments that nobody chose, and how to have the same ones again.

use std::time::Duration;

/// A series of moments: the same for the same seed.
pub struct Moments {
    state: u64,
}

impl Moments {
    /// Begins a series with `TRAINYARD_TEST_SEED`, or with a seed that is printed, so that a
    /// failure can be had again.
    #[must_use]
    pub fn seeded() -> Self {
        let given = std::env::var("TRAINYARD_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            u64::try_from(jiff::Timestamp::now().as_nanosecond().unsigned_abs() >> 10)
                .expect("the year 2500 is far")
        });
        println!("TRAINYARD_TEST_SEED={seed}");
        Self { state: seed | 1 }
    }

    /// Returns the next number below `end` (xorshift64).
    pub fn below(&mut self, end: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % end
    }

    /// Returns the next moment, at most `limit_ms` away.
    pub fn within(&mut self, limit_ms: u64) -> Duration {
        Duration::from_micros(self.below(limit_ms * 1000))
    }
}

/// Says whether tests that can be long are to be: `TRAINYARD_SOAK=1`.
#[must_use]
pub fn is_soak() -> bool {
    std::env::var("TRAINYARD_SOAK").is_ok_and(|soak| soak == "1")
}
