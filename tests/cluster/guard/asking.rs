//! Who may ask, and that what is stored of it is true: with the stamp, which puts it right, and without, where verify refuses.

use std::time::Duration;

use daypass::cluster::identity;
use devcluster::{
    wait,
    workload::{self, TokenOptions},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::{Value, json};
use stage::Pod;

use super::{
    calls::{Caller, apply, create, delete},
    matrix::{Matrix, case, created, invalid, passes, refused},
    world::{HOME, own_requester, owned_by, request, request_with, requests, secret, somebody_else, with_requester, world},
};

#[tokio::test]
async fn with_the_stamp_a_request_says_who_asked_whatever_it_said_itself() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let asks = requests("asking");
    let (pod, asker) = world.pod("asking", "orders-0", "orders").await;
    let truth = format!("\"podUID\":\"{}\"", pod.pod.uid().unwrap());
    let true_one = || created().says(&truth).never("evil");
    let forged = |metadata: Value| with_requester(metadata, somebody_else());
    let dry = format!("{asks}?dryRun=All");

    let stored = matrix.one("a pod asks", &asker, create(&asks, request("plain")), true_one()).await.json();
    matrix.same("all seven fields are stamped", own_requester(&pod), stored["spec"]["requester"].clone());
    matrix.same("the status is Pending from birth", &json!("Pending"), &stored["status"]["state"]);
    matrix
        .play([
            case("forged requester: overwritten", &asker, create(&asks, forged(json!({"name": "forged"}))), true_one()),
            case("forged with generateName: overwritten", &asker, create(&asks, forged(json!({"generateName": "gen-"}))), true_one()),
            case("forged in a dry run: overwritten", &asker, create(&dry, forged(json!({"generateName": "dry-"}))), true_one()),
            case(
                "forged by server-side apply: overwritten",
                &asker,
                apply(format!("{asks}/applied"), forged(json!({"name": "applied"}))),
                true_one(),
            ),
            case(
                "the forgery applied again: immutable",
                &asker,
                apply(format!("{asks}/applied"), forged(json!({"name": "applied"}))),
                invalid("immutable"),
            ),
            case("server-side apply of none: stamped", &asker, apply(format!("{asks}/bare"), request("bare")), true_one()),
            case("the same apply again: unchanged", &asker, apply(format!("{asks}/bare"), request("bare")), passes().says(&truth)),
            case(
                "a forgery applied over it: immutable",
                &asker,
                apply(format!("{asks}/bare"), forged(json!({"name": "bare"}))),
                invalid("immutable"),
            ),
            case(
                "a neighbour's requester: overwritten",
                &asker,
                create(&dry, with_requester(json!({"name": "n"}), json!({"podUID": "evil"}))),
                true_one(),
            ),
        ])
        .await;
    let mut preset = request("preset");
    preset["status"] = json!({"state": "Active"});
    matrix.one("a status in a create is dropped", &asker, create(&asks, preset), created().never("Active")).await;
    let specless = json!({"apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest", "metadata": {"name": "nospec"}});
    matrix.one("no spec: the schema answers, not a crash of the stamp", &asker, create(&asks, specless), invalid("spec: Required")).await;
    matrix.holds();
}

