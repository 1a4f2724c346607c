//! Manifests as YAML that people read and review: multi-line text as block scalars, fields in a stable order (`apiVersion`, `kind`,
//! `metadata`, `spec`), strings quoted wherever a YAML 1.1 reader would take them for something else.

use serde_json::Value;

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
    serde_saphyr::to_string_with_options(object, options).map_err(|error| YamlError {
        object: format!("{} {}", object["kind"].as_str().unwrap_or_default(), object["metadata"]["name"].as_str().unwrap_or_default()),
        problem: error.to_string(),
    })
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
