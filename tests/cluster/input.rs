//! Bad input: refused with the part named, and never a credential.

mod classes;
mod csr;
mod expressions;
mod flood;
mod schema;
