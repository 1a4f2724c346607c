//! The templates of the chart `charts/daypass`. `Chart.yaml`, `values.yaml` and its schema are written by hand; tests hold them to the
//! defaults of `daypass::install`.
//!
//! CustomResourceDefinitions are templates that Helm keeps on uninstall (`helm.sh/resource-policy: keep`), not files of `crds/`, which Helm
//! would install once and never upgrade.

use std::collections::BTreeMap;

use daypass::install::{self, Account, OperatorName, Values, guard, yaml::to_yaml};
use serde_json::{Value, json};

use super::{
    CRD_HEADER, Error, Files, HEADER,
    template::{Placeholder, Shape, template},
};

const NAMESPACE: &str = "__secret_namespace__";
/// Namespace and name.
const ACCOUNT: [&str; 2] = ["__account_namespace__", "__account_name__"];

const fn placeholder(mark: &'static str, expression: &'static str, shape: Shape) -> Placeholder {
    Placeholder { mark, expression, shape }
}

const PLACEHOLDERS: &[Placeholder] = &[
    placeholder("__namespace__", "$.Release.Namespace", Shape::Text),
    placeholder("__service_account__", "$.Values.serviceAccountName", Shape::Text),
    placeholder("__image__", r#"printf "%s:%s" $.Values.image.repository ($.Values.image.tag | default $.Chart.AppVersion)"#, Shape::Text),
    placeholder("__pull_policy__", "$.Values.image.pullPolicy", Shape::Text),
    placeholder("__args__", "$.Values.args", Shape::Items),
    placeholder("__drain_args__", "$.Values.drainArgs", Shape::Items),
    placeholder("__resources__", "$.Values.resources", Shape::Tree),
    placeholder("__image_pull_secrets__", "$.Values.imagePullSecrets", Shape::OptionalTree),
    placeholder("__node_selector__", "$.Values.nodeSelector", Shape::OptionalTree),
    placeholder("__tolerations__", "$.Values.tolerations", Shape::OptionalTree),
    placeholder("__priority_class__", "$.Values.priorityClassName", Shape::OptionalText),
    placeholder(NAMESPACE, "$namespace", Shape::Text),
    placeholder(ACCOUNT[0], "$account.namespace", Shape::Text),
    placeholder(ACCOUNT[1], "$account.name", Shape::Text),
];

/// The stamp policies go in where they are served: from Kubernetes 1.36, or wherever the API server says so.
const IF_STAMPED: &str = r#"{{- $served := $.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" }}
{{- $served = or $served (semverCompare ">=1.36.0-0" $.Capabilities.KubeVersion.Version) }}
{{- if or (eq $.Values.stamp "Always") (and (eq $.Values.stamp "Auto") $served) }}
"#;
const IF_NAMESPACES: &str = "{{- range $namespace := $.Values.secretNamespaces }}\n---\n";
const IF_ACCOUNTS: &str = "{{- range $account := $.Values.serviceAccounts }}\n---\n";
const END: &str = "{{- end }}\n";

pub(super) fn files(crds: &BTreeMap<String, Value>) -> Result<Files, Error> {
    let mut files = Files::new();
    let mut add = |name: &'static str, header: &str, objects: &[Value], around: (&str, &str)| -> Result<(), Error> {
        let body = template(name, &to_yaml(objects)?, PLACEHOLDERS)?;
        let path = format!("charts/daypass/templates/{name}.yaml");
        files.insert(path.into(), format!("{header}{}{body}{}", around.0, around.1));
        Ok(())
    };
    let crds: Vec<Value> = crds.values().cloned().map(kept).collect();
    add("crds", CRD_HEADER, &crds, ("", ""))?;
    for part in install::parts(&values()) {
        match part.name {
            // Helm makes it (--create-namespace) before it looks at any template.
            "namespace" => {}
            "guard" => {
                let (stamps, verdicts): (Vec<Value>, Vec<Value>) = part.objects.into_iter().partition(is_stamp);
                add("guard", HEADER, &verdicts, ("", ""))?;
                add("stamp", HEADER, &stamps, (IF_STAMPED, END))?;
            }
            name @ "secret-namespaces" => add(name, HEADER, &part.objects, (IF_NAMESPACES, END))?,
            name @ "service-accounts" => add(name, HEADER, &part.objects, (IF_ACCOUNTS, END))?,
            name => add(name, HEADER, &part.objects, ("", ""))?,
        }
    }
    let hooks: Vec<Value> = install::drain::objects(&values()).into_iter().map(before_deletion).collect();
    add("drain", HEADER, &hooks, ("", ""))?;
    Ok(files)
}

