//! What the detector is measured with: the exact theory, seeded traffic, the detectors that it is compared with, and trials that join them.
//! For tests and `cargo xtask bench frequency`; nothing that runs in a cluster is built with it.

pub mod random;
pub mod rivals;
pub mod theory;
pub mod traffic;
pub mod trial;

/// Monday, 5 January 2026, 00:00 UTC, in seconds since 1970: hour 0 of all traffic here.
pub const MONDAY: i64 = 1_767_571_200;

/// The moment so many hours after [`MONDAY`].
pub fn at(hours: f64) -> crate::Time {
    crate::Time::from_seconds(MONDAY).plus_hours(hours)
}
