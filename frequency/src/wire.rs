//! The state as bytes: versioned, of one length, and refused as a whole if anything of it is not as it was written. A state that was damaged
//! must never make thresholds laxer, so nothing of it is used.
//!
//! The check sum shows damage, not intent: whoever may write the state may write any state. Little-endian; the format is `VERSION`'s.

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    bank::{Bank, Bucket, Shape},
    channel::{Channel, Reference},
    detector::Detector,
    dispersion::Dispersion,
    settings::LEVEL_MOST,
    small::{Half, Quarter, Ratio},
    time::Time,
};

/// The format that is written, and the only one that is read.
pub const VERSION: u8 = 1;
const MAGIC: [u8; 3] = *b"dpf";

/// Why bytes are no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// From another version of this program.
    #[error(
        "the state has format {found}, this program knows format {VERSION}: use the program that wrote it, or let the baseline be learned anew"
    )]
    Version {
        /// Its format.
        found: u8,
    },
    /// Not as long as a state is.
    #[error("the state has {found} bytes, not {expected}: it was cut or is something else; let the baseline be learned anew")]
    Length {
        /// Bytes that are there.
        found: usize,
        /// Bytes of a state.
        expected: usize,
    },
    /// The check sum is not that of the bytes, or a number is none that a detector can have.
    #[error("the state was changed since it was written ({0}): let the baseline be learned anew")]
    Damaged(&'static str),
}

impl Detector {
    /// The state as bytes, always of the same number.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        self.put(&mut bytes);
        let sum = checksum(&bytes);
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    /// The state from bytes: exactly what was written, or an error.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let version = bytes.strip_prefix(&MAGIC).and_then(|rest| rest.first());
        match version {
            Some(&found) if found != VERSION => return Err(StateError::Version { found }),
            None => return Err(StateError::Damaged("it does not begin like one")),
            Some(_) => {}
        }
        let expected = Self::state_size();
        if bytes.len() != expected {
            return Err(StateError::Length { found: bytes.len(), expected });
        }
        let (content, sum) = bytes.split_at(expected - 8);
        if checksum(content).to_le_bytes() != sum {
            return Err(StateError::Damaged("its check sum differs"));
        }
        let mut input = &content[MAGIC.len() + 1..];
        let detector = Self::take(&mut input)?;
        detector.plausible()?;
        Ok(detector)
    }

    /// Bytes of a state.
    pub fn state_size() -> usize {
        MAGIC.len() + 1 + Self::SIZE + 8
    }

    fn plausible(&self) -> Result<(), StateError> {
        let wrong = |what| Err(StateError::Damaged(what));
        for channel in [&self.raw, &self.sessions] {
            if channel.shape.clump.iter().any(|clump| clump.get() < 1.0) {
                return wrong("a clump is below 1");
            }
            if channel.shape.level.iter().any(|level| !(1.0..=LEVEL_MOST).contains(&level.get())) {
                return wrong("a level tolerance is not within 1 and 6");
            }
            if channel.span > 11 || channel.day_hours > 24 {
                return wrong("an hour has more parts than it can have");
            }
        }
        if self.flowed > self.now.of_hour() || self.last > self.now.second() {
            return wrong("its moments are in disorder");
        }
        Ok(())
    }
}

/// As base64 in texts, as bytes elsewhere.
impl Serialize for Detector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&BASE64.encode(&self.to_bytes()))
        } else {
            serializer.serialize_bytes(&self.to_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for Detector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let bytes = if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            BASE64.decode(text.as_bytes()).map_err(|_| D::Error::custom(StateError::Damaged("it is no base64")))?
        } else {
            Vec::<u8>::deserialize(deserializer)?
        };
        Self::from_bytes(&bytes).map_err(D::Error::custom)
    }
}

/// FNV-1a, 64 bits.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

trait Wire: Sized {
    const SIZE: usize;
    fn put(&self, bytes: &mut Vec<u8>);
    fn take(bytes: &mut &[u8]) -> Result<Self, StateError>;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Wire for $type {
            const SIZE: usize = size_of::<$type>();
            fn put(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
            fn take(bytes: &mut &[u8]) -> Result<Self, StateError> {
                let (number, rest) = bytes.split_first_chunk().ok_or(StateError::Damaged("it ends too soon"))?;
                *bytes = rest;
                Ok(Self::from_le_bytes(*number))
            }
        }
    )*};
}
number!(u8, u16, u32, i64);

impl Wire for f32 {
    const SIZE: usize = 4;
    fn put(&self, bytes: &mut Vec<u8>) {
        self.to_bits().put(bytes);
    }
    fn take(bytes: &mut &[u8]) -> Result<Self, StateError> {
        let number = Self::from_bits(u32::take(bytes)?);
        // Nothing that is remembered is negative.
        if number.is_finite() && number >= 0.0 { Ok(number) } else { Err(StateError::Damaged("a number is negative or none")) }
    }
}

impl Wire for Time {
    const SIZE: usize = 8;
    fn put(&self, bytes: &mut Vec<u8>) {
        self.millis().put(bytes);
    }
    fn take(bytes: &mut &[u8]) -> Result<Self, StateError> {
        Ok(Self::from_millis(i64::take(bytes)?))
    }
}

