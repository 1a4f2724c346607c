//! `daypass lock` and `daypass unlock`: a ban with an end, placed and lifted with the caller's own rights. They only write the lock: the
//! operator refuses, ends, and proves; this waits for it.

mod said;
mod watch;

use std::{process::ExitCode, sync::Arc};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};
use serde::Serialize;

use super::{
    exit,
    kube_args::KubeArgs,
    pod_args::duration,
    revoke::{self, held::Held, ledger::Unread, select::Place, tally::Tally, tell},
};
use crate::{
    api::{AccessLock, AccessLockSpec, Ttl, lock::LockSource},
    cluster::{
        ApiError, Clock,
        act::Locks,
        client::{build, call},
    },
    core::explain::plain,
};
use said::Said;
use watch::Watch;

/// Locks everything that fits all of what is said until a time: nothing of it is given anything, and what is live of it is ended and proven
/// dead, which is waited for. With your own rights: you need create on accesslocks.daypass.dev and list on credentialleases.daypass.dev, as
/// the ClusterRole daypass-locker gives them, and for --pod and --image get or list on pods. Your name and the reason go on record, and
/// whoever is refused or loses something is told them.
///
/// A flag that is repeated means any of its values. A token is taken back within seconds; a certificate that no list revokes is dead when its
/// own time is over, 15 minutes after it was issued at most. `daypass unlock` lifts a lock before its end.
///
/// The last line on standard output has the counts. Exit codes: 0 the lock stands and every grant that it met is proven dead, also when there
/// was none, with --no-wait and for a dry run; 1 it could not be placed, or you said no; 2 wrong use; 69 API server away; 75 it stands, and
/// some are not dead yet; 77 not allowed; 130 interrupted: what was locked is ended all the same.
#[derive(Args, Debug)]
#[command(mut_arg("namespace", |arg| arg.help("What asks in this namespace; also the namespace of a plain NAME")))]
pub struct LockArgs {
    /// What asks as this service account, as NAMESPACE/NAME.
    #[arg(long, value_name = "NAMESPACE/NAME", help_heading = "What to lock")]
    service_account: Option<String>,
    /// What asks for this class.
    #[arg(long, value_name = "NAME", help_heading = "What to lock")]
    class: Vec<String>,
    /// What asks from this node.
    #[arg(long, value_name = "NAME", help_heading = "What to lock")]
    node: Vec<String>,
    /// What this pod asks for, as NAMESPACE/NAME. A later pod of that name is another.
    #[arg(long = "pod", value_name = "NAMESPACE/NAME", help_heading = "What to lock")]
    holder: Vec<String>,
    /// What pods with a container of this image ask for: repository, repository:tag, repository@digest or digest.
    #[arg(long, value_name = "IMAGE", help_heading = "What to lock")]
    image: Vec<String>,
    /// Everything in the cluster. Needs --yes beside it.
    #[arg(long, help_heading = "What to lock", conflicts_with_all = ["service_account", "class", "node", "holder", "image", "namespace"])]
    everything: bool,
    /// For how long: 30m, 2h, 3d or 1d12h, a year at most.
    #[arg(long = "for", value_name = "DURATION", value_parser = said::span, conflicts_with = "until", required_unless_present_any = ["until", "dry_run"])]
    span: Option<jiff::SignedDuration>,
    /// Until when, as 2026-03-01T18:00:00Z.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Why, in at most 256 characters; whoever is refused or loses something is told.
    #[arg(long, value_name = "TEXT", value_parser = revoke::reason, required_unless_present = "dry_run")]
    reason: Option<String>,
    /// Name of the AccessLock. Default: one that the API server makes up.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Change nothing: list what would end.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask. Without a terminal on standard input this is required.
    #[arg(short, long)]
    yes: bool,
    /// Do not wait for the proof.
    #[arg(long)]
    no_wait: bool,
    /// Wait at most this long for the proof. What was locked is ended all the same.
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

/// Lifts locks before their end: what they were about is decided by policies alone again. What they ended stays ended. With your own rights:
/// you need get and delete on accesslocks.daypass.dev, as the ClusterRole daypass-locker gives them.
///
/// Exit codes: 0 each is lifted; 1 one is not there, or could not be lifted; 2 wrong use; 69 API server away; 77 not allowed.
#[derive(Args, Debug)]
#[command(mut_arg("namespace", |arg| arg.hide(true)))]
pub struct UnlockArgs {
    /// Names of the AccessLocks.
    #[arg(value_name = "NAME", required = true)]
    lock: Vec<String>,
    #[command(flatten)]
    kube: KubeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A line with the counts.
    Text,
    /// One JSON object: {"time", "dryRun", "lock", "until", "provenDead", "waiting", "failed", "leases": […]}.
    Json,
}

/// What came of it, in JSON: fields only ever get added.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome<'a> {
    /// The API server's time.
    time: Timestamp,
    dry_run: bool,
    /// Name of the lock; absent for a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<&'a str>,
    until: Timestamp,
    #[serde(flatten)]
    tally: &'a Tally,
    leases: Vec<&'a Held>,
}

