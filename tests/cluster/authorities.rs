//! Certificate authorities: managed, brought, missing, rotated.

mod brought;
mod managed;
mod roots;
mod roots_kept;
mod unusable;

pub use managed::{as_operator, edited};
pub use roots::{list_signer, published};
