//! What can only be tried on a control plane of one's own: taking the guard and the kinds apart, and leaving.

use std::time::Duration;

use daypass::install::guard::{VERIFY, objects};
use devcluster::{wait, workload};
use serde_json::{Value, json};
use stage::apply;

use super::{
    calls::{Caller, create, delete, get, json_patch, merge},
    matrix::{Matrix, case, code, created, passes, refused},
    world::{ADMISSION, HOME, LEASES, World, lease, request, requests},
};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

#[tokio::test]
async fn the_guard_is_sound_as_kubernetes_sees_it_and_its_generation_tells_every_edit() {
    let (world, mut matrix) = (World::new().await, Matrix::default());
    let admin = world.admin();
    for policy in ["verify", "ledger", "confine", "reserve", "leave"] {
        let path = format!("{ADMISSION}/validatingadmissionpolicies/{policy}.daypass.dev");
        let checked = wait::until("the type check of the policy", Duration::from_secs(60), || async {
            let policy = admin.send(&get(&path)).await.json();
            (policy["status"]["observedGeneration"] == policy["metadata"]["generation"])
                .then(|| policy["status"]["typeChecking"]["expressionWarnings"].clone())
        });
        matrix.same(&format!("the type check of {policy} warns of nothing"), Value::Null, checked.await.unwrap());
    }

    verify_holds_without_the_schema(&world, &mut matrix).await;

    let (policy, binding) =
        (format!("{ADMISSION}/validatingadmissionpolicies/{VERIFY}"), format!("{ADMISSION}/validatingadmissionpolicybindings/{VERIFY}"));
    let before = (sight(&admin, &policy).await, sight(&admin, &binding).await);
    for object in objects(world.stage().operator_name()) {
        apply(&admin.0, &object).await.unwrap();
    }
    let annotate = json!({"metadata": {"annotations": {"note": "x"}, "labels": {"note": "x"}}});
    matrix.one("annotating the policy", &admin, merge(&policy, annotate.clone()), passes()).await;
    matrix.one("annotating the binding", &admin, merge(&binding, annotate), passes()).await;
    let same = (sight(&admin, &policy).await, sight(&admin, &binding).await);
    matrix.same("applying it again and annotating it change neither UID nor generation", &before, &same);

    for (path, weak, strong) in [
        (&policy, json!({"failurePolicy": "Ignore"}), json!({"failurePolicy": "Fail"})),
        (&binding, json!({"validationActions": ["Warn"]}), json!({"validationActions": ["Deny"]})),
    ] {
        matrix.one("an edit", &admin, merge(path, json!({"spec": weak})), passes()).await;
        matrix.one("its undoing", &admin, merge(path, json!({"spec": strong})), passes()).await;
    }
    let (edited, edited_binding) = (sight(&admin, &policy).await, sight(&admin, &binding).await);
    matrix.same("an edit and its undoing raise the policy's generation by two", before.0.1 + 2, edited.1);
    matrix.same("and the binding's", before.1.1 + 2, edited_binding.1);

    matrix.one("the binding is deleted", &admin, delete(&binding), passes()).await;
    world.until(&world.operator(), &world.canary(Some("podUID")), 201).await;
    matrix.one("a canary is admitted: so the operator sees the gap", &world.operator(), world.canary(Some("podUID")), created()).await;
    for object in objects(world.stage().operator_name()) {
        apply(&admin.0, &object).await.unwrap();
    }
    world.until(&world.operator(), &world.canary(Some("podUID")), 403).await;
    let again = sight(&admin, &binding).await;
    matrix.same("made again it is another one, at generation 1", (true, 1), (again.0 != edited_binding.0, again.1));
    matrix.holds();
}

async fn verify_holds_without_the_schema(world: &World, matrix: &mut Matrix) {
    let admin = world.admin();
    let (_, asker) = world.pod("alone", "orders-0", "orders").await;
    matrix.one("a pod asks", &asker, create(requests("alone"), request("a")), created()).await;
    let rules = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations";
    let drop = json_patch(format!("{CRDS}/accessrequests.daypass.dev"), json!([{"op": "remove", "path": rules}]));
    matrix.one("the schema's rule on spec is taken away", &admin, drop, passes()).await;
    let edit = merge(format!("{}/a", requests("alone")), json!({"spec": {"className": "other"}}));
    matrix.soon("then verify refuses an edit of the spec", &asker, edit.clone(), refused("verify").says("spec is immutable")).await;
    matrix.one("by an admin too", &admin, edit, refused("verify").says("spec is immutable")).await;
}

/// What the operator remembers of an admission object.
async fn sight(admin: &Caller, path: &str) -> (String, i64) {
    let object = admin.send(&get(path)).await.json();
    (object["metadata"]["uid"].as_str().unwrap_or_default().to_owned(), object["metadata"]["generation"].as_i64().unwrap_or_default())
}

#[tokio::test]
async fn nothing_that_holds_leases_is_deleted_before_a_drain_and_a_drain_that_lied_still_waits() {
    let (world, mut matrix) = (World::new().await, Matrix::default());
    let (admin, operator) = (world.admin(), world.operator());
    let (home, crd) = (format!("/api/v1/namespaces/{HOME}"), format!("{CRDS}/credentialleases.daypass.dev"));
    let drained = json!({"metadata": {"annotations": {"daypass.dev/drained": "a lie"}}});
    let as_operator = world.pretending(&world.own.requester.username, None, &[]);
    matrix
        .play([
            case("the operator's namespace: refused until drained", &admin, delete(&home), refused("leave")),
            case("in the foreground too", &admin, delete(format!("{home}?propagationPolicy=Foreground")), refused("leave")),
            case("a CRD: refused until drained", &admin, delete(&crd), refused("leave")),
            case("all CRDs at once: refused", &admin, delete(CRDS), refused("leave")),
            case(
                "another namespace is none of its business",
                &admin,
                create("/api/v1/namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "passing"}})),
                created(),
            ),
            case("and goes", &admin, delete("/api/v1/namespaces/passing"), passes()),
            case("the operator opens a lease", &operator, create(LEASES, lease("debt")), created()),
            case("somebody marks the namespace drained that is not", &admin, merge(&home, drained.clone()), passes()),
        ])
        .await;
    workload::delete_pod_now(&admin.0, HOME, "daypass-0").await.unwrap();
    matrix.one("and deletes it", &admin, delete(&home), passes()).await;
    matrix.soon("it waits, and says what for", &admin, get(&home), passes().says("lease is open")).await;
    matrix.one("the debt is still there", &admin, get(format!("{LEASES}/debt")), passes()).await;
    matrix.soon("but the operator's account went first", &admin, get(format!("{home}/serviceaccounts/daypass")), code(404)).await;
    let closed = merge(format!("{LEASES}/debt/status"), json!({"status": {"state": "Closed"}}));
    matrix.one("only somebody who plays the operator can close it", &as_operator, closed, passes()).await;
    matrix.soon("then the namespace goes", &admin, get(&home), code(404)).await;

    // Why leave exists: a CRD takes its objects along without asking admission about any of them.
    matrix
        .play([
            case(
                "the namespace is made again",
                &admin,
                create("/api/v1/namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})),
                created(),
            ),
            case("a lease is open in it", &as_operator, create(LEASES, lease("debt")), created()),
            case("somebody marks the CRD drained that is not", &admin, merge(&crd, drained), passes()),
            case("and deletes it", &admin, delete(&crd), passes()),
        ])
        .await;
    matrix.soon("the open lease is gone with its kind", &admin, get(&crd), code(404)).await;
    matrix.holds();
}
