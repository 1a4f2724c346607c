//! Laws of the whole detector: what holds for all input, and what legitimate and stolen traffic come to. Each defence has a test here that
//! fails without it.

mod input;
mod restart;
mod strangers;
mod traffic;

use crate::{Detector, Event, PodKey, Time, lab};

/// A detector that has learned 28 days at an even `rate` an hour, and is anchored.
fn learned(rate: f64) -> Detector {
    let mut detector = Detector::new(lab::at(0.0), crate::Prior::Declared { rate });
    let count = (rate * 672.0) as usize;
    for n in 0..count {
        detector.observe(event(n as f64 / rate + 0.5 * (n % 7) as f64 / rate / 7.0));
    }
    detector.advance(lab::at(672.0));
    detector.approve();
    detector
}

fn event(hours: f64) -> Event {
    Event { at: lab::at(hours), pod: PodKey::of("a") }
}

fn hours_later(detector: &Detector, hours: f64) -> Time {
    detector.now().plus_hours(hours)
}
