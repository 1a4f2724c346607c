//! `daypass explain REQUEST`: how a request was decided, as its status says, and how it would be decided on the objects as they are now.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node, ServiceAccount};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use super::kube_args::{KubeArgs, Reach};
use crate::{
    api::{AccessLock, AccessPolicy, AccessRequest, ClusterAccessPolicy, CredentialClass, condition::ConditionStatus},
    cluster::{
        ApiError, Clock, World,
        cache::Key,
        client::{build, call},
        lenient::Lenient,
        locks::LockRecord,
        records::{ClassRecord, ObjectRecord, PolicyRecord},
    },
    controller::{observe::Observer, policies::Policies},
    core::{
        decide,
        explain::render,
        revocation,
        snapshot::{ClassFacts, GuardFacts},
    },
    expr::Expressions,
};

/// Explains how a request was decided, as its status says, and how it would be decided on the objects as they are now.
///
/// With your own rights: what you may not read is left out and said. Exit codes: 0 explained, 1 something could not be read.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// Name of the AccessRequest.
    request: String,
    #[command(flatten)]
    kube: KubeArgs,
    /// Namespace that Daypass runs in.
    #[arg(long, env = "DAYPASS_NAMESPACE", value_name = "NAME", default_value = "daypass-system")]
    operator_namespace: String,
    /// Name of this cluster, as the operator was told.
    #[arg(long, env = "DAYPASS_CLUSTER", value_name = "NAME", default_value = "cluster")]
    cluster: String,
}

