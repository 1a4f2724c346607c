//! Revocation lists: what they say, who takes them, and what is not taken in of a list that somebody else has touched.

use super::{
    judges::{OpenSsl, verify_with_list},
    *,
};

const HOUR: i64 = 3600;

/// Authority, roots.
fn authority() -> (Authority, String) {
    let authority = Authority::load(&managed_root(), now()).unwrap();
    let roots = authority.roots_pem().to_owned();
    (authority, roots)
}

/// Signed now, good for an hour from half a minute ago.
fn list(authority: &Authority, revoked: &[Revoked], number: u64) -> List {
    authority.sign_list(revoked, number, dates(), now()).unwrap()
}

fn dates() -> (Timestamp, Timestamp) {
    (after(-30), after(HOUR - 30))
}

fn revoked(serial: &str) -> Revoked {
    Revoked { serial: Serial::parse(serial).unwrap(), since: after(-1), until: after(660) }
}

fn issued(authority: &Authority, serial: Serial) -> Certificate {
    authority.issue(&Leaf { serial, ..leaf() }, &generate_key().unwrap().1).unwrap()
}

#[test]
fn whoever_checks_the_list_refuses_what_is_on_it_and_nothing_else() {
    let (authority, roots) = authority();
    // Of one byte, with and without the highest bit, and as long as a serial number gets.
    for serial in ["01", "ff", "ab54a98ceb1f0ad2", "7fffffffffffffffffffffffffffffff"] {
        let one = revoked(serial);
        let list = list(&authority, &[revoked("77"), one], 7);
        let taken_back = issued(&authority, one.serial);
        let sibling = issued(&authority, Serial::random().unwrap());
        assert_eq!(verify_with_list(&taken_back, &roots, &list.der, now()), Err("revoked".into()), "{serial}");
        assert_eq!(verify_with_list(&sibling, &roots, &list.der, now()), Ok(()));
        assert!(authority.refuses(&list, one.serial, now()));
        assert!(!authority.refuses(&list, sibling_serial(&sibling), now()), "the proof tells one from the other");
    }
}

fn sibling_serial(certificate: &Certificate) -> Serial {
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate.der).unwrap();
    Serial::from_der(parsed.raw_serial()).unwrap()
}

#[test]
fn an_empty_list_is_taken_and_refuses_nothing() {
    let (authority, roots) = authority();
    let list = list(&authority, &[], 1);
    assert_eq!((list.number, list.revoked.len(), list.ends().len()), (1, 0, 0));
    assert_eq!(verify_with_list(&issued(&authority, leaf().serial), &roots, &list.der, now()), Ok(()));
}

#[test]
fn a_list_that_is_over_proves_nothing_and_passes_nobody() {
    let (authority, roots) = authority();
    let one = revoked("05");
    let list = list(&authority, &[one], 1);
    let late = after(HOUR);
    assert!(!authority.refuses(&list, one.serial, late), "a verifier stops at its date before it looks for the number");
    let sibling = authority.issue(&Leaf { not_after: after(2 * HOUR), ..leaf() }, &generate_key().unwrap().1).unwrap();
    assert_eq!(verify_with_list(&sibling, &roots, &list.der, late), Err("expired".into()));
}

#[test]
fn openssl_finds_the_list_signed_numbered_and_naming_the_authoritys_key() {
    let Some(openssl) = OpenSsl::installed() else { return };
    let (authority, roots) = authority();
    let list = list(&authority, &[revoked("ab54a98ceb1f0ad2")], 1_795_000_000_123);
    openssl.write("roots.pem", &roots).write("list.pem", &list_pem(&list.der));
    let said = openssl.run("crl -in list.pem -CAfile roots.pem -verify -noout -text");
    let key_id = openssl.run("x509 -in roots.pem -noout -ext subjectKeyIdentifier");
    let key_id = key_id.lines().last().unwrap().trim().to_owned();
    for part in ["Version 2", "Serial Number: AB54A98CEB1F0AD2", "X509v3 CRL Number", &key_id, "Nov 24 11:59:30 2026 GMT"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("Reason"), "lists are public: {said}");
}

