//! Tests that go through several files.
