//! Abnormal request frequency: one identity's requests, judged online against what it usually asks, in constant memory, explainable in a
//! sentence. Pure: no I/O, no clock, no randomness, nothing of Kubernetes. The operator, `cargo xtask frequency score` and the benchmark
//! call it; docs/frequency.md is for those who read its alarms, docs/design/0015-frequency-detector.md says why it is as it is.
//!
//! ```
//! use daypass_frequency::{Detector, Event, Prior, Settings, Tier, Time};
//!
//! let mut detector = Detector::new(Time::from_seconds(1_795_000_000), Prior::Declared { rate: 6.0 });
//! for minute in 0..30 {
//!     detector.observe(Event { at: Time::from_seconds(1_795_003_600 + 20 * minute), pod: None });
//! }
//! let settings = Settings::default();
//! let score = detector.score(&settings);
//! assert!(score.tier >= Tier::Review, "three a minute where six an hour are normal");
//! println!("{}", detector.explain("payments/batch-a", &score, &settings));
//! ```
//!
//! # The formulas, and where they come from
//!
//! | what | formula | source |
//! |---|---|---|
//! | operational time | `u = ∫ λ(τ) G(τ) dτ`: a Poisson stream of any intensity is unit rate in it | Watanabe 1964; El Karoui, Loisel, Salhi 2017: CUSUM stays exactly optimal |
//! | evidence of bucket r | `n ln r + (a+n) ln((a+u)/(a+r u))` | Poisson–gamma conjugacy; Pérez-Ortiz et al. 2024 (invariant e-values) |
//! | reset | to nothing where the evidence is ≤ 0 | Page 1954 |
//! | leak, size of a bucket | `(r−1)/ln r` times the normal rate; `(h+c(r))/ln r` events | CUSUM written as a bucket |
//! | threshold | `h(Y) = ln(λ Y) + ln 4 + ln 2` | Lorden 1971; c(r) from the exact solution in `lab::theory` |
//! | clumps and level | `F = Σ(n−μ)²/Σμ` at 5 min, 1 h, 1 d | Fano 1947; Cox and Lewis 1966 |
//! | rate of an hour of the week | `(C+m)/(E+m/(λ p))` | gamma prior of m = 5 events |
//! | sessions | a pause longer than `clamp(0.15/λ, 30 s, 30 min)` | runs declustering (Smith and Weissman 1994) |
//! | who | candidate for the majority | Boyer and Moore 1981 |

mod anchor;
mod bank;
mod channel;
mod credit;
mod detector;
mod dispersion;
mod explain;
mod fleet;
mod hours;
#[cfg(any(test, feature = "lab"))]
pub mod lab;
#[cfg(test)]
mod laws;
mod log;
mod prior;
mod retry;
mod score;
mod settings;
mod small;
mod time;
mod wire;

pub use anchor::{Drift, Promotion};
pub use credit::{FEWEST_SIBLINGS, MOST_BY_PEERS, PEER_SPAN, peer_factor};
pub use detector::{Detector, Event, PodKey};
pub use explain::Explanation;
pub use fleet::Fleet;
pub use log::{Line, LineError, parse_line};
pub use prior::{FEWEST_PEERS, Peers, Prior, declared_rate};
pub use retry::Denials;
pub use score::{BucketView, Scope, Score, Stream};
pub use settings::{BLIND_DAYS, BUCKETS, LEARNING_DAYS, OFFSETS, RATIOS, Settings, Thresholds, Tier};
pub use time::Time;
pub use wire::{StateError, VERSION};
