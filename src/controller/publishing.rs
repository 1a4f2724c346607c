//! Publishes revocation lists: within a second of what goes onto them, at most one write a second and authority, and again before they are over.
//!
//! What stands on a list is what the ledger says and what stood on the last one, so that no replica that is behind takes an entry off. Part of
//! ending: gated on neither the guard nor policies nor classes being judged, and on the ending side's connections.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;

use super::{
    Operator,
    authorities::Unavailable,
    lists::{Published, record},
};
use crate::{
    api::{Ttl, lease::LeaseState},
    cluster::{
        ApiError,
        cache::{Cached, Change, Key},
        lists::{ListsRecord, RawList, config_map_name},
    },
    core::revocation::{self, Longer},
    issue::x509::{Authority, Revoked, Serial, list_good_until},
};

/// What comes within this time of the first goes onto the same list.
const COLLECT: Duration = Duration::from_millis(400);
/// Between two looks, beside that: a second for both.
const PACE: Duration = Duration::from_millis(600);
/// Before a try that failed is repeated, where nothing tells that it may succeed.
const AGAIN: SignedDuration = SignedDuration::from_secs(1);
/// Before an obstacle is looked at again that somebody has to take away.
const OBSTACLE: SignedDuration = SignedDuration::from_secs(5);
/// Between two looks when nothing is due: an authority may have been named by a lease alone.
const REFRESH: Duration = Duration::from_secs(30);
/// For how long lists are good where no class says it any more and none is published, in seconds.
const LIFE: i64 = 300;

/// Certificates that were taken back, by authority and issuer.
type Ledger = HashMap<(String, String), Vec<Revoked>>;

/// Why a list was not published.
enum Stuck {
    /// Something that is said in the class's status.
    Obstacle(Unavailable),
    /// The API server; tried again soon.
    Api(ApiError),
    /// Somebody was faster: look again.
    Overtaken,
}

impl Operator {
    /// Publishes lists until the process ends.
    pub async fn publish_lists(self: Arc<Self>) {
        let mut due: Option<Timestamp> = None;
        loop {
            let now = self.clock.now();
            let wait = due.map_or(REFRESH, |due| Duration::try_from(due.duration_since(now)).unwrap_or_default().min(REFRESH));
            let _ = tokio::time::timeout(wait, self.lists_changed.notified()).await;
            tokio::time::sleep(COLLECT).await;
            due = self.publish_due_lists().await;
            tokio::time::sleep(PACE).await;
        }
    }

    /// One look at every authority that has a list. When the next one is due.
    async fn publish_due_lists(&self) -> Option<Timestamp> {
        let world = &self.world;
        if !(world.leases.synced() && world.secrets.synced() && world.lists.synced()) {
            return Some(self.clock.now() + AGAIN);
        }
        let (mut due, ledger): (Option<Timestamp>, _) = (None, self.revoked());
        for (ca, life) in self.authorities_with_lists() {
            let now = self.clock.now();
            let next = match self.publish_lists_of(&ca, life, &ledger, now).await {
                Ok(next) => {
                    self.say_list_problem(&ca, None);
                    next
                }
                Err(Stuck::Obstacle(unavailable)) if unavailable.momentary => now + AGAIN,
                Err(Stuck::Obstacle(unavailable)) => {
                    self.say_list_problem(&ca, Some(unavailable));
                    now + OBSTACLE
                }
                Err(Stuck::Overtaken) => now,
                Err(Stuck::Api(error)) => {
                    tracing::warn!(ca, %error, "cannot publish the revocation list; trying again");
                    self.metrics.api_error("list", &error);
                    now + AGAIN
                }
            };
            due = due.into_iter().chain([next]).min();
        }
        due
    }

    /// Authorities whose list verifiers need: because a class promises one, or because certificates that name it are alive. With how long the
    /// classes want it to be good.
    pub(super) fn authorities_with_lists(&self) -> BTreeMap<String, Option<i64>> {
        let now = self.clock.now();
        let mut wishes: BTreeMap<String, Vec<Ttl>> = BTreeMap::new();
        for record in self.world.classes.list() {
            if let Ok(class) = &record.class
                && let Some(x509) = &class.spec.x509
                && let Some(crl) = &x509.crl
            {
                wishes.entry(x509.ca.name()).or_default().push(crl.next_update.clone());
            }
        }
        for lease in self.world.leases.list() {
            if let Some(x509) = &lease.spec.x509
                && x509.crl.is_some()
                && x509.not_after + revocation::SKEW > now
            {
                wishes.entry(x509.ca.clone()).or_default();
            }
        }
        wishes.into_iter().map(|(ca, wishes)| (ca, revocation::life(&wishes))).collect()
    }

