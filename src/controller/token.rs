//! The way of a service account's token: reserve what it is bound to → ledger → mint → show it to the API server once → deliver.
//!
//! A mint whose outcome is not known is never guessed at: the attempt is closed by deleting what its token is bound to, and the next attempt
//! begins once it is closed. So does one that another process left in the middle.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::{
    Operator,
    grant::{Asked, Stop},
    intent::Made,
    tokens::{Attempt, HeldToken},
};
use crate::{
    api::{
        CredentialLease, Delivery, EndReason, FailureReason,
        class::TokenSpec,
        lease::{LeaseState, LeaseToken},
    },
    cluster::{
        ApiError,
        act::{Form, Minted, Place, Reserved, SecretContent, Seen, review},
        cache::{Cached, Key},
    },
    core::{
        names,
        revocation::{MIN_TOKEN_LIFE, MINTED_WITHIN},
        status::Handed,
    },
    issue::seal,
};

/// So often a request is tried to be served.
const MOST_ATTEMPTS: i64 = 6;
/// Another process may still be about to answer a request that it opened a lease for.
const ANOTHERS_TURN: SignedDuration = SignedDuration::from_secs(20);
/// Between two looks at an attempt that is being closed.
const CLOSING: SignedDuration = SignedDuration::from_secs(1);

impl Operator {
    /// Grants a token. `true`: by this call.
    pub(super) async fn grant_token(&self, asked: &Asked<'_>, class: &TokenSpec) -> Result<bool, Stop> {
        for attempt in 0..MOST_ATTEMPTS {
            let name = names::lease_name(&self.settings.installation, asked.request.object_uid(), attempt);
            let lease = match self.world.leases.get(&Key::new(&self.settings.namespace, &name)) {
                Some(known) => (*known).clone(),
                None => self.open_attempt(asked, class, attempt, &name).await?,
            };
            let abandoned = lease.status.as_ref().is_some_and(|status| status.reason == Some(EndReason::Abandoned));
            match lease.state() {
                Some(LeaseState::Closed) if abandoned => {}
                Some(LeaseState::Revoking) if abandoned => return Err(self.closing()),
                Some(_) => return Err(withdrawn("an earlier attempt to serve this request was ended; make a new request")),
                None => return self.serve(asked, &lease).await,
            }
        }
        Err(withdrawn("no attempt to mint the token had a certain outcome; make a new request"))
    }

    /// Reserves what the token will be bound to, and writes the intent down. Returns what is in the ledger, by whomever.
    async fn open_attempt(&self, asked: &Asked<'_>, class: &TokenSpec, attempt: i64, name: &str) -> Result<CredentialLease, Stop> {
        let Some(account) = self.world.service_accounts.get(&Key::new(&class.namespace, &class.name)) else {
            return Err(withdrawn(&format!("service account {}/{} is gone; make a new request", class.namespace, class.name)));
        };
        let (delivered, bound_name) =
            (self.delivered(asked), names::bound_secret_name(&self.settings.installation, asked.request.object_uid(), attempt));
        let over = self.clock.now() + MIN_TOKEN_LIFE.max(SignedDuration::from_secs(asked.grant.ttl.as_secs() as i64)) + MINTED_WITHIN;
        let elsewhere =
            Place { request: asked.request, namespace: &class.namespace, name: &bound_name, form: Form::Token, over: Some(over) };
        let (bound, secret) = match &delivered {
            // The delivered Secret is what the token is bound to: one Secret less.
            Some((namespace, secret)) if *namespace == class.namespace => {
                let reserved = self.reserve(place_of(asked, namespace, secret)).await?;
                (reserved.clone(), Some(reserved))
            }
            Some((namespace, secret)) => {
                let reserved = self.reserve(place_of(asked, namespace, secret)).await?;
                (self.reserve(elsewhere).await?, Some(reserved))
            }
            None => (self.reserve(elsewhere).await?, None),
        };
        let made = Made::Token(class, &account.uid, &bound);
        let wanted = CredentialLease {
            metadata: ObjectMeta { name: Some(name.to_owned()), namespace: Some(self.settings.namespace.clone()), ..Default::default() },
            spec: self.intent(asked.request, asked.observed, asked.grant, &made, secret.as_ref(), attempt),
            status: None,
        };
        match self.issuing.open_lease(&wanted).await {
            Ok(lease) => {
                self.tokens.note(name, Attempt::Opened { delivered: secret });
                self.opened(asked, &lease);
                self.log_decision(asked, &lease);
                Ok(lease)
            }
            // Another process did, or this one and the answer was lost.
            Err(ApiError::AlreadyExists(_)) => Ok(self.issuing.get_lease(name).await?),
            Err(ApiError::Invalid(message)) => Err(withdrawn(&format!("the ledger refused the intent: {message}"))),
            Err(error) => Err(error.into()),
        }
    }

