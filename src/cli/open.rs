//! `daypass open`: the credential of a request that was sealed to a key, for whoever holds the key; and the making of such a key.
//!
//! Reads one request, from the API server with the caller's own rights or from a file, and writes what was inside to where its owner said.
//! Must never say anything of it elsewhere: errors name fields and keys' public halves alone.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use kube::{Api, ResourceExt};

use super::{exit, get::unread, kube_args::KubeArgs};
use crate::{
    api::{AccessRequest, Delivery, RequestState, SealedCredential},
    cluster::{
        Clock,
        client::{build, call},
    },
    issue::seal::{Context, OpeningKey},
    pod::private,
    secret::Secret,
};

/// A request is at most 1.5 MiB where it is stored; as YAML it is longer.
const LONGEST_REQUEST: u64 = 4 * 1024 * 1024;

/// What went wrong: exit code and sentence.
type Problem = (u8, String);

/// Opens the credential of a request that was sealed to your key (spec.sealTo) and prints it, with a line feed behind it; or writes exactly
/// it to --output. In a pod and outside, with your own rights: you need get on accessrequests.daypass.dev, or the request in a file.
///
/// Exit codes: 0 opened, 1 it cannot be opened (another key, not sealed, over), 69 API server away, 73 the file cannot be written, 75 not
/// answered yet, 77 denied, or not allowed to read it.
#[derive(Args, Debug)]
pub struct OpenArgs {
    /// Name of the AccessRequest.
    #[arg(required_unless_present_any = ["file", "generate_key"])]
    request: Option<String>,
    /// The request as YAML or JSON from this file or from standard input (-), as `kubectl get accessrequest NAME -o yaml` prints it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["request", "namespace", "context", "kubeconfig"])]
    file: Option<PathBuf>,
    /// File with the private key: PKCS#8 in PEM, as --generate-key or `openssl genpkey -algorithm X25519` makes it.
    #[arg(long, value_name = "FILE", required_unless_present = "generate_key")]
    key: Option<PathBuf>,
    /// Write the credential to this file (mode 0600, in one step) instead of printing it.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Make a key: the private one goes to this file (mode 0600), which must not be there yet; the public one, for spec.sealTo, is printed.
    #[arg(long, value_name = "FILE", exclusive = true)]
    generate_key: Option<PathBuf>,
    #[command(flatten)]
    kube: KubeArgs,
}

/// Runs it.
pub async fn run(args: OpenArgs) -> ExitCode {
    let done = match &args.generate_key {
        Some(file) => generate(file),
        None => open(&args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, problem)) => exit::with(code, "open", problem),
    }
}

fn generate(file: &Path) -> Result<(), Problem> {
    let key = OpeningKey::generate().map_err(|error| (exit::FAILED, error.to_string()))?;
    private::create(file, &key.to_pem()).map_err(|error| (exit::CANNOT_WRITE, error.to_string()))?;
    println!("{}", key.public_base64());
    Ok(())
}

async fn open(args: &OpenArgs) -> Result<(), Problem> {
    // The key first: without it nothing is worth asking for.
    let key = read_key(args.key.as_deref().unwrap_or(Path::new("")))?;
    let request = match (&args.file, &args.request) {
        (Some(file), _) => from_file(file)?,
        (None, name) => fetch(&args.kube, name.as_deref().unwrap_or_default()).await?,
    };
    let credential = opened(&request, &key)?;
    match &args.output {
        Some(file) => private::replace(file, &credential).map_err(|error| (exit::CANNOT_WRITE, error.to_string())),
        None => print(&credential).map_err(|error| (exit::CANNOT_WRITE, format!("cannot print: {error}"))),
    }
}

fn read_key(file: &Path) -> Result<OpeningKey, Problem> {
    let said = |problem: String| (exit::FAILED, format!("--key: {problem}"));
    let (text, others_read) = private::read(file).map_err(|error| said(error.to_string()))?;
    if others_read {
        eprintln!("daypass open: everybody on this machine may read {}: chmod 600 it", file.display());
    }
    OpeningKey::from_pem(&text).map_err(|error| said(format!("{}: {error}", file.display())))
}

async fn fetch(kube: &KubeArgs, name: &str) -> Result<AccessRequest, Problem> {
    let reach = kube.reach().await.map_err(|problem| (exit::FAILED, problem))?;
    let client = build(reach.config, &Arc::new(Clock::default())).map_err(|error| (exit::UNAVAILABLE, error.to_string()))?;
    let api = Api::<AccessRequest>::namespaced(client, &reach.namespace);
    call(api.get(name)).await.map_err(|error| unread(&error, Some(name), Some(&reach.namespace)))
}

