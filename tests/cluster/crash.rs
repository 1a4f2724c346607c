//! The unmodified binary behind the fault proxy: killed before and after every write, every reply lost, every write refused, everything that
//! a grant rests on taken away between any two writes, the API server away, two operators at once. Of tokens every one that was ever minted is
//! known, whoever heard of it.
//!
//! What the operator writes is not listed here: each test first watches undisturbed lives through the proxy and takes their writes for its
//! points. An auditor that shares nothing with the operator looks all the time and at the end.

mod arming;
mod auditing;
mod kills;
mod listing;
mod lives;
mod logins;
mod outage;
mod replies;
mod rig;
mod rounds;
mod tokens;
mod twins;
mod vanishing;

pub use rig::deliver_secrets_into;
