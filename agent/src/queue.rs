//! The runs that wait, and which of them start next.
//!
//! [`Queue::plan`] decides, as a pure function of what waits, what is on and what there is:
//!
//! 1. A run that is held, waits for others or for its time is in nobody's way.
//! 2. Of the others, a higher priority goes first. A lower one rises by one each
//!    [`AGEING`], up to the highest that waits, so that nothing waits for ever.
//! 3. Of the same priority, users take turns: whoever has the fewest on or ahead goes first.
//!    One user's own runs keep their order.
//! 4. A run that does not fit lets later ones pass. Once it has waited [`PATIENCE`], what it
//!    takes is kept free for it.

mod share;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use jiff::Timestamp;
use runner::run_configuration::Resources;

pub(crate) use share::{Capacity, Lack, Share, Used, of_this_machine, places_elsewhere};

/// How long a run waits for one step of priority.
pub(crate) const AGEING: Duration = Duration::from_secs(10 * 60);

/// How long a run that does not fit lets later ones pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// A run that waits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Waiting<R> {
    /// Which.
    pub(crate) run: R,
    /// The order in which runs were accepted.
    pub(crate) number: i64,
    /// Whose it is.
    pub(crate) uid: u32,
    /// Where it is to be carried out.
    pub(crate) target: String,
    /// Higher goes first.
    pub(crate) priority: i32,
    /// Since when it waits.
    pub(crate) since: Timestamp,
    /// What it names of its target.
    pub(crate) asks: Resources,
    /// It waits until somebody releases it.
    pub(crate) held: bool,
    /// It waits until then.
    pub(crate) not_before: Option<Timestamp>,
    /// It waits until these are over.
    pub(crate) after: Vec<R>,
}

/// A run that is on, as far as others that wait care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct On {
    /// Whose it is.
    pub(crate) uid: u32,
    /// Where it is.
    pub(crate) target: String,
    /// What it takes there.
    pub(crate) share: Share,
}

/// Why a run does not start now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle<R> {
    /// It is held.
    Held,
    /// These are not over.
    After(Vec<R>),
    /// Its time has not come.
    NotBefore(Timestamp),
    /// Its target has too little of something.
    Lack(Lack),
    /// It would fit, but what it takes is kept free for this one, which has waited long.
    KeptFor(R),
}

/// The runs that wait.
#[derive(Clone, Debug)]
pub(crate) struct Queue<R>(Vec<Waiting<R>>);

impl<R> Default for Queue<R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<R> Obstacle<R> {
    /// Says whether the run would start if there were more room.
    pub(crate) fn is_of_room(&self) -> bool {
        matches!(self, Self::Lack(_) | Self::KeptFor(_))
    }
}

impl<R: Clone + Eq + Hash> Queue<R> {
    /// Adds a run.
    pub(crate) fn push(&mut self, waiting: Waiting<R>) {
        self.0.push(waiting);
    }

    /// Takes `run` out.
    pub(crate) fn remove(&mut self, run: &R) -> Option<Waiting<R>> {
        let index = self.0.iter().position(|waiting| waiting.run == *run)?;
        Some(self.0.swap_remove(index))
    }

    /// Returns `run`, to change how it waits.
    pub(crate) fn get_mut(&mut self, run: &R) -> Option<&mut Waiting<R>> {
        self.0.iter_mut().find(|waiting| waiting.run == *run)
    }

    /// All that wait, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waiting<R>> {
        self.0.iter()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many wait for `target`.
    pub(crate) fn waiting_for(&self, target: &str) -> usize {
        self.0.iter().filter(|waiting| waiting.target == target).count()
    }

    /// Decides for every run that waits, in the order in which they start, what it waits for; `None`
    /// is to start now.
    pub(crate) fn plan(
        &self,
        on: &[On],
        capacity: impl Fn(&str) -> Capacity,
        now: Timestamp,
    ) -> Vec<(&Waiting<R>, Option<Obstacle<R>>)> {
        let mut targets: HashMap<&str, Room<R>> = HashMap::new();
        for waiting in &self.0 {
            let target = waiting.target.as_str();
            targets.entry(target).or_insert_with(|| Room::new(capacity(target), target, on));
        }
        let mut plan: Vec<_> = self
            .order(on, now)
            .into_iter()
            .map(|waiting| {
                let room = targets.get_mut(waiting.target.as_str());
                (waiting, room.and_then(|room| room.admit(waiting, now)))
            })
            .collect();
        let stay = self.0.iter().filter_map(|waiting| Some((waiting, waiting.stays(now)?)));
        plan.extend(stay.map(|(waiting, obstacle)| (waiting, Some(obstacle))));
        plan
    }

