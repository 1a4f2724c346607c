//! How a class stands in this pod, for `/readyz`, metrics and messages: whether a credential is live, and what stands against the next.
//!
//! Liveness is counted on the monotonic clock from what the API server's clock said when the credential came: a pod whose own clock is off
//! is neither ready too long nor too short.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// One class.
#[derive(Debug)]
pub struct Standing {
    class: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    live: Option<Live>,
    problem: Option<String>,
}

/// A credential that is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// Until then, by the monotonic clock.
    pub until: Instant,
    /// What the credential says.
    pub expires_at: Timestamp,
}

impl Standing {
    /// Nothing is live yet.
    pub fn new(class: &str) -> Self {
        Self { class: class.to_owned(), state: Mutex::default() }
    }

    /// Name of the class.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// A credential is in place.
    pub fn holds(&self, live: Live) {
        *self.state() = State { live: Some(live), problem: None };
    }

    /// The credential with this end ended before its time. `false` if that is not the one in place.
    pub fn ended(&self, expires_at: Timestamp, why: String) -> bool {
        let mut state = self.state();
        let in_place = state.live.is_some_and(|live| live.expires_at == expires_at);
        if in_place {
            *state = State { live: None, problem: Some(why) };
        }
        in_place
    }

    /// Nothing is known of any credential.
    pub fn nothing(&self) {
        *self.state() = State::default();
    }

    /// The next one could not be had.
    pub fn fails(&self, why: String) {
        self.state().problem = Some(why);
    }

    /// What is live at this moment.
    pub fn live(&self, now: Instant) -> Option<Live> {
        self.state().live.filter(|live| now < live.until)
    }

    /// How the current credential stands, as the end of a sentence.
    pub fn left(&self, now: Instant) -> String {
        match (self.live(now), self.state().live) {
            (Some(live), _) => format!("the current credential lives another {} s", whole_seconds(live.until - now)),
            (None, Some(gone)) => format!("NO credential is live: the last one ended at {:.0}", gone.expires_at),
            (None, None) => "no credential is live".into(),
        }
    }

    /// One line for people.
    pub fn line(&self, now: Instant) -> String {
        let problem = self.state().problem.clone().map(|problem| format!("; {problem}")).unwrap_or_default();
        format!("{}: {}{problem}", self.class, self.left(now))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn whole_seconds(left: Duration) -> u64 {
    left.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test makes its own instants")]
    fn a_class_is_ready_exactly_while_its_credential_lives() {
        let (start, standing) = (Instant::now(), Standing::new("orders-db"));
        assert_eq!(standing.live(start), None);
        let live = Live { until: start + Duration::from_secs(60), expires_at: "2026-11-25T10:00:00Z".parse().unwrap() };
        standing.holds(live);
        standing.fails("the operator does not answer".into());
        assert_eq!(standing.live(start), Some(live), "a failed renewal takes nothing away");
        assert_eq!(standing.line(start), "orders-db: the current credential lives another 60 s; the operator does not answer");
        assert_eq!(standing.live(live.until), None);
        assert!(standing.line(live.until).contains("NO credential is live: the last one ended at 2026-11-25T10:00:00Z"));
        standing.holds(live);
        let next = Live { expires_at: "2026-11-25T10:05:00Z".parse().unwrap(), ..live };
        standing.holds(next);
        assert!(!standing.ended(live.expires_at, "its request was deleted".into()), "the last one is not the one in place");
        assert_eq!(standing.live(start), Some(next));
        assert!(standing.ended(next.expires_at, "RevokedByPerson".into()));
        assert_eq!(standing.live(start), None, "what was taken back is not live until its date");
        assert_eq!(standing.line(start), "orders-db: no credential is live; RevokedByPerson");
    }
}
