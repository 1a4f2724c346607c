//! What an identity is judged by once it is known: an anchor, frozen, which only an approval or a small promotion moves. The learner goes on
//! beside it, so that a thief who is patient teaches a shadow and not the judge. Growth caps on a baseline that learns made no difference;
//! freezing did.

use crate::{
    channel::{Channel, Reference, exposure},
    detector::{ANCHORED, Detector},
    dispersion::SCALES,
    settings::{LEARNING_DAYS, review_threshold},
    small::Half,
    time::{CELLS, HOUR, Time},
};

/// Whether what was learned may become what is judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Promotion {
    /// Not yet: 28 days have not passed since the last time, or nothing is anchored, or an alarm is open or near.
    NotDue,
    /// What was learned differs little, and is what is judged by from now on.
    Promoted,
    /// What was learned differs too much: a person has to look, and [`Detector::approve`] it or not.
    Drift(Drift),
}

/// What differs too much, shadow over anchor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Drift {
    /// The mean rate.
    Level(f64),
    /// The mean rate, since a person approved it.
    LevelSinceApproval(f64),
    /// The rate of an hour of the week.
    Hour {
        /// 0–23 on weekdays, 24–47 at the weekend.
        cell: usize,
        /// By how much.
        factor: f64,
    },
    /// The rates of hours of the week, at most, since a person approved them.
    HoursSinceApproval(f64),
    /// How unevenly requests come.
    Clumps(f64),
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Level(factor) => write!(f, "the mean rate is {factor:.2} times what it was"),
            Self::LevelSinceApproval(factor) => write!(f, "the mean rate is {factor:.2} times what a person approved"),
            Self::Hour { cell, factor } => {
                let day = if *cell < 24 { "weekdays" } else { "weekends" };
                write!(f, "on {day} at {:02}:00 UTC the rate is {factor:.2} times what it was", cell % 24)
            }
            Self::HoursSinceApproval(factor) => write!(f, "hours of the week may have grown by {factor:.2} since a person approved them"),
            Self::Clumps(factor) => write!(f, "requests come in clumps {factor:.2} times as large"),
        }
    }
}

/// Most that a promotion lets clumps grow at any scale.
const CLUMP_GROWTH: f64 = 1.25;
/// Pseudo-events by which the rate of a rare hour of the week may differ without being called a change.
const RARE: f64 = 20.0;

impl Detector {
    /// Takes what was learned for what is normal, on a person's word or because 28 days were learned. What waits and no alarm holds back is
    /// learned first. The buckets begin empty.
    pub fn approve(&mut self) {
        self.learn_what_waits();
        self.freeze_learned(false);
        self.reset_buckets();
        self.approved = [&self.raw, &self.sessions].map(|channel| Half::new(f64::from(channel.reference.rate)));
        self.grown = Half::new(1.0);
    }

    /// Whether an anchor is in force.
    pub fn is_anchored(&self) -> bool {
        self.flags & ANCHORED != 0
    }

    /// Whether 28 days were watched, so that the baseline may be approved without a person.
    pub fn is_ripe(&self) -> bool {
        self.now.hour() - i64::from(self.born) >= LEARNING_DAYS * 24
    }

    /// Days that were learned from.
    pub fn days_learned(&self) -> f64 {
        self.learned_days()
    }

