//! Keeps a script that writes line by line from waking its supervisor for each of them.

use std::thread;
use std::time::{Duration, Instant};

/// How much is read at once, and how often.
///
/// The first pieces are read at once; in a burst we rest for a moment between reads, while the
/// pipe collects. A pipe that fills up is read without rest.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    reads: u32,
    largest: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { since: Instant::now(), reads: 0, largest: 0 }
    }
}

impl Pace {
    const WINDOW: Duration = Duration::from_millis(10);
    const READS_AT_ONCE: u32 = 10;
    const REST: Duration = Duration::from_millis(1);
    /// A pipe that holds as much fills up soon.
    const FULL: usize = 1 << 17;

    pub(crate) fn read(&mut self, count: usize) {
        if self.since.elapsed() > Self::WINDOW {
            self.since = Instant::now();
            self.reads = 0;
        }
        self.reads += 1;
        self.largest = self.largest.max(count);
    }

    pub(crate) fn rest(&mut self) {
        if self.reads > Self::READS_AT_ONCE && self.largest < Self::FULL {
            thread::sleep(Self::REST);
        }
        self.largest = 0;
    }
}
