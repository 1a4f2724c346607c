//! The tour's steps about a certificate that is taken back early: a broken policy ends nothing, an edited one ends the grant, and openssl with
//! the published list refuses what it accepted before.

use std::time::Duration;

use daypass::api::{AccessRequest, RequestState};
use kube::ResourceExt;
use serde_json::{Value, json};
use stage::{Csr, Operator, Pod, Stage};

use crate::verify;

/// Name of class, policy and authority.
const NAME: &str = "orders-mtls";

/// A certificate of a class with a revocation list, and who holds it.
pub struct Listed {
    pod: Pod,
    request: AccessRequest,
    chain: String,
    roots: String,
}

/// A policy that does not compile ends nothing that it gave.
pub async fn broken(stage: &Stage, operator: &Operator) -> Result<(Listed, String), String> {
    let class = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": NAME},
        "spec": {
            "ttl": {"default": "10m", "max": "1h"},
            "x509": {"ca": {"managed": {"name": NAME}}, "trustDomain": "shop.example", "crl": {"nextUpdate": "60s"}},
        },
    });
    stage.platform(class).await.map_err(|error| error.to_string())?;
    stage.platform(policy(json!({}))).await.map_err(|error| error.to_string())?;
    ready(stage).await?;
    let pod = stage.pod("shop", "orders-3c11", "orders").await.map_err(|error| error.to_string())?;
    let csr = Csr::new().map_err(|error| error.to_string())?;
    let request = pod.ask_with_csr(NAME, Some("30m"), &csr).await.map_err(|error| error.to_string())?;
    let request = pod.answer(&request).await.map_err(|error| error.to_string())?;
    let credential = request.status.as_ref().and_then(|status| status.credential.clone());
    let credential = credential.ok_or_else(|| format!("not granted: {:?}", request.status))?;
    let chain = credential.certificate.ok_or("there is no certificate in the status")?;
    let accepted = verify::openssl_with_lists(&chain, &credential.ca_bundle, &lists(operator).await?, stage.cluster.dir())?;

    stage.platform(policy(json!({"when": "pod.spec.containers.all(c, c.image"}))).await.map_err(|error| error.to_string())?;
    let said = devcluster::wait::until("the policy to be Stalled", Duration::from_secs(15), || async {
        let args = ["get", "dpcpol", NAME, "-o", "jsonpath={.status.conditions[?(@.type==\"Stalled\")].message}"];
        let output = stage.cluster.kubectl(args).await.ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (!text.is_empty()).then_some(text)
    });
    let said = said.await.map_err(|error| error.to_string())?;
    let now = pod.requests().get(&request.name_any()).await.map_err(|error| error.to_string())?;
    if now.state() != RequestState::Active {
        return Err(format!("the broken policy ended the grant: {:?}", now.status));
    }
    let judge = accepted.unwrap_or_else(|| "openssl is not installed: not asked".into());
    let detail = format!("granted for 30 minutes; {judge}\nthe policy says: {said}\nthe grant goes on");
    Ok((Listed { pod, request, chain, roots: credential.ca_bundle }, detail))
}

/// An edit ends the grant: the certificate is on the list within seconds, and openssl refuses it.
pub async fn edited(stage: &Stage, operator: &Operator, held: &Listed) -> Result<((), String), String> {
    let never = json!({"require": [{"name": "prod", "expression": "namespace.metadata.name == 'prod'", "message": "production only"}]});
    stage.platform(policy(never)).await.map_err(|error| error.to_string())?;
    let ended = held.pod.until_within(&held.request, "its end", Duration::from_secs(30), |r| r.state() == RequestState::Ended).await;
    let ended = ended.map_err(|error| error.to_string())?.status.and_then(|status| status.ended).ok_or("it ended without saying how")?;
    let refused = match verify::openssl_with_lists(&held.chain, &held.roots, &lists(operator).await?, stage.cluster.dir()) {
        Ok(None) => "openssl is not installed: not asked".to_owned(),
        Ok(Some(said)) => return Err(format!("it is called dead, and {said}")),
        Err(said) => said.lines().find(|line| line.contains("revoked")).ok_or(said.clone())?.trim().to_owned(),
    };
    let columns =
        stage.cluster.kubectl(["-n", "shop", "get", "dpreq", &held.request.name_any()]).await.map_err(|error| error.to_string())?;
    let seconds = ended.seconds_to_dead.map(|seconds| format!("{seconds} s")).unwrap_or_default();
    let proof = ended.proof.map(|proof| proof.to_string()).unwrap_or_default();
    Ok((
        (),
        format!(
            "{}: {}\non the published list and refused ({proof}) within {seconds}, 30 minutes before its own end\nopenssl verify -crl_check: {refused}\n$ kubectl -n shop get dpreq {}\n{}",
            ended.reason,
            ended.message,
            held.request.name_any(),
            String::from_utf8_lossy(&columns.stdout).trim_end()
        ),
    ))
}

fn policy(terms: Value) -> Value {
    let mut spec = json!({"subjects": [{"namespaces": ["shop"], "serviceAccountNames": ["orders"]}], "classes": [NAME]});
    for (key, value) in terms.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "daypass.dev/v1alpha1", "kind": "ClusterAccessPolicy", "metadata": {"name": NAME}, "spec": spec})
}

async fn ready(stage: &Stage) -> Result<(), String> {
    let both = ["wait", "--for=condition=Ready", "--timeout=30s", &format!("dpclass/{NAME}"), &format!("dpcpol/{NAME}")];
    let waited = stage.cluster.kubectl(both).await.map_err(|error| error.to_string())?;
    if waited.status.success() { Ok(()) } else { Err(format!("not Ready: {}", String::from_utf8_lossy(&waited.stderr))) }
}

/// The lists as the operator serves them, in PEM.
async fn lists(operator: &Operator) -> Result<String, String> {
    match operator.http(&format!("/crl/{NAME}.pem")).await {
        Ok((200, text)) => Ok(text),
        Ok((status, text)) => Err(format!("/crl/{NAME}.pem answers {status}: {text}")),
        Err(error) => Err(error.to_string()),
    }
}
