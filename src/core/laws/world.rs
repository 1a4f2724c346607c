//! Random worlds from small alphabets, so that things often match, and weighted so that most requests get as far as the policies.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use proptest::{option, prelude::*, sample::select};

use crate::{
    api::{
        CredentialClassSpec, CredentialLeaseSpec, Delivery, Ttl,
        class::{ClassTtl, LabelSelector, NamespaceSet},
        lease::{LeaseCrl, LeasePolicy, LeaseX509},
        lock::{LockMatch, LockSource},
        policy::{Effect, Limits, PolicyTtl, Requirement},
        request::{Revocation, RevocationKind},
    },
    core::{
        decide::Gone,
        fixture,
        snapshot::{ClassFacts, GuardFacts, LockFacts, NamespaceFacts, PodFacts, PolicyFacts, PolicyId, Snapshot, SubjectFacts, Tri},
    },
};

/// Any world in which somebody asks.
pub(super) fn snapshots() -> impl Strategy<Value = Snapshot> {
    let lock_sets = prop_oneof![12 => Just(vec![]), 1 => prop::collection::vec(locks(), 1..3)];
    let parts = (asks(), guards(), classes(), namespaces(), pods(), policy_sets(), lock_sets);
    parts.prop_map(|(ask, guard, class, namespace, pod, policies, locks)| {
        let mut world = Snapshot { guard, class, namespace, pod, policies, locks, ..fixture::snapshot() };
        ask.into_world(&mut world);
        world
    })
}

/// Any world with a grant that is live in it.
pub(super) fn live_grants() -> impl Strategy<Value = (Snapshot, CredentialLeaseSpec, Gone)> {
    let gone = || option::of((0..60i64).prop_map(before));
    let dates = (0..900i64, prop_oneof![1 => Just(0), 20 => 1..900i64]);
    let delivery = prop_oneof![9 => Just(Delivery::CSR), 1 => Just(Delivery::Secret)];
    (snapshots(), any::<prop::sample::Index>(), dates, delivery, gone(), gone()).prop_map(
        |(world, own, (old, left), delivery, policy, class)| {
            // Sometimes a policy that is no longer there.
            let ids: Vec<&PolicyId> = world.policies.iter().map(|policy| &policy.id).collect();
            let own = ids.get(own.index(ids.len() + 1)).map_or("ClusterAccessPolicy/gone".to_owned(), ToString::to_string);
            let now = Timestamp::from_second(world.now.as_second()).unwrap();
            let lease = CredentialLeaseSpec {
                policy: LeasePolicy { name: own, ..fixture::lease("x").policy },
                not_before: now - SignedDuration::from_secs(old + 30),
                expires_at: now + SignedDuration::from_secs(left),
                delivery,
                ..fixture::lease("x")
            };
            (world, lease, Gone { policy, class })
        },
    )
}

/// Any lock that may be about who asks here.
pub(super) fn locks() -> impl Strategy<Value = LockFacts> {
    let part = |names: &'static [&'static str]| option::weighted(0.4, select(names).prop_map(|name| vec![name.to_owned()]));
    let parts = (part(&["shop", "bank"]), part(&["orders", "batch"]), part(&["node-a", "node-b"]), part(&["orders-db", "orders-ro"]));
    (parts, -60..7200i64, select(vec![LockSource::Person, LockSource::Engine]), "[a-z]{1,6}").prop_map(
        |((namespaces, service_account_names, nodes, classes), left, source, name)| LockFacts {
            matches: LockMatch { namespaces, service_account_names, nodes, classes, ..LockMatch::default() },
            expires_at: fixture::snapshot().now + SignedDuration::from_secs(left),
            source,
            ..fixture::lock(&name)
        },
    )
}

/// Any set of policies, in any order.
pub(super) fn policy_sets() -> impl Strategy<Value = Vec<PolicyFacts>> {
    prop::collection::vec(policies(), 0..6).prop_map(|mut policies| {
        for (index, policy) in policies.iter_mut().enumerate() {
            policy.id.name = format!("p{index}");
        }
        policies
    })
}

