//! What the operator's account may do when RBAC lets it do everything: what `confine` leaves it, and nothing that leads further.

use serde_json::{Value, json};

use super::{
    calls::{Caller, create, delete, delete_with, get, json_patch, merge, put},
    matrix::{Matrix, case, code, created, invalid, passes, refused},
    world::{ADMISSION, HOME, LEASES, lease, request, requests, reserved, secret, secrets, with_requester, world},
};
use crate::support::shared;

const LABEL: &str = "daypass.dev/request-uid";

/// Secrets of other people: a password, and a service account's token.
async fn foreign_secrets(admin: &Caller, namespace: &str) {
    let mut plain = secret(json!({"name": "plain"}), "Opaque");
    plain["stringData"] = json!({"password": "foreign-password"});
    let annotations = json!({"kubernetes.io/service-account.name": "orders"});
    let token = secret(json!({"name": "legacy", "annotations": annotations}), "kubernetes.io/service-account-token");
    for secret in [plain, token] {
        let answer = admin.send(&create(secrets(namespace), secret)).await;
        assert_eq!(answer.code, 201, "{}", answer.text);
    }
}

#[tokio::test]
async fn of_secrets_the_operator_touches_only_its_own_and_can_make_no_token() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let (admin, operator) = (world.admin(), world.operator());
    world.pod("confine-secrets", "orders-0", "orders").await;
    world.pod("confine-elsewhere", "p", "orders").await;
    foreign_secrets(&admin, "confine-secrets").await;
    let s = secrets("confine-secrets");
    let labelled = |name: &str, kind: &str| secret(json!({"name": name, "labels": {LABEL: "u1"}}), kind);
    let ca = |name: &str| secret(json!({"name": name, "labels": {"daypass.dev/ca": "x"}}), "Opaque");
    let for_account =
        json!({"name": "daypass-sa", "labels": {LABEL: "u1"}, "annotations": {"kubernetes.io/service-account.name": "orders"}});
    let no = || refused("confine");
    matrix
        .play([
            case("an empty TLS reserve", &operator, create(&s, reserved("daypass-a", "u1")), created()),
            case("an Opaque one", &operator, create(&s, labelled("daypass-opaque", "Opaque")), created()),
            case(
                "a service-account token for any account: refused",
                &operator,
                create(&s, secret(for_account, "kubernetes.io/service-account-token")),
                no(),
            ),
            case(
                "a bootstrap token: refused",
                &operator,
                create(secrets("kube-system"), labelled("daypass-boot", "bootstrap.kubernetes.io/token")),
                no(),
            ),
            case("another type: refused", &operator, create(&s, labelled("daypass-b", "example.com/own")), no()),
            case("another name: refused", &operator, create(&s, reserved("other", "u1")), no()),
            case(
                "another generateName: refused",
                &operator,
                create(&s, secret(json!({"generateName": "x-", "labels": {LABEL: "u1"}}), "Opaque")),
                no(),
            ),
            case("no label: refused", &operator, create(&s, secret(json!({"name": "daypass-b"}), "Opaque")), no()),
            case("an empty label: refused", &operator, create(&s, reserved("daypass-b", "")), no()),
            case("an authority's label outside its namespace: refused", &operator, create(&s, ca("daypass-b")), no()),
            case("an authority in its namespace", &operator, create(secrets(HOME), ca("daypass-ca-x")), created()),
            case(
                "an unlabelled one in its namespace: refused",
                &operator,
                create(secrets(HOME), secret(json!({"name": "daypass-b"}), "Opaque")),
                no(),
            ),
            case(
                "a finalizer at birth: refused",
                &operator,
                create(&s, secret(json!({"name": "daypass-b", "labels": {LABEL: "u1"}, "finalizers": ["example.com/f"]}), "Opaque")),
                no(),
            ),
            // Which namespaces it may deliver into is for RBAC to say.
            case(
                "a reserve in another namespace passes admission",
                &operator,
                create(secrets("confine-elsewhere"), reserved("daypass-a", "u1")),
                created(),
            ),
            case(
                "an empty patch reads a foreign Secret: refused, and nothing leaks",
                &operator,
                merge(format!("{s}/plain"), json!({})),
                no().never("Zm9yZWlnbi1wYXNzd29yZA"),
            ),
            case(
                "an empty patch reads a foreign token: refused",
                &operator,
                merge(format!("{s}/legacy"), json!({})),
                no().never("\"token\""),
            ),
            case(
                "adopting a foreign Secret: refused",
                &operator,
                merge(format!("{s}/plain"), json!({"metadata": {"labels": {LABEL: "u1"}}})),
                no(),
            ),
            case("replacing a foreign Secret: refused", &operator, put(format!("{s}/plain"), labelled("plain", "Opaque")), no()),
            case("deleting a foreign Secret: refused", &operator, delete(format!("{s}/plain")), no()),
            case(
                "deleting a collection with foreign ones: refused",
                &operator,
                delete(format!("{s}?fieldSelector=metadata.name%3Dplain")),
                no(),
            ),
        ])
        .await;
    let test = |value: &str| json!([{"op": "test", "path": "/metadata/labels/daypass.dev~1request-uid", "value": value}]);
    let a = format!("{s}/daypass-a");
    let uid = admin.send(&get(&a)).await.field("/metadata/uid");
    let probe = |uid: &str| json!({"dryRun": ["All"], "preconditions": {"uid": uid}});
    matrix
        .play([
            case("the label test on its own reserve says the UID", &operator, json_patch(&a, test("u1")), passes().says(&uid)),
            case("the label test for another request", &operator, json_patch(&a, test("u2")), code(422)),
            case("the label test on a foreign Secret", &operator, json_patch(format!("{s}/plain"), test("u1")), code(422)),
            case("filling its own", &operator, merge(&a, json!({"data": {"tls.crt": "dg==", "tls.key": "dg=="}})), passes()),
            case("another type for its own: refused by the API", &operator, merge(&a, json!({"type": "Opaque"})), invalid("immutable")),
            case(
                "handing it to another request: refused",
                &operator,
                merge(&a, json!({"metadata": {"labels": {LABEL: "u2"}}})),
                no().says("for ever"),
            ),
            case("dropping its label: refused", &operator, merge(&a, json!({"metadata": {"labels": null}})), no()),
            case(
                "a finalizer on its own: refused",
                &operator,
                merge(&a, json!({"metadata": {"finalizers": ["example.com/f"]}})),
                no().says("no finalizers"),
            ),
            case(
                "asking whether it is there, another UID: 409",
                &operator,
                delete_with(format!("{s}/daypass-opaque"), probe(&uid)),
                code(409),
            ),
            case("asking whether it is there, the same UID", &operator, delete_with(&a, probe(&uid)), passes()),
            case("making it immutable", &operator, merge(&a, json!({"immutable": true})), passes()),
            case("deleting its own, immutable or not", &operator, delete_with(&a, json!({"preconditions": {"uid": uid}})), passes()),
        ])
        .await;
    matrix.holds();
}

