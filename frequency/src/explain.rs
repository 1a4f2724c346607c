//! An alarm in one sentence that a person can check: what was asked, what was expected and from what, what excuses, and how to accept it.
//! Computes nothing that the score does not rest on.

use std::fmt;

use crate::{
    detector::Detector,
    score::{Scope, Score, Stream},
    settings::{Settings, Thresholds, Tier},
    time::Time,
};

/// The numbers of one alarm.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Who asked, as `namespace/name`.
    pub identity: String,
    /// What the bucket counts.
    pub stream: Stream,
    /// Requests (or session starts) since the bucket began to fill; 65,535 is that many or more.
    pub asked: u16,
    /// When it began to fill.
    pub since: Time,
    /// The moment of the score.
    pub at: Time,
    /// What was expected meanwhile.
    pub expected: f64,
    /// Earlier events that this rests on, decayed, and days.
    pub rests_on: (f64, f64),
    /// How fast the bucket leaks, as a multiple of the normal rate.
    pub leak: f64,
    /// What it holds, and what is in it, in events.
    pub holds: f64,
    /// What is in it.
    pub level: f64,
    /// Years of this identity in which this happens once by chance.
    pub chance_years: f64,
    /// Siblings, and by how much they ask more than usual.
    pub siblings: (u16, f64),
    /// Requests excused, by starts of pods and restarts of containers, since the first of them in the last 15 minutes.
    pub excused: (u16, u16, u16),
    /// Size of clumps, and tolerance of the level.
    pub tolerance: (f64, f64),
    /// Streams that reach the review tier.
    pub streams: Vec<Stream>,
    /// What follows.
    pub tier: Tier,
    /// Whom it is about.
    pub scope: Scope,
}

impl Detector {
    /// Why a score is what it is.
    pub fn explain(&self, identity: &str, score: &Score, settings: &Settings) -> Explanation {
        let channel = self.stream(score.stream);
        let (bucket, expected) = self.filling(score);
        let view = self.bucket(score);
        let reaches = |stream: &Stream| self.score_of(*stream, settings).tier > Tier::Normal;
        let rests_on = if self.is_anchored() { channel.reference.events } else { channel.learned };
        Explanation {
            identity: identity.to_owned(),
            stream: score.stream,
            asked: bucket.asked,
            since: self.since(score),
            at: self.now,
            expected,
            rests_on: (f64::from(rests_on), self.days_learned()),
            leak: view.leak,
            holds: view.holds,
            level: view.now,
            chance_years: chance_years(score.value, &score.thresholds),
            siblings: (self.siblings, self.peers.get()),
            excused: if self.now.second() <= self.credit_until { (self.excused, self.starts, self.restarts) } else { (0, 0, 0) },
            tolerance: (channel.shape.clump[score.bucket].get(), channel.shape.level[score.bucket].get()),
            streams: [Stream::Requests, Stream::Sessions].into_iter().filter(reaches).collect(),
            tier: score.tier,
            scope: self.scope(score),
        }
    }
}

/// The inverse of the threshold: h(Y) = ln(λ Y) + ln 8, so each unit above the review threshold (one year) is a factor of e.
fn chance_years(score: f64, thresholds: &Thresholds) -> f64 {
    (score - thresholds.review).exp()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.stream {
            Stream::Requests => "credentials",
            Stream::Sessions => "times after a pause",
        };
        write!(
            f,
            "{} asked {} {what} in {} (since {}); ",
            self.identity,
            self.asked,
            span(self.at.hours_since(self.since)),
            self.since.minute_label()
        )?;
        write!(
            f,
            "expected {} for {} (from {:.0} earlier events, {:.0} d). ",
            figure(self.expected),
            self.at.hour_label(),
            self.rests_on.0,
            self.rests_on.1
        )?;
        write!(f, "Bucket \"{:.1}x\" holds {}, now {}. ", self.leak, figure(self.holds), figure(self.level))?;
        write!(f, "Chance level: once in {} identity-years at this rate. ", years(self.chance_years))?;
        match self.siblings.0 {
            0 => f.write_str("No siblings known. ")?,
            siblings => write!(f, "Siblings ({siblings}) at {:.1}x. ", self.siblings.1)?,
        }
        let (excused, starts, restarts) = self.excused;
        if starts > 0 || restarts > 0 {
            write!(f, "{excused} requests excused by {}. ", causes(starts, restarts))?;
        }
        write!(f, "Clump {:.1}, level tolerance {:.1}x. ", self.tolerance.0, self.tolerance.1)?;
        let streams: Vec<&str> = self.streams.iter().map(|stream| stream.as_str()).collect();
        write!(f, "Channels: {}. ", if streams.is_empty() { "none".to_owned() } else { streams.join("+") })?;
        write!(f, "Action: {} for the {}. ", self.tier.as_str(), self.scope.as_str())?;
        write!(f, "To accept: set spec.expect on the profile (or kubectl daypass expect {} --for 1h)", self.identity)
    }
}

fn causes(starts: u16, restarts: u16) -> String {
    let some = |count: u16, what: &str| (count > 0).then(|| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
    let causes: Vec<String> = [some(starts, "pod start"), some(restarts, "container restart")].into_iter().flatten().collect();
    causes.join(" and ")
}

fn span(hours: f64) -> String {
    match hours * 60.0 {
        minutes if minutes < 1.0 => format!("{:.0} s", hours * 3600.0),
        minutes if minutes < 120.0 => format!("{minutes:.0} min"),
        _ if hours < 48.0 => format!("{hours:.1} h"),
        _ => format!("{:.1} d", hours / 24.0),
    }
}

fn figure(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

fn years(years: f64) -> String {
    match years {
        few if few < 10.0 => format!("{few:.1}"),
        many if many < 1e6 => format!("{many:.0}"),
        _ => "over a million".to_owned(),
    }
}
