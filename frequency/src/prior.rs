//! What is believed of an identity before anything of it was seen: what its peers do, what was declared, or nothing.

use crate::{detector::Detector, small::Ratio, time::CELLS};

/// Where a first belief comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Prior {
    /// Nothing is known: learning starts at one event an hour with the weight of one, and for 14 days nothing but the review tier is reached.
    Unknown,
    /// Somebody declared so many events an hour, or they follow from replicas and lifetimes ([`declared_rate`]).
    Declared {
        /// Events an hour, above 0.
        rate: f64,
    },
    /// Identities of the same policy.
    Peers(Peers),
}

/// What the peers of an identity have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peers {
    /// Median events an hour.
    pub rate: f64,
    /// Median session starts an hour.
    pub sessions: f64,
    /// Rate of each cell of the week over the mean, of requests and of session starts.
    pub(crate) cells: [[Ratio; CELLS]; 2],
    /// Median F by scale, of requests and of session starts.
    pub(crate) clump: [[f64; 3]; 2],
}

/// Pseudo-events of a prior that somebody vouches for.
const WEIGHT: f64 = 8.0;
/// Fewer peers than this are no peers.
pub const FEWEST_PEERS: usize = 5;

/// `λ = replicas / (ρ · TTL)`: events an hour of so many replicas that renew at the share ρ of a lifetime in hours. `None` if that is no rate.
pub fn declared_rate(replicas: u32, renewal_share: f64, ttl_hours: f64) -> Option<f64> {
    let rate = f64::from(replicas) / (renewal_share * ttl_hours);
    (rate.is_finite() && rate > 0.0).then_some(rate)
}

impl Peers {
    /// What approved peers have in common: medians, so that no one of them decides. `None` of fewer than [`FEWEST_PEERS`].
    pub fn of<'a>(peers: impl IntoIterator<Item = &'a Detector>) -> Option<Self> {
        let peers: Vec<&Detector> = peers.into_iter().filter(|peer| peer.is_anchored()).collect();
        if peers.len() < FEWEST_PEERS {
            return None;
        }
        let by = |value: &dyn Fn(&Detector) -> f64| median(peers.iter().map(|peer| value(peer)).collect());
        let references = |peer: &Detector| [peer.raw.reference, peer.sessions.reference];
        Some(Self {
            rate: by(&|peer| f64::from(peer.raw.reference.rate)),
            sessions: by(&|peer| f64::from(peer.sessions.reference.rate)),
            cells: std::array::from_fn(|channel| {
                std::array::from_fn(|cell| Ratio::new(by(&|peer| references(peer)[channel].cells[cell].get())))
            }),
            clump: std::array::from_fn(|channel| {
                std::array::from_fn(|scale| by(&|peer| references(peer)[channel].clump[scale].get().max(1.0)))
            }),
        })
    }
}

/// What a prior comes to: rates of requests and sessions, weight in events, week, and dispersion.
pub(crate) struct Belief {
    pub rate: f64,
    pub sessions: f64,
    pub weight: f64,
    pub cells: [[Ratio; CELLS]; 2],
    pub clump: [Option<[f64; 3]>; 2],
}

impl From<Prior> for Belief {
    fn from(prior: Prior) -> Self {
        let even = [[Ratio::default(); CELLS]; 2];
        let sound = |rate: f64| if rate.is_finite() && rate > 0.0 { rate.clamp(1e-3, 1e6) } else { 1.0 };
        match prior {
            Prior::Unknown => Self { rate: 1.0, sessions: 1.0, weight: 1.0, cells: even, clump: [None; 2] },
            Prior::Declared { rate } => Self { rate: sound(rate), sessions: sound(rate), weight: WEIGHT, cells: even, clump: [None; 2] },
            Prior::Peers(peers) => Self {
                rate: sound(peers.rate),
                sessions: sound(peers.sessions),
                weight: WEIGHT,
                cells: peers.cells,
                clump: peers.clump.map(Some),
            },
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[half],
        _ => (values[half - 1] + values[half]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_becomes_a_rate_or_nothing() {
        assert_eq!(declared_rate(4, 0.5, 2.0), Some(4.0));
        assert_eq!(declared_rate(0, 0.67, 1.0), None);
        assert_eq!(declared_rate(4, 0.0, 1.0), None);
        assert_eq!(declared_rate(4, f64::NAN, 1.0), None);
    }

    #[test]
    fn a_declared_rate_that_is_none_is_taken_for_one_an_hour() {
        for rate in [f64::NAN, -3.0, 0.0, f64::INFINITY] {
            assert_eq!(Belief::from(Prior::Declared { rate }).rate, 1.0);
        }
    }
}
