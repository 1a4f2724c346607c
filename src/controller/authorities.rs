//! The certificate authorities that classes name: made, rotated and loaded, their roots published before anything is signed with them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::{
    api::{LABEL_ROOTS, class::CaSpec},
    cluster::{
        ApiError, World,
        act::{Writer, publish::ca_secret_name},
        cache::Key,
        records::SecretRecord,
        roots::{self, ROOTS, RootsRecord},
    },
    issue::x509::{Authority, CaError, Lifetimes, Managed, Material, keep_retired},
    secret::Secret,
};

/// Trust bundles are not watched: so often what is published is looked at though nothing seems to have changed.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// An authority that can sign.
#[derive(Clone)]
pub struct Loaded {
    /// Signs.
    pub authority: Arc<Authority>,
    /// Every root that verifiers of its certificates trust: present, next and retired ones.
    pub roots: Arc<str>,
}

/// Why an authority cannot sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// One word, for conditions.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// It is a matter of moments: who asks waits instead of being refused.
    pub momentary: bool,
}

/// Every authority that a class names, by its name in the ledger.
#[derive(Default)]
pub struct Authorities {
    known: Mutex<HashMap<String, Result<Loaded, Unavailable>>>,
    published: Mutex<Published>,
    trust_bundles_unserved: std::sync::atomic::AtomicBool,
}

/// What was published last.
#[derive(Default)]
struct Published {
    /// The roots that authorities have, by name.
    given: BTreeMap<String, Arc<str>>,
    /// What stands in public for each: those, and retired ones.
    public: BTreeMap<String, Arc<str>>,
    /// When a retired one is to go.
    due: Option<Timestamp>,
    /// What lies in the ConfigMap.
    data: BTreeMap<String, String>,
    /// When that was looked at.
    looked: Option<Timestamp>,
    /// Somebody else's object stands in the way.
    problem: Option<String>,
}

/// What the classes of an authority and its live certificates ask of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// Who signs.
    pub spec: CaSpec,
    /// Longest life of a certificate from now on, and a minute for clocks: so long a root is trusted after its authority was replaced.
    pub leaf_max: SignedDuration,
    /// Revocation lists are published.
    pub lists: bool,
}

impl Authorities {
    /// The authority of this name.
    pub fn get(&self, ca: &str) -> Result<Loaded, Unavailable> {
        let missing =
            || Unavailable { reason: "CaPending", message: format!("the certificate authority {ca} is being prepared"), momentary: true };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(ca).cloned().unwrap_or_else(|| Err(missing()))
    }

