//! Sealed delivery on a real API server and with the real program; and what other implementations of HPKE make of what is sealed.
//!
//! The operator is played here, on a control plane that has none: what reaches a pod is in the request's status, whoever writes it.

mod open;
mod others;
mod tokens;

use std::path::{Path, PathBuf};

use daypass::{
    api::{AccessRequest, RequestState},
    issue::seal::{Context, SealKey, seal},
    secret::Secret,
};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::json;
use stage::{Mount, Pod, Stage};

use crate::{kinds::Author, pods::Said, scene::SOON, support::daypass};

/// Writes into a request's status what the operator will: this token, sealed to the key that it names, good for so long from now.
async fn grant(stage: &Stage, request: &AccessRequest, token: &str, life: SignedDuration) -> AccessRequest {
    let (uid, spec, now) = (request.uid().unwrap(), &request.spec, Timestamp::now());
    let context = Context { request_uid: &uid, pod_uid: &spec.requester.pod_uid, class: &spec.class_name };
    let key = SealKey::parse(spec.seal_to.as_deref().expect("it says whom to seal to")).unwrap();
    let sealed = seal(&key, &context, &Secret::new(token.to_owned())).unwrap();
    let mut answered = serde_json::to_value(request).unwrap();
    let ends = Timestamp::from_second((now + life).as_second()).unwrap();
    answered["status"] = json!({
        "state": "Active", "reason": "Permitted",
        "decision": {"outcome": "Allow", "reason": "Permitted", "message": "granted by a test", "id": "test", "time": now},
        "credential": {
            "delivery": "Sealed", "sealed": sealed, "notBefore": now, "expiresAt": ends, "serial": "0a",
            "revocation": {"kind": "ExpiryOnly", "boundSeconds": 900},
        },
    });
    serde_json::from_value(Author::operator(stage).put_status(&answered).await.unwrap()).unwrap()
}

/// The next request of this pod that nobody has answered.
async fn pending(stage: &Stage, pod: &Pod) -> AccessRequest {
    let api = kube::Api::<AccessRequest>::namespaced(stage.cluster.admin().unwrap(), &pod.namespace);
    let look = || async {
        let all = api.list(&Default::default()).await.ok()?.items;
        all.into_iter().find(|request| request.state() == RequestState::Pending)
    };
    devcluster::wait::until("a request", 2 * SOON, look).await.unwrap()
}

/// Runs this program to its end, as somebody with this kubeconfig.
pub async fn as_person(kubeconfig: &Path, args: &[&str], input: &str) -> Said {
    let mut command = tokio::process::Command::new(daypass());
    command.args(args).env("KUBECONFIG", kubeconfig);
    said(command, input).await
}

/// The same as a container of a pod.
pub async fn in_pod(mount: &Mount, args: &[&str]) -> Said {
    said(mount.command(&daypass(), args).into(), "").await
}

async fn said(mut command: tokio::process::Command, input: &str) -> Said {
    use std::process::Stdio;
    use tokio::io::AsyncWriteExt;

    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()).await;
    let output = tokio::time::timeout(3 * SOON, child.wait_with_output()).await.expect("it ends").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// A key in a file of its own, and its public half.
pub async fn key(directory: &Path, name: &str) -> (PathBuf, String) {
    let file = directory.join(name);
    let said = as_person(Path::new("/dev/null"), &["open", "--generate-key", file.to_str().unwrap()], "").await;
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    (file, said.out.trim_end().to_owned())
}
