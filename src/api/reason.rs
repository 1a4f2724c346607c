//! Closed sets of reasons. Each appears in status, Events, metrics and the decision log under exactly this name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! names {
    ($type:ident { $($variant:ident),+ $(,)? }) => {
        impl $type {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name as it stands in status.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// Why a request was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DenialReason {
    /// No policy permits this.
    NotPermitted,
    /// A policy with effect Forbid applies.
    Forbidden,
    /// A `require` condition of the policy does not hold.
    GateFailed,
    /// As many credentials are live as the policy allows.
    LimitReached,
    /// The certificate signing request cannot be used.
    InvalidCSR,
    /// The public key that the credential should be sealed to cannot be used.
    InvalidSealKey,
    /// A Secret of the wanted name exists and is not ours.
    SecretExists,
    /// The class does not deliver this way.
    DeliveryNotAllowed,
    /// The class is not for this namespace.
    NamespaceNotAllowed,
    /// The class does not exist or is not Ready.
    ClassUnavailable,
    /// The admission guard was not provably in force when the request was made.
    GuardGap,
    /// The pod that the requester names is not there, or is another one.
    IdentityMismatch,
}
names!(DenialReason {
    NotPermitted,
    Forbidden,
    GateFailed,
    LimitReached,
    InvalidCSR,
    InvalidSealKey,
    SecretExists,
    DeliveryNotAllowed,
    NamespaceNotAllowed,
    ClassUnavailable,
    GuardGap,
    IdentityMismatch,
});

/// Why a request ended with no answer on its merits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FailureReason {
    /// No credential could be issued within two minutes of the request.
    TimedOut,
    /// What was prepared for the credential is gone or was changed by somebody else.
    ReserveLost,
    /// The attempt was ended before its credential was released; the message says by what.
    Withdrawn,
}
names!(FailureReason { TimedOut, ReserveLost, Withdrawn });

/// What ended a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EndReason {
    /// Its time ran out.
    Expired,
    /// The pod (or a person) deleted the request.
    Completed,
    /// The pod is gone, replaced, finished, or past its deletion time.
    PodGone,
    /// The service account was deleted or made anew.
    IdentityRemoved,
    /// No policy permits it any more, or its class changed.
    PolicyChanged,
    /// The node was deleted or made anew.
    NodeLost,
    /// A person set `spec.revoke` on the lease.
    RevokedByPerson,
    /// An AccessLock that a person placed.
    Locked,
    /// An AccessLock that the operator placed, because its service account asked as it never did before.
    AbnormalFrequency,
    /// The request's namespace is terminating.
    NamespaceGone,
    /// Daypass itself is being taken down.
    Drained,
    /// The attempt was closed before its credential left the operator.
    NotReleased,
    /// What came of minting the token is not known, so the attempt was closed; the next one follows.
    Abandoned,
}
names!(EndReason {
    Expired,
    Completed,
    PodGone,
    IdentityRemoved,
    PolicyChanged,
    NodeLost,
    RevokedByPerson,
    Locked,
    AbnormalFrequency,
    NamespaceGone,
    Drained,
    NotReleased,
    Abandoned,
});

/// What shows that a credential is refused from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Proof {
    /// Its `notAfter` has passed by the operator's clock and by the API server's.
    NotAfterPassed,
    /// A certificate of its serial number, made for the occasion, is refused by a verifier that has the published revocation list.
    CRLPublished,
    /// The request became terminal before any status or Secret held the credential.
    NeverReleased,
    /// A TokenReview with the token's audiences accepted it after the mint and refuses it now, on every API server that is known.
    TokenRefused,
    /// The Secret that the token is bound to has been gone for so long that no cache of an API server accepts the token any more.
    BoundObjectGone,
}
names!(Proof { NotAfterPassed, CRLPublished, NeverReleased, TokenRefused, BoundObjectGone });
