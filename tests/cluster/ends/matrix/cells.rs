//! Which cells the matrix has. A trigger, a kind or a reason that is added to Daypass does not compile here, or is missed by a count.

use daypass::api::{Delivery, EndReason, Proof};

/// An enum that cannot lack a value in `ALL`.
macro_rules! every {
    ($(#[$about:meta])* $type:ident { $($(#[$what:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type { $($(#[$what])* $variant),+ }

        impl $type {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
        }
    };
}

every!(
    /// What ends a grant.
    Trigger {
        /// Its time runs out.
        Expired,
        /// The pod deletes its request.
        Completed,
        /// The pod's object is deleted.
        PodDeleted,
        /// The pod has finished.
        PodFinished,
        /// The service account of the pod is deleted.
        IdentityRemoved,
        /// A policy forbids it.
        Forbidden,
        /// Its policy is deleted.
        PolicyDeleted,
        /// Its class gives less time than has passed.
        ClassLowered,
        /// The node of the pod is deleted.
        NodeLost,
        /// A person sets `spec.revoke`.
        RevokedByPerson,
        /// The namespace of the request is deleted.
        NamespaceGone,
    }
);

every!(
    /// What was granted, by how it is taken back.
    Kind {
        /// A certificate of a class without a list: nothing takes it back.
        Certificate,
        /// A certificate of a class with a list.
        Listed,
        /// A service account's token.
        Token,
    }
);

/// Every delivery there is; [`Kind::is_delivered_by`] does not compile without one that is new.
const DELIVERIES: [Delivery; 3] = [Delivery::CSR, Delivery::Secret, Delivery::Sealed];

/// One end of one kind of credential that was delivered in one way.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub trigger: Trigger,
    pub kind: Kind,
    pub delivery: Delivery,
}

/// All of them, those that take longest first.
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for &trigger in Trigger::ALL {
        for &kind in Kind::ALL {
            let deliveries = DELIVERIES.into_iter().filter(|delivery| kind.is_delivered_by(*delivery));
            cells.extend(deliveries.map(|delivery| Cell { trigger, kind, delivery }));
        }
    }
    cells.sort_by_key(|cell| (cell.trigger != Trigger::PolicyDeleted, cell.kind != Kind::Certificate));
    cells
}

impl Cell {
    /// A name for everything that it stands on.
    pub fn name(self) -> String {
        format!("mx-{:?}-{:?}-{}", self.trigger, self.kind, self.delivery.as_str()).to_lowercase()
    }

    /// What has to show that it is dead.
    pub fn proof(self) -> Proof {
        match (self.kind, self.trigger) {
            (Kind::Token, _) => Proof::TokenRefused,
            (Kind::Certificate, _) | (Kind::Listed, Trigger::Expired) => Proof::NotAfterPassed,
            (Kind::Listed, _) => Proof::CRLPublished,
        }
    }
}

impl Kind {
    fn is_delivered_by(self, delivery: Delivery) -> bool {
        match (self, delivery) {
            (Self::Certificate | Self::Listed, Delivery::CSR | Delivery::Secret) => true,
            (Self::Token, Delivery::Sealed | Delivery::Secret) => true,
            (Self::Certificate | Self::Listed, Delivery::Sealed) | (Self::Token, Delivery::CSR) => false,
        }
    }
}

impl Trigger {
    /// How the ledger calls it.
    pub fn reason(self) -> EndReason {
        match self {
            Self::Expired => EndReason::Expired,
            Self::Completed => EndReason::Completed,
            Self::PodDeleted | Self::PodFinished => EndReason::PodGone,
            Self::IdentityRemoved => EndReason::IdentityRemoved,
            Self::Forbidden | Self::PolicyDeleted | Self::ClassLowered => EndReason::PolicyChanged,
            Self::NodeLost => EndReason::NodeLost,
            Self::RevokedByPerson => EndReason::RevokedByPerson,
            Self::NamespaceGone => EndReason::NamespaceGone,
        }
    }

    /// Nobody is left to be told.
    pub fn takes_the_request(self) -> bool {
        matches!(self, Self::Completed | Self::NamespaceGone)
    }
}

/// Where the ends are shown that nothing can be done for on a shared control plane; `None`: here.
pub fn shown_elsewhere(reason: EndReason) -> Option<&'static str> {
    match reason {
        EndReason::Drained => Some("leaving"),
        EndReason::NotReleased | EndReason::Abandoned => Some("crash"),
        EndReason::Locked | EndReason::AbnormalFrequency => Some("locks"),
        EndReason::Expired
        | EndReason::Completed
        | EndReason::PodGone
        | EndReason::IdentityRemoved
        | EndReason::PolicyChanged
        | EndReason::NodeLost
        | EndReason::RevokedByPerson
        | EndReason::NamespaceGone => None,
    }
}
