//! The auditor: lists everything as the administrator and says in words what must never be.
//!
//! Independent of the operator on purpose: of the product it knows the API types and nothing else. It remembers what it saw, so that it also
//! notices what went back or was made twice. It only reads. Crash and fault tests call it all the time and at the end.
//!
//! Lists are not of one moment, and the operator goes on meanwhile. Leases are therefore listed before and after the credentials: what is
//! called a violation is one whenever within the look each list was taken.

mod certificate;
mod history;
#[cfg(test)]
mod tests;

use daypass::api::{
    AccessRequest, CredentialClass, CredentialLease, CredentialLeaseSpec, Delivery, LABEL_CRL, LABEL_REQUEST_UID, Proof, RequestState,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt, api::ListParams};

use self::{
    certificate::{Leaf, is_listed},
    history::History,
};
use crate::Error;

/// Where a Secret holds a token.
const TOKEN: &str = "token";

/// Everything that the auditor judges, as it was listed.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Before anything was listed.
    pub begun: Timestamp,
    /// The ledger, before the credentials were listed.
    pub before: Vec<CredentialLease>,
    /// Classes: what certificates have to say.
    pub classes: Vec<CredentialClass>,
    /// Requests of every namespace.
    pub requests: Vec<AccessRequest>,
    /// Delivered and reserved Secrets of every namespace.
    pub secrets: Vec<Secret>,
    /// The ledger, after the credentials were listed.
    pub after: Vec<CredentialLease>,
    /// Published revocation lists, after everything else.
    pub lists: Vec<ConfigMap>,
    /// When everything was listed.
    pub done: Timestamp,
}

impl Sight {
    /// Lists everything. The ledger lies in `namespace`.
    pub async fn take(client: &Client, namespace: &str) -> Result<Self, Error> {
        let (all, ours) = (ListParams::default(), ListParams::default().labels(LABEL_REQUEST_UID));
        let leases = Api::<CredentialLease>::namespaced(client.clone(), namespace);
        let begun = Timestamp::now();
        let before = leases.list(&all).await.map_err(Error::api("list leases"))?.items;
        let classes = Api::<CredentialClass>::all(client.clone()).list(&all).await.map_err(Error::api("list classes"))?.items;
        let requests = Api::<AccessRequest>::all(client.clone()).list(&all).await.map_err(Error::api("list requests"))?.items;
        let secrets = Api::<Secret>::all(client.clone()).list(&ours).await.map_err(Error::api("list Secrets"))?.items;
        let after = leases.list(&all).await.map_err(Error::api("list leases"))?.items;
        let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let lists = maps.list(&ListParams::default().labels(LABEL_CRL)).await.map_err(Error::api("list revocation lists"))?.items;
        Ok(Self { begun, before, classes, requests, secrets, after, lists, done: Timestamp::now() })
    }
}

/// Looks again and again, and remembers.
#[derive(Debug)]
pub struct Auditor {
    /// How late an ending may be.
    bound: SignedDuration,
    history: History,
}

impl Auditor {
    /// An auditor that calls an ending late after `bound`. Where the operator is kept from its work, give that much more.
    pub fn new(bound: SignedDuration) -> Self {
        Self { bound, history: History::default() }
    }

    /// Judges one sight, with what earlier ones showed in mind. Returns violations, in words.
    pub fn judge(&mut self, sight: &Sight) -> Vec<String> {
        let mut wrong = Vec::new();
        let credentials = credentials(sight, &mut wrong);
        self.history.note(sight, &credentials, &mut wrong);
        self.every_credential_has_an_open_lease(sight, &mut wrong);
        for credential in &credentials {
            says_what_it_should(sight, credential, &mut wrong);
        }
        for lease in &sight.after {
            self.closes_neither_early_nor_late(sight, lease, &mut wrong);
            is_of_its_request(sight, lease, &mut wrong);
        }
        self.no_secret_outlives_its_lease(sight, &mut wrong);
        requests_say_what_the_ledger_says(sight, &mut wrong);
        wrong
    }

