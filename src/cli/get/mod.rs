//! `daypass get`: requests and what became of them, with the caller's own rights. Reads, and hands what it read to `table` and `detail`.

mod detail;
#[cfg(test)]
mod fixture;
mod relative;
mod row;
mod table;

use std::{io::Write, process::ExitCode, sync::Arc};

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use jiff::Timestamp;
use kube::{Api, Client, api::ListParams};
use serde::Serialize;

use super::{exit, kube_args::KubeArgs};
use crate::{
    api::{AccessRequest, RequestState},
    cluster::{
        ApiError, Clock,
        client::{build, call},
    },
};
use detail::detail;
use row::{Newest, Row};
use table::{Shown, table};

/// Lists requests and what became of them, the newest last, or shows one in detail. With your own rights: you need get and list on
/// accessrequests.daypass.dev, as the ClusterRoles daypass-viewer and view give them.
///
/// Exit codes: 0 shown, also when there is none; 1 no request of that name, or the cluster cannot be read; 69 API server away;
/// 77 not allowed.
#[derive(Args, Debug)]
pub struct GetArgs {
    /// One request, in detail.
    #[arg(value_name = "NAME", conflicts_with_all = ["all_namespaces", "selector", "state", "class", "limit", "chunk_size"])]
    request: Option<String>,
    /// Requests of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Only requests with these labels, as kubectl takes them: key=value,key2!=value2.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Only requests in this state.
    #[arg(long, value_name = "STATE", ignore_case = true, value_parser = states())]
    state: Option<RequestState>,
    /// Only requests of this class.
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// At most this many, the newest.
    #[arg(long, value_name = "COUNT", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// How many are read at a time: requests carry certificates, and only a line of each is kept.
    #[arg(long, value_name = "COUNT", default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=500))]
    chunk_size: u32,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    kube: KubeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// The same with pod, policy and message in every line.
    Wide,
    /// One JSON object with absolute times, for scripts: {"time", "requests": […], "older"}, or the one request.
    Json,
}

/// What a list is in JSON: fields only ever get added.
#[derive(Serialize)]
struct Listed<'a> {
    /// The API server's time when it was read.
    time: Timestamp,
    requests: &'a [Row],
    /// How many older ones --limit kept out.
    older: usize,
}

/// Runs it. `program` is how this one is called, for commands to copy.
pub async fn run(args: GetArgs, program: &str) -> ExitCode {
    match get(&args, program).await {
        Ok(text) => {
            // A reader that closed the pipe has seen what it wanted.
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err((code, problem)) => exit::with(code, "get", problem),
    }
}

async fn get(args: &GetArgs, program: &str) -> Result<String, (u8, String)> {
    let reach = args.kube.reach().await.map_err(|problem| (exit::FAILED, problem))?;
    let clock = Arc::new(Clock::default());
    let client = build(reach.config, &clock).map_err(|error| (exit::UNAVAILABLE, error.to_string()))?;
    let now = || clock.server_now().unwrap_or_else(|| clock.now());
    match &args.request {
        Some(name) => {
            let api = Api::<AccessRequest>::namespaced(client, &reach.namespace);
            let request = call(api.get(name)).await.map_err(|error| unread(&error, Some(name), Some(&reach.namespace)))?;
            match args.output {
                Output::Json => json(&Row::of(&request)),
                Output::Text | Output::Wide => Ok(detail(&request, now(), program)),
            }
        }
        None => {
            let namespace = Some(reach.namespace.as_str()).filter(|_| !args.all_namespaces);
            let (rows, older) = list(args, client, namespace).await.map_err(|error| unread(&error, None, namespace))?;
            shown(args, &rows, older, now(), namespace)
        }
    }
}

/// All of them a page at a time, of which the newest are kept.
async fn list(args: &GetArgs, client: Client, namespace: Option<&str>) -> Result<(Vec<Row>, usize), ApiError> {
    let api: Api<AccessRequest> =
        namespace.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace));
    let state = args.state.map(|state| format!("status.state={}", state.as_str()));
    let class = args.class.as_ref().map(|class| format!("spec.className={class}"));
    let fields: Vec<String> = state.into_iter().chain(class).collect();
    let mut params = ListParams::default().limit(args.chunk_size).fields(&fields.join(","));
    params.label_selector = args.selector.clone();
    let mut newest = Newest::of(args.limit as usize);
    loop {
        let page = call(api.list(&params)).await?;
        newest.take(page.items.iter().map(Row::of));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(newest.finish()),
        }
    }
}

