//! What an expression sees: the objects of one decision.
//!
//! Roots are `request`, `pod`, `node`, `namespace`, `serviceAccount`, `task` and `now`. All but `now` are JSON as the API server
//! gives it. An optional field that is not set has no key, so that reading it is an error: ask `has(pod.spec.priority)` first, as
//! in a ValidatingAdmissionPolicy, or write `pod.spec.?priority.orValue(0)`. Times within objects are strings: write
//! `timestamp(pod.metadata.creationTimestamp)`. `request.status` is not there: status never lets a request do more.

use cel::{
    Env,
    common::{
        types::CelString,
        value::{CowVal, Val},
    },
};
use jiff::Timestamp;
use serde_json::Value as Json;

use super::{cutoff::CutOff, value};

/// The objects of one decision, bounded, ready for any number of programs. Not printable: objects do not belong in logs.
pub struct Inputs {
    roots: Vec<(&'static str, Box<dyn Val>)>,
}

impl Inputs {
    /// Takes the objects as JSON, `null` for one that is not known. Never fails: what exceeds the bounds (maps of 64 entries, lists
    /// of 64 items, 32 containers, strings of 4096 bytes, 16 levels), a missing object and `managedFields` are cut off, and an
    /// expression that looks at what is cut off is an error.
    pub fn new(request: Json, pod: Json, node: Json, namespace: Json, service_account: Json, task: Json, now: Timestamp) -> Self {
        let mut request = request;
        if let Some(fields) = request.as_object_mut() {
            fields.remove("status");
        }
        let objects = [
            ("request", request),
            ("pod", pod),
            ("node", node),
            ("namespace", namespace),
            ("serviceAccount", service_account),
            ("task", task),
        ];
        let mut roots: Vec<_> = objects.into_iter().map(|(name, json)| (name, root(name, json))).collect();
        roots.push(("now", timestamp(now)));
        Self { roots }
    }

    /// The object of that name.
    pub(super) fn root(&self, name: &str) -> Option<&dyn Val> {
        self.roots.iter().find(|(root, _)| *root == name).map(|(_, value)| value.as_ref())
    }
}

fn root(name: &'static str, mut json: Json) -> Box<dyn Val> {
    if !json.is_object() {
        return CutOff::boxed(format!("there is no {name}"));
    }
    // Large, deep, and of no use to a policy.
    if let Some(metadata) = json.get_mut("metadata").and_then(Json::as_object_mut) {
        metadata.remove("managedFields");
    }
    value::bounded(json, name)
}

/// Through the crate's own parser, which spares a dependency on its library for dates.
fn timestamp(now: Timestamp) -> Box<dyn Val> {
    let text: [CowVal<'static, 'static>; 1] = [CowVal::owned(CelString::from(now.to_string()))];
    let parse = Env::stdlib().find_overload("timestamp", &text);
    match parse.map(|parse| parse(text.into())) {
        Some(Ok(value)) => value.into_owned(),
        Some(Err(_)) | None => CutOff::boxed("the time is out of range".to_owned()),
    }
}