/// Any one policy.
pub(super) fn policies() -> impl Strategy<Value = PolicyFacts> {
    let id = prop_oneof![4 => Just(None), 1 => Just(Some("shop".to_owned())), 1 => Just(Some("pay".to_owned()))];
    let effect = prop_oneof![6 => Just(Effect::Permit), 1 => Just(Effect::Forbid)];
    let names = prop::collection::vec(select(vec!["orders-db", "orders-db", "orders-ro", "*"]), 0..4);
    let subjects = prop::collection::vec(subjects(), 0..4);
    let when = prop_oneof![4 => Just(None), 4 => some_tri().prop_map(Some)];
    let require = prop::collection::vec((select(vec!["pinned", "signed"]), tri()), 0..3);
    let broken = prop_oneof![9 => Just(None), 1 => Just(Some("when: unknown root".to_owned()))];
    let demand = option::weighted(0.2, select(vec![30i64, 60, 900]));
    let rest = (limits(), option::weighted(0.2, -2..3i64), 0..4u64, 0..3u64, demand);
    ((id, effect, names, subjects), (when, require, policy_ttls(), broken), rest).prop_map(
        |((namespace, effect, names, subjects), (when, require, ttl, broken), (limits, expires, live, live_of_pod, revocation_at_most))| {
            PolicyFacts {
                id: PolicyId { namespace, name: String::new() },
                effect,
                classes: names.into_iter().map(str::to_owned).collect(),
                subjects,
                has_when: when.is_some(),
                when: when.flatten(),
                require: require.into_iter().map(|(name, verdict)| (requirement(name), verdict)).collect(),
                ttl,
                broken,
                limits,
                expires_at: expires.map(|seconds| before(-seconds)),
                live,
                live_of_pod,
                revocation_at_most,
                ..fixture::permit("p")
            }
        },
    )
}

/// What an expression may have said, not having been asked included.
fn tri() -> impl Strategy<Value = Option<Tri>> {
    prop_oneof![6 => Just(Some(Tri::True)), 1 => Just(Some(Tri::False)), 1 => Just(Some(Tri::Error("late".into()))), 1 => Just(None)]
}

fn some_tri() -> impl Strategy<Value = Option<Tri>> {
    prop_oneof![3 => Just(Some(Tri::True)), 1 => Just(Some(Tri::False)), 1 => Just(Some(Tri::Error("late".into()))), 1 => Just(None)]
}

fn requirement(name: &str) -> Requirement {
    Requirement { name: name.into(), expression: "…".into(), message: format!("see to {name}") }
}

fn limits() -> impl Strategy<Value = Option<Limits>> {
    option::weighted(0.4, (option::of(-1..4i64), option::of(1..3i64)).prop_map(|(live, live_per_pod)| Limits { live, live_per_pod }))
}

fn subjects() -> impl Strategy<Value = SubjectFacts> {
    let namespaces = option::weighted(0.8, prop::collection::vec(select(vec!["shop", "shop", "pay", "*"]), 0..3));
    let accounts = prop::collection::vec(select(vec!["orders", "orders", "billing", "*"]), 0..3);
    let pod_labels = option::weighted(0.2, select(vec!["orders", "billing"]).prop_map(|app| fixture::labels(&[("app", app)])));
    (namespaces, option::weighted(0.3, env()), accounts, pod_labels).prop_map(|(namespaces, namespace_labels, accounts, pod_labels)| {
        SubjectFacts {
            namespaces: namespaces.map(|names| names.into_iter().map(str::to_owned).collect()),
            namespace_labels,
            service_accounts: accounts.into_iter().map(str::to_owned).collect(),
            pod_labels,
        }
    })
}

fn env() -> impl Strategy<Value = BTreeMap<String, String>> {
    select(vec!["prod", "prod", "dev"]).prop_map(|env| fixture::labels(&[("env", env)]))
}

fn ttls() -> impl Strategy<Value = Ttl> {
    prop_oneof![20 => (1..1200u64).prop_map(Ttl::from_secs), 1 => Just(Ttl("24h".into())), 1 => Just(Ttl("nonsense".into()))]
}

fn policy_ttls() -> impl Strategy<Value = Option<PolicyTtl>> {
    option::of((option::of(ttls()), option::of(ttls())).prop_map(|(default, max)| PolicyTtl { default, max }))
}

fn namespace_sets() -> impl Strategy<Value = NamespaceSet> {
    let names = option::of(prop::collection::vec(select(vec!["shop", "pay"]), 1..3));
    (names, option::of(env())).prop_map(|(names, labels)| NamespaceSet {
        names: names.map(|names| names.into_iter().map(str::to_owned).collect()),
        selector: labels.map(|match_labels| LabelSelector { match_labels }),
    })
}

fn classes() -> impl Strategy<Value = ClassFacts> {
    let class = (
        (ttls(), ttls()),
        select(vec![Some(vec![Delivery::CSR, Delivery::Secret]), None, Some(vec![Delivery::Secret])]),
        option::weighted(0.2, namespace_sets()),
        option::of(namespace_sets()),
    );
    let spec = class.prop_map(|((default, max), delivery, allowed_namespaces, delegate_to)| CredentialClassSpec {
        ttl: ClassTtl { default, max },
        delivery,
        allowed_namespaces,
        delegate_to,
        ..fixture::class()
    });
    let not_after = prop_oneof![9 => Just(86_400_000i64), 1 => 0..3000i64, 3 => 1000..900_000i64].prop_map(in_millis);
    let ready = (spec, not_after, select(vec![60, 900, 86_400])).prop_map(|(spec, not_after, bound_seconds)| ClassFacts::Ready {
        spec: Box::new(spec),
        not_after,
        revocation: Revocation { kind: RevocationKind::Bounded, bound_seconds },
    });
    let not_ready = ClassFacts::NotReady { reason: "CAMissing".into(), message: "no such Secret".into() };
    prop_oneof![30 => ready, 1 => Just(ClassFacts::Absent), 1 => Just(ClassFacts::Unjudged), 2 => Just(not_ready)]
}

