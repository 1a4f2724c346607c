//! Places under a policy's limits that were given to requests whose leases are not visible yet. Counting and deciding for an identity
//! happens under one lock, so that two decisions at once cannot both pass a limit.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A place that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The policy that it counts under.
    pub policy: String,
    /// Whose it is.
    pub username: String,
    /// The pod that asked.
    pub pod_uid: String,
    /// When it was taken.
    pub taken: Instant,
}

/// Longer than any request may go unanswered: a place that nobody gave back until then belongs to nobody.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(180);

/// Every place that is taken and not yet visible as a lease, by request UID.
#[derive(Default)]
pub struct Slots(Mutex<HashMap<String, Slot>>);

/// The lock: while it is held nobody else counts or takes.
pub struct Counting<'a>(MutexGuard<'a, HashMap<String, Slot>>);

impl Slots {
    /// Begins to count.
    pub fn count(&self, now: Instant) -> Counting<'_> {
        let mut slots = self.lock();
        slots.retain(|_, slot| now.duration_since(slot.taken) < FORGOTTEN_AFTER);
        Counting(slots)
    }

    /// Gives a place back: the grant failed, or its lease is visible now.
    pub fn release(&self, request_uid: &str) {
        self.lock().remove(request_uid);
    }

    /// Some grant for this pod is under way.
    pub fn any_of_pod(&self, pod_uid: &str) -> bool {
        self.lock().values().any(|slot| slot.pod_uid == pod_uid)
    }

    /// Some grant is under way.
    pub fn any(&self) -> bool {
        !self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counting<'_> {
    /// Places taken by one identity, by request UID.
    pub fn of<'s>(&'s self, username: &'s str) -> impl Iterator<Item = (&'s String, &'s Slot)> {
        self.0.iter().filter(move |(_, slot)| slot.username == username)
    }

    /// Takes a place.
    pub fn take(&mut self, request_uid: &str, slot: Slot) {
        self.0.insert(request_uid.to_owned(), slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Clock;

    fn slot(taken: Instant) -> Slot {
        Slot { policy: "p".into(), username: "u".into(), pod_uid: "pod".into(), taken }
    }

    #[test]
    fn a_place_counts_until_it_is_given_back() {
        let (slots, now) = (Slots::default(), Clock::default().monotonic());
        slots.count(now).take("r", slot(now));
        assert_eq!(slots.count(now).of("u").count(), 1);
        assert_eq!(slots.count(now).of("somebody else").count(), 0);
        slots.release("r");
        assert_eq!(slots.count(now).of("u").count(), 0);
    }

    #[test]
    fn a_place_that_nobody_gave_back_is_forgotten_in_the_end() {
        let (slots, now) = (Slots::default(), Clock::default().monotonic());
        slots.count(now).take("r", slot(now));
        assert_eq!(slots.count(now + FORGOTTEN_AFTER).of("u").count(), 0);
    }
}
