//! The pod's side: gets credentials for an application that knows nothing of custom resources, and gives them back.
//!
//! [`Place`] says where the pod is, [`ask`] makes one request, [`set`] writes files that switch together, [`Holder`] keeps one class's
//! credential in place with all of these, and [`Standing`] is what others see of it. Never reads a Secret, never decides; the commands
//! `agent`, `exec`, `request` and `open` call it, the operator does not.

pub mod ask;
pub mod child;
pub mod hand;
mod holder;
mod persist;
mod place;
pub mod private;
mod record;
pub mod set;
mod signal;
mod standing;
mod tell;
mod watch;

pub use holder::{Holder, Refusal};
pub use persist::persist;
pub use place::{Place, PlaceError, Session};
pub use record::{files, left_by_the_killed};
pub use signal::Signal;
pub use standing::{Live, Standing};
pub use tell::Tell;
