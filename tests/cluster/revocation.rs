//! Certificates that are taken back: what goes onto a revocation list, how the list is published and kept, and who refuses what is on it.

mod crl;
mod crl_kept;
mod crl_keys;
mod crl_nginx;
mod crl_policy;

pub use crl::{dated, revoke, served, with_list};
