//! The auditor finds nothing in a right world, and each kind of wrong one.

use daypass::api::{
    AccessRequest, AccessRequestSpec, CredentialClass, CredentialLease, Delivery, LABEL_REQUEST_UID, Proof, RequestState,
    lease::{CredentialLeaseStatus, LeaseState},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::{Auditor, Sight};

const URI: &str = "spiffe://test.example/ns/shop/sa/orders";

/// The end of every certificate here; rcgen gives whole days.
fn not_after() -> Timestamp {
    "2030-01-02T00:00:00Z".parse().unwrap()
}

fn second(seconds: i64) -> Timestamp {
    not_after() + SignedDuration::from_secs(seconds)
}

/// What a certificate says.
struct Saying {
    serial: u8,
    uri: &'static str,
    ca: bool,
}

impl Default for Saying {
    fn default() -> Self {
        Self { serial: 7, uri: URI, ca: false }
    }
}

/// PEM of a certificate for this key.
fn certificate(key: &rcgen::KeyPair, saying: &Saying) -> String {
    let mut params = rcgen::CertificateParams::default();
    params.serial_number = Some(vec![saying.serial].into());
    params.not_after = rcgen::date_time_ymd(2030, 1, 2);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "orders");
    params.subject_alt_names =
        vec![rcgen::SanType::URI(saying.uri.try_into().unwrap()), rcgen::SanType::DnsName("orders.shop.svc".try_into().unwrap())];
    if saying.ca {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    params.self_signed(key).unwrap().pem()
}

/// Two live grants, a minute before their end: `c` with a certificate in its status, `s` with one in a Secret.
struct World {
    sight: Sight,
    keys: [rcgen::KeyPair; 2],
}

fn world() -> World {
    let keys = [(); 2].map(|()| rcgen::KeyPair::generate().unwrap());
    let csr = rcgen::CertificateParams::default().serialize_request(&keys[0]).unwrap().pem().unwrap();
    let requester = json!({
        "username": "system:serviceaccount:shop:orders", "uid": "a", "podName": "p", "podUID": "p", "nodeName": "", "nodeUID": "", "credentialID": "",
    });
    let request = |name: &str, mut spec: Value| -> AccessRequest {
        (spec["className"], spec["ttl"], spec["requester"]) = ("db".into(), "100s".into(), requester.clone());
        let spec: AccessRequestSpec = serde_json::from_value(spec).unwrap();
        let mut request = AccessRequest::new(name, spec);
        (request.metadata.namespace, request.metadata.uid) = (Some("shop".into()), Some(name.into()));
        request
    };
    let status = json!({"state": "Active", "credential": {
        "delivery": "CSR", "certificate": certificate(&keys[0], &Saying::default()), "caBundle": "", "notBefore": second(-130),
        "expiresAt": not_after(), "serial": "07", "revocation": {"kind": "ExpiryOnly", "boundSeconds": 100},
    }});
    let mut by_csr = request("c", json!({"csr": csr}));
    by_csr.status = serde_json::from_value(status.clone()).unwrap();
    let mut by_secret = request("s", json!({}));
    by_secret.status = serde_json::from_value(status).unwrap();
    let credential = by_secret.status.as_mut().and_then(|status| status.credential.as_mut()).unwrap();
    (credential.delivery, credential.certificate) = (Delivery::Secret, None);
    let lease = |uid: &str, more: Value| -> CredentialLease {
        let mut spec = json!({
            "requestNamespace": "shop", "requestName": uid, "requestUID": uid, "attempt": 0, "className": "db", "delivery": "CSR",
            "requester": requester, "workload": "", "policy": {"name": "", "uid": "", "generation": 1, "hash": ""}, "decisionID": "",
            "x509": {"ca": "default", "serial": "07", "uri": URI, "notAfter": not_after()}, "notBefore": second(-130), "expiresAt": not_after(),
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut lease = CredentialLease::new(&format!("lease-{uid}"), serde_json::from_value(spec).unwrap());
        lease.metadata.uid = Some(format!("lease-{uid}"));
        lease.metadata.creation_timestamp = Some(Time(second(-100)));
        lease
    };
    let leases = vec![lease("c", json!({})), lease("s", json!({"delivery": "Secret", "secret": {"name": "daypass-s", "uid": "secret"}}))];
    let class = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": "db"},
        "spec": {"x509": {"ca": {"managed": {}}, "trustDomain": "test.example", "subject": {"commonName": "{serviceAccount}"},
                          "dnsNames": ["{serviceAccount}.{namespace}.svc"]}},
    });
    let class: CredentialClass = serde_json::from_value(class).unwrap();
    let sight = Sight {
        begun: second(-60),
        before: leases.clone(),
        classes: vec![class],
        requests: vec![by_csr, by_secret],
        secrets: vec![secret(&certificate(&keys[1], &Saying::default()), &keys[1].serialize_pem())],
        after: leases,
        lists: vec![],
        done: second(-60),
    };
    World { sight, keys }
}

fn secret(certificate: &str, key: &str) -> Secret {
    let data = [("tls.crt", certificate), ("tls.key", key)];
    let mut secret = Secret { data: Some(data.map(|(name, text)| (name.to_owned(), ByteString(text.into()))).into()), ..Secret::default() };
    (secret.metadata.name, secret.metadata.namespace, secret.metadata.uid) =
        (Some("daypass-s".into()), Some("shop".into()), Some("secret".into()));
    secret.labels_mut().insert(LABEL_REQUEST_UID.into(), "s".into());
    secret
}

fn auditor() -> Auditor {
    Auditor::new(SignedDuration::from_secs(10))
}

impl World {
    /// In both lists of the ledger.
    fn leases(&mut self, change: impl Fn(&mut CredentialLease)) {
        self.sight.before.iter_mut().chain(&mut self.sight.after).for_each(change);
    }

    fn state(&mut self, state: RequestState) {
        self.sight.requests.iter_mut().filter_map(|request| request.status.as_mut()).for_each(|status| status.state = state);
    }

    fn close(&mut self, proof: Proof, time: Timestamp) {
        self.leases(|lease| {
            let (state, proof) = (Some(LeaseState::Closed), Some(proof));
            lease.status = Some(CredentialLeaseStatus { state, proof, closed_time: Some(time), ..CredentialLeaseStatus::default() });
        });
    }

    fn time(&mut self, time: Timestamp) {
        (self.sight.begun, self.sight.done) = (time, time);
    }

    fn certificate_of_c(&mut self, certificate: String) {
        let credential = self.sight.requests[0].status.as_mut().and_then(|status| status.credential.as_mut()).unwrap();
        credential.certificate = Some(certificate);
    }
}

/// The auditor says something with these words in it.
#[track_caller]
fn finds(violations: &[String], words: &str) {
    assert!(violations.iter().any(|violation| violation.contains(words)), "nothing about {words:?} in {violations:#?}");
}

#[test]
fn a_right_world_has_nothing_wrong_at_any_time_of_its_life() {
    let (mut world, mut auditor) = (world(), auditor());
    assert_eq!(auditor.judge(&world.sight), Vec::<String>::new());
    // The operator is down for a moment at the end: late, but not too late.
    world.time(second(9));
    assert_eq!(auditor.judge(&world.sight), Vec::<String>::new());
    world.sight.secrets.clear();
    world.close(Proof::NotAfterPassed, second(9));
    world.state(RequestState::Ended);
    assert_eq!(auditor.judge_the_end(&world.sight), Vec::<String>::new());
}

#[test]
fn what_changes_while_it_is_listed_is_no_violation() {
    let mut world = world();
    let both = world.sight.before.clone();
    // Granted during the look.
    world.sight.before.clear();
    assert_eq!(auditor().judge(&world.sight), Vec::<String>::new());
    // Ended during the look.
    world.close(Proof::NotAfterPassed, second(1));
    (world.sight.before, world.sight.done) = (both, second(1));
    assert_eq!(auditor().judge(&world.sight), Vec::<String>::new());
}

#[test]
fn a_credential_without_a_lease_is_found_wherever_it_lies() {
    let mut world = world();
    (world.sight.before, world.sight.after) = (vec![], vec![]);
    let violations = auditor().judge(&world.sight);
    finds(&violations, "certificate 07 of request c");
    finds(&violations, "Secret shop/daypass-s holds a credential without any lease");
}

#[test]
fn a_certificate_outlives_its_request_but_not_its_lease() {
    let (mut world, mut auditor) = (world(), auditor());
    assert_eq!(auditor.judge(&world.sight), Vec::<String>::new());
    world.sight.requests.clear();
    world.sight.secrets.clear();
    assert_eq!(auditor.judge(&world.sight), Vec::<String>::new());
    world.close(Proof::NotAfterPassed, second(-60));
    finds(&auditor.judge(&world.sight), "is on no revocation list and has only CredentialLease /lease-c, which is Closed");
    (world.sight.before, world.sight.after) = (vec![], vec![]);
    finds(&auditor.judge(&world.sight), "request c, good until 2030-01-02T00:00:00Z, has no lease");
}

#[test]
fn a_lease_that_closes_early_late_or_without_proof_is_found() {
    let mut early = world();
    // A certificate is good through its last second.
    early.close(Proof::NotAfterPassed, second(0));
    early.time(second(1));
    finds(&auditor().judge(&early.sight), "was closed at");

    let mut unproven = world();
    unproven.close(Proof::NeverReleased, second(-60));
    finds(&auditor().judge(&unproven.sight), "closed as never released, but its credential was seen");

    let mut late = world();
    late.time(second(11));
    let violations = auditor().judge(&late.sight);
    finds(&violations, "lease-c is still not Closed, 11 s after");
    finds(&violations, "Secret shop/daypass-s is still there, 11 s after its end");
}

#[test]
fn a_secret_that_outlives_its_closed_lease_or_is_another_s_is_found() {
    let mut closed = world();
    closed.close(Proof::NotAfterPassed, second(1));
    closed.time(second(1));
    finds(&auditor().judge(&closed.sight), "holds a credential though CredentialLease /lease-s is Closed");

    let mut other = world();
    other.sight.secrets[0].metadata.uid = Some("another".into());
    finds(&auditor().judge(&other.sight), "but CredentialLease /lease-s speaks of");
}

#[test]
fn names_keys_and_dates_that_are_not_the_requester_s_are_found() {
    let mut wrong = world();
    let other = Saying { uri: "spiffe://test.example/ns/shop/sa/admin", ca: true, ..Saying::default() };
    wrong.certificate_of_c(certificate(&rcgen::KeyPair::generate().unwrap(), &other));
    let violations = auditor().judge(&wrong.sight);
    finds(&violations, "AccessRequest shop/c: the certificate is one of an authority");
    finds(&violations, "instead of spiffe://test.example/ns/shop/sa/orders");
    finds(&violations, "not for the key of the signing request");

    let mut mixed = world();
    mixed.sight.secrets[0] = secret(&certificate(&mixed.keys[1], &Saying::default()), &mixed.keys[0].serialize_pem());
    finds(&auditor().judge(&mixed.sight), "the key beside the certificate is not its own");

    let mut long = world();
    long.leases(|lease| lease.spec.x509.as_mut().unwrap().not_after = second(-1));
    finds(&auditor().judge(&long.sight), "longer than its lease");

    let mut asked = world();
    asked.leases(|lease| lease.metadata.creation_timestamp = Some(Time(second(-200))));
    finds(&auditor().judge(&asked.sight), "longer than the 100 s asked for");

    let mut confused = world();
    confused.leases(|lease| lease.spec.requester.username = "system:serviceaccount:other:orders".into());
    let violations = auditor().judge(&confused.sight);
    finds(&violations, "serves system:serviceaccount:other:orders in namespace shop");
    finds(&violations, "is not about the requester of");
}

#[test]
fn a_second_credential_of_one_request_is_found_even_after_the_first_went() {
    let (mut world, mut auditor) = (world(), auditor());
    assert_eq!(auditor.judge(&world.sight), Vec::<String>::new());
    let second = certificate(&world.keys[0], &Saying { serial: 8, ..Saying::default() });
    world.certificate_of_c(second);
    finds(&auditor.judge(&world.sight), "certificate 08, the second of its request: 07");

    let key = rcgen::KeyPair::generate().unwrap();
    world.sight.secrets[0] = secret(&certificate(&key, &Saying::default()), &key.serialize_pem());
    finds(&auditor.judge(&world.sight), "certificate 07 for another key than before");

    let mut twin = world.sight.after[0].clone();
    twin.metadata.uid = Some("twin".into());
    world.sight.after.push(twin);
    finds(&auditor.judge(&world.sight), "is a second lease of request c");
}

#[test]
fn states_that_go_back_ends_that_grow_and_leases_that_vanish_are_found() {
    let (mut world, mut auditor) = (world(), auditor());
    world.state(RequestState::Revoking);
    world.leases(|lease| {
        lease.status = Some(CredentialLeaseStatus { state: Some(LeaseState::Revoking), ..CredentialLeaseStatus::default() })
    });
    assert_eq!(auditor.judge(&world.sight), Vec::<String>::new());
    world.state(RequestState::Active);
    world.leases(|lease| (lease.status, lease.spec.expires_at) = (None, second(1)));
    let violations = auditor.judge(&world.sight);
    finds(&violations, "AccessRequest shop/c went from Revoking back to Active");
    finds(&violations, "lease-c went from Revoking back to open");
    finds(&violations, "the end of CredentialLease /lease-c was 2030-01-02T00:00:00Z and grew");
    world.sight.after.remove(0);
    finds(&auditor.judge(&world.sight), "the lease with UID lease-c went while it was open");
}

#[test]
fn a_status_that_contradicts_the_ledger_is_found() {
    let mut ended = world();
    ended.state(RequestState::Ended);
    finds(&auditor().judge(&ended.sight), "AccessRequest shop/c is Ended though CredentialLease /lease-c is not Closed");
    let mut failed = world();
    failed.state(RequestState::Failed);
    finds(&auditor().judge(&failed.sight), "AccessRequest shop/c is Failed and shows a credential");
}

#[test]
fn what_is_left_at_the_end_is_found() {
    let mut unfinished = world();
    let violations = auditor().judge_the_end(&unfinished.sight);
    finds(&violations, "AccessRequest shop/c is still Active");
    finds(&violations, "lease-c is not Closed");
    finds(&violations, "Secret shop/daypass-s still holds a credential");

    unfinished.state(RequestState::Denied);
    (unfinished.sight.before, unfinished.sight.after) = (vec![], vec![]);
    unfinished.sight.secrets = vec![secret("", "")];
    finds(
        &auditor().judge_the_end(&unfinished.sight),
        "Secret shop/daypass-s is the reserve of AccessRequest shop/s, which is Denied without a lease",
    );
}

#[test]
fn what_was_closed_as_listed_is_on_a_published_list() {
    let mut world = world();
    world.state(RequestState::Ended);
    world.sight.secrets.clear();
    world.close(Proof::CRLPublished, second(-60));
    finds(&auditor().judge(&world.sight), "was closed as listed, but 07 is on no revocation list");
    world.sight.lists = vec![list(8)];
    finds(&auditor().judge(&world.sight), "was closed as listed, but 07 is on no revocation list");
    world.sight.lists = vec![list(7)];
    assert_eq!(auditor().judge(&world.sight), Vec::<String>::new());
}

/// A published list with one serial number.
fn list(serial: u8) -> ConfigMap {
    let key = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::new(rcgen::CertificateParams::default(), key);
    let date = |day| rcgen::date_time_ymd(2030, 1, day);
    let revoked =
        rcgen::RevokedCertParams { serial_number: vec![serial].into(), revocation_time: date(1), reason_code: None, invalidity_date: None };
    let list = rcgen::CertificateRevocationListParams {
        this_update: date(1),
        next_update: date(2),
        crl_number: 1u64.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let der = list.signed_by(&issuer).unwrap().der().to_vec();
    ConfigMap { binary_data: Some([("issuer.crl".to_owned(), ByteString(der))].into()), ..ConfigMap::default() }
}

/// The request s asked for a token in a Secret.
fn with_a_token() -> World {
    let mut world = world();
    let token = serde_json::json!({
        "namespace": "lent", "serviceAccount": "reader", "serviceAccountUID": "a", "boundTo": {"name": "daypass-token-s", "uid": "bound"},
        "revocable": true, "notAfter": second(500),
    });
    world.leases(|lease| {
        if lease.spec.request_uid == "s" {
            (lease.spec.x509, lease.spec.token) = (None, Some(serde_json::from_value(token.clone()).unwrap()));
        }
    });
    world.sight.secrets[0].data = Some([("token".to_owned(), ByteString(b"a.b.c".to_vec()))].into());
    world
}

#[test]
fn a_token_in_a_secret_is_a_credential_like_any_other() {
    let mut world = with_a_token();
    assert_eq!(auditor().judge(&world.sight), Vec::<String>::new());
    world.close(Proof::TokenRefused, second(-70));
    finds(&auditor().judge(&world.sight), "Secret shop/daypass-s holds a credential though CredentialLease /lease-s is Closed");
    finds(&auditor().judge_the_end(&world.sight), "Secret shop/daypass-s still holds a credential");
    world.close(Proof::NeverReleased, second(-70));
    finds(&auditor().judge(&world.sight), "its credential was seen");
}

#[test]
fn a_second_attempt_is_one_of_a_token_and_comes_after_the_first_is_closed_as_abandoned() {
    let mut world = with_a_token();
    let add = |world: &mut World, of: &str| {
        for leases in [&mut world.sight.before, &mut world.sight.after] {
            let mut second = leases.iter().find(|lease| lease.spec.request_uid == of).unwrap().clone();
            (second.spec.attempt, second.metadata.name, second.metadata.uid) = (1, Some("again".into()), Some("again".into()));
            second.status = None;
            leases.push(second);
        }
    };
    add(&mut world, "s");
    finds(
        &auditor().judge(&world.sight),
        "/again was opened though CredentialLease /lease-s, an earlier attempt, is not closed as abandoned",
    );
    world.leases(|lease| {
        if lease.spec.request_uid == "s" && lease.spec.attempt == 0 {
            let (state, reason) = (Some(LeaseState::Closed), Some(daypass::api::EndReason::Abandoned));
            let proof = Some(Proof::BoundObjectGone);
            lease.status = Some(CredentialLeaseStatus { state, reason, proof, ..CredentialLeaseStatus::default() });
        }
    });
    assert_eq!(auditor().judge(&world.sight), Vec::<String>::new());
    add(&mut world, "c");
    finds(&auditor().judge(&world.sight), "/again is a second lease of request c");
}

#[test]
fn what_an_attempt_fills_that_began_after_the_first_look_is_not_laid_to_the_closed_one_before_it() {
    let mut world = with_a_token();
    let closed = |lease: &mut CredentialLease, uid: &str| {
        let (state, reason) = (Some(LeaseState::Closed), Some(daypass::api::EndReason::Abandoned));
        let proof = Some(Proof::BoundObjectGone);
        lease.status = Some(CredentialLeaseStatus { state, reason, proof, ..CredentialLeaseStatus::default() });
        lease.spec.secret.as_mut().unwrap().uid = uid.into();
    };
    let second = world.sight.after.iter().find(|lease| lease.spec.request_uid == "s").cloned().map(|mut lease| {
        (lease.spec.attempt, lease.metadata.name, lease.metadata.uid) = (1, Some("again".into()), Some("again".into()));
        lease
    });
    world.leases(|lease| {
        if lease.spec.request_uid == "s" {
            closed(lease, "an earlier one")
        }
    });
    world.sight.after.extend(second);
    assert_eq!(auditor().judge(&world.sight), Vec::<String>::new());

    // The Secret of the closed attempt itself may not lie there.
    world.leases(|lease| {
        if lease.spec.request_uid == "s" && lease.spec.attempt == 0 {
            closed(lease, "secret")
        }
    });
    finds(&auditor().judge(&world.sight), "holds a credential though CredentialLease /lease-s is Closed");
}
