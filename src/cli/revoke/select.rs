//! Which leases a person means. Pure: flags in, a judgement of each lease out.

use std::collections::BTreeSet;

use kube::ResourceExt;

use crate::api::CredentialLease;

/// A name in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// What a lease must be about to be meant: all of what is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Given to pods of this service account.
    pub service_account: Option<Place>,
    /// Asked for in this namespace.
    pub namespace: Option<String>,
    /// Of this class.
    pub class: Option<String>,
    /// Given to pods on this node.
    pub node: Option<String>,
    /// Given to a pod of this name, or to an earlier one of that name.
    pub pod: Option<Place>,
    /// Given to a pod with a container of this image.
    pub image: Option<String>,
    /// Asked for by this AccessRequest.
    pub request: Option<Place>,
    /// This very lease.
    pub lease: Option<String>,
}

impl Selection {
    /// Nothing is said: that would mean everything there is.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What of it the API server can look for itself, as a field selector.
    pub fn fields(&self) -> Vec<String> {
        let account = self.service_account.as_ref().map(|account| format!("spec.requester.username={}", username(account)));
        let class = self.class.as_ref().map(|class| format!("spec.className={class}"));
        let lease = self.lease.as_ref().map(|lease| format!("metadata.name={lease}"));
        account.into_iter().chain(class).chain(lease).collect()
    }

    /// Whether this lease is meant. `pods` are the UIDs of the pods with a container of the image.
    pub fn covers(&self, lease: &CredentialLease, pods: &BTreeSet<String>) -> bool {
        let (spec, requester) = (&lease.spec, &lease.spec.requester);
        let namespace = &spec.request_namespace;
        let is = |said: &Option<String>, held: &str| said.as_ref().is_none_or(|said| said == held);
        let at = |said: &Option<Place>, held: &str| said.as_ref().is_none_or(|said| said.namespace == *namespace && said.name == held);
        self.service_account.as_ref().is_none_or(|account| requester.username == username(account))
            && is(&self.namespace, namespace)
            && is(&self.class, &spec.class_name)
            && is(&self.node, &requester.node_name)
            && is(&self.lease, &lease.name_any())
            && at(&self.pod, &requester.pod_name)
            && at(&self.request, &spec.request_name)
            && (self.image.is_none() || pods.contains(&requester.pod_uid))
    }
}