    /// Goes on with an attempt whose lease is open.
    async fn serve(&self, asked: &Asked<'_>, lease: &CredentialLease) -> Result<bool, Stop> {
        let name = lease.name_any();
        let Some(token) = &lease.spec.token else {
            return Err(withdrawn("the lease of this request is not for a token; make a new request"));
        };
        if self.notes.verdict(&name).is_some() {
            return Err(self.closing());
        }
        let (held, delivered) = match self.tokens.attempt(&name) {
            None => return Err(self.leave_to_another(lease)),
            Some(Attempt::Opened { delivered }) => {
                self.in_time(asked, lease)?;
                let minted = self.mint_within(lease, token).await?;
                let held = HeldToken { token: minted.token, accepted: None };
                self.tokens.note(&name, Attempt::Minted { held: held.clone(), delivered: delivered.clone() });
                (held, delivered)
            }
            Some(Attempt::Minted { held, delivered }) => (held, delivered),
        };
        let held = self.seen_accepted(lease, token, held, delivered.clone()).await?;
        let handed = self.deliver(asked, lease, &held, delivered).await?;
        self.release(asked, lease, handed).await
    }

    /// Mints, within what the ledger says.
    async fn mint_within(&self, lease: &CredentialLease, token: &LeaseToken) -> Result<Minted, Stop> {
        let now = self.clock.read().latest();
        let life = lease.spec.expires_at.duration_since(now).max(MIN_TOKEN_LIFE);
        // A fraction of a second must not make it live longer than what is written down.
        if now + life + SignedDuration::from_secs(2) > token.not_after {
            let message = "the token could not be minted in time; make a new request".to_owned();
            return Err(Stop::Fail(FailureReason::TimedOut, message));
        }
        match self.issuing.mint(token, life.as_secs()).await {
            Ok(minted) if minted.expires_at > token.not_after => Err(withdrawn(&format!(
                "the API server minted a token until {}, longer than was asked for; tell the platform team",
                minted.expires_at
            ))),
            Ok(minted) => Ok(minted),
            Err(error) if error.is_definite() => Err(withdrawn(&why_not_minted(token, &error))),
            Err(error) => {
                tracing::warn!(lease = lease.name_any(), %error, "whether a token was minted is not known: the attempt is closed");
                self.abandon(lease, "what came of minting its token is not known");
                Err(self.closing())
            }
        }
    }

    /// The API server accepts the token: later its being refused will prove something. Its id comes with that.
    async fn seen_accepted(
        &self,
        lease: &CredentialLease,
        token: &LeaseToken,
        held: HeldToken,
        delivered: Option<Reserved>,
    ) -> Result<HeldToken, Stop> {
        if held.accepted.is_some() {
            return Ok(held);
        }
        match review(self.issuing.client(), &held.token, &token.audiences).await? {
            Seen::Refused => Err(withdrawn("the API server does not accept the token that it minted; make a new request")),
            Seen::Accepted(id) => {
                let id = id.unwrap_or_default();
                tracing::info!(
                    target: "decision", event = "minted", lease = lease.name_any(), request = lease.spec.request_name,
                    namespace = lease.spec.request_namespace, class = lease.spec.class_name, token_id = id, "minted"
                );
                let held = HeldToken { accepted: Some(id), ..held };
                self.tokens.note(&lease.name_any(), Attempt::Minted { held: held.clone(), delivered });
                Ok(held)
            }
        }
    }

