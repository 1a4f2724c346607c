//! The tour's steps about a service account's token: lent sealed, used, taken back, and refused by the API server.

use std::time::{Duration, Instant};

use daypass::{
    api::{AccessRequest, RequestState},
    issue::seal::{Context, OpeningKey},
};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::json;
use stage::{Pod, Stage};

/// Namespace of the account that is lent.
pub const NAMESPACE: &str = "lent";
/// The account.
pub const ACCOUNT: &str = "orders-admin";

/// A token that was lent, and who holds it.
pub struct Lent {
    pod: Pod,
    request: AccessRequest,
    token: String,
}

/// A pod is lent an account's token, sealed to a key of its own.
pub async fn lend(stage: &Stage) -> Result<(Lent, String), String> {
    let class = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": ACCOUNT},
        "spec": {"ttl": {"default": "5m", "max": "10m"}, "serviceAccountToken": {"namespace": NAMESPACE, "name": ACCOUNT}},
    });
    let policy = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "ClusterAccessPolicy", "metadata": {"name": ACCOUNT},
        "spec": {"subjects": [{"namespaces": ["shop"], "serviceAccountNames": ["orders"]}], "classes": [ACCOUNT]},
    });
    for object in [class, policy] {
        stage.platform(object).await.map_err(|error| error.to_string())?;
    }
    let both = ["wait", "--for=condition=Ready", "--timeout=30s", "dpclass/orders-admin", "dpcpol/orders-admin"];
    let waited = stage.cluster.kubectl(both).await.map_err(|error| error.to_string())?;
    if !waited.status.success() {
        return Err(format!("not Ready: {}", String::from_utf8_lossy(&waited.stderr)));
    }
    let pod = stage.pod("shop", "orders-b04a", "orders").await.map_err(|error| error.to_string())?;
    let key = OpeningKey::generate().map_err(|error| error.to_string())?;
    let wish = json!({"className": ACCOUNT, "ttl": "5m", "sealTo": key.public_base64()});
    let request = pod.ask(ACCOUNT, wish).await.map_err(|error| error.to_string())?;
    let request = pod.answer(&request).await.map_err(|error| error.to_string())?;
    let credential = request.status.as_ref().and_then(|status| status.credential.clone());
    let credential = credential.ok_or_else(|| format!("not granted: {:?}", request.status))?;
    let sealed = credential.sealed.ok_or("there is no sealed credential in the status")?;
    let uid = request.uid().unwrap_or_default();
    let context = Context { request_uid: &uid, pod_uid: &request.spec.requester.pod_uid, class: ACCOUNT };
    let token = key.open(&context, &sealed).map_err(|error| error.to_string())?.expose().clone();
    let who = whoami(stage, &token).await?.ok_or("the API server refuses the token")?;
    let expected = format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}");
    if who != expected {
        return Err(format!("the token is {who}'s, not {expected}'s"));
    }
    let detail = format!(
        "opened with the pod's private key; the API server takes its holder for {who}\nid {}, ends {}",
        credential.token_id.unwrap_or_default(),
        credential.expires_at
    );
    Ok((Lent { pod, request, token }, detail))
}

/// It is taken back before its time, and the API server refuses it.
pub async fn take_back(stage: &Stage, lent: &Lent) -> Result<((), String), String> {
    let lease = stage.lease_of(&lent.request).await.map_err(|error| error.to_string())?.ok_or("it has no lease")?;
    let namespace = stage.operator_name().namespace.clone();
    let (name, patch) = (lease.name_any(), r#"{"spec":{"revoke":{"reason":"the tour is over","by":"me"}}}"#);
    let told = Instant::now();
    let args = ["-n", &namespace, "patch", "dplease", &name, "--type", "merge", "-p", patch];
    let patched = stage.cluster.kubectl(args).await.map_err(|error| error.to_string())?;
    if !patched.status.success() {
        return Err(String::from_utf8_lossy(&patched.stderr).into_owned());
    }
    let ended = lent.pod.until_within(&lent.request, "its end", Duration::from_secs(40), |r| r.state() == RequestState::Ended).await;
    let ended = ended.map_err(|error| error.to_string())?.status.and_then(|status| status.ended).ok_or("it ended without saying how")?;
    if whoami(stage, &lent.token).await?.is_some() {
        return Err("it is called dead, and the API server accepts it".into());
    }
    let proof = ended.proof.map(|proof| proof.to_string()).unwrap_or_default();
    Ok((
        (),
        format!(
            "{}: {}\nrefused and proven so ({proof}) {:.1} s after a person said so; the API server remembers a token that it accepted for 10 s",
            ended.reason,
            ended.message,
            told.elapsed().as_secs_f64()
        ),
    ))
}

/// Who the API server takes the holder of a token for; `None`: for nobody.
async fn whoami(stage: &Stage, token: &str) -> Result<Option<String>, String> {
    let client = stage.cluster.client_with_token(token).map_err(|error| error.to_string())?;
    match Api::<SelfSubjectReview>::all(client).create(&PostParams::default(), &SelfSubjectReview::default()).await {
        Ok(review) => Ok(review.status.and_then(|status| status.user_info).and_then(|user| user.username)),
        Err(kube::Error::Api(status)) if status.code == 401 => Ok(None),
        Err(error) => Err(format!("neither accepted nor refused: {error}")),
    }
}
