//! R1 and R2: a person ends credentials one after the other on an idle control plane. From the API server's answer to that person until what
//! checks the credential is told, and until it is proven dead; and what every grant and end cost in API calls.
//!
//! Both moments are the API server's own: the stage timestamps of its audit log. Only the proof's is the operator's (`verifiedTime`).

use std::collections::HashMap;

use devcluster::audit::{self, Event};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    super::{
        budget::Calls,
        ground::{ACCOUNT, Ground, pods},
        report::{Goal, Report, Row},
        stats::percentile,
    },
    kinds::{self, KINDS, Kind, LISTED, Live, NAMESPACE, Told},
};

/// One end.
struct End {
    live: Live,
    verified: Option<Timestamp>,
}

/// Ends so many of each kind and reports.
pub async fn measure(ground: &Ground, each: usize, report: &mut Report) -> Result<(), String> {
    kinds::lend(ground).await?;
    let pod = pods(&ground.stage, NAMESPACE, "revoked", ACCOUNT, 1).await?.pop().ok_or("no pod")?;
    let mut all = vec![];
    for kind in &KINDS {
        let count = if kind.used { each.div_ceil(3) } else { each };
        eprintln!("R1: {} ends, {}", count, kind.what);
        let mut ends = vec![];
        for _ in 0..count {
            let live = kinds::grant(ground, &pod, kind).await?;
            revoke(ground, &live).await?;
            let over = kinds::ended(&pod, &live, kind).await?;
            if !kinds::nothing_delivered(ground, &live).await? {
                return Err(format!("{}: {} ends, and its Secret is there", kind.what, live.request.name_any()));
            }
            ends.push(End { live, verified: over.status.and_then(|status| status.ended?.verified_time) });
        }
        all.push(ends);
    }
    eprintln!("R2: the audit log is read");
    let events = ground.stage.cluster.audit().map_err(|error| error.to_string())?;
    let operator = ground.stage.operator_name().username();
    let complete = events.iter().filter(|event| event.stage == audit::Stage::ResponseComplete && event.code() < 300 && !event.dry_run());
    let (own, others): (Vec<&Event>, Vec<&Event>) = complete.partition(|event| event.username() == operator);
    for (kind, ends) in KINDS.iter().zip(&all) {
        times(kind, ends, &own, &others, report)?;
    }
    let calls = calls(&all, &own);
    for (of, kind) in KINDS.iter().enumerate() {
        let sample = |part: fn(&Calls) -> u32| {
            calls.iter().filter(|((kind, _), _)| *kind == of).map(|(_, calls)| f64::from(part(calls))).collect::<Vec<_>>()
        };
        let exactly = |part: usize| Some(Goal::Exactly(f64::from(kind.budget[part])));
        report.rows(Row::of("R2", format!("{}: writes a grant", kind.what), &sample(|calls| calls.answer), exactly(0)));
        // An end before `notAfter` that nobody can prove is not written down as one yet.
        if !kind.only_expires() {
            report.rows(Row::of("R2", format!("{}: writes an early end", kind.what), &sample(|calls| calls.end), exactly(1)));
        }
        report.rows(Row::of("R2", format!("{}: reads a life", kind.what), &sample(|calls| calls.reads), Some(Goal::Exactly(0.0))));
    }
    beside(&all, &own, report);
    Ok(())
}

/// A person ends it.
async fn revoke(ground: &Ground, live: &Live) -> Result<(), String> {
    let admin = ground.stage.cluster.admin().map_err(|error| error.to_string())?;
    let api = Api::<daypass::api::CredentialLease>::namespaced(admin, &ground.stage.operator_name().namespace);
    let wish = Patch::Merge(json!({"spec": {"revoke": {"reason": "measuring how long an end takes"}}}));
    api.patch(&live.lease.name_any(), &PatchParams::default(), &wish).await.map(drop).map_err(|error| format!("revoke: {error}"))
}

