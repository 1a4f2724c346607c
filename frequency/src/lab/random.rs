//! Random numbers from a seed: the same on every machine and for ever, which no library promises across its versions. Not for secrets.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A stream of numbers for a seed and the number of a series: series of one seed do not overlap.
    pub fn new(seed: u64, series: u64) -> Self {
        let mut random = Self(seed ^ series.wrapping_mul(0xd1b5_4a32_d192_ed03));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from 0 (included) to 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Evenly from 0 to `below`, whole; 0 for 0.
    pub fn below(&mut self, below: usize) -> usize {
        ((self.unit() * below as f64) as usize).min(below.saturating_sub(1))
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Poisson: how many exponentials fit.
    pub fn poisson(&mut self, mean: f64) -> usize {
        let (mut sum, mut count) = (self.exponential(), 0);
        while sum < mean {
            sum += self.exponential();
            count += 1;
        }
        count
    }

    /// Geometric from 1 on, with that mean.
    pub fn geometric(&mut self, mean: f64) -> usize {
        1 + (self.exponential() / -(1.0 - 1.0 / mean.max(1.0 + 1e-9)).ln()) as usize
    }
}