    /// Promotes what was learned if it differs little enough. Call it once a day; both outcomes but `NotDue` are worth an Event.
    ///
    /// Limits, shadow over anchor: level 0.5 to 1.25, each hour of the week at most 1.5, clumps at most 1.25; since a person's approval level
    /// at most 1.4 and hours at most 2. `peers_moved` is how much the median of the peers' levels grew in the same time, if there are peers:
    /// where it moved alike (within 1.25), the limits of the level do not hold.
    pub fn promote(&mut self, peers_moved: Option<f64>) -> Promotion {
        let rested = self.now.hour() - i64::from(self.anchored) >= LEARNING_DAYS * 24;
        if !self.is_anchored() || !rested || self.held != 0 {
            return Promotion::NotDue;
        }
        let mut grown = 1.0_f64;
        for (channel, approved) in [&self.raw, &self.sessions].into_iter().zip(self.approved) {
            match self.drift(channel, approved.get(), peers_moved) {
                Ok(most) => grown = grown.max(most),
                Err(drift) => return Promotion::Drift(drift),
            }
        }
        let grown = grown * self.grown.get();
        if grown > 2.0 && peers_moved.is_none_or(|moved| moved < grown / 1.25) {
            return Promotion::Drift(Drift::HoursSinceApproval(grown));
        }
        if self.is_filling() {
            return Promotion::NotDue;
        }
        self.freeze_learned(true);
        self.grown = Half::new(grown);
        Promotion::Promoted
    }

    /// A bucket is half full: what fills it must not raise what it is measured by.
    fn is_filling(&self) -> bool {
        let hours = self.pending();
        [&self.raw, &self.sessions].into_iter().any(|channel| {
            let half = review_threshold(self.mean(channel)) / 2.0;
            channel.own_level(hours, self.factors()[0]).is_some_and(|level| level.score > half)
        })
    }

    /// How much the hours of the week grew at most, or what grew too much.
    fn drift(&self, channel: &Channel, approved: f64, peers_moved: Option<f64>) -> Result<f64, Drift> {
        let hours = f64::from(self.hours);
        let shadow = channel.learned_rate(hours);
        let anchor = f64::from(channel.reference.rate).max(1e-6);
        let alike = |factor: f64| peers_moved.is_some_and(|moved| (0.8..=1.25).contains(&(factor / moved)));
        let level = shadow / anchor;
        if !(0.5..=1.25).contains(&level) && !alike(level) {
            return Err(Drift::Level(level));
        }
        let total = shadow / approved.max(1e-6);
        if total > 1.4 && !alike(level) {
            return Err(Drift::LevelSinceApproval(total));
        }
        let mut most = 1.0_f64;
        for cell in 0..CELLS {
            let weight = exposure(self.visits[cell], cell >= 24);
            let now = channel.cell_rate(cell, self.visits[cell], hours) * weight;
            let then = anchor * channel.reference.cells[cell].get() * weight;
            let factor = (now + RARE) / (then + RARE);
            if factor > 1.5 && !alike(factor) {
                return Err(Drift::Hour { cell, factor });
            }
            most = most.max(factor);
        }
        let clumps = channel.dispersion.clump(shadow);
        for ((now, then), scale) in clumps.into_iter().zip(channel.reference.clump).zip(SCALES) {
            // A change of level is itself a surprise until it is learned: by this much.
            let by_level = (level - 1.0).powi(2) * shadow * scale;
            let factor = (now - by_level).max(1.0) / then.get().max(1.0);
            if factor > CLUMP_GROWTH {
                return Err(Drift::Clumps(factor));
            }
        }
        Ok(most)
    }

    fn freeze_learned(&mut self, promoted: bool) {
        self.flow();
        let hours = f64::from(self.hours);
        let references: [Reference; 2] = [&self.raw, &self.sessions].map(|channel| channel.as_reference(&self.visits, hours));
        self.exposures = self.mean_exposures().map(Half::new);
        for (channel, mut reference) in [&mut self.raw, &mut self.sessions].into_iter().zip(references) {
            if promoted {
                let most = channel.reference.clump.map(|clump| CLUMP_GROWTH * clump.get().max(1.0));
                reference.clump = std::array::from_fn(|scale| Half::new(reference.clump[scale].get().min(most[scale])));
            }
            channel.freeze(reference);
        }
        self.flags |= ANCHORED;
        self.anchored = u32::try_from(self.now.hour()).unwrap_or(u32::MAX);
        self.open_hour();
    }

    /// When what is judged by was last set, to the hour; `None` while it is learned.
    pub fn anchored_at(&self) -> Option<Time> {
        self.is_anchored().then(|| Time::from_millis(i64::from(self.anchored) * HOUR))
    }
}
