//! `kubectl explain`: every field says what it is for.

use serde_json::Value;

use super::{quiet::quiet, trial::schema_of};

const KINDS: [&str; 6] = ["AccessRequest", "CredentialLease", "CredentialClass", "ClusterAccessPolicy", "AccessPolicy", "AccessLock"];

/// Fields without description, by path.
fn undescribed(schema: &Value, at: &str) -> Vec<String> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let mut found: Vec<String> = fields
        .flat_map(|(name, schema)| {
            let at = format!("{at}.{name}");
            let described = schema["description"].as_str().is_some_and(|text| text.len() > 3 && text.trim() == text);
            (!described).then(|| at.clone()).into_iter().chain(undescribed(schema, &at)).collect::<Vec<_>>()
        })
        .collect();
    if schema["items"].is_object() {
        found.extend(undescribed(&schema["items"], at));
    }
    found
}

#[test]
fn every_field_of_every_kind_is_described() {
    for kind in KINDS {
        let schema = schema_of(kind);
        assert!(schema["description"].as_str().is_some_and(|text| !text.is_empty()), "{kind}");
        assert_eq!(undescribed(&schema, kind), Vec::<String>::new());
    }
}

#[tokio::test]
async fn kubectl_explains_spec_and_status_of_every_kind() {
    let stage = quiet();
    for kind in KINDS {
        let schema = schema_of(kind);
        for part in ["spec", "status"] {
            let output = stage.cluster.kubectl(["explain", &format!("{kind}.{part}").to_lowercase()]).await.unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success() && text.contains(&format!("KIND:       {kind}")), "{kind}.{part}: {text}");
            assert!(!text.contains("<no description>"), "{text}");
            for (name, field) in schema["properties"][part]["properties"].as_object().unwrap() {
                assert!(text.contains(&format!("  {name}\t<")), "{kind}.{part}.{name}: {text}");
                // kubectl breaks lines, and begins every description on a line of its own.
                let begins: Vec<&str> = field["description"].as_str().unwrap().split_whitespace().take(3).collect();
                assert!(text.contains(&begins.join(" ")), "{kind}.{part}.{name}: {begins:?} in {text}");
            }
        }
    }
}
