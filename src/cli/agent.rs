//! `daypass agent`: keeps credentials fresh in a directory, as a native sidecar or, with --once, as an init container.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use futures::future::join_all;
use tokio::net::TcpListener;

use super::{
    exit,
    pod_args::{ClassArgs, Placed, WantArgs, WhereArgs, duration, mode},
};
use crate::{
    admin,
    api::Ttl,
    pod::{
        Holder, Place, Refusal, Signal, Tell,
        child::Signals,
        set::{Directory, SetError, in_memory},
    },
    telemetry::{self, AgentMetrics, LogFormat},
};

/// Giving back takes no longer than this; a pod's grace period is 30 s by default.
pub(super) const RELEASE_WITHIN: Duration = Duration::from_secs(5);

/// Keeps a live credential of each class in a directory: asks with a key made in memory, renews at about two thirds of the life, and gives
/// everything back when it is told to end.
///
/// Files: tls.crt, tls.key and ca.crt of a certificate, token of a token, and expires-at; all of a credential switch together.
#[derive(Args, Debug)]
pub struct AgentArgs {
    #[command(flatten)]
    classes: ClassArgs,
    /// Directory for the files; best an emptyDir volume with medium: Memory.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    want: WantArgs,
    /// Obtain the credentials, write the files and exit, giving nothing back: for init containers.
    #[arg(long, conflicts_with_all = ["signal", "on_renew"])]
    once: bool,
    /// With --once: give up after this long.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    wait: Ttl,
    /// Mode of the files. The directory may be read by whoever may read the files.
    #[arg(long, value_name = "OCTAL", default_value = "0600", value_parser = mode)]
    mode: u32,
    /// Signal to send after a renewal to the process whose number is in --pid-file (share the process namespace).
    #[arg(long, value_name = "NAME", requires = "pid_file")]
    signal: Option<Signal>,
    /// File with that process number, read at each renewal.
    #[arg(long, value_name = "FILE", requires = "signal")]
    pid_file: Option<PathBuf>,
    /// Command to run after a renewal, split like a shell would but run without one; DAYPASS_CLASS and DAYPASS_DIR say what was renewed.
    #[arg(long, value_name = "COMMAND", conflicts_with = "signal", value_parser = words)]
    on_renew: Option<Words>,
    /// Where /livez, /readyz (200 while every class has a live credential) and /metrics are served. Default: port 8186 of every address; if
    /// another process of the pod has it, nowhere, and that is said.
    #[arg(long, env = "DAYPASS_AGENT_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    place: WhereArgs,
    /// How log lines look.
    #[arg(long, env = "DAYPASS_LOG_FORMAT", value_enum, default_value = "human")]
    log_format: LogFormat,
    /// What is logged, in the syntax of tracing's EnvFilter.
    #[arg(long, env = "DAYPASS_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
}

#[derive(Clone, Debug)]
struct Words(Vec<String>);

fn words(text: &str) -> Result<Words, String> {
    let words = shlex::split(text).filter(|words| !words.is_empty());
    words.map(Words).ok_or_else(|| "a quote is not closed, or there is no command".into())
}