/// Why it came to nothing: exit code and what to say.
type Refusal = (u8, String);

/// Places a lock.
pub async fn lock(args: LockArgs) -> ExitCode {
    match place(&args).await {
        Ok(code) => ExitCode::from(code),
        Err((code, problem)) => exit::with(code, "lock", problem),
    }
}

async fn place(args: &LockArgs) -> Result<u8, Refusal> {
    let said = args.said().map_err(|problem| (exit::USAGE, problem))?;
    let reach = args.kube.reach().await.map_err(|problem| (exit::FAILED, problem))?;
    let clock = Arc::new(Clock::default());
    let client = build(reach.config, &clock).map_err(|error| (exit::UNAVAILABLE, error.to_string()))?;
    let until = args.end(clock.now()).map_err(|problem| (exit::USAGE, problem))?;
    let mut uids = vec![];
    for place in &said.pods {
        uids.push(uid_of(&client, place).await?);
    }
    let wanted = AccessLock::new(
        "",
        AccessLockSpec {
            matches: said.matches(uids),
            reason: args.reason.clone().unwrap_or_default(),
            expires_at: until,
            source: LockSource::Person,
            by: String::new(),
        },
    );
    let mut watch = Watch::new(client.clone(), &args.operator_namespace, &wanted);
    watch.look(&clock).await.map_err(|unread| refusal(&unread))?;
    if args.dry_run {
        return Ok(args.show(&watch, until, &clock));
    }
    if !args.yes {
        watch.held.values().for_each(|held| eprintln!("{}", line(held)));
        let count = watch.held.len();
        let question = format!(
            "Lock {said} until {until:.0}, and end {count} {}? Workloads lose them at once. [y/N] ",
            revoke::tally::plural(count, "credential")
        );
        match tell::confirmed(&question) {
            Ok(true) => {}
            Ok(false) => return Err((exit::FAILED, "nothing was changed".into())),
            Err(problem) => return Err((exit::USAGE, problem)),
        }
    }
    let mut lock = wanted;
    (lock.metadata.name, lock.metadata.generate_name) = (args.name.clone(), args.name.is_none().then(|| "lock-".to_owned()));
    let placed = Locks::new(client).await.place(&lock).await.map_err(|error| not_placed(&error))?;
    let name = placed.name_any();
    eprintln!("AccessLock {name} stands until {until:.0}. To lift it before: daypass unlock {name}");
    watch.stands(&placed);
    if args.no_wait {
        args.print(&watch, Some(&name), until, &clock);
        return Ok(exit::DONE);
    }
    Ok(wait(args, &mut watch, &name, until, &clock).await)
}

