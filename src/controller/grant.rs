//! Carries an Allow out: reserve → ledger → mint → status. Every step can be repeated; a crash between any two is recovered from the ledger.
//!
//! What all kinds of credentials share; the way of each is in `certificate` and `token`.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{Operator, log, observe::Observation, queue::Next};
use crate::{
    api::{AccessRequest, CredentialLease, DenialReason, FailureReason, RequestState, class::Makes, lease::LeaseSecret},
    cluster::{
        ApiError,
        act::{Form, Place, Reserved, SecretContent},
        cache::Cached,
        records::{prune_lease, prune_request},
    },
    core::{
        Decision, Denial, Grant,
        decide::subject,
        locks,
        status::{self, Handed, Stamp},
    },
};

/// A refusal by RBAC is believed once the request is this old.
const REFUSALS_PASS_WITHIN: SignedDuration = SignedDuration::from_secs(3);

/// Why a grant stops short of its credential.
pub(super) enum Stop {
    /// The request is made terminal with this.
    Fail(FailureReason, String),
    /// The request is refused with this.
    Deny(Denial),
    /// Look again then: an earlier attempt is being closed.
    Wait(Timestamp),
    /// Somebody has answered or taken away the request: what is left belongs to the ledger.
    Overtaken,
    /// Try again.
    Api(ApiError),
}

