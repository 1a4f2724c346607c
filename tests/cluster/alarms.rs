//! What people are told where they look when an end cannot be proven in time, or when the clocks differ.

mod clocks;
mod late;