fn from_file(file: &Path) -> Result<AccessRequest, Problem> {
    let unread = |problem: std::io::Error| (exit::FAILED, format!("--file: cannot read {}: {problem}", file.display()));
    let mut text = String::new();
    let source: Box<dyn Read> =
        if file.as_os_str() == "-" { Box::new(std::io::stdin().lock()) } else { Box::new(std::fs::File::open(file).map_err(unread)?) };
    source.take(LONGEST_REQUEST).read_to_string(&mut text).map_err(unread)?;
    parse(&text).map_err(|problem| (exit::FAILED, format!("--file {}: {problem}", file.display())))
}

/// Somebody may give the wrong file, that of the key for instance: nothing of a text that is no request is repeated.
fn parse(text: &str) -> Result<AccessRequest, String> {
    const NEXT: &str = "give one AccessRequest as `kubectl get accessrequest NAME -o yaml` prints it";
    let value: serde_json::Value = serde_saphyr::from_str(text).map_err(|_| format!("it is neither YAML nor JSON; {NEXT}"))?;
    match value["kind"].as_str() {
        Some("AccessRequest") => {}
        Some("List" | "AccessRequestList") => return Err(format!("it is a list; {NEXT}")),
        _ => return Err(format!("it is no AccessRequest; {NEXT}")),
    }
    serde_json::from_value(value).map_err(|error| format!("the AccessRequest cannot be read: {error}"))
}

/// What was sealed, if it was and is for this key.
fn opened(request: &AccessRequest, key: &OpeningKey) -> Result<Secret<String>, Problem> {
    let name = match request.namespace() {
        Some(namespace) => format!("AccessRequest {namespace}/{}", request.name_any()),
        None => format!("AccessRequest {}", request.name_any()),
    };
    let sealed = sealed(request).map_err(|(code, problem)| (code, format!("{name} {problem}")))?;
    let failed = |problem: String| (exit::FAILED, format!("{name}: {problem}"));
    if let Some(seal_to) = &request.spec.seal_to {
        let fits = key.fits(seal_to).map_err(|error| failed(format!("spec.sealTo: {error}")))?;
        if !fits {
            let own = key.public_base64();
            return Err(failed(format!("it was sealed to another key: spec.sealTo is {seal_to}, and that of --key is {own}")));
        }
    }
    let uid = request.uid().unwrap_or_default();
    let context = Context { request_uid: &uid, pod_uid: &request.spec.requester.pod_uid, class: &request.spec.class_name };
    key.open(&context, sealed).map_err(|error| failed(format!("status.credential.sealed: {error}")))
}

/// What is to be opened; or how the request stands, as the end of a sentence.
fn sealed(request: &AccessRequest) -> Result<&SealedCredential, Problem> {
    let status = request.status.as_ref();
    let reason = status.and_then(|status| status.reason.clone()).unwrap_or_else(|| "no reason is given".into());
    match request.state() {
        RequestState::Active => {}
        RequestState::Pending => {
            return Err((exit::TRY_AGAIN, "is not answered yet: wait for it (kubectl wait --for=condition=Decided)".into()));
        }
        RequestState::Denied => {
            let decision = status.and_then(|status| status.decision.as_ref());
            let message = decision.map(|decision| format!(": {}", decision.message)).unwrap_or_default();
            return Err((exit::DENIED, format!("is denied, {reason}{message}")));
        }
        state => return Err((exit::FAILED, format!("is {}, {reason}: its credential is over. Make a new request", state.as_str()))),
    }
    let credential = status.and_then(|status| status.credential.as_ref());
    credential.and_then(|credential| credential.sealed.as_ref()).ok_or_else(|| match request.spec.delivery() {
        Delivery::Sealed => {
            (exit::FAILED, "holds no sealed credential although it is granted: give the object as the API server returns it".into())
        }
        other => (exit::FAILED, format!("was not delivered sealed but by {}: only a request with spec.sealTo is", other.as_str())),
    })
}

