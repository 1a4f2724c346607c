//! The life of a managed certificate authority, as the state kept in the Secret `daypass-ca-<name>` and the next state that is due.
//!
//! No I/O and no clock. Called by the controller: read the Secret, [`Managed::parse`], publish [`Managed::roots_pem`], ask
//! [`Managed::step`], store what it gives, and begin again. A root is published before anything is signed with it, and stays published
//! until its last certificate is dead; each step changes one thing, so that a crash between two loses nothing.
//!
//! | key of the Secret | holds |
//! |---|---|
//! | `tls.crt`, `tls.key` | the root that signs |
//! | `next.crt`, `next.key` | the one that will; published, but signing nothing yet |
//! | `next-since` | since when that is known to be published (RFC 3339); absent before |
//! | `retired.pem` | roots that sign no more, each after a line `retired-until: <RFC 3339>` |
//! | `retired.key` | their keys, where they go on signing revocation lists until their last certificate is dead |

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    key::CaKey,
    material::{CaError, Material, certificates, validity},
    pem,
    retired::{self, Retired},
    root::generate_root,
};
use crate::secret::Secret;

const CURRENT: (&str, &str) = ("tls.crt", "tls.key");
const NEXT: (&str, &str) = ("next.crt", "next.key");
const NEXT_SINCE: &str = "next-since";
const RETIRED: &str = "retired.pem";
const RETIRED_KEYS: &str = "retired.key";
const END_OF_KEY: &str = "-----END PRIVATE KEY-----\n";

/// New roots are good from a little before now, for verifiers whose clock is behind.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

/// How long the parts of an authority's life take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Life of a root. Default 30 days.
    pub lifetime: SignedDuration,
    /// How long before its end a root's successor is made. Default 10 days.
    pub renew_before: SignedDuration,
    /// How long a successor has to be published before it signs: until every verifier has read the bundle again. Default 5 minutes.
    pub overlap: SignedDuration,
    /// Longest life of a leaf, clock skew included: so long an old root stays published. Default 16 minutes.
    pub leaf_max: SignedDuration,
    /// Revocation lists are published, so a retired root keeps its key as long as it stays: what it has signed can be taken back until then.
    /// Default no.
    pub lists: bool,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            lifetime: SignedDuration::from_hours(30 * 24),
            renew_before: SignedDuration::from_hours(10 * 24),
            overlap: SignedDuration::from_mins(5),
            leaf_max: SignedDuration::from_mins(16),
            lists: false,
        }
    }
}

impl Lifetimes {
    /// Otherwise a fresh root would be due for renewal at once and for ever, or end before its successor signs.
    fn check(&self) -> Result<(), CaError> {
        let positive = [self.lifetime, self.renew_before, self.overlap, self.leaf_max].iter().all(SignedDuration::is_positive);
        let ordered = self.lifetime > self.renew_before && self.renew_before > self.overlap.saturating_add(self.leaf_max);
        if positive && ordered { Ok(()) } else { Err(CaError::Lifetimes) }
    }
}

/// A managed certificate authority at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Managed {
    name: String,
    current: Option<Root>,
    next: Option<Next>,
    retired: Vec<Former>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Root {
    material: Material,
    not_after: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Next {
    root: Root,
    published_since: Option<Timestamp>,
}

/// A root that signs no certificates any more.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Former {
    root: Retired,
    key: Option<Secret<String>>,
}

impl Managed {
    /// Reads the Secret of the authority `name`; no keys at all is an authority that has yet to be made.
    pub fn parse(name: &str, data: &BTreeMap<String, Vec<u8>>) -> Result<Self, CaError> {
        let since = text(data, NEXT_SINCE)?.map(|since| since.trim().parse().map_err(|_| CaError::Unreadable(NEXT_SINCE))).transpose()?;
        Ok(Self {
            name: name.to_owned(),
            current: root(data, CURRENT)?,
            next: root(data, NEXT)?.map(|root| Next { root, published_since: since }),
            retired: former(data)?,
        })
    }

    /// The data of the Secret.
    pub fn to_data(&self) -> BTreeMap<String, Secret<Vec<u8>>> {
        let mut data = BTreeMap::new();
        let mut put = |key: &str, value: &str| data.insert(key.to_owned(), Secret::new(value.as_bytes().to_vec()));
        if let Some(current) = &self.current {
            put(CURRENT.0, &current.material.certificate);
            put(CURRENT.1, current.material.key.expose());
        }
        if let Some(next) = &self.next {
            put(NEXT.0, &next.root.material.certificate);
            put(NEXT.1, next.root.material.key.expose());
            if let Some(since) = next.published_since {
                put(NEXT_SINCE, &since.to_string());
            }
        }
        if !self.retired.is_empty() {
            let roots: Vec<Retired> = self.retired.iter().map(|former| former.root.clone()).collect();
            put(RETIRED, &retired::write(&roots));
        }
        let keys = self.retired.iter().filter_map(|former| former.key.as_ref());
        let keys = keys.fold(Secret::new(Vec::new()), |all, key| Secret::new([all.expose().as_slice(), key.expose().as_bytes()].concat()));
        if !keys.expose().is_empty() {
            data.insert(RETIRED_KEYS.to_owned(), keys);
        }
        data
    }

    /// PEM of all that verifiers must trust: the root that signs, the one that will, and those whose certificates may still live.
    pub fn roots_pem(&self) -> String {
        let current = self.current.iter().map(|root| root.material.certificate.as_str());
        let next = self.next.iter().map(|next| next.root.material.certificate.as_str());
        current.chain(next).chain(self.retired.iter().map(|former| former.root.certificate.as_str())).collect()
    }

