//! Runs a detector for each identity of a log over its requests in order, and says when one raises an alarm. Does what the operator would do:
//! approves what was learned, promotes what changed little, resets the buckets after a revocation.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
};

use daypass_frequency::{Detector, Event, Peers, PodKey, Prior, Promotion, Scope, Settings, Tier, Time};
use serde::Serialize;

use super::{ScoreArgs, runs::Record};

/// Hours within which an alarm of the same tier is the same alarm.
const REFRACTORY: f64 = 24.0;
/// Identities that a newcomer is compared with at most.
const PEERS: usize = 200;
/// Hours that a pod is remembered for at least, and at most twice.
const GENERATION: f64 = 72.0;
/// Pods of one identity that are remembered; past that, a new one excuses nothing.
const PODS: usize = 4096;

/// One alarm, as it is printed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alarm {
    identity: String,
    /// Seconds since 1970.
    time: f64,
    channel: &'static str,
    /// How fast the bucket leaks, as a multiple of the normal rate.
    bucket: String,
    score: f64,
    /// What the score had to reach for this tier.
    threshold: f64,
    tier: &'static str,
    scope: &'static str,
    /// The pod that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    sentence: String,
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, tier, identity, channel, bucket, score, threshold, sentence, .. } = self;
        let about = self.pod.as_ref().map_or_else(|| "identity".to_owned(), |pod| format!("pod {pod}"));
        write!(f, "{time:.0} {tier} {identity} ({about}) {channel} bucket {bucket} {score:.1}/{threshold:.1}: {sentence}")
    }
}

/// What is known of one identity.
#[derive(Debug)]
struct Known {
    detector: Detector,
    /// When an alarm of each tier was printed last.
    printed: [Option<Time>; 3],
    /// The day, since 1970, on which promotion was looked at last.
    day: i64,
    pods: Pods,
}

/// Detectors for a log.
pub struct Judge<'a> {
    identities: Vec<String>,
    pod_names: HashMap<u32, String>,
    args: &'a ScoreArgs,
    settings: Settings,
    known: Vec<Option<Box<Known>>>,
    /// End of what is learned from, once the log has begun.
    scored_from: Option<Time>,
    peers: (i64, Option<Peers>),
    alarms: [u64; 3],
    promoted: u64,
    drifted: u64,
}

impl<'a> Judge<'a> {
    /// Nothing seen yet.
    pub fn new(identities: Vec<String>, pod_names: HashMap<u32, String>, args: &'a ScoreArgs) -> Self {
        let count = u32::try_from(identities.len()).unwrap_or(u32::MAX);
        let settings = Settings { identities: count, false_revocations_per_year: args.false_revocations_per_year };
        let known = identities.iter().map(|_| None).collect();
        Self { identities, pod_names, args, settings, known, scored_from: None, peers: (0, None), alarms: [0; 3], promoted: 0, drifted: 0 }
    }

    /// Takes in the next request; an alarm, if it raises one.
    pub fn request(&mut self, record: &Record) -> Option<Alarm> {
        let at = Time::from_millis(record.millis);
        let learn = if self.args.cold { 0.0 } else { self.args.learn * 24.0 };
        let scored_from = *self.scored_from.get_or_insert(at.plus_hours(learn));
        let number = record.identity as usize;
        if self.known.get(number)?.is_none() {
            let prior = if at < scored_from { Prior::Unknown } else { self.prior(at) };
            let known = Known { detector: Detector::new(at, prior), printed: [None; 3], day: 0, pods: Pods::new(at) };
            self.known[number] = Some(Box::new(known));
        }
        let known = self.known.get_mut(number)?.as_mut()?;
        let detector = &mut known.detector;
        detector.advance(at);
        let seen = detector.now().hours_since(detector.born());
        // What began in the middle of the first part is learned for as long as any other newcomer.
        let learned = at >= scored_from && !self.args.cold && seen >= learn / 2.0 && detector.born() < scored_from;
        if !detector.is_anchored() && (learned || detector.is_ripe()) {
            detector.approve();
        }
        let day = record.millis / 86_400_000;
        if day != std::mem::replace(&mut known.day, day) {
            match detector.promote(None) {
                Promotion::Promoted => self.promoted += 1,
                Promotion::Drift(_) => self.drifted += 1,
                Promotion::NotDue => {}
            }
        }
        if !self.args.no_pod_starts {
            known.pods.ask(record.pod, at, detector);
        }
        detector.observe(Event { at, pod: PodKey::from_raw(record.pod) });
        if at < scored_from {
            return None;
        }
        self.alarm(number, at)
    }

