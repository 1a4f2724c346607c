//! The published revocation lists as this process knows them: what stands on them, how fast they make a class, and the proof of an end.
//!
//! Believes nothing that is published unless the authority's key has signed it. Writes nothing; `publishing` does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;

use super::{Operator, authorities::Unavailable, signers::Signers};
use crate::{
    api::CredentialLease,
    cluster::{
        World,
        cache::Key,
        lists::{ListsRecord, config_map_name},
    },
    core::{
        lifecycle::ListFact,
        revocation::{Longer, bound},
    },
    issue::x509::{Authority, List, Serial, list_pem},
};

/// A list that is published, and was read.
#[derive(Clone)]
pub struct Published {
    /// The list.
    pub list: Arc<List>,
    /// What is remembered of lists that were good for longer.
    pub longer: Option<Longer>,
}

/// The last list that was read of an issuer, with what it was read from.
struct Read {
    ends: Vec<u8>,
    list: Arc<List>,
}

/// What is known of revocation lists.
#[derive(Default)]
pub struct Lists {
    /// Who signs them.
    pub signers: Signers,
    read: Mutex<HashMap<String, Read>>,
    /// The list with the highest number that this process has seen of an issuer: nobody takes an entry off it by replacing what is published.
    newest: Mutex<HashMap<String, Arc<List>>>,
    problems: Mutex<HashMap<String, Unavailable>>,
}

impl Lists {
    /// The list of a key, as it is published now; `None` if there is none that this key has signed.
    pub fn published(&self, record: Option<&ListsRecord>, signer: &Authority, now: Timestamp) -> Option<Published> {
        let issuer = signer.issuer_id();
        let raw = record?.lists.get(issuer)?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = read.get(issuer).filter(|held| held.list.der == raw.der && held.ends == raw.ends) {
            return Some(Published { list: held.list.clone(), longer: raw.longer });
        }
        match signer.read_list(&raw.der, &raw.ends, now) {
            Ok(list) => {
                let list = Arc::new(list);
                read.insert(issuer.to_owned(), Read { ends: raw.ends.clone(), list: list.clone() });
                self.note(issuer, &list);
                Some(Published { list, longer: raw.longer })
            }
            Err(error) => {
                tracing::warn!(issuer, %error, "a published revocation list is not ours: it is about to be replaced");
                None
            }
        }
    }

    /// The newest list that this process knows of an issuer.
    pub fn newest(&self, issuer: &str) -> Option<Arc<List>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).get(issuer).cloned()
    }

    fn note(&self, issuer: &str, list: &Arc<List>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.get(issuer).is_none_or(|held| held.number < list.number) {
            newest.insert(issuer.to_owned(), list.clone());
        }
    }

    /// Seconds within which whoever checks refuses what this authority takes back; or why no list is published.
    pub fn standing(&self, ca: &str, world: &World, home: &str, now: Timestamp) -> Result<i64, Unavailable> {
        let signers = self.signers.of(ca, world, home, now)?;
        let record = record(world, home, ca);
        let published = signers.first().and_then(|signer| self.published(record.as_deref(), signer, now));
        match published {
            Some(Published { list, longer }) if list.next_update > now => Ok(bound(list.life().as_secs(), longer, now)),
            _ => Err(self.problem(ca).unwrap_or_else(|| Unavailable {
                reason: "CrlPending",
                message: format!("the revocation list of the certificate authority {ca} is about to be published"),
                momentary: true,
            })),
        }
    }

    /// What keeps the list of an authority from being published, if anything does.
    pub fn problem(&self, ca: &str) -> Option<Unavailable> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).get(ca).cloned()
    }

    /// Takes note of what keeps it, or that nothing does. `true`: that is news.
    pub fn set_problem(&self, ca: &str, problem: Option<Unavailable>) -> bool {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match problem.clone() {
            Some(problem) => problems.insert(ca.to_owned(), problem),
            None => problems.remove(ca),
        };
        before != problem
    }

    /// What a verifier that has the published list says of the certificate of a lease.
    pub fn verdict(&self, lease: &CredentialLease, world: &World, home: &str, now: Timestamp) -> ListFact {
        let (Some(x509), Some(crl)) = (&lease.spec.x509, lease.spec.crl()) else { return ListFact::None };
        let signers = match self.signers.of(&x509.ca, world, home, now) {
            Ok(signers) => signers,
            Err(Unavailable { momentary: true, .. }) => return ListFact::Pending,
            Err(_) => return ListFact::Lost,
        };
        let Some(signer) = signers.iter().find(|signer| signer.issuer_id() == crl.issuer) else { return ListFact::Lost };
        let record = record(world, home, &x509.ca);
        let published = self.published(record.as_deref(), signer, now);
        match (published, Serial::parse(&x509.serial)) {
            (Some(Published { list, .. }), Ok(serial)) if signer.refuses(&list, serial, now) => ListFact::Refused,
            _ => ListFact::Pending,
        }
    }
}

impl Operator {
    /// The list of one key of an authority in DER, as it is published; of the key that signs now if none is named.
    pub fn served_list(&self, ca: &str, issuer: Option<&str>) -> Option<Vec<u8>> {
        let record = record(&self.world, &self.settings.namespace, ca)?;
        record.lists.get(issuer.unwrap_or(&record.signing)).map(|raw| raw.der.clone())
    }

    /// The lists of all keys of an authority in PEM, as they are published.
    pub fn served_lists(&self, ca: &str) -> Option<String> {
        let record = record(&self.world, &self.settings.namespace, ca)?;
        Some(record.lists.values().map(|raw| list_pem(&raw.der)).collect())
    }
}

/// What is published of an authority.
pub fn record(world: &World, home: &str, ca: &str) -> Option<Arc<ListsRecord>> {
    world.lists.get(&Key::new(home, config_map_name(ca)))
}