#[tokio::test]
async fn without_the_stamp_only_the_whole_truth_is_taken() {
    let (world, mut matrix) = (world().await, Matrix::default());
    world.unstamped("asking-unstamped").await;
    let asks = requests("asking-unstamped");
    let dry = format!("{asks}?dryRun=All");
    let (pod, asker) = world.pod("asking-unstamped", "orders-0", "orders").await;
    let (neighbour, _) = world.pod("asking-unstamped", "orders-1", "orders").await;
    let truth = own_requester(&pod);
    let not_who_asked = || refused("verify").says("not who asked");

    for field in truth.as_object().unwrap().keys() {
        let mut wrong = truth.clone();
        wrong[field] = "evil".into();
        let name = format!("own requester, but a forged {field}: refused");
        matrix.one(&name, &asker, create(&dry, with_requester(json!({"generateName": "f-"}), wrong)), not_who_asked()).await;
        let mut empty = truth.clone();
        empty[field] = "".into();
        let name = format!("own requester, but an empty {field}: refused");
        matrix.one(&name, &asker, create(&dry, with_requester(json!({"generateName": "f-"}), empty)), not_who_asked()).await;
        let mut missing = truth.clone();
        missing.as_object_mut().unwrap().remove(field);
        let name = format!("own requester, but no {field}: refused by the schema");
        matrix.one(&name, &asker, create(&dry, with_requester(json!({"generateName": "f-"}), missing)), invalid(field)).await;
    }
    let forged = |metadata: Value| with_requester(metadata, somebody_else());
    let neighbours = with_requester(json!({"name": "neighbours"}), own_requester(&neighbour));
    matrix
        .play([
            case("forged by create: refused", &asker, create(&asks, forged(json!({"name": "forged"}))), not_who_asked()),
            case("forged with generateName: refused", &asker, create(&asks, forged(json!({"generateName": "gen-"}))), not_who_asked()),
            case("forged in a dry run: refused", &asker, create(&dry, forged(json!({"name": "dry"}))), not_who_asked()),
            case("forged by server-side apply: refused", &asker, apply(format!("{asks}/a"), forged(json!({"name": "a"}))), not_who_asked()),
            case("a neighbour's true requester: refused", &asker, create(&asks, neighbours), not_who_asked()),
            case("no requester: the schema answers", &asker, create(&asks, request("none")), invalid("spec.requester: Required")),
            case("the truth: taken", &asker, create(&asks, with_requester(json!({"name": "true"}), truth.clone())), created()),
            case(
                "the truth by server-side apply: taken",
                &asker,
                apply(format!("{asks}/b"), with_requester(json!({"name": "b"}), truth)),
                created(),
            ),
        ])
        .await;
    matrix.holds();
}

#[tokio::test]
async fn only_a_token_of_a_pod_of_the_namespace_may_ask() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let asks = requests("asking-tokens");
    let (pod, asker) = world.pod("asking-tokens", "orders-0", "orders").await;
    let (other_pod, _) = world.pod("asking-tokens", "orders-1", "orders").await;
    let (_, stranger) = world.pod("asking-elsewhere", "p", "orders").await;
    let admin = world.admin();
    let (unbound, secret_bound, legacy) = other_tokens(&admin, "asking-tokens").await;
    let (unbound, secret_bound, legacy) = (world.bearer(&unbound), world.bearer(&secret_bound), world.bearer(&legacy));
    let account = "system:serviceaccount:asking-tokens:orders";
    let uid = identity::parse(&pod.token).unwrap().requester.uid;
    let bare = world.pretending(account, None, &[]);
    let with_uid = world.pretending(account, Some(&uid), &[]);
    let pod_uid = pod.pod.uid().unwrap();
    let pod_only = [("pod-name", "orders-0"), ("pod-uid", pod_uid.as_str())];
    let no_uid = world.pretending(account, None, &pod_only);
    let stranger_as = world.pretending("system:serviceaccount:asking-elsewhere:orders", Some(&uid), &pod_only);
    let longer = world.pretending("system:serviceaccount:asking-tokens-2:orders", Some(&uid), &pod_only);

    let ask = || create(&asks, request("x"));
    let owned = |kind: &str, by: &Pod| create(&asks, request_with(json!({"name": "x", "ownerReferences": owned_by(kind, by)})));
    matrix
        .play([
            case("an unbound token: refused", &unbound, ask(), refused("verify").says("bound to a pod")),
            case("a token bound to a Secret: refused", &secret_bound, ask(), refused("verify").says("bound to a pod")),
            case("a legacy token from a Secret: refused", &legacy, ask(), refused("verify")),
            case("an account of another namespace: refused", &stranger, ask(), refused("verify").says("of this namespace")),
            case("a person: refused", &admin, ask(), refused("verify").says("of this namespace")),
            case("impersonation of the account alone: refused", &bare, ask(), refused("verify")),
            case("impersonation with its UID but no pod: refused", &with_uid, ask(), refused("verify").says("bound to a pod")),
            case("impersonation with a pod but no UID: refused", &no_uid, ask(), refused("verify").says("of this namespace")),
            case(
                "impersonation of an account of another namespace: refused",
                &stranger_as,
                ask(),
                refused("verify").says("of this namespace"),
            ),
            case("a namespace whose name begins with ours: refused", &longer, ask(), refused("verify").says("of this namespace")),
            case(
                "a finalizer: refused",
                &asker,
                create(&asks, request_with(json!({"name": "x", "finalizers": ["example.com/f"]}))),
                refused("verify").says("no finalizers"),
            ),
            case("owned by another pod: refused", &asker, owned("Pod", &other_pod), refused("verify").says("owned by nothing but")),
            case("owned by another kind: refused", &asker, owned("ConfigMap", &pod), refused("verify").says("owned by nothing but")),
            case("owned by the pod that asks: taken", &asker, owned("Pod", &pod), created()),
        ])
        .await;
    matrix.holds();
}

