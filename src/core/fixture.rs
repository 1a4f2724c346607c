//! A small world for tests: pod `orders-1` of service account `shop/orders` asks for class `orders-db`, and nothing stands in its way but
//! that no policy permits it. Tests change what their story is about.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    images::Images,
    snapshot::{
        ClassFacts, GuardFacts, LockFacts, NamespaceFacts, Pod, PodFacts, PolicyFacts, PolicyId, RequestFacts, Snapshot, SubjectFacts,
    },
};
use crate::api::{
    AccessRequestSpec, CredentialClassSpec, CredentialLeaseSpec, Delivery, Requester, Ttl,
    class::{CaSpec, ClassTtl, ManagedCa, Usage, X509Spec},
    lease::{LeasePolicy, LeaseX509},
    lock::{LockMatch, LockSource},
    policy::Effect,
    request::{Revocation, RevocationKind},
};

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn ttl(text: &str) -> Ttl {
    Ttl(text.into())
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        now: at("2026-03-01T12:00:00Z"),
        request: RequestFacts {
            namespace: "shop".into(),
            name: "orders-db-1".into(),
            uid: "request-uid".into(),
            created: at("2026-03-01T11:59:59Z"),
            generation: 1,
            spec: AccessRequestSpec {
                class_name: "orders-db".into(),
                ttl: None,
                purpose: None,
                csr: Some("CSR".into()),
                seal_to: None,
                secret_name: None,
                requester: requester(),
            },
        },
        operator_namespace: "daypass-system".into(),
        guard: GuardFacts::InForce { since: at("2026-03-01T08:00:00Z") },
        class: ClassFacts::Ready {
            spec: Box::new(class()),
            not_after: at("2027-01-01T00:00:00Z"),
            revocation: Revocation { kind: RevocationKind::ExpiryOnly, bound_seconds: 900 },
        },
        namespace: Some(NamespaceFacts { labels: labels(&[("env", "prod")]), terminating: false }),
        pod: PodFacts::Present(Box::new(pod())),
        requester_gone: None,
        locks: vec![],
        csr_problem: None,
        seal_problem: None,
        policies: vec![],
    }
}

fn requester() -> Requester {
    Requester {
        username: "system:serviceaccount:shop:orders".into(),
        uid: "account-uid".into(),
        pod_name: "orders-1".into(),
        pod_uid: "pod-uid".into(),
        node_name: "node-a".into(),
        node_uid: "node-uid".into(),
        credential_id: "JTI=1".into(),
    }
}

fn pod() -> Pod {
    Pod {
        uid: "pod-uid".into(),
        service_account: "orders".into(),
        node_name: "node-a".into(),
        phase: "Running".into(),
        deletion: None,
        labels: labels(&[("app", "orders")]),
        workload: "Deployment/orders".into(),
        images: Images::of(["registry.example/orders:1.2"]),
    }
}

pub(crate) fn class() -> CredentialClassSpec {
    CredentialClassSpec {
        ttl: ClassTtl { default: ttl("10m"), max: ttl("15m") },
        delivery: None,
        allowed_namespaces: None,
        delegate_to: None,
        x509: Some(X509Spec {
            ca: CaSpec { managed: Some(ManagedCa { name: "default".into() }), secret_name: None },
            trust_domain: "shop.example".into(),
            subject: None,
            dns_names: vec![],
            usages: vec![Usage::ClientAuth],
            crl: None,
        }),
        service_account_token: None,
    }
}

/// The class of a world in which it is Ready.
pub(crate) fn class_mut(world: &mut Snapshot) -> &mut CredentialClassSpec {
    match &mut world.class {
        ClassFacts::Ready { spec, .. } => spec,
        other => panic!("{other:?}"),
    }
}

/// The pod of a world in which it is there.
pub(crate) fn pod_mut(world: &mut Snapshot) -> &mut Pod {
    match &mut world.pod {
        PodFacts::Present(pod) => pod,
        PodFacts::Absent => panic!("no pod"),
    }
}

/// A ClusterAccessPolicy that permits class `orders-db` to `shop/orders`, with no conditions.
pub(crate) fn permit(name: &str) -> PolicyFacts {
    PolicyFacts {
        id: PolicyId { namespace: None, name: name.into() },
        uid: format!("uid-{name}"),
        generation: 1,
        hash: format!("hash-{name}"),
        broken: None,
        effect: Effect::Permit,
        subjects: vec![SubjectFacts {
            namespaces: Some(vec!["shop".into()]),
            namespace_labels: None,
            service_accounts: vec!["orders".into()],
            pod_labels: None,
        }],
        classes: vec!["orders-db".into()],
        when: None,
        has_when: false,
        require: vec![],
        ttl: None,
        limits: None,
        revocation_at_most: None,
        expires_at: None,
        live: 0,
        live_of_pod: 0,
    }
}

/// The same with effect Forbid.
pub(crate) fn forbid(name: &str) -> PolicyFacts {
    PolicyFacts { effect: Effect::Forbid, ..permit(name) }
}

/// A lock of everything on `node-a`, for two hours from the beginning of the world, that Jane placed.
pub(crate) fn lock(name: &str) -> LockFacts {
    LockFacts {
        name: name.into(),
        uid: format!("uid-{name}"),
        broken: None,
        matches: LockMatch { nodes: Some(vec!["node-a".into()]), ..LockMatch::default() },
        reason: "node-a may be compromised.".into(),
        expires_at: at("2026-03-01T14:00:00Z"),
        source: LockSource::Person,
        by: "jane@example.com".into(),
    }
}

/// A lease of ten minutes that began with the world, counted under [`permit`] of that name.
pub(crate) fn lease(policy: &str) -> CredentialLeaseSpec {
    CredentialLeaseSpec {
        request_namespace: "shop".into(),
        request_name: "orders-db-1".into(),
        request_uid: "request-uid".into(),
        attempt: 0,
        class_name: "orders-db".into(),
        delivery: Delivery::CSR,
        requester: requester(),
        workload: "Deployment/orders".into(),
        policy: LeasePolicy {
            name: format!("ClusterAccessPolicy/{policy}"),
            uid: format!("uid-{policy}"),
            generation: 1,
            hash: format!("hash-{policy}"),
        },
        decision_id: "decision".into(),
        secret: None,
        x509: Some(LeaseX509 {
            ca: "default".into(),
            serial: "1".into(),
            uri: "spiffe://shop.example/ns/shop/sa/orders".into(),
            common_name: None,
            dns_names: vec![],
            crl: None,
            not_after: at("2026-03-01T12:10:00Z"),
        }),
        token: None,
        not_before: at("2026-03-01T11:59:30Z"),
        expires_at: at("2026-03-01T12:10:00Z"),
        revoke: None,
    }
}
