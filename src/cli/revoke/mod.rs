//! `daypass revoke`: ends everything that an identity, a namespace, a class, a node, a pod or an image holds, with the caller's own rights, and
//! waits for the proof. It only writes wishes into the ledger: the operator ends, and proves.

#[cfg(test)]
mod fixture;
pub mod held;
pub mod ledger;
pub mod select;
pub mod tally;
pub mod tell;

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::Client;
use serde::Serialize;

use super::{exit, kube_args::KubeArgs, pod_args::duration};
use crate::{
    api::Ttl,
    cluster::{ApiError, Clock, act::Revokes, client::build},
    core::explain::plain,
};
use held::{Held, Standing};
use ledger::{Chase, Ledger, Unread};
use select::{Selection, place};
use tally::{Tally, plural};
use tell::{Teller, confirmed};

/// Ends every credential that fits all of what is said, and waits until each is proven dead. With your own rights: you need get, list and
/// patch on credentialleases.daypass.dev in the namespace that Daypass runs in, as the ClusterRole daypass-revoker gives them, and for --image
/// list on pods. Your name and the reason go on record.
///
/// A token is taken back within seconds. A certificate cannot be called back: it is dead when its own time is over, 15 minutes after it was
/// issued at most. What is opened meanwhile is ended too; only a change of policy keeps more from being asked for.
///
/// The last line on standard output has the counts. Exit codes: 0 every one is proven dead, also when there is none, and for a dry run;
/// 1 some could not be ended, or you said no; 2 wrong use; 69 API server away; 75 some are not dead yet and the time is over; 77 not allowed;
/// 130 interrupted: what was asked for is ended all the same.
#[derive(Args, Debug)]
#[command(mut_arg("namespace", |arg| arg.help("What was asked for in this namespace; also the namespace of a plain NAME")))]
pub struct RevokeArgs {
    /// What pods of this service account hold, as NAMESPACE/NAME.
    #[arg(long, value_name = "NAMESPACE/NAME", help_heading = "What to end")]
    service_account: Option<String>,
    /// What was given out of this class.
    #[arg(long, value_name = "NAME", help_heading = "What to end")]
    class: Option<String>,
    /// What pods on this node hold.
    #[arg(long, value_name = "NAME", help_heading = "What to end")]
    node: Option<String>,
    /// What this pod holds, as NAMESPACE/NAME.
    #[arg(long = "pod", value_name = "NAMESPACE/NAME", help_heading = "What to end")]
    holder: Option<String>,
    /// What pods with a container of this image hold: repository, repository:tag, repository@digest or digest.
    #[arg(long, value_name = "IMAGE", help_heading = "What to end")]
    image: Option<String>,
    /// What this AccessRequest was given, as NAMESPACE/NAME.
    #[arg(long = "request", value_name = "NAMESPACE/NAME", help_heading = "What to end")]
    asked: Option<String>,
    /// This CredentialLease.
    #[arg(long, value_name = "NAME", help_heading = "What to end")]
    lease: Option<String>,
    /// Why, in at most 256 characters; it is shown to whoever asked for the credential.
    #[arg(long, value_name = "TEXT", value_parser = reason, required_unless_present = "dry_run")]
    reason: Option<String>,
    /// Change nothing: list what would end.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask. Without a terminal on standard input this is required.
    #[arg(short, long)]
    yes: bool,
    /// Wait at most this long for the proof. What was asked for is ended all the same.
    #[arg(long, value_name = "DURATION", default_value = "20m", value_parser = duration)]
    timeout: Ttl,
    /// How the outcome is printed.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    kube: KubeArgs,
    /// Namespace that Daypass runs in.
    #[arg(long, env = "DAYPASS_NAMESPACE", value_name = "NAME", default_value = "daypass-system")]
    operator_namespace: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A line with the counts.
    Text,
    /// One JSON object: {"time", "dryRun", "provenDead", "waiting", "failed", "openedMeanwhile", "leases": […]}.
    Json,
}

/// What came of it, in JSON: fields only ever get added.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    /// The API server's time.
    time: Timestamp,
    dry_run: bool,
    #[serde(flatten)]
    tally: &'a Tally,
    /// How many of them were opened after the first look.
    opened_meanwhile: usize,
    leases: Vec<&'a Held>,
}

