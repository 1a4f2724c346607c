//! Everything that touches keys.

pub mod seal;
pub mod x509;
