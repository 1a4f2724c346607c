//! Who may change or delete a request that is there: its own pod, people, the operator and the control plane; never a neighbour.

use devcluster::workload;
use kube::ResourceExt;
use serde_json::json;

use super::{
    calls::{apply, create, delete, delete_with, get, json_patch, merge, put},
    matrix::{Matrix, case, code, created, invalid, passes, refused},
    world::{owned_by, request, request_with, requests, somebody_else, world},
};

#[tokio::test]
async fn a_request_changes_only_in_what_means_nothing_and_its_status_by_the_operator_alone() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let asks = requests("changing");
    let (_, asker) = world.pod("changing", "orders-0", "orders").await;
    let (other_pod, neighbour) = world.pod("changing", "orders-1", "orders").await;
    let (admin, operator) = (world.admin(), world.operator());
    let stored = matrix.one("a pod asks", &asker, create(&asks, request("a")), created()).await.json();
    let (a, status) = (format!("{asks}/a"), format!("{asks}/a/status"));
    let mut forged = stored.clone();
    forged["spec"]["requester"] = somebody_else();
    let finalizer = json!({"metadata": {"finalizers": ["example.com/f"]}});
    let active = json!({"status": {"state": "Active"}});
    let applied =
        json!({"apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest", "metadata": {"name": "a"}, "status": {"state": "Active"}});
    let mut taken = stored.clone();
    taken["status"]["state"] = "Active".into();
    matrix
        .play([
            case("the status by update: refused", &asker, put(&status, taken), refused("ledger")),
            case("its spec by merge patch: immutable", &asker, merge(&a, json!({"spec": {"className": "other"}})), invalid("immutable")),
            case(
                "its requester by JSON patch: immutable",
                &asker,
                json_patch(&a, json!([{"op": "replace", "path": "/spec/requester/podUID", "value": "evil"}])),
                invalid("immutable"),
            ),
            case("its requester by update: immutable", &asker, put(&a, forged), invalid("immutable")),
            case(
                "its requester by an admin: immutable",
                &admin,
                merge(&a, json!({"spec": {"requester": somebody_else()}})),
                invalid("immutable"),
            ),
            case("a finalizer by an admin: refused", &admin, merge(&a, finalizer.clone()), refused("verify").says("no finalizers")),
            case("a finalizer by the pod: refused", &asker, merge(&a, finalizer.clone()), refused("verify").says("no finalizers")),
            case(
                "a foreign owner by an admin: refused",
                &admin,
                merge(&a, json!({"metadata": {"ownerReferences": owned_by("Pod", &other_pod)}})),
                refused("verify").says("owned by nothing but"),
            ),
            case("a label by an admin: passes", &admin, merge(&a, json!({"metadata": {"labels": {"team": "x"}}})), passes()),
            case("a label by the pod: passes", &asker, merge(&a, json!({"metadata": {"labels": {"team": "y"}}})), passes()),
            case(
                "a label by a neighbour: refused",
                &neighbour,
                merge(&a, json!({"metadata": {"labels": {"team": "z"}}})),
                refused("verify").says("its own pod"),
            ),
            case("the status by the pod: refused", &asker, merge(&status, active.clone()), refused("ledger")),
            case("the status by an admin: refused", &admin, merge(&status, active.clone()), refused("ledger")),
            case("the status by server-side apply: refused", &asker, apply(&status, applied), refused("ledger")),
            case("a status in an update of the request is ignored", &asker, merge(&a, active.clone()), passes().never("Active")),
            case(
                "the status by the operator; metadata in it is ignored",
                &operator,
                merge(&status, json!({"metadata": finalizer["metadata"], "status": {"state": "Active"}})),
                passes().says("\"state\":\"Active\"").never("example.com"),
            ),
        ])
        .await;
    let after = admin.send(&get(&a)).await.json();
    matrix.same("labels and status leave its generation at 1", &json!(1), &after["metadata"]["generation"]);
    matrix.same("nothing of its spec has changed", &stored["spec"], &after["spec"]);
    matrix.holds();
}

