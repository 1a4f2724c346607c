//! Secrets cannot be printed: everything that was ever secret is searched for in everything that people and machines can read.

use std::collections::BTreeMap;

use daypass::{
    api::{AccessRequest, CredentialLease, RequestState},
    issue::seal::{Context, OpeningKey},
};
use devcluster::Options;
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;
use stage::{Csr, OperatorOptions, Pod, Stage};

use crate::support::{LENT, class, daypass, permit, private};

/// Something that nobody may read, in every form that it could be printed in.
#[derive(Clone)]
struct Canary {
    what: String,
    forms: Vec<Vec<u8>>,
}

impl Canary {
    /// A line of PEM or a token: as it is, and as it stands in a Secret's JSON (base64 again, at each of the three alignments).
    fn of(what: &str, secret: &str) -> Vec<Self> {
        let parts = secret.lines().map(str::trim).filter(|line| line.len() >= 40 && !line.starts_with("-----"));
        parts
            .map(|part| {
                let mut forms = vec![part.as_bytes().to_vec()];
                for skip in 0..3 {
                    let whole = &part.as_bytes()[skip..];
                    let encoded = data_encoding::BASE64.encode(&whole[..whole.len() / 3 * 3]);
                    forms.push(encoded.into_bytes());
                }
                Self { what: what.to_owned(), forms }
            })
            .collect()
    }
}

fn text_of(secret: &Secret, key: &str) -> String {
    secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
}

#[tokio::test]
async fn no_key_and_no_token_is_in_logs_at_trace_level_events_status_metrics_ledger_or_audit_log() {
    let here = private(Options::default()).await;
    let stage = &here.stage;
    let operator = stage.operator(&daypass(), OperatorOptions { log: "trace".into(), ..Default::default() }).await.unwrap();
    operator.ready().await.unwrap();
    let namespace = "secrets-grants";
    stage.platform(class("canaries")).await.unwrap();
    stage.platform(permit("canaries", namespace, "orders", "canaries", json!({}))).await.unwrap();
    let pod = stage.pod(namespace, "orders-1", "orders").await.unwrap();

    let mut canaries = Canary::of("the operator's token", &std::fs::read_to_string(&operator.token_file).unwrap());
    canaries.extend(Canary::of("the pod's token", &pod.token));
    let csr = Csr::new().unwrap();
    canaries.extend(Canary::of("the pod's own key", &csr.key.serialize_pem()));
    let by_csr = pod.ask_with_csr("canaries", Some("20s"), &csr).await.unwrap();
    assert_eq!(pod.answer(&by_csr).await.unwrap().state(), RequestState::Active);
    let as_secret = pod.ask("file", json!({"className": "canaries", "ttl": "20s"})).await.unwrap();
    let name = pod.answer(&as_secret).await.unwrap().status.unwrap().credential.unwrap().secret_name.unwrap();
    let admin = stage.cluster.admin().unwrap();
    let delivered = Api::<Secret>::namespaced(admin.clone(), namespace).get(&name).await.unwrap();
    canaries.extend(Canary::of("the delivered key", &text_of(&delivered, "tls.key")));
    let (sealed, opening, lent) = lend(stage, &pod).await;
    let never_stored = [Canary::of("the sealed token", &sealed), Canary::of("the key that opens it", opening.to_pem().expose())].concat();
    assert!(never_stored.len() >= 2);
    canaries.extend(Canary::of("the token in a Secret", &lent));
    let home = Api::<Secret>::namespaced(admin.clone(), &stage.operator_name().namespace);
    let authority = home.get("daypass-ca-default").await.unwrap();
    canaries.extend(Canary::of("the authority's key", &text_of(&authority, "tls.key")));
    assert!(canaries.len() >= 8, "tokens and keys of several lines each were found: {}", canaries.len());

    // A refusal and an end have their own ways of saying things.
    pod.ask("file", json!({"className": "canaries", "secretName": name})).await.unwrap();
    pod.requests().delete(&as_secret.name_any(), &Default::default()).await.unwrap();
    devcluster::wait::until("the Secret to go", std::time::Duration::from_secs(20), || async {
        Api::<Secret>::namespaced(admin.clone(), namespace).get_opt(&name).await.ok().filter(Option::is_none)
    })
    .await
    .unwrap();

    // What is sealed, and what never left the pod, is not even where everything is.
    let everything = stage.cluster.etcd_dump("/").await.unwrap();
    let everything = String::from_utf8_lossy(&everything);
    assert!(contains(&everything, lent.as_bytes()), "the dump is read: a Secret's token is in it");
    let own: Vec<Canary> = Canary::of("the pod's own key", &csr.key.serialize_pem());
    for canary in never_stored.iter().chain(&own) {
        assert!(!canary.forms.iter().any(|form| contains(&everything, form)), "{} is in etcd", canary.what);
    }
    canaries.extend(never_stored);
    let readable = readable(stage, &operator).await;
    assert!(readable["log"].len() > 10_000, "the log was read");
    for canary in &canaries {
        for (place, text) in &readable {
            for form in &canary.forms {
                assert!(!contains(text, form), "{} is readable in {place}", canary.what);
            }
        }
    }
    assert!(contains(&readable["requests"], by_csr.name_any().as_bytes()), "the search finds what is there");
}

