//! Pictures of what was measured, as SVG written by hand: delay over optimum by attack, false alarms by pattern, and one timeline with what
//! was seen when.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use daypass_frequency::{
    Settings, Tier,
    lab::{
        random::Random,
        traffic::{self, Pattern, Traffic},
        trial::{Ablation, LEARNED, Run},
    },
};

use super::Size;
use crate::bench::report::{Report, figure};

/// What is to be drawn.
#[derive(Default)]
pub struct Plots {
    delays: BTreeMap<String, Vec<(f64, f64)>>,
    patterns: Vec<(String, Vec<f64>)>,
    timeline: Timeline,
}

/// Requests an hour and score of one identity that is attacked.
#[derive(Default)]
struct Timeline {
    hourly: Vec<(f64, f64)>,
    scores: Vec<(f64, f64)>,
    thresholds: [f64; 3],
    attack: f64,
    seen: Vec<(f64, Tier)>,
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 60.0;
const COLOURS: [&str; 6] = ["#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#d68910", "#566573"];

impl Plots {
    /// A delay over the optimum.
    pub fn delay(&mut self, line: &str, x: f64, ratio: f64) {
        self.delays.entry(line.to_owned()).or_default().push((x, ratio));
    }

    /// False alarms a month, ours and the rivals'.
    pub fn pattern(&mut self, name: &str, ours: f64, rivals: &[f64]) {
        self.patterns.push((name.to_owned(), [&[ours], rivals].concat()));
    }

    /// Writes three files.
    pub fn write(&self, directory: &Path) -> Result<(), String> {
        fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        for (name, svg) in
            [("delay.svg", self.delay_svg()), ("false-alarms.svg", self.patterns_svg()), ("timeline.svg", self.timeline_svg())]
        {
            let file = directory.join(name);
            fs::write(&file, svg).map_err(|error| format!("{}: {error}", file.display()))?;
            eprintln!("wrote {}", file.display());
        }
        Ok(())
    }

