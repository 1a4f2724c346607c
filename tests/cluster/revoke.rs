//! `daypass revoke` on the real control plane: by each thing that it can be told, as people with rights of their own, against an API server
//! that does not always answer, and beside a pod that asks again. And the page about it, command by command.

mod faults;
mod outcome;
mod page;
mod rights;
mod selectors;
mod tokens;

use crate::{plugin::Person, pods::Said};

/// Runs `kubectl daypass revoke` with these arguments, a reason and --yes.
async fn revoke(person: &Person<'_>, args: &[&str]) -> Said {
    person.kubectl(&[&["daypass", "revoke", "--yes", "--reason", "key leaked", "--timeout", "90s"], args].concat()).await
}

/// The last line on standard output.
fn last(said: &Said) -> &str {
    said.out.lines().last().unwrap_or_default()
}
