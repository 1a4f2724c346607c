//! The ledger is the operator's: nobody else opens, changes, closes or forgets a lease; a person may end one, under their own name.

use serde_json::{Value, json};

use super::{
    calls::{apply, create, delete, json_patch, merge, put},
    matrix::{Matrix, case, created, invalid, passes, refused},
    world::{HOME, LEASES, UNSTAMPED, lease, world},
};

const COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";

fn revoke(value: Value) -> Value {
    json!({"spec": {"revoke": value}})
}

#[tokio::test]
async fn a_lease_is_opened_moved_on_and_removed_by_the_operator_alone_and_never_while_open() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let (admin, operator, collector) = (world.admin(), world.operator(), world.pretending(COLLECTOR, None, &[]));
    let (_, pod) = world.pod("ledger", "orders-0", "orders").await;
    let (path, status) = (format!("{LEASES}/open"), format!("{LEASES}/open/status"));
    let state = |state: Value| json!({"status": {"state": state}});
    let mut born_revoked = lease("born-revoked");
    born_revoked["spec"]["revoke"] = json!({"reason": "x", "by": "ed"});
    let open = || refused("ledger").says("lease is open");
    matrix
        .play([
            case("the operator opens a lease", &operator, create(LEASES, lease("open")), created()),
            case("an admin opens one: refused", &admin, create(LEASES, lease("l2")), refused("ledger")),
            case("an admin opens one by server-side apply: refused", &admin, apply(format!("{LEASES}/l2"), lease("l2")), refused("ledger")),
            case("a pod opens one: refused", &pod, create(LEASES, lease("l2")), refused("ledger")),
            case(
                "a pod opens one in its own namespace: refused",
                &pod,
                create(LEASES.replace(HOME, "ledger"), lease("l2")),
                refused("ledger"),
            ),
            case("one born revoked: refused", &operator, create(LEASES, born_revoked), refused("ledger")),
            case("its status by an admin: refused", &admin, merge(&status, state("Closed".into())), refused("ledger")),
            case("its status by a pod: refused", &pod, merge(&status, state("Closed".into())), refused("ledger")),
            case("open: an admin's delete: refused", &admin, delete(&path), open()),
            case("open: the operator's delete: refused", &operator, delete(&path), open()),
            case("open: the garbage collector's delete: refused", &collector, delete(&path), open()),
            case("open: deletion as a collection: refused", &admin, delete(format!("{LEASES}?fieldSelector=metadata.name%3Dopen")), open()),
            case(
                "prolonged by the operator: refused",
                &operator,
                merge(&path, json!({"spec": {"expiresAt": "2100-01-01T00:00:00Z"}})),
                invalid("only shrink"),
            ),
            case("shortened by the operator", &operator, merge(&path, json!({"spec": {"expiresAt": "2098-01-01T00:00:00Z"}})), passes()),
            case("the operator goes on to Revoking", &operator, merge(&status, state("Revoking".into())), passes()),
            case("Revoking: the operator's delete: refused", &operator, delete(&path), open()),
            case("back to open: refused", &operator, merge(&status, state(Value::Null)), invalid("never back")),
            case("the operator closes it", &operator, merge(&status, state("Closed".into())), passes()),
            case("reopened: refused", &operator, merge(&status, state("Revoking".into())), invalid("never back")),
            case("reopened by leaving the status out: refused", &operator, merge(&status, json!({"status": null})), invalid("never back")),
            case("closed: an admin's delete: refused, it is a tombstone", &admin, delete(&path), refused("ledger").says("tombstone")),
            case("closed: the operator removes it", &operator, delete(&path), passes()),
            case("the operator opens another", &operator, create(LEASES, lease("open")), created()),
            case("and closes it", &operator, merge(&status, state("Closed".into())), passes()),
            case("closed: the garbage collector may remove it", &collector, delete(&path), passes()),
        ])
        .await;
    matrix.holds();
}