    fn delay_svg(&self) -> String {
        let mut canvas = Canvas::new("Mean delay over the exact optimum, by strength of the attack");
        let most = self.delays.values().flatten().map(|(_, ratio)| *ratio).fold(1.5, f64::max);
        let (x, y) = (Axis::logarithmic(1.4, 11.0, LEFT, WIDTH - RIGHT), Axis::linear(1.0, most, HEIGHT - BOTTOM, TOP));
        canvas.horizontal(&y, &ticks(1.0, most), figure);
        for tick in [1.5, 2.0, 3.0, 5.0, 10.0] {
            canvas.text(x.at(tick), HEIGHT - BOTTOM + 18.0, "middle", &format!("×{tick}"));
        }
        canvas.text((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 16.0, "middle", "attack, as a multiple of the normal rate");
        for (number, (name, points)) in self.delays.iter().enumerate() {
            let points: Vec<(f64, f64)> = points.iter().map(|(at, ratio)| (x.at(*at), y.at(*ratio))).collect();
            canvas.line(&points, COLOURS[number % COLOURS.len()], 2.0);
            canvas.key(number, COLOURS[number % COLOURS.len()], name);
        }
        canvas.finish()
    }

    fn patterns_svg(&self) -> String {
        let mut canvas = Canvas::new("False alarms a month and identity, by pattern (square root scale)");
        let most = self.patterns.iter().flat_map(|(_, values)| values).copied().fold(1.0, f64::max);
        let y = Axis::linear(0.0, most.sqrt(), HEIGHT - BOTTOM, TOP);
        let marks: Vec<f64> = [0.0, 0.17, 1.0, 4.0, 10.0, 20.0, 30.0].into_iter().filter(|mark| *mark <= most).map(f64::sqrt).collect();
        canvas.horizontal(&y, &marks, |value| figure(value * value));
        let slot = (WIDTH - RIGHT - LEFT) / self.patterns.len().max(1) as f64;
        for (number, (name, values)) in self.patterns.iter().enumerate() {
            let left = LEFT + slot * number as f64;
            let width = slot * 0.8 / values.len().max(1) as f64;
            for (bar, value) in values.iter().enumerate() {
                let top = y.at(value.sqrt());
                canvas.bar(left + slot * 0.1 + width * bar as f64, top, width, HEIGHT - BOTTOM - top, COLOURS[bar % COLOURS.len()]);
            }
            let words: Vec<&str> = name.split(' ').collect();
            for (line, word) in words.iter().enumerate() {
                canvas.text(left + slot / 2.0, HEIGHT - BOTTOM + 14.0 + 12.0 * line as f64, "middle", word);
            }
        }
        for (number, name) in ["ours", "EWMA z", "MAD", "token bucket ×2", "window tails"].into_iter().enumerate() {
            canvas.key(number, COLOURS[number], name);
        }
        canvas.finish()
    }

    fn timeline_svg(&self) -> String {
        let timeline = &self.timeline;
        let mut canvas = Canvas::new("Business hours, and a thief who asks for three times the normal from the dashed line on");
        let (Some((from, _)), Some((to, _))) = (timeline.hourly.first(), timeline.hourly.last()) else { return canvas.finish() };
        let most = timeline.hourly.iter().map(|(_, count)| *count).fold(1.0, f64::max);
        let highest = timeline.scores.iter().map(|(_, score)| *score).fold(timeline.thresholds[2] * 1.1, f64::max);
        let x = Axis::linear(*from, to + 1.0, LEFT, WIDTH - RIGHT);
        let middle = TOP + (HEIGHT - BOTTOM - TOP) * 0.62;
        let (score, count) = (Axis::linear(0.0, highest, middle, TOP), Axis::linear(0.0, most, HEIGHT - BOTTOM, middle + 16.0));
        canvas.horizontal(&score, &ticks(0.0, highest), figure);
        for (hour, requests) in &timeline.hourly {
            let top = count.at(*requests);
            canvas.bar(x.at(*hour), top, (x.at(hour + 1.0) - x.at(*hour)).max(1.0) * 0.9, HEIGHT - BOTTOM - top, COLOURS[5]);
        }
        for (number, (threshold, name)) in timeline.thresholds.into_iter().zip(["review", "deny", "revoke"]).enumerate() {
            canvas.line(&[(LEFT, score.at(threshold)), (WIDTH - RIGHT, score.at(threshold))], COLOURS[4], 1.0);
            canvas.text(WIDTH - RIGHT + 6.0, score.at(threshold) + 4.0 - 2.0 * number as f64, "start", name);
        }
        let points: Vec<(f64, f64)> = timeline.scores.iter().map(|(at, value)| (x.at(*at), score.at(*value))).collect();
        canvas.line(&points, COLOURS[0], 1.5);
        canvas.dashed(x.at(timeline.attack), TOP, HEIGHT - BOTTOM);
        for (number, (at, tier)) in timeline.seen.iter().enumerate() {
            let label = format!("{} after {:.0} min", tier.as_str(), (at - timeline.attack) * 60.0);
            canvas.text(x.at(timeline.attack) - 8.0, TOP + 14.0 + 16.0 * number as f64, "end", &label);
        }
        let mut day = (from / 24.0).ceil() * 24.0;
        while day <= *to {
            canvas.text(
                x.at(day),
                HEIGHT - BOTTOM + 18.0,
                "middle",
                ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][(day / 24.0) as usize % 7],
            );
            day += 24.0;
        }
        canvas.key(0, COLOURS[0], "score");
        canvas.key(1, COLOURS[4], "thresholds");
        canvas.key(2, COLOURS[5], "requests an hour");
        canvas.finish()
    }
}

/// Runs the one attack of the timeline.
pub fn measure(size: &Size, _: &mut Report, plots: &mut Plots) -> Result<(), String> {
    let settings = Settings { identities: 5000, false_revocations_per_year: 1.0 };
    let mut random = Random::new(size.seed, 12_000_000);
    let from = LEARNED + 3.0 * 24.0 + 10.5;
    let until = from + 4.0;
    let normal = Pattern::BusinessHours.traffic(&mut random, until, 1.0);
    let attack = traffic::poisson(&mut random, 38.0, from, until);
    let mixed = Traffic { requests: traffic::mixed(&normal.requests, &attack), starts: vec![] };
    let timeline = &mut plots.timeline;
    let mut run = Run::new(&mixed, Ablation::Whole);
    let mut detector = run.learned();
    let thresholds = settings.thresholds(detector.rate());
    timeline.thresholds = [thresholds.review, thresholds.deny, thresholds.revoke];
    timeline.attack = from;
    run.feed(&mut detector, until, |detector, at| {
        let score = detector.score(&settings);
        timeline.scores.push((at, score.value));
        if at >= from && timeline.seen.last().is_none_or(|(_, tier)| score.tier > *tier) && score.tier > Tier::Normal {
            timeline.seen.push((at, score.tier));
        }
        score.tier == Tier::Revoke
    });
    let first = LEARNED;
    for hour in 0..(until - first) as usize {
        let begin = first + hour as f64;
        let count = mixed.requests.iter().filter(|at| (begin..begin + 1.0).contains(*at)).count();
        timeline.hourly.push((begin, count as f64));
    }
    Ok(())
}

fn ticks(least: f64, most: f64) -> Vec<f64> {
    (0..=5).map(|tick| least + (most - least) * f64::from(tick) / 5.0).collect()
}

/// From values to places.
struct Axis {
    least: f64,
    most: f64,
    begin: f64,
    end: f64,
    logarithmic: bool,
}

impl Axis {
    fn linear(least: f64, most: f64, begin: f64, end: f64) -> Self {
        Self { least, most, begin, end, logarithmic: false }
    }