/// Why it came to nothing: exit code and what to say.
type Refusal = (u8, String);

/// Shortest and longest pause between two looks at the ledger; it is ten times as long as a look takes, so that looking costs an API server
/// a tenth of its time at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// How long the last look may take, when the time is over or somebody has interrupted.
const LAST_LOOK: Duration = Duration::from_secs(3);

/// Runs it.
pub async fn run(args: RevokeArgs) -> ExitCode {
    match revoke(&args).await {
        Ok(code) => ExitCode::from(code),
        Err((code, problem)) => exit::with(code, "revoke", problem),
    }
}

async fn revoke(args: &RevokeArgs) -> Result<u8, Refusal> {
    let selection = args.selection().map_err(|problem| (exit::USAGE, problem))?;
    let reach = args.kube.reach().await.map_err(|problem| (exit::FAILED, problem))?;
    let clock = Arc::new(Clock::default());
    let client = build(reach.config, &clock).map_err(|error| (exit::UNAVAILABLE, error.to_string()))?;
    let mut ledger = Ledger::new(client.clone(), &args.operator_namespace, selection.clone());
    let found = ledger.meant(false).await.map_err(|unread| refusal(&unread))?;
    let found: Vec<Held> = found.iter().map(Held::of).collect();
    if args.dry_run {
        return Ok(args.show(&found, &clock));
    }
    if found.is_empty() {
        eprintln!("{}", nothing(&mut ledger, &selection).await);
    } else if !args.yes {
        found.iter().for_each(|held| eprintln!("{}", line(held)));
        let count = found.len();
        let credentials = plural(count, "credential");
        match confirmed(&format!("End {count} {credentials}? Workloads lose them at once, and what is ended stays ended. [y/N] ")) {
            Ok(true) => {}
            Ok(false) => return Err((exit::FAILED, "nothing was changed".into())),
            Err(problem) => return Err((exit::USAGE, problem)),
        }
    }
    Ok(chase(args, client, &mut ledger, found, &clock).await)
}

/// Asks for the end of everything that is meant, again and again, until nothing is left, the time is over or somebody interrupts.
async fn chase(args: &RevokeArgs, client: Client, ledger: &mut Ledger, found: Vec<Held>, clock: &Arc<Clock>) -> u8 {
    let revokes = Revokes::new(client, &args.operator_namespace).await;
    let mut chase = Chase::new(ledger, revokes, args.reason.as_deref().unwrap_or_default(), found);
    let mut teller = Teller::new();
    let limit = args.timeout.parse().unwrap_or_default();
    let ended = tokio::select! {
        ended = tokio::time::timeout(limit, until_settled(&mut chase, &mut teller, clock)) => ended.map_or(Ok(None), |ended| ended.map(|()| None)),
        _ = tokio::signal::ctrl_c() => Ok(Some(exit::SIGNALLED + 2)),
    };
    teller.clear();
    if ended.is_ok() && !chase.is_settled() {
        // So that the last line is not that of the look before.
        let _ = tokio::time::timeout(LAST_LOOK, chase.look(clock)).await;
    }
    let tally = Tally::of(chase.held.values());
    let (lost, interrupted) = match ended {
        Ok(interrupted) => (None, interrupted),
        Err(unread) => (Some(refusal(&unread)), None),
    };
    let failed = chase.held.values().filter(|held| matches!(held.standing, Standing::Failed { .. }));
    failed.for_each(|held| eprintln!("{}", line(held)));
    if let Some((_, problem)) = &lost {
        eprintln!("daypass revoke: {problem}");
    } else if tally.code() == exit::DENIED {
        eprintln!("daypass revoke: {}", missing("patch", "credentialleases.daypass.dev", Some(&args.operator_namespace)));
    }
    args.print(&tally, chase.held.values().collect(), chase.late, clock);
    match (tally.code(), lost) {
        // Whoever could not look to the end does not know that nothing is left.
        (exit::DONE, Some((code, _))) => code,
        (exit::DONE, None) => exit::DONE,
        (code, _) => interrupted.unwrap_or(code),
    }
}

