//! What was measured, as one table for people and as JSON for machines. Measures nothing.

use std::path::Path;

use serde::Serialize;

use super::{machine::Machine, stats};

/// What a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// This, in every single case.
    Exactly(f64),
}

impl Goal {
    fn met(self, value: f64, spread: Option<Spread>) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
            Self::Exactly(bound) => spread.map_or(value == bound, |s| s.min == bound && s.max == bound),
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
            Self::Exactly(bound) => write!(f, "= {bound}"),
        }
    }
}

impl Serialize for Goal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The smallest and the largest of what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    min: f64,
    max: f64,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    id: &'static str,
    measure: String,
    value: f64,
    spread: Option<Spread>,
    goal: Option<Goal>,
    pass: Option<bool>,
    /// What others reach, or ours without one of its parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    beside: Option<String>,
}

impl Row {
    /// A figure that was taken once, such as a percentile.
    pub fn once(id: &'static str, measure: impl Into<String>, value: f64, goal: Option<Goal>) -> Self {
        Self { id, measure: measure.into(), value, spread: None, goal, pass: goal.map(|goal| goal.met(value, None)), beside: None }
    }

    /// The middle of a sample and its spread.
    pub fn of(id: &'static str, measure: impl Into<String>, sample: &[f64], goal: Option<Goal>) -> Option<Self> {
        let summary = stats::summary(sample)?;
        let spread = Some(Spread { min: summary.least, max: summary.most });
        let pass = goal.map(|goal| goal.met(summary.median, spread));
        Some(Self { id, measure: measure.into(), value: summary.median, spread, goal, pass, beside: None })
    }

    /// With what others reach.
    #[must_use]
    pub fn beside(mut self, beside: impl Into<String>) -> Self {
        self.beside = Some(beside.into());
        self
    }
}

/// Everything that one run measured.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: Machine,
    rows: Vec<Row>,
    /// Where the time goes, and what else a reader should know.
    notes: Vec<String>,
}

impl Report {
    /// Nothing measured yet.
    pub fn new(machine: Machine) -> Self {
        Self { machine, rows: vec![], notes: vec![] }
    }

    /// Takes in figures.
    pub fn rows(&mut self, rows: impl IntoIterator<Item = Row>) {
        self.rows.extend(rows);
    }

    /// Takes in a note.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The machine, to note its state at the end.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// The table, the notes, and a last line that counts.
    pub fn text(&self, title: &str) -> String {
        let beside = if self.rows.iter().any(|row| row.beside.is_some()) { "beside" } else { "" };
        let head = ["id", "measure", "median", "spread", "goal", "", beside].map(str::to_owned);
        let mut lines = vec![head];
        lines.extend(self.rows.iter().map(|row| {
            let spread = row.spread.map(|s| format!("{} – {}", figure(s.min), figure(s.max))).unwrap_or_default();
            let goal = row.goal.map(|goal| goal.to_string()).unwrap_or_default();
            let verdict = match row.pass {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            [
                row.id.to_owned(),
                row.measure.clone(),
                figure(row.value),
                spread,
                goal,
                verdict.to_owned(),
                row.beside.clone().unwrap_or_default(),
            ]
        }));
        let widths: Vec<usize> =
            (0..7).map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()).collect();
        let mut text = format!("{}\n\n", self.machine);
        for line in &lines {
            let cells: Vec<String> = line
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, width))| if column == 2 { format!("{cell:>width$}") } else { format!("{cell:<width$}") })
                .collect();
            text += cells.join("  ").trim_end();
            text.push('\n');
        }
        for note in &self.notes {
            text += &format!("\n{note}\n");
        }
        let (met, missed) = self.rows.iter().fold((0, 0), |(met, missed), row| match row.pass {
            Some(true) => (met + 1, missed),
            Some(false) => (met, missed + 1),
            None => (met, missed),
        });
        text + &format!("\n{title}: {met} goals met, {missed} missed")
    }

    /// Writes everything as JSON.
    pub fn write(&self, file: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        std::fs::write(file, text + "\n").map_err(|error| format!("cannot write {}: {error}", file.display()))
    }
}

/// Three significant digits, and no more decimals than that takes.
pub fn figure(value: f64) -> String {
    match value.abs() {
        v if v == v.trunc() && v < 1e6 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_goal_is_missed_by_a_single_case() {
        let row = |sample: &[f64]| Row::of("P2", "calls", sample, Some(Goal::Exactly(2.0))).unwrap();
        assert_eq!(row(&[2.0, 2.0, 2.0]).pass, Some(true));
        assert_eq!(row(&[2.0, 2.0, 3.0]).pass, Some(false), "though its median is right");
    }

    #[test]
    fn a_missed_goal_is_said_in_the_table_and_in_its_last_line() {
        let mut report = Report::new(Machine::default());
        report.rows(Row::of("P1", "ratio", &[0.7, 0.8, 0.9], Some(Goal::AtLeast(0.85))));
        report.rows([Row::once("P6", "memory", 61.26, Some(Goal::AtMost(100.0))), Row::once("", "rate", 180.2, None)]);
        let text = report.text("bench grants");
        assert!(text.contains("MISSED") && text.contains("0.700 – 0.900") && text.contains("≥ 0.85"), "{text}");
        assert!(text.ends_with("1 goals met, 1 missed"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["rows"][0]["goal"], "≥ 0.85");
        assert_eq!(json["rows"][0]["pass"], false);
        assert_eq!(json["rows"][0]["spread"]["min"], 0.7);
        assert!(json["machine"].is_object());
    }
}