/// An installation with a placeholder wherever the chart has a value.
fn values() -> Values {
    let pod = json!({
        "imagePullSecrets": "__image_pull_secrets__",
        "nodeSelector": "__node_selector__",
        "tolerations": "__tolerations__",
        "priorityClassName": "__priority_class__",
    });
    Values {
        operator: OperatorName { namespace: "__namespace__".into(), service_account: "__service_account__".into() },
        image: "__image__".into(),
        image_pull_policy: "__pull_policy__".into(),
        secret_namespaces: vec![NAMESPACE.into()],
        service_accounts: vec![Account { namespace: ACCOUNT[0].into(), name: ACCOUNT[1].into() }],
        args: vec!["__args__".into()],
        drain_args: vec!["__drain_args__".into()],
        resources: json!("__resources__"),
        pod: pod.as_object().cloned().unwrap_or_default(),
    }
}

fn is_stamp(object: &Value) -> bool {
    object["metadata"]["name"].as_str().is_some_and(|name| guard::STAMPS.contains(&name))
}

fn kept(mut crd: Value) -> Value {
    crd["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("keep");
    crd
}

/// A hook that Helm makes before it deletes anything, and takes away when all of them have succeeded; a Job that failed is left to be read.
/// The rights come first.
fn before_deletion(mut object: Value) -> Value {
    let weight = if object["kind"] == "Job" { "0" } else { "-1" };
    object["metadata"]["annotations"] = json!({
        "helm.sh/hook": "pre-delete",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
        "helm.sh/hook-weight": weight,
    });
    object
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::generate::crds;

    fn chart(file: &str) -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/daypass").join(file);
        serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn no_placeholder_is_left_and_none_is_unused() {
        let files = files(&crds().unwrap()).unwrap();
        let all: String = files.values().map(String::as_str).collect();
        for placeholder in PLACEHOLDERS {
            assert!(!all.contains(placeholder.mark), "{}", placeholder.mark);
            assert!(all.contains(placeholder.expression), "{}", placeholder.expression);
        }
        assert!(!all.contains("__"), "an unknown placeholder");
    }

    #[test]
    fn the_chart_has_the_defaults_of_the_source() {
        let (values, defaults, about) = (chart("values.yaml"), Values::default(), chart("Chart.yaml"));
        let image = format!("{}:{}", values["image"]["repository"].as_str().unwrap(), about["appVersion"].as_str().unwrap());
        assert_eq!(image, defaults.image);
        assert_eq!(values["image"]["pullPolicy"], defaults.image_pull_policy);
        assert_eq!(values["serviceAccountName"], defaults.operator.service_account);
        assert_eq!(values["secretNamespaces"], json!(defaults.secret_namespaces));
        assert_eq!((&values["serviceAccounts"], defaults.service_accounts.len()), (&json!([]), 0));
        assert_eq!(values["args"], json!(defaults.args));
        assert_eq!(values["drainArgs"], json!(defaults.drain_args));
        assert_eq!(values["resources"], defaults.resources);
    }

    #[test]
    fn every_value_has_a_place_in_the_schema_which_knows_no_others() {
        let (values, schema) = (chart("values.yaml"), chart("values.schema.json"));
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&values), keys(&schema["properties"]));
        assert_eq!(keys(&values["image"]), keys(&schema["properties"]["image"]["properties"]));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["image"]["additionalProperties"], false);
    }

    #[test]
    fn helm_keeps_the_definitions_because_deleting_one_would_forget_its_leases() {
        let files = files(&crds().unwrap()).unwrap();
        let crds = &files[Path::new("charts/daypass/templates/crds.yaml")];
        let count = |text: &str| crds.matches(text).count();
        assert_eq!(count("\nkind: CustomResourceDefinition\n"), daypass::api::crds().len());
        assert_eq!(count("helm.sh/resource-policy: keep"), daypass::api::crds().len());
    }
}
