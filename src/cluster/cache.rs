//! A cache of one kind, fed by its watch: what is there, what is known to be gone, and whether the watch is current.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

/// Namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// A key.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// What can be cached.
pub trait Cached: Send + Sync + 'static {
    /// Where it lives.
    fn key(&self) -> Key;
    /// `metadata.uid`.
    fn object_uid(&self) -> &str;
    /// `metadata.resourceVersion` as a number (Kubernetes promises since 1.35 that they can be compared); 0 where nobody writes into the
    /// cache but its watch.
    fn version(&self) -> u64 {
        0
    }
}

/// What is known of one particular object.
#[derive(Clone, Debug, PartialEq)]
pub enum Presence<R> {
    /// It is there.
    Present(Arc<R>),
    /// It was seen and then seen to go, or another object has its name.
    Gone,
    /// Not in the cache, and never seen to go: ask the API server.
    Unseen,
    /// The cache is not filled yet.
    Unknown,
}

/// A change that a watch brought.
#[derive(Clone, Debug)]
pub enum Change<R> {
    /// Created or updated.
    Applied(Arc<R>),
    /// Gone.
    Deleted(Arc<R>),
    /// The first full list is in.
    Synced,
}

/// UIDs of objects that were seen to go, the latest few.
const REMEMBERED_DELETIONS: usize = 20_000;

#[derive(Debug)]
struct Inner<R> {
    objects: HashMap<Key, Arc<R>>,
    gone: HashSet<String>,
    gone_order: VecDeque<String>,
    synced: bool,
    failing_since: Option<Instant>,
}

/// Objects of one kind.
#[derive(Debug)]
pub struct Cache<R> {
    inner: RwLock<Inner<R>>,
}

impl<R> Default for Cache<R> {
    fn default() -> Self {
        let inner =
            Inner { objects: HashMap::new(), gone: HashSet::new(), gone_order: VecDeque::new(), synced: false, failing_since: None };
        Self { inner: RwLock::new(inner) }
    }
}

impl<R: Cached> Cache<R> {
    /// The object of that name.
    pub fn get(&self, key: &Key) -> Option<Arc<R>> {
        self.read(|inner| inner.objects.get(key).cloned())
    }

    /// What is known of the object with this name and UID.
    pub fn presence(&self, key: &Key, uid: &str) -> Presence<R> {
        self.read(|inner| match inner.objects.get(key) {
            _ if !inner.synced => Presence::Unknown,
            Some(object) if object.object_uid() == uid => Presence::Present(object.clone()),
            // Another object has the name: UIDs are never used again, so ours is gone, unless the cache is behind and ours is the newer one.
            Some(_) | None if inner.gone.contains(uid) => Presence::Gone,
            Some(_) | None => Presence::Unseen,
        })
    }