    /// Seals the token to the pod's key, or puts it into the delivered Secret.
    async fn deliver(&self, asked: &Asked<'_>, lease: &CredentialLease, held: &HeldToken, empty: Option<Reserved>) -> Result<Handed, Stop> {
        let mut handed = Handed { token_id: held.accepted.clone().filter(|id| !id.is_empty()), ..Handed::default() };
        match (asked.request.delivery(), &lease.spec.secret) {
            (Delivery::Sealed, _) => {
                let Some(key) = &asked.observed.seal_to else { return Err(withdrawn("the request carries no usable key to seal to")) };
                let context = seal::Context {
                    request_uid: &lease.spec.request_uid,
                    pod_uid: &lease.spec.requester.pod_uid,
                    class: &lease.spec.class_name,
                };
                let sealed = seal::seal(key, &context, &held.token);
                handed.sealed = Some(sealed.map_err(|error| withdrawn(&format!("the token could not be sealed: {error}")))?);
            }
            (Delivery::Secret, Some(recorded)) => {
                let place = place_of(asked, &lease.spec.request_namespace, &recorded.name);
                let empty = match empty {
                    Some(empty) => Some(empty),
                    None => match self.issuing.test_reserve(place, true).await {
                        Ok(empty) => Some(empty),
                        // An earlier try has filled it.
                        Err(ApiError::Invalid(_)) => None,
                        Err(error) => return Err(error.into()),
                    },
                };
                if let Some(empty) = empty {
                    self.fill(place, recorded, &empty, &SecretContent::Token(held.token.clone())).await?;
                    // The next look, if there is one, asks whether it is filled.
                    self.tokens.note(&lease.name_any(), Attempt::Minted { held: held.clone(), delivered: None });
                }
            }
            _ => return Err(withdrawn("a token is delivered sealed or in a Secret: ask with spec.sealTo or spec.secretName")),
        }
        Ok(handed)
    }

    /// Namespace and name of the Secret that the pod is to find, if it wants one.
    fn delivered(&self, asked: &Asked<'_>) -> Option<(String, String)> {
        let wants_one = asked.request.delivery() == Delivery::Secret;
        wants_one.then(|| (asked.request.namespace().unwrap_or_default(), asked.request.wanted_secret_name()))
    }

    /// Another process opened this lease: it may be about to answer. After a while its attempt is closed.
    fn leave_to_another(&self, lease: &CredentialLease) -> Stop {
        let turn = lease.creation_timestamp().map(|created| created.0 + ANOTHERS_TURN);
        match turn.filter(|turn| self.clock.read().latest() < *turn) {
            Some(turn) => Stop::Wait(turn),
            None => {
                self.abandon(lease, "the process that began it has not finished it");
                self.closing()
            }
        }
    }

    fn abandon(&self, lease: &CredentialLease, why: &str) {
        self.notes.found_against(&lease.name_any(), EndReason::Abandoned, why.to_owned());
        self.leases.add(&lease.spec.request_namespace, &lease.name_any());
    }

    fn closing(&self) -> Stop {
        let now: Timestamp = self.clock.read().latest();
        Stop::Wait(now + CLOSING)
    }
}

/// The Secret that the pod is to find.
fn place_of<'a>(asked: &'a Asked<'a>, namespace: &'a str, name: &'a str) -> Place<'a> {
    Place { request: asked.request, namespace, name, form: Form::Token, over: None }
}

fn withdrawn(message: &str) -> Stop {
    Stop::Fail(FailureReason::Withdrawn, message.to_owned())
}

/// Why the API server minted nothing, and what to do.
fn why_not_minted(token: &LeaseToken, error: &ApiError) -> String {
    let whose = format!("{}/{}", token.namespace, token.service_account);
    match error {
        ApiError::Conflict(_) => {
            format!("service account {whose} was made anew, or what its token is bound to was replaced; make a new request")
        }
        ApiError::NotFound(_) => format!("service account {whose}, or what its token is bound to, was deleted; make a new request"),
        ApiError::Forbidden(_) => format!(
            "Daypass may not mint tokens of service account {whose}: have the platform team list it in the serviceAccounts of the installation"
        ),
        other => format!("no token of service account {whose} could be minted: {other}"),
    }
}
