//! Numbers in one or two bytes, so that what is remembered of an identity stays small. Never negative, never NaN, saturating.

/// A number from 2⁻²⁰ to 2⁴⁴, or zero, to 0.05 %: six bits of exponent, ten of fraction. Whole numbers up to 2,047 are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Half(pub(crate) u16);

/// The smallest exponent of [`Half`], as that of an `f32` (bias 127).
const HALF_BASE: u32 = (127 - 20) << 10;

impl Half {
    /// The nearest one.
    pub(crate) fn new(value: f64) -> Self {
        Self(u16::try_from(pack(value, 13, HALF_BASE, u32::from(u16::MAX))).unwrap_or(u16::MAX))
    }

    /// As a number.
    pub(crate) fn get(self) -> f64 {
        unpack(u32::from(self.0), 13, HALF_BASE)
    }
}

/// A number from 2⁻⁸ to 2²⁴, or zero, to 6 %: five bits of exponent, three of fraction. Whole numbers up to 15 are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quarter(pub(crate) u8);

const QUARTER_BASE: u32 = (127 - 8) << 3;

impl Quarter {
    /// The nearest one.
    pub(crate) fn new(value: f64) -> Self {
        Self(u8::try_from(pack(value, 20, QUARTER_BASE, u32::from(u8::MAX))).unwrap_or(u8::MAX))
    }

    /// As a number.
    pub(crate) fn get(self) -> f64 {
        unpack(u32::from(self.0), 20, QUARTER_BASE)
    }
}

/// How often something was counted, as a ratio to a mean from 2⁻⁸ to 2⁸ in sixteenths of an octave (2.2 %).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ratio(pub(crate) u8);

impl Default for Ratio {
    fn default() -> Self {
        Self(128)
    }
}

impl Ratio {
    /// The nearest one; of what is no number, one.
    pub(crate) fn new(value: f64) -> Self {
        let step = (16.0 * value.max(f64::MIN_POSITIVE).log2() + 128.0).round();
        Self(step.clamp(0.0, 255.0) as u8)
    }

    /// As a number.
    pub(crate) fn get(self) -> f64 {
        ((f64::from(self.0) - 128.0) / 16.0).exp2()
    }
}

/// The bits of an `f32` without the lowest `shift` and without what lies below `base`, rounded to nearest; zero for what is too small.
fn pack(value: f64, shift: u32, base: u32, most: u32) -> u32 {
    if value.is_nan() || value <= 0.0 {
        return 0;
    }
    let bits = (value as f32).to_bits().saturating_add(1 << (shift - 1)) >> shift;
    bits.saturating_sub(base).min(most)
}

fn unpack(packed: u32, shift: u32, base: u32) -> f64 {
    if packed == 0 { 0.0 } else { f64::from(f32::from_bits((packed + base) << shift)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_as_near_as_they_say() {
        for whole in 0..2048 {
            assert_eq!(Half::new(f64::from(whole)).get(), f64::from(whole));
        }
        for whole in 0..16 {
            assert_eq!(Quarter::new(f64::from(whole)).get(), f64::from(whole));
        }
        let mut value = 0.01;
        while value < 1e6 {
            assert!((Half::new(value).get() / value - 1.0).abs() < 0.0005, "{value}");
            assert!((Quarter::new(value).get() / value - 1.0).abs() < 0.0625, "{value}");
            value *= 1.37;
        }
        for ratio in [0.01, 0.5, 1.0, 3.3, 80.0] {
            assert!((Ratio::new(ratio).get() / ratio - 1.0).abs() < 0.022, "{ratio}");
        }
    }

    #[test]
    fn what_does_not_fit_saturates_and_what_is_no_number_is_none() {
        for (value, half, quarter) in [(f64::NAN, 0.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1e-12, 0.0, 0.0)] {
            assert_eq!((Half::new(value).get(), Quarter::new(value).get()), (half, quarter), "{value}");
        }
        assert!(Half::new(f64::INFINITY).get() > 1e13 && Half::new(f64::INFINITY).get().is_finite());
        assert!(Quarter::new(1e30).get() > 1.5e7);
        assert!(Ratio::new(f64::NAN).get() > 0.0 && Ratio::new(f64::INFINITY).get() < 257.0);
    }
}
