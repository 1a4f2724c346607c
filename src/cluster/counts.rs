//! How many credentials are live, for limits: kept in step with every change, so that counting walks nothing.
//!
//! A limit may allow thousands to one identity, and each decision counts them. Called by `world` alone.

use std::collections::HashMap;

use super::cache::Key;

/// What a lease counts under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose it is.
    pub username: String,
    /// The policy that its spec names.
    pub policy: String,
    /// The pod that asked.
    pub pod_uid: String,
}

/// Leases that are not closed.
#[derive(Default)]
pub(super) struct Counts {
    places: HashMap<Key, Place>,
    /// Identity and policy → how many each pod has.
    live: HashMap<(String, String), HashMap<String, u64>>,
}

impl Counts {
    /// Counts a lease anew: under this place, or (closed, removed) not at all.
    pub fn count(&mut self, key: &Key, place: Option<Place>) {
        let before = match place {
            Some(place) => {
                let of_policy = self.live.entry((place.username.clone(), place.policy.clone())).or_default();
                *of_policy.entry(place.pod_uid.clone()).or_default() += 1;
                self.places.insert(key.clone(), place)
            }
            None => self.places.remove(key),
        };
        if let Some(before) = before {
            self.discount(before);
        }
    }

    /// Of one identity under one policy: all, and those of one pod.
    pub fn live(&self, username: &str, policy: &str, pod_uid: &str) -> (u64, u64) {
        let of_policy = self.live.get(&(username.to_owned(), policy.to_owned()));
        of_policy.map_or((0, 0), |pods| (pods.values().sum(), pods.get(pod_uid).copied().unwrap_or_default()))
    }

    /// What a lease counts under.
    pub fn place(&self, key: &Key) -> Option<&Place> {
        self.places.get(key)
    }

    /// Every lease that counts.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.places.keys()
    }

    fn discount(&mut self, place: Place) {
        let of_policy = (place.username, place.policy);
        let Some(pods) = self.live.get_mut(&of_policy) else { return };
        if let Some(count) = pods.get_mut(&place.pod_uid) {
            *count -= 1;
            if *count == 0 {
                pods.remove(&place.pod_uid);
            }
        }
        if pods.is_empty() {
            self.live.remove(&of_policy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("home", name)
    }

    fn place(policy: &str, pod: &str) -> Option<Place> {
        Some(Place { username: "orders".into(), policy: policy.into(), pod_uid: pod.into() })
    }

    #[test]
    fn a_lease_counts_once_however_often_it_is_seen_and_under_the_policy_that_it_names_last() {
        let mut counts = Counts::default();
        for (name, pod) in [("a", "1"), ("a", "1"), ("b", "2")] {
            counts.count(&key(name), place("old", pod));
        }
        assert_eq!(counts.live("orders", "old", "1"), (2, 1));
        counts.count(&key("a"), place("new", "1"));
        assert_eq!((counts.live("orders", "old", "1"), counts.live("orders", "new", "1")), ((1, 0), (1, 1)));
        assert_eq!(counts.live("billing", "new", "1"), (0, 0), "somebody else's");
    }

    #[test]
    fn what_is_closed_counts_no_more_and_leaves_nothing_behind() {
        let mut counts = Counts::default();
        counts.count(&key("a"), place("p", "1"));
        counts.count(&key("b"), place("p", "1"));
        counts.count(&key("a"), None);
        assert_eq!((counts.live("orders", "p", "1"), counts.place(&key("a"))), ((1, 1), None));
        counts.count(&key("b"), None);
        counts.count(&key("b"), None);
        assert!(counts.live.is_empty() && counts.places.is_empty());
    }
}
