//! Tokens of service accounts: minted bound to a Secret, and shown to the API server to learn whether it still accepts them.

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec, TokenReview, TokenReviewSpec},
        core::v1::ServiceAccount,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client};

use super::{Writer, post};
use crate::{
    api::lease::LeaseToken,
    cluster::{ApiError, client::call},
    secret::Secret,
};

/// The longest life that is ever asked for, in seconds.
const LONGEST: i64 = 3600;

/// A token that was minted.
pub struct Minted {
    /// The bearer token.
    pub token: Secret<String>,
    /// Its end, as the API server says.
    pub expires_at: Timestamp,
}

/// What an API server says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is good. Its id, if it has one: `JTI=` and a UUID.
    Accepted(Option<String>),
    /// It is not, for whatever reason: a lookup that fails reads like a token that was taken back.
    Refused,
}

impl Writer {
    /// Mints a token of the account that a lease names, bound to the Secret that it names, for so many seconds (600 to 3,600). Another
    /// account of that name, or another Secret, is a `Conflict`; either being gone is `NotFound`.
    pub async fn mint(&self, token: &LeaseToken, seconds: i64) -> Result<Minted, ApiError> {
        let wanted = TokenRequest {
            metadata: ObjectMeta {
                name: Some(token.service_account.clone()),
                namespace: Some(token.namespace.clone()),
                // An account that was made anew under this name is another.
                uid: Some(token.service_account_uid.clone()),
                ..Default::default()
            },
            spec: TokenRequestSpec {
                audiences: token.audiences.clone(),
                expiration_seconds: Some(seconds.clamp(600, LONGEST)),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Secret".into()),
                    name: Some(token.bound_to.name.clone()),
                    uid: Some(token.bound_to.uid.clone()),
                }),
            },
            status: None,
        };
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), &token.namespace);
        let made: TokenRequest = call(accounts.create_token_request(&token.service_account, &post(), &wanted)).await?;
        // A reply without a token leaves open whether there is one.
        let status = made.status.ok_or_else(|| ApiError::NoAnswer("the reply to a TokenRequest holds no token".into()))?;
        Ok(Minted { token: Secret::new(status.token), expires_at: status.expiration_timestamp.0 })
    }
}

/// Whether the API server behind this client accepts a token for these audiences (empty: its own).
pub async fn review(client: &Client, token: &Secret<String>, audiences: &[String]) -> Result<Seen, ApiError> {
    let wanted = TokenReview {
        metadata: ObjectMeta::default(),
        spec: TokenReviewSpec { token: Some(token.expose().clone()), audiences: (!audiences.is_empty()).then(|| audiences.to_vec()) },
        status: None,
    };
    // The answer holds the token: it is never logged.
    let status = call(Api::<TokenReview>::all(client.clone()).create(&post(), &wanted)).await?.status.unwrap_or_default();
    if status.authenticated != Some(true) {
        return Ok(Seen::Refused);
    }
    let id = |extra: std::collections::BTreeMap<String, Vec<String>>| {
        extra.get("authentication.kubernetes.io/credential-id").and_then(|ids| ids.first().cloned())
    };
    Ok(Seen::Accepted(status.user.and_then(|user| user.extra).and_then(id)))
}
