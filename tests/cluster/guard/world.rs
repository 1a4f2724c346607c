//! The small world that the matrix plays in: Daypass installed and not running, every service account allowed everything.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use daypass::cluster::identity::{self, OwnToken};
use devcluster::{
    Options, wait,
    workload::{self, PodSpec, TokenOptions},
};
use kube::ResourceExt;
use serde_json::{Value, json};
use stage::{NODE, Pod, Stage};
use tokio::sync::Mutex;

use super::calls::{Call, Caller, create, delete, get, merge, put};
use crate::support::{Private, private};

/// The operator's namespace.
pub const HOME: &str = "daypass-system";
/// What binds in a namespace with this label are everything but the stamp.
pub const UNSTAMPED: (&str, &str) = ("matrix/stamp", "off");
/// Path of the admission policies and their bindings.
pub const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
/// Path of the leases.
pub const LEASES: &str = "/apis/daypass.dev/v1alpha1/namespaces/daypass-system/credentialleases";

/// Policies come into force within a second.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(20);

/// A stage for the matrix.
pub struct World {
    private: Private,
    /// The operator's own pod-bound token, and who it says it is.
    pub own: OwnToken,
}

/// The world that tests share while any of them runs.
pub async fn world() -> Arc<World> {
    // Weak: its control plane and its turn are given back when the last test of this module is over.
    static SHARED: Mutex<Weak<World>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(world) = shared.upgrade() {
        return world;
    }
    let world = Arc::new(World::new().await);
    *shared = Arc::downgrade(&world);
    world
}

impl World {
    /// A world of one's own.
    pub async fn new() -> Self {
        let private = private(Options::default()).await;
        if let Ok(rule) = std::env::var("DAYPASS_TEST_WITHOUT") {
            weaken(&Caller(private.stage.cluster.admin().unwrap()), &rule).await;
        }
        let admin = private.stage.cluster.admin().unwrap();
        let spec = PodSpec::new(HOME, "daypass-0").service_account("daypass").node(NODE);
        let pod = workload::run_pod(&admin, &spec).await.unwrap();
        let token = workload::bound_token(&admin, &pod, &TokenOptions::default()).await.unwrap();
        let world = Self { private, own: identity::parse(&token).unwrap() };
        // RBAC refuses nothing to service accounts from here on: what is refused, admission refuses.
        world.stage().platform(widen()).await.unwrap();
        world.stage().platform(revokers()).await.unwrap();
        world.limit_the_stamps().await;
        world.in_force().await;
        world
    }

    /// The stage.
    pub fn stage(&self) -> &Stage {
        &self.private.stage
    }

    /// An administrator, member of system:masters.
    pub fn admin(&self) -> Caller {
        Caller(self.stage().cluster.admin().unwrap())
    }

    /// The operator, by its own token and with every right.
    pub fn operator(&self) -> Caller {
        self.bearer(self.own.token.expose())
    }

    /// Whoever holds this token.
    pub fn bearer(&self, token: &str) -> Caller {
        Caller(self.stage().cluster.client_with_token(token).unwrap())
    }

    /// Rita may end leases: she has the role that is shipped for that and no other.
    pub fn rita(&self) -> Caller {
        Caller(self.stage().cluster.client_for_user("rita", &["revokers"]).unwrap())
    }

    /// Ed has the built-in role `edit` in this namespace.
    pub async fn ed(&self, namespace: &str) -> Caller {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "ed", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ed"}],
        });
        self.stage().platform(binding).await.unwrap();
        let ed = Caller(self.stage().cluster.client_for_user("ed", &[]).unwrap());
        // RBAC reaches the API server by a watch.
        self.until(&ed, &get(format!("/api/v1/namespaces/{namespace}/secrets")), 200).await;
        ed
    }

    /// The administrator pretending to be somebody, with a UID and with extra fields or without.
    pub fn pretending(&self, user: &str, uid: Option<&str>, extra: &[(&str, &str)]) -> Caller {
        let key = |name: &str| format!("authentication.kubernetes.io/{name}");
        let extra: BTreeMap<_, _> = extra.iter().map(|(name, value)| (key(name), vec![(*value).to_owned()])).collect();
        Caller(self.stage().cluster.client_impersonating(user, uid, &["system:authenticated", "system:masters"], &extra).unwrap())
    }

    /// A pod with its token.
    pub async fn pod(&self, namespace: &str, name: &str, account: &str) -> (Pod, Caller) {
        let pod = self.stage().pod(namespace, name, account).await.unwrap();
        let caller = Caller(pod.client.clone());
        (pod, caller)
    }

    /// A namespace that the stamp does not reach.
    pub async fn unstamped(&self, namespace: &str) {
        workload::namespace(&self.stage().cluster.admin().unwrap(), namespace, &[UNSTAMPED]).await.unwrap();
    }

    /// Waits until the call is answered with this code: for what takes a moment to come into force.
    pub async fn until(&self, who: &Caller, call: &Call, code: u16) {
        let last = std::cell::RefCell::new(String::new());
        let come = wait::until("it to come into force", IN_FORCE_WITHIN, || async {
            let answer = who.send(call).await;
            last.replace(format!("{} {}", answer.code, answer.text));
            (answer.code == code).then_some(())
        });
        assert!(come.await.is_ok(), "{call:?} should come to {code}: {}", last.take());
    }

    /// Waits until the first and the last policy act, and the stamps where they should.
    pub async fn in_force(&self) {
        let (operator, admin) = (self.operator(), self.admin());
        self.until(&operator, &self.canary(Some("podUID")), 403).await;
        self.until(&admin, &delete(format!("/api/v1/namespaces/{HOME}?dryRun=All")), 403).await;
        let (_, stamped) = self.pod("settling", "p", "a").await;
        let ask = |namespace: &str| create(format!("{}?dryRun=All", requests(namespace)), request("x"));
        self.until(&stamped, &ask("settling"), 201).await;
        self.unstamped("settling-unstamped").await;
        let (_, unstamped) = self.pod("settling-unstamped", "p", "a").await;
        self.until(&unstamped, &ask("settling-unstamped"), 422).await;
    }

    /// A dry run by the operator in its own namespace, right in everything but this field.
    pub fn canary(&self, wrong: Option<&str>) -> Call {
        let mut requester = serde_json::to_value(&self.own.requester).unwrap();
        if let Some(field) = wrong {
            requester[field] = "wrong".into();
        }
        create(format!("{}?dryRun=All", requests(HOME)), with_requester(json!({"generateName": "canary-"}), requester))
    }

    /// Keeps the stamps from namespaces and leases that are labelled so: forgeries can then be tried with and without them side by side.
    async fn limit_the_stamps(&self) {
        let unlabelled = json!({"matchExpressions": [{"key": UNSTAMPED.0, "operator": "NotIn", "values": [UNSTAMPED.1]}]});
        for (binding, selector) in [("stamp", "namespaceSelector"), ("stamp-revoke", "objectSelector"), ("stamp-lock", "objectSelector")] {
            let path = format!("{ADMISSION}/mutatingadmissionpolicybindings/{binding}.daypass.dev");
            let mut resources = json!({});
            resources[selector] = unlabelled.clone();
            let answer = self.admin().send(&merge(path, json!({"spec": {"matchResources": resources}}))).await;
            assert_eq!(answer.code, 200, "{}", answer.text);
        }
    }
}

