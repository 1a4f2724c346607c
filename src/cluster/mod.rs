//! Kubernetes I/O: clients, caches fed by watches, the observation that a decision needs, and the only writer (`act`).
//!
//! Never decides. `controller` calls it.

pub mod act;
pub mod cache;
pub mod canary;
pub mod client;
pub mod clock;
pub mod counts;
pub mod error;
pub mod events;
pub mod guard;
pub mod identity;
pub mod lenient;
pub mod lists;
pub mod locks;
pub mod records;
pub mod roots;
pub mod watch;
pub mod world;

pub use cache::Cache;
pub use clock::Clock;
pub use error::ApiError;
pub use world::World;
