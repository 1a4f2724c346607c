//! One lease that is to end, as `daypass revoke` knows it. Pure. Its JSON form is what scripts read: fields only ever get added.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use crate::{
    api::{CredentialLease, EndReason, Proof, lease::LeaseState},
    core::explain::plain,
};

/// How far the end of a lease has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "standing", rename_all_fields = "camelCase")]
pub enum Standing {
    /// Nobody has asked for its end yet.
    Open {
        /// Why not, where that was tried.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// Its end is asked for, and the operator has not begun.
    Asked,
    /// It has ended, and verifiers may still accept the credential.
    Ending,
    /// The credential is proven dead.
    Dead {
        /// What proves it.
        #[serde(skip_serializing_if = "Option::is_none")]
        proof: Option<Proof>,
        /// Since when it is known to be refused.
        #[serde(skip_serializing_if = "Option::is_none")]
        closed_time: Option<Timestamp>,
    },
    /// Its end cannot be asked for, or is not known.
    Failed {
        /// Why.
        message: String,
        /// The right to ask for it is missing.
        forbidden: bool,
    },
}

/// What was given under a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Kind {
    /// An X.509 certificate.
    Certificate,
    /// The token of a service account.
    Token,
}

impl Kind {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
        }
    }
}

/// A lease that is to end.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Its name.
    pub lease: String,
    /// Its UID.
    #[serde(skip)]
    pub uid: String,
    /// Namespace of its request.
    pub namespace: String,
    /// Its request.
    pub request: String,
    /// Its class.
    pub class_name: String,
    /// Who asked.
    pub requester: String,
    /// The pod.
    pub pod: String,
    /// The node of the pod.
    pub node: String,
    /// What was given.
    pub kind: Kind,
    /// It cannot be taken back: only its own time ends it.
    pub expiry_only: bool,
    /// The end that the credential says of itself.
    pub valid_until: Timestamp,
    /// What ended it, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
    /// How far it has come.
    #[serde(flatten)]
    pub standing: Standing,
}

impl Held {
    /// What a lease says.
    pub fn of(lease: &CredentialLease) -> Self {
        let (spec, requester) = (&lease.spec, &lease.spec.requester);
        let mut held = Self {
            lease: lease.name_any(),
            uid: lease.uid().unwrap_or_default(),
            namespace: spec.request_namespace.clone(),
            request: spec.request_name.clone(),
            class_name: spec.class_name.clone(),
            requester: requester.username.clone(),
            pod: requester.pod_name.clone(),
            node: requester.node_name.clone(),
            kind: if lease.spec.token.is_some() { Kind::Token } else { Kind::Certificate },
            expiry_only: only_time_ends(lease),
            valid_until: valid_until(lease),
            reason: None,
            standing: Standing::Open { message: None },
        };
        held.look(lease);
        held
    }

    /// Takes in what the lease says now.
    pub fn look(&mut self, lease: &CredentialLease) {
        self.reason = lease.status.as_ref().and_then(|status| status.reason);
        self.standing = match (lease.state(), &self.standing) {
            (Some(LeaseState::Closed), _) => {
                let status = lease.status.as_ref();
                Standing::Dead { proof: status.and_then(|s| s.proof), closed_time: status.and_then(|s| s.closed_time) }
            }
            (Some(LeaseState::Revoking), _) => Standing::Ending,
            (None, _) if lease.spec.revoke.is_some() => Standing::Asked,
            (None, held @ (Standing::Failed { .. } | Standing::Open { .. })) => held.clone(),
            (None, _) => Standing::Open { message: None },
        };
    }

    /// Nothing more comes of it.
    pub fn is_settled(&self) -> bool {
        matches!(self.standing, Standing::Dead { .. } | Standing::Failed { .. })
    }

    /// In a few words, for a line about it.
    pub fn about(&self) -> String {
        let Self { namespace, request, class_name, requester, pod, node, .. } = self;
        let account = requester.strip_prefix("system:serviceaccount:").unwrap_or(requester).replacen(':', "/", 1);
        plain(&format!("{namespace}/{request}: class {class_name}, service account {account}, pod {pod} on {node}"))
    }
}

/// Until when verifiers accept what a lease covers.
fn valid_until(lease: &CredentialLease) -> Timestamp {
    lease.spec.not_after()
}

/// Nobody who checks it asks anybody whether it was taken back: only its own time ends it.
fn only_time_ends(lease: &CredentialLease) -> bool {
    lease.spec.token.as_ref().is_none_or(|token| !token.revocable)
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    #[test]
    fn a_lease_goes_from_open_to_dead() {
        let mut held = Held::of(&lease("l"));
        assert_eq!(held.standing, Standing::Open { message: None });
        held.look(&asked("l"));
        assert_eq!(held.standing, Standing::Asked);
        held.look(&revoking("l"));
        assert!(held.standing == Standing::Ending && !held.is_settled());
        held.look(&closed("l"));
        assert!(held.is_settled());
        assert_eq!(held.standing, Standing::Dead { proof: Some(Proof::NotAfterPassed), closed_time: Some(at("12:10:01")) });
    }

    #[test]
    fn what_stood_in_the_way_is_remembered_until_somebody_else_has_asked() {
        let mut held = Held::of(&lease("l"));
        held.standing = Standing::Open { message: Some("busy".into()) };
        held.look(&lease("l"));
        assert_eq!(held.standing, Standing::Open { message: Some("busy".into()) });
        held.look(&asked("l"));
        assert_eq!(held.standing, Standing::Asked);
    }

    #[test]
    fn scripts_read_one_flat_object_with_absolute_times() {
        let told = serde_json::to_value(Held::of(&closed("lease-1"))).unwrap();
        let wanted = serde_json::json!({
            "lease": "lease-1", "namespace": "shop", "request": "orders-db-1", "className": "orders-db",
            "requester": "system:serviceaccount:shop:orders", "pod": "orders-1", "node": "node-1", "kind": "Certificate", "expiryOnly": true, "validUntil": "2026-03-01T12:10:00Z",
            "reason": "RevokedByPerson", "standing": "Dead", "proof": "NotAfterPassed", "closedTime": "2026-03-01T12:10:01Z",
        });
        assert_eq!(told, wanted);
        assert_eq!(Held::of(&lease("l")).about(), "shop/orders-db-1: class orders-db, service account shop/orders, pod orders-1 on node-1");
    }
}
