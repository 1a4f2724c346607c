//! Whether the selectors of a policy or a class match one request, and if not, which part of them does not.
//!
//! Owns every comparison of names and labels. CEL is not its business: verdicts of expressions come with the snapshot. Called by
//! [`super::decide()`] and, before any expression is evaluated, by the shell through [`super::decide::could_apply`].

use std::collections::BTreeMap;

use super::snapshot::{ClassFacts, NamespaceFacts, Pod, PodFacts, PolicyFacts, Snapshot, SubjectFacts};
use crate::api::{class::NamespaceSet, policy::Effect};

/// What a comparison says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// Every part matches.
    Yes,
    /// This part does not.
    No(String),
    /// No part is known not to match, and this fact is missing to be sure.
    Unknown(String),
}

impl Match {
    /// Both must match. A part that does not match outweighs one that is not known.
    pub fn and(self, next: impl FnOnce() -> Match) -> Match {
        match self {
            Match::Yes => next(),
            Match::No(why) => Match::No(why),
            Match::Unknown(why) => match next() {
                Match::No(part) => Match::No(part),
                Match::Yes | Match::Unknown(_) => Match::Unknown(why),
            },
        }
    }

    fn when(holds: bool, otherwise: impl FnOnce() -> String) -> Match {
        if holds { Match::Yes } else { Match::No(otherwise()) }
    }
}

/// Whether everything of a policy but its expressions speaks of this request: scope, classes, delegation, subjects, end.
///
/// The fields of a broken policy may be missing because they cannot be read: then it speaks of everything in its scope.
pub fn policy(policy: &PolicyFacts, snapshot: &Snapshot) -> Match {
    scope(policy, snapshot)
        .and(|| classes(policy, snapshot))
        .and(|| delegation(policy, snapshot))
        .and(|| subjects(policy, snapshot))
        .and(|| not_expired(policy, snapshot))
}

/// Whether a namespace belongs to a set: by name or by label, either is enough.
pub fn namespace_set(set: &NamespaceSet, name: &str, namespace: Option<&NamespaceFacts>) -> Match {
    let by_name = set.names.as_ref().is_some_and(|names| names.iter().any(|n| n == name));
    let by_label = match (&set.selector, namespace) {
        _ if by_name => return Match::Yes,
        (None, _) => return Match::No(format!("names {} do not include {name}", list(set.names.as_deref().unwrap_or_default()))),
        (Some(selector), namespace) => namespace_labels(&selector.match_labels, name, namespace),
    };
    match (by_label, &set.names) {
        (Match::No(why), Some(names)) => Match::No(format!("names {} do not include {name}, and {why}", list(names))),
        (by_label, _) => by_label,
    }
}

fn scope(policy: &PolicyFacts, snapshot: &Snapshot) -> Match {
    match &policy.id.namespace {
        Some(namespace) => Match::when(*namespace == snapshot.request.namespace, || format!("it speaks of namespace {namespace} only")),
        None => Match::Yes,
    }
}

fn classes(policy: &PolicyFacts, snapshot: &Snapshot) -> Match {
    let class = &snapshot.request.spec.class_name;
    let unreadable = policy.classes.is_empty() && policy.broken.is_some();
    Match::when(unreadable || includes(&policy.classes, class), || format!("classes {} do not include {class}", list(&policy.classes)))
}

/// A namespace's own policy counts only for classes that are handed down to it: platform teams keep the others.
fn delegation(policy: &PolicyFacts, snapshot: &Snapshot) -> Match {
    if policy.id.namespace.is_none() {
        return Match::Yes;
    }
    let (class, namespace) = (&snapshot.request.spec.class_name, &snapshot.request.namespace);
    let ClassFacts::Ready { spec, .. } = &snapshot.class else {
        return Match::Unknown(format!(
            "whether class {class} is delegated to namespace {namespace} is not known while the class is not Ready"
        ));
    };
    let delegated = match &spec.delegate_to {
        Some(set) => namespace_set(set, namespace, snapshot.namespace.as_ref()),
        None => Match::No(String::new()),
    };
    match delegated {
        Match::No(_) => Match::No(format!("class {class} is not delegated to namespace {namespace}")),
        other => other,
    }
}

fn subjects(policy: &PolicyFacts, snapshot: &Snapshot) -> Match {
    if policy.subjects.is_empty() {
        return Match::when(policy.broken.is_some(), || "subjects: there are none".to_owned());
    }
    let (mut misses, mut unknown) = (Vec::new(), None);
    for (index, one) in policy.subjects.iter().enumerate() {
        match subject(one, policy, snapshot) {
            Match::Yes => return Match::Yes,
            Match::Unknown(why) => unknown = unknown.or(Some(why)),
            Match::No(why) if policy.subjects.len() == 1 => misses.push(format!("subjects: {why}")),
            Match::No(why) => misses.push(format!("subjects[{index}]: {why}")),
        }
    }
    match unknown {
        Some(why) => Match::Unknown(why),
        None => Match::No(misses.join("; ")),
    }
}

