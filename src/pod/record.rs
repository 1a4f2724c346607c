//! The files of a credential, and the record among them that says which request they came from: what the next process of the pod goes on
//! with, or gives back. Called by the holder and by the commands.

use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use super::{
    ask::{Debts, Granted},
    hand::{Hand, Handed},
    place::Place,
    set::{Directory, Files, OwnDirectory},
};
use crate::{api::request::CredentialStatus, issue::x509::belongs, secret::Secret};

/// Name of the record.
const RECORD: &str = "request.json";

/// What is written beside the credential.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub class_name: String,
    /// UID of the pod that asked.
    pub pod_uid: String,
    /// Of a sealed credential the encapsulated key, which no other one has: the key that opened it was in memory alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enc: Option<String>,
}

/// Whether a directory holds a set of files already.
pub(super) fn is_filled(directory: &Directory) -> bool {
    directory.read_plain(RECORD).is_some()
}

/// What an earlier process left in the directory beside its record.
pub(super) enum Left {
    /// Chain and key in PEM.
    Certificate(String, Secret<String>),
    /// A token that came with this encapsulated key.
    Token(String),
    /// Nothing that whoever wants this can go on with.
    Nothing,
}

impl Left {
    /// Whether it is what this request was granted.
    pub fn is(&self, credential: &CredentialStatus) -> bool {
        match self {
            Self::Certificate(chain, key) => credential.certificate.as_ref() == Some(chain) && belongs(chain, key),
            Self::Token(enc) => credential.sealed.as_ref().is_some_and(|sealed| sealed.enc == *enc),
            Self::Nothing => false,
        }
    }
}

/// The record in the directory, and what of it is of use for this hand.
pub(super) fn left_behind(directory: &Directory, hand: &Hand) -> Option<(Record, Left)> {
    let record: Record = serde_json::from_str(&directory.read_plain(RECORD)?).ok()?;
    let left = match hand {
        Hand::Here => directory.read_plain("tls.crt").zip(directory.read("tls.key")).map(|(chain, key)| Left::Certificate(chain, key)),
        Hand::Token => record.enc.clone().filter(|_| directory.read("token").is_some()).map(Left::Token),
        Hand::Csr(_) | Hand::Secret(_) | Hand::SealedTo(_) => None,
    };
    Some((record, left.unwrap_or(Left::Nothing)))
}

/// What killed processes of this pod left in memory of their own: removed, and the requests that it came from, to be given back. What another
/// pod left where both can see it is that pod's to give back, and stays.
pub fn left_by_the_killed(own: &OwnDirectory, place: &Place) -> Debts {
    let debts = Debts::default();
    let Ok(session) = place.session() else { return debts };
    let read = |text: &str| serde_json::from_str::<Record>(text).ok();
    let ours = |text: &str| read(text).is_some_and(|record| record.pod_uid == session.requester.pod_uid);
    for record in own.sweep(RECORD, ours).iter().filter_map(|text| read(text)) {
        debts.owe(&record.name, Some(record.uid));
    }
    debts
}

/// The files of a credential; what is in a Secret has none of its own here.
pub fn files(granted: &Granted, class: &str) -> Files {
    let record = Record {
        namespace: granted.request.namespace().unwrap_or_default(),
        name: granted.request.name_any(),
        uid: granted.request.uid().unwrap_or_default(),
        class_name: class.to_owned(),
        pod_uid: granted.request.spec.requester.pod_uid.clone(),
        enc: granted.request.status.as_ref().and_then(|s| s.credential.as_ref()?.sealed.as_ref()).map(|sealed| sealed.enc.clone()),
    };
    let mut files: Files = vec![
        ("expires-at", Secret::new(format!("{:.0}\n", granted.expires_at))),
        (RECORD, Secret::new(serde_json::to_string(&record).unwrap_or_default())),
    ];
    match &granted.handed {
        Handed::Certificate { chain, roots, key } => {
            files.extend([("tls.crt", Secret::new(chain.clone())), ("ca.crt", Secret::new(roots.clone()))]);
            files.extend(key.clone().map(|key| ("tls.key", key)));
        }
        Handed::Token(token) => files.push(("token", token.clone())),
        Handed::Secret(_) | Handed::Sealed(_) => {}
    }
    files
}