#[test]
fn what_was_published_reads_back_with_the_ends_of_its_entries() {
    let (authority, _) = authority();
    let several = [revoked("0a"), Revoked { until: after(9), ..revoked("0b") }, Revoked { until: after(12), ..revoked("0b") }];
    let list = list(&authority, &several, u64::MAX);
    let read = authority.read_list(&list.der, &list.ends(), after(HOUR)).unwrap();
    assert_eq!(read.revoked, [several[0], several[2]], "one entry for each number, the longer lasting one");
    assert_eq!((read.number, read.this_update, read.next_update), (u64::MAX, dates().0, dates().1));
    assert_eq!(read.life().as_secs(), HOUR);

    // What lay beside it is lost: then an entry stays for as long as any certificate may live.
    for lost in [&[][..], &list.ends()[1..], &list.ends()[4..]] {
        let read = authority.read_list(&list.der, lost, now()).unwrap();
        assert!(read.revoked.iter().all(|one| one.until == one.since + SignedDuration::from_secs(24 * HOUR + 60)), "{:?}", read.revoked);
    }
}

#[test]
fn nothing_is_taken_in_that_the_authority_has_not_signed() {
    let (authority, _) = authority();
    let mine = list(&authority, &[revoked("0a")], 3);
    let ends = mine.ends();
    let foreign = |der: &[u8]| authority.read_list(der, &ends, now()).is_err();
    assert!(!foreign(&mine.der));
    // Another authority, whatever it is called.
    let (other, _) = self::authority();
    assert!(foreign(&list(&other, &[], 3).der));
    for (position, _) in mine.der.iter().enumerate().step_by(7) {
        let mut changed = mine.der.clone();
        changed[position] ^= 0x10;
        assert!(foreign(&changed), "byte {position}");
    }
    assert!(foreign(&[mine.der.as_slice(), &[0]].concat()));
    assert!(foreign(&mine.der[..mine.der.len() - 1]));
    assert!(foreign(b""));
}

#[test]
fn an_authority_that_may_not_sign_lists_is_told_apart() {
    let key = KeyPair::generate().unwrap();
    let mut parameters = ca_parameters("no lists");
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let material = material(parameters.self_signed(&key).unwrap().pem(), &key, None);
    let authority = Authority::load(&material, now()).unwrap();
    assert!(!authority.may_sign_lists());
    assert!(matches!(authority.sign_list(&[], 1, dates(), now()), Err(ListError::NotSigner)));
    assert!(self::authority().0.may_sign_lists());
}

#[test]
fn dates_that_no_verifier_would_take_are_refused() {
    let (authority, _) = authority();
    for dates in [(now(), now()), (now(), after(-1)), (now(), now() + SignedDuration::from_millis(999))] {
        assert!(matches!(authority.sign_list(&[], 1, dates, now()), Err(ListError::Dates { .. })), "{dates:?}");
    }
}

#[test]
fn an_issuer_is_its_name_and_its_key() {
    let key = KeyPair::generate().unwrap();
    let of = |name: &str, key: &KeyPair, years: i64| {
        let mut parameters = ca_parameters(name);
        parameters.not_after = date(years * 365 * 86_400);
        let material = material(parameters.self_signed(key).unwrap().pem(), key, None);
        Authority::load(&material, now()).unwrap().issuer_id().to_owned()
    };
    let id = of("a", &key, 1);
    assert_eq!((id.len(), of("a", &key, 2)), (40, id.clone()), "renewed");
    assert_ne!(of("b", &key, 1), id);
    assert_ne!(of("a", &KeyPair::generate().unwrap(), 1), id);
}

#[test]
fn an_intermediate_signs_a_list_of_its_own() {
    let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let root = rcgen::CertifiedIssuer::self_signed(ca_parameters("root"), root_key).unwrap();
    let intermediate = ca_parameters("intermediate").signed_by(&key, &root).unwrap();
    let authority = Authority::load(&material(intermediate.pem(), &key, Some(root.pem())), now()).unwrap();
    let one = revoked("0c");
    let list = list(&authority, &[one], 1);
    assert!(authority.refuses(&list, one.serial, now()));
    assert_eq!(verify_with_list(&issued(&authority, one.serial), &root.pem(), &list.der, now()), Err("revoked".into()));
    assert_eq!(verify_with_list(&issued(&authority, leaf().serial), &root.pem(), &list.der, now()), Ok(()));
}

#[test]
fn the_size_of_a_list_grows_with_what_is_on_it() {
    let (authority, _) = authority();
    let many: Vec<Revoked> = (0..10_000).map(|_| Revoked { serial: Serial::random().unwrap(), since: now(), until: after(660) }).collect();
    let list = list(&authority, &many, 1);
    let whole = list.der.len() + list.ends().len();
    println!("10,000 serial numbers: {} bytes, and {} beside them", list.der.len(), list.ends().len());
    assert!(whole < 450_000, "{whole} bytes: a ConfigMap holds 1,048,576");
    assert!(authority.refuses(&list, many[5000].serial, now()));
}