/// Returns when everything that was met is settled and one more look found nothing new. `Err`: the ledger may not be read any more.
async fn until_settled(chase: &mut Chase<'_>, teller: &mut Teller, clock: &Clock) -> Result<(), Unread> {
    let (mut pause, mut warned) = (PAUSE.0, false);
    loop {
        let began = clock.monotonic();
        match chase.pass(clock).await {
            Ok(pass) => {
                pass.changed.iter().filter_map(|name| chase.held.get(name)).for_each(|held| teller.happened(&line(held)));
                if chase.late > 0 && !std::mem::replace(&mut warned, true) {
                    teller
                        .note("More are asked for and granted meanwhile; they are ended too. Only a change of policy keeps new ones away.");
                }
                if pass.new == 0 && chase.is_settled() {
                    return Ok(());
                }
                let asked = pass.trouble.as_ref().and_then(ApiError::retry_after).unwrap_or_default();
                let grown = if pass.trouble.is_some() { pause * 2 } else { clock.monotonic().duration_since(began) * 10 };
                pause = grown.max(asked).clamp(PAUSE.0, PAUSE.1);
            }
            Err(Unread { error: ApiError::Busy { message, .. }, .. }) if message != "Unauthorized" => {
                teller.note(&format!("the API server is not able right now: {}; trying again", plain(&message)));
                pause = (pause * 2).min(PAUSE.1);
            }
            Err(Unread { error: ApiError::NoAnswer(problem), .. }) => {
                teller.note(&format!("no answer from the API server: {}; trying again", plain(&problem)));
                pause = (pause * 2).min(PAUSE.1);
            }
            Err(unread) => return Err(unread),
        }
        teller.stand(&Tally::of(chase.held.values()));
        tokio::time::sleep(pause).await;
    }
}

impl RevokeArgs {
    fn selection(&self) -> Result<Selection, String> {
        let namespace = self.kube.namespace.as_deref();
        let at = |flag, said: &Option<String>| said.as_ref().map(|text| place(flag, text, namespace)).transpose();
        let selection = Selection {
            service_account: at("service-account", &self.service_account)?,
            namespace: self.kube.namespace.clone(),
            class: self.class.clone(),
            node: self.node.clone(),
            pod: at("pod", &self.holder)?,
            image: self.image.clone(),
            request: at("request", &self.asked)?,
            lease: self.lease.clone(),
        };
        if selection.is_empty() {
            let ways = "--service-account, -n, --class, --node, --pod, --image, --request or --lease";
            return Err(format!("what shall end? Give at least one of {ways}; daypass revoke --help explains them"));
        }
        Ok(selection)
    }

    /// What would end, for a dry run.
    fn show(&self, found: &[Held], clock: &Clock) -> u8 {
        match self.output {
            Output::Json => self.print(&Tally::of(found.iter()), found.iter().collect(), 0, clock),
            Output::Text => {
                found.iter().for_each(|held| println!("{}", line(held)));
                println!("{} {} would end (dry run: nothing was changed)", found.len(), plural(found.len(), "credential"));
            }
        }
        exit::DONE
    }

    fn print(&self, tally: &Tally, leases: Vec<&Held>, late: usize, clock: &Clock) {
        match self.output {
            Output::Text => println!("{tally}"),
            Output::Json => {
                let time = clock.server_now().unwrap_or_else(|| clock.now());
                let outcome = Outcome { time, dry_run: self.dry_run, tally, opened_meanwhile: late, leases };
                println!("{}", serde_json::to_string_pretty(&outcome).unwrap_or_default());
            }
        }
    }
}

/// One lease, and how it stands, in a line.
pub fn line(held: &Held) -> String {
    let (about, until) = (held.about(), held.valid_until);
    let stands = match &held.standing {
        Standing::Open { message: None } => format!("open, valid until {until:.0}"),
        Standing::Open { message: Some(message) } => format!("not asked for yet, trying again: {message}"),
        Standing::Asked => "asked to end".into(),
        Standing::Ending if held.expiry_only => format!("ended, and accepted by verifiers until {until:.0}"),
        Standing::Ending => "ended and taken back, not yet proven".into(),
        Standing::Dead { proof: Some(proof), .. } => format!("dead ({proof})"),
        Standing::Dead { proof: None, .. } => "dead: its own time is over, and its lease is removed".into(),
        Standing::Failed { message, .. } => format!("FAILED: {message}"),
    };
    format!("{about}: {}", plain(&stands))
}

