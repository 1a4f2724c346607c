//! How many are dead, how many are waited for and why, how many failed: the last line, and the exit code that goes with it. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    super::exit,
    held::{Held, Kind, Standing},
};

/// Counts of everything that was meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Credentials that are proven dead.
    pub proven_dead: usize,
    /// Those that are not, and may still come to be.
    pub waiting: usize,
    /// Those whose end cannot be asked for, or is not known.
    pub failed: usize,
    /// Of the failed: those that a missing right stands in the way of.
    #[serde(skip)]
    forbidden: usize,
    /// Why the waiting are waited for, each with its count.
    #[serde(skip)]
    why: Vec<String>,
}

impl Tally {
    /// Counts.
    pub fn of<'h>(held: impl Iterator<Item = &'h Held>) -> Self {
        let (mut tally, mut asked) = (Self::default(), 0);
        let mut ending = BTreeMap::<(bool, Kind), (usize, Timestamp)>::new();
        let mut open = BTreeMap::<&str, usize>::new();
        for held in held {
            match &held.standing {
                Standing::Dead { .. } => tally.proven_dead += 1,
                Standing::Failed { forbidden, .. } => {
                    tally.failed += 1;
                    tally.forbidden += usize::from(*forbidden);
                }
                Standing::Ending => {
                    let (count, last) = ending.entry((held.expiry_only, held.kind)).or_insert((0, Timestamp::MIN));
                    (*count, *last) = (*count + 1, held.valid_until.max(*last));
                }
                Standing::Asked => asked += 1,
                Standing::Open { message } => *open.entry(message.as_deref().unwrap_or_default()).or_default() += 1,
            }
        }
        tally.waiting = ending.values().map(|(count, _)| count).sum::<usize>() + asked + open.values().sum::<usize>();
        for ((expiry_only, kind), (count, last)) in ending {
            let kind = plural(count, kind.as_str());
            tally.why.push(match expiry_only {
                true => format!("{count} ExpiryOnly {kind} valid until {last:.0}"),
                false => format!("{count} {kind} taken back, until it is proven that every API server refuses"),
            });
        }
        if asked > 0 {
            tally.why.push(format!("{asked} asked for, which the operator has not begun to end: is it running?"));
        }
        for (message, count) in open {
            tally.why.push(if message.is_empty() {
                format!("{count} not asked for yet")
            } else {
                format!("{count} could not be asked for yet: {message}")
            });
        }
        tally
    }

    /// What a script decides by: 0 exactly if every one is proven dead.
    pub fn code(&self) -> u8 {
        match self {
            Self { failed: 0, waiting: 0, .. } => exit::DONE,
            Self { forbidden: 1.., .. } => exit::DENIED,
            Self { failed: 1.., .. } => exit::FAILED,
            _ => exit::TRY_AGAIN,
        }
    }
}

/// The last line.
impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} proven dead, {} still waiting", self.proven_dead, self.waiting)?;
        if !self.why.is_empty() {
            write!(f, " ({})", self.why.join("; "))?;
        }
        write!(f, ", {} failed", self.failed)
    }
}

/// `one certificate`, `two certificates`.
pub fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::*, *};

    fn told(held: &[Held]) -> (String, u8) {
        let tally = Tally::of(held.iter());
        assert_eq!(tally.proven_dead + tally.waiting + tally.failed, held.len());
        (tally.to_string(), tally.code())
    }

    fn failed(forbidden: bool) -> Held {
        Held { standing: Standing::Failed { message: "no".into(), forbidden }, ..Held::of(&lease("l")) }
    }

    #[test]
    fn zero_is_said_only_when_every_one_is_proven_dead() {
        let dead = Held::of(&closed("l"));
        assert_eq!(told(&[]), ("0 proven dead, 0 still waiting, 0 failed".into(), exit::DONE));
        assert_eq!(told(&[dead.clone(), dead.clone()]), ("2 proven dead, 0 still waiting, 0 failed".into(), exit::DONE));
        for other in [lease("l"), asked("l"), revoking("l")] {
            assert_eq!(told(&[dead.clone(), Held::of(&other)]).1, exit::TRY_AGAIN);
        }
        assert_eq!(told(&[dead.clone(), failed(false), Held::of(&revoking("l"))]).1, exit::FAILED);
        assert_eq!(told(&[dead, failed(false), failed(true)]), ("1 proven dead, 0 still waiting, 2 failed".into(), exit::DENIED));
    }

    #[test]
    fn whoever_waits_is_told_for_what_and_until_when() {
        let later = Held { valid_until: at("12:14:59"), ..Held::of(&revoking("l")) };
        let line = told(&[Held::of(&revoking("l")), later, Held::of(&closed("l"))]).0;
        assert_eq!(line, "1 proven dead, 2 still waiting (2 ExpiryOnly certificates valid until 2026-03-01T12:14:59Z), 0 failed");

        let token = Held { kind: Kind::Token, expiry_only: false, ..Held::of(&revoking("l")) };
        let why = "1 token taken back, until it is proven that every API server refuses";
        assert_eq!(told(&[token]).0, format!("0 proven dead, 1 still waiting ({why}), 0 failed"));

        let busy = Held { standing: Standing::Open { message: Some("busy".into()) }, ..Held::of(&lease("l")) };
        let line = told(&[Held::of(&lease("l")), busy, Held::of(&asked("l"))]).0;
        let why =
            "1 asked for, which the operator has not begun to end: is it running?; 1 not asked for yet; 1 could not be asked for yet: busy";
        assert_eq!(line, format!("0 proven dead, 3 still waiting ({why}), 0 failed"));
    }
}
