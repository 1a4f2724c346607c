//! What the operator makes of its guard: it issues only while the guard stands without a gap, says so when it does not, never believes a
//! request from a gap, and denies nobody because of a restart or of an API server that gives no answer.

mod gap;
mod harm;
mod relay;
mod restart;
mod scene;