    /// Judges the end: everything was answered, and everything that was granted is over.
    pub fn judge_the_end(&mut self, sight: &Sight) -> Vec<String> {
        let mut wrong = self.judge(sight);
        for request in sight.requests.iter().filter(|r| !r.state().is_terminal()) {
            wrong.push(format!("{} is still {:?}", name_of(request), request.state()));
        }
        for lease in sight.after.iter().filter(|lease| !lease.is_closed()) {
            wrong.push(format!("{} is not Closed", name_of(lease)));
        }
        for secret in &sight.secrets {
            let uid = owner_uid(secret);
            let request = sight.requests.iter().find(|r| r.uid().as_deref() == Some(uid));
            let leased = sight.after.iter().any(|lease| lease.spec.request_uid == uid);
            if is_filled(secret) {
                wrong.push(format!("{} still holds a credential", name_of(secret)));
            } else if let Some(request) = request.filter(|_| !leased) {
                wrong.push(format!(
                    "{} is the reserve of {}, which is {:?} without a lease",
                    name_of(secret),
                    name_of(request),
                    request.state()
                ));
            }
        }
        wrong
    }

    /// A certificate that was handed to anybody, be its request or its Secret there or not, has its lease for as long as it is good.
    fn every_credential_has_an_open_lease(&self, sight: &Sight, wrong: &mut Vec<String>) {
        for (uid, leaf) in self.history.certificates() {
            if sight.done >= leaf.not_after {
                continue;
            }
            let of_it = |leases: &[CredentialLease]| {
                leases
                    .iter()
                    .find(|l| l.spec.request_uid == *uid && l.spec.serial().is_some_and(|serial| same(serial, &leaf.serial)))
                    .cloned()
            };
            let what = format!("certificate {} of request {uid}, good until {},", leaf.serial, leaf.not_after);
            match (of_it(&sight.before), of_it(&sight.after)) {
                (Some(lease), _) | (None, Some(lease)) if lease.is_closed() && !is_listed(&sight.lists, &leaf.serial) => {
                    wrong.push(format!("{what} is on no revocation list and has only {}, which is Closed", name_of(&lease)))
                }
                (None, None) | (Some(_), None) => wrong.push(format!("{what} has no lease")),
                _ => {}
            }
        }
    }

    fn closes_neither_early_nor_late(&self, sight: &Sight, lease: &CredentialLease, wrong: &mut Vec<String>) {
        let (not_after, due, what) = (lease.spec.not_after(), end_of(&lease.spec), name_of(lease));
        if !lease.is_closed() {
            if sight.begun > due + self.bound {
                wrong.push(format!("{what} is still not Closed, {} s after its end", sight.begun.duration_since(due).as_secs()));
            }
            return;
        }
        let status = lease.status.clone().unwrap_or_default();
        // It is good through that second.
        let over = not_after + SignedDuration::from_secs(1);
        match status.proof {
            Some(Proof::NotAfterPassed) if status.closed_time.is_none_or(|closed| closed < over) || sight.done < over => {
                wrong.push(format!("{what} was closed at {:?}, before {not_after}, the end of its certificate", status.closed_time));
            }
            Some(Proof::CRLPublished)
                if sight.done < not_after && !lease.spec.serial().is_some_and(|serial| is_listed(&sight.lists, serial)) =>
            {
                let serial = lease.spec.serial().unwrap_or_default();
                wrong.push(format!("{what} was closed as listed, but {serial} is on no revocation list"));
            }
            Some(Proof::NeverReleased) if self.history.was_released(&lease.spec.request_uid) => {
                wrong.push(format!("{what} was closed as never released, but its credential was seen"));
            }
            None => wrong.push(format!("{what} is Closed without a proof")),
            _ => {}
        }
    }

