//! Secrets with our labels are the operator's alone, and the control plane still can clean up after everybody.

use std::time::Duration;

use devcluster::{wait, workload};
use kube::ResourceExt;
use serde_json::json;

use super::{
    calls::{Caller, apply, create, delete, delete_with, get, merge, put},
    matrix::{Matrix, case, code, created, passes, refused},
    world::{HOME, World, request, requests, reserved, secret, secrets, world},
};

const LABEL: &str = "daypass.dev/request-uid";

#[tokio::test]
async fn nobody_but_the_operator_makes_changes_or_deletes_a_secret_of_ours() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let (admin, operator) = (world.admin(), world.operator());
    let (_, pod) = world.pod("reserve", "orders-0", "orders").await;
    let ed = world.ed("reserve").await;
    let s = secrets("reserve");
    let ours = format!("{s}/daypass-a");
    let stored = matrix.one("the operator reserves", &operator, create(&s, reserved("daypass-a", "u1")), created()).await.json();
    let ca = secret(json!({"name": "daypass-ca-reserve", "labels": {"daypass.dev/ca": "x"}}), "Opaque");
    let label = |value: serde_json::Value| json!({"metadata": {"labels": {LABEL: value}}});
    let mut unlabelled = stored.clone();
    unlabelled["metadata"]["labels"] = json!({});
    let filled = {
        let mut filled = reserved("daypass-a", "u1");
        filled["data"]["tls.key"] = "eA==".into();
        filled
    };
    let no = || refused("reserve");
    matrix
        .play([
            case("the operator's authority", &operator, create(secrets(HOME), ca), created()),
            case("an editor's own Secret", &ed, create(&s, secret(json!({"name": "plain"}), "Opaque")), created()),
            case("making one with our label: refused", &ed, create(&s, reserved("daypass-x", "u1")), no()),
            case("a pod making one with our label: refused", &pod, create(&s, reserved("daypass-x", "u1")), no()),
            case(
                "making one with an authority's label: refused",
                &ed,
                create(&s, secret(json!({"name": "x", "labels": {"daypass.dev/ca": "x"}}), "Opaque")),
                no(),
            ),
            case("labelling an own Secret: refused", &ed, merge(format!("{s}/plain"), label("u1".into())), no()),
            case("its data: refused", &ed, merge(&ours, json!({"data": {"tls.key": "eA=="}})), no()),
            case("an update that drops the label: refused", &ed, put(&ours, unlabelled), no()),
            case("unlabelling: refused", &ed, merge(&ours, label(json!(null))), no()),
            case("an annotation: refused", &ed, merge(&ours, json!({"metadata": {"annotations": {"a": "b"}}})), no()),
            case("a finalizer: refused", &ed, merge(&ours, json!({"metadata": {"finalizers": ["example.com/f"]}})), no()),
            case(
                "an owner: refused",
                &ed,
                merge(&ours, json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "x"}]}})),
                no(),
            ),
            case("making it immutable: refused", &ed, merge(&ours, json!({"immutable": true})), no()),
            case("server-side apply: refused", &ed, apply(&ours, filled), no()),
            case(
                "server-side apply of the same content: refused, it would take co-ownership",
                &ed,
                apply(&ours, reserved("daypass-a", "u1")),
                no(),
            ),
            case("deleting it: refused", &ed, delete(&ours), no()),
            case("deleting it as a collection: refused", &ed, delete(format!("{s}?labelSelector=daypass.dev%2Frequest-uid")), no()),
            case("an admin's delete: refused", &admin, delete(&ours), no()),
            case("an admin's delete of an authority: refused", &admin, delete(format!("{}/daypass-ca-reserve", secrets(HOME))), no()),
            case("an admin rewrites it unchanged, as re-encryption at rest does", &admin, put(&ours, stored), passes()),
            case("Secrets of others are none of its business", &ed, merge(format!("{s}/plain"), json!({"data": {"k": "eA=="}})), passes()),
            case("the operator deletes its own", &operator, delete(&ours), passes()),
        ])
        .await;
    matrix.holds();
}

/// A request with a reserved Secret that it owns, as the operator makes it.
async fn owned(matrix: &mut Matrix, world: &World, asker: &Caller, namespace: &str, name: &str) -> String {
    let uid = matrix.one("a pod asks", asker, create(requests(namespace), request(name)), created()).await.field("/metadata/uid");
    let mut secret = reserved(&format!("daypass-{name}"), &uid);
    secret["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest", "name": name, "uid": uid, "blockOwnerDeletion": true}]);
    matrix.one("the operator reserves", &world.operator(), create(secrets(namespace), secret), created()).await.field("/metadata/uid")
}