    fn alarm(&mut self, number: usize, at: Time) -> Option<Alarm> {
        let known = self.known.get_mut(number)?.as_mut()?;
        let score = known.detector.score(&self.settings);
        let rank = match score.tier {
            Tier::Normal => return None,
            Tier::Review => 0,
            Tier::Deny => 1,
            Tier::Revoke => 2,
        };
        let recent = known.printed[rank..].iter().flatten().any(|last| at.hours_since(*last) < REFRACTORY);
        let alarm = (!recent).then(|| {
            known.printed[rank] = Some(at);
            self.alarms[rank] += 1;
            let scope = known.detector.scope(&score);
            let pod = match scope {
                Scope::Pod(pod) => Some(self.pod_names.get(&pod.get()).cloned().unwrap_or_else(|| format!("{:08x}", pod.get()))),
                Scope::Identity => None,
            };
            let identity = &self.identities[number];
            Alarm {
                identity: identity.clone(),
                time: at.seconds(),
                channel: score.stream.as_str(),
                bucket: format!("{:.1}x", known.detector.bucket(&score).leak),
                score: rounded(score.value),
                threshold: rounded([score.thresholds.review, score.thresholds.deny, score.thresholds.revoke][rank]),
                tier: score.tier.as_str(),
                scope: scope.as_str(),
                pod,
                sentence: known.detector.explain(identity, &score, &self.settings).to_string(),
            }
        });
        if score.tier == Tier::Revoke {
            known.detector.reset_buckets();
        }
        alarm
    }

    /// What the identities that are known have in common, looked at once a day.
    fn prior(&mut self, at: Time) -> Prior {
        let day = at.millis() / 86_400_000;
        if self.peers.0 != day {
            let anchored = self.known.iter().flatten().map(|known| &known.detector).filter(|detector| detector.is_anchored());
            self.peers = (day, Peers::of(anchored.take(PEERS)));
        }
        self.peers.1.map_or(Prior::Unknown, Prior::Peers)
    }

    /// How it went, in a sentence.
    pub fn summary(&self) -> String {
        let anchored = self.known.iter().flatten().filter(|known| known.detector.is_anchored()).count();
        let [review, deny, revoke] = self.alarms;
        format!(
            "{} alarms: {review} review, {deny} deny, {revoke} revoke; {anchored} of {} identities have a baseline; {} baselines promoted, {} days on \
             which one drifted too far to be",
            review + deny + revoke,
            self.identities.len(),
            self.promoted,
            self.drifted
        )
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Which pods of an identity were seen lately, to tell when one is new.
#[derive(Debug)]
struct Pods {
    since: Time,
    recent: HashSet<u32>,
    older: HashSet<u32>,
    /// Starts that still may be believed in this generation.
    credible: usize,
    /// New ones, when they came and how often they asked since.
    young: VecDeque<(u32, Time, u32)>,
}

impl Pods {
    fn new(at: Time) -> Self {
        Self { since: at, recent: HashSet::new(), older: HashSet::new(), credible: 50, young: VecDeque::new() }
    }

    /// A request of a pod: if the pod is new, it has started. More starts than twenty and three for each pod that was there are not believed: a
    /// thief who makes up a pod for every request must not be excused for ever.
    fn ask(&mut self, pod: u32, at: Time, detector: &mut Detector) {
        if pod == 0 {
            return;
        }
        if at.hours_since(self.since) > GENERATION {
            self.older = std::mem::take(&mut self.recent);
            self.since = at;
            self.credible = 50 + 9 * self.older.len();
        }
        while let Some((_, _, asked)) = self.young.pop_front_if(|(_, born, _)| at.hours_since(*born) > 0.25) {
            detector.learn_start(asked);
        }
        let is_new = !self.recent.contains(&pod) && !self.older.contains(&pod);
        if self.recent.len() < PODS {
            self.recent.insert(pod);
        }
        if is_new && self.credible > 0 && self.recent.contains(&pod) {
            self.credible -= 1;
            detector.pod_started(at);
            self.young.push_back((pod, at, 0));
        }
        if let Some((_, _, asked)) = self.young.iter_mut().find(|(young, ..)| *young == pod) {
            *asked += 1;
        }
    }
}
