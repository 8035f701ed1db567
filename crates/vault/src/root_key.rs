//! The root key and its file.
//!
//! The file holds one line of text: `wgroot1.` and 54 characters of unpadded base64url (RFC 4648
//! §5) of the 32 key bytes followed by the first 8 bytes of SHA-256 over `wgroot1.` and the key.
//! So a cut, mistyped or foreign file is recognised before it is tried on a vault. A key that
//! somebody brings along (`openssl rand -base64 32`, `openssl rand -hex 32`) is read too: 44
//! characters of padded base64 or 64 hexadecimal digits. The file is never part of a backup.
//!
//! A file that a passphrase seals begins with `wgroot2.`: see [`crate::Passphrase`].

use crate::{
    VaultError,
    key::{KEY_BYTES, Key, Purpose},
    passphrase::{self, Passphrase},
};
use aws_lc_rs::digest;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rustix::fs::OFlags;
use secrecy::zeroize::Zeroizing;
use std::{
    fmt,
    fs::{DirBuilder, File, OpenOptions},
    io,
    io::{Read as _, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
};
use types::Random;

const PREFIX: &str = "wgroot1.";
const CHECKSUM_BYTES: usize = 8;
const PAYLOAD_BYTES: usize = KEY_BYTES + CHECKSUM_BYTES;
/// Base64 of 40 bytes without padding.
const PAYLOAD_CHARS: usize = 54;
/// Without the line end.
const LINE_CHARS: usize = PREFIX.len() + PAYLOAD_CHARS;
const HEX_CHARS: usize = 2 * KEY_BYTES;
const BASE64_CHARS: usize = 44;
/// The longest spelling, with its line end (two characters where an editor makes it so).
const MAX_FILE_BYTES: usize = passphrase::LINE_CHARS + 2;
const READ_ONLY: u32 = 0o400;
/// Bytes of a name, which says nothing of the key.
const NAME_BYTES: usize = 8;

/// Who looks after the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// This process's user: it is theirs alone.
    User,
    /// The service manager, which hands it to this process: it is the user's or root's, and nobody
    /// else may read it. systemd gives access by a list (ACL), which shows as the group's bits.
    Manager,
}

/// What everything in the vault hangs on.
///
/// ```compile_fail
/// fn copy(key: &vault::RootKey) -> vault::RootKey { key.clone() }
/// ```
/// ```compile_fail
/// fn print(key: &vault::RootKey) { println!("{key}"); }
/// ```
pub struct RootKey(Key);

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(hidden)")
    }
}

/// Why there is no root key.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    #[error(
        "there is no root key file at {}: name it by --root-key-file or WEIRGATE_ROOT_KEY_FILE, or restore it from where you keep it",
        path.display()
    )]
    NotFound { path: PathBuf },
    #[error("{} exists already: a root key file is never overwritten", path.display())]
    Exists { path: PathBuf },
    #[error(
        "the root key file {} has mode {mode:04o}, and must be its owner's alone: run `chmod 600 {}`, and consider the key known to whoever could read it",
        path.display(), path.display()
    )]
    Mode { path: PathBuf, mode: u32 },
    #[error("the root key file {} belongs to user {owner}, and this process is user {user}", path.display())]
    Owner { path: PathBuf, owner: u32, user: u32 },
    #[error("{} is no regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error(
        "the root key file {} has {bytes} bytes: a root key is one line of {} characters, 64 hexadecimal digits, or 44 characters of base64",
        path.display(), LINE_CHARS
    )]
    Length { path: PathBuf, bytes: u64 },
    #[error(
        "the root key file {} is damaged or something else: it must be one line that begins with wgroot1. and whose checksum fits, or 32 bytes in hexadecimal or base64",
        path.display()
    )]
    Malformed { path: PathBuf },
    #[error("the root key file {} is sealed by a passphrase, and none is given", path.display())]
    Sealed { path: PathBuf },
    #[error("the root key file {} is not sealed by a passphrase", path.display())]
    NotSealed { path: PathBuf },
    #[error("the passphrase does not open the root key file {}", path.display())]
    WrongPassphrase { path: PathBuf },
    #[error("the root key file {} cannot be read or written", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("no root key could be made")]
    Generate(#[from] VaultError),
}