    fn no_secret_outlives_its_lease(&self, sight: &Sight, wrong: &mut Vec<String>) {
        for secret in sight.secrets.iter().filter(|secret| is_filled(secret)) {
            let recorded =
                |lease: &&CredentialLease| lease.spec.secret.as_ref().is_some_and(|recorded| Some(&recorded.uid) == secret.uid().as_ref());
            // Of several attempts the one that speaks of this very Secret. One that began after the first look may have filled it since, in
            // the place of one that was closed before.
            let of_it = |leases: &[CredentialLease]| {
                let mut of_request: Vec<_> = leases.iter().filter(|lease| lease.spec.request_uid == owner_uid(secret)).collect();
                of_request.sort_by_key(|lease| (!recorded(lease), lease.is_closed()));
                of_request.first().map(|lease| (*lease).clone())
            };
            let began_since = !sight.before.iter().any(|lease| recorded(&lease)) && sight.after.iter().any(|lease| recorded(&lease));
            let before = of_it(&sight.before).filter(|_| !began_since);
            let what = name_of(secret);
            match (before, of_it(&sight.after)) {
                (None, None) => wrong.push(format!("{what} holds a credential without any lease")),
                (Some(lease), _) if lease.is_closed() => {
                    wrong.push(format!("{what} holds a credential though {} is Closed", name_of(&lease)))
                }
                (Some(lease), _) | (_, Some(lease)) => {
                    let recorded = lease.spec.secret.as_ref().map(|recorded| (recorded.name.clone(), recorded.uid.clone()));
                    if recorded != Some((secret.name_any(), secret.uid().unwrap_or_default())) {
                        wrong.push(format!("{what} holds a credential, but {} speaks of {recorded:?}", name_of(&lease)));
                    }
                    if sight.begun > lease.spec.expires_at + self.bound {
                        wrong.push(format!(
                            "{what} is still there, {} s after its end",
                            sight.begun.duration_since(lease.spec.expires_at).as_secs()
                        ));
                    }
                }
            }
        }
    }
}

/// A certificate that was handed over, and where it was seen.
struct Credential {
    request_uid: String,
    place: String,
    leaf: Leaf,
    delivery: Delivery,
    /// The private key beside it, for delivery Secret.
    key: Option<String>,
}

/// Every certificate that lies in a status or in a Secret.
fn credentials(sight: &Sight, wrong: &mut Vec<String>) -> Vec<Credential> {
    let mut found = Vec::new();
    let mut add = |request_uid: &str, place: String, pem: &str, delivery, key| match Leaf::parse(pem) {
        Ok(leaf) => found.push(Credential { request_uid: request_uid.to_owned(), place, leaf, delivery, key }),
        Err(problem) => wrong.push(format!("{place} holds a certificate that cannot be read: {problem}")),
    };
    for request in &sight.requests {
        let credential = request.status.as_ref().and_then(|status| status.credential.as_ref());
        if let Some(certificate) = credential.and_then(|credential| credential.certificate.as_deref()) {
            add(&request.uid().unwrap_or_default(), name_of(request), certificate, Delivery::CSR, None);
        }
    }
    for secret in sight.secrets.iter().filter(|secret| is_filled(secret) && data(secret, TOKEN).is_empty()) {
        add(owner_uid(secret), name_of(secret), &data(secret, "tls.crt"), Delivery::Secret, Some(data(secret, "tls.key")));
    }
    found
}

/// Its names are those of the account that asked, its key is the one that asked, and it ends with its lease.
fn says_what_it_should(sight: &Sight, credential: &Credential, wrong: &mut Vec<String>) {
    let Credential { leaf, place, .. } = credential;
    let Some(lease) = sight.after.iter().chain(&sight.before).find(|lease| lease.spec.request_uid == credential.request_uid) else {
        return;
    };
    let mut must = |holds: bool, what: String| {
        if !holds {
            wrong.push(format!("{place}: {what}"));
        }
    };
    must(!leaf.is_ca, "the certificate is one of an authority".into());
    must(
        credential.delivery == lease.spec.delivery,
        format!("delivered as {:?}, though the lease says {:?}", credential.delivery, lease.spec.delivery),
    );
    must(
        leaf.not_after <= lease.spec.not_after(),
        format!("good until {}, longer than its lease, {}", leaf.not_after, lease.spec.not_after()),
    );
    let serial = lease.spec.serial().unwrap_or_default();
    must(same(&leaf.serial, serial), format!("serial {}, but the lease says {serial:?}", leaf.serial));
    if let Some(key) = &credential.key {
        must(leaf.is_of_private_key(key), "the key beside the certificate is not its own".into());
    }
    let request = sight.requests.iter().find(|request| request.uid().as_ref() == Some(&credential.request_uid));
    if let Some(csr) = request.and_then(|request| request.spec.csr.as_deref()) {
        must(leaf.is_of_csr(csr), "the certificate is not for the key of the signing request".into());
    }
    let class = sight.classes.iter().find(|class| class.name_any() == lease.spec.class_name);
    let Some(says) = class.and_then(|class| class.spec.x509.as_ref()) else { return };
    let (namespace, account) = lease.spec.requester.service_account().unwrap_or_default();
    let filled = |template: &str| {
        let text = template.replace("{namespace}", namespace).replace("{serviceAccount}", account);
        text.replace("{class}", &lease.spec.class_name)
    };
    let uri = format!("spiffe://{}/ns/{namespace}/sa/{account}", says.trust_domain);
    must(leaf.uris == [uri.clone()], format!("names {:?} instead of {uri}", leaf.uris));
    let mut dns_names: Vec<String> = says.dns_names.iter().map(|template| filled(template)).collect();
    dns_names.sort();
    must(leaf.dns_names == dns_names, format!("DNS names {:?} instead of {dns_names:?}", leaf.dns_names));
    let common_name = says.subject.as_ref().map(|subject| filled(&subject.common_name));
    must(leaf.common_name == common_name, format!("common name {:?} instead of {common_name:?}", leaf.common_name));
}

