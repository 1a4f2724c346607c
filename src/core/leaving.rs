//! What a drain tells of the leases that are still open. Pure; `controller::leaving` is the only caller.

use jiff::Timestamp;

/// How an open lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It is about to be ended, or what it delivered is about to be taken back.
    Ending,
    /// Everything that can be taken back is: the credential lives until then.
    Until(Timestamp),
}

/// `5 leases are open: 2 are being ended, 3 credentials live until 2026-03-01T12:10:00Z at most`.
pub fn progress(open: &[Open]) -> String {
    let dates: Vec<Timestamp> = open.iter().filter_map(|open| if let Open::Until(date) = open { Some(*date) } else { None }).collect();
    let ending = open.len() - dates.len();
    let mut parts = Vec::new();
    if ending > 0 {
        parts.push(format!("{} being ended", counted(ending, "is", "are")));
    }
    if let Some(last) = dates.iter().max() {
        parts.push(format!("{} until {last:.0} at most", counted(dates.len(), "credential lives", "credentials live")));
    }
    format!("{} open: {}", counted(open.len(), "lease is", "leases are"), parts.join(", "))
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_told_how_many_and_until_when() {
        let at = |time: &str| Open::Until(format!("2026-03-01T{time}Z").parse().unwrap());
        assert_eq!(progress(&[Open::Ending, Open::Ending]), "2 leases are open: 2 are being ended");
        assert_eq!(progress(&[at("12:10:00")]), "1 lease is open: 1 credential lives until 2026-03-01T12:10:00Z at most");
        assert_eq!(
            progress(&[at("12:10:00"), Open::Ending, at("12:11:00")]),
            "3 leases are open: 1 is being ended, 2 credentials live until 2026-03-01T12:11:00Z at most"
        );
    }
}
