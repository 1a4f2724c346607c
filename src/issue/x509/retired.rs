//! Roots that nothing is signed under any more and that verifiers go on trusting until the last certificate under them is over.

use jiff::Timestamp;

use super::{
    material::{CaError, certificates},
    pem,
};

const UNTIL: &str = "retired-until: ";
const END: &str = "-----END CERTIFICATE-----";
const PART: &str = "retired.pem";

/// One such root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Retired {
    /// In PEM.
    pub certificate: String,
    /// Trusted until then.
    pub until: Timestamp,
}

/// The roots as they are stored: each below the line that says until when.
pub(super) fn parse(mut text: &str) -> Result<Vec<Retired>, CaError> {
    let mut retired = Vec::new();
    while !text.trim().is_empty() {
        let entry = text.trim_start().strip_prefix(UNTIL).and_then(|rest| rest.split_once('\n'));
        let (until, rest) = entry.ok_or(CaError::Unreadable(PART))?;
        let (certificate, after) = rest.split_at(rest.find(END).ok_or(CaError::Unreadable(PART))? + END.len());
        retired.push(Retired {
            certificate: pem::encode_certificates(&certificates(certificate, PART)?),
            until: until.trim().parse().map_err(|_| CaError::Unreadable(PART))?,
        });
        text = after;
    }
    Ok(retired)
}

/// As they are stored.
pub(super) fn write(retired: &[Retired]) -> String {
    retired.iter().map(|root| format!("{UNTIL}{}\n{}", root.until, root.certificate)).collect()
}

/// What is published for an authority whose owner may replace it at any moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public {
    /// Every root to trust, in PEM.
    pub pem: String,
    /// Those of them that are retired, as they are stored.
    pub retired: String,
    /// When the next of them may be dropped.
    pub due: Option<Timestamp>,
}

/// What to publish, where `present` are the roots of now and the rest is what is public: roots that are not among the present ones any
/// more stay until `until`, or until the date that was set when they were retired.
pub fn keep_retired(public: &str, retired: &str, present: &str, now: Timestamp, until: Timestamp) -> Result<Public, CaError> {
    let each = |text: &str, part| -> Result<Vec<String>, CaError> {
        if text.trim().is_empty() {
            return Ok(vec![]);
        }
        Ok(certificates(text, part)?.iter().map(|certificate| pem::encode_certificates([certificate])).collect())
    };
    let present = each(present, "ca.crt")?;
    // What cannot be read there was not written by us, and retires nothing.
    let mut kept = parse(retired).unwrap_or_default();
    for root in each(public, "daypass-roots").unwrap_or_default() {
        if !kept.iter().any(|known| known.certificate == root) {
            kept.push(Retired { certificate: root, until });
        }
    }
    kept.retain(|root| root.until > now && !present.contains(&root.certificate));
    let pem = present.iter().chain(kept.iter().map(|root| &root.certificate)).map(String::as_str).collect();
    Ok(Public { pem, retired: write(&kept), due: kept.iter().map(|root| root.until).min() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue::x509::generate_root;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn root(name: &str) -> String {
        generate_root(name, at(-100), at(100_000)).unwrap().certificate
    }

    #[test]
    fn a_root_that_was_replaced_stays_until_its_last_leaf_is_over_and_then_goes() {
        let (old, new) = (root("old"), root("new"));
        let first = keep_retired("", "", &old, at(0), at(1000)).unwrap();
        assert_eq!((first.pem.as_str(), first.due), (old.as_str(), None));
        let replaced = keep_retired(&first.pem, &first.retired, &new, at(10), at(1010)).unwrap();
        assert_eq!((replaced.pem.clone(), replaced.due), (format!("{new}{old}"), Some(at(1010))));
        let later = keep_retired(&replaced.pem, &replaced.retired, &new, at(500), at(1500)).unwrap();
        assert_eq!(later, replaced, "its date does not move");
        let over = keep_retired(&later.pem, &later.retired, &new, at(1010), at(2010)).unwrap();
        assert_eq!((over.pem, over.retired.as_str(), over.due), (new, "", None));
    }

    #[test]
    fn a_root_that_comes_back_is_not_retired_any_more() {
        let (old, new) = (root("old"), root("new"));
        let replaced = keep_retired(&old, "", &new, at(0), at(1000)).unwrap();
        let back = keep_retired(&replaced.pem, &replaced.retired, &old, at(1), at(1001)).unwrap();
        assert_eq!(back.pem, format!("{old}{new}"));
    }
}
