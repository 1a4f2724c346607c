//! Many identities in groups of siblings (those of one policy): who belongs together, and how much the others of a group ask more than
//! usual. One identity's requests reach another's detector only through that factor, which is never below 1: no request of a stranger can
//! raise a victim's score, and siblings can lower it by no more than a factor of 4.

use std::collections::BTreeMap;

use crate::{
    credit::{PEER_SPAN, peer_factor},
    detector::{Detector, Event},
    prior::Prior,
    score::Score,
    settings::Settings,
    time::Time,
};

/// Spans of five minutes that the peers' window is counted in.
const SPANS: usize = (PEER_SPAN / 300_000) as usize;

/// Requests of the last 30 minutes.
#[derive(Clone, Debug, Default)]
struct Window {
    spans: [u32; SPANS],
    last: i64,
}

impl Window {
    fn pass(&mut self, at: Time) {
        let span = at.millis() / 300_000;
        for passed in (self.last + 1..=span).rev().take(SPANS) {
            self.spans[passed.rem_euclid(SPANS as i64) as usize] = 0;
        }
        self.last = self.last.max(span);
    }

    fn count(&mut self, at: Time) {
        self.pass(at);
        let slot = &mut self.spans[self.last.rem_euclid(SPANS as i64) as usize];
        *slot = slot.saturating_add(1);
    }

    fn total(&self) -> f64 {
        self.spans.iter().map(|count| f64::from(*count)).sum()
    }
}

#[derive(Clone, Debug)]
struct Member {
    group: String,
    detector: Detector,
    window: Window,
    /// Events an hour that the group counts it with.
    usual: f64,
}

#[derive(Clone, Debug, Default)]
struct Group {
    members: Vec<String>,
    window: Window,
    /// What all members are usually asking, an hour, and in which hour that was added up.
    usual: f64,
    hour: i64,
}

/// Identities in their groups.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    members: BTreeMap<String, Member>,
    groups: BTreeMap<String, Group>,
}

impl Fleet {
    /// Begins to watch an identity as one of a group; one that is known stays as it is.
    pub fn join(&mut self, identity: &str, group: &str, at: Time, prior: Prior) {
        self.adopt(identity, group, Detector::new(at, prior));
    }

    /// Goes on with a detector that was stored; an identity that is known stays as it is.
    pub fn adopt(&mut self, identity: &str, group: &str, detector: Detector) {
        if self.members.contains_key(identity) {
            return;
        }
        let entry = self.groups.entry(group.to_owned()).or_default();
        entry.members.push(identity.to_owned());
        // It counts from the next hour on.
        entry.hour = i64::MIN;
        let member = Member { group: group.to_owned(), detector, window: Window::default(), usual: 0.0 };
        self.members.insert(identity.to_owned(), member);
    }

    /// Takes in one request; of an identity that nobody joined, nothing happens.
    pub fn observe(&mut self, identity: &str, event: Event) {
        let Some((siblings, factor)) = self.peers(identity, event.at) else { return };
        let Some(member) = self.members.get_mut(identity) else { return };
        member.detector.set_peers(event.at, siblings, factor);
        member.detector.observe(event);
        member.window.count(event.at);
        if let Some(group) = self.groups.get_mut(&member.group) {
            group.window.count(event.at);
        }
    }

    /// The score of an identity at that moment.
    pub fn score(&mut self, identity: &str, at: Time, settings: &Settings) -> Option<Score> {
        let member = self.members.get_mut(identity)?;
        member.detector.advance(at);
        Some(member.detector.score(settings))
    }

    /// The detector of an identity.
    pub fn detector(&self, identity: &str) -> Option<&Detector> {
        self.members.get(identity).map(|member| &member.detector)
    }

    /// The detector of an identity, to tell it of pods, gaps and approvals.
    pub fn detector_mut(&mut self, identity: &str) -> Option<&mut Detector> {
        self.members.get_mut(identity).map(|member| &mut member.detector)
    }

    /// How many siblings an identity has, and by how much they ask more than usual; the identity itself is left out of both.
    fn peers(&mut self, identity: &str, at: Time) -> Option<(u16, f64)> {
        let group_name = self.members.get(identity)?.group.clone();
        let group = self.groups.get_mut(&group_name)?;
        if group.hour < at.hour() {
            group.hour = at.hour();
            group.usual = 0.0;
            for name in &group.members {
                if let Some(member) = self.members.get_mut(name) {
                    member.usual = member.detector.usual_rate(at);
                    group.usual += member.usual;
                }
            }
        }
        group.window.pass(at);
        let member = self.members.get_mut(identity)?;
        member.window.pass(at);
        let siblings = u16::try_from(group.members.len().saturating_sub(1)).unwrap_or(u16::MAX);
        let asked = group.window.total() - member.window.total();
        let expected = (group.usual - member.usual).max(0.0) * 0.5;
        Some((siblings, peer_factor(asked, expected)))
    }
}
