//! A narrated tour: steps with a check mark and a time each, a last line that counts them, and the same as JSON.

use std::{path::Path, time::Instant};

use serde::Serialize;

/// What came of one step.
#[derive(Debug, Serialize)]
pub struct Step {
    name: String,
    ok: bool,
    seconds: f64,
    detail: String,
}

/// The steps so far.
#[derive(Debug, Default, Serialize)]
pub struct Tour {
    steps: Vec<Step>,
}

impl Tour {
    /// One step: its work says what it found, or what differs from what the step promises. `None` after a failure.
    pub async fn step<T>(&mut self, name: &str, work: impl Future<Output = Result<(T, String), String>>) -> Option<T> {
        let begun = Instant::now();
        let result = work.await;
        let seconds = begun.elapsed().as_secs_f64();
        let (ok, detail, found) = match result {
            Ok((found, detail)) => (true, detail, Some(found)),
            Err(problem) => (false, problem, None),
        };
        println!("{} {name}  ({seconds:.1} s)", if ok { "✓" } else { "✗" });
        for line in detail.lines() {
            println!("    {line}");
        }
        self.steps.push(Step { name: name.to_owned(), ok, seconds, detail });
        found
    }

    /// How many steps failed.
    pub fn failed(&self) -> usize {
        self.steps.iter().filter(|step| !step.ok).count()
    }

    /// The last line.
    pub fn summary(&self, title: &str) -> String {
        format!("{title}: {} passed, {} failed", self.steps.len() - self.failed(), self.failed())
    }

    /// Writes the steps as JSON.
    pub fn write(&self, file: &Path) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        std::fs::write(file, text + "\n").map_err(|error| format!("cannot write {}: {error}", file.display()))
    }
}
