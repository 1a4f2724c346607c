//! Locks: who placed one is true, the operator places only its own and can neither change nor lift any, and its word on them is its alone.

use serde_json::{Value, json};

use super::{
    calls::{apply, create, delete, json_patch, merge, put},
    matrix::{Matrix, case, code, created, invalid, passes, refused},
    world::{UNSTAMPED, world},
};

const LOCKS: &str = "/apis/daypass.dev/v1alpha1/accesslocks";

/// A lock of one service account, with these further fields in its spec.
fn lock(name: &str, fields: Value) -> Value {
    let mut lock = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "AccessLock", "metadata": {"name": name},
        "spec": {
            "match": {"namespaces": ["shop"], "serviceAccountNames": ["orders"]}, "reason": "why", "expiresAt": "2099-01-01T00:00:00Z",
        },
    });
    json_patch::merge(&mut lock["spec"], &fields);
    lock
}

#[tokio::test]
async fn the_operator_places_locks_of_its_own_and_neither_changes_nor_lifts_one() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let (admin, operator) = (world.admin(), world.operator());
    let own = world.own.requester.username.clone();
    let engine = |name: &str| lock(name, json!({"source": "Engine", "by": own}));
    let with = |fields: Value| {
        let mut lock = engine("guard-more");
        json_patch::merge(&mut lock, &fields);
        lock
    };
    let owner = json!([{"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "x"}]);
    let path = |name: &str| format!("{LOCKS}/{name}");
    let earlier = json!({"spec": {"expiresAt": "2098-01-01T00:00:00Z"}});
    let no = || refused("confine");
    // By confine or by ledger, which both have reason to: only the first refusal is reported, in no promised order.
    let both = || code(403).says("source Engine");
    matrix
        .play([
            case("the operator places a lock", &operator, create(LOCKS, engine("guard-engine")), created()),
            case("an admin places one", &admin, create(LOCKS, lock("guard-person", json!({}))), created().says("\"by\":\"admin\"")),
            case("the operator as a person: refused", &operator, create(LOCKS, lock("guard-more", json!({"by": own}))), both()),
            case("the operator in another name: refused", &operator, create(LOCKS, with(json!({"spec": {"by": "ed"}}))), refused("ledger")),
            case(
                "of everything: refused",
                &operator,
                create(LOCKS, with(json!({"spec": {"match": {"everything": true, "namespaces": null, "serviceAccountNames": null}}}))),
                no(),
            ),
            case(
                "that would go with an owner: refused",
                &operator,
                create(LOCKS, with(json!({"metadata": {"ownerReferences": owner}}))),
                no(),
            ),
            case(
                "that a person could not lift: refused",
                &operator,
                create(LOCKS, with(json!({"metadata": {"finalizers": ["example.com/f"]}}))),
                no(),
            ),
            case("lifting its own: refused", &operator, delete(path("guard-engine")), no()),
            case("lifting a person's: refused", &operator, delete(path("guard-person")), no()),
            case("lifting all at once: refused", &operator, delete(format!("{LOCKS}?fieldSelector=metadata.name%3Dguard-engine")), no()),
            case("shortening its own: refused", &operator, merge(path("guard-engine"), earlier.clone()), invalid("keeps its end")),
            case("shortening a person's: refused", &operator, merge(path("guard-person"), earlier.clone()), no()),
            case("a label: refused", &operator, merge(path("guard-person"), json!({"metadata": {"labels": {"a": "b"}}})), no()),
            case(
                "applying its own again: refused",
                &operator,
                apply(path("guard-engine"), with(json!({"metadata": {"name": "guard-engine", "labels": {"a": "b"}}}))),
                no(),
            ),
            case(
                "its word on its own",
                &operator,
                merge(format!("{}/status", path("guard-engine")), json!({"status": {"waiting": 1}})),
                passes(),
            ),
            case(
                "its word on a person's",
                &operator,
                merge(format!("{}/status", path("guard-person")), json!({"status": {"waiting": 1}})),
                passes(),
            ),
            case(
                "an admin's word: refused",
                &admin,
                merge(format!("{}/status", path("guard-person")), json!({"status": {"waiting": 0}})),
                refused("ledger").says("only the operator writes status"),
            ),
            case("a person may not move its end either", &admin, merge(path("guard-engine"), earlier), invalid("keeps its end")),
            case("but lift it", &admin, delete(path("guard-engine")), passes()),
            case("and their own", &admin, delete(path("guard-person")), passes()),
        ])
        .await;
    matrix.holds();
}

#[tokio::test]
async fn a_person_places_a_lock_under_their_own_name_and_never_as_the_operator() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let admin = world.admin();
    let (_, pod) = world.pod("guard-locks", "orders-0", "orders").await;
    let unstamped = |name: &str, fields: Value| {
        let mut lock = lock(name, fields);
        lock["metadata"]["labels"] = json!({UNSTAMPED.0: UNSTAMPED.1});
        lock
    };
    let own = &world.own.requester.username;
    // Which locks the stamp reaches comes into force in its own time.
    world.until(&admin, &create(format!("{LOCKS}?dryRun=All"), unstamped("guard-settling", json!({}))), 422).await;
    let path = format!("{LOCKS}/guard-true");
    let stored =
        matrix.one("the true author", &admin, create(LOCKS, unstamped("guard-true", json!({"by": "admin"}))), created()).await.json();
    let mut renamed = stored.clone();
    renamed["spec"]["by"] = "ed".into();
    matrix
        .play([
            case(
                "forged: overwritten by the stamp",
                &admin,
                create(format!("{LOCKS}?dryRun=All"), lock("guard-forged", json!({"by": "ed"}))),
                created().says("\"by\":\"admin\""),
            ),
            case(
                "a pod that may: it is named",
                &pod,
                create(format!("{LOCKS}?dryRun=All"), lock("guard-pod", json!({}))),
                created().says("system:serviceaccount:guard-locks:orders"),
            ),
            case(
                "forged without the stamp: refused",
                &admin,
                create(LOCKS, unstamped("guard-forged", json!({"by": "ed"}))),
                refused("ledger").says("spec.by is who places the lock"),
            ),
            case(
                "no author without the stamp: the schema answers",
                &admin,
                create(LOCKS, unstamped("guard-none", json!({}))),
                invalid("spec.by"),
            ),
            case(
                "as the engine: refused",
                &admin,
                create(LOCKS, lock("guard-engine-2", json!({"source": "Engine"}))),
                refused("ledger").says("source Engine"),
            ),
            case(
                "as the engine in its name: refused",
                &admin,
                create(LOCKS, unstamped("guard-engine-2", json!({"source": "Engine", "by": own}))),
                refused("ledger"),
            ),
            case("another author afterwards: refused", &admin, put(&path, renamed), invalid("a lock is written once")),
            case(
                "another author by JSON patch: refused",
                &admin,
                json_patch(&path, json!([{"op": "replace", "path": "/spec/by", "value": "ed"}])),
                invalid("a lock is written once"),
            ),
            case("a later end", &admin, merge(&path, json!({"spec": {"expiresAt": "2099-06-01T00:00:00Z"}})), passes()),
            case("lifted", &admin, delete(&path), passes()),
        ])
        .await;
    matrix.holds();
}
