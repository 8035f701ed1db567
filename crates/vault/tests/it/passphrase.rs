//! Root key files that a passphrase seals.

use std::fs;
use types::{SecretText, SystemRandom};
use vault::{Keeper, Passphrase, PassphraseError, RootKey, RootKeyError};

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(&SecretText::new(text.to_owned())).unwrap()
}

#[test]
fn only_its_passphrase_opens_a_sealed_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    let key = RootKey::generate(&SystemRandom).unwrap();
    let words = passphrase("seven herons wade upstream\n");
    key.write_file(&path, Some(&words), &SystemRandom).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("wgroot2.") && text.ends_with('\n'), "{text}");
    assert!(RootKey::is_sealed(&path, Keeper::User).unwrap());
    assert!(matches!(RootKey::load(&path).unwrap_err(), RootKeyError::Sealed { .. }));
    // The line's end is no part of it, and neither does a space more open it.
    let same = passphrase("seven herons wade upstream");
    let opened = RootKey::load_with(&path, Keeper::User, Some(&same)).unwrap();
    assert_eq!(opened.name().unwrap(), key.name().unwrap());
    let other = passphrase("seven herons wade upstream ");
    let refused = RootKey::load_with(&path, Keeper::User, Some(&other)).unwrap_err();
    assert!(matches!(refused, RootKeyError::WrongPassphrase { .. }), "{refused}");
    assert!(!refused.to_string().contains("herons"));
}

#[test]
fn damage_is_told_from_a_wrong_passphrase() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    let words = passphrase("seven herons wade upstream");
    let key = RootKey::generate(&SystemRandom).unwrap();
    key.write_file(&path, Some(&words), &SystemRandom).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let length = text.trim_end().len();
    for place in (0..length).step_by(7) {
        let mut other = text.clone().into_bytes();
        other[place] = if other[place] == b'A' { b'B' } else { b'A' };
        fs::remove_file(&path).unwrap();
        fs::write(&path, &other).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let refused = RootKey::load_with(&path, Keeper::User, Some(&words)).unwrap_err();
        assert!(
            matches!(refused, RootKeyError::Malformed { .. } | RootKeyError::Length { .. }),
            "{place}: {refused}"
        );
    }
}

/// A file that asks for next to nothing, or for more than there is, is none of ours: its checksum says
/// nothing of who made it.
#[test]
fn costs_that_nobody_asked_for_are_refused() {
    use aws_lc_rs::digest;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    let words = passphrase("seven herons wade upstream");
    let key = RootKey::generate(&SystemRandom).unwrap();
    key.write_file(&path, Some(&words), &SystemRandom).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let line = text.trim_end().strip_prefix("wgroot2.").unwrap();
    let payload = URL_SAFE_NO_PAD.decode(line).unwrap();
    let cost = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
    assert!(cost(0) >= 256 * 1024 && cost(4) >= 3, "{} KiB, {} passes", cost(0), cost(4));
    for (at, wrong) in
        [(0, 8_u32), (0, 255 * 1024), (0, u32::MAX), (4, 0), (4, 65), (8, 0), (8, 17)]
    {
        let mut other = payload[..payload.len() - 8].to_vec();
        other[at..at + 4].copy_from_slice(&wrong.to_be_bytes());
        let sum = digest::digest(&digest::SHA256, &[b"wgroot2.".as_slice(), &other].concat());
        other.extend_from_slice(&sum.as_ref()[..8]);
        fs::remove_file(&path).unwrap();
        fs::write(&path, format!("wgroot2.{}\n", URL_SAFE_NO_PAD.encode(&other))).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let refused = RootKey::load_with(&path, Keeper::User, Some(&words)).unwrap_err();
        assert!(matches!(refused, RootKeyError::Malformed { .. }), "{at} {wrong}: {refused}");
    }
}

#[test]
fn a_file_is_sealed_and_unsealed_in_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    let key = RootKey::create_file(&path, &SystemRandom).unwrap();
    let words = passphrase("seven herons wade upstream");
    key.replace_file(&path, Some(&words), &SystemRandom).unwrap();
    let sealed = RootKey::load_with(&path, Keeper::User, Some(&words)).unwrap();
    assert_eq!(sealed.name().unwrap(), key.name().unwrap());
    key.replace_file(&path, None, &SystemRandom).unwrap();
    assert_eq!(RootKey::load(&path).unwrap().name().unwrap(), key.name().unwrap());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft stays");
}

#[test]
fn short_and_unprintable_texts_are_no_passphrases() {
    let new = |text: &str| Passphrase::new(&SecretText::new(text.to_owned())).err();
    assert_eq!(new("nineteen characters"), Some(PassphraseError::TooShort { is: 19 }));
    assert_eq!(new("twenty characters ok"), None);
    assert_eq!(new("two lines are not\none passphrase"), Some(PassphraseError::NotALine));
    assert_eq!(new(&"x".repeat(1025)), Some(PassphraseError::TooLong { is: 1025 }));
}

/// What a service manager hands over may be root's, and its access list shows as the group's bits.
#[test]
fn a_credential_is_judged_by_who_else_may_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weirgate-root-key");
    RootKey::create_file(&path, &SystemRandom).unwrap();
    for (mode, as_users, as_managers) in
        [(0o400, true, true), (0o440, false, true), (0o444, false, false), (0o460, false, false)]
    {
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let load = |keeper| RootKey::load_with(&path, keeper, None).is_ok();
        assert_eq!(
            (load(Keeper::User), load(Keeper::Manager)),
            (as_users, as_managers),
            "{mode:o}"
        );
    }
}