    /// What the ledger says of certificates that were taken back.
    fn revoked(&self) -> Ledger {
        let mut ledger = Ledger::new();
        for lease in self.world.leases.list() {
            let Some(entry) = revocation::entry(&lease) else { continue };
            match Serial::parse(entry.serial) {
                Ok(serial) => {
                    let revoked = Revoked { serial, since: entry.since, until: entry.until };
                    ledger.entry((entry.ca.to_owned(), entry.issuer.to_owned())).or_default().push(revoked);
                }
                Err(error) => {
                    tracing::error!(lease = lease.key().name, %error, "the lease's serial number cannot go onto a revocation list")
                }
            }
        }
        ledger
    }

    /// Brings the lists of one authority up to date. When the next of them is due.
    async fn publish_lists_of(&self, ca: &str, life: Option<i64>, ledger: &Ledger, now: Timestamp) -> Result<Timestamp, Stuck> {
        let home = &self.settings.namespace;
        let signers = self.lists.signers.of(ca, &self.world, home, now).map_err(Stuck::Obstacle)?;
        let Some(signing) = signers.first() else { return Ok(now + OBSTACLE) };
        let held = record(&self.world, home, ca);
        let mut next = ListsRecord {
            key: Key::new(home.as_str(), config_map_name(ca)),
            resource_version: held.as_ref().and_then(|held| held.resource_version.clone()),
            signing: signing.issuer_id().to_owned(),
            // Of a key that is gone the last list stays while verifiers take it.
            lists: held
                .iter()
                .flat_map(|held| &held.lists)
                .filter(|(_, raw)| is_good(raw, now))
                .map(|(i, raw)| (i.clone(), raw.clone()))
                .collect(),
            ..ListsRecord::default()
        };
        let (mut due, mut entries) = (Timestamp::MAX, 0);
        for signer in signers.iter() {
            let issuer = signer.issuer_id();
            let of_ledger = ledger.get(&(ca.to_owned(), issuer.to_owned())).map_or(&[][..], Vec::as_slice);
            let published = self.lists.published(held.as_deref(), signer, now);
            let before = held.as_ref().and_then(|held| held.lists.get(issuer)).and_then(|raw| raw.longer);
            let (raw, next_due) = match self.signed(signer, published, before, of_ledger, life, now).map_err(Stuck::Obstacle)? {
                Fresh::Signed(raw, due) => (Some(raw), due),
                Fresh::Good(due) => (None, due),
            };
            if let Some(raw) = raw {
                entries += raw.ends.len() / 4;
                next.lists.insert(issuer.to_owned(), raw);
            }
            due = due.min(next_due);
        }
        let same = held.as_ref().is_some_and(|held| held.lists == next.lists && held.signing == next.signing && !held.untidy);
        if !same {
            self.put_lists(ca, &next).await?;
            tracing::info!(ca, entries, lists = next.lists.len(), "revocation list published");
            self.metrics.list_published();
        }
        Ok(due)
    }

    /// The list of one key, signed anew if that is due.
    fn signed(
        &self,
        signer: &Authority,
        published: Option<Published>,
        longer: Option<Longer>,
        ledger: &[Revoked],
        life: Option<i64>,
        now: Timestamp,
    ) -> Result<Fresh, Unavailable> {
        let issuer = signer.issuer_id();
        let newest = self.lists.newest(issuer);
        let life = life.or(published.as_ref().map(|p| p.list.life().as_secs())).unwrap_or(LIFE);
        let wanted =
            still_needed([published.as_ref().map_or(&[], |p| &p.list.revoked), newest.as_ref().map_or(&[], |l| &l.revoked), ledger], now);
        if let Some(Published { list, .. }) = &published {
            let due = revocation::due(list.this_update, list.next_update);
            let known: HashMap<Serial, Timestamp> = list.revoked.iter().map(|one| (one.serial, one.until)).collect();
            // In whole seconds, as a list has them.
            let whole = wanted.iter().all(|one| known.get(&one.serial).is_some_and(|until| until.as_second() >= one.until.as_second()));
            let old = newest.as_ref().is_some_and(|newest| newest.number > list.number);
            if whole && !old && due > now && list.life().as_secs() <= life {
                return Ok(Fresh::Good(due));
            }
        }
        let last = published.iter().map(|p| p.list.number).chain(newest.iter().map(|list| list.number)).max();
        let dates = revocation::dates(life, now);
        let list = signer.sign_list(&wanted, revocation::number(last, now), dates, now).map_err(|problem| Unavailable {
            reason: "CrlFailed",
            message: format!("spec.x509.crl: {problem}"),
            momentary: false,
        })?;
        let replaced = published.or_else(|| newest.map(|list| Published { list, longer: None }));
        let replaced = replaced.map(|p| (p.list.life().as_secs(), p.list.next_update));
        let raw = RawList { ends: list.ends(), longer: Longer::after(longer, replaced, life, now), der: list.der };
        Ok(Fresh::Signed(raw, revocation::due(dates.0, dates.1)))
    }

