//! P6, P8 and P9: many live grants. What they cost in memory, what they cost while nothing happens, and what a restart costs.

use std::time::{Duration, Instant};

use daypass::api::{AccessRequest, CredentialLease, Delivery, RequestState};
use devcluster::{audit, wait};
use jiff::Timestamp;
use kube::Api;
use stage::Operator;

use super::{
    ground::{Ask, Ground},
    machine,
    report::{Goal, Report, Row},
    throughput::LONG,
};

/// Tombstones go a minute after the end of the certificate at the earliest.
const TOMBSTONES_GO_WITHIN: Duration = Duration::from_secs(180);

/// Grants until so many are live, and returns once everything that was over before is removed.
pub async fn fill(ground: &Ground, live: usize) -> Result<usize, String> {
    let missing = live.saturating_sub(open(ground).await?);
    let asks = Ask::many(missing, "live", Delivery::CSR, LONG)?;
    futures::try_join!(ground.ask_all(asks, drop), ground.answers.reached("live", RequestState::Active, missing))?;
    let settled = wait::until("tombstones of ended grants to go", TOMBSTONES_GO_WITHIN, || async {
        let (all, open) = (ground.leases().await.ok()?, open(ground).await.ok()?);
        // Looking costs the API server something: not more often than that.
        tokio::time::sleep(Duration::from_secs(2)).await;
        (all == open).then_some(open)
    });
    settled.await.map_err(|error| error.to_string())
}

/// Memory with everything live, and processor time while nothing happens.
pub async fn idle(ground: &Ground, operator: &Operator, live: usize, watch_for: Duration, report: &mut Report) -> Result<(), String> {
    let pid = operator.process.pid();
    let before = machine::cpu_of(pid);
    // This span is what is measured, not waited for.
    tokio::time::sleep(watch_for).await;
    let used = machine::cpu_of(pid).saturating_sub(before).as_secs_f64();
    let (now, most) = machine::memory_of(pid).ok_or("the operator is gone")?;
    let still = open(ground).await?;
    report.rows([
        Row::once("P6", format!("RSS with {live} live, MB"), now, Some(Goal::AtMost(100.0))),
        Row::once("P6", "most RSS of the run so far, MB", most, None),
        Row::once("P9", format!("idle CPU with {live} live, % of a core"), 100.0 * used / watch_for.as_secs_f64(), Some(Goal::AtMost(0.2))),
    ]);
    if still < live {
        report.note(format!(
            "{} of the {live} live grants ended while P6 and P9 were taken: the run took too long for their lives",
            live - still
        ));
    }
    Ok(())
}

/// A restart with everything live: how soon it grants again, and what it writes that nobody asked for.
pub async fn restart(ground: &Ground, operator: &Operator, live: usize, report: &mut Report) -> Result<(), String> {
    operator.stop().await;
    let admin = ground.stage.cluster.admin().map_err(|error| error.to_string())?;
    let listing = Instant::now();
    let requests = Api::<AccessRequest>::all(admin.clone()).list(&Default::default()).await.map_err(|error| error.to_string())?;
    let leases = Api::<CredentialLease>::all(admin).list(&Default::default()).await.map_err(|error| error.to_string())?;
    let listed = listing.elapsed().as_secs_f64();
    drop((requests, leases));
    let asked = ground.ask(0, Ask::new("restart", Delivery::CSR, LONG)?).await?;
    let (since, begun) = (Timestamp::now(), Instant::now());
    operator.process.start_again().map_err(|error| error.to_string())?;
    ground.answers.reached("restart", RequestState::Active, 1).await?;
    let first = begun.elapsed().as_secs_f64();
    report.rows([
        Row::once(
            "P8",
            format!("restart with {live} live: first grant over one bare LIST of requests and leases"),
            first / listed,
            Some(Goal::AtMost(2.5)),
        ),
        Row::once("P8", "restart: first grant after, s", first, None),
    ]);
    let own = ground.stage.lease_of(&asked).await.map_err(|error| error.to_string())?.and_then(|lease| lease.metadata.name);
    let (request, lease) = (asked.metadata.name.unwrap_or_default(), own.unwrap_or_default());
    let events = ground.stage.cluster.audit().map_err(|error| error.to_string())?;
    let username = ground.stage.operator_name().username();
    let writes: Vec<String> = audit::by_user(&events, &username)
        .filter(|event| {
            event.received >= since && matches!(event.verb.as_str(), "create" | "update" | "patch" | "delete") && !event.dry_run()
        })
        .filter(|event| event.object_ref.as_ref().is_none_or(|object| object.name != request && object.name != lease))
        .map(|event| format!("{} {}", event.verb, event.request_uri))
        .collect();
    report.rows([Row::once("P8", "restart: writes that no request asked for", writes.len() as f64, Some(Goal::Exactly(0.0)))]);
    if !writes.is_empty() {
        report.note(format!("Written after the restart:\n  {}", writes[..writes.len().min(10)].join("\n  ")));
    }
    Ok(())
}

/// Leases that are not ended.
async fn open(ground: &Ground) -> Result<usize, String> {
    let admin = ground.stage.cluster.admin().map_err(|error| error.to_string())?;
    let leases = Api::<CredentialLease>::all(admin);
    let list = leases.list_metadata(&kube::api::ListParams::default().fields("status.state=")).await.map_err(|error| error.to_string())?;
    Ok(list.items.len())
}
