//! Places under a policy's limits that were given to requests whose leases the watch has not returned yet. Counting and deciding for an
//! identity happens under one lock, so that two decisions at once cannot both pass a limit.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
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
}

/// Every place that is taken and not yet visible as a lease, by request UID.
#[derive(Default)]
pub struct Slots(Mutex<HashMap<String, Slot>>);

/// The lock: while it is held nobody else counts or takes.
pub struct Counting<'a>(MutexGuard<'a, HashMap<String, Slot>>);

impl Slots {
    /// Begins to count.
    pub fn count(&self) -> Counting<'_> {
        Counting(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives a place back: the grant failed, or its lease is visible now.
    pub fn release(&self, request_uid: &str) {
        self.count().0.remove(request_uid);
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
