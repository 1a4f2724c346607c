//! Which requests are no events: a client that repeats what it was just denied yields nothing and proves nothing. Bounded; per identity.

use crate::{detector::PodKey, time::Time};

/// Denials that are remembered; the oldest goes first, and what is not remembered counts.
const REMEMBERED: usize = 16;
/// How long a repeat does not count, in milliseconds.
const SPAN: i64 = 300_000;

/// The last denials of one identity.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Denials {
    last: [Option<(PodKey, u64, Time)>; REMEMBERED],
    next: usize,
}

impl Denials {
    /// A request of that pod for that class was denied. `class` is any number that tells classes apart. A repeat that was itself denied does
    /// not extend the time.
    pub fn denied(&mut self, pod: PodKey, class: u64, at: Time) {
        if !self.is_repeat(pod, class, at) {
            self.last[self.next] = Some((pod, class, at));
            self.next = (self.next + 1) % REMEMBERED;
        }
    }

    /// Whether a request repeats, within five minutes, what was denied. It is then no event for the detector, only for `limits.requests`.
    pub fn is_repeat(&self, pod: PodKey, class: u64, at: Time) -> bool {
        let near = |denied: Time| (0..=SPAN).contains(&(at.millis() - denied.millis()));
        self.last.iter().flatten().any(|(denied, of, when)| *denied == pod && *of == class && near(*when))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_counts_again_after_five_minutes_and_for_another_class_at_once() {
        let (pod, other) = (PodKey::of("a").unwrap(), PodKey::of("b").unwrap());
        let mut denials = Denials::default();
        let at = Time::from_seconds(1_000_000);
        denials.denied(pod, 1, at);
        assert!(denials.is_repeat(pod, 1, at.plus_millis(SPAN)));
        denials.denied(pod, 1, at.plus_millis(200_000));
        assert!(!denials.is_repeat(pod, 1, at.plus_millis(SPAN + 1)), "a repeat buys no more time");
        assert!(!denials.is_repeat(pod, 2, at) && !denials.is_repeat(other, 1, at));
        for class in 10..26 {
            denials.denied(other, class, at);
        }
        assert!(!denials.is_repeat(pod, 1, at.plus_millis(1)), "what is forgotten counts");
    }
}