#[tokio::test]
async fn nothing_else_that_the_operator_writes_leads_out_of_its_confinement() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let (admin, operator) = (world.admin(), world.operator());
    let (pod, asker) = world.pod("confine", "orders-0", "orders").await;
    matrix.one("a pod asks", &asker, create(requests("confine"), request("r")), created()).await;
    let no = || refused("confine");
    let home = |resource: &str| format!("/api/v1/namespaces/{HOME}/{resource}");
    let there = |resource: &str| format!("/api/v1/namespaces/confine/{resource}");
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let bundle = |name: &str| json!({"apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle", "metadata": {"name": name}, "spec": {"trustBundle": "x"}});
    let election = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "other"}});
    let token = |bound: Value| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600, "boundObjectRef": bound}});
    let of_pod = json!({"kind": "Pod", "apiVersion": "v1", "name": "orders-0", "uid": pod.pod.metadata.uid});
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "x"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    });
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e1"}, "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "daypass.dev/controller", "reportingInstance": "daypass-0", "action": "Decide", "reason": "Denied", "type": "Warning",
        "regarding": {"kind": "Pod", "namespace": "confine", "name": "orders-0"},
    });
    let mine = serde_json::to_value(&world.own.requester).unwrap();
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "orders-0", "namespace": "confine"}});
    let class = json!({"apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": "x"}, "spec": {"ttl": {"default": "1m", "max": "1m"}, "x509": {"ca": {"managed": {}}, "trustDomain": "x.example"}}});
    matrix
        .play([
            case("a token for an account: refused", &operator, create(there("serviceaccounts/orders/token"), token(Value::Null)), no()),
            case("a token bound to a pod: refused", &operator, create(there("serviceaccounts/orders/token"), token(of_pod)), no()),
            case("a token for its own account: refused", &operator, create(home("serviceaccounts/daypass/token"), token(Value::Null)), no()),
            case("its ConfigMap", &operator, create(home("configmaps"), map("daypass-matrix")), created()),
            case("a ConfigMap of another name: refused", &operator, create(home("configmaps"), map("other")), no()),
            case("a foreign ConfigMap: refused", &operator, merge(home("configmaps/kube-root-ca.crt"), json!({"data": {"a": "b"}})), no()),
            case("a ConfigMap elsewhere: refused", &operator, create(there("configmaps"), map("daypass-guard")), no()),
            case("deleting a ConfigMap: refused", &operator, delete(home("configmaps/daypass-matrix")), no()),
            case("a trust bundle of its signer is the API's to judge", &operator, create("/apis/certificates.k8s.io/v1/clustertrustbundles", bundle("daypass.dev:x509:x")), invalid("trustBundle")),
            case("a trust bundle of nobody's: refused", &operator, create("/apis/certificates.k8s.io/v1/clustertrustbundles", bundle("other")), code(422)),
            case("a Lease of another's election: refused", &operator, create(format!("/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases"), election), no()),
            case("an Event", &operator, create("/apis/events.k8s.io/v1/namespaces/confine/events", event), created()),
            case("changing a request: refused", &operator, merge(format!("{}/r", requests("confine")), json!({"metadata": {"labels": {"a": "b"}}})), no()),
            case("a request of its own that is no dry run: refused", &operator, create(requests(HOME), with_requester(json!({"name": "x"}), mine.clone())), no()),
            case("a dry run elsewhere: refused", &operator, create(format!("{}?dryRun=All", requests("confine")), with_requester(json!({"name": "x"}), mine)), code(403)),
            case("a lease elsewhere: refused", &operator, create(LEASES.replace(HOME, "confine"), lease("l9")), no()),
            case("a class: refused", &operator, create("/apis/daypass.dev/v1alpha1/credentialclasses", class), no()),
            case("a Pod: refused", &operator, create(there("pods"), json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [{"name": "a", "image": "a"}]}})), no()),
            case("an eviction: refused", &operator, create(there("pods/orders-0/eviction"), eviction), no()),
            case("exec: refused", &operator, create(there("pods/orders-0/exec?command=id&container=app&stdout=true"), Value::Null), no()),
            case("a ClusterRoleBinding: refused", &operator, create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", role), no()),
            case("a CRD: refused", &operator, merge("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/accessrequests.daypass.dev", json!({"metadata": {"labels": {"a": "b"}}})), no()),
            case("deleting a namespace: refused", &operator, delete("/api/v1/namespaces/confine"), no()),
            case("a review of its own rights is in nobody's way", &operator, create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review), created()),
            case("an admin is not confined", &admin, create(there("configmaps"), map("other")), created()),
        ])
        .await;
    matrix.holds();
}