#[tokio::test]
async fn a_person_may_end_a_lease_once_under_their_own_name_and_change_nothing_else() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let (operator, rita) = (world.operator(), world.rita());
    let path = format!("{LEASES}/ending");
    let only = || refused("ledger").says("only spec.revoke");
    let with_more = json!({"spec": {"expiresAt": "2098-01-01T00:00:00Z", "revoke": {"reason": "leak"}}});
    let stored = matrix.one("the operator opens a lease", &operator, create(LEASES, lease("ending")), created()).await.json();
    let mut moved = stored.clone();
    moved["spec"]["x509"]["serial"] = "02".into();
    matrix
        .play([
            case("another field: refused", &rita, merge(&path, json!({"spec": {"expiresAt": "2098-01-01T00:00:00Z"}})), only()),
            case(
                "another field by JSON patch: refused",
                &rita,
                json_patch(&path, json!([{"op": "replace", "path": "/spec/policy/name", "value": "x"}])),
                only(),
            ),
            case(
                "a serial by update: refused by the schema",
                &rita,
                put(&path, moved),
                invalid("what the certificate of a lease says never changes"),
            ),
            case("a label: refused", &rita, merge(&path, json!({"metadata": {"labels": {"a": "b"}}})), only()),
            case("an annotation: refused", &rita, merge(&path, json!({"metadata": {"annotations": {"a": "b"}}})), only()),
            case("a finalizer: refused", &rita, merge(&path, json!({"metadata": {"finalizers": ["example.com/f"]}})), only()),
            case(
                "an owner: refused",
                &rita,
                merge(&path, json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "x"}]}})),
                only(),
            ),
            case("the end together with another field: refused", &rita, merge(&path, with_more), only()),
            case(
                "the operator ends it in a person's name: refused",
                &operator,
                merge(&path, revoke(json!({"reason": "leak", "by": "ed"}))),
                refused("ledger"),
            ),
            case(
                "the operator ends it in its own name: refused",
                &operator,
                merge(&path, revoke(json!({"reason": "leak", "by": world.own.requester.username}))),
                refused("ledger"),
            ),
            case(
                "forged name in a dry run: overwritten by the stamp",
                &rita,
                merge(format!("{path}?dryRun=All"), revoke(json!({"reason": "leak", "by": "ed"}))),
                passes().says("\"by\":\"rita\""),
            ),
            case(
                "the end: its author is stamped",
                &rita,
                merge(&path, revoke(json!({"reason": "leak"}))),
                passes().says("\"by\":\"rita\""),
            ),
            case(
                "the same again changes nothing",
                &rita,
                merge(&path, revoke(json!({"reason": "leak"}))),
                passes().says("\"by\":\"rita\""),
            ),
            case("another reason: refused", &rita, merge(&path, revoke(json!({"reason": "other"}))), invalid("set once")),
            case("another author: refused", &rita, merge(&path, revoke(json!({"by": "ed"}))), invalid("set once")),
            case("taken back: refused", &rita, merge(&path, revoke(Value::Null)), invalid("set once")),
        ])
        .await;
    matrix.holds();
}

#[tokio::test]
async fn without_the_stamp_the_author_of_an_end_has_to_tell_the_truth() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let (operator, rita) = (world.operator(), world.rita());
    let path = format!("{LEASES}/unstamped");
    let mut unstamped = lease("unstamped");
    unstamped["metadata"]["labels"] = json!({UNSTAMPED.0: UNSTAMPED.1});
    matrix
        .play([
            case("the operator opens a lease that the stamp does not reach", &operator, create(LEASES, unstamped), created()),
            case(
                "forged author: refused",
                &rita,
                merge(&path, revoke(json!({"reason": "leak", "by": "ed"}))),
                refused("ledger").says("own name"),
            ),
            case("no author: the schema answers", &rita, merge(&path, revoke(json!({"reason": "leak"}))), invalid("spec.revoke.by")),
            case("the true author", &rita, merge(&path, revoke(json!({"reason": "leak", "by": "rita"}))), passes()),
        ])
        .await;
    matrix.holds();
}
