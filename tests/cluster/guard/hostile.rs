//! Others that rewrite requests at admission, as policies or as webhooks: whatever they make of a requester, a wrong one is never stored.

use std::time::Duration;

use devcluster::wait;
use serde_json::{Value, json};
use stage::Pod;

use super::{
    calls::{Answer, Caller, create, delete},
    matrix::{Matrix, refused},
    webhook::Webhook,
    world::{ADMISSION, own_requester, request_with, requests, somebody_else, with_requester, world},
};

/// Leaves a mark on every request that it rewrites, so that a test sees when it acts.
const MARK: &str = "hostile";

#[tokio::test]
async fn a_hostile_policy_that_rewrites_the_stamp_is_put_right_or_refused() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let admin = world.admin();
    let (pod, asker) = world.pod("hostile", "orders-0", "orders").await;
    // The order of mutating policies is not specified and differs from one creation to the next: some of these come after the stamp.
    for round in 0..4 {
        let name = format!("hostile-{round}");
        install(&admin, &policies(&name, "hostile")).await;
        let answer = once_it_acts(&asker, "hostile").await;
        matrix.same("what is stored is who asked, or nothing", true, stored_truly(&answer, &pod));
        remove(&admin, &policies(&name, "hostile")).await;
    }
    matrix.holds();
}

#[tokio::test]
async fn a_hostile_policy_that_has_the_last_word_over_the_requester_is_refused_by_verify() {
    let (world, mut matrix) = (world().await, Matrix::default());
    world.unstamped("hostile-last").await;
    let admin = world.admin();
    let (pod, asker) = world.pod("hostile-last", "orders-0", "orders").await;
    let own = || create(requests("hostile-last"), with_requester(json!({"generateName": "h-"}), own_requester(&pod)));
    install(&admin, &policies("hostile-last", "hostile-last")).await;
    world.until(&asker, &own(), 403).await;
    matrix.one("a true request, rewritten", &asker, own(), refused("verify").says("not who asked")).await;
    remove(&admin, &policies("hostile-last", "hostile-last")).await;
    matrix.holds();
}

#[tokio::test]
async fn a_hostile_webhook_that_rewrites_the_stamp_is_put_right_or_refused() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let admin = world.admin();
    let webhook = Webhook::start(json!([
        {"op": "add", "path": "/spec/requester", "value": somebody_else()},
        {"op": "add", "path": "/metadata/labels", "value": {MARK: "yes"}},
    ]));
    world.unstamped("hostile-webhook-last").await;
    for (namespace, reinvocation) in
        [("hostile-webhook", "Never"), ("hostile-webhook-again", "IfNeeded"), ("hostile-webhook-last", "Never")]
    {
        let (pod, asker) = world.pod(namespace, "orders-0", "orders").await;
        let configuration = [webhook.configuration(namespace, reinvocation)];
        install(&admin, &configuration).await;
        let answer = once_it_acts(&asker, namespace).await;
        matrix.same(&format!("{namespace}: what is stored is who asked, or nothing"), true, stored_truly(&answer, &pod));
        if namespace == "hostile-webhook-last" {
            matrix.same("with no stamp after it, nothing", 403, answer.code);
        }
        remove(&admin, &configuration).await;
    }
    matrix.same("the webhook was asked", true, webhook.asked() >= 3);
    matrix.holds();
}

/// Asks, without saying who, until the hostile one has had its say: it left its mark, or verify refused what it made.
async fn once_it_acts(asker: &Caller, namespace: &str) -> Answer {
    let call = create(requests(namespace), request_with(json!({"generateName": "h-"})));
    let acted = |answer: &Answer| answer.text.contains(MARK) || (answer.code == 403 && answer.text.contains("not who asked"));
    let looked = wait::until("the hostile one to act", Duration::from_secs(20), || async {
        let answer = asker.send(&call).await;
        acted(&answer).then_some(answer)
    });
    looked.await.unwrap()
}

fn stored_truly(answer: &Answer, pod: &Pod) -> bool {
    match answer.code {
        201 => answer.json()["spec"]["requester"] == own_requester(pod),
        code => code == 403 && answer.text.contains("verify.daypass.dev"),
    }
}

/// A mutating policy that makes every requester of this namespace somebody else, and its binding.
fn policies(name: &str, namespace: &str) -> [Value; 2] {
    let fields = somebody_else().as_object().unwrap().iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(", ");
    let rewrite = format!(
        r#"[JSONPatch{{op: "add", path: "/spec/requester", value: Object.spec.requester{{{fields}}}}},
            JSONPatch{{op: "add", path: "/metadata/labels", value: {{"{MARK}": "yes"}}}}]"#
    );
    let constraints = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "resourceRules": [{"apiGroups": ["daypass.dev"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["accessrequests"]}],
    });
    let mutations = json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": rewrite}}]);
    let object = |kind: &str, spec: Value| {
        let version = "admissionregistration.k8s.io/v1";
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
    };
    [
        object(
            "MutatingAdmissionPolicy",
            json!({"failurePolicy": "Fail", "reinvocationPolicy": "IfNeeded", "matchConstraints": constraints, "mutations": mutations}),
        ),
        object("MutatingAdmissionPolicyBinding", json!({"policyName": name})),
    ]
}

fn path_of(object: &Value) -> String {
    let plural = match object["kind"].as_str().unwrap() {
        "MutatingAdmissionPolicy" => "mutatingadmissionpolicies",
        "MutatingAdmissionPolicyBinding" => "mutatingadmissionpolicybindings",
        _ => "mutatingwebhookconfigurations",
    };
    format!("{ADMISSION}/{plural}")
}

async fn install(admin: &Caller, objects: &[Value]) {
    for object in objects {
        let answer = admin.send(&create(path_of(object), object.clone())).await;
        assert_eq!(answer.code, 201, "{}", answer.text);
    }
}

async fn remove(admin: &Caller, objects: &[Value]) {
    for object in objects {
        let answer = admin.send(&delete(format!("{}/{}", path_of(object), object["metadata"]["name"].as_str().unwrap()))).await;
        assert_eq!(answer.code, 200, "{}", answer.text);
    }
}
