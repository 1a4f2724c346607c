//! What a lock is about: stories of one pod, and laws that hold for every lock.

use proptest::{option, prelude::*, sample::subsequence};

use super::*;
use crate::core::fixture::{at, lock};

const NOON: &str = "2026-03-01T12:00:00Z";

fn images() -> Images {
    Images::of(["registry.example/orders:1.2", "tools"])
}

/// Pod `pod-uid` of `shop/orders` on `node-a`, of class `orders-db`.
fn subject(images: &Images) -> Subject<'_> {
    Subject {
        namespace: "shop",
        service_account: Some("orders"),
        pod_uid: "pod-uid",
        nodes: ["node-a", "node-a"],
        images: Some(images),
        class: "orders-db",
    }
}

fn names(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| name.to_string()).collect())
}

fn fits(wanted: LockMatch) -> bool {
    fit(&wanted, &subject(&images())) == Fit::Yes
}

fn nothing() -> LockMatch {
    LockMatch::default()
}

#[test]
fn every_part_finds_its_subject_and_no_other() {
    for (one, another) in [
        (LockMatch { namespaces: names(&["x", "shop"]), ..nothing() }, LockMatch { namespaces: names(&["sho"]), ..nothing() }),
        (
            LockMatch { service_account_names: names(&["orders"]), ..nothing() },
            LockMatch { service_account_names: names(&["shop:orders"]), ..nothing() },
        ),
        (LockMatch { pod_uids: names(&["pod-uid"]), ..nothing() }, LockMatch { pod_uids: names(&["orders-1"]), ..nothing() }),
        (LockMatch { nodes: names(&["node-a"]), ..nothing() }, LockMatch { nodes: names(&["node-b"]), ..nothing() }),
        (LockMatch { images: names(&["registry.example/orders"]), ..nothing() }, LockMatch { images: names(&["orders"]), ..nothing() }),
        (LockMatch { classes: names(&["orders-db"]), ..nothing() }, LockMatch { classes: names(&["orders-ro"]), ..nothing() }),
        (LockMatch { everything: Some(true), ..nothing() }, LockMatch { everything: Some(false), ..nothing() }),
    ] {
        assert!(fits(one.clone()), "{one:?}");
        assert!(!fits(another.clone()), "{another:?}");
    }
}

#[test]
fn what_is_given_together_must_fit_together() {
    let both = |node: &str| LockMatch { namespaces: names(&["shop"]), nodes: names(&[node]), ..nothing() };
    assert!(fits(both("node-a")) && !fits(both("node-b")));
}

#[test]
fn a_lock_of_nothing_locks_nothing() {
    assert!(!fits(nothing()));
    let nobody = Subject { namespace: "", service_account: None, pod_uid: "", nodes: ["", ""], images: None, class: "" };
    let empty = LockMatch { nodes: names(&[""]), ..nothing() };
    assert_eq!(fit(&empty, &nobody), Fit::No, "an empty name is the name of nothing");
}

#[test]
fn a_token_that_was_minted_before_its_pod_had_a_node_is_found_by_the_node_of_the_pod() {
    let images = images();
    let early = Subject { nodes: ["", "node-a"], ..subject(&images) };
    assert_eq!(fit(&LockMatch { nodes: names(&["node-a"]), ..nothing() }, &early), Fit::Yes);
}

#[test]
fn images_that_are_not_known_refuse_a_request_and_end_no_grant() {
    let none = Images::default();
    let unknown = Subject { images: None, ..subject(&none) };
    let of_image = [LockFacts { matches: LockMatch { images: names(&["tools"]), ..nothing() }, ..lock("bad-image") }];
    assert!(refusing(&of_image, &unknown, at(NOON)).is_some() && ending(&of_image, &unknown, at(NOON)).is_none());
    let elsewhere = LockMatch { images: names(&["tools"]), namespaces: names(&["bank"]), ..nothing() };
    assert_eq!(fit(&elsewhere, &unknown), Fit::No, "another part is known not to fit");
}

#[test]
fn a_lock_that_cannot_be_read_refuses_everything_and_ends_nothing() {
    let broken = [LockFacts { broken: Some("spec.match: unknown".into()), matches: nothing(), ..lock("later") }];
    let (images, now) = (images(), at(NOON));
    assert!(refusing(&broken, &subject(&images), now).is_some() && ending(&broken, &subject(&images), now).is_none());
    let told = denial(&broken[0], now);
    assert!(told.message.contains("cannot be read") && told.retry_after.is_none());
}

#[test]
fn a_lock_is_over_at_its_end_and_of_several_the_last_to_end_is_told() {
    let until = |name: &str, end: &str| LockFacts { expires_at: at(end), ..lock(name) };
    let locks = [until("b", "2026-03-01T14:00:00Z"), until("a", "2026-03-01T13:00:00Z"), until("a2", "2026-03-01T14:00:00Z")];
    let images = images();
    let told = |now| refusing(&locks, &subject(&images), at(now)).map(|lock| lock.name.as_str());
    assert_eq!(told(NOON), Some("a2"));
    assert_eq!((told("2026-03-01T13:59:59.999Z"), told("2026-03-01T14:00:00Z")), (Some("a2"), None));
}

