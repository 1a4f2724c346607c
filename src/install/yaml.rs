//! Manifests as YAML that people read and review: multi-line text as block scalars, fields in a stable order (`apiVersion`, `kind`,
//! `metadata`, `spec`), strings quoted wherever a YAML 1.1 reader would take them for something else.

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

/// Fields that come first, in this order; the others follow by name.
const FIRST: [&str; 11] = [
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "key",
    "failurePolicy",
    "matchConstraints",
    "matchConditions",
    "variables",
    "description",
];

/// Width at which long lines of text are folded.
const WIDTH: usize = 120;

/// Why an object cannot be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {object} as YAML: {problem}")]
pub struct YamlError {
    /// Kind and name of the object.
    pub object: String,
    /// What the writer said.
    pub problem: String,
}

/// One YAML document an object, separated by `---`.
pub fn to_yaml(objects: &[Value]) -> Result<String, YamlError> {
    let documents: Vec<String> = objects.iter().map(document).collect::<Result<_, _>>()?;
    Ok(documents.join("---\n"))
}

fn document(object: &Value) -> Result<String, YamlError> {
    let mut options = serde_saphyr::SerializerOptions::default();
    options.folded_wrap_chars = WIDTH;
    serde_saphyr::to_string_with_options(&Ordered(object), options).map_err(|error| YamlError {
        object: format!("{} {}", object["kind"].as_str().unwrap_or_default(), object["metadata"]["name"].as_str().unwrap_or_default()),
        problem: error.to_string(),
    })
}

/// A value whose fields are written as [`FIRST`] says.
struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let rank = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
                let mut sorted: Vec<_> = fields.iter().collect();
                sorted.sort_by_key(|(name, _)| (rank(name), name.as_str()));
                let mut map = serializer.serialize_map(Some(sorted.len()))?;
                for (name, value) in sorted {
                    map.serialize_entry(name, &Ordered(value))?;
                }
                map.end()
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Ordered)),
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::install::{Values, manifests};

    #[test]
    fn every_manifest_reads_back_as_it_was() {
        let values = Values { secret_namespaces: vec!["shop".into()], ..Values::default() };
        for object in manifests(&values) {
            let text = to_yaml(std::slice::from_ref(&object)).unwrap();
            assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), object, "{text}");
        }
    }

    #[test]
    fn expressions_of_several_lines_are_blocks() {
        let text = to_yaml(&[json!({"expression": "a ||\n  b"})]).unwrap();
        assert!(text.starts_with("expression: |"), "{text}");
        assert!(text.contains("\n  a ||\n    b\n"), "{text}");
    }

    #[test]
    fn text_that_looks_like_something_else_stays_text() {
        for text in ["true", "no", "1", "1.0", "null", "~", "", "a: b", "{a}", "*", "0x1f", "2026-01-01", "# no comment", " x "] {
            let written = to_yaml(&[json!({"value": text})]).unwrap();
            assert_eq!(serde_saphyr::from_str::<Value>(&written).unwrap(), json!({"value": text}), "{written}");
        }
    }

    #[test]
    fn the_head_of_a_manifest_comes_first() {
        let text = to_yaml(&[json!({"spec": {"a": 1}, "metadata": {"name": "x"}, "kind": "K", "apiVersion": "v1"})]).unwrap();
        assert_eq!(text, "apiVersion: v1\nkind: K\nmetadata:\n  name: x\nspec:\n  a: 1\n");
    }
}
