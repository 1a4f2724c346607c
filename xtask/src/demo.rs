//! `cargo xtask demo`: the main job on a control plane of its own, as a narrated tour. Every step checks what it says.

use std::{path::PathBuf, process::Command, time::Duration};

use clap::Args;
use daypass::{
    api::{AccessRequest, RequestState},
    install::{Account, Values},
};
use devcluster::Options;
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;
use stage::{Csr, Operator, OperatorOptions, Pod, Stage};

use crate::{beside, binary, lent, listed, tour::Tour, verify};

/// Arguments of `cargo xtask demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Leave everything running afterwards and say how to look around; stops on SIGINT or SIGTERM.
    #[arg(long)]
    keep: bool,
    /// Write the steps as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Life of the demo's first certificate: long enough to look at, short enough to wait for.
const TTL: Duration = Duration::from_secs(20);

/// Runs the tour. `false`: something differed from what it says.
pub async fn run(args: DemoArgs) -> Result<bool, String> {
    let mut tour = Tour::default();
    let stage = tell(&mut tour).await;
    println!("{}", tour.summary("demo"));
    if let Some(file) = &args.json {
        tour.write(file)?;
    }
    if args.keep
        && let Some((stage, _operator)) = &stage
    {
        println!("\nStill running. Look around in another terminal:");
        println!("  export KUBECONFIG={}", stage.cluster.admin_kubeconfig().display());
        println!("  {} get dpreq,dplease,dpclass,dpcpol -A", stage.cluster.kubectl_path().display());
        println!("  {} explain accessrequest.spec", stage.cluster.kubectl_path().display());
        println!("Ctrl-C ends it.");
        let _ = tokio::signal::ctrl_c().await;
    }
    if let Some((_, operator)) = &stage {
        operator.stop().await;
    }
    Ok(tour.failed() == 0)
}

/// The steps; stops at the first that fails.
async fn tell(tour: &mut Tour) -> Option<(Stage, Operator)> {
    let binary = tour.step("the operator is built", async { Ok((binary::daypass(false)?, String::new())) }).await?;
    let stage = tour
        .step("a real control plane is up: etcd, kube-apiserver, kube-controller-manager; CRDs, guard and RBAC are applied", set())
        .await?;
    let operator = tour.step("Daypass runs under the service account and RBAC of its chart, and issues", begin(&stage, &binary)).await?;
    tour.step("a platform team applies a class and a policy", platform(&stage)).await?;
    let asked = tour.step("a pod asks with its own token and a CSR; the API server stamps who asked", ask(&stage)).await?;
    tour.step("the certificate is issued and verified by software that is not ours", issued(&stage, &asked)).await?;
    tour.step("what a person sees", seen(&stage)).await?;
    tour.step("an agent keeps a pod's files fresh and gives back what it holds", beside::agent(&stage, &binary)).await?;
    tour.step("exec holds a credential around one command", beside::exec(&stage, &binary)).await?;
    tour.step("a forged requester is refused by the API server", forged(&stage, &asked)).await?;
    tour.step("a pod of another service account is denied, and why", denied(&stage, &binary)).await?;
    tour.step("a neighbour's attempt to delete the request is refused", neighbour(&stage, &asked)).await?;
    tour.step("a second grant is delivered as a Secret; given back, the Secret is gone", secret(&stage, &asked)).await?;
    let held = tour.step("a policy that does not compile ends nothing that it gave", listed::broken(&stage, &operator)).await?;
    tour.step("an edited policy ends the grant: the certificate is on the revocation list", listed::edited(&stage, &operator, &held))
        .await?;
    let lent = tour.step("a pod is lent another account's token, sealed to a key of its own", lent::lend(&stage)).await?;
    tour.step("the token is taken back: the API server refuses it", lent::take_back(&stage, &lent)).await?;
    tour.step("the first certificate's time runs out: ended, and proven", expiry(&stage, &asked)).await?;
    tour.step("what is left: nothing live", left(&stage)).await?;
    Some((stage, operator))
}