fn guards() -> impl Strategy<Value = GuardFacts> {
    let since = prop_oneof![10 => Just(3600i64), 1 => 0..6i64].prop_map(|seconds| GuardFacts::InForce { since: before(seconds) });
    let reason = || "the canary".to_owned();
    prop_oneof![40 => since, 1 => Just(GuardFacts::Unknown { reason: reason() }), 1 => Just(GuardFacts::NotInForce { reason: reason() })]
}

fn namespaces() -> impl Strategy<Value = Option<NamespaceFacts>> {
    let terminating = prop_oneof![20 => Just(false), 1 => Just(true)];
    option::weighted(0.95, (env(), terminating).prop_map(|(labels, terminating)| NamespaceFacts { labels, terminating }))
}

fn pods() -> impl Strategy<Value = PodFacts> {
    let present = fixture::snapshot().pod;
    let odd = (select(vec!["pod-uid", "another"]), select(vec!["node-a", ""]), select(vec!["Running", "Succeeded"]), option::of(-2..3i64))
        .prop_map(|(uid, node, phase, deletion)| {
            let mut world = fixture::snapshot();
            let pod = fixture::pod_mut(&mut world);
            (pod.uid, pod.node_name, pod.phase) = (uid.into(), node.into(), phase.into());
            pod.deletion = deletion.map(|seconds| before(-seconds));
            world.pod
        });
    prop_oneof![20 => Just(present), 2 => odd, 1 => Just(PodFacts::Absent)]
}

/// What differs from one ask to the next.
#[derive(Clone, Debug)]
struct Ask {
    ttl: Option<Ttl>,
    csr: bool,
    csr_problem: bool,
    seal_problem: bool,
    generation: i64,
    created: i64,
    fraction: i64,
    node: &'static str,
    username: &'static str,
    home: &'static str,
}

fn asks() -> impl Strategy<Value = Ask> {
    let rarely = |usual: i64, odd: i64| prop_oneof![30 => Just(usual), 1 => Just(odd)];
    let usernames = prop_oneof![
        20 => Just("system:serviceaccount:shop:orders"),
        1 => select(vec!["system:serviceaccount:shop:billing", "system:serviceaccount:pay:orders", "alice"]),
    ];
    let csr = prop_oneof![4 => Just(true), 1 => Just(false)];
    let home = prop_oneof![30 => Just("daypass-system"), 1 => Just("shop")];
    let problem = prop_oneof![60 => Just(0), 2 => Just(1), 2 => Just(2)];
    let whole = (option::of(ttls()), csr, problem, rarely(1, 2), 0..5i64, 0..1000i64, select(vec!["node-a", ""]), usernames, home);
    whole.prop_map(|(ttl, csr, problem, generation, created, fraction, node, username, home)| Ask {
        ttl,
        csr,
        csr_problem: problem == 1,
        seal_problem: problem == 2,
        generation,
        created,
        fraction,
        node,
        username,
        home,
    })
}

impl Ask {
    fn into_world(self, world: &mut Snapshot) {
        world.request.created = before(self.created);
        world.now = in_millis(self.fraction);
        world.operator_namespace = self.home.into();
        world.request.generation = self.generation;
        world.csr_problem = self.csr_problem.then(|| "two PEM blocks".to_owned());
        world.seal_problem = self.seal_problem.then(|| "a point of low order".to_owned());
        let spec = &mut world.request.spec;
        spec.ttl = self.ttl;
        spec.csr = self.csr.then(|| "CSR".to_owned());
        spec.requester.node_name = self.node.into();
        spec.requester.username = self.username.into();
    }
}

fn before(seconds: i64) -> Timestamp {
    fixture::snapshot().now - SignedDuration::from_secs(seconds)
}

fn in_millis(millis: i64) -> Timestamp {
    fixture::snapshot().now + SignedDuration::from_millis(millis)
}

/// The lease that a grant of this world leads to, begun at once.
pub(super) fn lease_of(world: &Snapshot, grant: &crate::core::Grant) -> CredentialLeaseSpec {
    let floor = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap();
    CredentialLeaseSpec {
        delivery: world.request.spec.delivery(),
        policy: LeasePolicy {
            name: grant.policy.to_string(),
            uid: grant.policy_uid.clone(),
            generation: grant.policy_generation,
            hash: grant.policy_hash.clone(),
        },
        not_before: floor(world.now) - SignedDuration::from_secs(30),
        expires_at: floor(world.now + grant.ttl.max(Duration::from_secs(1))),
        x509: Some(LeaseX509 {
            crl: Some(LeaseCrl { issuer: "issuer".into(), url: None, bound_seconds: grant.revocation.bound_seconds }),
            ..fixture::lease("x").x509.unwrap()
        }),
        ..fixture::lease("x")
    }
}
