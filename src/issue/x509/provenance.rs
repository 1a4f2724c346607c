//! The extension that joins a verifier's log to ours: which request a certificate answers, and of which class.
//!
//! Non-critical, under the OID [`OID`]. Its value is the DER of
//! ```text
//! Provenance ::= SEQUENCE { requestUID UTF8String, class UTF8String }
//! ```
//! Why not the UUID arc 2.25, which is made for identifiers that nobody registers: its one component has 128 bits, and Go's `crypto/x509`
//! refuses every certificate with a component above 31 bits ("malformed extension OID field"), so no verifier written in Go would let a
//! pod in. Microsoft's arc for self-assigned OIDs (1.2.840.113556.1.8000.2554) takes a random UUID too, cut into seven small components.

use super::der::{SEQUENCE, UTF8_STRING, tlv};

/// UUID 9bc09ef6-2b6f-4b76-92ae-cbfb8440538c, drawn once for this extension, in pieces of 16, 16, 16, 16, 16, 24 and 24 bits.
pub const OID: [u64; 14] = [1, 2, 840, 113_556, 1, 8000, 2554, 39_872, 40_694, 11_119, 19_318, 37_550, 13_368_196, 4_215_692];

/// The value of the extension.
pub(super) fn encode(request_uid: &str, class: &str) -> Vec<u8> {
    tlv(SEQUENCE, &[&tlv(UTF8_STRING, &[request_uid.as_bytes()]), &tlv(UTF8_STRING, &[class.as_bytes()])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_of_the_oid_is_one_that_go_can_read() {
        assert!(OID.iter().all(|component| *component < 1 << 31));
    }

    #[test]
    fn the_oid_spells_the_uuid() {
        let [.., a, b, c, d, e, f, g] = OID;
        assert_eq!(format!("{a:04x}{b:04x}{c:04x}{d:04x}{e:04x}{f:06x}{g:06x}"), "9bc09ef62b6f4b7692aecbfb8440538c");
    }
}