/// When the credential is refused at the latest: a token that can be taken back, then; anything else at its own end.
fn end_of(spec: &CredentialLeaseSpec) -> Timestamp {
    if spec.token.as_ref().is_some_and(|token| token.revocable) { spec.expires_at } else { spec.not_after() }
}

/// A lease repeats who asked, and lives no longer than was asked for.
fn is_of_its_request(sight: &Sight, lease: &CredentialLease, wrong: &mut Vec<String>) {
    let (what, spec) = (name_of(lease), &lease.spec);
    if spec.requester.service_account().map(|(namespace, _)| namespace) != Some(spec.request_namespace.as_str()) {
        wrong.push(format!("{what} serves {} in namespace {}", spec.requester.username, spec.request_namespace));
    }
    let Some(request) = sight.requests.iter().find(|request| request.uid().as_ref() == Some(&spec.request_uid)) else { return };
    if request.spec.requester != spec.requester
        || request.name_any() != spec.request_name
        || request.namespace().as_ref() != Some(&spec.request_namespace)
    {
        wrong.push(format!("{what} is not about the requester of {}", name_of(request)));
    }
    let asked = request.spec.ttl.as_ref().and_then(|ttl| ttl.parse().ok()).and_then(|ttl| SignedDuration::try_from(ttl).ok());
    let made = lease.creation_timestamp().map(|made| made.0);
    if let (Some(asked), Some(made)) = (asked, made)
        // Times of creation are in whole seconds, cut.
        && end_of(spec) > made + asked + SignedDuration::from_secs(1)
    {
        wrong.push(format!("{what} made at {made} lives until {}, longer than the {} s asked for", end_of(spec), asked.as_secs()));
    }
}

/// A request is Ended only once its lease is Closed, and Denied or Failed never with a credential.
fn requests_say_what_the_ledger_says(sight: &Sight, wrong: &mut Vec<String>) {
    for request in &sight.requests {
        let uid = request.uid().unwrap_or_default();
        let credential = request.status.as_ref().and_then(|status| status.credential.as_ref());
        match request.state() {
            RequestState::Ended => {
                for lease in sight.after.iter().filter(|lease| lease.spec.request_uid == uid && !lease.is_closed()) {
                    wrong.push(format!("{} is Ended though {} is not Closed", name_of(request), name_of(lease)));
                }
            }
            state @ (RequestState::Denied | RequestState::Failed | RequestState::Pending) if credential.is_some() => {
                wrong.push(format!("{} is {state:?} and shows a credential", name_of(request)));
            }
            _ => {}
        }
    }
}

fn is_filled(secret: &Secret) -> bool {
    secret.data.iter().flatten().any(|(key, bytes)| ["tls.key", "tls.crt", TOKEN].contains(&key.as_str()) && !bytes.0.is_empty())
}

fn data(secret: &Secret, key: &str) -> String {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
}

fn owner_uid(secret: &Secret) -> &str {
    secret.labels().get(LABEL_REQUEST_UID).map(String::as_str).unwrap_or_default()
}

/// The same number, however it is padded.
fn same(one: &str, other: &str) -> bool {
    one.trim_start_matches('0') == other.trim_start_matches('0')
}

fn name_of<K: kube::Resource<DynamicType = ()>>(object: &K) -> String {
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    format!("{} {namespace}/{}", K::kind(&()), object.meta().name.as_deref().unwrap_or_default())
}
