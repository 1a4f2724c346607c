//! The files of a credential, and the record among them that says which request they came from: what the next process of the pod goes on
//! with, or gives back. Called by the holder and by the commands.

use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use super::{
    ask::{Debts, Granted, Handed},
    place::Place,
    set::{Directory, Files, OwnDirectory},
};
use crate::secret::Secret;

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
}

/// Whether a directory holds a set of files already.
pub(super) fn is_filled(directory: &Directory) -> bool {
    directory.read_plain(RECORD).is_some()
}

/// What an earlier process left in the directory: its record, the chain, and the key.
pub(super) fn left_behind(directory: &Directory) -> Option<(Record, String, Secret<String>)> {
    let record = serde_json::from_str(&directory.read_plain(RECORD)?).ok()?;
    Some((record, directory.read_plain("tls.crt")?, directory.read("tls.key")?))
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
    };
    let mut files: Files = vec![
        ("expires-at", Secret::new(format!("{:.0}\n", granted.expires_at))),
        (RECORD, Secret::new(serde_json::to_string(&record).unwrap_or_default())),
    ];
    if let Handed::Certificate { chain, roots, key } = &granted.handed {
        files.extend([("tls.crt", Secret::new(chain.clone())), ("ca.crt", Secret::new(roots.clone()))]);
        files.extend(key.clone().map(|key| ("tls.key", key)));
    }
    files
}
