//! What a person says is to be locked, and for how long. Pure.

use jiff::SignedDuration;

use crate::{api::lock::LockMatch, cli::revoke::select::Place};

/// Longest lock that can be asked for by its length.
const LONGEST: i64 = 366 * 24 * 3600;

/// What is to be locked: all of what is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// What asks in this namespace.
    pub namespace: Option<String>,
    /// What asks as this service account.
    pub service_account: Option<Place>,
    /// What these pods ask for.
    pub pods: Vec<Place>,
    /// What asks from any of these nodes.
    pub nodes: Vec<String>,
    /// What pods of any of these images ask for.
    pub images: Vec<String>,
    /// What asks for any of these classes.
    pub classes: Vec<String>,
    /// All there is.
    pub everything: bool,
}

impl Said {
    /// Nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As the lock says it; `uids` are those of the pods.
    pub fn matches(&self, uids: Vec<String>) -> LockMatch {
        let some = |items: &[String]| (!items.is_empty()).then(|| items.to_vec());
        let namespace = self.service_account.as_ref().map(|account| &account.namespace).or(self.namespace.as_ref());
        LockMatch {
            namespaces: namespace.map(|namespace| vec![namespace.clone()]),
            service_account_names: self.service_account.as_ref().map(|account| vec![account.name.clone()]),
            pod_uids: some(&uids),
            nodes: some(&self.nodes),
            images: some(&self.images),
            classes: some(&self.classes),
            everything: self.everything.then_some(true),
        }
    }
}

/// For people: `service account shop/orders, class orders-db`.
impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = |what: &str, place: &Place| format!("{what} {}/{}", place.namespace, place.name);
        let any = |what: &str, items: &[String]| (!items.is_empty()).then(|| format!("{what} {}", items.join(" or ")));
        let pods: Vec<String> = self.pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
        let parts = [
            self.everything.then(|| "everything".to_owned()),
            self.service_account.as_ref().map(|account| place("service account", account)),
            self.namespace.as_ref().map(|namespace| format!("namespace {namespace}")),
            any("class", &self.classes),
            any("node", &self.nodes),
            any("pod", &pods),
            any("image", &self.images),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// A length of time as `30m`, `2h`, `3d` or `1d12h`: from a second to a year.
pub fn span(text: &str) -> Result<SignedDuration, String> {
    let wrong = || format!("{text:?} is no length of time: give 1s to 366d, written like 30m, 2h or 1d12h");
    let (mut total, mut digits) = (0i64, String::new());
    for c in text.chars() {
        let unit = match c {
            '0'..='9' if digits.len() < 8 => {
                digits.push(c);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            _ => return Err(wrong()),
        };
        let count: i64 = digits.parse().map_err(|_| wrong())?;
        total = total.saturating_add(count.saturating_mul(unit));
        digits.clear();
    }
    if !digits.is_empty() || !(1..=LONGEST).contains(&total) {
        return Err(wrong());
    }
    Ok(SignedDuration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(namespace: &str, name: &str) -> Place {
        Place { namespace: namespace.into(), name: name.into() }
    }

    #[test]
    fn what_is_said_is_what_is_locked() {
        let said = Said { service_account: Some(at("shop", "orders")), classes: vec!["a".into(), "b".into()], ..Said::default() };
        let names = |names: &[&str]| Some(names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        let locked = said.matches(vec![]);
        assert_eq!(
            (locked.namespaces, locked.service_account_names, locked.classes),
            (names(&["shop"]), names(&["orders"]), names(&["a", "b"]))
        );
        assert_eq!((locked.pod_uids, locked.everything), (None, None));
        assert_eq!(said.to_string(), "service account shop/orders, class a or b");
        let pods = Said { pods: vec![at("shop", "orders-1")], ..Said::default() };
        let locked = pods.matches(vec!["uid".into()]);
        assert_eq!((locked.pod_uids, locked.namespaces), (names(&["uid"]), None), "its UID says where it is");
        assert_eq!(Said { everything: true, ..Said::default() }.matches(vec![]).everything, Some(true));
        assert!(Said::default().is_empty() && !pods.is_empty());
    }

    #[test]
    fn a_length_of_time_is_read_as_people_write_it() {
        for (text, seconds) in [("30m", 1800), ("2h", 7200), ("3d", 259_200), ("1d12h", 129_600), ("366d", LONGEST), ("1s", 1)] {
            assert_eq!(span(text), Ok(SignedDuration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "2", "0h", "367d", "-1h", "2 h", "2w", "h", "999999999d", "1.5h"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