    async fn put_lists(&self, ca: &str, lists: &ListsRecord) -> Result<(), Stuck> {
        match self.ending.put_lists(lists).await {
            Ok(map) => {
                self.take_lists(map);
                self.lists_published(ca);
                Ok(())
            }
            Err(ApiError::Conflict(_) | ApiError::AlreadyExists(_) | ApiError::NotFound(_)) => {
                let name = &lists.key.name;
                let found = self.ending.get_config_map(name).await.map_err(Stuck::Api)?;
                match found.map(|map| self.take_lists(map)) {
                    Some(true) => Err(Stuck::Overtaken),
                    Some(false) => Err(Stuck::Obstacle(Unavailable {
                        reason: "CrlNotOurs",
                        message: format!(
                            "spec.x509.crl: ConfigMap {name} in namespace {} is not Daypass's (it has no label {}=published) and is not \
                             overwritten: delete it, and the revocation list is published there",
                            lists.key.namespace,
                            crate::api::LABEL_CRL
                        ),
                        momentary: false,
                    })),
                    // It went: the watch says so.
                    None => Err(Stuck::Overtaken),
                }
            }
            // Too many entries for one object, most likely.
            Err(ApiError::Invalid(problem)) => Err(Stuck::Obstacle(Unavailable {
                reason: "CrlNotStored",
                message: format!("spec.x509.crl: the API server does not take ConfigMap {}: {problem}", lists.key.name),
                momentary: false,
            })),
            Err(error) => Err(Stuck::Api(error)),
        }
    }

    /// Takes in what the API server has; `false` if it is not ours.
    fn take_lists(&self, map: ConfigMap) -> bool {
        let Some(record) = ListsRecord::of(map) else { return false };
        let held = self.world.lists.get(&record.key);
        if held.is_some_and(|held| held.uid == record.uid) {
            self.world.lists.own_write(record);
        } else {
            self.world.lists.own_create(record);
        }
        true
    }

    /// A list is another than before: who waits for it looks again.
    fn lists_published(&self, ca: &str) {
        for lease in self.world.open_leases() {
            let listed = lease.spec.x509.as_ref().is_some_and(|x509| x509.crl.is_some() && x509.ca == ca);
            if listed && lease.state() == Some(LeaseState::Revoking) {
                self.leases.add(&lease.spec.request_namespace, &lease.key().name);
            }
        }
        self.classes_changed.notify_one();
    }

    fn say_list_problem(&self, ca: &str, problem: Option<Unavailable>) {
        if self.lists.set_problem(ca, problem.clone()) {
            if let Some(problem) = problem {
                tracing::warn!(ca, reason = problem.reason, problem.message, "no revocation list is published");
            }
            self.classes_changed.notify_one();
        }
    }

    /// What the watch brings of published lists.
    pub(super) fn lists_record_changed(&self, change: &Change<ListsRecord>) {
        match change {
            Change::Applied { now, before } if before.as_ref().is_some_and(|before| before.version() == now.version()) => {}
            Change::Applied { now: record, .. } | Change::Deleted(record) => {
                if let Some(ca) = record.key.name.strip_prefix(&config_map_name("")) {
                    self.lists_published(ca);
                }
                self.lists_changed.notify_one();
            }
            Change::Synced => self.all_synced(),
        }
    }
}

/// What came of looking at one list.
enum Fresh {
    /// It was signed anew, and is due again then.
    Signed(RawList, Timestamp),
    /// What is published is good until then.
    Good(Timestamp),
}

/// What has to stand on the next list: what stands on the published one, on the newest that this process has seen, and what the ledger says,
/// each of which may be behind the others.
fn still_needed(known: [&[Revoked]; 3], now: Timestamp) -> Vec<Revoked> {
    known.into_iter().flatten().filter(|one| one.until > now).copied().collect()
}

fn is_good(raw: &RawList, now: Timestamp) -> bool {
    list_good_until(&raw.der).is_some_and(|until| until > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stays_that_only_one_of_those_who_know_still_tells_of_and_goes_when_nobody_needs_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let one = [Revoked { serial: Serial::parse("0a").unwrap(), since: at(10), until: at(100) }];
        for known in [[&one[..], &[], &[]], [&[], &one[..], &[]], [&[], &[], &one[..]]] {
            assert_eq!(still_needed(known, at(99)), one);
            assert_eq!(still_needed(known, at(100)), []);
        }
    }
}
