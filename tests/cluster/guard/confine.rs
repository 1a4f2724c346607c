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
async fn of_shared_kinds_the_operator_writes_only_what_bears_its_name() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let (admin, operator) = (world.admin(), world.operator());
    world.pod("confine-names", "orders-0", "orders").await;
    let (home, there) = (core(HOME, "configmaps"), core("confine-names", "configmaps"));
    let map = |name: &str| object("v1", "ConfigMap", name, json!({}));
    let root = root();
    let bundles = "/apis/certificates.k8s.io/v1/clustertrustbundles";
    let bundle = |name: &str, signer: &str| {
        let spec = json!({"signerName": signer, "trustBundle": root});
        object("certificates.k8s.io/v1", "ClusterTrustBundle", name, json!({"spec": spec}))
    };
    let event = json!({
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "daypass.dev/controller", "reportingInstance": "daypass-0",
        "action": "Decide", "reason": "Denied", "type": "Warning",
        "regarding": {"kind": "Pod", "namespace": "confine-names", "name": "orders-0"},
    });
    let events = "/apis/events.k8s.io/v1/namespaces/confine-names/events";
    let no = || refused("confine");
    let foreign = format!("{home}/kube-root-ca.crt");
    let ours = format!("{home}/daypass-matrix");
    matrix
        .play([
            case("its ConfigMap", &operator, create(&home, map("daypass-matrix")), created()),
            case("changing it", &operator, merge(&ours, json!({"data": {"a": "b"}})), passes()),
            case("a ConfigMap of another name: refused", &operator, create(&home, map("other")), no()),
            case("a foreign ConfigMap: refused", &operator, merge(foreign, json!({"data": {"a": "b"}})), no()),
            case("a ConfigMap elsewhere: refused", &operator, create(&there, map("daypass-guard")), no()),
            case("deleting a ConfigMap: refused", &operator, delete(&ours), no()),
            case("a trust bundle of its signer", &operator, create(bundles, bundle("daypass.dev:x509:x", "daypass.dev/x509")), created()),
            case("another signer's trust bundle: refused", &operator, create(bundles, bundle("other.dev:x:x", "other.dev/x")), no()),
            case("deleting a trust bundle: refused", &operator, delete(format!("{bundles}/daypass.dev:x509:x")), no()),
            case("an Event", &operator, create(events, object("events.k8s.io/v1", "Event", "e1", event)), created()),
            case("an admin is not confined", &admin, create(&there, map("other")), created()),
        ])
        .await;
    matrix.holds();
}

#[tokio::test]
async fn of_its_own_kinds_the_operator_writes_what_its_job_is_and_asks_for_nothing_itself() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let operator = world.operator();
    let (_, asker) = world.pod("confine-own", "orders-0", "orders").await;
    let asks = requests("confine-own");
    let truthful = |name: &str| with_requester(json!({"name": name}), serde_json::to_value(&world.own.requester).unwrap());
    let spec = json!({"ttl": {"default": "1m", "max": "1m"}, "x509": {"ca": {"managed": {}}, "trustDomain": "x.example"}});
    let class = object("daypass.dev/v1alpha1", "CredentialClass", "x", json!({"spec": spec}));
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let no = || refused("confine");
    matrix
        .play([
            case("a pod asks", &asker, create(&asks, request("r")), created()),
            case("changing a request: refused", &operator, merge(format!("{asks}/r"), label), no()),
            case("a request of its own that is no dry run: refused", &operator, create(requests(HOME), truthful("x")), no()),
            // By confine or by verify, which both have reason to: only the first refusal is reported, in no promised order.
            case("a dry run elsewhere: refused", &operator, create(format!("{asks}?dryRun=All"), truthful("x")), code(403)),
            case("a lease elsewhere: refused", &operator, create(LEASES.replace(HOME, "confine-own"), lease("l9")), no()),
            case("a class: refused", &operator, create("/apis/daypass.dev/v1alpha1/credentialclasses", class), no()),
            case("deleting a request", &operator, delete(format!("{asks}/r")), passes()),
        ])
        .await;
    matrix.holds();
}

#[tokio::test]
async fn everything_else_is_none_of_the_operator_s_business() {
    let (world, mut matrix) = (world().await, Matrix::default());
    let operator = world.operator();
    let (pod, _) = world.pod("confine", "orders-0", "orders").await;
    let there = |resource: &str| core("confine", resource);
    let token = |bound: Value| {
        let spec = json!({"expirationSeconds": 600, "boundObjectRef": bound});
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
    };
    let of_pod = json!({"kind": "Pod", "apiVersion": "v1", "name": "orders-0", "uid": pod.pod.metadata.uid});
    let (account, own) = (there("serviceaccounts/orders/token"), core(HOME, "serviceaccounts/daypass/token"));
    let rbac = "rbac.authorization.k8s.io";
    let role = json!({"roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"}});
    let role = object(&format!("{rbac}/v1"), "ClusterRoleBinding", "x", role);
    let election = object("coordination.k8s.io/v1", "Lease", "daypass-leader", json!({}));
    let elections = format!("/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases");
    let container = object("v1", "Pod", "x", json!({"spec": {"containers": [{"name": "a", "image": "a"}]}}));
    let eviction = object("policy/v1", "Eviction", "orders-0", json!({}));
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/accessrequests.daypass.dev";
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}},
    });
    let no = || refused("confine");
    matrix
        .play([
            case("a token for an account: refused", &operator, create(&account, token(Value::Null)), no()),
            case("a token bound to a pod: refused", &operator, create(&account, token(of_pod)), no()),
            case("a token for its own account: refused", &operator, create(own, token(Value::Null)), no()),
            case("a Lease: refused", &operator, create(elections, election), no()),
            case("a Pod: refused", &operator, create(there("pods"), container), no()),
            case("an eviction: refused", &operator, create(there("pods/orders-0/eviction"), eviction), no()),
            case("exec: refused", &operator, create(there("pods/orders-0/exec?command=id&container=app&stdout=true"), Value::Null), no()),
            case("a ClusterRoleBinding: refused", &operator, create(format!("/apis/{rbac}/v1/clusterrolebindings"), role), no()),
            case("a CRD: refused", &operator, merge(crd, json!({"metadata": {"labels": {"a": "b"}}})), no()),
            case("deleting a namespace: refused", &operator, delete("/api/v1/namespaces/confine"), no()),
            case(
                "a review of its own rights is in nobody's way",
                &operator,
                create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review),
                created(),
            ),
        ])
        .await;
    matrix.holds();
}

/// The certificate of an authority, PEM.
fn root() -> String {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

/// Path of a core resource in a namespace.
fn core(namespace: &str, resource: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{resource}")
}

fn object(api_version: &str, kind: &str, name: &str, rest: Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    for (key, value) in rest.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
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
        // A drain's, which are bound only while it runs.
        ("patch", "apps", "deployments/scale", "daypass-system"),
        ("patch", "", "namespaces", "daypass-system"),
        ("patch", "apiextensions.k8s.io", "customresourcedefinitions", ""),
    ];
    for (verb, group, resource, namespace) in asks {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = json!({"verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace});
        let (user, groups) = (here.stage.operator_name().username(), ["system:serviceaccounts", "system:authenticated"]);
        let spec = json!({"user": user, "groups": groups, "resourceAttributes": attributes});
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
        let name = format!("{verb} {resource} {subresource} in namespace {namespace:?}: withheld");
        matrix
            .one(&name, &admin, create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review), created().says("\"allowed\":false"))
            .await;
    }
    matrix.holds();
}