fn times(kind: &Kind, ends: &[End], own: &[&Event], others: &[&Event], report: &mut Report) -> Result<(), String> {
    let (mut told, mut dead) = (vec![], vec![]);
    for end in ends {
        let lease = end.live.lease.name_any();
        let wished = others.iter().find(|event| event.is("patch", "credentialleases") && named(event, &lease)).map(|event| event.reached);
        let wished = wished.ok_or_else(|| format!("{}: nobody ended {lease}, says the audit log", kind.what))?;
        let tells = own.iter().filter(|event| event.reached >= wished).find(|event| tells(event, kind.told, &end.live));
        let tells = tells.ok_or_else(|| format!("{}: nobody was told of the end of {lease}, says the audit log", kind.what))?;
        told.push(tells.reached.duration_since(wished).as_secs_f64());
        dead.extend(end.verified.map(|verified| verified.duration_since(wished).as_secs_f64()));
    }
    for (percent, goal) in [(50, None), (99, Some(Goal::AtMost(1.0)))] {
        let row = |value| Row::once("R1", format!("{}: seconds to told ({:?}), p{percent}", kind.what, kind.told), value, goal);
        report.rows(percentile(&told, percent).map(row));
        let row = |value| Row::once("R1", format!("{}: seconds to dead, p{percent}", kind.what), value, None);
        report.rows(percentile(&dead, percent).map(row));
    }
    if !kind.only_expires() && dead.len() < ends.len() {
        return Err(format!("{}: {} of {} ends are proven", kind.what, dead.len(), ends.len()));
    }
    Ok(())
}

/// Whether this call tells the checker of that credential.
fn tells(event: &Event, told: Told, live: &Live) -> bool {
    let spec = &live.lease.spec;
    let deletes = |name: Option<&String>| event.is("delete", "secrets") && name.is_some_and(|name| named(event, name));
    match told {
        Told::List => {
            let writes = ["update", "create", "patch"].iter().any(|verb| event.is(verb, "configmaps"));
            writes && named(event, &format!("daypass-crl-{LISTED}"))
        }
        Told::BoundSecret => deletes(spec.token.as_ref().map(|token| &token.bound_to.name)),
        Told::DeliveredSecret => deletes(spec.secret.as_ref().map(|secret| &secret.name)),
        Told::Ledger => event.is("update", "credentialleases/status") && named(event, &live.lease.name_any()),
    }
}

fn named(event: &Event, name: &str) -> bool {
    event.object_ref.as_ref().is_some_and(|object| object.name == name)
}

/// Calls about each grant: of its request, its lease, and its Secrets.
fn calls(all: &[Vec<End>], own: &[&Event]) -> HashMap<(usize, usize), Calls> {
    let mut owners = HashMap::new();
    for (kind, ends) in all.iter().enumerate() {
        for (n, End { live, .. }) in ends.iter().enumerate() {
            let bound = live.lease.spec.token.as_ref().map(|token| token.bound_to.name.clone());
            let delivered = live.lease.spec.secret.as_ref().map(|secret| secret.name.clone());
            owners.insert(("accessrequests", live.request.name_any()), (kind, n));
            owners.insert(("credentialleases", live.lease.name_any()), (kind, n));
            owners.extend(bound.into_iter().chain(delivered).map(|name| (("secrets", name), (kind, n))));
        }
    }
    let mut calls: HashMap<(usize, usize), Calls> = owners.values().map(|owner| (*owner, Calls::default())).collect();
    for event in own {
        let Some(object) = &event.object_ref else { continue };
        let of = ["accessrequests", "credentialleases", "secrets"].into_iter().find(|resource| *resource == object.resource);
        let owner = of.and_then(|resource| owners.get(&(resource, object.name.clone())));
        if let Some(calls) = owner.and_then(|owner| calls.get_mut(owner)) {
            calls.count(event);
        }
    }
    calls
}

/// What cannot be told apart by a name: in all, for every token that was lent.
fn beside(all: &[Vec<End>], own: &[&Event], report: &mut Report) {
    let tokens = KINDS.iter().zip(all).filter(|(kind, _)| kind.told == Told::BoundSecret).map(|(_, ends)| ends.len()).sum::<usize>();
    let count = |resource: &str| own.iter().filter(|event| event.is("create", resource)).count() as f64;
    let lists = own.iter().filter(|event| event.is("update", "configmaps") && named(event, &format!("daypass-crl-{LISTED}"))).count();
    report.rows([
        Row::once("R2", "TokenRequests a token", count("serviceaccounts/token") / tokens as f64, Some(Goal::Exactly(1.0))),
        Row::once("R2", "TokenReviews a token, both of its life and its end", count("tokenreviews") / tokens as f64, None),
        Row::once("R2", "lists published, all of them", lists as f64, None),
    ]);
}
