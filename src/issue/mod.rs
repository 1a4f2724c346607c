//! Everything that touches keys.

pub mod x509;
