//! What a detector says: how full its fullest bucket is, what follows, and whom it is about. Changes nothing.

use serde::Serialize;

use crate::{
    bank::{Bucket, Level},
    channel::Channel,
    detector::{Detector, KNOWN, PodKey},
    settings::{BLIND_DAYS, LN_RATIOS, OFFSETS, Settings, Thresholds, Tier, leak},
    time::Time,
};

/// An identity whose level is tolerated to be more than this many times normal is denied, never revoked: its hours differ by more than half of
/// their mean, and three deviations are no bound for what differs like that.
const WILD: f64 = 2.5;

/// Which stream of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Stream {
    /// Its requests.
    Requests,
    /// The starts of its sessions: requests after a pause.
    Sessions,
}

impl Stream {
    /// As it is written in logs and fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Sessions => "sessions",
        }
    }
}

/// The score of an identity at the last moment seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Evidence in natural units, comparable with the thresholds; 0 when all buckets are empty.
    pub value: f64,
    /// The stream that has it.
    pub stream: Stream,
    /// The bucket that has it, 0 to 3.
    pub bucket: usize,
    /// Those of that stream.
    pub thresholds: Thresholds,
    /// What follows.
    pub tier: Tier,
}

/// Whom an alarm is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One pod made at least four fifths of what was too much.
    Pod(PodKey),
    /// No single pod did, or it is not known which.
    Identity,
}

impl Scope {
    /// As it is written in logs and fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod(_) => "pod",
            Self::Identity => "identity",
        }
    }
}

/// What is in a bucket, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BucketView {
    /// How fast it leaks, as a multiple of the normal rate.
    pub leak: f64,
    /// Requests (or session starts) that make it overflow at once: the review tier.
    pub holds: f64,
    /// What is in it now.
    pub now: f64,
}

impl Detector {
    /// The score at the last moment seen, and the tier that it reaches. Deterministic; never NaN.
    pub fn score(&self, settings: &Settings) -> Score {
        let requests = self.score_of(Stream::Requests, settings);
        if self.is_blind() {
            // The pause that tells sessions apart follows from the rate, which is a guess.
            return requests;
        }
        let sessions = self.score_of(Stream::Sessions, settings);
        let rank = |score: &Score| (score.tier, score.value - score.thresholds.review);
        let (first, second) = (rank(&requests), rank(&sessions));
        let sessions_lead = second.0 > first.0 || (second.0 == first.0 && second.1 > first.1);
        if sessions_lead && sessions.value > 0.0 { sessions } else { requests }
    }

    /// The score of one stream.
    pub fn score_of(&self, stream: Stream, settings: &Settings) -> Score {
        let channel = self.stream(stream);
        let (hours, factor) = (self.pending(), self.factors());
        let thresholds = settings.thresholds(self.mean(channel));
        let all = channel.level(hours, factor, 0);
        // A bucket for 1.6 times the normal never takes anything back by itself.
        let convicting = match all {
            Some(level) if level.bucket > 0 => Some(level),
            Some(level) if level.score < thresholds.revoke => None,
            _ => channel.level(hours, factor, 1),
        };
        let (level, tier) = match (convicting, all) {
            (Some(level), _) if level.score >= thresholds.revoke => (level, Tier::Revoke),
            (_, Some(level)) if level.score >= thresholds.deny => (level, Tier::Deny),
            (_, Some(level)) if level.score >= thresholds.review => (level, Tier::Review),
            (_, Some(level)) => (level, Tier::Normal),
            (_, None) => (Level { bucket: 0, score: 0.0 }, Tier::Normal),
        };
        let wild = channel.shape.level[level.bucket].get() > WILD;
        let tier = match tier {
            Tier::Deny | Tier::Revoke if self.is_blind() => Tier::Review,
            Tier::Revoke if wild => Tier::Deny,
            tier => tier,
        };
        Score { value: level.score.max(0.0), stream, bucket: level.bucket, thresholds, tier }
    }

    /// Nothing vouches for the baseline yet: no prior, no anchor, and fewer than 14 days seen.
    pub fn is_blind(&self) -> bool {
        let seen = self.now.hour() - i64::from(self.born);
        self.flags & KNOWN == 0 && !self.is_anchored() && seen < BLIND_DAYS * 24
    }

    /// Whom a score is about: the pod that made at least 80 % of what exceeds the expectation since the bucket began to fill.
    pub fn scope(&self, score: &Score) -> Scope {
        let (bucket, expected) = self.filling(score);
        let excess = f64::from(bucket.asked) - expected;
        let of_one = excess > 0.0 && f64::from(bucket.by) >= 0.8 * excess;
        if of_one && bucket.who != 0 { Scope::Pod(PodKey(bucket.who)) } else { Scope::Identity }
    }

    /// The bucket of a score, in requests: what it holds, how it leaks, what is in it.
    pub fn bucket(&self, score: &Score) -> BucketView {
        let channel = self.stream(score.stream);
        let k = score.bucket;
        let (clump, level) = (channel.shape.clump[k].get(), channel.shape.level[k].get());
        let events = |evidence: f64| (evidence + OFFSETS[k]).max(0.0) / LN_RATIOS[k] * clump;
        BucketView { leak: leak(k) * level, holds: events(score.thresholds.review), now: events(score.value) }
    }

    /// All four buckets of the requests at the review tier, as a person reads them: "overflows above 5.4 requests at 4.4 times normal".
    pub fn buckets(&self, settings: &Settings) -> [BucketView; crate::settings::BUCKETS] {
        let score = self.score_of(Stream::Requests, settings);
        let (hours, factor) = (self.pending(), self.factors());
        std::array::from_fn(|k| {
            let level = self.raw.level(hours, factor, k).filter(|level| level.bucket == k);
            let value = level.map_or(-OFFSETS[k], |level| level.score);
            self.bucket(&Score { value, bucket: k, ..score })
        })
    }

    pub(crate) fn stream(&self, stream: Stream) -> &Channel {
        match stream {
            Stream::Requests => &self.raw,
            Stream::Sessions => &self.sessions,
        }
    }

    /// The bucket of a score and what was expected since it began to fill, in requests or session starts.
    pub(crate) fn filling(&self, score: &Score) -> (Bucket, f64) {
        let channel = self.stream(score.stream);
        let k = score.bucket.min(crate::settings::BUCKETS - 1);
        let bucket = channel.bank.0[k];
        let (clump, level) = (channel.shape.clump[k].get(), channel.shape.level[k].get());
        let since = channel.step(self.pending(), self.factors());
        let expected = (f64::from(bucket.u) + f64::from(bucket.crowd)) * clump / level + since.expected + since.crowd;
        (bucket, expected)
    }

    /// When the bucket of a score began to fill.
    pub fn since(&self, score: &Score) -> Time {
        Time::from_seconds(i64::from(self.filling(score).0.start)).min(self.now)
    }
}