fn subject(subject: &SubjectFacts, policy: &PolicyFacts, snapshot: &Snapshot) -> Match {
    subject_namespace(subject, policy, snapshot).and(|| service_account(subject, snapshot)).and(|| pod_labels(subject, snapshot))
}

fn subject_namespace(subject: &SubjectFacts, policy: &PolicyFacts, snapshot: &Snapshot) -> Match {
    let namespace = &snapshot.request.namespace;
    // The schema asks for one of the two. Should it ever be edited, an omission must not hand out to the whole cluster.
    if subject.namespaces.is_none()
        && subject.namespace_labels.is_none()
        && policy.id.namespace.is_none()
        && policy.effect == Effect::Permit
    {
        return Match::No("neither namespaces nor namespaceSelector is given".to_owned());
    }
    let by_name = match &subject.namespaces {
        Some(names) => Match::when(includes(names, namespace), || format!("namespaces {} do not include {namespace}", list(names))),
        None => Match::Yes,
    };
    by_name.and(|| match &subject.namespace_labels {
        Some(wanted) => namespace_labels(wanted, namespace, snapshot.namespace.as_ref()),
        None => Match::Yes,
    })
}

fn service_account(subject: &SubjectFacts, snapshot: &Snapshot) -> Match {
    let Some((_, name)) = snapshot.request.spec.requester.service_account() else {
        return Match::No("the requester is no service account".to_owned());
    };
    Match::when(includes(&subject.service_accounts, name), || {
        format!("serviceAccountNames {} do not include {name}", list(&subject.service_accounts))
    })
}

fn pod_labels(subject: &SubjectFacts, snapshot: &Snapshot) -> Match {
    let Some(wanted) = &subject.pod_labels else { return Match::Yes };
    match &snapshot.pod {
        PodFacts::Present(pod) => labels_of_pod(wanted, pod),
        PodFacts::Absent => Match::Unknown("the labels of the pod are not known".to_owned()),
    }
}

fn labels_of_pod(wanted: &BTreeMap<String, String>, pod: &Pod) -> Match {
    missing(wanted, &pod.labels).map_or(Match::Yes, |pairs| Match::No(format!("podSelector {pairs} does not match the pod's labels")))
}

fn namespace_labels(wanted: &BTreeMap<String, String>, name: &str, namespace: Option<&NamespaceFacts>) -> Match {
    let Some(namespace) = namespace else { return Match::Unknown(format!("the labels of namespace {name} are not known")) };
    let no = |pairs| Match::No(format!("namespaceSelector {pairs} does not match the labels of namespace {name}"));
    missing(wanted, &namespace.labels).map_or(Match::Yes, no)
}

fn not_expired(policy: &PolicyFacts, snapshot: &Snapshot) -> Match {
    match policy.expires_at {
        Some(end) if end <= snapshot.now => Match::No(format!("expired at {end}")),
        _ => Match::Yes,
    }
}

