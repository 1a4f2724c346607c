//! Carries an Allow out: reserve → ledger → mint → status. Every step can be repeated; a crash between any two is recovered from the ledger.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::{
    Operator,
    intent::{exceeds, leaf_of},
    log,
    observe::Observation,
    queue::Next,
};
use crate::{
    api::{AccessRequest, CredentialLease, Delivery, DenialReason, FailureReason, RequestState},
    cluster::{
        ApiError,
        act::{Reserved, SecretContent},
        cache::Cached,
        records::{prune_lease, prune_request},
    },
    core::{
        Decision, Denial, Grant, names,
        status::{self, Handed, Stamp},
    },
    issue::x509::{self, Certificate, Names, RequestedKey, Serial},
};

/// A refusal by RBAC is believed once the request is this old.
const REFUSALS_PASS_WITHIN: SignedDuration = SignedDuration::from_secs(3);

/// The reserve of a grant.
enum Filling {
    /// Nothing is in it yet.
    Empty(Reserved),
    /// An earlier try has filled it.
    Done,
}

/// Why a grant stops short of its credential.
enum Stop {
    /// The request is made terminal with this.
    Fail(FailureReason, String),
    /// The request is refused with this.
    Deny(Denial),
    /// Somebody has answered or taken away the request: what is left belongs to the ledger.
    Overtaken,
    /// Try again.
    Api(ApiError),
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
            Err(Stop::Api(error)) => Err(error),
        }
    }

    async fn carry_out(&self, request: &AccessRequest, observed: &Observation, decision: &Decision, grant: &Grant) -> Result<bool, Stop> {
        let Some(names) = &observed.names else {
            return Err(Stop::Fail(FailureReason::Withdrawn, "the class's names are not known".into()));
        };
        let reserved = match request.delivery() {
            Delivery::CSR => None,
            Delivery::Secret => Some(self.reserve(request).await?),
            // The schema of classes keeps this from being decided.
            Delivery::Sealed => {
                return Err(Stop::Fail(FailureReason::Withdrawn, "a certificate is not delivered sealed: ask with spec.csr".into()));
            }
        };
        let (lease, opened) = self.open(request, observed, grant, names, reserved.as_ref()).await?;
        // From here on there is a debt, and so the decision is on record.
        log::decision(&Stamp { time: self.clock.now(), id: lease.spec.decision_id.clone() }, &observed.snapshot, decision);
        if self.clock.read().latest() >= lease.spec.expires_at {
            return Err(Stop::Fail(
                FailureReason::TimedOut,
                "the time of the credential was over before it could be released; make a new request".into(),
            ));
        }
        let reserved = match reserved {
            Some(reserved) if !opened => self.unfilled(request, &lease, reserved).await?,
            reserved => reserved.map(Filling::Empty),
        };
        let handed = self.mint(request, observed, grant, &lease, reserved).await?;
        self.release(request, grant, &lease, handed).await
    }

    /// The empty Secret with its final name: harmless, and nobody else's.
    async fn reserve(&self, request: &AccessRequest) -> Result<Reserved, Stop> {
        let name = request.wanted_secret_name();
        let tried = self.issuing.reserve(request, &name).await;
        if tried.is_ok() || matches!(tried, Err(ApiError::NoAnswer(_) | ApiError::Busy { .. })) {
            self.notes.note_reserve(request.object_uid());
        }
        match tried {
            Ok(reserved) => Ok(reserved),
            Err(ApiError::AlreadyExists(_)) => match self.issuing.test_reserve(request, &name, false).await {
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
                })),
                // It went in between: the next look starts over.
                Err(error) => Err(error.into()),
            },
            // An API server that has just started refuses everybody until it has read its roles: only a refusal that lasts is an answer.
            Err(ApiError::Forbidden(message))
                if message.contains("cannot create resource") && self.age_of(request) >= REFUSALS_PASS_WITHIN =>
            {
                Err(Stop::Deny(Denial {
                    reason: DenialReason::DeliveryNotAllowed,
                    message: format!(
                        "Secrets are not delivered into namespace {}: ask with a CSR, or have the platform team list the namespace in secretNamespaces",
                        request.namespace().unwrap_or_default()
                    ),
                    retry_after: None,
                    policy: None,
                }))
            }
            // A name that no Secret can have: the schema keeps most of these out.
            Err(ApiError::Invalid(message)) => Err(Stop::Fail(
                FailureReason::Withdrawn,
                format!("no Secret can be named {name}: {message}. Ask with another spec.secretName"),
            )),
            Err(error) => Err(error.into()),
        }
    }

    fn age_of(&self, request: &AccessRequest) -> SignedDuration {
        request.creation_timestamp().map_or(SignedDuration::MAX, |created| self.clock.read().latest().duration_since(created.0))
    }

    /// The intent, written down before any effect. `true`: by this call.
    async fn open(
        &self,
        request: &AccessRequest,
        observed: &Observation,
        grant: &Grant,
        names: &Names,
        reserved: Option<&Reserved>,
    ) -> Result<(CredentialLease, bool), Stop> {
        let name = names::lease_name(&self.settings.installation, request.object_uid(), 0);
        let serial = Serial::random().map_err(|error| Stop::Fail(FailureReason::Withdrawn, error.to_string()))?;
        let wanted = CredentialLease {
            metadata: ObjectMeta { name: Some(name.clone()), namespace: Some(self.settings.namespace.clone()), ..Default::default() },
            spec: self.intent(request, observed, grant, names, reserved, &serial),
            status: None,
        };
        match self.issuing.open_lease(&wanted).await {
            Ok(lease) => {
                // It counts, and is found by whoever judges again, from this moment and not from when the watch brings it.
                self.notes.judged(&name, observed.epoch);
                self.world.opened(prune_lease(lease.clone()));
                self.slots.release(request.object_uid());
                self.leases.add_at(&lease.spec.request_namespace, &name, lease.spec.expires_at);
                self.judging.add(&lease.spec.request_namespace, &name);
                Ok((lease, true))
            }
            Err(ApiError::AlreadyExists(_)) => {
                let lease = self.issuing.get_lease(&name).await?;
                if lease.state().is_some() {
                    return Err(Stop::Fail(
                        FailureReason::Withdrawn,
                        "an earlier attempt to serve this request was ended; make a new request".into(),
                    ));
                }
                // Every gate was checked again just now: carry on with what was written down, where it stays within what would be written
                // today. Never with more.
                if let Some(difference) = exceeds(&lease.spec, &wanted.spec, grant) {
                    let message =
                        format!("what was prepared before a restart is not what would be granted now ({difference}); make a new request");
                    return Err(Stop::Fail(FailureReason::Withdrawn, message));
                }
                self.notes.judged(&name, observed.epoch);
                Ok((lease, false))
            }
            // The API server will never take this lease: the request cannot be served.
            Err(ApiError::Invalid(message)) => {
                Err(Stop::Fail(FailureReason::Withdrawn, format!("the ledger refused the intent: {message}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Signs what the lease says, and fills the reserve.
    async fn mint(
        &self,
        request: &AccessRequest,
        observed: &Observation,
        grant: &Grant,
        lease: &CredentialLease,
        reserved: Option<Filling>,
    ) -> Result<Handed, Stop> {
        let withdrawn = |message: String| Stop::Fail(FailureReason::Withdrawn, message);
        let loaded = self.classes.authorities.get(&lease.spec.x509.ca).map_err(|unavailable| withdrawn(unavailable.message))?;
        let sign = |key: &RequestedKey| -> Result<Certificate, Stop> {
            let leaf = leaf_of(lease, grant).map_err(withdrawn)?;
            loaded.authority.issue(&leaf, key).map_err(|error| withdrawn(format!("the certificate could not be made: {error}")))
        };
        match (reserved, &observed.key) {
            (None, Some(key)) => Ok(Handed { certificate: Some(sign(key)?.pem), ca_bundle: loaded.roots.to_string() }),
            (None, None) => Err(withdrawn("the request carries no usable signing request".into())),
            (Some(Filling::Done), _) => Ok(Handed { certificate: None, ca_bundle: loaded.roots.to_string() }),
            (Some(Filling::Empty(reserved)), _) => {
                let (key_pem, key) = x509::generate_key().map_err(|error| withdrawn(error.to_string()))?;
                let content = SecretContent { certificate: sign(&key)?.pem, key: key_pem, ca: loaded.roots.to_string() };
                self.fill(request, lease, reserved, &content).await?;
                Ok(Handed { certificate: None, ca_bundle: loaded.roots.to_string() })
            }
        }
    }

    /// Whether an earlier try has filled the reserve: asked without a right to read it.
    async fn unfilled(&self, request: &AccessRequest, lease: &CredentialLease, reserved: Reserved) -> Result<Option<Filling>, Stop> {
        let recorded = lease.spec.secret.as_ref().map(|secret| (&secret.name, &secret.uid));
        if recorded != Some((&reserved.name, &reserved.uid)) {
            let message = format!("Secret {} is not the one that was reserved; make a new request", reserved.name);
            return Err(Stop::Fail(FailureReason::ReserveLost, message));
        }
        match self.issuing.test_reserve(request, &reserved.name, true).await {
            Ok(empty) => Ok(Some(Filling::Empty(empty))),
            Err(ApiError::Invalid(_)) => Ok(Some(Filling::Done)),
            Err(error) => Err(error.into()),
        }
    }

    async fn fill(
        &self,
        request: &AccessRequest,
        lease: &CredentialLease,
        reserved: Reserved,
        content: &SecretContent,
    ) -> Result<(), Stop> {
        let lost = |why: &str| Stop::Fail(FailureReason::ReserveLost, format!("Secret {} {why}; make a new request", reserved.name));
        let Some(recorded) = &lease.spec.secret else { return Err(lost("is not in the ledger")) };
        if recorded.uid != reserved.uid || recorded.name != reserved.name {
            return Err(lost("is not the one that was reserved"));
        }
        match self.issuing.fill(request, &reserved, content).await {
            Ok(()) => Ok(()),
            Err(ApiError::NotFound(_)) => Err(lost("was deleted before it could be filled")),
            // It was changed, or an earlier fill of ours was committed and its answer lost.
            Err(ApiError::Conflict(_)) => match self.issuing.test_reserve(request, &reserved.name, false).await {
                Ok(now) if now.uid == recorded.uid => match self.issuing.test_reserve(request, &reserved.name, true).await {
                    Ok(empty) => self.issuing.fill(request, &empty, content).await.map_err(Stop::from),
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
    async fn release(&self, request: &AccessRequest, grant: &Grant, lease: &CredentialLease, handed: Handed) -> Result<bool, Stop> {
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
                        let ours =
                            current.status.as_ref().and_then(|s| s.credential.as_ref()).is_some_and(|c| c.serial == lease.spec.x509.serial);
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