    /// What signs now; `None` until the first [`Managed::step`].
    pub fn signing(&self) -> Option<&Material> {
        self.current.as_ref().map(|root| &root.material)
    }

    /// All whose certificates may be alive, or soon will be, and whose key is there: each signs a revocation list of its own. What signs now
    /// comes first.
    pub fn list_signers(&self) -> Vec<Material> {
        let next = self.next.iter().map(|next| &next.root.material);
        let former = self.retired.iter().filter_map(|former| {
            let key = former.key.clone()?;
            Some(Material { certificate: former.root.certificate.clone(), key, roots: None })
        });
        self.signing().into_iter().chain(next).cloned().chain(former).collect()
    }

    /// The next state, if one is due at `now`. `published`: the [`Managed::roots_pem`] of this very state is known to be where verifiers
    /// read it; while it is not, no successor begins to sign. Fresh keys are random; everything else follows from the arguments.
    pub fn step(&self, now: Timestamp, published: bool, lifetimes: &Lifetimes) -> Result<Option<Self>, CaError> {
        lifetimes.check()?;
        let mut then = self.clone();
        let Some(current) = &self.current else {
            // Nobody trusts anything yet, so there is nothing to overlap with.
            then.current = Some(self.fresh(now, lifetimes)?);
            return Ok(Some(then));
        };
        if self.retired.iter().any(|former| former.root.until <= now) {
            then.retired.retain(|former| former.root.until > now);
            return Ok(Some(then));
        }
        match &self.next {
            // One that ended while it waited is of no use to anybody.
            Some(next) if next.root.not_after > now => match next.published_since {
                None if published => then.next = Some(Next { published_since: Some(now), ..next.clone() }),
                Some(since) if now.duration_since(since) >= lifetimes.overlap => {
                    let until = later(now, lifetimes.leaf_max)?;
                    then.retired.push(Former {
                        root: Retired { certificate: current.material.certificate.clone(), until },
                        key: lifetimes.lists.then(|| current.material.key.clone()),
                    });
                    then.current = Some(next.root.clone());
                    then.next = None;
                }
                _ => return Ok(None),
            },
            _ if current.not_after.duration_since(now) <= lifetimes.renew_before => {
                then.next = Some(Next { root: self.fresh(now, lifetimes)?, published_since: None });
            }
            _ => return Ok(None),
        }
        Ok(Some(then))
    }

    fn fresh(&self, now: Timestamp, lifetimes: &Lifetimes) -> Result<Root, CaError> {
        let (start, end) = (later(now, -BACKDATED)?, later(now, lifetimes.lifetime)?);
        let material = generate_root(&self.name, start, end).map_err(|error| CaError::SelfTest(Box::new(error)))?;
        Root::new(material, CURRENT.0)
    }
}

impl Root {
    fn new(material: Material, part: &'static str) -> Result<Self, CaError> {
        let chain = certificates(&material.certificate, part)?;
        Ok(Self { not_after: validity(&chain[0], part)?.1, material })
    }
}

/// A certificate and its key, both there or both absent: with one of them lost, a new root made in silence would break every verifier.
fn root(data: &BTreeMap<String, Vec<u8>>, (certificate, key): (&'static str, &'static str)) -> Result<Option<Root>, CaError> {
    match (text(data, certificate)?, text(data, key)?) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(CaError::Missing(certificate)),
        (Some(_), None) => Err(CaError::Missing(key)),
        (Some(pem), Some(private)) => {
            // Written again from what was read, so that nothing but certificates is ever published.
            let clean = pem::encode_certificates(&certificates(pem, certificate)?);
            Root::new(Material { certificate: clean, key: Secret::new(private.to_owned()), roots: None }, certificate).map(Some)
        }
    }
}

/// The roots that sign no certificates any more, each with its key if that is there. A key that belongs to none of them is dropped.
fn former(data: &BTreeMap<String, Vec<u8>>) -> Result<Vec<Former>, CaError> {
    let roots = text(data, RETIRED)?.map_or(Ok(Vec::new()), retired::parse)?;
    let mut keys = Vec::new();
    for key in text(data, RETIRED_KEYS)?.unwrap_or_default().split_inclusive(END_OF_KEY) {
        let text = Secret::new(key.to_owned());
        let key = CaKey::from_pem(&text).map_err(|_| CaError::Unreadable(RETIRED_KEYS))?;
        keys.push((key, text));
    }
    let mut former = Vec::with_capacity(roots.len());
    for root in roots {
        let certificate = certificates(&root.certificate, RETIRED)?;
        let belongs = |(key, _): &&(CaKey, Secret<String>)| key.belongs_to(&certificate[0]);
        let key = keys.iter().find(belongs).map(|(_, text)| text.clone());
        former.push(Former { root, key });
    }
    Ok(former)
}

/// A value of the Secret; empty is absent.
fn text<'a>(data: &'a BTreeMap<String, Vec<u8>>, key: &'static str) -> Result<Option<&'a str>, CaError> {
    let Some(bytes) = data.get(key).filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
    std::str::from_utf8(bytes).map(Some).map_err(|_| CaError::Unreadable(key))
}

/// In whole seconds, like everything in a certificate.
fn later(now: Timestamp, by: SignedDuration) -> Result<Timestamp, CaError> {
    now.checked_add(by).and_then(|time| Timestamp::from_second(time.as_second())).map_err(|_| CaError::Lifetimes)
}
