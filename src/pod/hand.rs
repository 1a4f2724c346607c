//! How a credential comes to a pod: where its key is, what a request says for that, and what is made of the answer.
//!
//! Owns the keys between asking and answer; they leave this process only for their files. Called by `ask`, and by whoever says what to ask for.

use crate::{
    api::{AccessRequest, AccessRequestSpec, Delivery, SealedCredential, request::CredentialStatus},
    issue::{
        seal::{Context, KeyFileError, OpenError, OpeningKey},
        x509::{KeyError, KeyRequest, belongs},
    },
    secret::Secret,
};

/// Where the key of a credential is to be, and so how it comes.
#[derive(Clone, Debug)]
pub enum Hand {
    /// A certificate, for a key that is made here and leaves this process only for its files.
    Here,
    /// A certificate, for the key of whoever made this signing request (PEM).
    Csr(String),
    /// In a Secret of this name in the pod's namespace, which the operator makes. Nothing of it comes here.
    Secret(String),
    /// A token, sealed to a key that is made here for this one and never leaves this process.
    Token,
    /// A token, sealed to the key of somebody else (base64).
    SealedTo(String),
}

/// A credential as it came.
#[derive(Clone, Debug)]
pub enum Handed {
    /// By the request's status.
    Certificate {
        /// Chain in PEM, leaf first.
        chain: String,
        /// Roots in PEM.
        roots: String,
        /// The private key in PEM; `None` where somebody else holds it.
        key: Option<Secret<String>>,
    },
    /// In the Secret of this name, beside the pod.
    Secret(String),
    /// By the request's status, opened here.
    Token(Secret<String>),
    /// By the request's status, for somebody else to open.
    Sealed(SealedCredential),
}

/// Why what came cannot be used; the end of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A certificate for another key.
    #[error("a certificate that is not for this key")]
    OtherKey,
    /// Something sealed that does not open.
    #[error("something sealed that does not open: {0}")]
    Shut(#[from] OpenError),
    /// Another key than was sent, or another name: somebody between this pod and the API server's store wants the credential.
    #[error(
        "a request for another key or Secret than was asked for: does a mutating webhook change spec.csr, spec.sealTo or spec.secretName?"
    )]
    Changed,
    /// Less than a granted request holds.
    #[error("no credential: its status holds no {0}")]
    Missing(&'static str),
}

/// Why there is no key to ask with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// For a certificate.
    #[error(transparent)]
    Certificate(#[from] KeyError),
    /// To seal to.
    #[error(transparent)]
    Sealing(#[from] KeyFileError),
}

/// What a request says of its key, and the half of it that stays here.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    csr: Option<String>,
    seal_to: Option<String>,
    secret_name: Option<String>,
    kept: Kept,
}

#[derive(Clone, Debug)]
enum Kept {
    /// Somebody else has it.
    Nothing,
    /// The private key of a certificate, in PEM.
    Private(Secret<String>),
    /// What opens a sealed credential.
    Opening(OpeningKey),
}

impl Offer {
    /// Makes what has to be made here.
    pub fn of(hand: &Hand) -> Result<Self, NoKey> {
        let nothing = Self { csr: None, seal_to: None, secret_name: None, kept: Kept::Nothing };
        Ok(match hand {
            Hand::Here => {
                let made = KeyRequest::generate()?;
                Self { csr: Some(made.csr), kept: Kept::Private(made.key), ..nothing }
            }
            Hand::Csr(csr) => Self { csr: Some(csr.clone()), ..nothing },
            Hand::Secret(name) => Self { secret_name: Some(name.clone()), ..nothing },
            Hand::Token => {
                let made = OpeningKey::generate()?;
                Self { seal_to: Some(made.public_base64()), kept: Kept::Opening(made), ..nothing }
            }
            Hand::SealedTo(key) => Self { seal_to: Some(key.clone()), ..nothing },
        })
    }

    /// Writes it into a request.
    pub fn say(&self, spec: AccessRequestSpec) -> AccessRequestSpec {
        AccessRequestSpec { csr: self.csr.clone(), seal_to: self.seal_to.clone(), secret_name: self.secret_name.clone(), ..spec }
    }

    /// Whether a request that is there says the same.
    pub fn is_said_by(&self, spec: &AccessRequestSpec) -> bool {
        (&spec.csr, &spec.seal_to, &spec.secret_name) == (&self.csr, &self.seal_to, &self.secret_name)
    }

