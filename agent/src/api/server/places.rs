//! Places for connections over TCP, of which there are only so many.
//!
//! Whoever has shown no token yet holds a place on trust. When all are taken, the one of them who
//! came first makes room: so a crowd that says nothing keeps nobody out, and those who may be here
//! are never put out for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// All places.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug)]
struct Taken {
    places: usize,
    /// Who holds one, in the order in which they came; those who have shown no token with what
    /// tells them to go.
    by: BTreeMap<u64, Option<Arc<Notify>>>,
    came: u64,
}

/// A place, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    all: Places,
    number: u64,
    asked: Arc<Notify>,
}

impl Places {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(Taken { places, by: BTreeMap::new(), came: 0 })))
    }

    /// Takes a place. `None` when all are held by those who have shown a token.
    pub(super) fn take(&self) -> Option<Place> {
        let mut taken = self.lock();
        if taken.by.len() >= taken.places {
            let unproven = taken.by.iter().find_map(|(number, asked)| {
                asked.as_ref().map(|asked| (*number, Arc::clone(asked)))
            });
            let (number, first) = unproven?;
            taken.by.remove(&number);
            first.notify_one();
        }
        taken.came += 1;
        let (number, asked) = (taken.came, Arc::new(Notify::new()));
        taken.by.insert(number, Some(Arc::clone(&asked)));
        Some(Place { all: self.clone(), number, asked })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Says that whoever holds it has shown a token, and keeps it from now on. One who was told to
    /// go before goes all the same.
    pub(super) fn prove(&self) {
        if let Some(asked) = self.all.lock().by.get_mut(&self.number) {
            *asked = None;
        }
    }

    /// Waits until the place is needed for somebody else.
    pub(super) async fn needed(&self) {
        self.asked.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.lock().by.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_needed(place: &Place) -> bool {
        place.needed().now_or_never().is_some()
    }

    #[test]
    fn who_has_shown_nothing_and_came_first_makes_room() {
        let places = Places::new(3);
        let [proven, first, second] = [(); 3].map(|()| places.take().unwrap());
        proven.prove();

        let third = places.take().unwrap();

        assert_eq!([&proven, &first, &second, &third].map(is_needed), [false, true, false, false]);
        // Whoever goes frees no place, for that was given on; nor do they keep it by a token now.
        first.prove();
        drop(first);
        assert_eq!(places.lock().by.len(), 3);
        [&second, &third].into_iter().for_each(Place::prove);
        assert!(places.take().is_none());
        drop(second);
        assert!(places.take().is_some());
    }
}