#[tokio::test]
async fn a_request_is_deleted_by_its_pod_and_by_people_but_by_no_neighbour() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let asks = requests("deleting");
    let (pod, asker) = world.pod("deleting", "orders-0", "orders").await;
    let (_, neighbour) = world.pod("deleting", "orders-1", "orders").await;
    let (_, stranger) = world.pod("deleting-elsewhere", "p", "orders").await;
    let (admin, operator) = (world.admin(), world.operator());
    let unbound = world.bearer(&workload::unbound_token(&admin.0, "deleting", "orders", &Default::default()).await.unwrap());
    let bare = world.pretending("system:serviceaccount:deleting:orders", None, &[]);
    for name in ["a", "b", "c", "d"] {
        matrix.one("a pod asks", &asker, create(&asks, request(name)), created()).await;
    }
    let path = |name: &str| format!("{asks}/{name}");
    let its_own = || refused("verify").says("its own pod");
    matrix
        .play([
            case("by a neighbour: refused", &neighbour, delete(path("a")), its_own()),
            case(
                "by a neighbour in the foreground: refused",
                &neighbour,
                delete_with(path("a"), json!({"propagationPolicy": "Foreground"})),
                its_own(),
            ),
            case("by a neighbour as a collection: refused", &neighbour, delete(&asks), its_own()),
            case("by an unbound token of the same account: refused", &unbound, delete(path("a")), its_own()),
            case("by impersonation of the account: refused", &bare, delete(path("a")), its_own()),
            case("it is still there", &admin, get(path("a")), passes()),
            case("by its own pod", &asker, delete(path("a")), passes()),
            // Not of this namespace: such an account comes by RBAC that somebody gave it on purpose, as a person does.
            case("by an account of another namespace, which RBAC lets in: passes", &stranger, delete(path("b")), passes()),
            case("by an admin", &admin, delete(path("c")), passes()),
            case("by the operator", &operator, delete(path("d")), passes()),
            case("a neighbour has one of its own", &neighbour, create(&asks, request("mine")), created()),
            case("its own as a collection", &neighbour, delete(format!("{asks}?fieldSelector=metadata.name%3Dmine")), passes()),
            case(
                "owned by its pod",
                &asker,
                create(&asks, request_with(json!({"name": "owned", "ownerReferences": owned_by("Pod", &pod)}))),
                created(),
            ),
            case(
                "an admin's foreground delete begins",
                &admin,
                delete_with(path("owned"), json!({"propagationPolicy": "Foreground"})),
                passes(),
            ),
        ])
        .await;
    matrix.soon("and the garbage collector finishes it", &admin, get(path("owned")), code(404)).await;
    matrix.holds();
}

#[tokio::test]
async fn the_control_plane_s_own_accounts_pass_in_their_own_namespace_too() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let asks = requests("kube-system");
    let (pod, asker) = world.pod("kube-system", "sys-0", "sys").await;
    let admin = world.admin();
    let owned = request_with(json!({"name": "owned", "ownerReferences": owned_by("Pod", &pod)}));
    matrix
        .play([
            case("a pod of kube-system asks", &asker, create(&asks, request("fg")), created()),
            case(
                "an admin's foreground delete begins",
                &admin,
                delete_with(format!("{asks}/fg"), json!({"propagationPolicy": "Foreground"})),
                passes(),
            ),
            case("a request owned by its pod", &asker, create(&asks, owned), created()),
        ])
        .await;
    matrix.soon("the garbage collector, of the same namespace, finishes it", &admin, get(format!("{asks}/fg")), code(404)).await;
    workload::delete_pod_now(&admin.0, "kube-system", &pod.pod.name_any()).await.unwrap();
    matrix.soon("a request goes with the pod that owns it", &admin, get(format!("{asks}/owned")), code(404)).await;
    matrix.holds();
}