    /// The credential that a granted request holds.
    pub fn take(self, request: &AccessRequest, credential: &CredentialStatus) -> Result<Handed, Unusable> {
        match request.spec.delivery() {
            Delivery::CSR => {
                let chain = credential.certificate.clone().ok_or(Unusable::Missing("certificate"))?;
                let key = if let Kept::Private(key) = self.kept { Some(key) } else { None };
                if key.as_ref().is_some_and(|key| !belongs(&chain, key)) {
                    return Err(Unusable::OtherKey);
                }
                Ok(Handed::Certificate { chain, roots: credential.ca_bundle.clone(), key })
            }
            Delivery::Secret => credential.secret_name.clone().map(Handed::Secret).ok_or(Unusable::Missing("name of a Secret")),
            Delivery::Sealed => {
                let sealed = credential.sealed.as_ref().ok_or(Unusable::Missing("sealed credential"))?;
                let Kept::Opening(key) = &self.kept else { return Ok(Handed::Sealed(sealed.clone())) };
                let (uid, spec) = (request.metadata.uid.as_deref().unwrap_or_default(), &request.spec);
                let context = Context { request_uid: uid, pod_uid: &spec.requester.pod_uid, class: &spec.class_name };
                Ok(Handed::Token(key.open(&context, sealed)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::issue::seal::{SealKey, seal};

    /// A request with what this offer says, as it is once it is granted with this credential.
    fn granted(offer: &Offer, credential: serde_json::Value) -> (AccessRequest, CredentialStatus) {
        let requester = json!({
            "username": "system:serviceaccount:shop:orders", "uid": "u-1", "podName": "orders-1", "podUID": "p-1", "nodeName": "",
            "nodeUID": "", "credentialID": "",
        });
        let mut request =
            AccessRequest::new("orders-1", serde_json::from_value(json!({"className": "c", "requester": requester})).unwrap());
        request.metadata.uid = Some("r-1".into());
        request.spec = offer.say(request.spec);
        let mut whole = json!({
            "delivery": request.spec.delivery(), "notBefore": "2026-11-24T10:00:00Z", "expiresAt": "2026-11-24T10:15:00Z", "serial": "0a",
            "revocation": {"kind": "ExpiryOnly", "boundSeconds": 900},
        });
        json_patch::merge(&mut whole, &credential);
        (request, serde_json::from_value(whole).unwrap())
    }

    /// What the operator makes of a request.
    fn sealed(request: &AccessRequest, request_uid: &str) -> SealedCredential {
        let context = Context { request_uid, pod_uid: "p-1", class: "c" };
        seal(&SealKey::parse(request.spec.seal_to.as_deref().unwrap()).unwrap(), &context, &Secret::new("a token".into())).unwrap()
    }

    #[test]
    fn a_token_is_opened_here_and_only_what_was_sealed_for_this_request() {
        let offer = Offer::of(&Hand::Token).unwrap();
        let (request, mut credential) = granted(&offer, json!({}));
        assert_eq!(request.spec.delivery(), Delivery::Sealed);
        assert_eq!(offer.clone().take(&request, &credential).unwrap_err(), Unusable::Missing("sealed credential"));
        credential.sealed = Some(sealed(&request, "r-1"));
        assert!(matches!(offer.clone().take(&request, &credential), Ok(Handed::Token(token)) if token.expose() == "a token"));
        credential.sealed = Some(sealed(&request, "r-2"));
        assert_eq!(offer.take(&request, &credential).unwrap_err(), Unusable::Shut(OpenError::Refused));
    }

    #[test]
    fn every_token_has_a_key_of_its_own_and_nothing_of_it_is_printed() {
        let (first, second) = (Offer::of(&Hand::Token).unwrap(), Offer::of(&Hand::Token).unwrap());
        assert_ne!(first.seal_to, second.seal_to);
        assert!(first.is_said_by(&granted(&first, json!({})).0.spec) && !first.is_said_by(&granted(&second, json!({})).0.spec));
        assert!(format!("{first:?}").contains("[redacted]"));
    }

    #[test]
    fn what_is_sealed_to_somebody_else_s_key_is_handed_on_as_it_is() {
        let key = OpeningKey::generate().unwrap();
        let offer = Offer::of(&Hand::SealedTo(key.public_base64())).unwrap();
        let (request, mut credential) = granted(&offer, json!({}));
        let made = sealed(&request, "r-1");
        credential.sealed = Some(made.clone());
        assert!(matches!(offer.take(&request, &credential), Ok(Handed::Sealed(found)) if found == made));
    }

    #[test]
    fn a_certificate_for_another_key_and_a_secret_without_a_name_are_of_no_use() {
        let offer = Offer::of(&Hand::Here).unwrap();
        let (request, credential) = granted(&offer, json!({}));
        assert_eq!(offer.clone().take(&request, &credential).unwrap_err(), Unusable::Missing("certificate"));
        let pair = rcgen::KeyPair::generate().unwrap();
        let other = rcgen::CertificateParams::new(["a".to_owned()]).unwrap().self_signed(&pair).unwrap().pem();
        let (request, credential) = granted(&offer, json!({"certificate": other}));
        assert_eq!(offer.take(&request, &credential).unwrap_err(), Unusable::OtherKey);

        let offer = Offer::of(&Hand::Secret("daypass-x".into())).unwrap();
        let (request, mut credential) = granted(&offer, json!({}));
        assert_eq!(offer.clone().take(&request, &credential).unwrap_err(), Unusable::Missing("name of a Secret"));
        credential.secret_name = Some("daypass-x".into());
        assert!(matches!(offer.take(&request, &credential), Ok(Handed::Secret(name)) if name == "daypass-x"));
    }
}
