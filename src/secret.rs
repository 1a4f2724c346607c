//! `Secret<T>`: the one wrapper for bytes that must never be printed.
//!
//! Whoever holds key material, a token or a password holds it in here. The wrapper has no `Display` and no `Serialize`, its `Debug` says
//! `[redacted]`, its bytes are wiped when it goes, and [`Secret::expose`] is the only way in: grep for it to see every place that looks.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// A value that is never printed and is wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes charge of a value.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself. Never pass it to anything that formats or logs.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_printed_however_deep_it_lies() {
        let nested = Some(vec![(1, Secret::new("hunter2".to_owned()))]);
        for text in [format!("{nested:?}"), format!("{nested:#?}")] {
            assert!(text.contains("[redacted]") && !text.contains("hunter2"), "{text}");
        }
    }
}
