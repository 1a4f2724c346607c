//! Whether the admission guard has been in force without a gap: the pure rule over what was seen of it.
//!
//! Continuity proves *unchanged*; that it is *right* is shown at first sight by equality with what is shipped, and again and again by the
//! canary. The shell (`cluster::guard`) watches, asks and stores; this module concludes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::snapshot::GuardFacts;

/// One admission object as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// `metadata.uid`: changes when it is made anew.
    pub uid: String,
    /// `metadata.generation`: rises with every edit of its spec, and with the undoing of one.
    pub generation: i64,
    /// SHA-256 of the fields of its spec that we know.
    pub hash: String,
}

/// The verify policy and its binding at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// The policy.
    pub policy: Seen,
    /// Its binding: without it the policy does nothing.
    pub binding: Seen,
}

/// What is remembered across restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The guard as it was proven.
    pub sight: Sight,
    /// Since when it has been in force, by the API server's clock; absent when it was found open after that.
    pub since: Option<Timestamp>,
}

/// What came of asking one API server for something that verify must refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Refused, naming verify; with the `Date` of the answer.
    Refused(Timestamp),
    /// Admitted: the guard is not in force there.
    Admitted,
    /// Neither: says nothing.
    Unclear(String),
}

/// Longest age of a refusal that still counts, on the operator's own clock.
pub const CANARY_LIFE: SignedDuration = SignedDuration::from_secs(30);

/// Longest time without a working watch of the guard before what was seen last counts no more.
pub const MAX_BLINDNESS: SignedDuration = SignedDuration::from_secs(10);

/// Everything known of the guard.
#[derive(Clone, Debug)]
pub struct GuardState {
    /// Hashes of what is shipped: policy, binding.
    shipped: (String, String),
    /// API servers that must refuse.
    servers: Vec<String>,
    sight: Option<Result<Sight, String>>,
    record: Option<Record>,
    record_read: bool,
    /// Counts the sights, so that an answer is never taken for one that came after the question.
    sights: u64,
    /// Since when the watches have not been able to see.
    blind_since: Option<Timestamp>,
    refusals: BTreeMap<String, (Timestamp, Timestamp)>,
    last_problem: BTreeMap<String, String>,
    /// API servers that admitted a forged requester and have not refused one since.
    admitted: BTreeSet<String>,
}

impl GuardState {
    /// Nothing known yet.
    pub fn new(shipped: (String, String), servers: Vec<String>) -> Self {
        Self {
            shipped,
            servers,
            sight: None,
            record: None,
            record_read: false,
            sights: 0,
            blind_since: None,
            refusals: BTreeMap::new(),
            last_problem: BTreeMap::new(),
            admitted: BTreeSet::new(),
        }
    }

    /// What an earlier process remembered.
    pub fn remembered(&mut self, record: Option<Record>) {
        self.record = record;
        self.record_read = true;
        self.break_continuity();
    }

    /// The watches, or a look in between, show this. Returns whether anything changed.
    pub fn see(&mut self, policy: Option<Seen>, binding: Option<Seen>) -> bool {
        let sight = match (policy, binding) {
            (None, _) => Err("the ValidatingAdmissionPolicy verify.daypass.dev is missing".to_owned()),
            (_, None) => Err("the ValidatingAdmissionPolicyBinding verify.daypass.dev is missing".to_owned()),
            (Some(policy), _) if policy.hash != self.shipped.0 => {
                Err("the ValidatingAdmissionPolicy verify.daypass.dev is not the one of this version: apply the guard again".to_owned())
            }
            (_, Some(binding)) if binding.hash != self.shipped.1 => {
                Err("the ValidatingAdmissionPolicyBinding verify.daypass.dev is not the one of this version: apply the guard again"
                    .to_owned())
            }
            (Some(policy), Some(binding)) => Ok(Sight { policy, binding }),
        };
        let changed = self.sight.as_ref() != Some(&sight);
        if changed {
            // Whatever was refused before this sight proves nothing about it.
            self.refusals.clear();
            self.sight = Some(sight);
            self.sights += 1;
            self.break_continuity();
        }
        changed
    }

