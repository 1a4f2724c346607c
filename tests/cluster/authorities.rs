//! Certificate authorities: managed, brought, missing, rotated.

mod brought;
mod managed;
mod roots;
mod unusable;

pub use roots::published;
