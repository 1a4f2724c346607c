//! X.509: certificate authorities, signing requests, certificate profiles.

mod names;
mod template;

pub use names::{Names, NamesError, NamesProblem, check, names};