fn print(credential: &Secret<String>) -> std::io::Result<()> {
    let (text, mut out) = (credential.expose(), std::io::stdout().lock());
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::issue::seal::{SealKey, seal};

    /// A request that was granted "a token", sealed to this key.
    fn granted(key: &OpeningKey) -> Value {
        let context = Context { request_uid: "r-1", pod_uid: "p-1", class: "orders-admin" };
        let sealed = seal(&SealKey::parse(&key.public_base64()).unwrap(), &context, &Secret::new("a token".into())).unwrap();
        json!({
            "apiVersion": "daypass.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"name": "orders-1", "namespace": "shop", "uid": "r-1"},
            "spec": {
                "className": "orders-admin", "sealTo": key.public_base64(),
                "requester": {
                    "username": "system:serviceaccount:shop:orders", "uid": "u-1", "podName": "orders-1", "podUID": "p-1",
                    "nodeName": "node-1", "nodeUID": "n-1", "credentialID": "JTI=1",
                },
            },
            "status": {
                "state": "Active",
                "credential": {
                    "delivery": "Sealed", "sealed": sealed, "notBefore": "2026-11-24T10:00:00Z", "expiresAt": "2026-11-24T10:15:00Z",
                    "serial": "", "revocation": {"kind": "ExpiryOnly", "boundSeconds": 900},
                },
            },
        })
    }

    fn tried(key: &OpeningKey, request: &Value) -> Result<String, Problem> {
        let request = parse(&serde_saphyr::to_string(request).unwrap()).unwrap();
        opened(&request, key).map(|credential| credential.expose().clone())
    }

    #[test]
    fn the_holder_of_the_key_gets_what_was_sealed_from_yaml_and_from_json() {
        let key = OpeningKey::generate().unwrap();
        let request = granted(&key);
        assert_eq!(tried(&key, &request), Ok("a token".to_owned()));
        assert_eq!(opened(&parse(&request.to_string()).unwrap(), &key).unwrap().expose(), "a token");
    }

    #[test]
    fn a_request_that_holds_nothing_to_open_says_how_it_stands() {
        let key = OpeningKey::generate().unwrap();
        for (status, code, said) in [
            (json!(null), exit::TRY_AGAIN, "AccessRequest shop/orders-1 is not answered yet"),
            (json!({"state": "Pending"}), exit::TRY_AGAIN, "is not answered yet"),
            (json!({"state": "Denied", "reason": "NotPermitted"}), exit::DENIED, "is denied, NotPermitted"),
            (json!({"state": "Ended", "reason": "Expired"}), exit::FAILED, "is Ended, Expired: its credential is over"),
            (json!({"state": "Revoking", "reason": "PodGone"}), exit::FAILED, "is Revoking, PodGone"),
            (json!({"state": "Active"}), exit::FAILED, "holds no sealed credential"),
        ] {
            let mut request = granted(&key);
            request["status"] = status;
            let (found, problem) = tried(&key, &request).unwrap_err();
            assert!(found == code && problem.contains(said), "{found}: {problem}");
        }
    }

    #[test]
    fn another_key_is_told_from_another_request_and_a_later_version() {
        let (key, other) = (OpeningKey::generate().unwrap(), OpeningKey::generate().unwrap());
        let request = granted(&key);
        let said = tried(&other, &request).unwrap_err().1;
        assert!(said.contains(&key.public_base64()) && said.contains(&other.public_base64()), "{said}");
        for (pointer, value, said) in [
            ("/metadata/uid", json!("r-2"), "status.credential.sealed: it was sealed to another key or for another request"),
            ("/spec/requester/podUID", json!("p-2"), "or for another request"),
            ("/spec/className", json!("another"), "or for another request"),
            ("/metadata/uid", json!(""), "the request has no UID"),
            ("/spec/sealTo", json!("AAAA"), "spec.sealTo: it is 3 bytes long"),
            ("/status/credential/sealed/version", json!(2), "it is of version 2"),
            ("/status/credential/sealed/suite", json!("X-Wing"), "it is sealed with \"X-Wing\""),
        ] {
            let mut changed = request.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            let (code, problem) = tried(&key, &changed).unwrap_err();
            assert!(code == exit::FAILED && problem.contains(said), "{problem}");
        }
    }

    #[test]
    fn a_file_that_holds_no_request_is_not_repeated() {
        let key = OpeningKey::generate().unwrap().to_pem();
        let request = granted(&OpeningKey::generate().unwrap());
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [request]}).to_string();
        let secret = json!({"kind": "Secret", "data": {"password": "aHVudGVyMg=="}}).to_string();
        for (text, said) in [
            ("", "it is no AccessRequest"),
            (key.expose(), "it is n"),
            ("{", "neither YAML nor JSON"),
            ("kind: AccessRequest", "cannot be read"),
            (&list, "it is a list"),
            (&secret, "it is no AccessRequest"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(said) && problem.len() < 200, "{text}: {problem}");
            assert!(!problem.contains("aHVudGVyMg") && !problem.contains("MC4CAQ"), "{problem}");
        }
    }
}
