//! What the detector is told: its constants, how seldom it may be wrong, and the thresholds that follow. Pure numbers.
//!
//! Sources: Lorden 1971 and Lai (the delay of the best rule is ln γ over the Kullback–Leibler rate); El Karoui, Loisel, Salhi 2017 (CUSUM is
//! exactly optimal for a proportional change of a Poisson intensity, whatever its course); the constants c(r) are the limits of
//! `h − ln γ` of the exact solution (`lab::theory`, which a test compares them with).

use serde::{Deserialize, Serialize};

/// Buckets of a bank.
pub const BUCKETS: usize = 4;
/// The attack, as a multiple of the normal rate, that each bucket is best at.
pub const RATIOS: [f64; BUCKETS] = [1.6, 2.7, 5.0, 12.0];
/// ln of [`RATIOS`]: what one request adds to a bucket's score.
pub(crate) const LN_RATIOS: [f64; BUCKETS] =
    [0.470_003_629_245_735_6, 0.993_251_773_010_283_4, 1.609_437_912_434_100_3, 2.484_906_649_788_000_4];
/// c(r): the threshold of one bucket for a mean of γ requests between false alarms is ln γ + c(r).
pub const OFFSETS: [f64; BUCKETS] = [-2.19, -0.67, 0.35, 1.36];
/// Pseudo-events with which a rare cell of the week leans on the whole week's mean.
pub(crate) const SHRINKAGE: f64 = 5.0;
/// Half-life of what was learned, in hours: 28 days.
pub(crate) const HALF_LIFE: f64 = 28.0 * 24.0;
/// Hours before what was seen is learned, so that an attack can be noticed before it is taken for normal.
pub(crate) const LAG: i64 = 24;
/// Standard deviations of the level that are tolerated without evidence.
pub(crate) const LEVEL_DEVIATIONS: f64 = 3.0;
/// Most that the level is tolerated to be above normal.
pub(crate) const LEVEL_MOST: f64 = 6.0;
/// A bucket holds at most this much above its offset. What flows over proves nothing more, and an identity gets out of it in bounded time.
pub(crate) const BRIM: f64 = 40.0;
/// Hours that a credit for a pod start lasts.
pub(crate) const CREDIT_HOURS: f64 = 0.25;
/// Days before a baseline may be approved without a person.
pub const LEARNING_DAYS: i64 = 28;
/// Days without a prior in which only the review tier is reached.
pub const BLIND_DAYS: i64 = 14;
/// A silence longer than this, in hours (400 days), is no observation: nobody watches that long without a restart.
pub(crate) const LONGEST_GAP: i64 = 400 * 24;
/// The least rate, in events an hour, that thresholds are made for: below it, frequency says little and one pod's start would be an alarm.
pub(crate) const LEAST_RATE: f64 = 0.1;

/// Kullback–Leibler rate of bucket `k`, per expected event: r ln r − r + 1.
pub(crate) fn divergence(k: usize) -> f64 {
    RATIOS[k] * LN_RATIOS[k] - RATIOS[k] + 1.0
}

/// How fast bucket `k` leaks, as a multiple of the normal rate: (r − 1) / ln r.
pub(crate) fn leak(k: usize) -> f64 {
    (RATIOS[k] - 1.0) / LN_RATIOS[k]
}

/// How seldom the detector may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Identities that are watched; at least 1 counts.
    pub identities: u32,
    /// False revocations a year that are accepted over all of them; above 0.
    pub false_revocations_per_year: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { identities: 1, false_revocations_per_year: 1.0 }
    }
}

/// What an identity's score must reach for each tier, in natural units of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Thresholds {
    /// Once in a year of this identity by chance.
    pub review: f64,
    /// Once in 30 years of this identity by chance.
    pub deny: f64,
    /// [`Settings::false_revocations_per_year`] times a year by chance over all identities, and never less than `deny`.
    pub revoke: f64,
}

/// ln 30: denying is thirty times as seldom wrong as reviewing.
const LN_30: f64 = 3.401_197_381_662_155_5;
/// Hours of a year.
const YEAR: f64 = 8760.0;

impl Settings {
    /// The thresholds of a channel that has `rate` events an hour: `h(Y) = ln(rate · Y) + ln 4 + ln 2`, for four buckets and two channels.
    ///
    /// Monotone in `identities`; numbers that make no sense are taken for the strictest that do.
    pub fn thresholds(&self, rate: f64) -> Thresholds {
        let accepted = if self.false_revocations_per_year > 0.0 { self.false_revocations_per_year.min(1e6) } else { 1.0 };
        let years = f64::from(self.identities.max(1)) / accepted;
        let review = threshold(rate, YEAR);
        let deny = review + LN_30;
        Thresholds { review, deny, revoke: (review + years.ln()).max(deny) }
    }
}

/// `ln(rate · hours) + ln 4 + ln 2`.
pub(crate) fn threshold(rate: f64, hours: f64) -> f64 {
    (rate.max(LEAST_RATE) * hours * 8.0).ln()
}

/// What no review threshold is below.
pub(crate) const LEAST_THRESHOLD: f64 = 8.85;

/// The review threshold, which clumps and levels are scaled for.
pub(crate) fn review_threshold(rate: f64) -> f64 {
    threshold(rate, YEAR)
}

/// What follows from a score, mildest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Tier {
    /// Nothing.
    #[default]
    Normal,
    /// Somebody should look.
    Review,
    /// Refused while the score stays there.
    Deny,
    /// What is live is taken back.
    Revoke,
}

impl Tier {
    /// As it is written in logs and fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Review => "review",
            Self::Deny => "deny",
            Self::Revoke => "revoke",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_say_what_they_mean() {
        for k in 0..BUCKETS {
            assert!((LN_RATIOS[k] - RATIOS[k].ln()).abs() < 1e-15);
        }
        assert!((leak(2) - 2.485).abs() < 0.001);
        assert!((divergence(1) - (2.7 * 2.7_f64.ln() - 1.7)).abs() < 1e-12);
    }

    #[test]
    fn thirty_years_are_thirty_years() {
        assert!((LN_30 - 30.0_f64.ln()).abs() < 1e-15);
    }

    #[test]
    fn the_example_of_five_thousand_identities() {
        let settings = Settings { identities: 5000, false_revocations_per_year: 1.0 };
        let thresholds = settings.thresholds(6.0);
        assert!((thresholds.revoke - 21.5).abs() < 0.05, "{thresholds:?}");
        assert!(thresholds.review < thresholds.deny && thresholds.deny < thresholds.revoke);
    }

    #[test]
    fn nonsense_makes_no_threshold_laxer_than_sense() {
        let strict = Settings::default().thresholds(6.0);
        for false_revocations_per_year in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
            let thresholds = Settings { identities: 0, false_revocations_per_year }.thresholds(6.0);
            assert_eq!(thresholds.revoke, strict.revoke, "never under deny: {false_revocations_per_year}");
        }
        assert!(Settings::default().thresholds(f64::NAN).review.is_finite());
    }
}
