//! The main job: a pod asks with its own token, and gets exactly what a policy gives it.

mod delivery;
mod limits;
mod policies;
mod terms;