/// Waits until everything that the lock met is proven dead, the time is over or somebody interrupts.
async fn wait(args: &LockArgs, watch: &mut Watch, name: &str, until: Timestamp, clock: &Clock) -> u8 {
    let mut teller = tell::Teller::new();
    let limit = args.timeout.parse().unwrap_or_default();
    let ended = tokio::select! {
        ended = tokio::time::timeout(limit, watch.until_dead(&mut teller, clock)) => ended.map_or(Ok(None), |ended| ended.map(|()| None)),
        _ = tokio::signal::ctrl_c() => Ok(Some(exit::SIGNALLED + 2)),
    };
    teller.clear();
    let tally = watch.tally();
    args.print(watch, Some(name), until, clock);
    match ended {
        Err(unread) => {
            let (code, problem) = refusal(&unread);
            eprintln!("daypass lock: AccessLock {name} stands, and what becomes of the grants cannot be seen: {problem}");
            code
        }
        Ok(_) if !watch.is_known() => {
            eprintln!("daypass lock: AccessLock {name} stands, and the operator has not said yet that it has seen it: is it running?");
            exit::TRY_AGAIN
        }
        Ok(interrupted) => match tally.code() {
            exit::DONE => exit::DONE,
            code => interrupted.unwrap_or(code),
        },
    }
}

/// Lifts locks.
pub async fn unlock(args: UnlockArgs) -> ExitCode {
    let reach = match args.kube.reach().await {
        Ok(reach) => reach,
        Err(problem) => return exit::with(exit::FAILED, "unlock", problem),
    };
    let client = match build(reach.config, &Arc::new(Clock::default())) {
        Ok(client) => client,
        Err(error) => return exit::with(exit::UNAVAILABLE, "unlock", error),
    };
    let locks = Locks::new(client).await;
    let mut worst = exit::DONE;
    for name in &args.lock {
        match lift(&locks, name).await {
            Ok(line) => println!("{line}"),
            Err((code, problem)) => {
                eprintln!("daypass unlock: {problem}");
                worst = worst.max(code);
            }
        }
    }
    ExitCode::from(worst)
}

async fn lift(locks: &Locks, name: &str) -> Result<String, Refusal> {
    let refused = |verb: &str, error: ApiError| match error {
        ApiError::NotFound(_) => (exit::FAILED, format!("there is no AccessLock {name}: kubectl get dplock lists those that there are")),
        ApiError::Forbidden(said) => {
            (exit::DENIED, format!("{}. The API server said: {}", missing(verb, "accesslocks.daypass.dev"), plain(&said)))
        }
        ApiError::Busy { .. } | ApiError::NoAnswer(_) => (exit::UNAVAILABLE, error.to_string()),
        other => (exit::FAILED, other.to_string()),
    };
    let lock = locks.get(name).await.map_err(|error| refused("get", error))?;
    locks.lift(name, &lock.uid().unwrap_or_default()).await.map_err(|error| refused("delete", error))?;
    let spec = &lock.spec;
    Ok(plain(&format!("AccessLock {name} is lifted; {} placed it, until {:.0}: {}", spec.by, spec.expires_at, spec.reason)))
}

async fn uid_of(client: &Client, place: &Place) -> Result<String, Refusal> {
    let Place { namespace, name } = place;
    match call(Api::<Pod>::namespaced(client.clone(), namespace).get_opt(name)).await {
        Ok(Some(pod)) => Ok(pod.uid().unwrap_or_default()),
        Ok(None) => Err((exit::FAILED, format!("there is no pod {namespace}/{name}: lock its service account, its node or its image"))),
        Err(ApiError::Forbidden(said)) => {
            Err((exit::DENIED, format!("you need the right to get pods in namespace {namespace}. The API server said: {}", plain(&said))))
        }
        Err(error) => Err((exit::UNAVAILABLE, error.to_string())),
    }
}

