//! The life of a managed authority, from nothing to the third root.

use std::collections::BTreeMap;

use super::{judges::verify, *};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Data of a Secret.
type Data = BTreeMap<String, Vec<u8>>;

fn lifetimes() -> Lifetimes {
    Lifetimes::default()
}

fn stored(state: &Managed) -> Data {
    state.to_data().into_iter().map(|(key, value)| (key, value.expose().clone())).collect()
}

fn empty() -> Managed {
    Managed::parse("default", &Data::new()).unwrap()
}

/// The next state at a moment, `seconds` from now, as it is after a trip through its Secret.
fn step(state: &Managed, seconds: i64, published: bool) -> Option<Managed> {
    let then = state.step(after(seconds), published, &lifetimes()).unwrap()?;
    let read = Managed::parse("default", &stored(&then)).unwrap();
    assert_eq!(read, then, "the Secret holds the whole state");
    Some(read)
}

fn roots(state: &Managed) -> usize {
    state.roots_pem().matches("BEGIN CERTIFICATE").count()
}

fn signs(state: &Managed, seconds: i64) -> String {
    let material = state.signing().unwrap();
    let authority = Authority::load(material, after(seconds)).unwrap();
    assert!(state.roots_pem().contains(authority.roots_pem()), "who signs is published");
    authority.fingerprint().to_owned()
}

#[test]
fn a_root_is_made_published_used_and_kept_until_its_last_certificate_is_dead() {
    assert_eq!(empty().signing(), None);
    let first = step(&empty(), 0, true).unwrap();
    let old = signs(&first, 0);
    assert_eq!(roots(&first), 1);

    // Nothing is due for twenty days.
    for at in [0, DAY, 20 * DAY - 1] {
        assert_eq!(step(&first, at, true), None);
    }

    // Ten days before its end a successor is made. It signs nothing yet, and its time counts only from when it is published.
    let due = 20 * DAY;
    let two = step(&first, due, true).unwrap();
    assert_eq!((roots(&two), signs(&two, due)), (2, old.clone()));
    assert_eq!(step(&two, due + 5 * DAY, false), None, "not published, not used, however long it takes");
    let published = step(&two, due + HOUR, true).unwrap();
    assert_eq!((roots(&published), signs(&published, due + HOUR)), (2, old.clone()));
    assert_eq!(step(&published, due + HOUR + 299, true), None);

    // After the overlap it signs, and the old root is still trusted.
    let switch = due + HOUR + 300;
    let switched = step(&published, switch, true).unwrap();
    assert_eq!(roots(&switched), 2);
    assert_ne!(signs(&switched, switch), old);

    // Sixteen minutes later no certificate of the old root can be alive.
    assert_eq!(step(&switched, switch + 16 * 60 - 1, true), None);
    let alone = step(&switched, switch + 16 * 60, true).unwrap();
    assert_eq!((roots(&alone), signs(&alone, switch)), (1, signs(&switched, switch)));
    assert_eq!(step(&alone, switch + 16 * 60, true), None);
}

#[test]
fn at_no_moment_of_a_rotation_is_there_a_certificate_that_a_verifier_refuses() {
    let first = step(&empty(), 0, true).unwrap();
    let published = step(&step(&first, 20 * DAY, true).unwrap(), 20 * DAY, true).unwrap();
    let switch = 20 * DAY + 300;
    let switched = step(&published, switch, true).unwrap();
    let signed_by = |state: &Managed| {
        let leaf = Leaf { not_before: after(switch - 30), not_after: after(switch + 900), ..leaf() };
        Authority::load(state.signing().unwrap(), after(switch)).unwrap().issue(&leaf, &generate_key().unwrap().1).unwrap()
    };

    // Signed by the old root in its last moment, and looked at just before its end by a verifier with the newest bundle.
    assert_eq!(step(&switched, switch + 899, true), None);
    assert_eq!(verify(&signed_by(&published), &switched.roots_pem(), after(switch + 899), Usage::ClientAuth), Ok(()));
    // Signed by the new root in its first moment, and looked at by a verifier that still has the bundle of before.
    assert_eq!(verify(&signed_by(&switched), &published.roots_pem(), after(switch), Usage::ClientAuth), Ok(()));
}

#[test]
fn after_a_long_sleep_the_authority_recovers_without_skipping_the_overlap() {
    let first = step(&empty(), 0, true).unwrap();
    // Asleep until everything is over, with a successor that is over as well.
    let waiting = step(&first, 20 * DAY, true).unwrap();
    let awake = 60 * DAY;
    let again = step(&waiting, awake, true).unwrap();
    assert_eq!(roots(&again), 2, "the dead successor is replaced, not used");
    let published = step(&again, awake, true).unwrap();
    assert_eq!(step(&published, awake + 299, true), None);
    let switched = step(&published, awake + 300, true).unwrap();
    signs(&switched, awake + 300);
}

#[test]
fn no_two_roots_share_a_subject() {
    let subjects: std::collections::BTreeSet<Vec<u8>> = (0..3)
        .map(|_| {
            use x509_parser::{certificate::X509Certificate, prelude::FromDer};
            let der = pem::certificates(&managed_root().certificate).unwrap().remove(0);
            let (_, root) = X509Certificate::from_der(&der).unwrap();
            assert!(root.subject().to_string().starts_with("CN=Daypass default, serialNumber="), "{}", root.subject());
            root.subject().as_raw().to_vec()
        })
        .collect();
    assert_eq!(subjects.len(), 3);
}

