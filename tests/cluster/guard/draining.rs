//! What *confine* leaves the operator's account of a drain's rights, were they bound to it for ever: to stop itself, and to mark what is its own.

use serde_json::{Value, json};

use super::{
    calls::{create, json_patch, merge, put},
    matrix::{Matrix, case, created, passes, refused},
    world::{HOME, world},
};

fn deployment(name: &str) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
        },
    })
}

#[tokio::test]
async fn the_operator_s_account_can_stop_itself_and_mark_its_own_and_nothing_else() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let (admin, operator) = (world.admin(), world.operator());
    world.pod("draining", "p", "orders").await;
    let deployments = |namespace: &str| format!("/apis/apps/v1/namespaces/{namespace}/deployments");
    let scale = |namespace: &str, name: &str| format!("{}/{name}/scale?dryRun=All", deployments(namespace));
    let to = |replicas: i64| json!({"spec": {"replicas": replicas}});
    let (home, crd) = (
        format!("/api/v1/namespaces/{HOME}?dryRun=All"),
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/credentialleases.daypass.dev?dryRun=All".to_owned(),
    );
    let metadata = |metadata: Value| json!({"metadata": metadata});
    let mark = || metadata(json!({"annotations": {"daypass.dev/drained": "true"}}));
    let no = || refused("confine");
    matrix
        .play([
            case("the operator's Deployment", &admin, create(deployments(HOME), deployment("daypass")), created()),
            case("another one beside it", &admin, create(deployments(HOME), deployment("other")), created()),
            case("one of that name elsewhere", &admin, create(deployments("draining"), deployment("daypass")), created()),
            case("it stops itself", &operator, merge(scale(HOME, "daypass"), to(0)), passes()),
            case("it brings itself back: refused", &operator, merge(scale(HOME, "daypass"), to(2)), no()),
            case("it leaves itself as it is: refused", &operator, merge(scale(HOME, "daypass"), to(1)), no()),
            case("it stops another one: refused", &operator, merge(scale(HOME, "other"), to(0)), no()),
            case("it stops one elsewhere: refused", &operator, merge(scale("draining", "daypass"), to(0)), no()),
            case(
                "it changes its Deployment by another door: refused",
                &operator,
                merge(format!("{}/daypass?dryRun=All", deployments(HOME)), to(0)),
                no(),
            ),
            case("it marks its namespace", &operator, merge(&home, mark()), passes()),
            case("it marks another namespace: refused", &operator, merge("/api/v1/namespaces/draining?dryRun=All", mark()), no()),
            case("it marks a definition", &operator, merge(&crd, mark()), passes()),
            case(
                "a label of its namespace: refused",
                &operator,
                merge(&home, metadata(json!({"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}))),
                no(),
            ),
            case("a finalizer: refused", &operator, merge(&home, metadata(json!({"finalizers": ["example.com/f"]}))), no()),
            case("another annotation: refused", &operator, merge(&home, metadata(json!({"annotations": {"a": "b"}}))), no()),
            case(
                "another annotation beside the mark: refused",
                &operator,
                merge(&crd, metadata(json!({"annotations": {"daypass.dev/drained": "true", "api-approved.kubernetes.io": "x"}}))),
                no(),
            ),
            case(
                "where a definition's objects are converted: refused",
                &operator,
                merge(
                    &crd,
                    json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {
                        "conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://thief.example/"},
                    }}}}),
                ),
                no(),
            ),
            case(
                "a rule of a definition's schema: refused",
                &operator,
                json_patch(
                    &crd,
                    json!([{"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations"}]),
                ),
                no(),
            ),
            case(
                "an owner of its namespace: refused",
                &operator,
                merge(
                    &home,
                    metadata(json!({
                        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "x"}],
                    })),
                ),
                no(),
            ),
        ])
        .await;
    // Taking away what is there is a change as well.
    let noted = merge(format!("/api/v1/namespaces/{HOME}"), metadata(json!({"annotations": {"note": "x", "daypass.dev/drained": "true"}})));
    let take = |annotation: &str| merge(&home, metadata(json!({"annotations": {annotation: null}})));
    matrix
        .play([
            case("somebody notes something and marks it", &admin, noted, passes()),
            case("it takes the mark away", &operator, take("daypass.dev/drained"), passes()),
            case("it takes the note away: refused", &operator, take("note"), no()),
            case("it changes the note: refused", &operator, merge(&home, metadata(json!({"annotations": {"note": "y"}}))), no()),
            case(
                "the mark and the note go",
                &admin,
                merge(format!("/api/v1/namespaces/{HOME}"), metadata(json!({"annotations": {"note": null, "daypass.dev/drained": null}}))),
                passes(),
            ),
        ])
        .await;
    let whole = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "daypass", "namespace": HOME}, "spec": {}});
    matrix.one("nothing said is nothing wanted", &operator, put(scale(HOME, "daypass"), whole), passes()).await;
    matrix.holds();
}
