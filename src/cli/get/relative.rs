//! Times as a person on call wants them: how long ago, how long still. Pure.

use jiff::{SignedDuration, Timestamp};

/// At most two units, the larger first; what is smaller is cut off: `45s`, `4m12s`, `3h20m`, `2d4h`.
pub fn span(duration: SignedDuration) -> String {
    let seconds = duration.abs().as_secs();
    let units = [(seconds / 86_400, 'd'), (seconds / 3600 % 24, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let first = units.iter().position(|(count, _)| *count > 0).unwrap_or(units.len() - 1);
    let shown = units[first..].iter().take(2).enumerate().filter(|(at, (count, _))| *at == 0 || *count > 0);
    shown.map(|(_, (count, unit))| format!("{count}{unit}")).collect()
}

/// `in 4m12s`, `3s ago` or `now`.
pub fn relative(time: Timestamp, now: Timestamp) -> String {
    let away = time.duration_since(now);
    match away.as_secs() {
        0 => "now".into(),
        seconds if seconds > 0 => format!("in {}", span(away)),
        _ => format!("{} ago", span(away)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most_and_are_cut_not_rounded() {
        for (seconds, text) in [
            (0, "0s"),
            (45, "45s"),
            (60, "1m"),
            (252, "4m12s"),
            (3599, "59m59s"),
            (3600, "1h"),
            (3605, "1h"),
            (12_000, "3h20m"),
            (86_400, "1d"),
            (187_199, "2d3h"),
            (-252, "4m12s"),
        ] {
            assert_eq!(span(SignedDuration::from_secs(seconds)), text);
        }
        assert_eq!(span(SignedDuration::from_millis(4999)), "4s");
    }

    #[test]
    fn a_time_is_before_or_after_now() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let told = |millis| relative(now + SignedDuration::from_millis(millis), now);
        assert_eq!((told(252_900), told(-3_000), told(900), told(-900)), ("in 4m12s".into(), "3s ago".into(), "now".into(), "now".into()));
    }
}
