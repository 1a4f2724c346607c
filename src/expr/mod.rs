//! CEL behind a fence: the only user of the `cel` crate.
