//! Completes `kubectl daypass`: kubectl starts this program as `kubectl_complete-daypass` with the words behind `daypass`, the last of which
//! is being typed, and reads a candidate a line, its description behind a tab, and a last line with a colon and a number that says what the
//! shell is to do besides (cobra's ShellCompDirective).
//!
//! Reads names of objects from the cluster where one is asked for, and gives up on that after a second.

mod names;
mod words;

use std::{ffi::OsString, io::Write, process::ExitCode};

use clap::Command;
use words::{Candidate, Next, read};

use crate::core::explain::plain;

/// Let the shell complete paths as well.
const FILES: u8 = 0;
/// Do not: these candidates are all there are.
const NO_FILES: u8 = 4;
/// Let the shell complete directories.
const DIRECTORIES: u8 = 16;

/// Prints what may follow. There is no exit code for a completion that cannot be made: it has no candidates.
pub fn answer(mut command: Command, words: &[OsString]) -> ExitCode {
    command.build();
    let words: Vec<String> = words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let read = read(&command, &words);
    let (candidates, directive) = match read.next {
        Next::OneOf(candidates) => (candidates, NO_FILES),
        Next::File => (vec![], FILES),
        Next::Directory => (vec![], DIRECTORIES),
        Next::ValueOf { argument, typed } => (names::of(&argument, &typed, &read.given), NO_FILES),
    };
    let _ = std::io::stdout().lock().write_all(protocol(&candidates, directive).as_bytes());
    ExitCode::SUCCESS
}

fn protocol(candidates: &[Candidate], directive: u8) -> String {
    let line = |candidate: &Candidate| match candidate.about.as_str() {
        "" => format!("{}\n", plain(&candidate.text)),
        about => format!("{}\t{}\n", plain(&candidate.text), plain(about)),
    };
    candidates.iter().map(line).chain([format!(":{directive}\n")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_is_a_line_and_the_last_line_is_the_directive() {
        let candidate = |text: &str, about: &str| Candidate { text: text.into(), about: about.into() };
        assert_eq!(protocol(&[candidate("get", "List requests"), candidate("x\n:0", "")], NO_FILES), "get\tList requests\nx :0\n:4\n");
        assert_eq!(protocol(&[], FILES), ":0\n");
    }
}
