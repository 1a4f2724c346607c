//! The way of a certificate: its intent, its signature, and the Secret that delivers it where it is not delivered to a CSR.
//!
//! An attempt that another process began is carried on with the names, serial number and dates that its lease says.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::{
    Operator,
    grant::{Asked, Stop},
    intent::{Made, exceeds, leaf_of},
};
use crate::{
    api::{CredentialLease, Delivery, FailureReason, class::X509Spec},
    cluster::{
        ApiError,
        act::{Form, Place, Reserved, SecretContent},
        cache::Cached,
    },
    core::{names, status::Handed},
    issue::x509::{self, Certificate, RequestedKey, Serial},
};

/// The reserve of a grant.
enum Filling {
    /// Nothing is in it yet.
    Empty(Reserved),
    /// An earlier try has filled it.
    Done,
}

impl Operator {
    /// Grants a certificate. `true`: by this call.
    pub(super) async fn grant_certificate(&self, asked: &Asked<'_>, class: &X509Spec) -> Result<bool, Stop> {
        let request = asked.request;
        let (namespace, name) = (request.namespace().unwrap_or_default(), request.wanted_secret_name());
        let place = Place { request, namespace: &namespace, name: &name, form: Form::Tls, over: None };
        let reserved = match request.delivery() {
            Delivery::CSR => None,
            Delivery::Secret => Some(self.reserve(place).await?),
            // The schema of classes keeps this from being decided.
            Delivery::Sealed => {
                return Err(Stop::Fail(FailureReason::Withdrawn, "a certificate is not delivered sealed: ask with spec.csr".into()));
            }
        };
        let (lease, opened) = self.open(asked, class, reserved.as_ref()).await?;
        self.log_decision(asked, &lease);
        self.in_time(asked, &lease)?;
        let reserved = match reserved {
            Some(reserved) if !opened => self.unfilled(place, &lease, reserved).await?,
            reserved => reserved.map(Filling::Empty),
        };
        let handed = self.sign(asked, class, &lease, place, reserved).await?;
        self.release(asked, &lease, handed).await
    }

    /// The intent, written down before any effect. `true`: by this call.
    async fn open(&self, asked: &Asked<'_>, class: &X509Spec, reserved: Option<&Reserved>) -> Result<(CredentialLease, bool), Stop> {
        let withdrawn = |message: String| Stop::Fail(FailureReason::Withdrawn, message);
        let Some(said) = &asked.observed.names else { return Err(withdrawn("the class's names are not known".into())) };
        let name = names::lease_name(&self.settings.installation, asked.request.object_uid(), 0);
        let serial = Serial::random().map_err(|error| withdrawn(error.to_string()))?;
        let crl = self.list_of(class, asked.grant).map_err(|unavailable| Stop::Api(ApiError::NoAnswer(unavailable.message)))?;
        let made = Made::X509(class, said, &serial, crl);
        let wanted = CredentialLease {
            metadata: ObjectMeta { name: Some(name.clone()), namespace: Some(self.settings.namespace.clone()), ..Default::default() },
            spec: self.intent(asked.request, asked.observed, asked.grant, &made, reserved, 0),
            status: None,
        };
        match self.issuing.open_lease(&wanted).await {
            Ok(lease) => {
                self.opened(asked, &lease);
                Ok((lease, true))
            }
            Err(ApiError::AlreadyExists(_)) => {
                let lease = self.issuing.get_lease(&name).await?;
                if lease.state().is_some() {
                    return Err(withdrawn("an earlier attempt to serve this request was ended; make a new request".into()));
                }
                // Every gate was checked again just now: carry on with what was written down, where it stays within what would be written
                // today. Never with more.
                if let Some(difference) = exceeds(&lease.spec, &wanted.spec, asked.grant) {
                    let what = "what was prepared before a restart is not what would be granted now";
                    return Err(withdrawn(format!("{what} ({difference}); make a new request")));
                }
                self.notes.judged(&name, asked.observed.epoch);
                Ok((lease, false))
            }
            // The API server will never take this lease: the request cannot be served.
            Err(ApiError::Invalid(message)) => Err(withdrawn(format!("the ledger refused the intent: {message}"))),
            Err(error) => Err(error.into()),
        }
    }

    /// Signs what the lease says, and fills the reserve.
    async fn sign(
        &self,
        asked: &Asked<'_>,
        class: &X509Spec,
        lease: &CredentialLease,
        place: Place<'_>,
        reserved: Option<Filling>,
    ) -> Result<Handed, Stop> {
        let withdrawn = |message: String| Stop::Fail(FailureReason::Withdrawn, message);
        let ca = lease.spec.x509.as_ref().map(|x509| x509.ca.as_str()).unwrap_or_default();
        let loaded = self.classes.authorities.get(ca).map_err(|unavailable| withdrawn(unavailable.message))?;
        let sign = |key: &RequestedKey| -> Result<Certificate, Stop> {
            let leaf = leaf_of(lease, class).map_err(withdrawn)?;
            // Another key's list would not take it back.
            if lease.spec.crl().is_some_and(|crl| crl.issuer != loaded.authority.issuer_id()) {
                return Err(withdrawn("the certificate authority signs with another key since; make a new request".into()));
            }
            loaded.authority.issue(&leaf, key).map_err(|error| withdrawn(format!("the certificate could not be made: {error}")))
        };
        let handed = |certificate| Handed { certificate, ca_bundle: loaded.roots.to_string(), ..Handed::default() };
        match (reserved, &asked.observed.key) {
            (None, Some(key)) => Ok(handed(Some(sign(key)?.pem))),
            (None, None) => Err(withdrawn("the request carries no usable signing request".into())),
            (Some(Filling::Done), _) => Ok(handed(None)),
            (Some(Filling::Empty(reserved)), _) => {
                let (key_pem, key) = x509::generate_key().map_err(|error| withdrawn(error.to_string()))?;
                let content = SecretContent::Certificate { certificate: sign(&key)?.pem, key: key_pem, ca: loaded.roots.to_string() };
                let Some(recorded) = &lease.spec.secret else { return Err(withdrawn("its Secret is not in the ledger".into())) };
                self.fill(place, recorded, &reserved, &content).await?;
                Ok(handed(None))
            }
        }
    }

    /// Whether an earlier try has filled the reserve: asked without a right to read it.
    async fn unfilled(&self, place: Place<'_>, lease: &CredentialLease, reserved: Reserved) -> Result<Option<Filling>, Stop> {
        let recorded = lease.spec.secret.as_ref().map(|secret| (&secret.name, &secret.uid));
        if recorded != Some((&reserved.name, &reserved.uid)) {
            let message = format!("Secret {} is not the one that was reserved; make a new request", reserved.name);
            return Err(Stop::Fail(FailureReason::ReserveLost, message));
        }
        match self.issuing.test_reserve(place, true).await {
            Ok(empty) => Ok(Some(Filling::Empty(empty))),
            Err(ApiError::Invalid(_)) => Ok(Some(Filling::Done)),
            Err(error) => Err(error.into()),
        }
    }
}