/// The wanted labels that are not there with their value.
fn missing(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> Option<String> {
    let pairs: Vec<String> =
        wanted.iter().filter(|(key, value)| labels.get(*key) != Some(value)).map(|(key, value)| format!("{key}={value}")).collect();
    (!pairs.is_empty()).then(|| pairs.join(","))
}

fn includes(names: &[String], name: &str) -> bool {
    names.iter().any(|n| n == "*" || n == name)
}

/// Names in brackets; a long list is cut, because one policy must not fill a log line.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => format!("[{shown}]"),
        more => format!("[{shown} and {more} more]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::class::LabelSelector,
        core::fixture::{labels, permit, snapshot},
    };

    fn no(m: Match) -> String {
        match m {
            Match::No(why) => why,
            other => panic!("{other:?}"),
        }
    }

    /// The policy that permits, with one thing changed, and what is then said not to match.
    fn miss(change: impl FnOnce(&mut PolicyFacts)) -> String {
        let mut one = permit("orders");
        change(&mut one);
        no(policy(&one, &snapshot()))
    }

    #[test]
    fn a_policy_matches_when_every_part_does() {
        assert_eq!(policy(&permit("orders"), &snapshot()), Match::Yes);
    }

    #[test]
    fn the_part_that_does_not_match_is_named() {
        let subject = |change: fn(&mut SubjectFacts)| miss(|p| change(&mut p.subjects[0]));
        assert_eq!(miss(|p| p.classes = vec!["orders-ro".into()]), "classes [orders-ro] do not include orders-db");
        assert_eq!(miss(|p| p.expires_at = Some(snapshot().now)), "expired at 2026-03-01T12:00:00Z");
        assert_eq!(
            subject(|s| s.service_accounts = vec!["billing".into()]),
            "subjects: serviceAccountNames [billing] do not include orders"
        );
        assert_eq!(subject(|s| s.namespaces = Some(vec!["pay".into()])), "subjects: namespaces [pay] do not include shop");
        assert_eq!(
            subject(|s| s.pod_labels = Some(labels(&[("app", "orders"), ("tier", "batch")]))),
            "subjects: podSelector tier=batch does not match the pod's labels"
        );
        assert_eq!(
            subject(|s| (s.namespaces, s.namespace_labels) = (None, Some(labels(&[("env", "dev")])))),
            "subjects: namespaceSelector env=dev does not match the labels of namespace shop"
        );
        assert_eq!(miss(|p| p.subjects.clear()), "subjects: there are none");
    }

    #[test]
    fn one_of_several_subjects_is_enough_and_each_miss_has_its_index() {
        let other = |name: &str| SubjectFacts { service_accounts: vec![name.into()], ..permit("orders").subjects[0].clone() };
        let mut one = permit("orders");
        one.subjects.insert(0, other("billing"));
        assert_eq!(policy(&one, &snapshot()), Match::Yes);
        one.subjects[1] = other("cron");
        assert_eq!(
            no(policy(&one, &snapshot())),
            "subjects[0]: serviceAccountNames [billing] do not include orders; subjects[1]: serviceAccountNames [cron] do not include orders"
        );
    }

    #[test]
    fn a_namespaces_own_policy_counts_only_at_home_and_for_delegated_classes() {
        let mut own = permit("orders");
        own.id.namespace = Some("shop".into());
        assert_eq!(no(policy(&own, &snapshot())), "class orders-db is not delegated to namespace shop");
        let mut world = snapshot();
        if let ClassFacts::Ready { spec, .. } = &mut world.class {
            spec.delegate_to = Some(NamespaceSet { names: Some(vec!["shop".into()]), selector: None });
        }
        assert_eq!(policy(&own, &world), Match::Yes);
        own.id.namespace = Some("pay".into());
        assert_eq!(no(policy(&own, &world)), "it speaks of namespace pay only", "even though its subjects name shop");
    }

    #[test]
    fn a_cluster_policy_that_names_no_namespaces_permits_in_none() {
        assert_eq!(miss(|p| p.subjects[0].namespaces = None), "subjects: neither namespaces nor namespaceSelector is given");
    }

    #[test]
    fn what_cannot_be_read_of_a_broken_policy_matches_everything() {
        let mut one = permit("orders");
        (one.subjects, one.classes, one.broken) = (vec![], vec![], Some("spec.subjects: not a list".into()));
        assert_eq!(policy(&one, &snapshot()), Match::Yes);
    }

    #[test]
    fn a_missing_fact_is_no_mismatch_but_a_known_mismatch_outweighs_it() {
        let mut one = permit("orders");
        one.subjects[0].pod_labels = Some(labels(&[("app", "orders")]));
        let mut world = snapshot();
        world.pod = PodFacts::Absent;
        assert!(matches!(policy(&one, &world), Match::Unknown(_)));
        one.expires_at = Some(world.now);
        assert!(matches!(policy(&one, &world), Match::No(_)));
    }

    #[test]
    fn a_set_of_namespaces_matches_by_name_or_by_label() {
        let env = |value: &str| Some(LabelSelector { match_labels: labels(&[("env", value)]) });
        let of =
            |names: Option<&[&str]>, selector| NamespaceSet { names: names.map(|n| n.iter().map(|s| s.to_string()).collect()), selector };
        let shop = NamespaceFacts { labels: labels(&[("env", "prod")]), terminating: false };
        for set in [of(Some(&["shop"]), None), of(None, env("prod")), of(Some(&["pay"]), env("prod")), of(Some(&["shop"]), env("dev"))] {
            assert_eq!(namespace_set(&set, "shop", Some(&shop)), Match::Yes, "{set:?}");
        }
        for set in [of(Some(&["pay"]), None), of(None, env("dev")), of(Some(&["pay"]), env("dev")), of(None, None)] {
            assert!(matches!(namespace_set(&set, "shop", Some(&shop)), Match::No(_)), "{set:?}");
        }
        assert!(matches!(namespace_set(&of(None, env("prod")), "shop", None), Match::Unknown(_)));
    }

    #[test]
    fn long_lists_are_cut() {
        let many: Vec<String> = (0..64).map(|n| format!("c{n}")).collect();
        assert_eq!(miss(|p| p.classes = many), "classes [c0, c1, c2, c3, c4 and 59 more] do not include orders-db");
    }
}
