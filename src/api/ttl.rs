//! Durations as people write them in manifests: `30s`, `15m`, `1h30m`.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration from 1 s to 24 h in the form `([0-9]{1,6}(s|m|h)){1,3}`.
///
/// The schema refuses anything else, but a value is parsed again on use: a schema can be edited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ttl(pub String);

/// Why a [`Ttl`] cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("duration {0:?} must be 1s to 24h, written like 30s, 15m or 1h30m")]
pub struct TtlError(pub String);

/// Longest duration that any field may hold.
pub const MAX: Duration = Duration::from_secs(24 * 3600);

impl Ttl {
    /// A TTL of whole seconds.
    pub fn from_secs(seconds: u64) -> Self {
        Self(format!("{seconds}s"))
    }

    /// The duration in whole seconds, 1 s to 24 h.
    pub fn parse(&self) -> Result<Duration, TtlError> {
        let error = || TtlError(self.0.chars().take(32).collect());
        let (mut total, mut digits, mut parts) = (0u64, String::new(), 0);
        for c in self.0.chars() {
            let unit = match c {
                '0'..='9' if digits.len() < 6 => {
                    digits.push(c);
                    continue;
                }
                's' => 1,
                'm' => 60,
                'h' => 3600,
                _ => return Err(error()),
            };
            let count: u64 = digits.parse().map_err(|_| error())?;
            total += count * unit;
            parts += 1;
            digits.clear();
        }
        let duration = Duration::from_secs(total);
        if !digits.is_empty() || parts > 3 || duration.is_zero() || duration > MAX {
            return Err(error());
        }
        Ok(duration)
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Ttl {
    fn schema_name() -> Cow<'static, str> {
        "Ttl".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 2,
            "maxLength": 21,
            "pattern": "^([0-9]{1,6}(s|m|h)){1,3}$",
            "x-kubernetes-validations": [{
                "rule": "duration(self) >= duration('1s') && duration(self) <= duration('24h')",
                "message": "must be 1s to 24h, written like 30s, 15m or 1h30m",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, seconds) in [("1s", 1), ("15m", 900), ("1h30m", 5400), ("24h", 86400), ("1h1m1s", 3661)] {
            assert_eq!(Ttl(text.into()).parse(), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn refuses_what_the_schema_refuses() {
        for text in ["", "0s", "-1s", "15", "m", "25h", "1d", "1h1m1s1s", "1.5h", "9999999s", "1s ", "١s"] {
            assert!(Ttl(text.into()).parse().is_err(), "{text:?}");
        }
    }
}