#[test]
fn a_damaged_secret_is_an_error_and_never_a_reason_to_begin_anew() {
    let good = stored(&step(&step(&empty(), 0, true).unwrap(), 20 * DAY, true).unwrap());
    let broken = |change: &dyn Fn(&mut Data)| {
        let mut data = good.clone();
        change(&mut data);
        Managed::parse("default", &data).unwrap_err()
    };
    for key in ["tls.crt", "tls.key", "next.crt", "next.key"] {
        assert!(matches!(broken(&|data| drop(data.remove(key))), CaError::Missing(name) if name == key));
        assert!(matches!(broken(&|data| drop(data.insert(key.into(), Vec::new()))), CaError::Missing(name) if name == key));
        assert!(matches!(broken(&|data| drop(data.insert(key.into(), vec![0xff]))), CaError::Unreadable(name) if name == key));
    }
    assert!(matches!(broken(&|data| drop(data.insert("tls.crt".into(), b"x".to_vec()))), CaError::Pem { part: "tls.crt", .. }));
    assert!(matches!(broken(&|data| drop(data.insert("next-since".into(), b"soon".to_vec()))), CaError::Unreadable("next-since")));
    for retired in ["x", "retired-until: never\n", "retired-until: 2026-11-24T12:00:00Z\n-----BEGIN CERTIFICATE-----\n"] {
        assert!(matches!(broken(&|data| drop(data.insert("retired.pem".into(), retired.into()))), CaError::Unreadable("retired.pem")));
    }
}

#[test]
fn private_keys_are_in_the_secret_and_nowhere_else() {
    let state = step(&step(&empty(), 0, true).unwrap(), 20 * DAY, true).unwrap();
    let mut data = stored(&state);
    // Somebody put the key into the certificate's place as well.
    let both = [data["tls.key"].clone(), data["tls.crt"].clone()].concat();
    data.insert("tls.crt".into(), both);
    let state = Managed::parse("default", &data).unwrap();
    assert!(!state.roots_pem().contains("PRIVATE"));
    assert!(!format!("{state:?} {:?}", state.to_data()).contains("PRIVATE"));
}

#[test]
fn lifetimes_that_would_never_settle_are_refused() {
    let minutes = SignedDuration::from_mins;
    let good = lifetimes();
    for bad in [
        Lifetimes { renew_before: good.lifetime, ..good },
        Lifetimes { renew_before: minutes(21), ..good },
        Lifetimes { overlap: minutes(0), ..good },
        Lifetimes { leaf_max: minutes(-1), ..good },
    ] {
        assert!(matches!(empty().step(now(), true, &bad), Err(CaError::Lifetimes)), "{bad:?}");
    }
}

#[test]
fn a_root_that_was_followed_signs_lists_until_its_last_certificate_is_dead_and_no_certificates() {
    let with_lists = Lifetimes { lists: true, leaf_max: SignedDuration::from_hours(24), ..lifetimes() };
    let step = |state: &Managed, seconds: i64| {
        let then = state.step(after(seconds), true, &with_lists).unwrap()?;
        let read = Managed::parse("default", &stored(&then)).unwrap();
        assert_eq!(read, then, "the Secret holds the whole state");
        Some(read)
    };
    let ids = |state: &Managed, seconds: i64| -> Vec<String> {
        let load = |material: &Material| Authority::load(material, after(seconds)).unwrap().issuer_id().to_owned();
        state.list_signers().iter().map(load).collect()
    };
    let first = step(&empty(), 0).unwrap();
    let old = ids(&first, 0);
    let two = step(&first, 20 * DAY).unwrap();
    let both = ids(&two, 20 * DAY);
    assert_eq!((both.len(), &both[0]), (2, &old[0]), "the next root's list is there before anything is signed with it");
    let published = step(&two, 20 * DAY).unwrap();
    let switch = 20 * DAY + 300;
    let switched = step(&published, switch).unwrap();
    assert_eq!(ids(&switched, switch), [both[1].clone(), old[0].clone()]);
    assert!(!switched.roots_pem().contains("PRIVATE"));

    // A key that does not belong to any of the roots, and one that got lost.
    let mut data = stored(&switched);
    data.insert("retired.key".into(), data["tls.key"].clone());
    assert_eq!(ids(&Managed::parse("default", &data).unwrap(), switch), [both[1].clone()]);
    data.remove("retired.key");
    assert_eq!(ids(&Managed::parse("default", &data).unwrap(), switch), [both[1].clone()]);
    data.insert("retired.key".into(), b"nonsense".to_vec());
    assert!(matches!(Managed::parse("default", &data), Err(CaError::Unreadable("retired.key"))));

    assert_eq!(step(&switched, switch + DAY - 1), None);
    let alone = step(&switched, switch + DAY).unwrap();
    assert_eq!((ids(&alone, switch + DAY), stored(&alone).contains_key("retired.key")), (vec![both[1].clone()], false));
}

#[test]
fn without_lists_a_retired_root_leaves_its_key_behind() {
    let first = step(&empty(), 0, true).unwrap();
    let published = step(&step(&first, 20 * DAY, true).unwrap(), 20 * DAY, true).unwrap();
    let switched = step(&published, 20 * DAY + 300, true).unwrap();
    assert_eq!((switched.list_signers().len(), stored(&switched).contains_key("retired.key")), (1, false));
}
