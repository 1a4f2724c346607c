//! What structure can refuse, the schema refuses: a sync fails with the field named, instead of a workload.

use serde_json::{Value, json};

use crate::{
    scene::{Scene, merge},
    support::{class, permit, shared},
};

#[tokio::test]
async fn a_ttl_that_is_none_is_refused_wherever_it_stands() {
    let here = shared();
    let scene = Scene::set(&here.stage, "input-ttl").await;
    let csr = stage::Csr::new().unwrap();
    for ttl in ["0s", "-5m", "soon", "5", "", "25h", "1d", "1.5h", "5m5m5m5m", "99999999s"] {
        let refused = scene.pod.ask_with_csr(&scene.name, Some(ttl), &csr).await.unwrap_err().to_string();
        assert!(refused.contains("spec.ttl"), "{ttl:?}: {refused}");
        let refused = applied(&here.stage, permit("input-ttl-bad", "a", "b", "c", json!({"ttl": {"max": ttl}}))).await.unwrap_err();
        assert!(refused.contains("spec.ttl.max"), "{ttl:?}: {refused}");
    }
    let longer = applied(&here.stage, changed(class("input-ttl-bad"), json!({"ttl": {"max": "16m"}}))).await.unwrap_err();
    assert!(longer.contains("ttl.max must be at most 15m"), "{longer}");
}

#[tokio::test]
async fn a_policy_speaks_of_somebody_and_something() {
    let here = shared();
    let subject = |fields: Value| {
        let mut subject = json!({"namespaces": ["a"], "serviceAccountNames": ["b"]});
        merge(&mut subject, fields);
        json!({"subjects": [subject]})
    };
    let rows = [
        (json!({"subjects": []}), "spec.subjects"),
        (json!({"subjects": null}), "spec.subjects"),
        (json!({"classes": []}), "spec.classes"),
        (json!({"classes": [""]}), "spec.classes"),
        (json!({"classes": null}), "spec.classes"),
        (subject(json!({"serviceAccountNames": []})), "serviceAccountNames"),
        (subject(json!({"namespaces": null})), "exactly one of namespaces and namespaceSelector"),
        (subject(json!({"namespaceSelector": {"matchLabels": {"a": "b"}}})), "exactly one of namespaces and namespaceSelector"),
        (subject(json!({"podSelector": {"matchLabels": {}}})), "matchLabels"),
        (json!({"effect": "Allow"}), "spec.effect"),
        (json!({"effect": "Forbid", "limits": {"live": 1}}), "belong to effect Permit"),
        (json!({"limits": {"live": 0}}), "spec.limits.live"),
        (json!({"when": ""}), "spec.when"),
    ];
    for (fields, said) in rows {
        let policy = changed(permit("input-schema", "a", "b", "c", json!({})), fields.clone());
        let refused = applied(&here.stage, policy).await.unwrap_err();
        assert!(refused.contains(said), "{fields}: {refused}");
    }
}

#[tokio::test]
async fn a_request_names_a_class_and_one_way_of_delivery() {
    let here = shared();
    let scene = Scene::set(&here.stage, "input-request").await;
    let csr = stage::Csr::new().unwrap().pem;
    let rows = [
        (json!({"csr": csr}), "spec.className"),
        (json!({"className": ""}), "spec.className"),
        (json!({"className": "c", "csr": csr, "secretName": "daypass-a"}), "csr and secretName exclude each other"),
        (json!({"className": "c", "secretName": "database-password"}), "spec.secretName"),
        (json!({"className": "c", "secretName": "daypass-../escape"}), "spec.secretName"),
        (json!({"className": "c", "purpose": "p".repeat(257)}), "spec.purpose"),
    ];
    for (spec, said) in rows {
        let refused = scene.pod.ask("bad", spec).await.unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

fn changed(mut object: Value, fields: Value) -> Value {
    merge(&mut object["spec"], fields);
    object
}

async fn applied(stage: &stage::Stage, object: Value) -> Result<(), String> {
    stage.platform(object).await.map_err(|error| error.to_string())
}
