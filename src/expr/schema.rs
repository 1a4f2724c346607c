//! The shapes of the roots, from the schemas of the API types themselves: what `kubectl explain` knows, the checker knows.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value as Json;

use super::{
    limits,
    shape::{Items, Object, Shape},
};
use crate::api::AccessRequestSpec;

/// Shapes of `request`, `pod`, `node`, `namespace`, `serviceAccount`, `task` and `now`, by name.
pub(super) static ROOTS: LazyLock<BTreeMap<&'static str, Shape>> = LazyLock::new(|| {
    let pod = shape_of::<Pod>();
    let metadata = field(&pod, "metadata").unwrap_or(Shape::UNKNOWN_INPUT);
    let text = || Shape::Text(limits::INPUT_STRING_BYTES as u64);
    // No status: what the operator wrote must never let a request do more.
    let request = object([("apiVersion", text()), ("kind", text()), ("metadata", metadata), ("spec", shape_of::<AccessRequestSpec>())]);
    BTreeMap::from([
        ("request", request),
        ("pod", pod),
        ("node", shape_of::<Node>()),
        ("namespace", shape_of::<Namespace>()),
        ("serviceAccount", shape_of::<ServiceAccount>()),
        ("task", object([("kind", text()), ("name", text())])),
        ("now", Shape::Time),
    ])
});

fn object<const N: usize>(fields: [(&str, Shape); N]) -> Shape {
    Shape::Object(Arc::new(Object { fields: fields.map(|(name, shape)| (name.to_owned(), shape)).into() }))
}

fn field(shape: &Shape, name: &str) -> Option<Shape> {
    match shape {
        Shape::Object(object) => object.fields.get(name).cloned(),
        _ => None,
    }
}

fn shape_of<T: JsonSchema>() -> Shape {
    let schema = SchemaGenerator::default().into_root_schema_for::<T>().to_value();
    let definitions = &schema["$defs"];
    Reader { definitions, known: BTreeMap::new() }.shape(&schema, limits::INPUT_ITEMS)
}

struct Reader<'a> {
    definitions: &'a Json,
    /// Shapes of definitions; `None` while one is being read, so that a type that holds itself ends in "anything".
    known: BTreeMap<&'a str, Option<Shape>>,
}

impl<'a> Reader<'a> {
    fn shape(&mut self, schema: &'a Json, most_items: usize) -> Shape {
        if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/")) {
            return self.definition(name);
        }
        if schema["x-kubernetes-int-or-string"] == true {
            return Shape::UNKNOWN_INPUT;
        }
        // How schemars writes an optional reference, and an enum with documented variants.
        let alternatives = ["anyOf", "oneOf", "allOf"].iter().find_map(|key| schema[key].as_array());
        if let Some(first) = alternatives.and_then(|all| all.iter().find(|one| one["type"] != "null")) {
            return self.shape(first, most_items);
        }
        let kind = match &schema["type"] {
            Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).find(|kind| *kind != "null"),
            kind => kind.as_str(),
        };
        match kind {
            Some("boolean") => Shape::Bool,
            Some("integer") => Shape::Int,
            Some("number") => Shape::Double,
            Some("string") => Shape::Text(limits::INPUT_STRING_BYTES as u64),
            Some("array") => Shape::List(Items::of_input(self.shape(&schema["items"], limits::INPUT_ITEMS), most_items)),
            Some("object") => self.object(schema),
            _ => Shape::UNKNOWN_INPUT,
        }
    }

    fn object(&mut self, schema: &'a Json) -> Shape {
        if let Some(fields) = schema["properties"].as_object() {
            let fields = fields.iter().map(|(name, schema)| (name.clone(), self.shape(schema, limits::items_of(name))));
            return Shape::Object(Arc::new(Object { fields: fields.collect() }));
        }
        match &schema["additionalProperties"] {
            values @ Json::Object(_) => Shape::Map(Items::of_input(self.shape(values, limits::INPUT_ITEMS), limits::INPUT_ENTRIES)),
            _ => Shape::UNKNOWN_INPUT,
        }
    }

    fn definition(&mut self, name: &'a str) -> Shape {
        if let Some(known) = self.known.get(name) {
            return known.clone().unwrap_or(Shape::UNKNOWN_INPUT);
        }
        self.known.insert(name, None);
        let shape = self.shape(&self.definitions[name], limits::INPUT_ITEMS);
        self.known.insert(name, Some(shape.clone()));
        shape
    }
}

/// An object with every field that its schema knows, for the evaluation of a sample. Fields of unknown type are left out.
pub(super) fn sample(root: &str) -> Json {
    ROOTS.get(root).and_then(sample_of).unwrap_or_default()
}

fn sample_of(shape: &Shape) -> Option<Json> {
    match shape {
        Shape::Bool => Some(true.into()),
        Shape::Int => Some(1.into()),
        Shape::Double => Some(0.5.into()),
        // A string that most conversions take.
        Shape::Text(_) => Some("2026-01-31T00:00:00Z".into()),
        Shape::List(items) => Some(sample_of(&items.of).into_iter().collect()),
        Shape::Map(items) => Some(sample_of(&items.of).map(|value| ("sample".to_owned(), value)).into_iter().collect()),
        Shape::Object(object) => Some(object.fields.iter().filter_map(|(name, shape)| Some((name.clone(), sample_of(shape)?))).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(root: &str, path: &str) -> Shape {
        path.split('.').fold(ROOTS[root].clone(), |shape, name| match (&shape, name) {
            (Shape::List(items), "[]") | (Shape::Map(items), "*") => Shape::clone(&items.of),
            _ => field(&shape, name).unwrap_or_else(|| panic!("{name} of {root}.{path}")),
        })
    }

    #[test]
    fn every_root_has_the_fields_of_its_api_type() {
        let text = Shape::Text(4096);
        assert_eq!(at("pod", "spec.containers.[].image"), text);
        assert_eq!(at("pod", "spec.containers.[].securityContext.privileged"), Shape::Bool);
        assert_eq!(at("pod", "metadata.labels.*"), text);
        assert_eq!(at("pod", "spec.priority"), Shape::Int);
        assert_eq!(at("node", "spec.taints.[].key"), text);
        assert_eq!(at("node", "status.nodeInfo.kernelVersion"), text);
        assert_eq!(at("namespace", "metadata.labels.*"), text);
        assert_eq!(at("serviceAccount", "automountServiceAccountToken"), Shape::Bool);
        assert_eq!(at("request", "spec.ttl"), text);
        assert_eq!(at("request", "spec.requester.podUID"), text);
        assert_eq!(at("request", "metadata.creationTimestamp"), text);
        assert_eq!(at("task", "kind"), text);
        assert_eq!(ROOTS["now"], Shape::Time);
    }

    #[test]
    fn quantities_and_ports_may_be_of_either_type() {
        assert!(at("pod", "spec.containers.[].resources.limits.*").is_unknown());
        assert!(at("pod", "spec.containers.[].livenessProbe.httpGet.port").is_unknown());
    }

    #[test]
    fn a_request_shows_no_status() {
        assert_eq!(field(&ROOTS["request"], "status"), None);
    }

    #[test]
    fn a_sample_has_every_field_and_fits_the_bounds() {
        let pod = sample("pod");
        assert!(pod["spec"]["containers"][0]["image"].is_string());
        assert!(pod["spec"]["hostNetwork"].is_boolean());
        assert!(pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["path"].is_string());
    }
}
