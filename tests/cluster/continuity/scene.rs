//! A stage of one's own with a running operator, a class and a policy, and what a test does to the guard there.

use std::time::Duration;

use daypass::{
    api::{AccessRequest, CredentialClass, RequestState, condition::ConditionStatus},
    cluster::identity,
    install::guard::{VERIFY, objects},
};
use devcluster::{Options, wait};
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use stage::{Csr, Operator, OperatorOptions, Pod, Stage};

use crate::{
    guard::calls::{Answer, Call, Caller, create, delete, get, put},
    support::{Private, class, daypass, permit, private},
};

/// Namespace, class and policy of these tests.
pub const SHOP: &str = "shop";
/// How long anything here may take.
pub const SOON: Duration = Duration::from_secs(60);

/// The stage with its operator.
pub struct Scene {
    private: Private,
    /// The operator.
    pub operator: Operator,
    /// A pod that may have a certificate.
    pub orders: Pod,
}

/// The two objects that the operator trusts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// `ValidatingAdmissionPolicy verify.daypass.dev`.
    Policy,
    /// Its binding.
    Binding,
}

impl Scene {
    /// Everything in order, and the operator issuing.
    pub async fn set(options: Options, operator: impl AsyncFnOnce(&Stage) -> OperatorOptions) -> Self {
        let scene = Self::prepare(options, async |_| {}, operator).await;
        scene.operator.ready().await.unwrap();
        scene.offer().await;
        scene
    }

    /// The operator starts on an installation to which something was done before.
    pub async fn prepare(
        options: Options,
        before: impl AsyncFnOnce(&Caller),
        operator: impl AsyncFnOnce(&Stage) -> OperatorOptions,
    ) -> Self {
        let private = private(options).await;
        let orders = private.stage.pod(SHOP, "orders-0", "orders").await.unwrap();
        before(&Caller(private.stage.cluster.admin().unwrap())).await;
        let operator = private.stage.operator(&daypass(), operator(&private.stage).await).await.unwrap();
        Self { private, operator, orders }
    }

    /// The stage.
    pub fn stage(&self) -> &Stage {
        &self.private.stage
    }

    /// An administrator.
    pub fn admin(&self) -> Caller {
        Caller(self.stage().cluster.admin().unwrap())
    }