/// Runs it. Exit code 0: explained; 1: something could not be read.
pub async fn run(args: ExplainArgs) -> ExitCode {
    match explain(&args).await {
        Ok(text) => {
            println!("{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("daypass explain: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn explain(args: &ExplainArgs) -> Result<String, String> {
    let Reach { config, namespace } = args.kube.reach().await?;
    let clock = std::sync::Arc::new(Clock::default());
    let client = build(config, &clock).map_err(|error| error.to_string())?;
    let requests = Api::<AccessRequest>::namespaced(client.clone(), &namespace);
    let request = call(requests.get(&args.request))
        .await
        .map_err(|error| cannot("read", &format!("AccessRequest {namespace}/{}", args.request), &error))?;
    let world = World::default();
    let mut unread = Vec::new();
    fill(&client, &namespace, &request, &world, &mut unread).await?;
    let expressions = Expressions::start(1).map_err(|error| error.to_string())?;
    let policies = Policies::default();
    let now = clock.read().latest();
    let observer = Observer {
        world: &world,
        policies: &policies,
        expressions: &expressions,
        client: &client,
        now,
        guard: GuardFacts::InForce { since: Timestamp::MIN },
        cluster: &args.cluster,
        operator_namespace: &args.operator_namespace,
        epoch: 0,
    };
    let observed = observer.request(&request, class_facts(&world, &request.spec.class_name)).await;
    let observed = observed.map_err(|error| cannot("read", &format!("pod {namespace}/{}", request.spec.requester.pod_name), &error))?;
    let decision = decide(&observed.snapshot);
    let mut text = recorded(&request);
    text.push_str(&format!("\nOn the objects as they are at {now:.0}, with your own rights (the admission guard is taken to be in force, limits count nobody):\n"));
    text.push_str(&render(&decision, &observed.snapshot));
    for problem in unread {
        text.push_str(&format!("\nNot looked at: {problem}"));
    }
    Ok(text)
}

/// What the status of the request says.
fn recorded(request: &AccessRequest) -> String {
    let status = request.status.clone().unwrap_or_default();
    let mut text = format!("{} {}: {}", request.namespace().unwrap_or_default(), request.name_any(), status.state.as_str());
    if let Some(decision) = &status.decision {
        text.push_str(&format!(", {:?} at {}: {} ({})", decision.outcome, decision.time, decision.message, decision.reason));
        if let Some(policy) = &decision.policy {
            text.push_str(&format!(", by {policy}"));
        }
    }
    if let Some(ended) = &status.ended {
        text.push_str(&format!("\nEnded {} at {}: {}", ended.reason, ended.time, ended.message));
    }
    text.push('\n');
    text
}

async fn fill(client: &Client, namespace: &str, request: &AccessRequest, world: &World, unread: &mut Vec<String>) -> Result<(), String> {
    let classes = list::<Lenient<CredentialClass>>(&Api::all(client.clone())).await;
    world.classes.replace(classes.map_err(|error| cannot("list", "CredentialClasses", &error))?.into_iter().map(ClassRecord::of).collect());
    let cluster = list::<Lenient<ClusterAccessPolicy>>(&Api::all(client.clone())).await;
    let cluster = cluster.map_err(|error| cannot("list", "ClusterAccessPolicies", &error))?;
    world.cluster_policies.replace(cluster.into_iter().map(PolicyRecord::cluster).collect());
    let own = list::<Lenient<AccessPolicy>>(&Api::namespaced(client.clone(), namespace)).await;
    let own = own.map_err(|error| cannot("list", &format!("AccessPolicies of namespace {namespace}"), &error))?;
    world.policies.replace(own.into_iter().map(PolicyRecord::namespaced).collect());
    match list::<Lenient<AccessLock>>(&Api::all(client.clone())).await {
        Ok(locks) => drop(world.locks.replace(locks.into_iter().map(LockRecord::of).collect())),
        Err(error) => unread.push(cannot("list", "AccessLocks, which may refuse it", &error)),
    }
    let requester = &request.spec.requester;
    let account = requester.service_account().map(|(_, name)| name).unwrap_or_default();
    if let Some(object) = optional(Api::<Namespace>::all(client.clone()), namespace, unread).await {
        world.namespaces.replace(vec![ObjectRecord::namespace(object)]);
    }
    if let Some(object) = optional(Api::<ServiceAccount>::namespaced(client.clone(), namespace), account, unread).await {
        world.service_accounts.replace(vec![ObjectRecord::service_account(object)]);
    }
    if !requester.node_name.is_empty()
        && let Some(object) = optional(Api::<Node>::all(client.clone()), &requester.node_name, unread).await
    {
        world.nodes.replace(vec![ObjectRecord::node(object)]);
    }
    Ok(())
}

async fn list<K: Clone + DeserializeOwned + std::fmt::Debug>(api: &Api<K>) -> Result<Vec<K>, ApiError> {
    call(api.list(&ListParams::default())).await.map(|list| list.items)
}

/// What a person may not read is left out and said.
async fn optional<K>(api: Api<K>, name: &str, unread: &mut Vec<String>) -> Option<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    match call(api.get_opt(name)).await {
        Ok(found) => found,
        Err(error) => {
            unread.push(cannot("read", &format!("{} {name}", K::kind(&())), &error));
            None
        }
    }
}

/// What the class's status says of it: only the operator can judge its authority.
fn class_facts(world: &World, name: &str) -> ClassFacts {
    let Some(record) = world.classes.get(&Key::new("", name)) else { return ClassFacts::Absent };
    let class = match &record.class {
        Ok(class) => class,
        Err(problem) => return ClassFacts::NotReady { reason: "Unreadable".into(), message: problem.clone() },
    };
    let status = class.status.clone().unwrap_or_default();
    match status.conditions.iter().find(|c| c.type_ == "Ready") {
        Some(ready) if ready.status == ConditionStatus::True => {
            // What its status does not say is as if there were no list.
            let revocation = status.revocation.unwrap_or_else(|| revocation::of_class(&class.spec, None));
            ClassFacts::Ready { spec: Box::new(class.spec.clone()), not_after: Timestamp::MAX, revocation }
        }
        Some(ready) => ClassFacts::NotReady { reason: ready.reason.clone(), message: ready.message.clone() },
        None => ClassFacts::Unjudged,
    }
}

fn cannot(what: &str, object: &str, error: &ApiError) -> String {
    format!("cannot {what} {object}: {error}")
}