/// What to say where nothing open is meant: perhaps it is all over already, perhaps a name is wrong.
async fn nothing(ledger: &mut Ledger, selection: &Selection) -> String {
    let before = ledger.meant(true).await.map(|leases| leases.len());
    match before {
        Ok(0) => format!(
            "There is nothing to end: no lease in the ledger, closed ones included, is about {selection}. If you expected one, check the names."
        ),
        Ok(closed) => format!("There is nothing to end: all {closed} {} about {selection} are closed.", plural(closed, "lease")),
        Err(_) => format!("There is nothing to end: no open lease is about {selection}."),
    }
}

/// Why the ledger cannot be read, and what to do.
fn refusal(unread: &Unread) -> Refusal {
    let Unread { resource, namespace, error } = unread;
    match error {
        ApiError::Forbidden(said) => {
            (exit::DENIED, format!("{}. The API server said: {}", missing("list", resource, namespace.as_deref()), plain(said)))
        }
        ApiError::NotFound(_) => (exit::FAILED, "this cluster knows no CredentialLease: is Daypass installed on it?".into()),
        ApiError::Busy { message, .. } if message == "Unauthorized" => {
            (exit::DENIED, "the API server does not know you (401): log in again, or choose another --context".into())
        }
        ApiError::Busy { .. } | ApiError::NoAnswer(_) => (exit::UNAVAILABLE, error.to_string()),
        _ => (exit::FAILED, error.to_string()),
    }
}

/// Which right is missing, and who gives it.
fn missing(verb: &str, resource: &str, namespace: Option<&str>) -> String {
    let place = namespace.map_or_else(|| "in every namespace".to_owned(), |namespace| format!("in namespace {namespace}"));
    let ask = match resource {
        "pods" => "ask for it, or name the pods with --pod".to_owned(),
        _ => "ask for a RoleBinding to the ClusterRole daypass-revoker there, or give --operator-namespace if Daypass runs elsewhere"
            .to_owned(),
    };
    format!("you need the right to {verb} {resource} {place}: {ask}")
}

/// A reason as the ledger takes it.
pub fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err("say why, in a few words: it goes on record".into()),
        1..=256 => Ok(text.to_owned()),
        many => Err(format!("{many} characters are too many for the ledger: 256 at most")),
    }
}

#[cfg(test)]
mod tests {
    use super::{fixture::*, *};

    #[test]
    fn a_line_says_what_it_is_and_how_it_stands() {
        let about = "shop/orders-db-1: class orders-db, service account shop/orders, pod orders-1 on node-1";
        for (lease, stands) in [
            (lease("l"), "open, valid until 2026-03-01T12:10:00Z"),
            (asked("l"), "asked to end"),
            (revoking("l"), "ended, and accepted by verifiers until 2026-03-01T12:10:00Z"),
            (closed("l"), "dead (NotAfterPassed)"),
        ] {
            assert_eq!(line(&Held::of(&lease)), format!("{about}: {stands}"));
        }
    }

    #[test]
    fn a_reason_is_said_and_fits() {
        assert_eq!(reason("  key leaked ").as_deref(), Ok("key leaked"));
        for wrong in ["", "  ", &"x".repeat(257)] {
            assert!(reason(wrong).is_err());
        }
        assert!(reason(&"ü".repeat(256)).is_ok(), "characters, as the schema counts them");
    }

    #[test]
    fn whoever_may_not_is_told_what_to_ask_for() {
        let unread = |resource, namespace: Option<&str>| Unread {
            resource,
            namespace: namespace.map(str::to_owned),
            error: ApiError::Forbidden("User \"rita\" cannot list".into()),
        };
        let (code, said) = refusal(&unread("credentialleases.daypass.dev", Some("daypass-system")));
        assert!(
            code == exit::DENIED && said.contains("in namespace daypass-system: ask for a RoleBinding to the ClusterRole daypass-revoker")
        );
        assert!(refusal(&unread("pods", None)).1.contains("list pods in every namespace"));
    }
}
