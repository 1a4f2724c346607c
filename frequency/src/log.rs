//! One line of a log: `identity,unix_seconds[,pod_uid]`. Parses, and says what is wrong with what it cannot parse. Opens no file.

use crate::time::Time;

/// One request, as a line says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Who asked: anything but a comma.
    pub identity: &'a str,
    /// When.
    pub at: Time,
    /// The pod's UID; empty if unknown.
    pub pod: &'a str,
}

/// What is wrong with a line, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Not two or three fields.
    #[error("{0} field(s): write identity,unix_seconds or identity,unix_seconds,pod_uid")]
    Fields(usize),
    /// Nobody asked.
    #[error("field identity is empty: write namespace/name or anything else that tells identities apart")]
    Identity,
    /// No identity is that long.
    #[error("field identity has {0} bytes: at most 512")]
    IdentityLength(usize),
    /// The time is no number.
    #[error("field unix_seconds is {0:?}, which is no number: write seconds since 1970, such as 1795831260 or 1795831260.25")]
    NoNumber(String),
    /// The time is one in milliseconds or finer.
    #[error("field unix_seconds is {0}: that looks like {1}; divide by {2}")]
    Unit(String, &'static str, &'static str),
    /// The time is outside of what there is.
    #[error("field unix_seconds is {0}: it must lie between 0 and {last} (the year 2106)", last = u32::MAX)]
    Range(String),
}

/// Reads a line without its line ending; white space and double quotes around fields do not count.
pub fn parse_line(line: &str) -> Result<Line<'_>, LineError> {
    let mut fields = line.split(',');
    let (Some(identity), Some(time)) = (fields.next().map(bare), fields.next().map(bare)) else {
        return Err(LineError::Fields(1));
    };
    let pod = fields.next().map_or("", bare);
    let more = fields.count();
    if more > 0 {
        return Err(LineError::Fields(3 + more));
    }
    if identity.is_empty() {
        return Err(LineError::Identity);
    }
    if identity.len() > 512 {
        return Err(LineError::IdentityLength(identity.len()));
    }
    Ok(Line { identity, at: moment(time)?, pod })
}

fn bare(field: &str) -> &str {
    let field = field.trim();
    field.strip_prefix('"').and_then(|field| field.strip_suffix('"')).unwrap_or(field)
}

fn moment(text: &str) -> Result<Time, LineError> {
    let number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let seconds = text.parse::<f64>().ok().filter(|seconds| number && seconds.is_finite());
    let seconds = seconds.ok_or_else(|| LineError::NoNumber(shortened(text)))?;
    Time::from_seconds_f64(seconds).ok_or_else(|| match seconds {
        1e11..1e14 => LineError::Unit(shortened(text), "milliseconds", "1000"),
        1e14..1e17 => LineError::Unit(shortened(text), "microseconds", "1000000"),
        1e17..1e20 => LineError::Unit(shortened(text), "nanoseconds", "1000000000"),
        _ => LineError::Range(shortened(text)),
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_logs_write_them() {
        let line = |identity, millis, pod| Ok(Line { identity, at: Time::from_millis(millis), pod });
        assert_eq!(parse_line("shop/api,1795831260"), line("shop/api", 1_795_831_260_000, ""));
        assert_eq!(parse_line("shop/api,1795831260.25,"), line("shop/api", 1_795_831_260_250, ""));
        assert_eq!(parse_line(" shop/api , 1795831260 , 2f-9 \r"), line("shop/api", 1_795_831_260_000, "2f-9"));
        assert_eq!(parse_line("\"shop/api\",\"1795831260\",\"2f\""), line("shop/api", 1_795_831_260_000, "2f"));
        assert_eq!(parse_line("a,1.795831260e9"), line("a", 1_795_831_260_000, ""));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (line, expected) in [
            ("", "1 field(s)"),
            ("a", "write identity,unix_seconds"),
            ("a,1,b,c", "4 field(s)"),
            (",1795831260", "identity is empty"),
            ("a,now", "\"now\", which is no number"),
            ("a,", "\"\", which is no number"),
            ("a,inf", "no number"),
            ("a,NaN", "no number"),
            ("a,1795831260123", "milliseconds; divide by 1000"),
            ("a,1795831260123456", "microseconds; divide by 1000000"),
            ("a,1795831260123456789", "nanoseconds"),
            ("a,-5", "between 0 and"),
            ("a,9e10", "between 0 and"),
            ("a,2026-11-28T02:01:00Z", "seconds since 1970"),
        ] {
            let error = parse_line(line).unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
