//! Moments, and the hour of the week that each belongs to (UTC). Looks at no clock: a moment enters as a value.
//!
//! Whole milliseconds, not floating seconds: they cannot be NaN, they compare and subtract exactly, and a state that is stored and read
//! again is the same state. The API server's own timestamps are whole seconds; logs may have fractions.

use serde::{Deserialize, Serialize};

/// Milliseconds of an hour.
pub(crate) const HOUR: i64 = 3_600_000;
/// Cells of the week: 24 hours of a weekday and 24 of a day of the weekend.
pub(crate) const CELLS: usize = 48;

/// A moment between 1970-01-01T00:00:00Z and 2106-02-07T06:28:15Z, in whole milliseconds since the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(i64);

impl Time {
    /// The last moment there is: what is later is taken for this one.
    pub const LAST: Self = Self(u32::MAX as i64 * 1000);

    /// The moment so many milliseconds after 1970; clamped to the range of this type.
    pub const fn from_millis(millis: i64) -> Self {
        match millis {
            ..0 => Self(0),
            millis if millis > Self::LAST.0 => Self::LAST,
            millis => Self(millis),
        }
    }

    /// The moment so many seconds after 1970; clamped to the range of this type.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// The moment so many seconds after 1970, to the millisecond; `None` for what is no number or lies outside the range of this type.
    pub fn from_seconds_f64(seconds: f64) -> Option<Self> {
        let millis = (seconds * 1000.0).round();
        (0.0..=Self::LAST.0 as f64).contains(&millis).then_some(Self(millis as i64))
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Seconds since 1970.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// So many milliseconds later (earlier if negative), within the range of this type.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// So many hours later, within the range of this type; a number that is none adds nothing.
    #[must_use]
    pub fn plus_hours(self, hours: f64) -> Self {
        self.plus_millis((hours * HOUR as f64) as i64)
    }

    /// Hours from `earlier` to this moment, never negative.
    pub fn hours_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0).max(0) as f64 / HOUR as f64
    }

    /// Whole seconds since 1970, which fit by construction.
    pub(crate) fn second(self) -> u32 {
        u32::try_from(self.0 / 1000).unwrap_or(u32::MAX)
    }

    /// Hours since 1970 that have begun before this moment.
    pub(crate) const fn hour(self) -> i64 {
        self.0 / HOUR
    }

    /// Milliseconds since its hour began.
    pub(crate) fn of_hour(self) -> u32 {
        u32::try_from(self.0 % HOUR).unwrap_or(0)
    }

    /// The next full hour after this moment.
    pub(crate) const fn next_hour(self) -> Self {
        Self((self.hour() + 1) * HOUR)
    }

    /// Which of the twelve spans of five minutes of its hour this moment belongs to.
    pub(crate) fn five_minutes(self) -> u8 {
        u8::try_from(self.0 % HOUR / 300_000).unwrap_or(0)
    }

    /// "Sat 02:00": the hour of the week, for people.
    pub(crate) fn hour_label(self) -> String {
        format!("{} {:02}:00", DAYS[weekday(self.hour())], self.hour().rem_euclid(24))
    }

    /// "02:41": the time of day, UTC.
    pub(crate) fn minute_label(self) -> String {
        format!("{:02}:{:02}", self.hour().rem_euclid(24), self.0.rem_euclid(HOUR) / 60_000)
    }
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// 0 is Monday. The first of January 1970 was a Thursday.
const fn weekday(hour: i64) -> usize {
    ((hour.div_euclid(24) + 3).rem_euclid(7)) as usize
}

/// Whether an hour since 1970 lies on a Saturday or Sunday.
pub(crate) const fn is_weekend(hour: i64) -> bool {
    weekday(hour) >= 5
}

/// The cell of the week of an hour since 1970: 0–23 on weekdays, 24–47 at the weekend.
pub(crate) const fn cell(hour: i64) -> usize {
    hour.rem_euclid(24) as usize + if is_weekend(hour) { 24 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_fall_into_their_cells() {
        // 2026-11-28 is a Saturday.
        let saturday = Time::from_seconds(1_795_831_260);
        assert_eq!(saturday.hour_label(), "Sat 02:00");
        assert_eq!(saturday.minute_label(), "02:01");
        assert_eq!(cell(saturday.hour()), 26);
        assert_eq!(cell(saturday.hour() - 24), 2);
        assert_eq!(cell(saturday.hour() + 48), 2);
        assert_eq!(Time::default().hour_label(), "Thu 00:00");
    }

    #[test]
    fn what_is_no_moment_is_refused_or_clamped() {
        for wrong in [f64::NAN, f64::INFINITY, -1.0, 1.8e12] {
            assert_eq!(Time::from_seconds_f64(wrong), None, "{wrong}");
        }
        assert_eq!(Time::from_seconds_f64(1.2345).map(Time::millis), Some(1235));
        assert_eq!(Time::from_seconds(i64::MAX), Time::LAST);
        assert_eq!(Time::from_millis(-5), Time::default());
        assert_eq!(Time::LAST.plus_hours(f64::INFINITY), Time::LAST);
        assert_eq!(Time::default().hours_since(Time::LAST), 0.0);
    }
}
