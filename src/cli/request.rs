//! `daypass request`: asks once, for scripts; and for people who want to see what a pod would be answered.

use std::{io::Read, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Arg, Args, ValueEnum};
use kube::{Config, ResourceExt};
use serde_json::json;

use super::{
    exit,
    kube_args::{KubeArgs, Reach},
    pod_args::{WantArgs, WhereArgs, duration, mode},
};
use crate::{
    api::Ttl,
    cluster::{
        Clock,
        act::{Asks, token_for_pod},
        client, identity,
    },
    issue::seal::SealKey,
    pod::{
        Place, Refusal, Session,
        ask::{Answer, AskError, Debts, Draft, Granted, Want, ask},
        child::Signals,
        files,
        hand::{Hand, Handed},
        persist,
        set::Directory,
    },
    telemetry::{self, LogFormat},
};

/// Asks for one credential and prints what came of it; a private key or a token is only ever written to --dir, or made by the operator in the
/// Secret of --secret-name. Nothing is renewed: the credential ends at its date, or when the request is deleted (kubectl delete dpreq NAME), or with
/// the pod; a Secret goes at that moment.
///
/// Exit codes: 0 granted, 69 API server away, 73 files cannot be written, 75 no answer in time, or try again later, 77 denied, 78 not in a pod.
#[derive(Args, Debug)]
#[command(mut_arg("namespace", with_pod), mut_arg("context", with_pod), mut_arg("kubeconfig", with_pod))]
pub struct RequestArgs {
    /// The class: of certificates, or with --secret-name of whatever it delivers.
    #[arg(long, value_name = "NAME", required_unless_present = "token_class")]
    class: Option<String>,
    /// The same of a class of tokens, which come sealed: opened here for --dir, or left to the holder of the key of --seal-to.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["class", "csr", "secret_name"])]
    token_class: Option<String>,
    /// Directory for the files: tls.crt, tls.key and ca.crt of a certificate, token of a token, and expires-at.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["csr", "secret_name", "seal_to"])]
    dir: Option<PathBuf>,
    /// Certificate signing request in PEM, from a file or from standard input (-): whoever made it keeps the key.
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// Have the credential put into a Secret of this name in the pod's namespace, which must not be there yet; starts with daypass-. For
    /// programs that can only be given a Secret, and classes whose delivery names Secret.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["dir", "csr", "mode"])]
    secret_name: Option<String>,
    /// Public key that a token is sealed to (base64, as daypass open --generate-key prints it): whoever holds the private one opens it with
    /// daypass open.
    #[arg(long, value_name = "KEY", requires = "token_class", conflicts_with_all = ["dir", "mode"])]
    seal_to: Option<String>,
    #[command(flatten)]
    want: WantArgs,
    /// Give up after this long.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    wait: Ttl,
    /// Mode of the files.
    #[arg(long, value_name = "OCTAL", default_value = "0600", value_parser = mode)]
    mode: u32,
    /// How the answer is printed.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    /// Ask as this pod, from outside: with your kubeconfig, whose user must be allowed to create tokens of its service account.
    #[arg(long, value_name = "NAME")]
    pod: Option<String>,
    #[command(flatten)]
    kube: KubeArgs,
    #[command(flatten)]
    place: WhereArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people; with --csr and without --dir the certificate chain on standard output.
    Text,
    /// One JSON object.
    Json,
}

/// In a pod there is nothing to choose: its mounted token says who asks, and where.
fn with_pod(arg: Arg) -> Arg {
    arg.requires("pod").help_heading("With --pod")
}

/// Runs it.
pub async fn run(args: RequestArgs) -> ExitCode {
    if let Err(problem) = telemetry::init(LogFormat::Human, "warn") {
        return exit::with(exit::FAILED, "request", problem);
    }
    let csr = match args.csr.as_ref().map(read).transpose() {
        Ok(csr) => csr,
        Err(problem) => return exit::with(exit::USAGE, "request", problem),
    };
    // Before it is sent, for what is sent stays in the request: it may be a private key.
    if let Some(Err(problem)) = args.seal_to.as_deref().map(SealKey::parse) {
        return exit::with(exit::USAGE, "request", format_args!("--seal-to: {problem}"));
    }
    let place = match &args.pod {
        Some(pod) => as_pod(pod, &args.kube).await,
        None => args.place.place().map_err(|error| (exit::NO_POD, error.to_string())),
    };
    let place = match place {
        Ok(place) => place,
        Err((code, problem)) => return exit::with(code, "request", problem),
    };
    let want = match (&args.token_class, &args.class) {
        (Some(class), _) => args.want.of(class, args.seal_to.clone().map_or(Hand::Token, Hand::SealedTo)),
        (None, class) => {
            let hand = match (csr, args.secret_name.clone()) {
                (Some(csr), _) => Hand::Csr(csr),
                (_, Some(name)) => Hand::Secret(name),
                _ => Hand::Here,
            };
            args.want.of(class.as_deref().unwrap_or_default(), hand)
        }
    };
    let directory = match args.dir.as_ref().map(|dir| Directory::hold(dir, args.mode)).transpose() {
        Ok(directory) => directory,
        Err(error) => return exit::with(exit::CANNOT_WRITE, "request", error),
    };
    let (debts, mut draft) = (Debts::default(), None);
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return exit::with(exit::FAILED, "request", format_args!("cannot listen for signals: {error}")),
    };
    let limit = args.wait.parse().unwrap_or_default();
    let asked = tokio::select! {
        asked = granted(&place, &debts, &mut draft, &want, limit) => Ok(asked),
        signal = signals.stop() => Err(signal),
    };
    if let Some(draft) = draft {
        debts.owe(&draft.name, None);
    }
    let asked = match asked {
        Ok(asked) => asked,
        Err(signal) => {
            let _ = tokio::time::timeout(super::agent::RELEASE_WITHIN, debts.settle(&place)).await;
            return ExitCode::from(exit::SIGNALLED + signal.number() as u8);
        }
    };
    let written = asked.and_then(|granted| match &directory {
        Some(directory) => directory.put(&files(&granted, &want.class)).map(|()| granted.clone()).map_err(|error| {
            debts.owe(&granted.request.name_any(), granted.request.uid());
            Refusal::Files(error)
        }),
        None => Ok(granted),
    });
    // What was asked for and is not wanted any more.
    let _ = tokio::time::timeout(super::agent::RELEASE_WITHIN, debts.settle(&place)).await;
    match written {
        Ok(granted) => {
            print(&args, &want.class, &granted);
            ExitCode::SUCCESS
        }
        Err(refusal) => {
            if args.output == Output::Json {
                println!("{}", refused(&refusal));
            }
            exit::with(exit::of_refusal(&refusal), "request", refusal)
        }
    }
}