    /// The watches cannot see since this moment, or can again.
    pub fn blind(&mut self, since: Option<Timestamp>) {
        self.blind_since = match (self.blind_since, since) {
            (Some(earlier), Some(_)) => Some(earlier),
            (_, since) => since,
        };
    }

    /// The sight that a canary which is sent now asks about; for [`Self::answered`].
    pub fn sights(&self) -> u64 {
        self.sights
    }

    /// One API server answered, at this moment of our own clock, the canary that was sent at this sight.
    pub fn answered(&mut self, server: &str, answer: Answer, asked_at: u64, now: Timestamp) {
        match answer {
            // By a guard that is no more.
            Answer::Refused(_) if asked_at != self.sights => {}
            Answer::Refused(date) => {
                self.refusals.insert(server.to_owned(), (date, now));
                self.last_problem.remove(server);
                self.admitted.remove(server);
            }
            Answer::Admitted => {
                self.refusals.clear();
                self.admitted.insert(server.to_owned());
                if let Some(record) = &mut self.record {
                    record.since = None;
                }
            }
            Answer::Unclear(problem) => {
                self.last_problem.insert(server.to_owned(), problem);
            }
        }
    }

    /// What must be stored before the guard counts as in force (or as open). `None`: what is stored is right.
    pub fn to_store(&self, stored: Option<&Record>) -> Option<Record> {
        if !self.record_read {
            return None;
        }
        let wanted = match (&self.record, self.proof()) {
            (Some(record), _) if self.continuous() => record.clone(),
            (_, Some(proven)) => proven,
            (Some(record), None) => record.clone(),
            (None, None) => return None,
        };
        (stored != Some(&wanted)).then_some(wanted)
    }

    /// The record was stored.
    pub fn stored(&mut self, record: Record) {
        self.record = Some(record);
    }

    /// What a decision may rely on.
    pub fn facts(&self, now: Timestamp) -> GuardFacts {
        let not = |reason: String| GuardFacts::NotInForce { reason };
        let unknown = |reason: String| GuardFacts::Unknown { reason };
        match &self.sight {
            None => return unknown("the admission guard has not been looked at yet".into()),
            Some(Err(problem)) => return not(problem.clone()),
            Some(Ok(_)) if let Some(server) = self.admitted.first() => {
                return not(format!("a forged requester was admitted by {server}: verify.daypass.dev does not act there"));
            }
            Some(Ok(_)) if self.blind_since.is_some_and(|since| now.duration_since(since) > MAX_BLINDNESS) => {
                return unknown("the admission guard cannot be watched".into());
            }
            Some(Ok(_)) if !self.record_read => return unknown("the guard's record has not been read yet".into()),
            Some(Ok(_)) => {}
        }
        let missing: Vec<&String> = self
            .servers
            .iter()
            .filter(|server| self.refusals.get(*server).is_none_or(|(_, at)| now.duration_since(*at) > CANARY_LIFE))
            .collect();
        let problem = || {
            let why =
                missing.iter().filter_map(|server| self.last_problem.get(*server).map(|p| format!("{server}: {p}"))).collect::<Vec<_>>();
            if why.is_empty() {
                "the canary has not been refused yet".to_owned()
            } else {
                format!("the canary gave no clear answer: {}", why.join("; "))
            }
        };
        match self.record.as_ref().and_then(|record| record.since) {
            Some(since) if self.continuous() => {
                if missing.is_empty() {
                    GuardFacts::InForce { since }
                } else {
                    unknown(problem())
                }
            }
            _ if missing.is_empty() => unknown("the guard is proven and about to be recorded".into()),
            _ if self.last_problem.is_empty() => not("the guard is new or was changed, and is being proven".into()),
            _ => unknown(problem()),
        }
    }