impl LockArgs {
    fn said(&self) -> Result<Said, String> {
        let namespace = self.kube.namespace.as_deref();
        let at = |flag, text: &String| revoke::select::place(flag, text, namespace);
        let said = Said {
            namespace: self.kube.namespace.clone(),
            service_account: self.service_account.as_ref().map(|text| at("service-account", text)).transpose()?,
            pods: self.holder.iter().map(|text| at("pod", text)).collect::<Result<_, _>>()?,
            nodes: self.node.clone(),
            images: self.image.clone(),
            classes: self.class.clone(),
            everything: self.everything,
        };
        if said.is_empty() {
            let ways = "--service-account, -n, --class, --node, --pod, --image or --everything";
            return Err(format!("what shall be locked? Give at least one of {ways}; daypass lock --help explains them"));
        }
        if self.everything && !self.yes && !self.dry_run {
            return Err("--everything locks the whole cluster: look with --dry-run, then say --yes beside it".into());
        }
        Ok(said)
    }

    fn end(&self, now: Timestamp) -> Result<Timestamp, String> {
        let hour = jiff::SignedDuration::from_hours(1);
        let end = self.until.map_or_else(|| now.checked_add(self.span.unwrap_or(hour)), Ok);
        match end {
            Ok(end) if end > now => Ok(end),
            Ok(end) => Err(format!("--until {end} is over: give a time that comes")),
            Err(_) => Err("--for is too long: a year at most".into()),
        }
    }

    fn show(&self, watch: &Watch, until: Timestamp, clock: &Clock) -> u8 {
        if self.output == Output::Text {
            watch.held.values().for_each(|held| println!("{}", line(held)));
            let count = watch.held.len();
            println!("{count} {} would end (dry run: nothing was changed)", revoke::tally::plural(count, "credential"));
        } else {
            self.print(watch, None, until, clock);
        }
        exit::DONE
    }

    fn print(&self, watch: &Watch, lock: Option<&str>, until: Timestamp, clock: &Clock) {
        let tally = watch.tally();
        match self.output {
            Output::Text => println!("{tally}"),
            Output::Json => {
                let time = clock.server_now().unwrap_or_else(|| clock.now());
                let leases = watch.held.values().collect();
                let outcome = Outcome { time, dry_run: self.dry_run, lock, until, tally: &tally, leases };
                println!("{}", serde_json::to_string_pretty(&outcome).unwrap_or_default());
            }
        }
    }
}

/// One lease, and how it stands, in a line.
fn line(held: &Held) -> String {
    revoke::line(held)
}

fn not_placed(error: &ApiError) -> Refusal {
    match error {
        ApiError::Forbidden(said) => {
            (exit::DENIED, format!("{}. The API server said: {}", missing("create", "accesslocks.daypass.dev"), plain(said)))
        }
        ApiError::AlreadyExists(_) => (exit::FAILED, "there is an AccessLock of this name already: give another --name".into()),
        ApiError::NotFound(_) => (exit::FAILED, "this cluster knows no AccessLock: is this version of Daypass installed on it?".into()),
        ApiError::Busy { .. } | ApiError::NoAnswer(_) => {
            (exit::UNAVAILABLE, format!("{error}; whether the lock was placed is not known: kubectl get dplock shows it"))
        }
        other => (exit::FAILED, format!("the lock was not placed: {}", plain(&other.to_string()))),
    }
}

/// Why leases or pods cannot be read, and what to do.
fn refusal(unread: &Unread) -> Refusal {
    let Unread { resource, error, .. } = unread;
    match error {
        ApiError::Forbidden(said) => (exit::DENIED, format!("{}. The API server said: {}", missing("list", resource), plain(said))),
        ApiError::NotFound(_) => (exit::FAILED, "this cluster knows no CredentialLease: is Daypass installed on it?".into()),
        ApiError::Busy { .. } | ApiError::NoAnswer(_) => (exit::UNAVAILABLE, error.to_string()),
        _ => (exit::FAILED, error.to_string()),
    }
}

/// Which right is missing, and who gives it.
fn missing(verb: &str, resource: &str) -> String {
    let ask = match resource {
        "pods" => "ask for it, or lock a service account, a node or a namespace",
        _ => "ask for a ClusterRoleBinding to the ClusterRole daypass-locker, and give --operator-namespace if Daypass runs elsewhere",
    };
    format!("you need the right to {verb} {resource}: {ask}")
}