    /// Returns when the first run's time comes that has not.
    pub(crate) fn next_time(&self, now: Timestamp) -> Option<Timestamp> {
        self.0.iter().filter_map(|waiting| waiting.not_before).filter(|time| *time > now).min()
    }

    /// Returns those that only wait for a place, in the order in which they get one.
    fn order(&self, on: &[On], now: Timestamp) -> Vec<&Waiting<R>> {
        let mut waiting: Vec<_> = self.0.iter().filter(|it| it.stays(now).is_none()).collect();
        let mut highest: HashMap<&str, i32> = HashMap::new();
        for it in &waiting {
            let most = highest.entry(it.target.as_str()).or_insert(i32::MIN);
            *most = (*most).max(it.priority);
        }
        let risen = |it: &Waiting<R>| it.risen(now, highest[it.target.as_str()]);
        waiting.sort_by_cached_key(|it| (Reverse(risen(it)), it.number));
        // Whoever has runs on, or ahead in this order, is behind those who have fewer.
        let mut ahead: HashMap<(&str, u32), usize> = HashMap::new();
        for it in on {
            *ahead.entry((it.target.as_str(), it.uid)).or_default() += 1;
        }
        let mut turns: Vec<_> = waiting
            .into_iter()
            .map(|it| {
                let turn = ahead.entry((it.target.as_str(), it.uid)).or_default();
                *turn += 1;
                ((Reverse(risen(it)), *turn, it.number), it)
            })
            .collect();
        turns.sort_by_key(|(key, _)| *key);
        turns.into_iter().map(|(_, it)| it).collect()
    }
}

impl<R: Clone> Waiting<R> {
    /// Says why it could not start however much room there was.
    fn stays(&self, now: Timestamp) -> Option<Obstacle<R>> {
        if self.held {
            return Some(Obstacle::Held);
        }
        if !self.after.is_empty() {
            return Some(Obstacle::After(self.after.clone()));
        }
        let time = self.not_before.filter(|time| *time > now)?;
        Some(Obstacle::NotBefore(time))
    }

    /// Returns its priority as it is now that it has waited so long.
    fn risen(&self, now: Timestamp, highest: i32) -> i32 {
        let steps = self.waited(now).as_secs() / AGEING.as_secs();
        let steps = i32::try_from(steps).unwrap_or(i32::MAX);
        self.priority.saturating_add(steps).min(highest)
    }

    fn waited(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.since)).unwrap_or_default()
    }
}

/// What is left of a target while it is decided who gets it.
struct Room<R> {
    capacity: Capacity,
    used: Used,
    /// As `used`, with what is kept free for a run that has waited long.
    kept: Option<(R, Used)>,
}

impl<R: Clone> Room<R> {
    fn new(capacity: Capacity, target: &str, on: &[On]) -> Self {
        let mut used = Used::default();
        on.iter().filter(|it| it.target == target).for_each(|it| used.add(&it.share));
        Self { capacity, used, kept: None }
    }

    /// Gives `waiting` its place, or says why it has to wait.
    fn admit(&mut self, waiting: &Waiting<R>, now: Timestamp) -> Option<Obstacle<R>> {
        let share = self.capacity.share(&waiting.asks);
        if let Some(lack) = self.capacity.lacks(&self.used, &share) {
            if self.kept.is_none() && waiting.waited(now) >= PATIENCE {
                let mut with = self.used;
                with.add(&share);
                self.kept = Some((waiting.run.clone(), with));
            }
            return Some(Obstacle::Lack(lack));
        }
        if let Some((run, with)) = &mut self.kept {
            if self.capacity.lacks(with, &share).is_some() {
                return Some(Obstacle::KeptFor(run.clone()));
            }
            with.add(&share);
        }
        self.used.add(&share);
        None
    }
}

#[cfg(test)]
mod tests;