async fn set() -> Result<(Stage, String), String> {
    let account = Account { namespace: lent::NAMESPACE.into(), name: lent::ACCOUNT.into() };
    let values = Values { secret_namespaces: vec!["shop".into()], service_accounts: vec![account], ..Values::default() };
    let stage = Stage::set(Options::default(), values).await.map_err(|error| error.to_string())?;
    let version = stage.cluster.admin().map_err(|e| e.to_string())?.apiserver_version().await.map_err(|e| e.to_string())?;
    let detail = format!("Kubernetes {} at {}", version.git_version, stage.cluster.server_urls()[0]);
    Ok((stage, detail))
}

async fn begin(stage: &Stage, binary: &std::path::Path) -> Result<(Operator, String), String> {
    // Kept short, so that the end of the tour finds nothing.
    let args = ["--keep-clean", "5s", "--keep-other", "5m"].map(String::from).to_vec();
    let operator = stage.operator(binary, OperatorOptions { args, ..Default::default() }).await.map_err(|error| error.to_string())?;
    operator.ready().await.map_err(|error| error.to_string())?;
    let readyz = operator.readyz().await.map_err(|error| error.to_string())?;
    Ok((operator, format!("{}\n{}", stage.operator_name().username(), readyz.trim())))
}

async fn platform(stage: &Stage) -> Result<((), String), String> {
    let class = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": "orders-db"},
        "spec": {
            "ttl": {"default": "10m", "max": "15m"}, "delivery": ["CSR", "Secret"],
            "x509": {"ca": {"managed": {}}, "trustDomain": "shop.example", "subject": {"commonName": "{serviceAccount}"},
                     "dnsNames": ["{serviceAccount}.{namespace}.svc"], "usages": ["ClientAuth"]},
        },
    });
    let policy = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "ClusterAccessPolicy", "metadata": {"name": "orders-may-use-the-database"},
        "spec": {"subjects": [{"namespaces": ["shop"], "serviceAccountNames": ["orders"]}], "classes": ["orders-db"], "limits": {"live": 20, "livePerPod": 3}},
    });
    stage.platform(class).await.map_err(|error| error.to_string())?;
    stage.platform(policy).await.map_err(|error| error.to_string())?;
    let waited = stage
        .cluster
        .kubectl(["wait", "--for=condition=Ready", "--timeout=30s", "dpclass/orders-db", "dpcpol/orders-may-use-the-database"])
        .await;
    let waited = waited.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&waited.stdout).trim().to_owned();
    if !waited.status.success() {
        return Err(format!("not Ready: {text} {}", String::from_utf8_lossy(&waited.stderr)));
    }
    Ok(((), text))
}

/// A request with what its pod holds.
struct Asked {
    pod: Pod,
    csr: Csr,
    request: AccessRequest,
}

async fn ask(stage: &Stage) -> Result<(Asked, String), String> {
    let pod = stage.pod("shop", "orders-6f7d", "orders").await.map_err(|error| error.to_string())?;
    let csr = Csr::new().map_err(|error| error.to_string())?;
    let request = pod.ask_with_csr("orders-db", Some(&format!("{}s", TTL.as_secs())), &csr).await.map_err(|error| error.to_string())?;
    let requester = &request.spec.requester;
    if requester.pod_uid != pod.pod.uid().unwrap_or_default() || requester.username != "system:serviceaccount:shop:orders" {
        return Err(format!("stamped as somebody else: {requester:?}"));
    }
    let detail = format!(
        "{}: {} in pod {} ({}) on {}",
        request.name_any(),
        requester.username,
        requester.pod_name,
        requester.pod_uid,
        requester.node_name
    );
    Ok((Asked { pod, csr, request }, detail))
}

async fn issued(stage: &Stage, asked: &Asked) -> Result<((), String), String> {
    let answered = asked.pod.answer(&asked.request).await.map_err(|error| error.to_string())?;
    let status = answered.status.clone().unwrap_or_default();
    let credential = status.credential.filter(|_| status.state == RequestState::Active);
    let credential = credential.ok_or_else(|| format!("not granted: {:?}", status.decision))?;
    let chain = credential.certificate.ok_or("there is no certificate in the status")?;
    if !holds(&chain, &asked.csr)? {
        return Err("the certificate is for another key".into());
    }
    verify::webpki(&chain, &credential.ca_bundle)?;
    let openssl = verify::openssl(&chain, &credential.ca_bundle, stage.cluster.dir())?
        .unwrap_or_else(|| "openssl is not installed: not asked".into());
    let names = verify::names(&chain)?;
    Ok(((), format!("rustls-webpki: OK; {openssl}\nnames: {names}\nvalid until {}", credential.expires_at)))
}