/// An ask that was allowed.
pub(super) struct Asked<'a> {
    /// What was asked.
    pub request: &'a AccessRequest,
    /// What was seen.
    pub observed: &'a Observation,
    /// What was decided.
    pub decision: &'a Decision,
    /// What may be issued.
    pub grant: &'a Grant,
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl Operator {
    /// Everything that follows an Allow.
    pub(super) async fn grant(
        &self,
        request: &AccessRequest,
        observed: &Observation,
        decision: &Decision,
        grant: &Grant,
    ) -> Result<Next, ApiError> {
        let begun = self.clock.monotonic();
        match self.carry_out(request, observed, decision, grant).await {
            Ok(fresh) => {
                if fresh {
                    self.metrics.decision("Allow", "Permitted");
                    self.metrics.granted(self.clock.monotonic().duration_since(begun));
                }
                Ok(Next::Done)
            }
            Err(Stop::Fail(reason, message)) => self.fail(request, reason, &message).await.map(|()| Next::Done),
            Err(Stop::Deny(denial)) => {
                let refused = Decision { verdict: crate::core::Verdict::Deny(denial.clone()), considered: decision.considered.clone() };
                self.deny(request, observed, &refused, &denial).await.map(|()| Next::Done)
            }
            Err(Stop::Overtaken) => {
                self.slots.release(request.object_uid());
                Ok(Next::Done)
            }
            // The place is kept: the next look takes it over, or gives it back.
            Err(Stop::Wait(until)) => Ok(Next::At(until)),
            Err(Stop::Api(error)) => Err(error),
        }
    }

    async fn carry_out(&self, request: &AccessRequest, observed: &Observation, decision: &Decision, grant: &Grant) -> Result<bool, Stop> {
        let asked = Asked { request, observed, decision, grant };
        match grant.class.makes() {
            Some(Makes::X509(class)) => self.grant_certificate(&asked, class).await,
            Some(Makes::Token(class)) => self.grant_token(&asked, class).await,
            None => Err(Stop::Fail(FailureReason::Withdrawn, "the class says nothing of what it makes".into())),
        }
    }

    /// The empty Secret with its final name: harmless, and nobody else's.
    pub(super) async fn reserve(&self, place: Place<'_>) -> Result<Reserved, Stop> {
        let (request, name) = (place.request, place.name);
        let tried = self.issuing.reserve(place).await;
        if tried.is_ok() || matches!(tried, Err(ApiError::NoAnswer(_) | ApiError::Busy { .. })) {
            self.notes.note_reserve(request.object_uid());
        }
        match tried {
            Ok(reserved) => Ok(reserved),
            Err(ApiError::AlreadyExists(_)) => match self.issuing.test_reserve(place, false).await {
                Ok(reserved) => {
                    self.notes.note_reserve(request.object_uid());
                    Ok(reserved)
                }
                Err(ApiError::Invalid(_) | ApiError::Forbidden(_)) => Err(Stop::Deny(Denial {
                    reason: DenialReason::SecretExists,
                    message: format!(
                        "a Secret named {name} exists and is not of this request; delete it, or ask with another spec.secretName"
                    ),
                    retry_after: None,
                    policy: None,
                    lock: None,
                })),
                // It went in between: the next look starts over.
                Err(error) => Err(error.into()),
            },
            // An API server that has just started refuses everybody until it has read its roles: only a refusal that lasts is an answer.
            Err(ApiError::Forbidden(message))
                if message.contains("cannot create resource") && self.age_of(request) >= REFUSALS_PASS_WITHIN =>
            {
                Err(Stop::Deny(not_listed(place)))
            }
            // A name that no Secret can have: the schema keeps most of these out.
            Err(ApiError::Invalid(message)) => Err(Stop::Fail(
                FailureReason::Withdrawn,
                format!("no Secret can be named {name}: {message}. Ask with another spec.secretName"),
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// From here on there is a debt: it counts, is found by whoever judges again and ends in time, from this moment and not from when the
    /// watch brings it.
    pub(super) fn opened(&self, asked: &Asked<'_>, lease: &CredentialLease) {
        let name = lease.name_any();
        self.notes.judged(&name, asked.observed.epoch);
        self.world.opened(prune_lease(lease.clone()));
        self.slots.release(asked.request.object_uid());
        self.leases.add_at(&lease.spec.request_namespace, &name, lease.spec.expires_at);
        // A lock that came while this was decided found no lease to end: one that comes later finds it.
        if self.world.lock_on(lease, self.clock.now()).is_some() {
            self.leases.add(&lease.spec.request_namespace, &name);
        }
        self.judging.add(&lease.spec.request_namespace, &name);
    }

    /// The decision, on record as soon as there is a debt.
    pub(super) fn log_decision(&self, asked: &Asked<'_>, lease: &CredentialLease) {
        log::decision(&Stamp { time: self.clock.now(), id: lease.spec.decision_id.clone() }, &asked.observed.snapshot, asked.decision);
    }

    /// There is still time for the credential, and nobody has locked it since it was decided on. What is locked from here on is ended by the
    /// loop of leases, which knows of it already.
    pub(super) fn in_time(&self, asked: &Asked<'_>, lease: &CredentialLease) -> Result<(), Stop> {
        if let Some(denial) = self.locked_meanwhile(asked) {
            return Err(Stop::Deny(denial));
        }
        if self.clock.read().latest() < lease.spec.expires_at {
            return Ok(());
        }
        let message = "the time of the credential was over before it could be released; make a new request";
        Err(Stop::Fail(FailureReason::TimedOut, message.into()))
    }

    /// What a lock says that came after the decision.
    fn locked_meanwhile(&self, asked: &Asked<'_>) -> Option<Denial> {
        let held = self.world.locks.list();
        let now = self.clock.now();
        locks::refusing(held.iter().map(|record| &record.facts), &subject(&asked.observed.snapshot), now)
            .map(|lock| locks::denial(lock, now))
    }

    fn age_of(&self, request: &AccessRequest) -> SignedDuration {
        request.creation_timestamp().map_or(SignedDuration::MAX, |created| self.clock.read().latest().duration_since(created.0))
    }

    /// Fills the reserve that a lease records.
    pub(super) async fn fill(
        &self,
        place: Place<'_>,
        recorded: &LeaseSecret,
        reserved: &Reserved,
        content: &SecretContent,
    ) -> Result<(), Stop> {
        let lost = |why: &str| Stop::Fail(FailureReason::ReserveLost, format!("Secret {} {why}; make a new request", reserved.name));
        if recorded.uid != reserved.uid || recorded.name != reserved.name {
            return Err(lost("is not the one that was reserved"));
        }
        match self.issuing.fill(place, reserved, content).await {
            Ok(()) => Ok(()),
            Err(ApiError::NotFound(_)) => Err(lost("was deleted before it could be filled")),
            // It was changed, or an earlier fill of ours was committed and its answer lost.
            Err(ApiError::Conflict(_)) => match self.issuing.test_reserve(place, false).await {
                Ok(now) if now.uid == recorded.uid => match self.issuing.test_reserve(place, true).await {
                    Ok(empty) => self.issuing.fill(place, &empty, content).await.map_err(Stop::from),
                    Err(ApiError::Invalid(_)) => Ok(()),
                    Err(error) => Err(error.into()),
                },
                Ok(_) | Err(ApiError::NotFound(_) | ApiError::Invalid(_)) => Err(lost("was replaced before it could be filled")),
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the status that hands the credential over. `true`: by this call.
    pub(super) async fn release(&self, asked: &Asked<'_>, lease: &CredentialLease, handed: Handed) -> Result<bool, Stop> {
        let (request, grant) = (asked.request, asked.grant);
        let mut current = request.clone();
        loop {
            let stamp = Stamp { time: self.clock.now(), id: lease.spec.decision_id.clone() };
            let next = status::active(&current, lease, grant, handed.clone(), &stamp);
            let written = self.issuing.put_request_status(&AccessRequest { status: Some(next), ..current.clone() }).await;
            match written {
                Ok(written) => {
                    self.world.requests.own_write(prune_request(written));
                    return Ok(true);
                }
                Err(ApiError::Conflict(_)) => {
                    current = match self.issuing.get_request(&request.namespace().unwrap_or_default(), &request.name_any()).await {
                        Ok(fresh) if fresh.object_uid() == request.object_uid() => fresh,
                        Ok(_) | Err(ApiError::NotFound(_)) => return Err(self.overtaken(lease)),
                        Err(error) => return Err(error.into()),
                    };
                    if current.state() != RequestState::Pending {
                        // Ours was committed and its answer lost, or an ending came first: the ledger knows what to do in both cases.
                        let ours = status::serves(&current, lease);
                        self.world.requests.own_write(prune_request(current));
                        return if ours { Ok(false) } else { Err(self.overtaken(lease)) };
                    }
                }
                Err(ApiError::NotFound(_)) => return Err(self.overtaken(lease)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The request was taken away under the grant: the lease is looked at at once.
    fn overtaken(&self, lease: &CredentialLease) -> Stop {
        self.leases.add(&lease.spec.request_namespace, &lease.name_any());
        Stop::Overtaken
    }
}

/// The operator has no right on Secrets where one would have to be.
fn not_listed(place: Place<'_>) -> Denial {
    let delivered = place.request.namespace().as_deref() == Some(place.namespace);
    let (reason, message, retry_after) = if delivered {
        let other = if place.form == Form::Tls { "a CSR" } else { "spec.sealTo" };
        let message = format!(
            "Secrets are not delivered into namespace {}: ask with {other}, or have the platform team list the namespace in secretNamespaces",
            place.namespace
        );
        (DenialReason::DeliveryNotAllowed, message, None)
    } else {
        let message = "the service account of the class is not listed in the serviceAccounts of this installation: ask the platform team to \
                       list it";
        (DenialReason::ClassUnavailable, message.to_owned(), Some(std::time::Duration::from_secs(30)))
    };
    Denial { reason, message, retry_after, policy: None, lock: None }
}
