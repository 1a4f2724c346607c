//! P1 and P5: grants a second against a bare client, in rounds that take turns, and what each process costs meanwhile.
//!
//! A round of either side is timed from the first create of a request to the moment at which the same kind of watch has shown the last of
//! them Active. Creating them is in the time of both: a grant cannot be had without it, and requests that were made before would have to be
//! kept from the operator somehow.

use std::{collections::BTreeMap, time::Instant};

use daypass::api::{Delivery, RequestState};

use super::{
    bare::Bare,
    ground::{Ask, Ground},
    machine::Used,
    report::{Goal, Report, Row},
};

/// Long enough not to end during a run.
pub const LONG: &str = "15m";

/// One side of one round.
struct Pace {
    /// Grants a second.
    rate: f64,
    /// Seconds that it took.
    seconds: f64,
    /// Processor time meanwhile.
    used: Used,
}

/// Both sides of every round of one delivery.
pub struct Rounds {
    delivery: Delivery,
    count: usize,
    daypass: Vec<Pace>,
    bare: Vec<Pace>,
}

/// Who grants in a turn.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Daypass,
    Bare,
}

impl Rounds {
    /// Measures so many rounds of so many requests; who begins alternates.
    pub async fn measure(
        with: &Ground,
        without: &Ground,
        bare: &Bare,
        delivery: Delivery,
        rounds: usize,
        count: usize,
    ) -> Result<Self, String> {
        let mut measured = Self { delivery, count, daypass: vec![], bare: vec![] };
        // Connections are opened, caches warm, code paged in: the first round is thrown away.
        measured.turn(Side::Bare, without, bare, "warm", count / 2).await?;
        measured.turn(Side::Daypass, with, bare, "warm", count / 2).await?;
        for round in 0..rounds {
            let order = if round % 2 == 0 { [Side::Daypass, Side::Bare] } else { [Side::Bare, Side::Daypass] };
            for side in order {
                let ground = if side == Side::Daypass { with } else { without };
                let pace = measured.turn(side, ground, bare, &round.to_string(), count).await?;
                eprintln!(
                    "  {} round {}, {}: {:.0} grants/s",
                    delivery.as_str(),
                    round + 1,
                    if side == Side::Daypass { "daypass" } else { "bare" },
                    pace.rate
                );
                match side {
                    Side::Daypass => measured.daypass.push(pace),
                    Side::Bare => measured.bare.push(pace),
                }
            }
        }
        Ok(measured)
    }

    async fn turn(&self, side: Side, ground: &Ground, bare: &Bare, round: &str, count: usize) -> Result<Pace, String> {
        let batch = format!("p1-{}-{round}", self.delivery.as_str().to_lowercase());
        let asks = Ask::many(count, &batch, self.delivery, LONG)?;
        let (before, begun) = (ground.usage()?, Instant::now());
        let granting = async {
            match side {
                Side::Daypass => ground.ask_all(asks, drop).await,
                Side::Bare => bare.grant_all(ground, asks).await,
            }
        };
        futures::try_join!(granting, ground.answers.reached(&batch, RequestState::Active, count))?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Pace { rate: count as f64 / seconds, seconds, used: ground.usage()?.since(&before) })
    }

    /// The figures, and where the time went.
    pub fn report(&self, report: &mut Report) {
        let name = self.delivery.as_str();
        let rates = |side: &[Pace]| side.iter().map(|pace| pace.rate).collect::<Vec<_>>();
        let (daypass, bare) = (rates(&self.daypass), rates(&self.bare));
        let ratios: Vec<f64> = daypass.iter().zip(&bare).map(|(daypass, bare)| daypass / bare).collect();
        report.rows(Row::of("P1", format!("{name}: grants/s over a bare client's"), &ratios, Some(Goal::AtLeast(0.85))));
        report.rows(Row::of("P1", format!("{name}: grants/s"), &daypass, None));
        report.rows(Row::of("P1", format!("{name}: grants/s of the bare client"), &bare, None));
        let own = |pace: &Pace| pace.used.parts.get("daypass").copied().unwrap_or_default();
        let thousand: Vec<f64> = self.daypass.iter().map(|pace| own(pace) * 1000.0 / self.count as f64).collect();
        report.rows(Row::of("P5", format!("{name}: controller CPU seconds per 1,000 grants"), &thousand, Some(Goal::AtMost(0.8))));
        let part = |pace: &Pace, name| pace.used.parts.get(name).copied().unwrap_or_default();
        let shares: Vec<f64> =
            self.daypass.iter().map(|pace| 100.0 * own(pace) / (part(pace, "kube-apiserver") + part(pace, "etcd")).max(0.01)).collect();
        report.rows(Row::of("P5", format!("{name}: controller CPU in % of API server + etcd"), &shares, Some(Goal::AtMost(15.0))));
        report.note(self.where_the_time_goes());
    }

    /// Processors that others kept busy, over all rounds of both sides.
    pub fn others(&self) -> Vec<f64> {
        self.daypass.iter().chain(&self.bare).map(|pace| pace.used.others / pace.seconds).collect()
    }

    fn where_the_time_goes(&self) -> String {
        let per_grant = |side: &[Pace]| {
            let mut parts = BTreeMap::<&str, f64>::new();
            for pace in side {
                let all = pace.used.parts.iter().map(|(name, seconds)| (*name, *seconds)).chain([("others", pace.used.others)]);
                for (name, seconds) in all {
                    *parts.entry(name).or_default() += seconds * 1000.0 / (self.count * side.len()) as f64;
                }
            }
            parts
        };
        let (daypass, bare) = (per_grant(&self.daypass), per_grant(&self.bare));
        let line = |side: &BTreeMap<&str, f64>| side.iter().map(|(name, ms)| format!("{name} {ms:.2}")).collect::<Vec<_>>().join(", ");
        format!(
            "Where the time goes, {}, ms of CPU a grant:\n  with Daypass   {}\n  bare client    {}",
            self.delivery.as_str(),
            line(&daypass),
            line(&bare)
        )
    }
}