    fn logarithmic(least: f64, most: f64, begin: f64, end: f64) -> Self {
        Self { least, most, begin, end, logarithmic: true }
    }

    fn at(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.ln() } else { value };
        let share = (scale(value) - scale(self.least)) / (scale(self.most) - scale(self.least)).max(1e-9);
        self.begin + (self.end - self.begin) * share.clamp(0.0, 1.0)
    }
}

struct Canvas(String);

impl Canvas {
    fn new(title: &str) -> Self {
        let mut canvas = Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        ));
        canvas.text(LEFT, 22.0, "start", title);
        canvas
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing into a String cannot fail.
        let _ = self.0.write_fmt(element);
        self.0.push('\n');
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.push(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
    }

    fn line(&mut self, points: &[(f64, f64)], colour: &str, width: f64) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        self.push(format_args!("<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>"));
    }

    fn dashed(&mut self, x: f64, top: f64, bottom: f64) {
        self.push(format_args!("<path d=\"M{x:.1} {top:.1}V{bottom:.1}\" stroke=\"black\" stroke-dasharray=\"4 3\"/>"));
    }

    fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        self.push(format_args!("<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"));
    }

    fn horizontal(&mut self, axis: &Axis, ticks: &[f64], label: impl Fn(f64) -> String) {
        for tick in ticks {
            let y = axis.at(*tick);
            self.push(format_args!("<path d=\"M{LEFT} {y:.1}H{:.1}\" stroke=\"#ddd\"/>", WIDTH - RIGHT));
            self.text(LEFT - 6.0, y + 4.0, "end", &label(*tick));
        }
    }

    fn key(&mut self, number: usize, colour: &str, name: &str) {
        let y = TOP + 120.0 + 20.0 * number as f64;
        self.bar(WIDTH - RIGHT + 20.0, y - 9.0, 12.0, 10.0, colour);
        self.text(WIDTH - RIGHT + 38.0, y, "start", name);
    }

    fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}