    /// Brings every named authority up to date: managed ones are made and rotated, all are loaded and tested, roots are published first.
    pub async fn refresh(&self, named: &BTreeMap<String, Named>, world: &World, writer: &Writer, now: Timestamp) {
        let mut next = HashMap::new();
        let mut roots = BTreeMap::new();
        for (name, asked) in named {
            let found = match asked.spec.secret_name.as_deref() {
                Some(secret) => {
                    brought(secret, world, writer.namespace()).and_then(|material| load_brought(secret, &material, writer, now))
                }
                None => {
                    let published = self.published.lock().unwrap_or_else(PoisonError::into_inner).public.get(name).cloned();
                    managed((name, asked), world, writer, now, self.get(name).ok(), published.as_ref()).await
                }
            };
            if let Ok(loaded) = &found {
                roots.insert(name.clone(), loaded.roots.clone());
            }
            next.insert(name.clone(), found);
        }
        let failed = self.publish(roots, named, world, writer, now).await.err();
        let problem = failed.as_ref().filter(|failed| !failed.momentary).map(|failed| failed.message.clone());
        self.published.lock().unwrap_or_else(PoisonError::into_inner).problem = problem;
        if let Some(unpublished) = failed {
            let problem = &unpublished.message;
            tracing::warn!(problem, "cannot publish the roots; authorities whose roots are new sign nothing until it succeeds");
            let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, found) in &mut next {
                if found.as_ref().is_ok_and(|loaded| published.given.get(name) != Some(&loaded.roots)) {
                    *found = Err(unpublished.clone());
                }
            }
        }
        let public = self.published.lock().unwrap_or_else(PoisonError::into_inner).public.clone();
        for (name, found) in &mut next {
            if let (Ok(loaded), Some(public)) = (found, public.get(name)) {
                loaded.roots = public.clone();
            }
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// What keeps the roots from being published, if somebody has to take it away.
    pub fn problem(&self) -> Option<String> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).problem.clone()
    }

    /// Publishes these roots, and beside them those that a brought authority had before: its owner may replace it at any moment, while
    /// certificates of the one before live on. A managed authority keeps its own retired roots.
    async fn publish(
        &self,
        roots: BTreeMap<String, Arc<str>>,
        named: &BTreeMap<String, Named>,
        world: &World,
        writer: &Writer,
        now: Timestamp,
    ) -> Result<(), Unavailable> {
        let remembered = {
            let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
            let looked = published.looked.is_some_and(|looked| now < looked + LOOK_AGAIN);
            let stands = || stands_as_published(world, writer.namespace(), &published.data);
            if published.given == roots && published.due.is_none_or(|due| now < due) && looked && stands() {
                return Ok(());
            }
            published.data.clone()
        };
        let pending = |error: ApiError| Unavailable {
            reason: "RootsUnpublished",
            message: format!("its roots are not published yet: {error}"),
            momentary: true,
        };
        let held = writer.get_config_map(ROOTS).await.map_err(pending)?;
        if held.as_ref().is_some_and(|map| !roots::is_ours(map)) {
            let message = format!(
                "ConfigMap {ROOTS} in namespace {} is not Daypass's (it has no label {LABEL_ROOTS}=published) and is not overwritten: delete it, \
                 and the roots are published there",
                writer.namespace()
            );
            return Err(Unavailable { reason: "RootsNotOurs", message, momentary: false });
        }
        let found = held.as_ref().and_then(|map| map.data.clone()).unwrap_or_default();
        let before = before_edits(&found, remembered, |name| roots.contains_key(name));
        let (mut data, mut public, mut due) = (before.clone(), BTreeMap::new(), None::<Timestamp>);
        for (name, present) in &roots {
            let text = |key: &str| before.get(key).map(String::as_str).unwrap_or_default();
            let (file, record) = (format!("{name}.pem"), format!("{name}.retired"));
            let brought = named.get(name).filter(|asked| asked.spec.secret_name.is_some());
            let (public_before, retired_before) = if brought.is_some() { (text(&file), text(&record)) } else { ("", "") };
            let leaf_max = brought.map(|asked| asked.leaf_max).unwrap_or_default();
            let kept = keep_retired(public_before, retired_before, present, now, now + leaf_max);
            let kept = kept.map_err(|problem| pending(ApiError::Invalid(format!("roots of {name}: {problem}"))))?;
            due = [due, kept.due].into_iter().flatten().min();
            if kept.retired.is_empty() {
                data.remove(&record)
            } else {
                data.insert(record, kept.retired)
            };
            data.insert(file, kept.pem.clone());
            public.insert(name.clone(), Arc::from(kept.pem));
        }
        if held.is_none() || data != found {
            let written = writer.put_roots(data.clone(), held.and_then(|map| map.resource_version())).await.map_err(pending)?;
            tracing::info!(authorities = public.len(), "roots published");
            // The watch brings the same, later.
            world.roots.own_create(RootsRecord::of(written));
        }
        for (name, pem) in &public {
            if self.trust_bundles_unserved.load(std::sync::atomic::Ordering::Relaxed) {
                break;
            }
            if !writer.publish_trust_bundle(name, pem).await.map_err(pending)? {
                tracing::info!("this cluster serves no ClusterTrustBundles; roots are in ConfigMap {ROOTS} and in every status");
                self.trust_bundles_unserved.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) =
            Published { given: roots, public, due, data, looked: Some(now), problem: None };
        Ok(())
    }
}

/// Nobody has touched the ConfigMap, as far as its watch knows.
fn stands_as_published(world: &World, home: &str, data: &BTreeMap<String, String>) -> bool {
    !world.roots.synced() || world.roots.get(&Key::new(home, ROOTS)).is_some_and(|record| record.ours && record.data == *data)
}

/// What lay in the ConfigMap before anybody edited it, as far as this process remembers: another root in it would be one that verifiers trust.
///
/// Roots of authorities that no class names any more stay: certificates of theirs may be alive. They are dropped by hand, and then do not come
/// back.
fn before_edits(
    found: &BTreeMap<String, String>,
    remembered: BTreeMap<String, String>,
    is_named: impl Fn(&str) -> bool,
) -> BTreeMap<String, String> {
    if remembered.is_empty() {
        return found.clone();
    }
    let named = |key: &str| key.strip_suffix(".pem").or_else(|| key.strip_suffix(".retired")).is_some_and(&is_named);
    remembered.into_iter().filter(|(key, _)| found.contains_key(key) || named(key)).collect()
}

/// What somebody put into a Secret of the operator's namespace as an authority.
pub(super) fn brought(secret: &str, world: &World, namespace: &str) -> Result<Material, Unavailable> {
    let field = "spec.x509.ca.secretName";
    let Some(record) = world.secrets.get(&Key::new(namespace, secret)) else {
        let message = format!("{field}: there is no Secret {secret} in namespace {namespace}; create it with tls.crt and tls.key");
        return Err(Unavailable { reason: "CaSecretMissing", message, momentary: false });
    };
    let text = |key: &str| {
        let data = record.secret.data.as_ref().and_then(|data| data.get(key))?;
        String::from_utf8(data.0.clone()).ok()
    };
    let (Some(certificate), Some(key)) = (text("tls.crt"), text("tls.key")) else {
        let message = format!("{field}: Secret {secret} in namespace {namespace} needs the keys tls.crt and tls.key, both in PEM");
        return Err(Unavailable { reason: "CaSecretInvalid", message, momentary: false });
    };
    Ok(Material { certificate, key: Secret::new(key), roots: text("ca.crt") })
}