#[tokio::test]
async fn rbac_withholds_what_admission_cannot_refuse() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let operator = world.operator();
    // Here every account may do everything: so this is what the guard does not stop.
    let binding = format!("{ADMISSION}/validatingadmissionpolicybindings/confine.daypass.dev?dryRun=All");
    matrix.one("its own guard is not protected by admission", &operator, delete(binding), passes()).await;
    matrix.holds();

    // And this is an installation as it is shipped.
    let (here, mut matrix) = (shared(), Matrix::default());
    let admin = Caller(here.stage.cluster.admin().unwrap());
    let asks = [
        ("impersonate", "", "users", ""),
        ("impersonate", "", "serviceaccounts", ""),
        ("impersonate", "authentication.k8s.io", "userextras", ""),
        ("update", "admissionregistration.k8s.io", "validatingadmissionpolicies", ""),
        ("delete", "admissionregistration.k8s.io", "validatingadmissionpolicybindings", ""),
        ("patch", "admissionregistration.k8s.io", "mutatingadmissionpolicies", ""),
        ("create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", ""),
        ("create", "rbac.authorization.k8s.io", "clusterrolebindings", ""),
        ("escalate", "rbac.authorization.k8s.io", "clusterroles", ""),
        ("create", "", "serviceaccounts/token", "secrets-grants"),
        ("get", "", "secrets", "secrets-grants"),
        ("list", "", "secrets", "secrets-grants"),
        ("watch", "", "secrets", "secrets-grants"),
        ("create", "", "secrets", "default"),
        ("get", "", "secrets", "kube-system"),
        ("create", "daypass.dev", "accessrequests", "default"),
        ("update", "daypass.dev", "credentialclasses", ""),
        ("update", "daypass.dev", "clusteraccesspolicies", ""),
    ];
    for (verb, group, resource, namespace) in asks {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = json!({"verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace});
        let spec = json!({"user": here.stage.operator_name().username(), "groups": ["system:serviceaccounts", "system:authenticated"], "resourceAttributes": attributes});
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
        let name = format!("{verb} {resource} {subresource} in namespace {namespace:?}: withheld");
        matrix
            .one(&name, &admin, create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review), created().says("\"allowed\":false"))
            .await;
    }
    matrix.holds();
}
