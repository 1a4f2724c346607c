//! Every bound of every schema, both ways: the API server takes a value at the bound and refuses one beyond it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    quiet::{Answer, Author, quiet},
    samples,
    trial::{schema_of, verdict},
};

/// One bound of one field.
struct Bound {
    /// Where the field is.
    pointer: String,
    /// The same as the API server says it.
    field: String,
    /// A value that is just within; none where the bound says nothing that another does not.
    at: Option<Value>,
    /// One that is just beyond.
    beyond: Value,
    /// What it is called in the answer.
    says: &'static str,
}

/// How an object is sent.
enum Try {
    Create,
    Put,
    PutStatus,
}

/// Tries every bound of what a sample has at `part` (such as `spec.revoke`); returns what went wrong.
async fn try_all(author: &Author, how: Try, sample: &Value, part: &str) -> Vec<Option<String>> {
    let kind = sample["kind"].as_str().unwrap();
    let (mut schema, mut value) = (&schema_of(kind), sample);
    for name in part.split('.') {
        (schema, value) = (&schema["properties"][name], &value[name]);
    }
    let mut bounds = vec![];
    gather(schema, value, &format!("/{}", part.replace('.', "/")), part, &mut bounds);
    assert!(!bounds.is_empty(), "{kind} {part}");
    let mut differences = vec![];
    for bound in bounds {
        for (value, expected) in bound.at.iter().map(|value| (value, None)).chain([(&bound.beyond, Some(&bound))]) {
            let mut object = sample.clone();
            *object.pointer_mut(&bound.pointer).unwrap() = value.clone();
            let answer = match how {
                Try::Create => author.try_create(&object).await,
                Try::Put => author.try_put(&object).await,
                Try::PutStatus => author.try_put_status(&object).await,
            };
            differences.push(differs(kind, &bound, expected.is_none(), &answer));
        }
    }
    differences
}

fn differs(kind: &str, bound: &Bound, within: bool, answer: &Answer) -> Option<String> {
    let (field, says) = (&bound.field, bound.says);
    match answer {
        Ok(_) if within => None,
        Ok(_) => Some(format!("{kind} {field}: beyond {says:?} and taken")),
        Err(refusal) if within => Some(format!("{kind} {field}: within {says:?} and refused: {}", refusal.message)),
        Err(refusal) if refusal.is_about(field, says) => None,
        Err(refusal) => Some(format!("{kind} {field}: should be refused with {says:?}, but {:?}", refusal.causes)),
    }
}

/// The bounds of a schema at a value of it, and of everything below.
fn gather(schema: &Value, value: &Value, pointer: &str, field: &str, bounds: &mut Vec<Bound>) {
    let number = |key: &str| schema[key].as_f64().map(|number| number as i64);
    let mut add = |at: Option<Value>, beyond: Value, says| {
        bounds.push(Bound { pointer: pointer.to_owned(), field: field.to_owned(), at, beyond, says });
    };
    match value {
        Value::String(text) => {
            if let Some(max) = number("maxLength") {
                let long = |length: i64| {
                    json!(format!("{text}{}", text.chars().last().unwrap_or('x').to_string().repeat(length as usize - text.len())))
                };
                // A pattern may allow less than the length does.
                let fits = !schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("{1,3}"));
                add(fits.then(|| long(max)), long(max + 1), "may not be more than");
            }
            if number("minLength") == Some(1) {
                add(None, json!(""), "should be at least 1 chars long");
            }
            if schema["enum"].is_array() {
                add(None, json!("Nonsense"), "Unsupported value");
            }
        }
        Value::Number(_) => {
            if let Some(max) = number("maximum") {
                add(Some(json!(max)), json!(max + 1), "should be less than or equal to");
            }
            if let Some(min) = number("minimum") {
                add(Some(json!(min)), json!(min - 1), "should be greater than or equal to");
            }
        }
        Value::Array(items) => {
            if let Some(max) = number("maxItems") {
                let many = |count: i64| Value::Array((0..count).map(|n| numbered(&items[0], n)).collect());
                // Of an enum there are not more values than the bound allows.
                let closed = schema["items"]["enum"].is_array();
                if !closed {
                    add(Some(many(max)), many(max + 1), "must have at most");
                }
            }
            if number("minItems") == Some(1) {
                add(None, json!([]), "should have at least 1 items");
            }
            for (n, item) in items.iter().enumerate() {
                gather(&schema["items"], item, &format!("{pointer}/{n}"), &format!("{field}[{n}]"), bounds);
            }
        }
        Value::Object(fields) => {
            if let Some(max) = number("maxProperties") {
                let many = |count: i64| Value::Object((0..count).map(|n| (format!("key-{n}"), json!("v"))).collect());
                add(Some(many(max)), many(max + 1), "must have at most");
                add(None, json!({}), "should have at least 1 properties");
            }
            for (name, item) in fields {
                let schema =
                    if schema["properties"][name].is_object() { &schema["properties"][name] } else { &schema["additionalProperties"] };
                gather(schema, item, &format!("{pointer}/{name}"), &format!("{field}.{name}"), bounds);
            }
        }
        _ => {}
    }
}

