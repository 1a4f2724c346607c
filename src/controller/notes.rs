//! What this process remembers beside the ledger and the caches. All of it can be lost: it only saves calls and closes races.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;

use crate::api::EndReason;

/// The memory of one process.
pub struct Notes {
    started: Timestamp,
    /// Rises when something changed that may end grants.
    epoch: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By lease: the epoch that it was judged in last.
    judged: HashMap<String, u64>,
    /// Leases that a judge has found against.
    verdicts: HashMap<String, (EndReason, String)>,
    /// Latest generation seen of each policy and class, by UID.
    generations: HashMap<String, i64>,
    /// Leases whose delivered Secret is gone.
    secret_gone: HashSet<String>,
    /// Requests that this process may have reserved a Secret for, by UID.
    reserved: HashSet<String>,
    /// When something that ends an open lease was first seen.
    ends_since: HashMap<String, Timestamp>,
    /// What kept the end of a lease from being proven last.
    keeps: HashMap<String, String>,
    /// What stood in the way of an answer last, by request UID.
    trouble: HashMap<String, String>,
}

impl Notes {
    /// Nothing remembered; the process started now.
    pub fn new(now: Timestamp) -> Self {
        Self { started: now, epoch: AtomicU64::new(1), inner: Mutex::default() }
    }

    /// When this process started.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// The present epoch: take it before looking at what is judged.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Something changed that may end grants: every open lease is judged again, and so is every grant that is under way.
    pub fn judge_all_again(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Something about this lease alone changed.
    pub fn judge_again(&self, lease: &str) {
        self.lock().judged.remove(lease);
    }

    /// The lease was judged on what was known in this epoch.
    pub fn judged(&self, lease: &str, epoch: u64) {
        self.lock().judged.insert(lease.to_owned(), epoch);
    }

    /// The lease has not been judged on what is known now.
    pub fn is_due(&self, lease: &str) -> bool {
        self.lock().judged.get(lease) != Some(&self.epoch())
    }

    /// A judge found against the lease.
    pub fn found_against(&self, lease: &str, reason: EndReason, message: String) {
        self.lock().verdicts.insert(lease.to_owned(), (reason, message));
    }

    /// What a judge found against the lease.
    pub fn verdict(&self, lease: &str) -> Option<(EndReason, String)> {
        self.lock().verdicts.get(lease).cloned()
    }

    /// Whether this generation of a policy or class is news: writing status makes none.
    pub fn is_news(&self, uid: &str, generation: i64) -> bool {
        self.lock().generations.insert(uid.to_owned(), generation) != Some(generation)
    }

    /// A policy or class went.
    pub fn went(&self, uid: &str) {
        self.lock().generations.remove(uid);
    }

    /// This process may have reserved a Secret for the request.
    pub fn note_reserve(&self, request_uid: &str) {
        self.lock().reserved.insert(request_uid.to_owned());
    }

    /// It may have.
    pub fn reserved(&self, request_uid: &str) -> bool {
        self.lock().reserved.contains(request_uid)
    }

    /// The delivered Secret of the lease is gone.
    pub fn secret_went(&self, lease: &str) {
        self.lock().secret_gone.insert(lease.to_owned());
    }

    /// It is.
    pub fn secret_gone(&self, lease: &str) -> bool {
        self.lock().secret_gone.contains(lease)
    }

    /// When something that ends the lease was first seen: now, unless it was before.
    pub fn ends_since(&self, lease: &str, now: Timestamp) -> Timestamp {
        *self.lock().ends_since.entry(lease.to_owned()).or_insert(now)
    }

    /// This kept the end of the lease from being proven, or nothing did.
    pub fn kept(&self, lease: &str, what: Option<String>) {
        let mut inner = self.lock();
        match what {
            Some(what) => inner.keeps.insert(lease.to_owned(), what),
            None => inner.keeps.remove(lease),
        };
    }

    /// What kept it last.
    pub fn keeps(&self, lease: &str) -> Option<String> {
        self.lock().keeps.get(lease).cloned()
    }

    /// This stands in the way of an answer.
    pub fn trouble(&self, request_uid: &str, what: String) {
        self.lock().trouble.insert(request_uid.to_owned(), what);
    }

    /// What stood in the way of an answer last.
    pub fn last_trouble(&self, request_uid: &str) -> Option<String> {
        self.lock().trouble.get(request_uid).cloned()
    }

    /// The request is answered or gone.
    pub fn forget_request(&self, request_uid: &str) {
        let mut inner = self.lock();
        inner.reserved.remove(request_uid);
        inner.trouble.remove(request_uid);
    }

    /// The lease is gone.
    pub fn forget_lease(&self, lease: &str) {
        let mut inner = self.lock();
        inner.judged.remove(lease);
        inner.verdicts.remove(lease);
        inner.secret_gone.remove(lease);
        inner.keeps.remove(lease);
        inner.ends_since.remove(lease);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
