//! The root key's file.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};
use types::SystemRandom;
use vault::{Keyring, RootKey, RootKeyError};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    let _ = fs::remove_file(path);
    fs::write(path, text).unwrap();
    set_mode(path, 0o600);
}

#[test]
fn a_new_file_is_its_owners_alone_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/root.key");
    let made = RootKey::create_file(&path, &SystemRandom).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o400);
    let folder = fs::metadata(path.parent().unwrap()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    let (_, wrapped) = Keyring::create(&made, &SystemRandom).unwrap();
    assert!(Keyring::open(&RootKey::load(&path).unwrap(), [&wrapped]).is_ok());
    // Never overwritten, and no second file beside it.
    let again = RootKey::create_file(&path, &SystemRandom).unwrap_err();
    assert!(matches!(again, RootKeyError::Exists { .. }), "{again}");
    assert!(Keyring::open(&RootKey::load(&path).unwrap(), [&wrapped]).is_ok());
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_missing_file_says_where_it_was_looked_for() {
    let refused = RootKey::load(Path::new("/nonexistent/root.key")).unwrap_err();
    assert!(matches!(refused, RootKeyError::NotFound { .. }));
    assert!(refused.to_string().contains("/nonexistent/root.key"));
    assert!(refused.to_string().contains("--root-key-file"));
}

#[test]
fn a_file_that_others_may_read_is_refused_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    RootKey::create_file(&path, &SystemRandom).unwrap();
    for mode in [0o600, 0o400] {
        set_mode(&path, mode);
        assert!(RootKey::load(&path).is_ok(), "{mode:o}");
    }
    for mode in [0o644, 0o640, 0o604, 0o440, 0o404, 0o620, 0o602, 0o700, 0o500, 0o4600, 0o777] {
        set_mode(&path, mode);
        let refused = RootKey::load(&path).unwrap_err();
        assert!(
            matches!(refused, RootKeyError::Mode { mode: seen, .. } if seen == mode),
            "{mode:o}"
        );
        let text = refused.to_string();
        assert!(text.contains(&format!("{mode:04o}")) && text.contains("chmod 600"), "{text}");
    }
}

/// The file that is judged is the one that is read, also behind a link.
#[test]
fn a_link_is_judged_by_what_it_leads_to() {
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (dir.path().join("root.key"), dir.path().join("link"));
    RootKey::create_file(&path, &SystemRandom).unwrap();
    symlink(&path, &link).unwrap();
    assert!(RootKey::load(&link).is_ok());
    set_mode(&path, 0o644);
    assert!(matches!(RootKey::load(&link).unwrap_err(), RootKeyError::Mode { .. }));
    // A link is never followed to make a file.
    let made = RootKey::create_file(&link, &SystemRandom).unwrap_err();
    assert!(matches!(made, RootKeyError::Exists { .. }));
}

#[test]
fn what_is_no_file_is_refused_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let refused = RootKey::load(dir.path()).unwrap_err();
    assert!(matches!(refused, RootKeyError::NotAFile { .. }), "{refused}");
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg("-m").arg("600").arg(&pipe).status();
    assert!(made.unwrap().success());
    let refused = RootKey::load(&pipe).unwrap_err();
    assert!(matches!(refused, RootKeyError::NotAFile { .. }), "{refused}");
}

#[test]
fn a_key_brought_along_is_read_in_hexadecimal_and_base64() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    // The 32 bytes 0..32, by `xxd -p` and `base64`.
    let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    write(&path, format!("{hex}\n"));
    let (_, wrapped) = Keyring::create(&RootKey::load(&path).unwrap(), &SystemRandom).unwrap();
    let same = [
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n".to_owned(),
        hex.to_uppercase(),
        format!("{hex}\r\n"),
    ];
    for text in same {
        write(&path, &text);
        assert!(Keyring::open(&RootKey::load(&path).unwrap(), [&wrapped]).is_ok(), "{text}");
    }
}

#[test]
fn other_lengths_and_letters_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    for bytes in [0, 1, 31, 32, 33, 43, 45, 61, 63, 65, 100, 10_000] {
        write(&path, vec![b'a'; bytes]);
        let refused = RootKey::load(&path).unwrap_err();
        let seen =
            matches!(refused, RootKeyError::Length { bytes: seen, .. } if seen == bytes as u64);
        assert!(seen, "{bytes}: {refused}");
    }
    for text in
        ["g".repeat(64), "=".repeat(44), "a".repeat(44), " ".repeat(62), "\u{e9}".repeat(32)]
    {
        write(&path, &text);
        let refused = RootKey::load(&path).unwrap_err();
        assert!(matches!(refused, RootKeyError::Malformed { .. }), "{text}: {refused}");
    }
}
