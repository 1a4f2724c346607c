//! The exact mean time to an alarm of one bucket with a known rate: what no detector that looks at frequency alone can beat.
//!
//! In operational time the CUSUM of a Poisson stream is reflected from `Z = (r−1) u − N ln r`, a spectrally negative Lévy process with drift
//! `c = r − 1` and jumps `a = ln r` at rate ρ (1: normal, x: under an attack of x times the normal). With its scale function W,
//! `E[T_h] = W(h)² / W'(h+) − ∫₀ʰ W` (Avram, Kyprianou, Pistorius 2004). W is zero below zero, `W(0) = 1/c`, and
//! `c W'(y) = ρ (W(y) − W(y − a))`, as the generator annihilates it: solved here step by step (Runge and Kutta, delayed values by Hermite), where
//! the closed sum alternates and needs forty digits.

/// Steps for each jump's height.
const STEPS: usize = 256;

/// Mean operational time until a bucket for attacks of `r` times the normal reaches `h`, from empty, at `rho` times the normal rate.
pub fn mean_time(r: f64, h: f64, rho: f64) -> f64 {
    let (c, a) = (r - 1.0, r.ln());
    let q = rho / c;
    let step = a / STEPS as f64;
    let mut grid = Grid { step, value: vec![1.0 / c], right: vec![q / c], left: vec![0.0] };
    let (mut y, mut integral) = (0.0, 0.0);
    while y < h {
        let at = grid.value.len() - 1;
        let length = step.min(h - y);
        let now = grid.value[at];
        let before = |share: f64| grid.delayed(at, share * length / step);
        let slope = |value: f64, share: f64| q * (value - before(share));
        let k1 = q * (now - grid.delayed(at, 0.0));
        let k2 = slope(now + 0.5 * length * k1, 0.5);
        let k3 = slope(now + 0.5 * length * k2, 0.5);
        let k4 = slope(now + length * k3, 1.0);
        let next = now + length / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4);
        let left = slope(next, 1.0);
        let middle = (now + next) / 2.0 + length / 8.0 * (k1 - left);
        integral += length / 6.0 * (now + 4.0 * middle + next);
        y += length;
        if length < step {
            return next * next / left - integral;
        }
        // W jumps at 0, so W' jumps at a: from the right, what is a before this point is W(0) and not nothing.
        let right = if at + 1 == STEPS { q * (next - grid.value[0]) } else { left };
        grid.value.push(next);
        grid.left.push(left);
        grid.right.push(right);
    }
    let last = grid.value.len() - 1;
    grid.value[last].powi(2) / grid.right[last] - integral
}

struct Grid {
    step: f64,
    value: Vec<f64>,
    right: Vec<f64>,
    left: Vec<f64>,
}

impl Grid {
    /// W(y − a), `share` of a step after the point `at`.
    fn delayed(&self, at: usize, share: f64) -> f64 {
        let Some(first) = at.checked_sub(STEPS) else { return 0.0 };
        let (v0, v1, s0, s1) = (self.value[first], self.value[first + 1], self.right[first], self.left[first + 1]);
        let (t, d) = (share, self.step);
        let (t2, t3) = (t * t, t * t * t);
        v0 * (2.0 * t3 - 3.0 * t2 + 1.0) + d * s0 * (t3 - 2.0 * t2 + t) + v1 * (3.0 * t2 - 2.0 * t3) + d * s1 * (t3 - t2)
    }
}

/// The threshold at which a bucket for `r` raises a false alarm once in `events` normal events.
pub fn threshold(r: f64, events: f64) -> f64 {
    let (mut low, mut high) = (0.2, 45.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if mean_time(r, middle, 1.0) < events { low = middle } else { high = middle }
    }
    high
}

/// The least mean delay, in units of one over the normal rate, for an attack of `x` times the normal and one false alarm in `events`.
pub fn optimum(x: f64, events: f64) -> f64 {
    mean_time(x, threshold(x, events), x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lab::random::Random, settings};

    #[test]
    fn the_published_values_come_out() {
        assert!((mean_time(2.0, 5.0, 1.0) - 588.62).abs() < 0.01, "{}", mean_time(2.0, 5.0, 1.0));
        assert!((mean_time(2.0, 5.0, 2.0) - 11.000).abs() < 0.001, "{}", mean_time(2.0, 5.0, 2.0));
        for (x, events, delay) in
            [(1.5, 8_760.0, 53.0), (2.0, 8_760.0, 17.90), (10.0, 8_760.0, 0.7224), (3.0, 525_600.0, 9.340), (5.0, 8_760_000.0, 3.936)]
        {
            let ours = optimum(x, events);
            assert!((ours / delay - 1.0).abs() < 0.001, "x{x} at {events}: {ours}, not {delay}");
        }
    }

    #[test]
    fn the_offsets_of_the_buckets_are_those_of_the_theory() {
        for (r, offset) in settings::RATIOS.into_iter().zip(settings::OFFSETS) {
            let exact = threshold(r, 525_600.0) - 525_600.0_f64.ln();
            assert!((exact - offset).abs() < 0.02, "c({r}) is {exact}, not {offset}");
        }
    }

    #[test]
    fn simulation_agrees() {
        let seed = 7;
        println!("seed {seed}");
        for (r, h) in [(2.0, 5.0), (5.0, 5.0)] {
            for rho in [1.0, r] {
                let mut random = Random::new(seed, r as u64);
                let runs = 4_000;
                let total: f64 = (0..runs).map(|_| simulate(&mut random, r, h, rho)).sum();
                let (mean, exact) = (total / f64::from(runs), mean_time(r, h, rho));
                assert!((mean / exact - 1.0).abs() < 0.05, "r {r}, ρ {rho}: {mean} and {exact}");
            }
        }
    }

    fn simulate(random: &mut Random, r: f64, h: f64, rho: f64) -> f64 {
        let (mut w, mut time) = (0.0_f64, 0.0);
        loop {
            let gap = random.exponential() / rho;
            time += gap;
            w = (w - (r - 1.0) * gap).max(0.0) + r.ln();
            if w >= h {
                return time;
            }
        }
    }
}
