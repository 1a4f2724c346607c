//! The guard missing, weakened, or never right: nothing is issued, it is said, and only a new proof helps.

use serde_json::{Value, json};
use stage::OperatorOptions;

use super::scene::{Part, SHOP, Scene};
use crate::guard::calls::{delete, merge};

/// Something done to a spec.
type Edit = fn(&mut Value);

/// Each leaves a guard that is not the one that was proven. Those that spare the operator's namespace do not show in its canary.
const WEAKENED: [(&str, Part, Edit); 6] = [
    ("the binding only audits", Part::Binding, |spec| spec["validationActions"] = json!(["Audit"])),
    ("the binding spares a namespace", Part::Binding, |spec| spec["matchResources"] = json!({"namespaceSelector": but(SHOP)})),
    ("the policy spares a namespace", Part::Policy, |spec| spec["matchConstraints"]["namespaceSelector"] = but(SHOP)),
    ("the policy has a condition more", Part::Policy, |spec| {
        spec["matchConditions"] = json!([{"name": "not-the-shop", "expression": format!("request.namespace != '{SHOP}'")}]);
    }),
    ("the policy passes what it cannot judge", Part::Policy, |spec| spec["failurePolicy"] = json!("Ignore")),
    ("one of its rules says nothing", Part::Policy, |spec| spec["validations"][2]["expression"] = json!("true || variables.create")),
];

fn but(namespace: &str) -> Value {
    json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [namespace]}]})
}

#[tokio::test]
async fn a_guard_that_goes_missing_or_is_weakened_stops_everything_until_it_is_proven_anew() {
    let scene = Scene::set(Default::default(), async |_| OperatorOptions::default()).await;
    scene.grants().await;
    let first = scene.since().await;
    let mut of_the_gaps = vec![];

    for (harm, part) in [("the policy is deleted", Part::Policy), ("the binding is deleted", Part::Binding)] {
        scene.remove(part).await;
        scene.it_is_said(harm, "is missing").await;
        let request = scene.ask().await;
        scene.denied_for_the_gap(&request, harm).await;
        scene.create(part).await;
        assert!(scene.since().await >= request.metadata.creation_timestamp.as_ref().unwrap().0, "{harm}: proven anew");
        of_the_gaps.push((harm, request));
    }
    for (harm, part, edit) in WEAKENED {
        let mut spec = part.shipped();
        edit(&mut spec);
        scene.set_spec(part, spec).await;
        scene.it_is_said(harm, "is not the one of this version").await;
        let request = scene.ask().await;
        scene.denied_for_the_gap(&request, harm).await;
        scene.set_spec(part, part.shipped()).await;
        assert!(scene.since().await >= request.metadata.creation_timestamp.as_ref().unwrap().0, "{harm}: proven anew");
        of_the_gaps.push((harm, request));
    }

    scene.operator.ready().await.unwrap();
    scene.metric("daypass_guard{state=\"InForce\"} 1").await;
    assert!(scene.since().await > first);
    scene.offer().await;
    scene.grants().await;
    for (harm, request) in &of_the_gaps {
        scene.denied_for_the_gap(request, harm).await;
    }
}

#[tokio::test]
async fn an_operator_that_never_saw_the_right_guard_waits_for_it() {
    // Applied in the wrong order: the API server refused the policy, and its binding was created all the same. That is silently open.
    let without_policy = async |admin: &crate::guard::calls::Caller| assert_eq!(admin.send(&delete(Part::Policy.path())).await.code, 200);
    let scene = Scene::prepare(Default::default(), without_policy, async |_| OperatorOptions::default()).await;
    scene.open().await;
    scene.stage().platform(crate::support::class(SHOP)).await.unwrap();
    scene.stage().platform(crate::support::permit(SHOP, SHOP, "orders", SHOP, json!({}))).await.unwrap();
    scene.it_is_said("a binding without its policy", "ValidatingAdmissionPolicy verify.daypass.dev is missing").await;
    let first = scene.ask().await;
    scene.denied_for_the_gap(&first, "a binding without its policy").await;

    // Unchanged is not right: a weaker policy that refuses every canary is no guard, however long it stands.
    scene.create(Part::Policy).await;
    scene.closed().await;
    scene
        .set_spec(Part::Policy, {
            let mut spec = Part::Policy.shipped();
            spec["matchConstraints"]["namespaceSelector"] = but("elsewhere");
            spec
        })
        .await;
    scene.it_is_said("a policy that is not ours", "is not the one of this version").await;
    let second = scene.ask().await;
    scene.denied_for_the_gap(&second, "a policy that is not ours").await;

    scene.set_spec(Part::Policy, Part::Policy.shipped()).await;
    scene.operator.ready().await.unwrap();
    scene.grants().await;
    for request in [&first, &second] {
        scene.denied_for_the_gap(request, "after the proof").await;
    }
    // What means nothing changes nothing.
    let since = scene.since().await;
    let note = json!({"metadata": {"annotations": {"note": "x"}}});
    for part in [Part::Policy, Part::Binding] {
        assert_eq!(scene.admin().send(&merge(part.path(), note.clone())).await.code, 200);
    }
    scene.grants().await;
    assert_eq!(scene.since().await, since);
}