impl<T: Wire + Copy + Default, const N: usize> Wire for [T; N] {
    const SIZE: usize = N * T::SIZE;
    fn put(&self, bytes: &mut Vec<u8>) {
        for item in self {
            item.put(bytes);
        }
    }
    fn take(bytes: &mut &[u8]) -> Result<Self, StateError> {
        let mut items = [T::default(); N];
        for item in &mut items {
            *item = T::take(bytes)?;
        }
        Ok(items)
    }
}

macro_rules! wrapper {
    ($($type:ident($inner:ty)),*) => {$(
        impl Wire for $type {
            const SIZE: usize = <$inner as Wire>::SIZE;
            fn put(&self, bytes: &mut Vec<u8>) {
                self.0.put(bytes);
            }
            fn take(bytes: &mut &[u8]) -> Result<Self, StateError> {
                Ok(Self(Wire::take(bytes)?))
            }
        }
    )*};
}
wrapper!(Half(u16), Quarter(u8), Ratio(u8), Bank([Bucket; crate::settings::BUCKETS]));

/// A field that is left out does not compile.
macro_rules! record {
    ($type:ident { $($field:ident: $of:ty),* $(,)? }) => {
        impl Wire for $type {
            const SIZE: usize = 0 $(+ <$of as Wire>::SIZE)*;
            fn put(&self, bytes: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($field.put(bytes);)*
            }
            fn take(bytes: &mut &[u8]) -> Result<Self, StateError> {
                Ok(Self { $($field: <$of>::take(bytes)?),* })
            }
        }
    };
}

record!(Bucket { n: f32, u: f32, crowd: f32, a: f32, start: u32, who: u32, asked: u16, by: u16, votes: u8 });
record!(Shape { clump: [Half; 4], level: [Half; 4] });
record!(Dispersion { squares: [f32; 3], expected: [f32; 3], bins: [f32; 2], day: [f32; 2] });
record!(Reference { cells: [Ratio; 48], rate: f32, events: f32, clump: [Half; 3] });
record!(Channel {
    bank: Bank,
    shape: Shape,
    rate: f32,
    evidence: Half,
    learner_rate: Half,
    counts: [Half; 48],
    learned: f32,
    dispersion: Dispersion,
    waiting: [Half; 24],
    squares: [Quarter; 24],
    in_hour: f32,
    in_span: f32,
    span_squares: f32,
    span: u8,
    day_hours: u8,
    reference: Reference,
});
record!(Detector {
    raw: Channel,
    sessions: Channel,
    now: Time,
    flowed: u32,
    last: u32,
    visits: [u8; 48],
    hours: f32,
    waiting: u32,
    held: u32,
    exposures: [Half; 2],
    peers: Half,
    siblings: u16,
    approved: [Half; 2],
    grown: Half,
    credit: Half,
    credit_until: u32,
    per_start: Half,
    excused: u16,
    starts: u16,
    restarts: u16,
    gap_events: u16,
    gap_expected: [Half; 2],
    gap_until: u32,
    behind: u32,
    expect: Half,
    expect_until: u32,
    born: u32,
    anchored: u32,
    flags: u8,
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prior::Prior;

    #[test]
    fn a_state_is_small_in_memory_and_as_bytes() {
        assert!(size_of::<Channel>() <= 512, "a channel has {} bytes", size_of::<Channel>());
        assert!(size_of::<Detector>() <= 2 * 512, "an identity with its two channels has {} bytes", size_of::<Detector>());
        assert!(Detector::state_size() <= 2 * 512, "written down it has {} bytes", Detector::state_size());
    }

    #[test]
    fn a_state_that_is_not_whole_is_refused_with_what_to_do() {
        let bytes = Detector::new(Time::from_seconds(1_000_000), Prior::Unknown).to_bytes();
        assert_eq!(bytes.len(), Detector::state_size());
        assert!(Detector::from_bytes(&bytes).is_ok());
        for cut in [0, 3, 4, 100, bytes.len() - 1] {
            assert!(Detector::from_bytes(&bytes[..cut]).is_err(), "{cut}");
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            assert!(Detector::from_bytes(&bytes).is_err(), "byte {at} changed and nobody noticed");
        }
        let mut newer = bytes.clone();
        newer[3] = VERSION + 1;
        let error = Detector::from_bytes(&newer).unwrap_err();
        assert_eq!(error, StateError::Version { found: VERSION + 1 });
        assert!(error.to_string().contains("learned anew"), "{error}");
    }

    #[test]
    fn numbers_that_no_detector_has_are_refused_even_with_the_right_sum() {
        let mut detector = Detector::new(Time::from_seconds(1_000_000), Prior::Unknown);
        detector.raw.rate = f32::NAN;
        assert!(matches!(Detector::from_bytes(&detector.to_bytes()), Err(StateError::Damaged(_))));
        detector.raw.rate = 1.0;
        detector.raw.shape.level[0] = Half::new(50.0);
        assert!(matches!(Detector::from_bytes(&detector.to_bytes()), Err(StateError::Damaged(_))));
    }

    #[test]
    fn in_json_a_state_is_one_string() {
        let detector = Detector::new(Time::from_seconds(1_000_000), Prior::Declared { rate: 6.0 });
        let json = serde_json::to_string(&detector).unwrap();
        assert!(json.starts_with('"') && json.len() < 1500, "{}", json.len());
        assert_eq!(serde_json::from_str::<Detector>(&json).unwrap(), detector);
        assert!(serde_json::from_str::<Detector>("\"AAAA\"").unwrap_err().to_string().contains("learned anew"));
    }
}