#[tokio::test]
async fn the_garbage_collector_takes_our_secrets_with_their_requests_however_these_go() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let (admin, operator) = (world.admin(), world.operator());
    let (_, asker) = world.pod("reserve-gc", "orders-0", "orders").await;
    let (r, s) = (requests("reserve-gc"), secrets("reserve-gc"));
    for name in ["background", "foreground", "orphaned"] {
        owned(&mut matrix, &world, &asker, "reserve-gc", name).await;
    }
    matrix
        .play([
            case("a request goes", &asker, delete(format!("{r}/background")), passes()),
            case(
                "one goes in the foreground",
                &asker,
                delete_with(format!("{r}/foreground"), json!({"propagationPolicy": "Foreground"})),
                passes(),
            ),
            case(
                "one goes and leaves an orphan",
                &asker,
                delete_with(format!("{r}/orphaned"), json!({"propagationPolicy": "Orphan"})),
                passes(),
            ),
        ])
        .await;
    matrix.soon("its Secret is collected", &admin, get(format!("{s}/daypass-background")), code(404)).await;
    matrix.soon("the foreground delete finishes", &admin, get(format!("{r}/foreground")), code(404)).await;
    matrix.soon("and took the Secret first", &admin, get(format!("{s}/daypass-foreground")), code(404)).await;
    matrix.soon("the orphaning delete finishes: the collector edits the Secret", &admin, get(format!("{r}/orphaned")), code(404)).await;
    matrix.one("and the operator deletes the orphan", &operator, delete(format!("{s}/daypass-orphaned")), passes()).await;
    matrix.holds();
}

#[tokio::test]
async fn a_tenant_s_dependent_cannot_hold_a_secret_of_ours_against_the_operator() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let (admin, operator, ed) = (world.admin(), world.operator(), {
        world.pod("reserve-held", "orders-0", "orders").await;
        world.ed("reserve-held").await
    });
    let (_, asker) = world.pod("reserve-held", "orders-1", "orders").await;
    let (r, s, maps) = (requests("reserve-held"), secrets("reserve-held"), "/api/v1/namespaces/reserve-held/configmaps");
    let uid = owned(&mut matrix, &world, &asker, "reserve-held", "held").await;
    let anchor = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "anchor", "finalizers": ["example.com/f"], "ownerReferences":
            [{"apiVersion": "v1", "kind": "Secret", "name": "daypass-held", "uid": uid, "blockOwnerDeletion": true}]},
    });
    matrix
        .play([
            case("a tenant hangs an object of its own on the Secret", &ed, create(maps, anchor), created()),
            case(
                "and deletes the request in the foreground",
                &asker,
                delete_with(format!("{r}/held"), json!({"propagationPolicy": "Foreground"})),
                passes(),
            ),
        ])
        .await;
    matrix.soon("the Secret is held", &admin, get(format!("{s}/daypass-held")), passes().says("foregroundDeletion")).await;
    matrix
        .one(
            "the operator deletes it in the background",
            &operator,
            delete_with(format!("{s}/daypass-held"), json!({"propagationPolicy": "Background"})),
            passes(),
        )
        .await;
    matrix.soon("and it is gone", &admin, get(format!("{s}/daypass-held")), code(404)).await;
    matrix.one("the tenant lets go", &ed, merge(format!("{maps}/anchor"), json!({"metadata": {"finalizers": null}})), passes()).await;
    matrix.holds();
}

#[tokio::test]
async fn a_namespace_with_requests_and_secrets_of_ours_can_be_deleted() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let admin = world.admin();
    let (pod, asker) = world.pod("doomed", "p", "orders").await;
    owned(&mut matrix, &world, &asker, "doomed", "r").await;
    let loose = reserved("daypass-loose", "another-request");
    matrix.one("a reserve that nobody owns", &world.operator(), create(secrets("doomed"), loose), created()).await;
    workload::delete_pod_now(&admin.0, "doomed", &pod.pod.name_any()).await.unwrap();
    matrix.one("the namespace is deleted", &admin, delete("/api/v1/namespaces/doomed"), passes()).await;
    let gone = wait::until("the namespace to go", Duration::from_secs(60), || async {
        (admin.send(&get("/api/v1/namespaces/doomed")).await.code == 404).then_some(())
    });
    matrix.same("and goes", true, gone.await.is_ok());
    matrix.holds();
}