/// An item that differs from all others in what must be unique.
fn numbered(item: &Value, n: i64) -> Value {
    match item {
        Value::String(text) => json!(format!("{text}{n}")),
        Value::Object(fields) => {
            let mut fields = fields.clone();
            for key in ["name", "type"] {
                if let Some(Value::String(text)) = fields.get_mut(key) {
                    text.push_str(&n.to_string());
                }
            }
            Value::Object(fields)
        }
        other => other.clone(),
    }
}

/// A request that wants a Secret: csr and secretName exclude each other.
fn secret_request(namespace: &str) -> Value {
    let mut request = samples::request(namespace);
    json_patch::merge(&mut request, &json!({"metadata": {"name": "secret"}, "spec": {"csr": null, "secretName": "daypass-x"}}));
    request
}

/// A request that wants what it gets sealed.
fn sealed_request(namespace: &str) -> Value {
    let mut request = samples::request(namespace);
    json_patch::merge(&mut request, &json!({"metadata": {"name": "sealed"}, "spec": {"csr": null, "sealTo": "a public key"}}));
    request
}

/// A policy that names namespaces by label.
fn selecting_policy() -> Value {
    let mut policy = samples::cluster_policy();
    policy["spec"]["subjects"] = json!([{"namespaceSelector": {"matchLabels": {"env": "prod"}}, "serviceAccountNames": ["orders"]}]);
    policy
}

/// A class that names its authority by Secret.
fn brought_class() -> Value {
    let mut class = samples::class();
    class["spec"]["x509"]["ca"] = json!({"secretName": "corp-ca"});
    class
}

/// Fields of the samples, without positions in lists.
fn set_fields(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| set_fields(item, at, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                found.insert(format!("{at}.{name}"));
                set_fields(value, &format!("{at}.{name}"), found);
            }
        }
        _ => {}
    }
}

/// Fields that a schema has.
fn known_fields(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    if schema["items"].is_object() {
        known_fields(&schema["items"], at, found);
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        found.insert(format!("{at}.{name}"));
        known_fields(schema, &format!("{at}.{name}"), found);
    }
}

/// Strings, lists and maps that have no maximum.
fn unbounded(schema: &Value, at: &str, found: &mut Vec<String>) {
    let bounded = match schema["type"].as_str() {
        Some("string") => ["maxLength", "enum", "format"].iter().any(|bound| !schema[bound].is_null()),
        Some("array") => !schema["maxItems"].is_null(),
        Some("object") => schema["properties"].is_object() || !schema["maxProperties"].is_null(),
        _ => true,
    };
    if !bounded {
        found.push(at.to_owned());
    }
    let fields = schema["properties"].as_object().into_iter().flatten().map(|(name, schema)| (format!("{at}.{name}"), schema));
    let below = fields.chain([(format!("{at}[]"), &schema["items"]), (format!("{at}.*"), &schema["additionalProperties"])]);
    below.filter(|(_, schema)| schema.is_object()).for_each(|(at, schema)| unbounded(schema, &at, found));
}