/// The certificate is for the key that the pod kept.
fn holds(chain: &str, csr: &Csr) -> Result<bool, String> {
    let certificates = verify::certificates(chain)?;
    let leaf = certificates.first().ok_or("the chain is empty")?;
    let (_, leaf) = x509_parser::parse_x509_certificate(leaf).map_err(|e| e.to_string())?;
    Ok(leaf.public_key().subject_public_key.data.as_ref() == csr.key.public_key_raw())
}

async fn seen(stage: &Stage) -> Result<((), String), String> {
    let output = stage.cluster.kubectl(["get", "dpreq,dplease", "-A"]).await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    if !output.status.success() || !text.contains("Active") {
        return Err(format!("no Active request in: {text} {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(((), format!("$ kubectl get dpreq,dplease -A\n{text}")))
}

async fn forged(stage: &Stage, asked: &Asked) -> Result<((), String), String> {
    // Without the stamp a client writes the requester itself: this one says that it is another pod.
    let mut spec = json!({"className": "no-such-class", "csr": asked.csr.pem});
    spec["requester"] = serde_json::to_value(&asked.request.spec.requester).map_err(|e| e.to_string())?;
    spec["requester"]["podUID"] = "00000000-0000-0000-0000-000000000000".into();
    let stamped = asked.pod.ask("forged", spec.clone()).await.map_err(|error| error.to_string())?;
    if stamped.spec.requester != asked.request.spec.requester {
        return Err("the forged requester was stored".into());
    }
    let name = stamped.name_any();
    asked.pod.requests().delete(&name, &Default::default()).await.map_err(|error| error.to_string())?;
    stage.cluster.kubectl(["delete", "mutatingadmissionpolicybinding", "stamp.daypass.dev"]).await.map_err(|error| error.to_string())?;
    let refused = devcluster::wait::until("the stamp to be out of force", Duration::from_secs(15), || async {
        match asked.pod.ask("forged", spec.clone()).await {
            Ok(stored) => {
                let _ = asked.pod.requests().delete(&stored.name_any(), &Default::default()).await;
                (stored.spec.requester != asked.request.spec.requester).then(|| Err("the forged requester was stored".to_owned()))
            }
            Err(stage::Error::Api { error: kube::Error::Api(status), .. }) if status.code == 403 => Some(Ok(status.message)),
            Err(other) => Some(Err(other.to_string())),
        }
    })
    .await
    .map_err(|error| error.to_string())??;
    stage::install(&stage.cluster, &stage.values).await.map_err(|error| error.to_string())?;
    devcluster::wait::until("the stamp to be back in force", Duration::from_secs(15), || async {
        let stored = asked.pod.ask("forged", spec.clone()).await.ok()?;
        asked.pod.requests().delete(&stored.name_any(), &Default::default()).await.ok()
    })
    .await
    .map_err(|error| error.to_string())?;
    Ok(((), format!("with the stamp it is overwritten; without the stamp:\n{refused}")))
}

async fn denied(stage: &Stage, binary: &std::path::Path) -> Result<((), String), String> {
    let pod = stage.pod("shop", "billing-1", "billing").await.map_err(|error| error.to_string())?;
    let csr = Csr::new().map_err(|error| error.to_string())?;
    let request = pod.ask_with_csr("orders-db", None, &csr).await.map_err(|error| error.to_string())?;
    let answered = pod.answer(&request).await.map_err(|error| error.to_string())?;
    let decision = answered.status.as_ref().and_then(|s| s.decision.clone()).ok_or("there is no decision")?;
    if answered.state() != RequestState::Denied || decision.reason != "NotPermitted" {
        return Err(format!("not denied: {decision:?}"));
    }
    let explained = Command::new(binary)
        .args(["explain", &request.name_any(), "--namespace", "shop"])
        .env("KUBECONFIG", stage.cluster.admin_kubeconfig())
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&explained.stdout).trim_end().to_owned();
    if !explained.status.success() || !text.contains("serviceAccountNames") {
        return Err(format!(
            "daypass explain does not say which part did not match: {text} {}",
            String::from_utf8_lossy(&explained.stderr)
        ));
    }
    Ok(((), format!("the pod reads: {}\n$ daypass explain {} --namespace shop\n{text}", decision.message, request.name_any())))
}

async fn neighbour(stage: &Stage, asked: &Asked) -> Result<((), String), String> {
    let other = stage.pod("shop", "orders-9c2e", "orders").await.map_err(|error| error.to_string())?;
    match other.requests().delete(&asked.request.name_any(), &Default::default()).await {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(((), status.message)),
        other => Err(format!("not refused: {other:?}")),
    }
}

async fn secret(stage: &Stage, asked: &Asked) -> Result<((), String), String> {
    let request = asked.pod.ask("file", json!({"className": "orders-db", "ttl": "15s"})).await.map_err(|error| error.to_string())?;
    let answered = asked.pod.answer(&request).await.map_err(|error| error.to_string())?;
    let credential =
        answered.status.as_ref().and_then(|s| s.credential.clone()).ok_or_else(|| format!("not granted: {:?}", answered.status))?;
    let name = credential.secret_name.ok_or("there is no Secret in the status")?;
    let secrets = kube::Api::<k8s_openapi::api::core::v1::Secret>::namespaced(stage.cluster.admin().map_err(|e| e.to_string())?, "shop");
    let held = secrets.get(&name).await.map_err(|error| format!("Secret {name}: {error}"))?;
    let chain =
        held.data.as_ref().and_then(|data| data.get("tls.crt")).map(|b| String::from_utf8_lossy(&b.0).into_owned()).unwrap_or_default();
    verify::webpki(&chain, &credential.ca_bundle)?;
    let given_back = Timestamp::now();
    asked.pod.requests().delete(&request.name_any(), &Default::default()).await.map_err(|error| error.to_string())?;
    devcluster::wait::until("the Secret to go", Duration::from_secs(15), || async {
        secrets.get_opt(&name).await.ok().filter(Option::is_none)
    })
    .await
    .map_err(|error| error.to_string())?;
    let lag = Timestamp::now().duration_since(given_back).as_secs_f64();
    Ok((
        (),
        format!(
            "Secret shop/{name} held a verified key pair; gone {lag:.1} s after the pod deleted its request\n(its certificate stays valid until {}: its class publishes no revocation list, and the lease stays Revoking until then)",
            credential.expires_at
        ),
    ))
}

async fn expiry(stage: &Stage, asked: &Asked) -> Result<((), String), String> {
    let ended =
        asked.pod.until_within(&asked.request, "the end", TTL + Duration::from_secs(20), |r| r.state() == RequestState::Ended).await;
    let ended = ended.map_err(|error| error.to_string())?.status.and_then(|s| s.ended).ok_or("it ended without saying how")?;
    let closed = devcluster::wait::until("every lease to close", Duration::from_secs(30), || async {
        let leases = stage.leases().await.ok()?;
        leases.iter().all(daypass::api::CredentialLease::is_closed).then_some(leases.len())
    });
    let closed = closed.await.map_err(|error| error.to_string())?;
    let lag = ended.verified_time.unwrap_or(ended.time).duration_since(ended.time).as_secs_f64();
    Ok(((), format!("{}: {}\nproven dead {lag:.2} s after its time ran out; {closed} leases closed", ended.reason, ended.message)))
}

async fn left(stage: &Stage) -> Result<((), String), String> {
    let admin = stage.cluster.admin().map_err(|error| error.to_string())?;
    let secrets = kube::Api::<k8s_openapi::api::core::v1::Secret>::all(admin);
    let ours = kube::api::ListParams::default().labels(daypass::api::LABEL_REQUEST_UID);
    let secrets = secrets.list(&ours).await.map_err(|error| error.to_string())?.items.len();
    let open = stage.leases().await.map_err(|error| error.to_string())?.iter().filter(|lease| !lease.is_closed()).count();
    if secrets + open > 0 {
        return Err(format!("{secrets} delivered Secrets and {open} open leases are left"));
    }
    Ok(((), "no delivered Secret, no open lease".into()))
}