    /// A class, and a policy that permits it to account `orders`; both Ready.
    pub async fn offer(&self) {
        self.stage().platform(class(SHOP)).await.unwrap();
        self.stage().platform(permit(SHOP, SHOP, "orders", SHOP, json!({}))).await.unwrap();
        let waited =
            self.stage().cluster.kubectl(["wait", "--for=condition=Ready", "--timeout=60s", "dpclass/shop", "dpcpol/shop"]).await.unwrap();
        assert!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stderr));
    }

    /// The pod asks, honestly.
    pub async fn ask(&self) -> AccessRequest {
        self.orders.ask_with_csr(SHOP, None, &Csr::new().unwrap()).await.unwrap()
    }

    /// A request that is made now is granted.
    pub async fn grants(&self) {
        let answered = self.orders.answer(&self.ask().await).await.unwrap();
        assert_eq!(answered.state(), RequestState::Active, "{:?}", answered.status);
    }

    /// The request is denied for the gap, and no lease was ever written for it.
    pub async fn denied_for_the_gap(&self, request: &AccessRequest, when: &str) {
        let answered = self.orders.answer(request).await.unwrap();
        let reason = answered.status.as_ref().and_then(|status| status.reason.clone());
        assert_eq!((answered.state(), reason.as_deref()), (RequestState::Denied, Some("GuardGap")), "{when}: {:?}", answered.status);
        assert!(self.stage().lease_of(request).await.unwrap().is_none(), "{when}: a lease was opened");
    }

    /// Waits until /readyz says this of the guard, this and that in one line, and returns the whole. The status is 200: ends go on.
    pub async fn readyz(&self, this: &str, that: &str) -> String {
        let last = std::cell::RefCell::new(String::new());
        let come = wait::until("/readyz", SOON, || async {
            let (status, text) = self.operator.http("/readyz").await.ok()?;
            let there = status == 200 && text.lines().any(|line| line.starts_with(this) && line.contains(that));
            last.replace(format!("{status} {text}"));
            there.then_some(text)
        })
        .await;
        let log = || self.operator.process.log_tail(20);
        come.unwrap_or_else(|_| panic!("/readyz should say {this:?} and {that:?}; it says {}; log:\n{}", last.take(), log()))
    }

    /// Since when the guard has been in force, by what /readyz says; waits until it is.
    pub async fn since(&self) -> Timestamp {
        let text = self.readyz("guard: in force since ", "").await;
        text.split("in force since ").nth(1).and_then(|rest| rest.lines().next()).unwrap().parse().unwrap()
    }

    /// The guard is not in force and everybody is told: /readyz, metric, condition of the class, Event.
    pub async fn it_is_said(&self, harm: &str, why: &str) {
        self.readyz("guard: NOT IN FORCE, nothing is issued: ", why).await;
        self.metric("daypass_guard{state=\"NotInForce\"} 1").await;
        let classes = Api::<CredentialClass>::all(self.admin().0);
        let told = wait::until("the class's conditions", SOON, || async {
            let status = classes.get(SHOP).await.ok()?.status?;
            let is = |type_: &str, reason: &str| {
                status
                    .conditions
                    .iter()
                    .any(|c| c.type_ == type_ && c.status == ConditionStatus::False && c.reason == reason && c.message.contains(why))
            };
            (is("Ready", "GuardNotInForce") && is("GuardInForce", "NotInForce")).then_some(())
        });
        assert!(told.await.is_ok(), "{harm}: {:?}", classes.get(SHOP).await.unwrap().status);
        let events = Api::<Event>::all(self.admin().0);
        let told = wait::until("the Event", SOON, || async {
            let list = events.list(&ListParams::default()).await.ok()?;
            let about_us = |event: &Event| {
                event.reason.as_deref() == Some("GuardNotInForce")
                    && event.regarding.as_ref().is_some_and(|r| r.name.as_deref() == Some(VERIFY))
            };
            list.items.into_iter().find(about_us)
        });
        let event = told.await.unwrap();
        assert!(event.note.unwrap_or_default().starts_with("Daypass issues nothing: "), "{harm}");
    }

    /// Waits until the metrics hold this line.
    pub async fn metric(&self, line: &str) {
        let come =
            wait::until(line, SOON, || async { self.operator.http("/metrics").await.ok()?.1.lines().any(|l| l == line).then_some(()) });
        assert!(come.await.is_ok(), "{line}: {:?}", self.operator.http("/metrics").await);
    }

    /// Replaces the spec of one part of verify.
    pub async fn set_spec(&self, part: Part, spec: Value) {
        let admin = self.admin();
        let mut object = admin.send(&get(part.path())).await.json();
        object["spec"] = spec;
        expect(200, &admin.send(&put(part.path(), object)).await);
    }

    /// Deletes one part of verify.
    pub async fn remove(&self, part: Part) {
        expect(200, &self.admin().send(&delete(part.path())).await);
    }

    /// Creates one part of verify as it is shipped.
    pub async fn create(&self, part: Part) {
        expect(201, &self.admin().send(&part.creation()).await);
    }

    /// Returns once no API server verifies any more: anybody may ask. Dry runs, so nothing is left of it.
    pub async fn open(&self) {
        self.admission_of_anybody(201).await;
    }

    /// Returns once anybody is refused.
    pub async fn closed(&self) {
        self.admission_of_anybody(403).await;
    }

    async fn admission_of_anybody(&self, code: u16) {
        let admin = self.admin();
        let requester = identity::parse(&self.orders.token).unwrap().requester;
        let spec = json!({"className": "x", "requester": requester});
        let body = json!({"apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest", "metadata": {"generateName": "x-"}, "spec": spec});
        let call = create(format!("/apis/daypass.dev/v1alpha1/namespaces/{SHOP}/accessrequests?dryRun=All"), body);
        let come =
            wait::until("verify to come into force or out of it", SOON, || async { (admin.send(&call).await.code == code).then_some(()) });
        come.await.unwrap();
    }

    /// What a thief stores while nobody verifies: a request of a pod that may have nothing, in the name of the pod that may, for the key of
    /// the thief. (The stamp would put it right, so it goes first.)
    pub async fn forge(&self, thief: &Pod) -> AccessRequest {
        let path = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings/stamp.daypass.dev";
        let gone = self.admin().send(&delete(path)).await.code;
        assert!([200, 404].contains(&gone), "{gone}");
        let victim = identity::parse(&self.orders.token).unwrap().requester;
        let spec = json!({"className": SHOP, "csr": Csr::new().unwrap().pem, "requester": victim});
        let asked = wait::until("the stamp to go out of force", SOON, || async {
            let request = thief.ask("forged", spec.clone()).await.unwrap();
            (request.spec.requester == victim).then_some(request)
        });
        asked.await.unwrap()
    }
}

impl Part {
    /// Where it is.
    pub fn path(self) -> String {
        format!("{}/{VERIFY}", self.collection())
    }

    /// Its spec as it is shipped.
    pub fn shipped(self) -> Value {
        self.object()["spec"].clone()
    }

    fn creation(self) -> Call {
        create(self.collection(), self.object())
    }

    fn collection(self) -> &'static str {
        match self {
            Self::Policy => "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
            Self::Binding => "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
        }
    }

    fn object(self) -> Value {
        let kind = match self {
            Self::Policy => "ValidatingAdmissionPolicy",
            Self::Binding => "ValidatingAdmissionPolicyBinding",
        };
        objects(&Default::default()).into_iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == VERIFY).unwrap()
    }
}

fn expect(code: u16, answer: &Answer) {
    assert_eq!(answer.code, code, "{}", answer.text);
}
