//! B10: the twelve count series of the Numenta Anomaly Benchmark in `data/nab`, scored by its own rules (Lavin and Ahmad 2015, standard profile),
//! with one threshold for all.
//!
//! A count is fed as that many events, evenly spaced over its span, divided so that a span of the first 15 % holds about 20 on average: the
//! detector sees counts only. It learns as it goes, without an anchor, from nothing; an alarm is a row, and the next at least a day later.

use std::{collections::BTreeMap, fs, path::Path};

use daypass_frequency::{Detector, Prior, Settings, Time, lab::trial::counts};
use jiff::civil::DateTime;

use super::{Size, parallel, plot::Plots};
use crate::bench::report::{Goal, Report, Row};

/// Weight of a false positive in the standard profile; of a missed window it is 1.
const FALSE_POSITIVE: f64 = 0.11;
/// Events of an average row.
const EVENTS: f64 = 20.0;

/// One series with its labelled windows.
struct Series {
    name: String,
    /// Seconds and value of each row.
    rows: Vec<(i64, f64)>,
    /// First and last second of each window.
    windows: Vec<(i64, i64)>,
}

/// B10.
pub fn measure(size: &Size, report: &mut Report, _: &mut Plots) -> Result<(), String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/nab");
    if !directory.join("labels/combined_windows.json").exists() {
        report.note("B10 was not run: data/nab is not there");
        return Ok(());
    }
    let series = read(&directory)?;
    let thresholds: Vec<f64> = (6..=80).step_by(if size.full { 2 } else { 8 }).map(|half| f64::from(half) / 2.0).collect();
    // One pass for each series and threshold: an alarm empties the buckets, so later alarms depend on it.
    let jobs = series.len() * thresholds.len();
    let scores = parallel(jobs, |job| {
        let series = &series[job / thresholds.len()];
        score(series, &alarms(series, thresholds[job % thresholds.len()]))
    });
    let windows: f64 = series.iter().map(|series| series.windows.len() as f64).sum();
    let total = |at: usize| -> f64 {
        let sum: f64 = (0..series.len()).map(|number| scores[number * thresholds.len() + at]).sum();
        // No detection is −1 a window and comes to 0, perfect detection to 100.
        100.0 * (sum + windows) / (2.0 * windows)
    };
    let best = (0..thresholds.len()).max_by(|a, b| total(*a).total_cmp(&total(*b))).unwrap_or_default();
    let row = Row::once("B10", "NAB, 12 count series, standard profile", total(best), Some(Goal::AtLeast(71.0)));
    report
        .rows([row.beside(format!("published: ARTime 84.2, Numenta HTM 71.0, CAD OSE 70.7, RCF 56.5; threshold {:.0}", thresholds[best]))]);
    let each: Vec<String> = series
        .iter()
        .enumerate()
        .map(|(number, series)| format!("{} {:.2} of {}", series.name, scores[number * thresholds.len() + best], series.windows.len()))
        .collect();
    report.note(format!("B10 by series (points of windows): {}", each.join(", ")));
    Ok(())
}

/// Rows at which an alarm is raised.
fn alarms(series: &Series, threshold: f64) -> Vec<usize> {
    let probation = probation(series.rows.len());
    let first: f64 = series.rows[..probation].iter().map(|(_, value)| value).sum::<f64>() / probation.max(1) as f64;
    let divisor = (first / EVENTS).max(1.0);
    let start = series.rows.first().map_or(0, |(at, _)| *at);
    let mut detector = Detector::new(Time::from_seconds(start), Prior::Unknown);
    let settings = Settings::default();
    let (mut found, mut left, mut last) = (vec![], 0.0, None);
    for (row, window) in series.rows.windows(2).enumerate() {
        let [(at, value), (next, _)] = window else { continue };
        left += value / divisor;
        let count = left.floor();
        left -= count;
        let highest = counts(&mut detector, *at, *next, count as usize, &settings);
        if row >= probation && highest >= threshold {
            detector.reset_buckets();
            if last.is_none_or(|last| at - last >= 86_400) {
                found.push(row);
                last = Some(*at);
            }
        }
    }
    found
}