impl RootKey {
    /// A new root key that stands nowhere yet.
    pub fn generate(random: &dyn Random) -> Result<Self, VaultError> {
        Key::generate(random).map(Self)
    }

    /// Tells root keys apart; it says nothing of the key, and may stand anywhere.
    pub fn name(&self) -> Result<String, VaultError> {
        let name = self.0.derive(&[], Purpose::RootKeyName)?;
        Ok(name.expose().iter().take(NAME_BYTES).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Makes a root key and its file (mode 0400), with missing folders (mode 0700) above it. When
    /// this returns, the file is on the disk.
    ///
    /// # Errors
    /// [`RootKeyError::Exists`] if there is anything at `path`.
    pub fn create_file(path: &Path, random: &dyn Random) -> Result<Self, RootKeyError> {
        let key = Self::generate(random)?;
        key.write_file(path, None, random)?;
        Ok(key)
    }

    /// Writes the key's file as [`Self::create_file`] does, sealed if there is a passphrase.
    ///
    /// # Errors
    /// [`RootKeyError::Exists`] if there is anything at `path`.
    pub fn write_file(
        &self,
        path: &Path,
        passphrase: Option<&Passphrase>,
        random: &dyn Random,
    ) -> Result<(), RootKeyError> {
        let text = match passphrase {
            Some(passphrase) => passphrase.seal(&self.0)?,
            None => self.encode(),
        };
        let failed = |source| RootKeyError::Io { path: path.to_owned(), source };
        let folder = folder_of(path);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let draft = draft(folder, &text, random).map_err(|error| error.at(path))?;
        // Never over another's.
        let linked = std::fs::hard_link(&draft, path);
        // Ours alone, whether or not it became a key.
        let removed = std::fs::remove_file(&draft);
        linked.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => RootKeyError::Exists { path: path.to_owned() },
            _ => failed(source),
        })?;
        removed.and_then(|()| File::open(folder)?.sync_all()).map_err(failed)
    }

    /// Puts this key's file in place of the one that is there, in one step: with a passphrase, or without
    /// one any more. The other form is not overwritten on the disk, and may be found there.
    pub fn replace_file(
        &self,
        path: &Path,
        passphrase: Option<&Passphrase>,
        random: &dyn Random,
    ) -> Result<(), RootKeyError> {
        let text = match passphrase {
            Some(passphrase) => passphrase.seal(&self.0)?,
            None => self.encode(),
        };
        let failed = |source| RootKeyError::Io { path: path.to_owned(), source };
        // Where a link leads: the file itself is replaced.
        let path = &std::fs::canonicalize(path).map_err(failed)?;
        let folder = folder_of(path);
        let draft = draft(folder, &text, random).map_err(|error| error.at(path))?;
        if let Err(source) = std::fs::rename(&draft, path) {
            let _ = std::fs::remove_file(&draft);
            return Err(failed(source));
        }
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Reads a root key file that no passphrase seals.
    ///
    /// # Errors
    /// [`RootKeyError::Mode`] unless its mode is 0400 or 0600, [`RootKeyError::Owner`] unless it
    /// is this process's user's, [`RootKeyError::Malformed`] unless its checksum fits,
    /// [`RootKeyError::Sealed`] if a passphrase seals it.
    pub fn load(path: &Path) -> Result<Self, RootKeyError> {
        Self::load_with(path, Keeper::User, None)
    }

    /// Whether a passphrase seals the file.
    pub fn is_sealed(path: &Path, keeper: Keeper) -> Result<bool, RootKeyError> {
        Ok(line(&read(path, keeper)?.0).starts_with(passphrase::PREFIX.as_bytes()))
    }

    /// As [`Self::load`], with the passphrase that seals it, if one does.
    ///
    /// # Errors
    /// As [`Self::load`]; [`RootKeyError::WrongPassphrase`] if it does not open it.
    pub fn load_with(
        path: &Path,
        keeper: Keeper,
        passphrase: Option<&Passphrase>,
    ) -> Result<Self, RootKeyError> {
        let (text, bytes) = read(path, keeper)?;
        let path = || path.to_owned();
        let line = line(&text);
        if line.starts_with(passphrase::PREFIX.as_bytes()) {
            let sealed =
                passphrase::read(line).ok_or_else(|| RootKeyError::Malformed { path: path() })?;
            let passphrase = passphrase.ok_or_else(|| RootKeyError::Sealed { path: path() })?;
            return match passphrase.open(&sealed) {
                Ok(key) => Ok(Self(key)),
                Err(VaultError::NotAuthentic) => {
                    Err(RootKeyError::WrongPassphrase { path: path() })
                }
                Err(error) => Err(error.into()),
            };
        }
        match line.len() {
            LINE_CHARS | HEX_CHARS | BASE64_CHARS => {
                Self::decode(&text).ok_or_else(|| RootKeyError::Malformed { path: path() })
            }
            _ => Err(RootKeyError::Length { path: path(), bytes }),
        }
    }

    /// A key of these bytes, which a vault has to confirm.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Result<Self, VaultError> {
        Key::from_slice(bytes).map(Self)
    }

