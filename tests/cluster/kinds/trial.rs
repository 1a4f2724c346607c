//! Changes to an object that the API server must take or refuse, as tables.

use std::collections::BTreeSet;

use serde_json::Value;

use super::quiet::Answer;

/// One change to a sample, and what must come of it.
pub struct Case {
    /// What it tries.
    pub what: &'static str,
    /// A JSON merge patch to the sample: null takes a field away.
    pub change: Value,
    /// Field path and a part of the message; none where it is taken.
    pub refused: Option<(&'static str, &'static str)>,
}

/// The API server takes this.
pub fn taken(what: &'static str, change: Value) -> Case {
    Case { what, change, refused: None }
}

/// The API server refuses this, naming the field and saying why.
pub fn refused(what: &'static str, change: Value, field: &'static str, message: &'static str) -> Case {
    Case { what, change, refused: Some((field, message)) }
}

impl Case {
    /// The sample with the change.
    pub fn of(&self, sample: &Value) -> Value {
        let mut object = sample.clone();
        json_patch::merge(&mut object, &self.change);
        object
    }

    /// What is wrong with an answer, if anything.
    pub fn differs(&self, answer: &Answer) -> Option<String> {
        let what = self.what;
        match (answer, self.refused) {
            (Ok(_), None) => None,
            (Err(refusal), Some((field, message))) if refusal.is_about(field, message) => None,
            (Ok(_), Some(_)) => Some(format!("{what}: was taken")),
            (Err(refusal), None) => Some(format!("{what}: was refused: {}", refusal.message)),
            (Err(refusal), Some((field, message))) => {
                Some(format!("{what}: should say {message:?} of {field:?}, but says: {} {:?}", refusal.message, refusal.causes))
            }
        }
    }
}

/// Fails unless every case went as it says; names all that did not.
#[track_caller]
pub fn verdict(differences: Vec<Option<String>>) {
    let differences: Vec<String> = differences.into_iter().flatten().collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Fails if a CEL rule of a kind is refused by no case: a rule that nobody has seen refuse may refuse nothing.
#[track_caller]
pub fn every_rule_is_tried(kind: &str, cases: &[&[Case]]) {
    let tried: BTreeSet<&str> =
        cases.iter().flat_map(|table| table.iter()).filter_map(|case| case.refused).map(|(_, message)| message).collect();
    let rules = rules_of(&schema_of(kind));
    assert!(!rules.is_empty(), "{kind} has no rules");
    let untried: Vec<&String> = rules.iter().filter(|rule| !tried.iter().any(|tried| rule.contains(tried))).collect();
    assert!(untried.is_empty(), "no case is refused by these rules of {kind}: {untried:#?}");
}

/// The schema of a kind.
pub fn schema_of(kind: &str) -> Value {
    let crd = daypass::api::crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    serde_json::to_value(crd).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take()
}

/// The messages of all CEL rules of a schema.
fn rules_of(schema: &Value) -> BTreeSet<String> {
    let own = schema["x-kubernetes-validations"].as_array().into_iter().flatten().map(|rule| rule["message"].as_str().unwrap().to_owned());
    let fields = schema["properties"].as_object().into_iter().flat_map(|fields| fields.values());
    let below = fields.chain([&schema["items"], &schema["additionalProperties"]]).filter(|schema| schema.is_object());
    own.chain(below.flat_map(rules_of)).collect()
}