fn load_brought(secret: &str, material: &Material, writer: &Writer, now: Timestamp) -> Result<Loaded, Unavailable> {
    load(material, now).map_err(|problem| Unavailable {
        reason: "CaSecretInvalid",
        message: format!("spec.x509.ca.secretName: Secret {secret} in namespace {}: {problem}", writer.namespace()),
        momentary: false,
    })
}

/// What the Secret of an authority of our own holds.
pub(super) fn stored(name: &str, record: Option<&SecretRecord>) -> Result<Managed, CaError> {
    let data = record.and_then(|record| record.secret.data.clone()).unwrap_or_default();
    Managed::parse(name, &data.into_iter().map(|(key, bytes)| (key, bytes.0)).collect())
}

/// An authority of our own: made if it is not there, rotated when it is due. `published`: the roots that verifiers can read now.
async fn managed(
    (name, asked): (&str, &Named),
    world: &World,
    writer: &Writer,
    now: Timestamp,
    present: Option<Loaded>,
    published: Option<&Arc<str>>,
) -> Result<Loaded, Unavailable> {
    let secret = ca_secret_name(name);
    let failed = |message: String| Unavailable { reason: "CaFailed", message, momentary: false };
    let momentarily = |message: String| Unavailable { reason: "CaPending", message, momentary: true };
    let record = world.secrets.get(&Key::new(writer.namespace(), &secret));
    let unusable = |problem: CaError| {
        let remedy = "restore it, or delete it to start a new authority";
        failed(format!("Secret {secret} in namespace {} cannot be used: {problem}; {remedy}", writer.namespace()))
    };
    let mut state = stored(name, record.as_deref()).map_err(unusable)?;
    let lifetimes = Lifetimes { leaf_max: asked.leaf_max, lists: asked.lists, ..Lifetimes::default() };
    let in_public = published.is_some_and(|roots| **roots == *state.roots_pem());
    if let Some(next) = state.step(now, in_public, &lifetimes).map_err(unusable)? {
        let version = record.as_ref().and_then(|record| record.secret.resource_version());
        match writer.store_ca(name, next.to_data(), version).await {
            Ok(()) => {
                tracing::info!(ca = name, "certificate authority made or moved on");
                state = next;
            }
            // The cache is behind our own write, or a replica was faster: the watch brings what is stored.
            Err(ApiError::AlreadyExists(_) | ApiError::Conflict(_)) => {
                return present.ok_or_else(|| momentarily(format!("Secret {secret} was just written; it is about to be read")));
            }
            // The next look tries again. Until then the present one goes on signing, or those who ask wait.
            Err(error) if state.signing().is_some() => {
                tracing::warn!(ca = name, %error, "cannot store the next state of the certificate authority; the present one goes on");
            }
            Err(error) => return Err(momentarily(format!("cannot store Secret {secret}: {error}"))),
        }
    }
    let Some(signing) = state.signing() else { return Err(failed(format!("certificate authority {name} has no key yet"))) };
    let authority = Authority::load(signing, now).map_err(unusable)?;
    Ok(Loaded { authority: Arc::new(authority), roots: state.roots_pem().into() })
}

fn load(material: &Material, now: Timestamp) -> Result<Loaded, String> {
    let authority = Authority::load(material, now).map_err(|problem| problem.to_string())?;
    let roots = authority.roots_pem().into();
    Ok(Loaded { authority: Arc::new(authority), roots })
}

/// The names of certificates that two classes of one authority would both give.
pub fn same_names(fingerprints: &BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    let mut same: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for classes in fingerprints.values().filter(|classes| classes.len() > 1) {
        for class in classes {
            same.entry(class.clone()).or_default().extend(classes.iter().filter(|other| *other != class).cloned());
        }
    }
    same
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn an_edit_adds_no_root_and_takes_none_away_that_a_class_names() {
        let named = |name: &str| name == "named";
        let published = map(&[("named.pem", "ours"), ("named.retired", "dates"), ("dropped.pem", "old"), ("kept.pem", "old")]);
        let edited = map(&[("named.pem", "theirs"), ("kept.pem", "theirs"), ("evil.pem", "theirs")]);
        let before = before_edits(&edited, published, named);
        assert_eq!(
            before,
            map(&[("named.pem", "ours"), ("named.retired", "dates"), ("kept.pem", "old")]),
            "what a person drops stays dropped"
        );
        assert_eq!(before_edits(&edited, BTreeMap::new(), named), edited, "who has just started knows no better");
    }
}