/// A token that was sealed, the key that opens it, and one that was delivered in a Secret.
async fn lend(stage: &Stage, pod: &Pod) -> (String, OpeningKey, String) {
    let class = json!({
        "apiVersion": "daypass.dev/v1alpha1", "kind": "CredentialClass", "metadata": {"name": "lent-canaries"},
        "spec": {"delivery": ["Sealed", "Secret"], "serviceAccountToken": {"namespace": LENT, "name": "proof"}},
    });
    stage.platform(class).await.unwrap();
    stage.platform(permit("lent-canaries", &pod.namespace, "orders", "lent-canaries", json!({}))).await.unwrap();
    crate::scene::until_ready(stage, "dpclass/lent-canaries").await;
    crate::scene::until_ready(stage, "dpcpol/lent-canaries").await;
    let key = OpeningKey::generate().unwrap();
    let request = pod.ask("sealed", json!({"className": "lent-canaries", "ttl": "20s", "sealTo": key.public_base64()})).await.unwrap();
    let request = pod.answer(&request).await.unwrap();
    let sealed = request.status.as_ref().unwrap().credential.as_ref().unwrap().sealed.clone().expect("a sealed token");
    let context = Context { request_uid: &request.uid().unwrap(), pod_uid: &request.spec.requester.pod_uid, class: "lent-canaries" };
    let token = key.open(&context, &sealed).unwrap().expose().clone();
    let request = pod.ask("lent", json!({"className": "lent-canaries", "ttl": "20s"})).await.unwrap();
    let name = pod.answer(&request).await.unwrap().status.unwrap().credential.unwrap().secret_name.unwrap();
    let secret = Api::<Secret>::namespaced(stage.cluster.admin().unwrap(), &pod.namespace).get(&name).await.unwrap();
    (token, key, text_of(&secret, "token"))
}

async fn readable(stage: &Stage, operator: &stage::Operator) -> BTreeMap<&'static str, String> {
    let admin = stage.cluster.admin().unwrap();
    let everything = ListParams::default();
    let events = Api::<Event>::all(admin.clone()).list(&everything).await.unwrap();
    let requests = Api::<AccessRequest>::all(admin.clone()).list(&everything).await.unwrap();
    let leases = Api::<CredentialLease>::all(admin).list(&everything).await.unwrap();
    let audit: Vec<u8> = std::fs::read_dir(stage.cluster.dir())
        .unwrap()
        .filter_map(Result::ok)
        .filter(|file| file.file_name().to_string_lossy().contains("audit") && file.path().is_file())
        .flat_map(|file| std::fs::read(file.path()).unwrap_or_default())
        .collect();
    let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    BTreeMap::from([
        ("log", lossy(std::fs::read(operator.process.log()).unwrap())),
        ("metrics", operator.http("/metrics").await.unwrap().1),
        ("readyz", operator.readyz().await.unwrap()),
        ("events", serde_json::to_string(&events.items).unwrap()),
        ("requests", serde_json::to_string(&requests.items).unwrap()),
        ("leases", serde_json::to_string(&leases.items).unwrap()),
        ("audit", lossy(audit)),
    ])
}

fn contains(text: &str, needle: &[u8]) -> bool {
    text.contains(&*String::from_utf8_lossy(needle))
}