/// Runs it until it is told to end.
pub async fn run(args: AgentArgs) -> ExitCode {
    if let Err(problem) = telemetry::init(args.log_format, &args.log) {
        return exit::with(exit::USAGE, "agent", format_args!("--log: {problem}"));
    }
    let placed = match args.classes.placed(&args.dir) {
        Ok(placed) => placed,
        Err(problem) => return exit::with(exit::USAGE, "agent", problem),
    };
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return exit::with(exit::FAILED, "agent", format_args!("cannot listen for signals: {error}")),
    };
    let place = match args.place.place() {
        Ok(place) => place,
        Err(error) => return exit::with(exit::NO_POD, "agent", error),
    };
    let metrics = Arc::new(AgentMetrics::default());
    let tell = match (&args.signal, &args.pid_file, &args.on_renew) {
        (Some(signal), Some(file), _) => Tell::PidFile(*signal, file.clone()),
        (_, _, Some(Words(words))) => Tell::Command(words.clone()),
        _ => Tell::Nobody,
    };
    let mut holders = match holders(&place, &args.want, placed, args.mode, &tell, &metrics) {
        Ok(holders) => holders,
        Err(error) => return exit::with(exit::CANNOT_WRITE, "agent", error),
    };
    if args.once {
        let limit = args.wait.parse().unwrap_or_default();
        return once(&mut holders, &mut signals, limit).await;
    }
    let listener = match listen(args.listen).await {
        Ok(listener) => listener,
        Err(problem) => return exit::with(exit::FAILED, "agent", problem),
    };
    match listener.as_ref().and_then(|listener| listener.local_addr().ok()) {
        Some(address) => tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, "starting"),
        None => tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting"),
    }
    let standings = holders.iter().map(Holder::standing).collect();
    let shown = Arc::new(admin::agent::Shown { standings, metrics, clock: place.clock().clone() });
    let keeping = join_all(holders.iter_mut().map(|holder| async {
        holder.adopt().await;
        holder.keep().await;
    }));
    let served = tokio::select! {
        _ = keeping => Ok(()),
        served = serve(listener, shown) => served,
        _ = signals.stop() => Ok(()),
    };
    tracing::info!("stopping");
    release(&mut holders).await;
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::with(exit::FAILED, "agent", format_args!("the HTTP server failed: {error}")),
    }
}

/// The port of `/readyz`, on every address of the pod, of whichever family it has.
const PORT: u16 = 8186;

async fn listen(said: Option<SocketAddr>) -> Result<Option<TcpListener>, String> {
    if let Some(address) = said {
        let listener = TcpListener::bind(address).await;
        return listener.map(Some).map_err(|error| format!("cannot listen on {address} ({error}): give another --listen"));
    }
    let both = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).await {
        Err(error) if error.kind() != ErrorKind::AddrInUse => TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await,
        other => other,
    };
    match both {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            tracing::warn!("port {PORT} is in use, so /readyz and /metrics are served nowhere: give this agent its own --listen");
            Ok(None)
        }
        Err(error) => Err(format!("cannot listen on port {PORT} ({error}): give another --listen")),
    }
}

async fn serve(listener: Option<TcpListener>, shown: Arc<admin::agent::Shown>) -> std::io::Result<()> {
    match listener {
        Some(listener) => admin::agent::serve(listener, shown).await,
        None => std::future::pending().await,
    }
}

/// The holders of some classes, each with its directory.
pub(super) fn holders(
    place: &Arc<Place>,
    want: &WantArgs,
    placed: Vec<Placed>,
    mode: u32,
    tell: &Tell,
    metrics: &Arc<AgentMetrics>,
) -> Result<Vec<Holder>, SetError> {
    let hold = |Placed { class, hand, directory }: Placed| {
        let held = Directory::hold(&directory, mode)?;
        if in_memory(&directory) == Some(false) {
            tracing::warn!("{} is not in memory: keys are written to a disk (use an emptyDir with medium: Memory)", directory.display());
        }
        Ok(Holder::new(place.clone(), want.of(&class, hand), held, tell.clone(), metrics.clone()))
    };
    placed.into_iter().map(hold).collect()
}

/// Obtains a first credential of each class; the first refusal ends it.
pub(super) async fn obtain(holders: &mut [Holder], limit: Duration) -> Result<(), Refusal> {
    futures::future::try_join_all(holders.iter_mut().map(|holder| holder.obtain(limit))).await.map(drop)
}

/// Gives back everything that is held.
pub(super) async fn release(holders: &mut [Holder]) {
    join_all(holders.iter_mut().map(|holder| holder.release(RELEASE_WITHIN))).await;
}

async fn once(holders: &mut [Holder], signals: &mut Signals, limit: Duration) -> ExitCode {
    let obtained = tokio::select! {
        obtained = obtain(holders, limit) => obtained,
        signal = signals.stop() => {
            release(holders).await;
            return ExitCode::from(exit::SIGNALLED + signal.number() as u8);
        }
    };
    match obtained {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            release(holders).await;
            exit::with(exit::of_refusal(&refusal), "agent", refusal)
        }
    }
}