    fn encode(&self) -> Zeroizing<String> {
        let mut payload = Zeroizing::new(Vec::with_capacity(PAYLOAD_BYTES));
        payload.extend_from_slice(self.0.expose());
        payload.extend_from_slice(&checksum(self.0.expose()));
        let mut text = Zeroizing::new(String::with_capacity(LINE_CHARS + 1));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&*payload, &mut text);
        text.push('\n');
        text
    }

    fn decode(text: &[u8]) -> Option<Self> {
        let line = line(text);
        let Some(payload) = line.strip_prefix(PREFIX.as_bytes()) else {
            return Self::decode_plain(line);
        };
        if payload.len() != PAYLOAD_CHARS {
            return None;
        }
        let mut bytes = Zeroizing::new([0_u8; PAYLOAD_BYTES]);
        let length = URL_SAFE_NO_PAD.decode_slice(payload, &mut *bytes).ok()?;
        let (key, given) = bytes.get(..length)?.split_at_checked(KEY_BYTES)?;
        if checksum(key) != *given {
            return None;
        }
        Key::from_slice(key).ok().map(Self)
    }

    /// Without a checksum: a mistyped key is found only when it does not open a vault.
    fn decode_plain(line: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        match line.len() {
            HEX_CHARS => {
                for (byte, digits) in key.iter_mut().zip(line.chunks_exact(2)) {
                    *byte = digits.iter().try_fold(0, |byte, digit| {
                        let digit = char::from(*digit).to_digit(16)?;
                        Some(byte << 4 | u8::try_from(digit).ok()?)
                    })?;
                }
            }
            BASE64_CHARS => {
                // One byte more than the key, because the decoder reckons with whole groups.
                let mut bytes = Zeroizing::new([0_u8; KEY_BYTES + 1]);
                let length = STANDARD.decode_slice(line, &mut *bytes).ok()?;
                key.copy_from_slice(bytes.get(..length)?.get(..KEY_BYTES)?);
                if length != KEY_BYTES {
                    return None;
                }
            }
            _ => return None,
        }
        Key::from_slice(&*key).ok().map(Self)
    }

    pub(crate) const fn key(&self) -> &Key {
        &self.0
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

enum DraftError {
    Io(io::Error),
    Random(VaultError),
}

impl DraftError {
    fn at(self, path: &Path) -> RootKeyError {
        match self {
            Self::Io(source) => RootKeyError::Io { path: path.to_owned(), source },
            Self::Random(error) => error.into(),
        }
    }
}

/// A key's file under a name of its own: who looks meanwhile never reads half a key.
fn draft(folder: &Path, text: &str, random: &dyn Random) -> Result<PathBuf, DraftError> {
    let mut number = [0; 8];
    random.fill(&mut number).map_err(|error| DraftError::Random(error.into()))?;
    let draft = folder.join(format!(".root-key.{:016x}.draft", u64::from_be_bytes(number)));
    let file = OpenOptions::new().write(true).create_new(true).mode(READ_ONLY).open(&draft);
    let written = file.map_err(DraftError::Io).and_then(|mut file| {
        // Stated once more because the process's umask takes bits away.
        file.set_permissions(std::fs::Permissions::from_mode(READ_ONLY))
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| file.sync_all())
            .map_err(|source| {
                let _ = std::fs::remove_file(&draft);
                DraftError::Io(source)
            })
    });
    written.map(|()| draft)
}

