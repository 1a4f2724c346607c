//! Exit codes of the commands that pods and people run, so that scripts and pipelines can tell what to do. Where there is a convention it is
//! that of BSD's `sysexits.h`; `exec` adds those of shells.

use std::process::ExitCode;

use crate::pod::{PlaceError, Refusal, ask::AskError, child::SpawnError};

/// Done.
pub const DONE: u8 = 0;
/// Something failed that no other code names.
pub const FAILED: u8 = 1;
/// Wrong use of the command line (clap's).
pub const USAGE: u8 = 2;
/// `EX_UNAVAILABLE`: the API server does not answer, or knows no AccessRequest.
pub const UNAVAILABLE: u8 = 69;
/// `EX_CANTCREAT`: the files cannot be written.
pub const CANNOT_WRITE: u8 = 73;
/// `EX_TEMPFAIL`: no answer in time, a denial or a full quota that time may cure, or credentials that still live: trying again makes sense.
pub const TRY_AGAIN: u8 = 75;
/// `EX_NOPERM`: denied.
pub const DENIED: u8 = 77;
/// `EX_CONFIG`: this is no pod, or its token or CA bundle is missing.
pub const NO_POD: u8 = 78;
/// The command of `exec` cannot be started.
pub const NOT_STARTED: u8 = 126;
/// The command of `exec` is not there.
pub const NOT_FOUND: u8 = 127;
/// Ended by a signal: this and its number.
pub const SIGNALLED: u8 = 128;

/// What a refusal exits with.
pub fn of_refusal(refusal: &Refusal) -> u8 {
    match refusal {
        Refusal::Denied(denied) if denied.retry_after.is_some() => TRY_AGAIN,
        Refusal::Denied(_) => DENIED,
        Refusal::Files(_) => CANNOT_WRITE,
        Refusal::Asking(AskError::Place(PlaceError::Client(_))) | Refusal::Asking(AskError::Away(_)) => UNAVAILABLE,
        Refusal::Asking(AskError::Place(_)) => NO_POD,
        Refusal::Asking(AskError::Refused(_) | AskError::Invalid(_)) => DENIED,
        Refusal::Asking(AskError::Quota(_) | AskError::Unanswered { .. } | AskError::Lost { .. }) => TRY_AGAIN,
        Refusal::Asking(AskError::Unusable { .. } | AskError::Key(_)) => FAILED,
    }
}

/// What a command that did not start exits with.
pub fn of_spawn(error: &SpawnError) -> u8 {
    match error {
        SpawnError::NotFound(_) => NOT_FOUND,
        SpawnError::NotStarted(..) => NOT_STARTED,
    }
}

/// Says what is wrong and exits with this code.
pub fn with(code: u8, command: &str, problem: impl std::fmt::Display) -> ExitCode {
    eprintln!("daypass {command}: {problem}");
    ExitCode::from(code)
}
