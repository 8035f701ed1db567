//! Credentials in memory, and keyed digests.

use crate::secret;
use types::{ApiKey, Environment, SeededRandom, SystemRandom};
use vault::{
    Credential, Injection, KeyPepper, MemoryKey, OpenPart, Placement, SealedInjection, VaultError,
};

fn injection() -> Injection {
    let credential = Credential::parse(&secret(r#"{"token":"CANARY-token"}"#)).unwrap();
    credential.place(&[("s".into(), Placement::Bearer)]).unwrap()
}

#[test]
fn a_sealed_injection_opens_with_its_key_only() {
    let key = MemoryKey::generate(&SystemRandom).unwrap();
    let sealed = SealedInjection::seal(&key, &injection()).unwrap();
    // Again and again: it is sealed once and opened for each call.
    for _ in 0..3 {
        let open = sealed.open(&key).unwrap();
        let parts: Vec<_> = open.iter().collect();
        assert!(matches!(
            parts[..],
            [OpenPart::Header { name: "authorization", value: b"Bearer CANARY-token", .. }]
        ));
    }
    let other = MemoryKey::generate(&SystemRandom).unwrap();
    assert_eq!(sealed.open(&other).unwrap_err(), VaultError::NotAuthentic);
}

#[test]
fn nothing_of_a_credential_is_printed() {
    let key = MemoryKey::generate(&SystemRandom).unwrap();
    let sealed = SealedInjection::seal(&key, &injection()).unwrap();
    let open = sealed.open(&key).unwrap();
    let parts: Vec<_> = open.iter().collect();
    let printed = format!("{key:?} {:?} {sealed:?} {open:?} {parts:?}", injection());
    assert!(printed.contains("SealedInjection(hidden)"), "{printed}");
    assert!(!printed.contains("CANARY"), "{printed}");
    assert!(!printed.contains("67, 65, 78"), "{printed}");
}

#[test]
fn a_sealed_injection_is_shared_between_threads() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<SealedInjection>();
    is_shared::<MemoryKey>();
    is_shared::<KeyPepper>();
}

#[test]
fn a_pepper_survives_a_restart_and_separates_its_uses() {
    let pepper = KeyPepper::generate(&SystemRandom).unwrap();
    let again = KeyPepper::from_bytes(&pepper.to_bytes()).unwrap();
    let key = ApiKey::generate(Environment::Live, &SystemRandom).unwrap();
    let digest = pepper.digest(&key);
    assert_eq!(digest, again.digest(&key));
    assert!(vault::digests_match(&digest, &again.digest(&key)));
    assert!(!vault::digests_match(&digest, &[0; 32]));
    assert_ne!(digest, KeyPepper::generate(&SystemRandom).unwrap().digest(&key));
    // The digest of a name never equals that of a key, nor does one kind of name another's.
    assert_ne!(digest, pepper.lookup_digest("", key.expose()));
    assert_ne!(pepper.lookup_digest("a", "bc"), pepper.lookup_digest("ab", "c"));
    let short = KeyPepper::from_bytes(&secret([1; 31])).unwrap_err();
    assert_eq!(short, VaultError::KeyLength { bytes: 31, expected: 32 });
}

/// The stored digests of all keys hang on this value: it must never change. It was computed with
/// another implementation of HKDF and HMAC.
#[test]
fn a_digest_is_what_it_was_in_the_first_release() {
    let pepper = KeyPepper::from_bytes(&secret([7; 32])).unwrap();
    let key = ApiKey::generate(Environment::Test, &SeededRandom::new(5)).unwrap();
    let hex: Vec<_> = pepper.digest(&key).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex.concat(), "341883bacc496cd42d1e9daf393bce78719c4ae5ee84a71f658ebfcb2ca09eeb");
}
