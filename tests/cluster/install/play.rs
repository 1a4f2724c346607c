//! A life of an operator with everything in it that its rights are for. Each step says which.

use std::{collections::BTreeMap, time::Duration};

use daypass::{
    api::{
        AccessLockSpec, EndReason, LABEL_CA, RequestState,
        lock::{LockMatch, LockSource},
    },
    cluster::act::Writer,
    install::manifests,
    issue::x509::{Lifetimes, Managed},
};
use devcluster::{
    Options,
    audit::Event,
    proxy::{Action, Proxy, Script},
    wait,
    workload::{self, PodSpec, TokenOptions},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};
use stage::{Csr, NODE, Operator, OperatorOptions, Pod, Stage};

use crate::{
    kinds::{Author, samples},
    support::{LENT, Private, class, daypass, permit, private},
};

/// Where Secrets may be delivered.
pub const NAMESPACE: &str = "secrets-ends";
/// How long the operator may take for one thing.
const WITHIN: Duration = Duration::from_secs(40);

/// A stage, an operator on it, and what lies between them.
pub struct Play {
    private: Private,
    proxy: Proxy,
    operator: Option<Operator>,
}

impl Play {
    /// Sets the stage; the operator is not there yet.
    pub async fn set() -> Self {
        let private = private(Options::default()).await;
        // The answer to the first lease is lost: it is found to exist, and read.
        let lost = Script::counting(|call| call.method == "POST" && call.path.ends_with("/credentialleases")).after(1, Action::Drop);
        let proxy = Proxy::start(&private.stage.cluster, lost).await.unwrap();
        Self { private, proxy, operator: None }
    }

    /// All calls of the operator so far; not those of tests that played it.
    pub fn calls(&self) -> Vec<Event> {
        let username = self.stage().operator_name().username();
        let events = self.stage().cluster.audit().unwrap();
        events.into_iter().filter(|event| event.impersonated_user.is_none() && event.user.username == username).collect()
    }

    /// The stage.
    pub fn stage(&self) -> &Stage {
        &self.private.stage
    }

