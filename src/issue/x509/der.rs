//! A handful of DER encodings, written out: what a certificate must say is compared byte for byte with what these give.
//!
//! Owns no parsing. Deliberately not the encoder that builds certificates ([`rcgen`]): a check that shares the encoder shares its mistakes.
//! Called by `profile` and `provenance`.

/// BIT STRING.
pub(super) const BIT_STRING: u8 = 0x03;
/// OCTET STRING.
pub(super) const OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER.
pub(super) const OID: u8 = 0x06;
/// UTF8String.
pub(super) const UTF8_STRING: u8 = 0x0c;
/// SEQUENCE.
pub(super) const SEQUENCE: u8 = 0x30;
/// SET.
pub(super) const SET: u8 = 0x31;

/// Implicit primitive context tag `[number]`.
pub(super) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// Implicit constructed context tag `[number]`.
pub(super) const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// Tag, length, value; the length in the shortest form, as DER wants it.
pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut der = vec![tag];
    if length < 0x80 {
        der.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let significant = &bytes[length.leading_zeros() as usize / 8..];
        der.push(0x80 | significant.len() as u8);
        der.extend_from_slice(significant);
    }
    parts.iter().for_each(|part| der.extend_from_slice(part));
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_lengths_in_the_shortest_form() {
        for (length, header) in
            [(0, vec![4, 0]), (127, vec![4, 127]), (128, vec![4, 0x81, 128]), (256, vec![4, 0x82, 1, 0]), (65_536, vec![4, 0x83, 1, 0, 0])]
        {
            let der = tlv(OCTET_STRING, &[&vec![7; length]]);
            assert_eq!(der[..header.len()], header, "length {length}");
            assert_eq!(der.len(), header.len() + length);
        }
    }
}