#[tokio::test]
async fn an_administrator_who_forges_a_pod_is_admitted_and_named_in_the_audit_log() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let (pod, _) = world.pod("asking-forged", "orders-0", "orders").await;
    let who = identity::parse(&pod.token).unwrap().requester;
    let forger = world.pretending(&who.username, Some(&who.uid), &[("pod-name", &who.pod_name), ("pod-uid", &who.pod_uid)]);
    let says = format!("\"podUID\":\"{}\"", who.pod_uid);
    matrix
        .one(
            "impersonation with UID and pod: a known limit",
            &forger,
            create(requests("asking-forged"), request("forged")),
            created().says(&says),
        )
        .await;
    matrix.holds();
    let logged = || async {
        let events = world.stage().cluster.audit().unwrap();
        events
            .into_iter()
            .find(|e| e.is("create", "accessrequests") && e.object_ref.as_ref().is_some_and(|o| o.namespace == "asking-forged"))
    };
    let event = wait::until("the create in the audit log", Duration::from_secs(20), logged).await.unwrap();
    assert_eq!((event.code(), event.user.username.as_str(), event.username()), (201, "admin", who.username.as_str()));
    let noted = event.annotations.iter().find(|(key, _)| key.ends_with("/requester")).map(|(_, value)| value.as_str());
    assert_eq!(noted, Some(format!("{} pod=orders-0/{}", who.username, who.pod_uid).as_str()), "verify notes whom it let in");
}

#[tokio::test]
async fn the_canary_is_refused_by_verify_for_each_of_seven_fields_and_for_nothing_else() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let operator = world.operator();
    for field in ["username", "uid", "podName", "podUID", "nodeName", "nodeUID", "credentialID"] {
        let name = format!("a canary with a wrong {field}");
        matrix.one(&name, &operator, world.canary(Some(field)), refused("verify").says("not who asked")).await;
    }
    matrix.one("the same with nothing wrong: confine and verify let it pass", &operator, world.canary(None), created()).await;
    let left = operator.send(&delete(format!("{}?dryRun=All", requests(HOME)))).await;
    matrix.same("none of them was stored", 0, left.json()["items"].as_array().unwrap().len());
    matrix.holds();
}

/// Tokens of account `orders` that no pod holds: unbound, bound to a Secret, legacy.
async fn other_tokens(admin: &Caller, namespace: &str) -> (String, String, String) {
    let options = TokenOptions::default();
    let anchor: Secret = serde_json::from_value(secret(json!({"name": "anchor"}), "Opaque")).unwrap();
    let anchor = Api::<Secret>::namespaced(admin.0.clone(), namespace).create(&PostParams::default(), &anchor).await.unwrap();
    (
        workload::unbound_token(&admin.0, namespace, "orders", &options).await.unwrap(),
        workload::secret_bound_token(&admin.0, &anchor, "orders", &options).await.unwrap(),
        workload::legacy_token(&admin.0, namespace, "orders", "legacy").await.unwrap(),
    )
}