/// Path of a namespace's requests.
pub fn requests(namespace: &str) -> String {
    format!("/apis/daypass.dev/v1alpha1/namespaces/{namespace}/accessrequests")
}

/// Path of a namespace's Secrets.
pub fn secrets(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets")
}

/// A request of this name that leaves it to the stamp who asks.
pub fn request(name: &str) -> Value {
    request_with(json!({"name": name}))
}

/// The same with this metadata.
pub fn request_with(metadata: Value) -> Value {
    json!({"apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest", "metadata": metadata, "spec": {"className": "db"}})
}

/// A request that says itself who asks.
pub fn with_requester(metadata: Value, requester: Value) -> Value {
    let mut request = request_with(metadata);
    request["spec"]["requester"] = requester;
    request
}

/// What the pod's own token says of it.
pub fn own_requester(pod: &Pod) -> Value {
    serde_json::to_value(identity::parse(&pod.token).unwrap().requester).unwrap()
}

/// A requester that nobody is.
pub fn somebody_else() -> Value {
    json!({
        "username": "system:serviceaccount:kube-system:root", "uid": "evil", "podName": "evil", "podUID": "evil", "nodeName": "evil",
        "nodeUID": "evil", "credentialID": "evil",
    })
}

/// A Secret as the operator reserves one, for a request of this UID.
pub fn reserved(name: &str, uid: &str) -> Value {
    let mut secret = secret(json!({"name": name, "labels": {"daypass.dev/request-uid": uid}}), "kubernetes.io/tls");
    secret["data"] = json!({"tls.crt": "", "tls.key": ""});
    secret
}

/// A Secret.
pub fn secret(metadata: Value, r#type: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": r#type})
}

/// A reference to a pod as owner.
pub fn owned_by(kind: &str, pod: &Pod) -> Value {
    json!([{"apiVersion": "v1", "kind": kind, "name": pod.pod.name_any(), "uid": pod.pod.uid()}])
}

/// A lease with a year to go.
pub fn lease(name: &str) -> Value {
    json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialLease", "metadata": {"name": name},
        "spec": {
            "requestNamespace": "shop", "requestName": "r", "requestUID": "u1", "attempt": 0, "className": "db", "delivery": "CSR",
            "requester": somebody_else(), "workload": "Pod/r", "decisionID": "d1",
            "policy": {"name": "p", "uid": "p1", "generation": 1, "hash": "h"},
            "x509": {
                "ca": "daypass-ca-default", "serial": "01", "uri": "spiffe://test.example/ns/shop/sa/r", "notAfter": "2099-01-01T00:00:00Z",
            },
            "notBefore": "2026-01-01T00:00:00Z", "expiresAt": "2099-01-01T00:00:00Z",
        },
    })
}

/// Makes one expression of one policy say `true`, for instance `verify/validations/2` or `reserve/matchConditions/1`.
async fn weaken(admin: &Caller, rule: &str) {
    let (policy, pointer) = rule.split_once('/').unwrap();
    let kind = if policy.starts_with("stamp") { "mutating" } else { "validating" };
    let path = format!("{ADMISSION}/{kind}admissionpolicies/{policy}.daypass.dev");
    let mut object = admin.send(&get(&path)).await.json();
    *object["spec"].pointer_mut(&format!("/{pointer}/expression")).unwrap() = "true".into();
    let answer = admin.send(&put(path, object)).await;
    assert_eq!(answer.code, 200, "{}", answer.text);
}

fn widen() -> Value {
    cluster_role_binding("every-account-may-do-everything", "cluster-admin", "system:serviceaccounts")
}

fn revokers() -> Value {
    cluster_role_binding("revokers", "daypass-revoker", "revokers")
}

fn cluster_role_binding(name: &str, role: &str, group: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    })
}
