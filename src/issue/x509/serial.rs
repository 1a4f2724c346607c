//! Serial numbers: allocated in the ledger before anything is signed, so that revocation can name a certificate that nobody has seen yet.

use std::fmt;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// A certificate's serial number: positive, at most 127 bits, so that it fits 16 bytes of DER without a sign byte.
///
/// Its text is the one that `openssl x509 -serial` prints, in lower case: two digits for each byte, no leading zero bytes. There is
/// exactly one text for each serial, so texts may be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(u128);

/// Why a text is no serial number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SerialError {
    /// Not in the one form that [`Serial`] prints.
    #[error("a serial number is an even number of lower-case hex digits without leading zero bytes")]
    Form,
    /// Zero, or more than 127 bits.
    #[error("a serial number is positive and has at most 127 bits")]
    Range,
    /// The system's random numbers failed.
    #[error("the system gives no random numbers")]
    Random,
}

impl Serial {
    /// A new one, 127 bits from the system's random numbers. This is the one place of certificates that is random; everything else
    /// follows from the lease.
    pub fn random() -> Result<Self, SerialError> {
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).map_err(|_| SerialError::Random)?;
        Self::new(u128::from_be_bytes(bytes) >> 1)
    }

    /// Reads the text that [`Serial`] prints, and nothing else.
    pub fn parse(hex: &str) -> Result<Self, SerialError> {
        let digits = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex.is_empty() || !hex.len().is_multiple_of(2) || !digits {
            return Err(SerialError::Form);
        }
        let serial = u128::from_str_radix(hex, 16).map_err(|_| SerialError::Range).and_then(Self::new)?;
        if serial.to_string() == hex { Ok(serial) } else { Err(SerialError::Form) }
    }

    /// From the content of an INTEGER in DER.
    pub(super) fn from_der(integer: &[u8]) -> Result<Self, SerialError> {
        let unsigned = integer.strip_prefix(&[0]).unwrap_or(integer);
        if unsigned.len() > 16 {
            return Err(SerialError::Range);
        }
        Self::new(unsigned.iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }

    /// Big-endian, without leading zero bytes.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        self.0.to_be_bytes()[self.0.leading_zeros() as usize / 8..].to_vec()
    }

    fn new(number: u128) -> Result<Self, SerialError> {
        if number == 0 || number >> 127 != 0 { Err(SerialError::Range) } else { Ok(Self(number)) }
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn random_serials_differ_and_survive_the_ledger() {
        let serials: BTreeSet<Serial> = (0..1000).map(|_| Serial::random().unwrap()).collect();
        assert_eq!(serials.len(), 1000);
        assert!(serials.iter().all(|serial| Serial::parse(&serial.to_string()) == Ok(*serial)));
        assert!(serials.iter().any(|serial| serial.0 >> 126 == 1), "all 127 bits are used");
    }

    #[test]
    fn there_is_one_text_for_each_serial() {
        let most = "7f".to_owned() + &"f".repeat(30);
        for good in ["01", "0a", "ff", "0100", &most] {
            assert_eq!(Serial::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "1", "0A", "+1", "0x01", "0001", " 01", "01 ", "é1"] {
            assert_eq!(Serial::parse(bad), Err(SerialError::Form), "{bad}");
        }
        for bad in ["00", "80000000000000000000000000000000", &"f".repeat(34)] {
            assert_eq!(Serial::parse(bad), Err(SerialError::Range), "{bad}");
        }
    }
}