    /// Every object.
    pub fn list(&self) -> Vec<Arc<R>> {
        self.read(|inner| inner.objects.values().cloned().collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.read(|inner| inner.objects.len())
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first full list is in.
    pub fn synced(&self) -> bool {
        self.read(|inner| inner.synced)
    }

    /// Since when the watch has been failing.
    pub fn failing_since(&self) -> Option<Instant> {
        self.read(|inner| inner.failing_since)
    }

    /// Takes in an object that is there now. One that is older than what is held (the watch is behind our own write), or that was seen to
    /// go, changes nothing: the answer is what is held then.
    pub fn apply(&self, object: R) -> Change<R> {
        let object = Arc::new(object);
        self.write(|inner| {
            if let Some(held) = inner.objects.get(&object.key())
                && held.object_uid() == object.object_uid()
                && held.version() > object.version()
            {
                return Change::Applied(held.clone());
            }
            let replaced = inner.objects.insert(object.key(), object.clone());
            if let Some(replaced) = replaced.filter(|old| old.object_uid() != object.object_uid()) {
                remember(inner, replaced.object_uid());
            }
            Change::Applied(object.clone())
        })
    }

    /// Takes in what our own write returned, if the object is still held: the watch brings the same later.
    pub fn own_write(&self, object: R) {
        let held = self.get(&object.key()).is_some_and(|held| held.object_uid() == object.object_uid());
        if held {
            self.apply(object);
        }
    }

    /// Forgets an object that went.
    pub fn delete(&self, object: R) -> Change<R> {
        let object = Arc::new(object);
        self.write(|inner| {
            remember(inner, object.object_uid());
            // A late deletion must not hide the next object of the same name.
            if inner.objects.get(&object.key()).is_some_and(|held| held.object_uid() == object.object_uid()) {
                inner.objects.remove(&object.key());
            }
        });
        Change::Deleted(object)
    }

    /// Takes in a full list; what is not on it is gone.
    pub fn replace(&self, list: Vec<R>) -> Vec<Change<R>> {
        let fresh: HashMap<Key, Arc<R>> = list.into_iter().map(|object| (object.key(), Arc::new(object))).collect();
        self.write(|inner| {
            let old = std::mem::replace(&mut inner.objects, fresh);
            let mut changes = Vec::new();
            for (key, object) in old {
                if inner.objects.get(&key).is_none_or(|now| now.object_uid() != object.object_uid()) {
                    remember(inner, object.object_uid());
                    changes.push(Change::Deleted(object));
                }
            }
            changes.extend(inner.objects.values().cloned().map(Change::Applied));
            if !inner.synced {
                inner.synced = true;
                changes.push(Change::Synced);
            }
            inner.failing_since = None;
            changes
        })
    }

    /// The watch works, or has failed at this instant.
    pub fn mark(&self, failed: Option<Instant>) {
        let failing = self.read(|inner| inner.failing_since.is_some());
        if failing != failed.is_some() {
            self.write(|inner| inner.failing_since = failed);
        }
    }

    fn read<T>(&self, f: impl FnOnce(&Inner<R>) -> T) -> T {
        f(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, f: impl FnOnce(&mut Inner<R>) -> T) -> T {
        f(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn remember<R>(inner: &mut Inner<R>, uid: &str) {
    if inner.gone.insert(uid.to_owned()) {
        inner.gone_order.push_back(uid.to_owned());
        if inner.gone_order.len() > REMEMBERED_DELETIONS
            && let Some(oldest) = inner.gone_order.pop_front()
        {
            inner.gone.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Thing(&'static str, &'static str);

    #[derive(Debug, PartialEq)]
    struct Versioned(u64, &'static str);

    impl Cached for Versioned {
        fn key(&self) -> Key {
            key()
        }
        fn object_uid(&self) -> &str {
            self.1
        }
        fn version(&self) -> u64 {
            self.0
        }
    }

    impl Cached for Thing {
        fn key(&self) -> Key {
            Key::new("ns", self.0)
        }
        fn object_uid(&self) -> &str {
            self.1
        }
    }

    fn key() -> Key {
        Key::new("ns", "a")
    }

    #[test]
    fn a_watch_that_is_behind_our_own_write_does_not_undo_it() {
        let cache = Cache::default();
        cache.replace(vec![Versioned(1, "u")]);
        cache.own_write(Versioned(3, "u"));
        let change = cache.apply(Versioned(2, "u"));
        assert!(matches!(change, Change::Applied(held) if held.version() == 3));
        cache.own_write(Versioned(9, "other"));
        assert_eq!(cache.get(&key()).unwrap().version(), 3, "a write to an object that went in the meantime is not resurrected");
    }

    #[test]
    fn nothing_is_gone_before_the_first_list() {
        let cache = Cache::<Thing>::default();
        assert_eq!(cache.presence(&key(), "1"), Presence::Unknown);
        cache.replace(vec![]);
        assert_eq!(cache.presence(&key(), "1"), Presence::Unseen, "never seen is not gone");
    }

    #[test]
    fn a_relist_without_an_object_is_its_deletion() {
        let cache = Cache::default();
        cache.replace(vec![Thing("a", "1")]);
        let changes = cache.replace(vec![Thing("b", "2")]);
        assert!(matches!(&changes[0], Change::Deleted(t) if t.object_uid() == "1"));
        assert_eq!(cache.presence(&key(), "1"), Presence::Gone);
    }

    #[test]
    fn a_new_object_of_the_same_name_makes_the_old_one_gone_and_survives_its_late_deletion() {
        let cache = Cache::default();
        cache.replace(vec![Thing("a", "1")]);
        cache.apply(Thing("a", "2"));
        assert_eq!(cache.presence(&key(), "1"), Presence::Gone);
        cache.delete(Thing("a", "1"));
        assert_eq!(cache.get(&key()).unwrap().object_uid(), "2");
        assert_eq!(cache.presence(&key(), "3"), Presence::Unseen, "a UID that this cache has not met may be newer than the cache");
    }
}
