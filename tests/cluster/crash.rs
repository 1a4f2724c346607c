//! The unmodified binary behind the fault proxy: killed before and after every write, and every reply lost.
