//! Which run starts next: first in, first out, within the limit of the target it is for.

use std::collections::{HashMap, VecDeque};

/// How many runs may be on at once when nobody said: two per core, as Azure's compute instances
/// have it.
pub(crate) fn default_limit(cores: usize) -> usize {
    cores.max(1) * 2
}

/// How many runs may be on at once on another machine: as here, or 4 where nobody knows how many
/// cores it has.
pub(crate) fn places_elsewhere(cores: Option<u32>) -> usize {
    cores.and_then(|cores| usize::try_from(cores).ok()).map_or(4, default_limit)
}

/// The runs that wait, each for a place on its target, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Queue<R>(VecDeque<Waiting<R>>);

#[derive(Debug)]
struct Waiting<R> {
    run: R,
    target: String,
}

impl<R> Default for Queue<R> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<R: PartialEq> Queue<R> {
    /// Adds a run at the end, for a place on `target`.
    pub(crate) fn push(&mut self, run: R, target: String) {
        self.0.push_back(Waiting { run, target });
    }

    /// Takes the first run out for whose target `has_place` is true. One that waits for another
    /// target is in nobody's way.
    pub(crate) fn pop(&mut self, has_place: impl Fn(&str) -> bool) -> Option<(R, String)> {
        let index = self.0.iter().position(|waiting| has_place(&waiting.target))?;
        self.0.remove(index).map(|waiting| (waiting.run, waiting.target))
    }

    /// Takes `run` out, wherever it is. Says whether it was there.
    pub(crate) fn remove(&mut self, run: &R) -> bool {
        let before = self.0.len();
        self.0.retain(|waiting| waiting.run != *run);
        self.0.len() < before
    }

    /// The place of `run` among those that wait for the same target, from 1.
    pub(crate) fn position(&self, run: &R) -> Option<usize> {
        self.positions().find(|(waiting, _)| *waiting == run).map(|(_, place)| place)
    }

    /// All that wait, each with its place from 1 among those that wait for the same target.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (&R, usize)> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        self.0.iter().map(move |waiting| {
            let place = places.entry(&waiting.target).or_default();
            *place += 1;
            (&waiting.run, *place)
        })
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many wait for `target`.
    pub(crate) fn waiting_for(&self, target: &str) -> usize {
        self.0.iter().filter(|waiting| waiting.target == target).count()
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
            queue.push(run, "local".to_owned());
        }

        assert_eq!(queue.position(&"c"), Some(3));
        assert!(queue.remove(&"b"));
        assert!(!queue.remove(&"b"));
        assert_eq!(queue.position(&"c"), Some(2));
        assert_eq!(queue.pop(|_| true).unwrap().0, "a");
        assert_eq!(queue.position(&"c"), Some(1));
        assert_eq!(queue.position(&"a"), None);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn who_waits_for_another_target_is_in_nobodys_way() {
        let mut queue = Queue::default();
        for (run, target) in [("a", "local"), ("b", "local"), ("c", "gpu-vm"), ("d", "gpu-vm")] {
            queue.push(run, target.to_owned());
        }

        assert_eq!(queue.positions().map(|(_, place)| place).collect::<Vec<_>>(), [1, 2, 1, 2]);
        assert_eq!(queue.waiting_for("gpu-vm"), 2);
        let on_vm = queue.pop(|target| target == "gpu-vm");
        assert_eq!(on_vm, Some(("c", "gpu-vm".to_owned())));
        assert_eq!(queue.pop(|_| false), None);
        assert_eq!(queue.pop(|_| true), Some(("a", "local".to_owned())));
    }

    #[test]
    fn a_machine_without_known_cores_still_runs_something() {
        assert_eq!([0, 1, 2, 64].map(default_limit), [2, 2, 4, 128]);
        assert_eq!([None, Some(0), Some(8)].map(places_elsewhere), [4, 2, 16]);
    }

    proptest! {
        #[test]
        fn places_are_neither_overbooked_nor_left_empty(
            waiting in proptest::collection::vec(0..3_usize, 0..200),
            limits in proptest::array::uniform3(0..20_usize),
        ) {
            let mut queue = Queue::default();
            for (run, target) in waiting.iter().enumerate() {
                queue.push(run, target.to_string());
            }
            let number = |target: &str| target.parse::<usize>().unwrap();
            let mut on: [Vec<usize>; 3] = Default::default();
            while let Some((run, target)) =
                queue.pop(|target| on[number(target)].len() < limits[number(target)])
            {
                on[number(&target)].push(run);
            }

            for (target, on) in on.iter().enumerate() {
                let mut wanted = (0..waiting.len()).filter(|run| waiting[*run] == target);
                prop_assert!(on.len() <= limits[target]);
                prop_assert!(on.len() == limits[target] || queue.waiting_for(&target.to_string()) == 0);
                // Those that came first.
                prop_assert!(on.iter().all(|run| wanted.next() == Some(*run)));
            }
        }
    }
}
