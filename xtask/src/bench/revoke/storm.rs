//! R3: as many grants as asked for are due in the same moment. How long until what they gave out is deleted, against a bare client's DELETEs
//! of as many Secrets; how long until all is written down, against the same writes made bare.
//!
//! All are TLS Secrets whose lives are cut so that they end within a few seconds of each other. Over those seconds the operator is stopped
//! (SIGSTOP), so that everything is due when it goes on.

use std::time::{Duration, Instant};

use daypass::api::{Delivery, RequestState};
use devcluster::audit;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::super::{
    bare::{Bare, Bared, Template},
    ground::{AT_ONCE, Ask, Ground},
    machine,
    report::{Goal, Report, Row},
};

const BATCH: &str = "storm";
/// Grants a second that are sure to be reached.
const SURE: u64 = 25;
/// Longest life that the class gives.
const LONGEST: u64 = 890;

/// Ends so many at once on both grounds.
pub async fn measure(with: &Ground, without: &Ground, count: usize, report: &mut Report) -> Result<(), String> {
    let secret = std::sync::Arc::new(Template::take(with, Delivery::Secret).await?);
    let bare = Bare::new(without, &secret, &secret).await?;
    eprintln!("R3: {count} grants by the bare client, and their ends");
    let (deleted, written) = bare_ends(without, &bare, count).await?;
    eprintln!("R3: {count} grants by Daypass, which all end at once");
    let storm = Storm::raise(with, count).await?;
    let events = with.stage.cluster.audit().map_err(|error| error.to_string())?;
    let operator = with.stage.operator_name().username();
    let deletes: Vec<Timestamp> = audit::by_user(&events, &operator)
        .filter(|event| event.stage == audit::Stage::ResponseComplete && event.received >= storm.begun && event.is("delete", "secrets"))
        .map(|event| event.reached)
        .collect();
    let last = deletes.iter().max().ok_or("no Secret was deleted, says the audit log")?;
    let told = last.duration_since(storm.begun).as_secs_f64();
    report.rows([
        Row::once("R3", format!("{count} due at once: Secrets deleted"), deletes.len() as f64, Some(Goal::Exactly(count as f64))),
        Row::once("R3", "until the last Secret is deleted, over bare DELETEs of as many", told / deleted, Some(Goal::AtMost(1.3))),
        Row::once("R3", "until the last Secret is deleted, s", told, None),
        Row::once("R3", "bare DELETEs, s", deleted, None),
        Row::once("R3", "until all have Ended, over the same writes made bare", storm.ended / (deleted + written), Some(Goal::AtMost(1.3))),
        Row::once("R3", "until all have Ended, s", storm.ended, None),
        Row::once("R3", "ends that did not come", (count - storm.over) as f64, Some(Goal::Exactly(0.0))),
        Row::once("R3", "a grant that is asked for when all are due: until it is Active, s", storm.newcomer, None),
        Row::once("R3", "most RSS of the run, MB", storm.memory, Some(Goal::AtMost(100.0))),
    ]);
    report.note(format!(
        "All were due within {:.1} s of each other and waited for the operator, which was stopped over that time.",
        storm.spread
    ));
    Ok(())
}

/// Seconds that a bare client takes to delete so many Secrets, and then to write down so many ends.
async fn bare_ends(ground: &Ground, bare: &Bare, count: usize) -> Result<(f64, f64), String> {
    let granted = stream::iter(Ask::many(count, BATCH, Delivery::Secret, "15m")?.into_iter().enumerate())
        .map(|(n, ask)| async move { bare.grant(ground.ask(n, ask).await?).await })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<Bared>>()
        .await?;
    let begun = Instant::now();
    stream::iter(granted.iter().map(Ok)).try_for_each_concurrent(AT_ONCE, |bared| bare.delete(bared)).await?;
    let deleted = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    stream::iter(granted.into_iter().map(Ok)).try_for_each_concurrent(AT_ONCE, |bared| bare.write_end(bared)).await?;
    Ok((deleted, begun.elapsed().as_secs_f64()))
}

/// What became of them.
struct Storm {
    /// When the operator went on.
    begun: Timestamp,
    /// Seconds from there until the watch has shown the last one Ended.
    ended: f64,
    over: usize,
    /// Seconds until a new grant was Active.
    newcomer: f64,
    /// Between the first and the last date, in seconds.
    spread: f64,
    memory: f64,
}

impl Storm {
    async fn raise(ground: &Ground, count: usize) -> Result<Self, String> {
        let operator = ground.operator.as_ref().ok_or("no operator on this ground")?;
        let life = Duration::from_secs((30 + count as u64 / SURE).min(LONGEST));
        let due = Instant::now() + life;
        // Each asks for what is left until then.
        let asked = (0..count).map(|n| async move {
            let left = due.saturating_duration_since(Instant::now()).as_secs().max(1);
            ground.ask(n, Ask::new(BATCH, Delivery::Secret, &format!("{left}s"))?).await.map(drop)
        });
        stream::iter(asked).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        ground.answers.reached(BATCH, RequestState::Active, count).await?;
        let dates: Vec<Timestamp> = ground.answers.of(BATCH).iter().filter_map(|answer| answer.expires).collect();
        let (Some(first), Some(last)) = (dates.iter().min(), dates.iter().max()) else { return Err("no answer says when it ends".into()) };
        until(*first - Duration::from_millis(500)).await.ok_or("the machine is too slow: the first ended before the last was granted")?;
        operator.process.pause().await;
        let waited = until(*last + Duration::from_millis(200)).await;
        let newcomer = ground.ask(0, Ask::new("newcomer", Delivery::CSR, "5m")?).await;
        let (begun, clock) = (Timestamp::now(), Instant::now());
        operator.process.resume().await;
        waited.ok_or("the dates are past")?;
        newcomer?;
        let (answered, ended) = futures::join!(
            async { ground.answers.reached("newcomer", RequestState::Active, 1).await.map(|()| clock.elapsed().as_secs_f64()) },
            async { ground.answers.reached(BATCH, RequestState::Ended, count).await.map(|()| clock.elapsed().as_secs_f64()) },
        );
        let (_, memory) = machine::memory_of(operator.process.pid()).ok_or("the operator is gone")?;
        let over = ground.answers.of(BATCH).iter().filter(|answer| answer.state == RequestState::Ended).count();
        let spread = last.duration_since(*first).as_secs_f64();
        Ok(Self { begun, ended: ended?, over, newcomer: answered?, spread, memory })
    }
}

/// Waits for a date; `None` if it is past.
async fn until(date: Timestamp) -> Option<()> {
    let left = Duration::try_from(date.duration_since(Timestamp::now())).ok()?;
    tokio::time::sleep(left).await;
    Some(())
}
