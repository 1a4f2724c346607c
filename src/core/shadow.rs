//! Which Permit undoes which: a broader policy without conditions makes a narrower one's conditions pointless.

use super::snapshot::{PolicyFacts, SubjectFacts};
use crate::api::policy::Effect;

/// Policies that hand out without conditions everything that this one hands out with conditions, in the order of their names.
pub fn shadowed_by(policy: &PolicyFacts, all: &[&PolicyFacts]) -> Vec<String> {
    let conditional = policy.has_when || !policy.require.is_empty() || policy.limits.is_some() || policy.revocation_at_most.is_some();
    if policy.effect != Effect::Permit || policy.broken.is_some() || !conditional {
        return vec![];
    }
    let broader = |other: &&&PolicyFacts| {
        other.id != policy.id
            && other.effect == Effect::Permit
            && other.broken.is_none()
            && !other.has_when
            && other.require.is_empty()
            && other.limits.is_none()
            && other.revocation_at_most.is_none()
            && other.expires_at.is_none()
            && names_cover(&other.classes, &policy.classes)
            && policy.subjects.iter().all(|subject| other.subjects.iter().any(|o| covers(o, subject)))
    };
    let mut names: Vec<String> = all.iter().filter(broader).map(|other| other.id.to_string()).collect();
    names.sort();
    names.truncate(16);
    names
}

fn covers(broad: &SubjectFacts, narrow: &SubjectFacts) -> bool {
    let namespaces = match (&broad.namespaces, &broad.namespace_labels) {
        (Some(names), None) => names.iter().any(|n| n == "*") || narrow.namespaces.as_ref().is_some_and(|n| names_cover(names, n)),
        (None, Some(labels)) => narrow.namespace_labels.as_ref().is_some_and(|n| labels.iter().all(|(k, v)| n.get(k) == Some(v))),
        (None, None) => true,
        (Some(_), Some(_)) => false,
    };
    let pods = match (&broad.pod_labels, &narrow.pod_labels) {
        (None, _) => true,
        (Some(labels), Some(n)) => labels.iter().all(|(k, v)| n.get(k) == Some(v)),
        (Some(_), None) => false,
    };
    namespaces && pods && names_cover(&broad.service_accounts, &narrow.service_accounts)
}

fn names_cover(broad: &[String], narrow: &[String]) -> bool {
    broad.iter().any(|n| n == "*") || (!narrow.iter().any(|n| n == "*") && narrow.iter().all(|n| broad.contains(n)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::snapshot::PolicyId;

    fn policy(name: &str, accounts: &[&str], has_when: bool) -> PolicyFacts {
        PolicyFacts {
            id: PolicyId { namespace: None, name: name.into() },
            uid: name.into(),
            generation: 1,
            hash: String::new(),
            broken: None,
            effect: Effect::Permit,
            subjects: vec![SubjectFacts {
                namespaces: Some(vec!["shop".into()]),
                namespace_labels: None,
                service_accounts: accounts.iter().map(|s| (*s).into()).collect(),
                pod_labels: None,
            }],
            classes: vec!["db".into()],
            when: None,
            has_when,
            require: vec![],
            ttl: None,
            limits: None,
            revocation_at_most: None,
            expires_at: None,
            live: 0,
            live_of_pod: 0,
        }
    }

    #[test]
    fn an_unconditional_policy_of_everybody_undoes_a_careful_one() {
        let (careful, open, other) =
            (policy("careful", &["orders"], true), policy("open", &["*"], false), policy("other", &["billing"], false));
        assert_eq!(shadowed_by(&careful, &[&careful, &open, &other]), ["ClusterAccessPolicy/open"]);
        assert!(shadowed_by(&open, &[&careful, &open, &other]).is_empty(), "nothing in it could be undone");
    }
}
