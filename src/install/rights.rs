//! Every right that the operator's account has, in one table: RBAC is rendered from it, and so is the allow-list of *confine*.
//!
//! A call that the controller does not make has no line here. A new kind is one line here, and what narrows it one rule in
//! `guard::confine` (a test asks for it).

use std::collections::{BTreeMap, BTreeSet};

/// Where a right holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Cluster-scoped objects, and those of every namespace.
    Everywhere,
    /// The operator's own namespace.
    Home,
    /// The namespaces where credentials may be delivered as Secrets.
    SecretNamespaces,
    /// The namespaces of the service accounts that classes may lend.
    AccountNamespaces,
    /// Each of those accounts by its name, in its own namespace.
    Accounts,
}

/// Verbs on one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// Where.
    pub reach: Reach,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Resource in the plural, with its subresource after a slash.
    pub resource: &'static str,
    /// Names of the objects it is restricted to; empty for all. A list or watch is then allowed only for one name, by field selector.
    pub names: &'static [&'static str],
    /// RBAC verbs.
    pub verbs: &'static [&'static str],
}

/// ConfigMap with the roots, readable by every service account.
pub const ROOTS: &str = "daypass-roots";
/// ConfigMap with the revocation lists of the authority that classes share unless they name another; readable like the roots.
pub const LISTS: &str = "daypass-crl-default";
/// Namespace whose UID tells installations apart.
const INSTALLATION: &str = "kube-system";
/// The verify policy, and its binding.
const VERIFY: &[&str] = &[super::guard::VERIFY];
/// Signer of our ClusterTrustBundles.
pub const SIGNER: &str = "daypass.dev/x509";

/// The operator's Deployment.
pub const DEPLOYMENT: &str = super::object::NAME;
/// Our CustomResourceDefinitions.
pub const DEFINITIONS: &[&str] = &[
    "accesslocks.daypass.dev",
    "accesspolicies.daypass.dev",
    "accessrequests.daypass.dev",
    "clusteraccesspolicies.daypass.dev",
    "credentialclasses.daypass.dev",
    "credentialleases.daypass.dev",
];

const OURS: &str = crate::api::GROUP;
const EXTENSIONS: &str = "apiextensions.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";

const READ: &[&str] = &["list", "watch"];
const UPDATE: &[&str] = &["update"];

/// The table.
#[rustfmt::skip] // a line a right
pub const RIGHTS: &[Right] = &[
    // What is asked for, and the answers.
    everywhere(OURS, "accessrequests", &["get", "list", "watch", "delete"]),
    everywhere(OURS, "accessrequests/status", UPDATE),
    // What is configured, and what came of it.
    everywhere(OURS, "credentialclasses", READ),
    everywhere(OURS, "credentialclasses/status", UPDATE),
    everywhere(OURS, "clusteraccesspolicies", READ),
    everywhere(OURS, "clusteraccesspolicies/status", UPDATE),
    everywhere(OURS, "accesspolicies", READ),
    everywhere(OURS, "accesspolicies/status", UPDATE),
    // What is locked. The operator may lock, and never unlock: confine narrows it to locks of its own.
    everywhere(OURS, "accesslocks", &["list", "watch", "create"]),
    everywhere(OURS, "accesslocks/status", UPDATE),
    // The facts that decisions rest on. A pod is read live before a grant.
    everywhere("", "pods", &["get", "list", "watch"]),
    // Nodes and accounts are read one by one only where the watch has never met the one that a lease names.
    everywhere("", "nodes", &["get", "list", "watch"]),
    everywhere("", "serviceaccounts", &["get", "list", "watch"]),
    everywhere("", "namespaces", READ),
    everywhere("", "namespaces", &["get"]).named(&[INSTALLATION]),
    // The guard, to see that it stands. Never to write it.
    everywhere(ADMISSION, "validatingadmissionpolicies", READ).named(VERIFY),
    everywhere(ADMISSION, "validatingadmissionpolicybindings", READ).named(VERIFY),
    // What is published.
    everywhere(CERTIFICATES, "clustertrustbundles", &["get", "create", "update"]),
    everywhere(CERTIFICATES, "signers", &["attest"]).named(&[SIGNER]),
    everywhere("events.k8s.io", "events", &["create", "patch"]),
    // The canary: a dry run, which RBAC cannot say but confine does.
    home(OURS, "accessrequests", &["create"]),
    // The ledger.
    home(OURS, "credentialleases", &["get", "list", "watch", "create", "update", "delete"]),
    home(OURS, "credentialleases/status", UPDATE),
    // Certificate authorities; the guard's record, the roots, and the revocation lists, which are named after authorities that nobody knows
    // here: confine keeps writes to ConfigMaps named daypass-*.
    home("", "secrets", &["list", "watch", "create", "update"]),
    home("", "configmaps", &["get", "list", "watch", "create", "update"]),
    // What tenants receive. No get, list or watch: the operator never reads a tenant's Secret.
    secret_namespaces("", "secrets", &["create", "patch", "update", "delete"]),
    // What tokens are bound to: reserved, taken back, and swept by the hour that a label says. Never read either.
    right(Reach::AccountNamespaces, "", "secrets", &["create", "patch", "update", "delete", "deletecollection"]),
    // A token is shown to the API server after it was minted and after it was taken back.
    right(Reach::Accounts, "", "serviceaccounts/token", &["create"]),
    everywhere(AUTHENTICATION, "tokenreviews", &["create"]),
];