#[test]
fn whoever_is_refused_learns_which_lock_why_until_when_and_whom_to_ask() {
    let told = denial(&lock("incident-7"), at("2026-03-01T12:00:00.5Z"));
    assert_eq!(
        told.message,
        "AccessLock incident-7 is in force until 2026-03-01T14:00:00Z: node-a may be compromised. Ask jane@example.com, who placed it, or ask \
         again after that"
    );
    assert_eq!(
        (told.reason, told.retry_after, told.lock.as_deref()),
        (DenialReason::Forbidden, Some(Duration::from_secs(7200)), Some("incident-7"))
    );
    let engine = LockFacts { source: LockSource::Engine, expires_at: at("2026-03-02T12:00:01Z"), ..lock("dp-abnormal") };
    let told = denial(&engine, at(NOON));
    assert!(told.message.contains("Daypass placed by itself") && told.message.contains("Ask the security team"), "{}", told.message);
    assert_eq!(told.retry_after, None, "nobody waits for longer than a day");
}

#[test]
fn whoever_loses_something_learns_by_whom_and_why() {
    let end = end(&lock("incident-7"));
    assert_eq!(end.message, "locked by AccessLock incident-7, placed by jane@example.com: node-a may be compromised");
    assert_eq!((end.reason, end.lock.name.as_str(), end.lock.uid.as_str()), (EndReason::Locked, "incident-7", "uid-incident-7"));
    let by_itself = super::end(&LockFacts { source: LockSource::Engine, ..lock("l") });
    assert!(by_itself.reason == EndReason::AbnormalFrequency && by_itself.message.contains("placed by Daypass itself"), "{by_itself:?}");
}

fn part(of: &'static [&'static str]) -> impl Strategy<Value = Option<Vec<String>>> {
    option::of(subsequence(of, 1..=of.len()).prop_map(|some| some.into_iter().map(str::to_owned).collect()))
}

fn matches() -> impl Strategy<Value = LockMatch> {
    let parts = (
        part(&["shop", "bank"]),
        part(&["orders", "batch"]),
        part(&["pod-uid", "other"]),
        part(&["node-a", "node-b"]),
        part(&["tools", "nginx"]),
        part(&["orders-db", "orders-ro"]),
        option::weighted(0.1, any::<bool>()),
    );
    parts.prop_map(|(namespaces, service_account_names, pod_uids, nodes, images, classes, everything)| LockMatch {
        namespaces,
        service_account_names,
        pod_uids,
        nodes,
        images,
        classes,
        everything,
    })
}

proptest! {
    #[test]
    fn whatever_a_lock_ends_it_refuses_as_well(wanted in matches(), known in any::<bool>()) {
        let (images, locks) = (images(), [LockFacts { matches: wanted, ..lock("l") }]);
        let subject = Subject { images: known.then_some(&images), ..subject(&images) };
        prop_assert!(ending(&locks, &subject, at(NOON)).is_none() || refusing(&locks, &subject, at(NOON)).is_some());
    }

    #[test]
    fn another_part_narrows_a_lock_and_another_item_widens_it(wanted in matches(), more in matches()) {
        let narrower = LockMatch { nodes: wanted.nodes.clone().or(more.nodes), everything: None, ..wanted.clone() };
        let given = wanted != LockMatch { everything: wanted.everything, ..nothing() };
        let before = LockMatch { everything: None, ..wanted.clone() };
        prop_assert!(!given || !fits(narrower) || fits(before));
        let wider = LockMatch { namespaces: wanted.namespaces.clone().map(|mut names| { names.push("shop".into()); names }), ..wanted.clone() };
        prop_assert!(!fits(wanted) || fits(wider));
    }

    #[test]
    fn the_order_of_locks_decides_nothing(mut wanted in prop::collection::vec((matches(), 0..3i64), 0..5)) {
        let locks = |wanted: &[(LockMatch, i64)]| -> Vec<LockFacts> {
            wanted.iter().map(|(matches, hours)| {
                let name = format!("{matches:?}");
                LockFacts { matches: matches.clone(), expires_at: at(NOON) + SignedDuration::from_hours(*hours), ..lock(&name) }
            }).collect()
        };
        let (images, now) = (images(), at(NOON));
        let told = |locks: &[LockFacts]| refusing(locks, &subject(&images), now).map(|lock| (lock.name.clone(), lock.expires_at));
        let forwards = told(&locks(&wanted));
        wanted.reverse();
        prop_assert_eq!(told(&locks(&wanted)), forwards);
    }
}
