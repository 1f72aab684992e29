//! Which run starts next: first in, first out, within the limit.

use std::collections::VecDeque;

/// How many of the runs that wait may start now, from the front of the queue. Pure.
pub(crate) const fn admitted(waiting: usize, on: usize, limit: usize) -> usize {
    let free = limit.saturating_sub(on);
    if waiting < free { waiting } else { free }
}

/// How many runs may be on at once when nobody said: two per core, as Azure's compute instances
/// have it.
pub(crate) fn default_limit(cores: usize) -> usize {
    cores.max(1) * 2
}

/// The runs that wait, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Queue<R>(VecDeque<R>);

impl<R> Default for Queue<R> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<R: PartialEq> Queue<R> {
    /// Adds a run at the end.
    pub(crate) fn push(&mut self, run: R) {
        self.0.push_back(run);
    }

    /// Takes the run at the front.
    pub(crate) fn pop(&mut self) -> Option<R> {
        self.0.pop_front()
    }

    /// Takes `run` out, wherever it is. Says whether it was there.
    pub(crate) fn remove(&mut self, run: &R) -> bool {
        let before = self.0.len();
        self.0.retain(|waiting| waiting != run);
        self.0.len() < before
    }

    /// The place of `run`, from 1.
    pub(crate) fn position(&self, run: &R) -> Option<usize> {
        self.0.iter().position(|waiting| waiting == run).map(|index| index + 1)
    }

    /// All that wait, with their places from 1.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (&R, usize)> {
        self.0.iter().zip(1..)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn positions_count_from_one_and_move_up() {
        let mut queue = Queue::default();
        for run in ["a", "b", "c"] {
            queue.push(run);
        }

        assert_eq!(queue.position(&"c"), Some(3));
        assert!(queue.remove(&"b"));
        assert!(!queue.remove(&"b"));
        assert_eq!(queue.position(&"c"), Some(2));
        assert_eq!(queue.pop(), Some("a"));
        assert_eq!(queue.position(&"c"), Some(1));
        assert_eq!(queue.position(&"a"), None);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_machine_without_known_cores_still_runs_something() {
        assert_eq!([0, 1, 2, 64].map(default_limit), [2, 2, 4, 128]);
    }

    proptest! {
        #[test]
        fn places_are_neither_overbooked_nor_left_empty(
            waiting in 0..1000_usize, on in 0..100_usize, limit in 0..100_usize,
        ) {
            let started = admitted(waiting, on, limit);

            prop_assert!(started == 0 || on + started <= limit);
            prop_assert!(started == waiting || on + started >= limit);
        }
    }
}