async fn granted(place: &Place, debts: &Debts, draft: &mut Option<Draft>, want: &Want, limit: Duration) -> Result<Granted, Refusal> {
    let attempt = async |left: Duration| {
        let answer = ask(place, debts, draft, want, left).await;
        let _ = debts.settle(place).await;
        match answer? {
            Answer::Granted(granted) => Ok(*granted),
            Answer::Denied(denied) => Err(Refusal::Denied(denied)),
        }
    };
    persist(place.clock(), &want.class, limit, attempt).await
}

/// A person's way to ask as a pod: a token bound to it, which only those may mint who may act as the pod anyway.
async fn as_pod(pod: &str, kube: &KubeArgs) -> Result<Arc<Place>, (u8, String)> {
    let Reach { config, namespace } = kube.reach().await.map_err(|problem| (exit::NO_POD, problem))?;
    let clock = Arc::new(Clock::default());
    let build = |config: Config| client::build(config, &clock).map_err(|error| (exit::UNAVAILABLE, error.to_string()));
    let token = token_for_pod(build(config.clone())?, &namespace, pod).await;
    let token = token.map_err(|error| (exit::DENIED, format!("cannot get a token of pod {namespace}/{pod}: {error}")))?;
    let own = identity::of(&token).map_err(|error| (exit::FAILED, error.to_string()))?;
    let asks = Asks::new(build(own.log_in(config))?, &namespace);
    Ok(Arc::new(Place::opened(Session { asks, requester: own.requester, namespace }, clock)))
}

fn read(file: &PathBuf) -> Result<String, String> {
    let problem = |error: std::io::Error| format!("--csr {}: {error}", file.display());
    if file.as_os_str() != "-" {
        return std::fs::read_to_string(file).map_err(problem);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map(|_| text).map_err(problem)
}

fn print(args: &RequestArgs, class: &str, granted: &Granted) {
    let (name, namespace) = (granted.request.name_any(), granted.request.namespace().unwrap_or_default());
    let credential = granted.request.status.as_ref().and_then(|status| status.credential.as_ref());
    match args.output {
        Output::Json => println!(
            "{}",
            json!({
                "outcome": "Granted", "namespace": namespace, "request": name, "className": class, "expiresAt": granted.expires_at,
                "serial": credential.and_then(|c| c.serial.as_ref()), "certificate": credential.and_then(|c| c.certificate.as_ref()),
                "caBundle": credential.map(|c| &c.ca_bundle), "dir": args.dir, "secretName": credential.and_then(|c| c.secret_name.as_ref()),
                "sealed": credential.and_then(|c| c.sealed.as_ref()), "tokenID": credential.and_then(|c| c.token_id.as_ref()),
            })
        ),
        Output::Text => match (&granted.handed, &args.dir) {
            (Handed::Secret(secret), _) => println!("{namespace}/{name}: granted until {:.0}, in Secret {secret}", granted.expires_at),
            (Handed::Sealed(_), _) => println!(
                "{namespace}/{name}: granted until {:.0}, sealed in its status: daypass open {name} -n {namespace} --key FILE",
                granted.expires_at
            ),
            (_, Some(dir)) => println!("{namespace}/{name}: granted until {:.0}, files in {}", granted.expires_at, dir.display()),
            (Handed::Certificate { chain, .. }, None) => print!("{chain}"),
            // Only ever written to a directory.
            (Handed::Token(_), None) => {}
        },
    }
}

fn refused(refusal: &Refusal) -> serde_json::Value {
    match refusal {
        Refusal::Denied(denied) => json!({
            "outcome": "Denied", "request": denied.request, "reason": denied.reason, "message": denied.message,
            "retryAfterSeconds": denied.retry_after.map(|after| after.as_secs()),
        }),
        Refusal::Asking(AskError::Unanswered { request, .. } | AskError::Lost { request, .. }) => {
            json!({"outcome": "Failed", "request": request, "message": refusal.to_string()})
        }
        other => json!({"outcome": "Failed", "message": other.to_string()}),
    }
}