    /// What was once seen to be another guard is continuous only by a new proof: a sight from before the change may still come, late.
    fn break_continuity(&mut self) {
        if let (Some(sight), Some(record)) = (&self.sight, &mut self.record)
            && sight.as_ref() != Ok(&record.sight)
        {
            record.since = None;
        }
    }

    /// Nothing changed since it was proven.
    fn continuous(&self) -> bool {
        let Some(record) = &self.record else { return false };
        record.since.is_some() && self.sight.as_ref().is_some_and(|sight| sight.as_ref() == Ok(&record.sight))
    }

    /// The present guard, if every API server has refused since it was seen.
    fn proof(&self) -> Option<Record> {
        let Some(Ok(sight)) = &self.sight else { return None };
        let dates: Option<Vec<Timestamp>> = self.servers.iter().map(|server| self.refusals.get(server).map(|(date, _)| *date)).collect();
        let since = dates?.into_iter().max()?;
        Some(Record { sight: sight.clone(), since: Some(since) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn seen(uid: &str, generation: i64, hash: &str) -> Option<Seen> {
        Some(Seen { uid: uid.into(), generation, hash: hash.into() })
    }

    fn fresh() -> GuardState {
        let mut guard = GuardState::new(("p".into(), "b".into()), vec!["s1".into(), "s2".into()]);
        guard.remembered(None);
        guard
    }

    fn refuse(guard: &mut GuardState, server: &str, second: i64) {
        guard.answered(server, Answer::Refused(at(second)), guard.sights(), at(second));
    }

    fn settle(guard: &mut GuardState, second: i64) {
        for server in ["s1", "s2"] {
            refuse(guard, server, second);
        }
        if let Some(record) = guard.to_store(None) {
            guard.stored(record);
        }
    }

    fn proven() -> GuardState {
        let mut guard = fresh();
        guard.see(seen("1", 1, "p"), seen("2", 1, "b"));
        settle(&mut guard, 10);
        guard
    }

    #[test]
    fn a_fresh_guard_counts_from_the_latest_refusal_of_all_servers() {
        let mut guard = fresh();
        guard.see(seen("1", 1, "p"), seen("2", 1, "b"));
        refuse(&mut guard, "s1", 10);
        assert_eq!(guard.to_store(None), None, "one server is not all");
        refuse(&mut guard, "s2", 12);
        assert!(!matches!(guard.facts(at(12)), GuardFacts::InForce { .. }), "not before it is recorded");
        guard.stored(guard.to_store(None).unwrap());
        assert_eq!(guard.facts(at(12)), GuardFacts::InForce { since: at(12) });
    }

    #[test]
    fn a_restart_over_an_unchanged_guard_keeps_since() {
        let record = proven().record;
        let mut guard = GuardState::new(("p".into(), "b".into()), vec!["s1".into(), "s2".into()]);
        guard.remembered(record);
        guard.see(seen("1", 1, "p"), seen("2", 1, "b"));
        assert!(matches!(guard.facts(at(99)), GuardFacts::Unknown { .. }), "waiting for the canary denies nobody");
        settle(&mut guard, 100);
        assert_eq!(guard.facts(at(100)), GuardFacts::InForce { since: at(10) });
    }

    #[test]
    fn missing_weakened_recreated_and_edited_and_edited_back_are_all_gaps() {
        for (policy, binding) in [(None, seen("2", 1, "b")), (seen("1", 1, "p"), None), (seen("1", 2, "weak"), seen("2", 1, "b"))] {
            let mut guard = proven();
            guard.see(policy, binding);
            assert!(matches!(guard.facts(at(11)), GuardFacts::NotInForce { .. }));
        }
        for (policy, binding) in
            [(seen("9", 1, "p"), seen("2", 1, "b")), (seen("1", 3, "p"), seen("2", 1, "b")), (seen("1", 1, "p"), seen("2", 3, "b"))]
        {
            let mut guard = proven();
            guard.see(policy, binding);
            assert!(matches!(guard.facts(at(11)), GuardFacts::NotInForce { .. }));
            settle(&mut guard, 20);
            assert_eq!(guard.facts(at(20)), GuardFacts::InForce { since: at(20) }, "a later since: requests from the gap are not trusted");
        }
    }

    #[test]
    fn an_admitted_canary_ends_it_though_nothing_seems_to_have_changed() {
        let mut guard = proven();
        guard.answered("s2", Answer::Admitted, guard.sights(), at(30));
        assert!(matches!(guard.facts(at(30)), GuardFacts::NotInForce { .. }));
        refuse(&mut guard, "s1", 31);
        let GuardFacts::NotInForce { reason } = guard.facts(at(31)) else { panic!("another server's refusal says nothing of this one") };
        assert!(reason.contains("admitted by s2"), "{reason}");
        let open = guard.to_store(guard.record.clone().as_ref());
        assert!(open.is_none_or(|record| record.since.is_none()), "remembered as open, so that a restart does not forget it");
        settle(&mut guard, 40);
        assert_eq!(guard.facts(at(40)), GuardFacts::InForce { since: at(40) });
    }

    #[test]
    fn a_refusal_of_what_was_asked_before_the_last_change_proves_nothing() {
        let mut guard = proven();
        let looks = guard.sights();
        guard.see(seen("1", 3, "p"), seen("2", 1, "b"));
        for server in ["s1", "s2"] {
            guard.answered(server, Answer::Refused(at(19)), looks, at(20));
        }
        assert!(guard.to_store(None).is_none_or(|record| record.since != Some(at(19))));
        assert!(!matches!(guard.facts(at(20)), GuardFacts::InForce { .. }));
    }

    #[test]
    fn a_guard_that_cannot_be_watched_is_not_known_to_be_in_force() {
        let mut guard = proven();
        guard.blind(Some(at(12)));
        guard.blind(Some(at(20)));
        assert!(matches!(guard.facts(at(20)), GuardFacts::InForce { .. }), "for a moment it may");
        assert!(matches!(guard.facts(at(23)), GuardFacts::Unknown { .. }), "counted from when it went blind");
        guard.blind(None);
        assert!(matches!(guard.facts(at(23)), GuardFacts::InForce { .. }));
    }

    #[test]
    fn a_canary_that_gives_no_answer_stops_issuing_but_denies_nobody() {
        let mut guard = proven();
        guard.answered("s1", Answer::Unclear("connection refused".into()), guard.sights(), at(50));
        assert!(matches!(guard.facts(at(50)), GuardFacts::Unknown { .. }));
        settle(&mut guard, 60);
        assert_eq!(guard.facts(at(60)), GuardFacts::InForce { since: at(10) });
    }

    #[test]
    fn a_refusal_by_the_guard_before_a_change_proves_nothing_of_the_one_after_it() {
        let mut guard = proven();
        let asked_at = guard.sights();
        guard.see(seen("1", 2, "weak"), seen("2", 1, "b"));
        guard.see(seen("1", 3, "p"), seen("2", 1, "b"));
        for server in ["s1", "s2"] {
            guard.answered(server, Answer::Refused(at(11)), asked_at, at(20));
        }
        assert!(matches!(guard.facts(at(20)), GuardFacts::NotInForce { .. }));
    }

    #[test]
    fn a_sight_from_before_a_change_that_comes_late_does_not_undo_it() {
        let mut guard = proven();
        guard.see(seen("1", 3, "p"), seen("2", 1, "b"));
        guard.see(seen("1", 1, "p"), seen("2", 1, "b"));
        assert!(matches!(guard.facts(at(20)), GuardFacts::NotInForce { .. }));

        let mut guard = fresh();
        guard.see(seen("1", 3, "p"), seen("2", 1, "b"));
        guard.remembered(proven().record);
        guard.see(seen("1", 1, "p"), seen("2", 1, "b"));
        assert!(matches!(guard.facts(at(20)), GuardFacts::NotInForce { .. }), "whichever was known first, record or sight");
    }
}
