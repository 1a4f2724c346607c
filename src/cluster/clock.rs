//! The operator's clock and what it knows of the API server's.
//!
//! The only home of `Timestamp::now` and `Instant::now`. Everything else receives time as a value.
#![allow(clippy::disallowed_methods, reason = "this is the clock that everybody else receives values from")]

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimeParser};

/// Dates older than this say nothing about the API server's clock any more.
const WINDOW: Duration = Duration::from_secs(120);

/// Two clocks: the operator's own, and a lower bound of the API server's, learned from `Date` headers.
///
/// What was learned is carried forward by the monotonic clock alone: a step of the operator's own clock moves nothing but that clock.
#[derive(Debug)]
pub struct Clock {
    base: Instant,
    /// `(received, Date header less the monotonic time since base, in milliseconds)`; a header is cut to whole seconds, so each is a lower
    /// bound of the true value and the largest is the best one.
    heard: Mutex<VecDeque<(Instant, i64)>>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { base: Instant::now(), heard: Mutex::default() }
    }
}

impl Clock {
    /// The operator's own time.
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// The operator's monotonic time.
    pub fn monotonic(&self) -> Instant {
        Instant::now()
    }

    /// Takes note of a `Date` header that was just received.
    pub fn observe_date(&self, header: &str) {
        let Ok(date) = DateTimeParser::new().parse_timestamp(header) else { return };
        let received = Instant::now();
        let value = date.as_millisecond() - self.since_base(received);
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        while heard.front().is_some_and(|(at, _)| received.duration_since(*at) > WINDOW) {
            heard.pop_front();
        }
        // Only the running maximum matters: what is smaller than the newcomer and older than it can never be the answer again.
        while heard.back().is_some_and(|(_, v)| *v <= value) {
            heard.pop_back();
        }
        heard.push_back((received, value));
    }

    /// The API server's time, never later than it really is. `None` when it has not been heard of for two minutes.
    pub fn server_now(&self) -> Option<Timestamp> {
        let now = Instant::now();
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = heard.iter().filter(|(at, _)| now.duration_since(*at) <= WINDOW).map(|(_, value)| *value).max()?;
        Timestamp::from_millisecond(fresh + self.since_base(now)).ok()
    }

    /// How far the API server's clock is ahead of ours, as a lower bound that is at most about a second too low.
    pub fn server_offset(&self) -> Option<SignedDuration> {
        self.server_now().map(|server| server.duration_since(Timestamp::now()))
    }

    /// Both clocks at once.
    pub fn read(&self) -> Clocks {
        Clocks { own: self.now(), server: self.server_now() }
    }

    fn since_base(&self, instant: Instant) -> i64 {
        i64::try_from(instant.duration_since(self.base).as_millis()).unwrap_or(i64::MAX)
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The operator's clock.
    pub own: Timestamp,
    /// The API server's clock, never later than it really is; `None` if unknown.
    pub server: Option<Timestamp>,
}

impl Clocks {
    /// The later of the two: ends start when either clock reaches a date.
    pub fn latest(&self) -> Timestamp {
        self.server.map_or(self.own, |server| server.max(self.own))
    }
}

/// Issuing stops when the clocks are further apart than this.
pub const MAX_SKEW: SignedDuration = SignedDuration::from_secs(30);

/// Why nothing may be issued by these clocks.
pub fn skew_problem(offset: Option<SignedDuration>) -> Option<String> {
    match offset {
        None => Some("the API server's time is not known yet".into()),
        // A header is up to a second older than it was received.
        Some(o) if o > MAX_SKEW || o < -(MAX_SKEW + SignedDuration::from_secs(1)) => {
            Some(format!("this clock and the API server's differ by {} s; at most 30 s are tolerated", o.as_secs()))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_nothing_before_the_first_date() {
        assert_eq!(Clock::default().server_now(), None);
        assert!(skew_problem(Clock::default().server_offset()).is_some());
    }

    #[test]
    fn the_server_s_time_is_never_overstated() {
        let clock = Clock::default();
        clock.observe_date("Tue, 24 Nov 2020 10:00:00 GMT");
        clock.observe_date("nonsense");
        let before = clock.server_now().unwrap();
        assert!(before >= "2020-11-24T10:00:00Z".parse().unwrap() && before < "2020-11-24T10:00:05Z".parse().unwrap());
        clock.observe_date("Tue, 24 Nov 2020 09:00:00 GMT");
        assert!(clock.server_now().unwrap() >= before, "a smaller date inside the window does not lower the bound");
    }

    #[test]
    fn half_a_minute_of_skew_is_tolerated_and_no_more() {
        for (seconds, tolerated) in [(0, true), (30, true), (-30, true), (31, false), (-32, false)] {
            assert_eq!(skew_problem(Some(SignedDuration::from_secs(seconds))).is_none(), tolerated, "{seconds}");
        }
    }
}
