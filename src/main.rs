//! daypass
fn main() {}
