//! P4 and P7: a steady stream of grants and ends. How long a pod waits for its credential, and how late the end of one is seen.
//!
//! Requests come at a fixed rate whatever the answers do. After the first life is over as many grants end in a second as are made.
//! Dates are in whole seconds, so all that end in one second end at once.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use daypass::api::{Delivery, RequestState};
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    bare::Bare,
    ground::{Ask, Ground},
    machine::Used,
    report::{Goal, Report, Row},
    stats::percentile,
};

/// Requests a second.
const RATE: usize = 50;
/// How many may be on their way at once: far more than there ever are.
const MOST: usize = 1000;

/// Seconds from one event to another, a value a request.
pub struct Lags {
    /// From creating a request to seeing it Active.
    ready: Vec<f64>,
    /// From creating a request to the last write of a grant, by the bare client.
    bare: Vec<f64>,
    /// From the end of a credential to the moment that the operator wrote down as its proof.
    proven: Vec<f64>,
    /// From the end of a credential to seeing its request Ended.
    seen: Vec<f64>,
    /// Processor time while requests came, and for how many seconds they did.
    used: (Used, f64),
}

impl Lags {
    /// Streams for so many seconds, each life being `ttl` long.
    pub async fn measure(with: &Ground, without: &Ground, bare: &Bare, seconds: usize, ttl: &str) -> Result<Self, String> {
        let batch = "p7";
        let count = seconds * RATE;
        // Both deliveries in turn.
        let delivery = |n: usize| if n.is_multiple_of(2) { Delivery::CSR } else { Delivery::Secret };
        let asks = (0..count).map(|n| Ask::new(batch, delivery(n), ttl)).collect::<Result<Vec<_>, _>>()?;
        let (before, begun) = (with.usage()?, Instant::now());
        let created: HashMap<String, Instant> = paced(asks, async |n, ask| {
            let begun = Instant::now();
            let request = with.ask(n, ask).await?;
            Ok((request.metadata.uid.unwrap_or_default(), begun))
        })
        .await?
        .into_iter()
        .collect();
        let used = (with.usage()?.since(&before), begun.elapsed().as_secs_f64());
        with.answers.reached(batch, RequestState::Ended, count).await?;
        let answers = with.answers.of(batch);
        let active = answers.iter().filter(|answer| answer.state == RequestState::Active);
        let ended = answers.iter().filter(|answer| answer.state == RequestState::Ended);
        let asks =
            (0..count.min(10 * RATE)).map(|n| Ask::new("p4", delivery(n), super::throughput::LONG)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            used,
            ready: active.filter_map(|answer| Some(answer.at.duration_since(*created.get(&answer.uid)?).as_secs_f64())).collect(),
            bare: paced(asks, async |n, ask| {
                let begun = Instant::now();
                bare.grant(without.ask(n, ask).await?).await?;
                Ok(begun.elapsed().as_secs_f64())
            })
            .await?,
            proven: ended.clone().filter_map(|answer| Some(answer.verified?.duration_since(answer.expires?).as_secs_f64())).collect(),
            seen: ended.filter_map(|answer| Some(answer.arrived.duration_since(answer.expires?).as_secs_f64())).collect(),
        })
    }

    /// The figures.
    pub fn report(&self, report: &mut Report) {
        for (percent, goal) in [(50, 2.0), (99, 4.0)] {
            let (Some(daypass), Some(bare)) = (percentile(&self.ready, percent), percentile(&self.bare, percent)) else { continue };
            report.rows([
                Row::once(
                    "P4",
                    format!("create to Active at {RATE}/s, p{percent}, over a bare sequential chain's"),
                    daypass / bare,
                    Some(Goal::AtMost(goal)),
                ),
                Row::once("P4", format!("create to Active at {RATE}/s, p{percent}, ms"), daypass * 1000.0, None),
            ]);
        }
        let late = |sample: &[f64], what: &str, percent, goal| {
            let value = percentile(sample, percent)?;
            Some(Row::once("P7", format!("end of life at {RATE}/s, p{percent}: from expiresAt to {what}, s"), value, goal))
        };
        report.rows(late(&self.proven, "the proof (verifiedTime)", 50, None));
        report.rows(late(&self.proven, "the proof (verifiedTime)", 99, Some(Goal::AtMost(1.0))));
        report.rows(late(&self.seen, "Ended in a watch", 50, None));
        report.rows(late(&self.seen, "Ended in a watch", 99, Some(Goal::AtMost(1.0))));
        let (used, seconds) = &self.used;
        let parts = used.parts.iter().map(|(name, spent)| (*name, *spent)).chain([("others", used.others)]);
        let parts: Vec<String> = parts.map(|(name, spent)| format!("{name} {:.2}", spent / seconds)).collect();
        report.note(format!("Where the time goes at {RATE}/s, processors kept busy in the {seconds:.0} s: {}", parts.join(", ")));
    }
}

/// Begins one piece of work every 1/[`RATE`] s, however long each takes.
async fn paced<T>(asks: Vec<Ask>, work: impl AsyncFn(usize, Ask) -> Result<T, String>) -> Result<Vec<T>, String> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE as u32);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let ticking = stream::unfold((ticks, asks.into_iter().enumerate()), async |(mut ticks, mut asks)| {
        let next = asks.next()?;
        ticks.tick().await;
        Some((next, (ticks, asks)))
    });
    ticking.map(|(n, ask)| work(n, ask)).buffer_unordered(MOST).try_collect().await
}
