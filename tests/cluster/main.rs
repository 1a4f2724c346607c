//! Everything that only a real control plane can judge. One target, so that it is linked once; one module an area.
//!
//! Behaviour tests share one control plane and one operator and keep apart by namespace ([`support::shared`]). Tests that break things
//! (the guard, processes, the network) take a control plane of their own ([`support::private`]), at most two at a time.
#![allow(clippy::disallowed_methods, reason = "tests play people, pods, kubelets and thieves, and wait for things with a clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails by panicking")]

mod judges;
mod page;
mod scene;
mod support;

mod alarms;
mod authorities;
mod canaries;
mod continuity;
mod crash;
mod ends;
mod grants;
mod guard;
mod input;
mod install;
mod kinds;
mod leaving;
mod locks;
mod plugin;
mod pods;
mod postgres;
mod recipes;
mod revocation;
mod revoke;
mod sealing;
mod tokens;
