//! What one cell stands on (a namespace, a class, a policy, a pod, all its own), how it is granted there, and what strikes it.

use daypass::{
    api::{ClusterAccessPolicy, Delivery, RequestState},
    issue::seal::{Context, OpeningKey},
};
use devcluster::workload::{self, PodSpec};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node, ServiceAccount};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use stage::{Csr, Pod};

use super::{
    cells::{Cell, Kind, Trigger},
    credential::{AUTHORITY, Credential, Held},
};
use crate::{
    crash::deliver_secrets_into,
    revocation::with_list,
    scene::{Granted, SOON, Scene, forbid, merge, run},
    support::{LENT, Running},
};

/// The account that every token of the matrix is of.
const ACCOUNT: &str = "matrix";

/// What one cell stands on.
pub struct Ground<'s> {
    pub scene: Scene<'s>,
    cell: Cell,
    /// Who asks: of a node of its own where that is what goes.
    pod: Option<Pod>,
}

/// When something was done: after this, and before that.
#[derive(Clone, Copy, Debug)]
pub struct Struck {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl<'s> Ground<'s> {
    /// Lays it.
    pub async fn lay(here: &'s Running, cell: Cell) -> Self {
        let name = cell.name();
        let scene = Scene::with(&here.stage, &name, &name, class_of(cell.kind), json!({})).await;
        if cell.delivery == Delivery::Secret {
            deliver_secrets_into(&here.stage, &name).await;
        }
        let pod = if cell.trigger == Trigger::NodeLost {
            workload::node(&scene.admin, &name, &[]).await.unwrap();
            Some(run(&here.stage, &PodSpec::new(&name, "there").service_account(&name).node(&name)).await)
        } else {
            None
        };
        Self { scene, cell, pod }
    }

    fn pod(&self) -> &Pod {
        self.pod.as_ref().unwrap_or(&self.scene.pod)
    }

    /// Asks, and takes what is handed over.
    pub async fn grant(&self) -> Held {
        let (scene, opening) = (&self.scene, OpeningKey::generate().unwrap());
        let mut spec = json!({"className": scene.name, "ttl": ttl(self.cell)});
        match self.cell.delivery {
            Delivery::CSR => merge(&mut spec, json!({"csr": Csr::new().unwrap().pem})),
            Delivery::Sealed => merge(&mut spec, json!({"sealTo": opening.public_base64()})),
            Delivery::Secret => {}
        }
        let request = self.pod().ask("mx", spec).await.unwrap();
        let answered = |request: &daypass::api::AccessRequest| request.state() != RequestState::Pending;
        let request = self.pod().until_within(&request, "an answer", 2 * SOON, answered).await.unwrap();
        assert_eq!(request.state(), RequestState::Active, "{}: {:?}", scene.name, request.status);
        let lease = scene.stage.lease_of(&request).await.unwrap().expect("a credential without a lease");
        let status = request.status.as_ref().unwrap().credential.clone().unwrap();
        let secret = match &status.secret_name {
            Some(name) => scene.secrets().get(name).await.unwrap().data.unwrap_or_default(),
            None => Default::default(),
        };
        let text = |key: &str| secret.get(key).map(|bytes| String::from_utf8(bytes.0.clone()).unwrap());
        let certificate = || {
            let chain = status.certificate.clone().or_else(|| text("tls.crt")).expect("a certificate");
            (chain, text("ca.crt").unwrap_or_else(|| status.ca_bundle.clone()))
        };
        let credential = match self.cell.kind {
            Kind::Certificate => {
                let (chain, roots) = certificate();
                Credential::Certificate { chain, roots }
            }
            Kind::Listed => {
                let (chain, roots) = certificate();
                Credential::Listed { chain, roots }
            }
            Kind::Token => Credential::Token(text("token").unwrap_or_else(|| {
                let pod_uid = &request.spec.requester.pod_uid;
                let context = Context { request_uid: &request.uid().unwrap(), pod_uid, class: &scene.name };
                opening.open(&context, status.sealed.as_ref().expect("a sealed token")).unwrap().expose().clone()
            })),
        };
        Held { granted: Granted { request, lease }, credential }
    }

    /// Does what ends it.
    pub async fn strike(&self, held: &Held) -> Struck {
        let (scene, name, params) = (&self.scene, &self.scene.name, Default::default());
        let admin = || scene.admin.clone();
        let pod = self.pod().pod.name_any();
        let from = Timestamp::now();
        match self.cell.trigger {
            Trigger::Expired => {}
            Trigger::Completed => drop(self.pod().requests().delete(&held.granted.request.name_any(), &params).await.unwrap()),
            Trigger::PodDeleted => workload::delete_pod_now(&scene.admin, name, &pod).await.unwrap(),
            Trigger::PodFinished => drop(workload::set_phase(&scene.admin, name, &pod, "Succeeded").await.unwrap()),
            Trigger::IdentityRemoved => drop(Api::<ServiceAccount>::namespaced(admin(), name).delete(name, &params).await.unwrap()),
            Trigger::Forbidden => scene.stage.platform(forbid(&format!("{name}-ban"), name, name, name, json!({}))).await.unwrap(),
            Trigger::PolicyDeleted => drop(Api::<ClusterAccessPolicy>::all(admin()).delete(name, &params).await.unwrap()),
            Trigger::ClassLowered => {
                let mut lower = class_of(self.cell.kind);
                merge(&mut lower, json!({"ttl": {"default": "1s", "max": "1s"}}));
                scene.set_class(lower).await;
            }
            Trigger::NodeLost => drop(Api::<Node>::all(admin()).delete(name, &params).await.unwrap()),
            Trigger::RevokedByPerson => {
                let revoke = Patch::Merge(json!({"spec": {"revoke": {"reason": "matrix"}}}));
                scene.leases().patch(&held.granted.lease.name_any(), &PatchParams::default(), &revoke).await.unwrap();
            }
            Trigger::NamespaceGone => drop(Api::<Namespace>::all(admin()).delete(name, &params).await.unwrap()),
        }
        Struck { from, to: Timestamp::now() }
    }

    /// A namespace waits for its pods, and a pod for its kubelet, which is not there.
    pub async fn after_the_strike(&self, held: &Held) {
        if self.cell.trigger == Trigger::NamespaceGone {
            self.scene.lease_when(&held.granted, "ended", SOON, |lease| lease.state().is_some()).await;
            workload::delete_pod_now(&self.scene.admin, &self.scene.name, &self.pod().pod.name_any()).await.unwrap();
        }
    }
}

/// Fields of a class of this kind.
fn class_of(kind: Kind) -> Value {
    match kind {
        Kind::Certificate => json!({}),
        Kind::Listed => with_list(AUTHORITY, "60s"),
        Kind::Token => json!({
            "x509": null, "delivery": ["Sealed", "Secret"], "ttl": {"default": "5m", "max": "10m"},
            "serviceAccountToken": {"namespace": LENT, "name": ACCOUNT},
        }),
    }
}

/// How long it is asked for. A certificate that nothing takes back has to be waited for.
fn ttl(cell: Cell) -> &'static str {
    match (cell.trigger, cell.kind) {
        // Longer than an API server remembers a token that it was shown.
        (Trigger::Expired, _) => "16s",
        (Trigger::PolicyDeleted, Kind::Certificate) => "75s",
        (_, Kind::Certificate) => "40s",
        (_, Kind::Listed | Kind::Token) => "10m",
    }
}
