//! What a person sees while they wait: one line that changes on a terminal, a line for each thing that happens anywhere else. All of it on
//! standard error; standard output is for what came of it.

use std::io::{BufRead, IsTerminal, Write};

use super::tally::Tally;

/// Erases the line that the cursor is in.
const ERASE: &str = "\r\x1b[K";

/// Tells progress.
pub struct Teller {
    terminal: bool,
    shown: bool,
}

impl Teller {
    /// To standard error, whatever that is.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), shown: false }
    }

    /// Something happened to one of many: left out on a terminal, where the counts tell it.
    pub fn happened(&mut self, line: &str) {
        if !self.terminal {
            eprintln!("{line}");
        }
    }

    /// Something that everybody has to know.
    pub fn note(&mut self, line: &str) {
        self.clear();
        eprintln!("{line}");
    }

    /// How things stand.
    pub fn stand(&mut self, tally: &Tally) {
        if self.terminal {
            eprint!("{ERASE}{tally}");
            let _ = std::io::stderr().flush();
            self.shown = true;
        }
    }

    /// Takes the changing line away: what comes next is the last.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("{ERASE}");
        }
    }
}

/// Asks a person a question that is answered with yes or no. `Err` where there is nobody to ask.
pub fn confirmed(question: &str) -> Result<bool, String> {
    if !std::io::stdin().is_terminal() {
        return Err("standard input is not a terminal, so nobody can be asked: look with --dry-run, then give --yes".into());
    }
    eprint!("{question}");
    let _ = std::io::stderr().flush();
    Ok(is_yes(&mut std::io::stdin().lock()))
}

fn is_yes(answers: &mut impl BufRead) -> bool {
    let mut answer = String::new();
    answers.read_line(&mut answer).is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, yes) in
            [("y\n", true), ("YES\n", true), ("yes", true), ("\n", false), ("", false), ("no\n", false), ("yellow\n", false)]
        {
            assert_eq!(is_yes(&mut answer.as_bytes()), yes, "{answer:?}");
        }
    }
}