    /// What an earlier life has left: a closed lease whose time is long over, and an authority that is due for renewal.
    pub async fn inherit(&self) {
        let (home, author) = (self.home(), Author::operator(self.stage()));
        let mut lease = author.create(&samples::lease(home)).await.unwrap();
        lease["status"] = samples::lease_status();
        author.put_status(&lease).await.unwrap();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": authority("old", SignedDuration::from_hours(25 * 24)),
            "metadata": {"name": "daypass-ca-old", "namespace": home, "labels": {LABEL_CA: "old"}},
        });
        author.create(&secret).await.unwrap();
    }

    /// Starts the operator; it finds the guard open, says so, and goes on when the guard is closed.
    pub async fn find_the_guard_open(&mut self) {
        self.open_the_guard().await;
        self.start("daypass-0").await;
        self.until_called("create", "events").await;
        self.close_the_guard().await;
        self.operator.as_ref().unwrap().ready().await.unwrap();
    }

    /// Classes of three authorities: one made, one renewed, one brought and then replaced. A policy of either kind.
    pub async fn offer(&self) {
        let stage = self.stage();
        self.bring_authority().await;
        for (name, ca) in
            [("play", json!({"managed": {}})), ("old", json!({"managed": {"name": "old"}})), ("brought", json!({"secretName": "corp-ca"}))]
        {
            let mut class = class(name);
            class["spec"]["x509"]["ca"] = ca;
            class["spec"]["delegateTo"] = json!({"names": [NAMESPACE]});
            stage.platform(class).await.unwrap();
        }
        stage.platform(permit("play", NAMESPACE, "player", "play", json!({}))).await.unwrap();
        let mut own = samples::policy(NAMESPACE);
        json_patch::merge(&mut own, &json!({"spec": {"classes": ["brought"], "when": null, "require": null, "expiresAt": null}}));
        stage.pod(NAMESPACE, "unused", "player").await.unwrap();
        stage.platform(own).await.unwrap();
        for ready in ["dpclass/play", "dpclass/old", "dpclass/brought", "dpcpol/play"] {
            self.until_ready(ready).await;
        }
        self.bring_authority().await;
        self.until_called("update", "configmaps").await;
    }

    /// A person locks what nobody is, and the operator says what came of it. And the operator locks by itself: by its own code and token, since
    /// nobody asks so often here that it would.
    pub async fn lock(&self) {
        let stage = self.stage();
        let spec = json!({"match": {"nodes": ["nowhere"]}, "reason": "a test", "expiresAt": "2099-01-01T00:00:00Z"});
        stage
            .platform(json!({"apiVersion": "daypass.dev/v1alpha1", "kind": "AccessLock", "metadata": {"name": "play"}, "spec": spec}))
            .await
            .unwrap();
        self.until_called("update", "accesslocks/status").await;
        let admin = stage.cluster.admin().unwrap();
        let name = stage.operator_name();
        let spec = PodSpec::new(&name.namespace, "daypass-engine").service_account(&name.service_account).node(NODE);
        let pod = workload::run_pod(&admin, &spec).await.unwrap();
        let token = workload::bound_token(&admin, &pod, &TokenOptions::default()).await.unwrap();
        let spec = AccessLockSpec {
            matches: LockMatch { nodes: Some(vec!["nowhere".into()]), ..LockMatch::default() },
            reason: "a test".into(),
            expires_at: Timestamp::now() + SignedDuration::from_hours(1),
            source: LockSource::Engine,
            by: name.username(),
        };
        let writer = Writer::new(stage.cluster.client_with_token(&token).unwrap(), name.namespace.clone());
        writer.place_lock("play-engine", spec).await.unwrap();
    }

    /// A pod that asks.
    pub async fn pod(&self) -> Pod {
        self.stage().pod(NAMESPACE, "player-1", "player").await.unwrap()
    }

    /// A certificate that dies by its time, after its lease's answer was lost.
    pub async fn expire(&self, pod: &Pod) {
        let request = pod.ask_with_csr("play", Some("3s"), &Csr::new().unwrap()).await.unwrap();
        assert_eq!(pod.answer(&request).await.unwrap().state(), RequestState::Active);
        // It is kept for a second, and then removed.
        wait::until("the request to be removed", WITHIN, || async {
            pod.requests().get_opt(&request.name_any()).await.unwrap().is_none().then_some(())
        })
        .await
        .unwrap();
    }

    /// A Secret that is given back.
    pub async fn give_back(&self, pod: &Pod) {
        let request = pod.ask("given", json!({"className": "play", "secretName": "daypass-given"})).await.unwrap();
        assert_eq!(pod.answer(&request).await.unwrap().state(), RequestState::Active);
        pod.requests().delete(&request.name_any(), &DeleteParams::default()).await.unwrap();
        self.until_called("delete", "secrets").await;
    }

    /// A Secret of somebody else is in the way.
    pub async fn stand_in_the_way(&self, pod: &Pod) {
        let foreign = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "daypass-mine", "namespace": NAMESPACE}});
        self.stage().platform(foreign).await.unwrap();
        let request = pod.ask("mine", json!({"className": "play", "secretName": "daypass-mine"})).await.unwrap();
        let denied = pod.answer(&request).await.unwrap().status.unwrap();
        assert_eq!(denied.reason.as_deref(), Some("SecretExists"));
    }

    /// A token is lent to a neighbour of its account. The answer to its reserve is lost, so it is asked whose it is; leftovers of others like
    /// it are swept.
    pub async fn lend(&self) {
        let stage = self.stage();
        let class = json!({
            "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": "lends"},
            "spec": {"delivery": ["Secret"], "serviceAccountToken": {"namespace": LENT, "name": "sweep"}},
        });
        stage.platform(class).await.unwrap();
        stage.platform(permit("lends", LENT, "borrower", "lends", json!({}))).await.unwrap();
        for ready in ["dpclass/lends", "dpcpol/lends"] {
            self.until_ready(ready).await;
        }
        let pod = stage.pod(LENT, "borrower-1", "borrower").await.unwrap();
        let reserve = Script::counting(|call| call.method == "POST" && call.path.ends_with(&format!("/namespaces/{LENT}/secrets")));
        self.proxy.play(reserve.after(1, Action::Drop));
        let request = pod.ask("lends", json!({"className": "lends", "ttl": "3s"})).await.unwrap();
        assert_eq!(pod.answer(&request).await.unwrap().state(), RequestState::Active);
        wait::until("the request to be removed", WITHIN, || async {
            pod.requests().get_opt(&request.name_any()).await.unwrap().is_none().then_some(())
        })
        .await
        .unwrap();
        self.until_called("deletecollection", "secrets").await;
    }

    /// A policy lowers its ceiling under a live credential.
    pub async fn lower_the_ceiling(&self, pod: &Pod) {
        let request = pod.ask_with_csr("play", Some("5m"), &Csr::new().unwrap()).await.unwrap();
        let ends =
            |request: &daypass::api::AccessRequest| request.status.as_ref()?.credential.as_ref().map(|credential| credential.expires_at);
        let first = ends(&pod.answer(&request).await.unwrap()).unwrap();
        self.stage().platform(permit("play", NAMESPACE, "player", "play", json!({"ttl": {"max": "2m"}}))).await.unwrap();
        pod.until(&request, "an earlier end", |request| ends(request).is_some_and(|end| end < first)).await.unwrap();
    }

    /// While the operator is away, the account of one live credential goes and the node of another.
    pub async fn take_away_what_nobody_watches(&mut self) {
        let (stage, admin) = (self.stage(), self.stage().cluster.admin().unwrap());
        stage.platform(permit("play-leaver", NAMESPACE, "leaver", "play", json!({}))).await.unwrap();
        self.until_ready("dpcpol/play-leaver").await;
        let nobody = stage.pod(NAMESPACE, "leaver-1", "leaver").await.unwrap();
        workload::node(&admin, "node-2", &[]).await.unwrap();
        let nowhere = self.pod_on("node-2").await;
        let mut requests = vec![];
        for pod in [&nobody, &nowhere] {
            let request = pod.ask_with_csr("play", Some("2m"), &Csr::new().unwrap()).await.unwrap();
            assert_eq!(pod.answer(&request).await.unwrap().state(), RequestState::Active);
            requests.push(request);
        }

        self.operator.take().unwrap().stop().await;
        Api::<ServiceAccount>::namespaced(admin.clone(), NAMESPACE).delete("leaver", &DeleteParams::default()).await.unwrap();
        Api::<Node>::all(admin).delete("node-2", &DeleteParams::default()).await.unwrap();
        self.start("daypass-1").await;
        for (request, end) in requests.iter().zip([EndReason::IdentityRemoved, EndReason::NodeLost]) {
            let ended =
                wait::until("the lease to be ended", WITHIN, || async { self.stage().lease_of(request).await.ok()??.status?.reason });
            assert_eq!(ended.await.unwrap(), end);
        }
        self.operator.as_ref().unwrap().ready().await.unwrap();
    }

    /// The guard opens once more in the life of the same process: its Event is not written anew but counted. Events of one kind are a
    /// minute apart, so this waits until one is due.
    pub async fn find_the_guard_open_again(&self) {
        let said = self.calls().iter().find(|call| call.is("create", "events")).map(|call| call.reached).unwrap();
        let due = said + SignedDuration::from_secs(61);
        wait::until("the next Event to be due", WITHIN * 2, || async { (Timestamp::now() > due).then_some(()) }).await.unwrap();
        self.open_the_guard().await;
        self.until_called("patch", "events").await;
        self.close_the_guard().await;
        self.operator.as_ref().unwrap().ready().await.unwrap();
    }

    /// Waits until the operator has done this.
    pub async fn until_called(&self, verb: &str, resource: &str) {
        let what = format!("{verb} {resource} by the operator");
        let called = wait::until(&what, WITHIN, || async { self.calls().iter().any(|call| call.is(verb, resource)).then_some(()) });
        if called.await.is_err() {
            panic!("no {what}; log:\n{}", self.operator.as_ref().map(|operator| operator.process.log_tail(20)).unwrap_or_default());
        }
    }

    async fn start(&mut self, pod: &str) {
        let args = ["--keep-clean", "1s", "--keep-other", "1s"].map(str::to_owned).to_vec();
        let options = OperatorOptions { pod: pod.into(), server: Some(self.proxy.url().clone()), args, ..OperatorOptions::default() };
        self.operator = Some(self.stage().operator(&daypass(), options).await.unwrap());
    }

    /// A pod that asks, on this node.
    async fn pod_on(&self, node: &str) -> Pod {
        let (stage, admin) = (self.stage(), self.stage().cluster.admin().unwrap());
        let spec = PodSpec::new(NAMESPACE, format!("player-{node}")).service_account("player").node(node);
        let pod = workload::run_pod(&admin, &spec).await.unwrap();
        let token = workload::bound_token(&admin, &pod, &TokenOptions::default()).await.unwrap();
        let client = stage.cluster.client_with_token(&token).unwrap();
        Pod { namespace: NAMESPACE.into(), pod, token, client }
    }

    async fn until_ready(&self, object: &str) {
        let waited = self.stage().cluster.kubectl(["wait", "--for=condition=Ready", "--timeout=60s", object]).await.unwrap();
        assert!(waited.status.success(), "{object}: {}", String::from_utf8_lossy(&waited.stderr));
    }

    /// The Secret of a company's authority, with a new key each time.
    async fn bring_authority(&self) {
        let data = authority("corp", SignedDuration::ZERO);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "data": data,
            "metadata": {"name": "corp-ca", "namespace": self.home()},
        });
        self.stage().platform(secret).await.unwrap();
    }

    fn guard_binding(&self) -> Value {
        let is_it = |object: &Value| {
            object["kind"] == "ValidatingAdmissionPolicyBinding" && object["metadata"]["name"] == daypass::install::guard::VERIFY
        };
        manifests(&self.stage().values).into_iter().find(is_it).unwrap()
    }

    async fn open_the_guard(&self) {
        let output =
            self.stage().cluster.kubectl(["delete", "validatingadmissionpolicybinding", daypass::install::guard::VERIFY]).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    async fn close_the_guard(&self) {
        self.stage().platform(self.guard_binding()).await.unwrap();
    }

    fn home(&self) -> &str {
        &self.stage().operator_name().namespace
    }
}

/// Key and certificate of an authority of this age, as a Secret holds them.
fn authority(name: &str, age: SignedDuration) -> BTreeMap<String, String> {
    let nothing = Managed::parse(name, &BTreeMap::new()).unwrap();
    let made = nothing.step(Timestamp::now() - age, false, &Lifetimes::default()).unwrap().unwrap();
    made.to_data().into_iter().map(|(key, bytes)| (key, data_encoding::BASE64.encode(bytes.expose()))).collect()
}
