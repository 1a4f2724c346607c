//! `daypass crds`: the CustomResourceDefinitions, for `kubectl apply -f -`.

use std::{io::Write, process::ExitCode};

use crate::api;

/// Prints them, one YAML document each.
pub fn print() -> ExitCode {
    let mut out = std::io::stdout().lock();
    for crd in api::crds() {
        let text = match serde_saphyr::to_string(&crd) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("daypass: {error}");
                return ExitCode::FAILURE;
            }
        };
        // A reader that closed the pipe has seen what it wanted.
        if writeln!(out, "---\n{}", text.trim_end()).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}