/// For people: `service account shop/orders, class orders-db`.
impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = |what: &str, place: &Option<Place>| place.as_ref().map(|place| format!("{what} {}/{}", place.namespace, place.name));
        let name = |what: &str, name: &Option<String>| name.as_ref().map(|name| format!("{what} {name}"));
        let said = [
            place("service account", &self.service_account),
            name("namespace", &self.namespace),
            name("class", &self.class),
            name("node", &self.node),
            place("pod", &self.pod),
            name("image", &self.image),
            place("request", &self.request),
            name("lease", &self.lease),
        ];
        f.write_str(&said.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

fn username(account: &Place) -> String {
    format!("system:serviceaccount:{}:{}", account.namespace, account.name)
}

/// `NAMESPACE/NAME`, or `NAME` where the namespace is said beside it. `Err` names the flag.
pub fn place(flag: &str, text: &str, namespace: Option<&str>) -> Result<Place, String> {
    let (said, name) = match text.split_once('/') {
        Some((said, name)) => (Some(said), name),
        None => (namespace, text),
    };
    let is_name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
    match said {
        None => Err(format!("--{flag} {text}: in which namespace? Give NAMESPACE/NAME, or the namespace with -n")),
        Some(said) if !is_name(said) || !is_name(name) => {
            Err(format!("--{flag} {text}: give NAMESPACE/NAME, for instance shop/orders, in lower case"))
        }
        Some(said) if namespace.is_some_and(|namespace| namespace != said) => {
            Err(format!("--{flag} {text} is not in the namespace that -n says: leave one of them out"))
        }
        Some(said) => Ok(Place { namespace: said.to_owned(), name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::lease, *};

    fn at(namespace: &str, name: &str) -> Option<Place> {
        Some(Place { namespace: namespace.into(), name: name.into() })
    }

    fn covers(selection: &Selection) -> bool {
        selection.covers(&lease("lease-1"), &BTreeSet::from(["orders-1-uid".to_owned()]))
    }

    /// Each way to mean the lease of the story, and the same with something else in it.
    fn ways() -> Vec<(Selection, Selection)> {
        let text = |text: &str| Some(text.to_owned());
        let nothing = Selection::default;
        vec![
            (
                Selection { service_account: at("shop", "orders"), ..nothing() },
                Selection { service_account: at("shop", "order"), ..nothing() },
            ),
            (
                Selection { service_account: at("shop", "orders"), ..nothing() },
                Selection { service_account: at("shop2", "orders"), ..nothing() },
            ),
            (Selection { namespace: text("shop"), ..nothing() }, Selection { namespace: text("sho"), ..nothing() }),
            (Selection { class: text("orders-db"), ..nothing() }, Selection { class: text("orders"), ..nothing() }),
            (Selection { node: text("node-1"), ..nothing() }, Selection { node: text("node-11"), ..nothing() }),
            (Selection { pod: at("shop", "orders-1"), ..nothing() }, Selection { pod: at("other", "orders-1"), ..nothing() }),
            (Selection { pod: at("shop", "orders-1"), ..nothing() }, Selection { pod: at("shop", "orders-2"), ..nothing() }),
            (Selection { request: at("shop", "orders-db-1"), ..nothing() }, Selection { request: at("other", "orders-db-1"), ..nothing() }),
            (Selection { lease: text("lease-1"), ..nothing() }, Selection { lease: text("lease-2"), ..nothing() }),
        ]
    }

    #[test]
    fn a_lease_is_meant_by_each_thing_that_it_is_about_and_by_nothing_like_it() {
        for (meant, other) in ways() {
            assert!(covers(&meant), "{meant}");
            assert!(!covers(&other), "{other}");
        }
    }

    #[test]
    fn of_an_image_only_the_leases_of_its_pods_are_meant() {
        let selection = Selection { image: Some("app".into()), ..Selection::default() };
        assert!(covers(&selection));
        assert!(!selection.covers(&lease("lease-1"), &BTreeSet::new()));
    }

    #[test]
    fn what_is_said_together_must_hold_together() {
        let both = |node: &str| Selection { class: Some("orders-db".into()), node: Some(node.into()), ..Selection::default() };
        assert!(covers(&both("node-1")) && !covers(&both("node-2")));
        assert_eq!(both("node-1").to_string(), "class orders-db, node node-1");
    }

    #[test]
    fn the_api_server_looks_for_what_it_has_an_index_of() {
        let selection = Selection { service_account: at("shop", "orders"), node: Some("node-1".into()), ..Selection::default() };
        assert_eq!(selection.fields(), ["spec.requester.username=system:serviceaccount:shop:orders"]);
        assert!(Selection::default().is_empty() && !selection.is_empty());
    }

    #[test]
    fn a_place_is_a_namespace_and_a_name() {
        assert_eq!(place("pod", "shop/orders-1", None).ok(), at("shop", "orders-1"));
        assert_eq!(place("pod", "orders-1", Some("shop")).ok(), at("shop", "orders-1"));
        assert_eq!(place("pod", "shop/orders-1", Some("shop")).ok(), at("shop", "orders-1"));
        for (text, namespace, problem) in [
            ("orders-1", None, "in which namespace"),
            ("shop/orders-1", Some("other"), "is not in the namespace that -n says"),
            ("system:serviceaccount:shop:orders", Some("shop"), "give NAMESPACE/NAME"),
            ("shop/", None, "give NAMESPACE/NAME"),
            ("a/b/c", None, "give NAMESPACE/NAME"),
        ] {
            let refused = place("pod", text, namespace).unwrap_err();
            assert!(refused.contains(problem) && refused.contains("--pod"), "{refused}");
        }
    }
}
