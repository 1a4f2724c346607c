//! X.509: certificate authorities, signing requests, certificate profiles.
//!
//! The way of a certificate: a class's templates and the stamped requester give [`Names`]; [`csr::parse`] gives a [`RequestedKey`] (or
//! [`generate_key`] does, for delivery in a Secret); the ledger fixes a [`Leaf`]; an [`Authority`] signs it, reads it again and releases
//! a [`Certificate`]. [`Managed`] is the life of an authority that the operator keeps itself. What was signed is taken back by a [`List`].
//!
//! No I/O, no clock, and random only where a key or a serial number is made. Called by the controller and by nobody else.

mod asking;
mod authority;
mod crl;
pub mod csr;
mod der;
mod key;
mod leaf;
mod managed;
mod material;
mod names;
pub(super) mod pem;
mod profile;
pub mod provenance;
mod retired;
mod root;
mod serial;
mod template;
#[cfg(test)]
mod tests;

pub use asking::{KeyRequest, belongs};
pub use authority::Authority;
pub use crl::{List, ListError, Revoked, list_good_until, list_pem};
pub use csr::CsrError;
pub use key::{KeyError, RequestedKey, generate_key};
pub use leaf::{Certificate, IssueError, Leaf};
pub use managed::{Lifetimes, Managed};
pub use material::{CaError, Material};
pub use names::{Names, NamesError, NamesProblem, check, names};
pub use pem::PemError;
pub use profile::Deviation;
pub use retired::{Public, keep_retired};
pub use root::generate_root;
pub use serial::{Serial, SerialError};
