//! `daypass exec`: the same around one command. It runs while a credential is held, and its exit code is ours.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    sync::Arc,
};

use clap::Args;
use futures::future::join_all;
use jiff::Timestamp;
use tokio::net::TcpListener;

use super::{
    agent::{holders, obtain, release},
    exit,
    pod_args::{ClassArgs, WantArgs, WhereArgs, duration, mode},
};
use crate::{
    admin,
    api::Ttl,
    pod::{
        Holder, Signal, Tell,
        child::{Child, Event, Signals},
        left_by_the_killed,
        set::OwnDirectory,
    },
    secret::Secret,
    telemetry::{self, AgentMetrics, LogFormat},
};

/// Runs a command while it holds a credential of each class: obtains them first, keeps their files fresh, passes signals and the exit code
/// through, and gives everything back at the end. The command finds its files in $DAYPASS_DIR.
///
/// Exit codes when the command did not run: 69 API server away, 73 files cannot be written, 75 no answer in time, or try again later,
/// 77 denied, 78 not in a pod, 126 command cannot be started, 127 command not found; 128 and the signal's number when a signal ended it.
#[derive(Args, Debug)]
pub struct ExecArgs {
    #[command(flatten)]
    classes: ClassArgs,
    /// Directory for the files. Default: one of its own in /dev/shm, removed at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Environment variable to fill from a file, for instance PGSSLKEY=tls.key or API_TOKEN=token (SUBDIRECTORY/tls.key with several classes); repeat for
    /// several. It cannot be renewed while the command runs.
    #[arg(long = "env", value_name = "NAME=FILE")]
    variables: Vec<Variable>,
    #[command(flatten)]
    want: WantArgs,
    /// Give up after this long when no credential is to be had. A denial is final at once unless time may cure it.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    wait: Ttl,
    /// Mode of the files.
    #[arg(long, value_name = "OCTAL", default_value = "0600", value_parser = mode)]
    mode: u32,
    /// Signal to send to the command after a renewal.
    #[arg(long, value_name = "NAME")]
    signal: Option<Signal>,
    /// Where /livez, /readyz and /metrics are served; nowhere by default.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    place: WhereArgs,
    /// How log lines look.
    #[arg(long, env = "DAYPASS_LOG_FORMAT", value_enum, default_value = "human")]
    log_format: LogFormat,
    /// What is logged, in the syntax of tracing's EnvFilter.
    #[arg(long, env = "DAYPASS_LOG", value_name = "FILTER", default_value = "warn")]
    log: String,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// `NAME=FILE`.
#[derive(Clone, Debug)]
struct Variable {
    name: String,
    file: PathBuf,
}

/// What a variable may be filled from.
const FILES: [&str; 5] = ["tls.crt", "tls.key", "ca.crt", "token", "expires-at"];

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = text.split_once('=').ok_or("give NAME=FILE")?;
        let is_name = name.bytes().enumerate().all(|(at, b)| b == b'_' || b.is_ascii_alphabetic() || at > 0 && b.is_ascii_digit());
        if name.is_empty() || !is_name {
            return Err(format!("{name:?} is no name of an environment variable"));
        }
        let file = PathBuf::from(file);
        if !file.file_name().is_some_and(|last| FILES.iter().any(|known| *known == last)) {
            return Err(format!("FILE is one of {}, below the class's subdirectory if it has one", FILES.join(", ")));
        }
        Ok(Self { name: name.to_owned(), file })
    }
}

/// Runs it until the command has ended.
pub async fn run(args: ExecArgs) -> ExitCode {
    if let Err(problem) = telemetry::init(args.log_format, &args.log) {
        return exit::with(exit::USAGE, "exec", format_args!("--log: {problem}"));
    }
    match &args.dir {
        Some(directory) => within(&args, directory, None).await,
        None => match OwnDirectory::make() {
            Ok(own) => within(&args, own.path(), Some(&own)).await,
            Err(error) => exit::with(exit::CANNOT_WRITE, "exec", format_args!("{error}; give --dir")),
        },
    }
}