#[test]
fn every_string_list_and_map_has_a_maximum() {
    for kind in ["AccessRequest", "CredentialLease", "CredentialClass", "ClusterAccessPolicy", "AccessPolicy", "AccessLock"] {
        let mut found = vec![];
        unbounded(&schema_of(kind), kind, &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
}

#[test]
fn no_field_of_a_kind_is_left_out_of_the_samples() {
    let with = |mut object: Value, status: Value| {
        object["status"] = status;
        object
    };
    let kinds = [
        ("AccessRequest", vec![with(samples::request("a"), samples::request_status()), secret_request("a"), sealed_request("a")]),
        ("CredentialLease", vec![with(samples::lease("a"), samples::lease_status()), samples::token_lease("a")]),
        ("CredentialClass", vec![with(samples::class(), samples::class_status()), brought_class(), samples::token_class()]),
        ("ClusterAccessPolicy", vec![with(samples::cluster_policy(), samples::policy_status()), selecting_policy()]),
        ("AccessPolicy", vec![with(samples::policy("a"), samples::policy_status())]),
        ("AccessLock", vec![with(samples::lock(), samples::lock_status()), samples::lock_of_everything()]),
    ];
    // Stamped by the API server, so nobody can try its bounds there; the lease has the same ones. A revocation has a test of its own.
    let elsewhere = ["AccessRequest.spec.requester", "AccessLock.spec.by", "CredentialLease.spec.revoke"];
    for (kind, samples) in kinds {
        let (mut known, mut set) = (BTreeSet::new(), BTreeSet::new());
        known_fields(&schema_of(kind), kind, &mut known);
        samples.iter().for_each(|sample| set_fields(sample, kind, &mut set));
        let left: Vec<_> = known.difference(&set).filter(|field| !elsewhere.iter().any(|other| field.starts_with(other))).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn specs_are_bounded_to_the_character() {
    let stage = quiet();
    let (admin, operator) = (Author::admin(&stage), Author::operator(&stage));
    let pod = Author::new(stage.pod("kinds-bounds", "asker-1", "asker").await.unwrap().client);
    let home = &stage.operator_name().namespace;
    let mut differences = vec![];
    for (author, sample) in [
        (&pod, samples::request("kinds-bounds")),
        (&pod, secret_request("kinds-bounds")),
        (&pod, sealed_request("kinds-bounds")),
        (&operator, samples::lease(home)),
        (&operator, samples::token_lease(home)),
        (&admin, samples::class()),
        (&admin, brought_class()),
        (&admin, samples::token_class()),
        (&admin, samples::cluster_policy()),
        (&admin, selecting_policy()),
        (&admin, samples::policy("default")),
        (&admin, samples::lock()),
    ] {
        differences.extend(try_all(author, Try::Create, &sample, "spec").await);
    }
    verdict(differences);
}

#[tokio::test]
async fn the_reason_of_a_revocation_is_bounded() {
    let stage = quiet();
    let mut sample = samples::lease(&stage.operator_name().namespace);
    sample["metadata"]["name"] = json!("bounded-revocation");
    let mut held = Author::operator(&stage).create(&sample).await.unwrap();
    held["spec"]["revoke"] = json!({"reason": "leaked"});
    verdict(try_all(&Author::admin(&stage), Try::Put, &held, "spec.revoke").await);
}

#[tokio::test]
async fn statuses_are_bounded_even_for_the_operator() {
    let stage = quiet();
    let (admin, operator) = (Author::admin(&stage), Author::operator(&stage));
    let pod = Author::new(stage.pod("kinds-statuses", "asker-1", "asker").await.unwrap().client);
    let home = &stage.operator_name().namespace;
    let mut differences = vec![];
    for (author, mut sample, status) in [
        (&pod, samples::request("kinds-statuses"), samples::request_status()),
        (&operator, samples::lease(home), samples::lease_status()),
        (&admin, samples::class(), samples::class_status()),
        (&admin, samples::cluster_policy(), samples::policy_status()),
        (&admin, samples::policy("default"), samples::policy_status()),
        (&admin, samples::lock(), samples::lock_status()),
    ] {
        sample["metadata"]["name"] = json!("bounded-status");
        let mut held = author.create(&sample).await.unwrap();
        held["status"] = status;
        differences.extend(try_all(&operator, Try::PutStatus, &held, "status").await);
    }
    verdict(differences);
}