/// Rows that are not scored: 15 %, at most 750.
fn probation(rows: usize) -> usize {
    (rows * 15 / 100).min(750)
}

/// Points of a series: a window found is worth up to 1 by how early, a missed one −1, a false positive up to −0.11 by how far from a window.
fn score(series: &Series, alarms: &[usize]) -> f64 {
    let mut points = 0.0;
    let mut found = vec![false; series.windows.len()];
    for row in alarms {
        let at = series.rows[*row].0;
        if let Some(window) = series.windows.iter().position(|(from, to)| (*from..=*to).contains(&at)) {
            if !found[window] {
                found[window] = true;
                let (from, to) = series.windows[window];
                points += sigmoid(-((to - at) as f64) / ((to - from).max(1) as f64)) / sigmoid(-1.0);
            }
            continue;
        }
        let before = series.windows.iter().filter(|(_, to)| *to < at).max_by_key(|(_, to)| *to);
        let weight = before.map_or(-1.0, |(from, to)| sigmoid((at - to) as f64 / ((to - from).max(1) as f64)));
        points += FALSE_POSITIVE * weight;
    }
    points - found.iter().filter(|found| !**found).count() as f64
}

/// NAB's scaled sigmoid: near 1 at −1 (the left end of a window), 0 at its right end, −1 far beyond.
fn sigmoid(position: f64) -> f64 {
    if position > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * position).exp()) - 1.0 }
}

fn read(directory: &Path) -> Result<Vec<Series>, String> {
    let text = |file: &Path| fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()));
    let windows: BTreeMap<String, Vec<(String, String)>> = serde_json::from_str(&text(&directory.join("labels/combined_windows.json"))?)
        .map_err(|error| format!("combined_windows.json: {error}"))?;
    windows
        .into_iter()
        .map(|(path, windows)| {
            let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
            let file = text(&directory.join(&name))?;
            let rows = file
                .lines()
                .skip(1)
                .map(|line| row(line).ok_or_else(|| format!("{name}: {line:?} is no row")))
                .collect::<Result<_, _>>()?;
            let windows = windows
                .iter()
                .map(|(from, to)| Some((seconds(from)?, seconds(to)?)))
                .collect::<Option<_>>()
                .ok_or_else(|| format!("{name}: a window has no time"))?;
            Ok(Series { name: name.trim_end_matches(".csv").to_owned(), rows, windows })
        })
        .collect()
}

fn row(line: &str) -> Option<(i64, f64)> {
    let (time, value) = line.trim().split_once(',')?;
    Some((seconds(time)?, value.parse().ok()?))
}

fn seconds(text: &str) -> Option<i64> {
    let time: DateTime = text.parse().ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> Series {
        Series { name: String::new(), rows: (0..1000).map(|row| (row * 300, 1.0)).collect(), windows: vec![(200 * 300, 300 * 300)] }
    }

    #[test]
    fn nothing_found_is_minus_one_a_window_and_all_found_at_once_is_one() {
        assert_eq!(score(&series(), &[]), -1.0);
        assert!((score(&series(), &[200]) - 1.0).abs() < 1e-9);
        assert!(score(&series(), &[299]) < 0.1, "late is worth little");
        assert!((score(&series(), &[200, 250]) - 1.0).abs() < 1e-9, "only the first counts");
    }

    #[test]
    fn false_positives_cost_by_their_distance() {
        assert!((score(&series(), &[100]) + 1.11).abs() < 1e-9, "before any window: in full");
        assert!((score(&series(), &[900]) + 1.11).abs() < 1e-6, "far behind one: in full");
        assert!(score(&series(), &[302]) > -1.05, "just behind one: little");
    }
}