async fn within(args: &ExecArgs, directory: &Path, own: Option<&OwnDirectory>) -> ExitCode {
    let placed = match args.classes.placed(directory) {
        Ok(placed) => placed,
        Err(problem) => return exit::with(exit::USAGE, "exec", problem),
    };
    if let Some(lost) =
        args.variables.iter().find(|v| !placed.iter().any(|p| Some(p.directory.as_path()) == directory.join(&v.file).parent()))
    {
        let problem = format!("--env {}={}: no class has its files there", lost.name, lost.file.display());
        return exit::with(exit::USAGE, "exec", problem);
    }
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return exit::with(exit::FAILED, "exec", format_args!("cannot listen for signals: {error}")),
    };
    let place = match args.place.place() {
        Ok(place) => place,
        Err(error) => return exit::with(exit::NO_POD, "exec", error),
    };
    let killed = own.map(|own| left_by_the_killed(own, &place)).unwrap_or_default();
    let metrics = Arc::new(AgentMetrics::default());
    let mut holders = match holders(&place, &args.want, placed, args.mode, &Tell::Nobody, &metrics) {
        Ok(holders) => holders,
        Err(error) => return exit::with(exit::CANNOT_WRITE, "exec", error),
    };
    let listener = match listen(args.listen).await {
        Ok(listener) => listener,
        Err(problem) => return exit::with(exit::FAILED, "exec", problem),
    };
    let limit = args.wait.parse().unwrap_or_default();
    let obtained = tokio::select! {
        obtained = async {
            // Once: what is not ours to give back, or cannot be now, ends with the pod.
            if let Err(problem) = killed.settle(&place).await {
                tracing::warn!("what an earlier process left could not be given back: {problem}");
            }
            obtain(&mut holders, limit).await
        } => obtained,
        signal = signals.stop() => {
            release(&mut holders).await;
            return ExitCode::from(exit::SIGNALLED + signal.number() as u8);
        }
    };
    if let Err(refusal) = obtained {
        release(&mut holders).await;
        return exit::with(exit::of_refusal(&refusal), "exec", refusal);
    }
    let variables = variables(&args.variables, directory, &holders);
    let child = match Child::start(&args.command, directory, &variables) {
        Ok(child) => child,
        Err(error) => {
            release(&mut holders).await;
            return exit::with(exit::of_spawn(&error), "exec", error);
        }
    };
    if let Some(signal) = args.signal {
        for holder in &mut holders {
            holder.tells(Tell::Process(signal, child.pid()));
        }
    }
    let ends = holders.iter().filter_map(Holder::expires_at).min();
    let shown = admin::agent::Shown { standings: holders.iter().map(Holder::standing).collect(), metrics, clock: place.clock().clone() };
    let code = tokio::select! {
        code = until_ended(&child, &mut signals) => code,
        never = async {
            let keep = join_all(holders.iter_mut().map(Holder::keep));
            tokio::join!(keep, serve(listener, shown), outlived(&args.variables, ends, &place)).0.len()
        } => u8::try_from(never).unwrap_or(exit::FAILED),
    };
    release(&mut holders).await;
    ExitCode::from(code)
}

async fn until_ended(child: &Child, signals: &mut Signals) -> u8 {
    loop {
        // It may have ended before the first look.
        if let Some(code) = child.reap() {
            return code;
        }
        if let Event::Signal(signal) = signals.next().await {
            child.pass(signal);
        }
    }
}

async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, String> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    listener.map(Some).map_err(|error| format!("cannot listen on {address} ({error}): give another --listen"))
}

async fn serve(listener: Option<TcpListener>, shown: admin::agent::Shown) {
    let Some(listener) = listener else { return };
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "serving");
    }
    if let Err(error) = admin::agent::serve(listener, Arc::new(shown)).await {
        tracing::error!(%error, "the HTTP server failed");
    }
}

fn variables(asked: &[Variable], directory: &Path, holders: &[Holder]) -> Vec<(String, Secret<String>)> {
    let find = |variable: &Variable| {
        let path = directory.join(&variable.file);
        let holder = holders.iter().find(|holder| Some(holder.directory().path()) == path.parent())?;
        Some((variable.name.clone(), holder.directory().read(path.file_name()?.to_str()?)?))
    };
    asked.iter().filter_map(find).collect()
}

/// What is in an environment cannot be renewed: said when the command outlives it.
async fn outlived(variables: &[Variable], ends: Option<Timestamp>, place: &crate::pod::Place) {
    let (false, Some(ends)) = (variables.is_empty(), ends) else { return };
    let names = variables.iter().map(|variable| variable.name.as_str()).collect::<Vec<_>>().join(", ");
    let clock = place.clock();
    let left = ends.duration_since(clock.server_now().unwrap_or_else(|| clock.now()));
    tracing::info!("{names} cannot be renewed and will be stale after {ends:.0}; the files in $DAYPASS_DIR are kept fresh");
    tokio::time::sleep(std::time::Duration::try_from(left).unwrap_or_default()).await;
    tracing::warn!("the command outlives what is in its environment: {names} ended at {ends:.0}; let it read the files in $DAYPASS_DIR");
}
