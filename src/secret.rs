//! `Secret<T>`: the one wrapper for bytes that must never be printed.