/// What `daypass drain` needs besides. It is the operator's account as well, since the ledger and *confine* know no other, and so these rights
/// are bound only while a drain runs: see `install::drain`. *confine* narrows each to the one thing that it is for.
#[rustfmt::skip] // a line a right
pub const DRAIN: &[Right] = &[
    // To nothing, and never up again.
    home("apps", "deployments/scale", &["patch"]).named(&[DEPLOYMENT]),
    // The mark that *leave* asks for. A namespace is in itself: a Role in it covers it and no other.
    home("", "namespaces", &["patch"]),
    everywhere(EXTENSIONS, "customresourcedefinitions", &["patch"]).named(DEFINITIONS),
];

const fn right(reach: Reach, group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Right {
    Right { reach, group, resource, names: &[], verbs }
}

const fn everywhere(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Right {
    right(Reach::Everywhere, group, resource, verbs)
}

const fn home(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Right {
    right(Reach::Home, group, resource, verbs)
}

const fn secret_namespaces(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Right {
    right(Reach::SecretNamespaces, group, resource, verbs)
}

impl Right {
    const fn named(self, names: &'static [&'static str]) -> Self {
        Self { names, ..self }
    }
}

/// The admission operation that an RBAC verb leads to; `None` for reads and for verbs that admission does not see.
pub fn operation_of(verb: &str) -> Option<&'static str> {
    match verb {
        "create" => Some("CREATE"),
        "update" | "patch" => Some("UPDATE"),
        "delete" | "deletecollection" => Some("DELETE"),
        _ => None,
    }
}

/// What the operator's account may write at all, while it drains as well: `group/resource` → admission operations.
pub fn writes() -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut writes = BTreeMap::<String, BTreeSet<&'static str>>::new();
    for right in RIGHTS.iter().chain(DRAIN) {
        for operation in right.verbs.iter().filter_map(|verb| operation_of(verb)) {
            writes.entry(format!("{}/{}", right.group, right.resource)).or_default().insert(operation);
        }
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_secrets_are_never_read_and_no_secret_is_reached_cluster_wide() {
        for right in RIGHTS.iter().filter(|right| right.group.is_empty() && right.resource == "secrets") {
            assert_ne!(right.reach, Reach::Everywhere);
            if right.reach != Reach::Home {
                assert!(right.verbs.iter().all(|verb| !["get", "list", "watch"].contains(verb)), "{right:?}");
            }
        }
    }

    #[test]
    fn every_definition_of_ours_is_named() {
        let mut names: Vec<_> = crate::api::crds().into_iter().filter_map(|definition| definition.metadata.name).collect();
        names.sort();
        assert_eq!(names, DEFINITIONS);
    }

    #[test]
    fn a_drain_reads_nothing_more_makes_nothing_and_deletes_nothing() {
        for right in DRAIN {
            assert_eq!(right.verbs, ["patch"], "{right:?}");
            assert!(right.reach == Reach::Home || !right.names.is_empty(), "{right:?}");
        }
    }

    #[test]
    fn no_right_leads_out_of_the_guard() {
        for right in RIGHTS {
            assert!(!right.verbs.iter().any(|verb| ["*", "impersonate", "escalate", "bind"].contains(verb)), "{right:?}");
            assert!(right.group != "*" && !right.resource.contains('*') && right.group != "rbac.authorization.k8s.io", "{right:?}");
            let writes = right.verbs.iter().any(|verb| operation_of(verb).is_some());
            assert!(!(writes && [ADMISSION, EXTENSIONS].contains(&right.group)), "{right:?}");
        }
    }
}