/// A key file's text, and how long it is, if nobody else may read it.
fn read(path: &Path, keeper: Keeper) -> Result<(Zeroizing<Vec<u8>>, u64), RootKeyError> {
    let failed = |source| RootKeyError::Io { path: path.to_owned(), source };
    // Without NONBLOCK a pipe under this name would hold the start for ever.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => RootKeyError::NotFound { path: path.to_owned() },
            _ => failed(source),
        })?;
    // Of the opened file, so that nobody can exchange it between check and use.
    let facts = file.metadata().map_err(failed)?;
    if !facts.is_file() {
        return Err(RootKeyError::NotAFile { path: path.to_owned() });
    }
    let (mode, user) = (facts.mode() & 0o7777, rustix::process::geteuid().as_raw());
    let (is_closed, is_owned) = match keeper {
        Keeper::User => (mode == READ_ONLY || mode == 0o600, facts.uid() == user),
        Keeper::Manager => (mode & !0o640 == 0, facts.uid() == user || facts.uid() == 0),
    };
    if !is_closed {
        return Err(RootKeyError::Mode { path: path.to_owned(), mode });
    }
    if !is_owned {
        return Err(RootKeyError::Owner { path: path.to_owned(), owner: facts.uid(), user });
    }
    // Full size from the start: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES + 1));
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut text).map_err(failed)?;
    Ok((text, facts.len()))
}

fn line(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn checksum(key: &[u8]) -> [u8; CHECKSUM_BYTES] {
    checksum_of(PREFIX, key)
}

/// The first bytes of SHA-256 over a line's prefix and what follows it.
pub(crate) fn checksum_of(prefix: &str, bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(prefix.as_bytes());
    context.update(bytes);
    let mut checksum = [0; CHECKSUM_BYTES];
    for (to, from) in checksum.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::SeededRandom;

    #[test]
    fn every_changed_character_and_every_cut_of_the_file_is_recognised() {
        let key = RootKey::generate(&SeededRandom::new(3)).unwrap();
        let text = key.encode();
        assert_eq!(text.len(), LINE_CHARS + 1);
        assert_eq!(RootKey::decode(text.as_bytes()).unwrap().0.expose(), key.0.expose());
        // An editor may drop the line end; that loses nothing.
        assert!(RootKey::decode(text.trim_end().as_bytes()).is_some());
        for place in 0..LINE_CHARS {
            assert!(RootKey::decode(&text.as_bytes()[..place]).is_none(), "cut at {place}");
            for bit in 0..8 {
                let mut other = text.as_bytes().to_vec();
                other[place] ^= 1 << bit;
                assert!(RootKey::decode(&other).is_none(), "byte {place} bit {bit}");
            }
        }
        assert!(RootKey::decode(format!("{}\n", &*text).as_bytes()).is_none());
        assert!(RootKey::decode(b"").is_none());
    }
}