fn shown(args: &GetArgs, rows: &[Row], older: usize, now: Timestamp, namespace: Option<&str>) -> Result<String, (u8, String)> {
    if args.output == Output::Json {
        return json(&Listed { time: now, requests: rows, older });
    }
    if rows.is_empty() {
        // Where kubectl says so too: what reads standard output gets nothing.
        eprintln!("{}", none(args, namespace));
        return Ok(String::new());
    }
    if older > 0 {
        eprintln!("{older} older ones are not shown: narrow it down with --state, --class or -n, or give a larger --limit");
    }
    Ok(table(rows, Shown { namespace: namespace.is_none(), wide: args.output == Output::Wide }, now))
}

fn none(args: &GetArgs, namespace: Option<&str>) -> String {
    let place = namespace.map_or_else(|| "in any namespace".to_owned(), |namespace| format!("in namespace {namespace}"));
    let narrowed = if args.state.is_some() || args.class.is_some() || args.selector.is_some() { " that fits" } else { "" };
    let elsewhere = if namespace.is_some() { " (-A looks into all namespaces)" } else { "" };
    format!("There is no AccessRequest{narrowed} {place}{elsewhere}.")
}

fn json(value: &impl Serialize) -> Result<String, (u8, String)> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| (exit::FAILED, error.to_string()))
}

/// Why nothing could be read, and what to do.
pub(super) fn unread(error: &ApiError, name: Option<&str>, namespace: Option<&str>) -> (u8, String) {
    let place = namespace.map_or_else(|| "in every namespace".to_owned(), |namespace| format!("in namespace {namespace}"));
    match (error, name) {
        (ApiError::Forbidden(said), _) => {
            let (verb, binding) =
                (if name.is_some() { "get" } else { "list" }, if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" });
            let one = if namespace.is_none() { "; or look into one namespace with -n" } else { "" };
            let needed = format!("you need the right to {verb} accessrequests.daypass.dev {place}");
            (exit::DENIED, format!("{needed}: ask for a {binding} to the ClusterRole daypass-viewer{one}. The API server said: {said}"))
        }
        (ApiError::NotFound(said), Some(name)) if said.contains(name) => {
            let namespace = namespace.unwrap_or_default();
            (
                exit::FAILED,
                format!(
                    "there is no AccessRequest {name} {place}: it may be past its retention; `get` without a name lists those of {namespace}"
                ),
            )
        }
        (ApiError::NotFound(_), _) => (exit::FAILED, "this cluster knows no AccessRequest: is Daypass installed on it?".into()),
        (ApiError::Busy { message, .. }, _) if message == "Unauthorized" => {
            (exit::DENIED, "the API server does not know you (401): log in again, or choose another --context".into())
        }
        (ApiError::Busy { .. } | ApiError::NoAnswer(_), _) => (exit::UNAVAILABLE, error.to_string()),
        _ => (exit::FAILED, error.to_string()),
    }
}

/// The names of the states, so that help and completion list them.
fn states() -> impl TypedValueParser<Value = RequestState> {
    use RequestState::{Active, Denied, Ended, Failed, Pending, Revoking};
    let known = [Pending, Active, Revoking, Denied, Ended, Failed];
    PossibleValuesParser::new(known.map(RequestState::as_str))
        .try_map(move |text| known.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(&text)).ok_or("no such state"))
}
