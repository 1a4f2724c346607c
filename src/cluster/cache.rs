//! A cache of one kind, fed by its watch: what is there, what is known to be gone, and whether the watch is current.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

/// Namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    /// When it has to be looked at, in seconds since 1970; a full list is told of in this order.
    fn due(&self) -> i64 {
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
    Applied {
        /// As it is now.
        now: Arc<R>,
        /// As it was held before, if it was.
        before: Option<Arc<R>>,
    },
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
                return Change::Applied { now: held.clone(), before: Some(held.clone()) };
            }
            insert(inner, object.clone())
        })
    }

    /// Takes in what our own write returned, if the object is still held: the watch brings the same later.
    pub fn own_write(&self, object: R) {
        let object = Arc::new(object);
        self.write(|inner| {
            let held = inner.objects.get(&object.key());
            if held.is_some_and(|held| held.object_uid() == object.object_uid() && held.version() <= object.version()) {
                inner.objects.insert(object.key(), object.clone());
            }
        });
    }

    /// Takes in what our own create returned, before the watch brings it; not if it was seen to go already.
    pub fn own_create(&self, object: R) -> Option<Change<R>> {
        let object = Arc::new(object);
        self.write(|inner| (!inner.gone.contains(object.object_uid())).then(|| insert(inner, object.clone())))
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
            let (mut changes, mut before) = (Vec::new(), HashMap::new());
            for (key, object) in old {
                match inner.objects.get(&key) {
                    Some(now) if now.object_uid() == object.object_uid() => {
                        before.insert(key, object);
                    }
                    _ => {
                        remember(inner, object.object_uid());
                        changes.push(Change::Deleted(object));
                    }
                }
            }
            let mut listed: Vec<_> = inner.objects.iter().collect();
            listed.sort_by_key(|(_, object)| object.due());
            changes.extend(listed.into_iter().map(|(key, now)| Change::Applied { now: now.clone(), before: before.remove(key) }));
            if !inner.synced {
                inner.synced = true;
                changes.push(Change::Synced);
            }
            inner.failing_since = None;
            changes
        })
    }

    /// The watch has failed at this instant. Only the next full list says that it works again.
    pub fn mark_failing(&self, at: Instant) {
        self.write(|inner| {
            inner.failing_since.get_or_insert(at);
        });
    }

    fn read<T>(&self, f: impl FnOnce(&Inner<R>) -> T) -> T {
        f(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, f: impl FnOnce(&mut Inner<R>) -> T) -> T {
        f(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn insert<R: Cached>(inner: &mut Inner<R>, object: Arc<R>) -> Change<R> {
    let replaced = inner.objects.insert(object.key(), object.clone());
    let (before, another): (Option<_>, Option<_>) = match replaced {
        Some(old) if old.object_uid() == object.object_uid() => (Some(old), None),
        other => (None, other),
    };
    if let Some(another) = another {
        remember(inner, another.object_uid());
    }
    Change::Applied { now: object, before }
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

    #[derive(Debug, PartialEq)]
    struct Dated(&'static str, i64);

    impl Cached for Dated {
        fn key(&self) -> Key {
            Key::new("ns", self.0)
        }
        fn object_uid(&self) -> &str {
            self.0
        }
        fn due(&self) -> i64 {
            self.1
        }
    }

    #[test]
    fn a_full_list_is_told_of_in_the_order_in_which_things_are_due() {
        let cache = Cache::default();
        let names = ["d", "a", "e", "c", "b"];
        let told = cache.replace(names.iter().enumerate().map(|(n, name)| Dated(name, n as i64)).collect());
        let told: Vec<_> =
            told.iter().filter_map(|change| if let Change::Applied { now, .. } = change { Some(now.0) } else { None }).collect();
        assert_eq!(told, names);
    }

    #[test]
    fn a_watch_that_is_behind_our_own_write_does_not_undo_it() {
        let cache = Cache::default();
        cache.replace(vec![Versioned(1, "u")]);
        cache.own_write(Versioned(3, "u"));
        let change = cache.apply(Versioned(2, "u"));
        assert!(matches!(change, Change::Applied { now, .. } if now.version() == 3));
        cache.own_write(Versioned(9, "other"));
        assert_eq!(cache.get(&key()).unwrap().version(), 3, "a write to an object that went in the meantime is not resurrected");
    }

    #[test]
    fn our_own_create_is_seen_at_once_but_what_went_does_not_come_back() {
        let cache = Cache::default();
        cache.replace(vec![]);
        assert!(cache.own_create(Thing("a", "1")).is_some());
        assert_eq!(cache.get(&key()).unwrap().object_uid(), "1");
        cache.delete(Thing("a", "1"));
        assert!(cache.own_create(Thing("a", "1")).is_none());
        assert!(cache.get(&key()).is_none());
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
