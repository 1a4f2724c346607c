//! The keys that sign the revocation lists of an authority: each that has certificates alive, or soon will.
//!
//! Reads the Secrets that the watch brought and writes nothing: taking a certificate back waits neither for an authority to be rotated nor for
//! its roots to be published, and an authority that no class names any more goes on signing for the certificates that it gave.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;

use super::authorities::{Unavailable, brought, stored};
use crate::{
    cluster::{
        World,
        act::publish::ca_secret_name,
        cache::{Cached, Key},
    },
    issue::x509::{Authority, Material},
};

/// What an authority's name begins with if somebody brought it in a Secret.
const BROUGHT: &str = "secret.";

/// The keys of one authority.
struct Held {
    /// UID and version of the Secret that they were read from.
    version: (String, u64),
    keys: Arc<[Authority]>,
}

/// Every signer that was loaded, by the name of its authority.
#[derive(Default)]
pub struct Signers(Mutex<HashMap<String, Held>>);

impl Signers {
    /// The keys of an authority; the one that signs certificates now comes first.
    pub fn of(&self, ca: &str, world: &World, home: &str, now: Timestamp) -> Result<Arc<[Authority]>, Unavailable> {
        if !world.secrets.synced() {
            let message = format!("the Secret of the certificate authority {ca} has not been listed yet");
            return Err(Unavailable { reason: "CaPending", message, momentary: true });
        }
        let secret = ca.strip_prefix(BROUGHT).map_or_else(|| ca_secret_name(ca), str::to_owned);
        let Some(record) = world.secrets.get(&Key::new(home, &secret)) else {
            let message = format!("there is no Secret {secret} in namespace {home}: restore it, or what it signed cannot be taken back");
            return Err(Unavailable { reason: "CaSecretMissing", message, momentary: false });
        };
        let version = (record.object_uid().to_owned(), record.version());
        if let Some(keys) = self.held(ca, &version) {
            return Ok(keys);
        }
        let failed = |problem: String| {
            let message = format!("Secret {secret} in namespace {home} cannot sign revocation lists: {problem}");
            Unavailable { reason: "CaFailed", message, momentary: false }
        };
        let materials: Vec<Material> = match ca.strip_prefix(BROUGHT) {
            Some(secret) => vec![brought(secret, world, home)?],
            None => stored(ca, Some(&record)).map_err(|problem| failed(problem.to_string()))?.list_signers(),
        };
        let (mut loaded, mut problem) = (Vec::with_capacity(materials.len()), None);
        for material in &materials {
            match Authority::load(material, now) {
                Ok(authority) => loaded.push(authority),
                // One that is over has nothing alive; the others go on.
                Err(error) => {
                    tracing::debug!(ca, %error, "a key of the certificate authority signs no revocation list");
                    problem = problem.or(Some(error));
                }
            }
        }
        let loaded: Arc<[Authority]> = match problem {
            Some(problem) if loaded.is_empty() => return Err(failed(problem.to_string())),
            _ => loaded.into(),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ca.to_owned(), Held { version, keys: loaded.clone() });
        Ok(loaded)
    }

    fn held(&self, ca: &str, version: &(String, u64)) -> Option<Arc<[Authority]>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(ca).filter(|held| held.version == *version).map(|held| held.keys.clone())
    }
}
