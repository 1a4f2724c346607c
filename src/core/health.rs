//! How a class or a policy stands, in the conditions that kstatus, and so GitOps tools, read.
//!
//! `Ready=False` alone would read as "in progress for ever": beside it stands `Reconciling` where something may still come, or `Stalled`
//! where only an edit helps. Called by the loops that judge classes and policies.

use jiff::Timestamp;

use crate::api::{
    Condition,
    condition::{self, ConditionStatus},
};

/// How an object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does what it says.
    Ready,
    /// Not yet, or not for the moment: time or another object may cure it.
    Reconciling,
    /// Not until somebody edits it.
    Stalled,
}

/// Conditions of one object under way to their next state. Whatever comes out equal to what was held is not worth a write.
pub struct Conditions {
    held: Vec<Condition>,
    next: Vec<Condition>,
    generation: Option<i64>,
    now: Timestamp,
}

impl Conditions {
    /// Begins with what is held of the object's `generation`.
    pub fn new(held: &[Condition], generation: Option<i64>, now: Timestamp) -> Self {
        let next = held.iter().filter(|c| !matches!(c.type_.as_str(), "Stalled" | "Reconciling")).cloned().collect();
        Self { held: held.to_vec(), next, generation, now }
    }

    /// Says how the object stands.
    pub fn stand(&mut self, health: Health, reason: &str, message: &str) {
        let (ready, beside) = match health {
            Health::Ready => (ConditionStatus::True, None),
            Health::Reconciling => (ConditionStatus::False, Some("Reconciling")),
            Health::Stalled => (ConditionStatus::False, Some("Stalled")),
        };
        self.set("Ready", ready, reason, message);
        if let Some(beside) = beside {
            self.set(beside, ConditionStatus::True, reason, message);
        }
    }

    /// Sets one more condition.
    pub fn set(&mut self, type_: &str, status: ConditionStatus, reason: &str, message: &str) {
        // A condition that was dropped and is set again with the same status has not changed.
        let same = self.held.iter().find(|held| held.type_ == type_ && held.status == status);
        let next = Condition {
            type_: type_.into(),
            status,
            reason: reason.into(),
            message: message.into(),
            observed_generation: self.generation,
            last_transition_time: same.map_or(self.now, |held| held.last_transition_time),
        };
        condition::set(&mut self.next, next);
    }

    /// Sets a condition that nobody hears of while it has always held: `problem` is why it does not.
    pub fn alarm(&mut self, type_: &str, problem: Option<(&str, &str)>, calm: (&str, &str)) {
        match problem {
            Some((reason, message)) => self.set(type_, ConditionStatus::False, reason, message),
            None if self.held.iter().any(|held| held.type_ == type_) => self.set(type_, ConditionStatus::True, calm.0, calm.1),
            None => {}
        }
    }

    /// What to write.
    pub fn finish(self) -> Vec<Condition> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn judged(held: &[Condition], health: Health, second: i64) -> Vec<Condition> {
        let mut conditions = Conditions::new(held, Some(1), at(second));
        conditions.stand(health, "Why", "because");
        conditions.finish()
    }

    fn types(conditions: &[Condition]) -> Vec<(&str, ConditionStatus)> {
        conditions.iter().map(|c| (c.type_.as_str(), c.status)).collect()
    }

    #[test]
    fn what_is_not_ready_says_whether_waiting_helps() {
        assert_eq!(types(&judged(&[], Health::Ready, 1)), [("Ready", ConditionStatus::True)]);
        for (health, beside) in [(Health::Reconciling, "Reconciling"), (Health::Stalled, "Stalled")] {
            assert_eq!(types(&judged(&[], health, 1)), [("Ready", ConditionStatus::False), (beside, ConditionStatus::True)]);
        }
    }

    #[test]
    fn an_alarm_is_heard_of_once_there_was_one_and_then_that_it_is_over() {
        let told = |held: &[Condition], problem: Option<(&str, &str)>| {
            let mut conditions = Conditions::new(held, Some(1), at(9));
            conditions.alarm("InStep", problem, ("Calm", "all is well"));
            conditions.finish()
        };
        assert_eq!(told(&[], None), []);
        let alarmed = told(&[], Some(("Off", "by a minute")));
        assert_eq!(types(&alarmed), [("InStep", ConditionStatus::False)]);
        let over = told(&alarmed, None);
        assert_eq!((types(&over), over[0].reason.as_str()), (vec![("InStep", ConditionStatus::True)], "Calm"));
        assert_eq!(told(&over, None), over);
    }

    #[test]
    fn judging_the_same_again_changes_nothing_and_a_change_leaves_nothing_behind() {
        let stalled = judged(&[], Health::Stalled, 1);
        assert_eq!(judged(&stalled, Health::Stalled, 9), stalled, "not even a date");
        let ready = judged(&stalled, Health::Ready, 9);
        assert_eq!((types(&ready), ready[0].last_transition_time), (vec![("Ready", ConditionStatus::True)], at(9)));
    }
}
