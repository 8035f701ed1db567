//! The root key and its file.
//!
//! The file holds one line of text: `wgroot1.` and 54 characters of unpadded base64url (RFC 4648
//! §5) of the 32 key bytes followed by the first 8 bytes of SHA-256 over `wgroot1.` and the key.
//! So a cut, mistyped or foreign file is recognised before it is tried on a vault. A key that
//! somebody brings along (`openssl rand -base64 32`, `openssl rand -hex 32`) is read too: 44
//! characters of padded base64 or 64 hexadecimal digits. The file is never part of a backup.

use crate::{
    VaultError,
    key::{KEY_BYTES, Key},
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
const MAX_FILE_BYTES: usize = HEX_CHARS + 2;
const READ_ONLY: u32 = 0o400;

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

    /// Makes a root key and its file (mode 0400), with missing folders (mode 0700) above it. When
    /// this returns, the file is on the disk.
    ///
    /// # Errors
    /// [`RootKeyError::Exists`] if there is anything at `path`.
    pub fn create_file(path: &Path, random: &dyn Random) -> Result<Self, RootKeyError> {
        let key = Self::generate(random)?;
        let failed = |source| RootKeyError::Io { path: path.to_owned(), source };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        // Whole or not at all, under a name of its own first: who looks meanwhile never reads half a key.
        let mut number = [0; 8];
        random.fill(&mut number).map_err(VaultError::from)?;
        let draft = folder.join(format!(".root-key.{:016x}.draft", u64::from_be_bytes(number)));
        let file = OpenOptions::new().write(true).create_new(true).mode(READ_ONLY).open(&draft);
        let written = file.and_then(|file| key.write(file));
        // Never over another's.
        let linked = written.and_then(|()| std::fs::hard_link(&draft, path));
        // Ours alone, whether or not it became a key.
        let removed = std::fs::remove_file(&draft);
        linked.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => RootKeyError::Exists { path: path.to_owned() },
            _ => failed(source),
        })?;
        removed.and_then(|()| File::open(folder)?.sync_all()).map_err(failed)?;
        Ok(key)
    }

    fn write(&self, mut file: File) -> io::Result<()> {
        // Stated once more because the process's umask takes bits away.
        file.set_permissions(std::fs::Permissions::from_mode(READ_ONLY))?;
        file.write_all(self.encode().as_bytes())?;
        file.sync_all()
    }

    /// Reads a root key file.
    ///
    /// # Errors
    /// [`RootKeyError::Mode`] unless its mode is 0400 or 0600, [`RootKeyError::Owner`] unless it
    /// is this process's user's, [`RootKeyError::Malformed`] unless its checksum fits.
    pub fn load(path: &Path) -> Result<Self, RootKeyError> {
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
        let mode = facts.mode() & 0o7777;
        if mode != READ_ONLY && mode != 0o600 {
            return Err(RootKeyError::Mode { path: path.to_owned(), mode });
        }
        let user = rustix::process::geteuid().as_raw();
        if facts.uid() != user {
            return Err(RootKeyError::Owner { path: path.to_owned(), owner: facts.uid(), user });
        }
        // Full size from the start: a buffer that grows leaves copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES + 1));
        file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut text).map_err(failed)?;
        match line(&text).len() {
            LINE_CHARS | HEX_CHARS | BASE64_CHARS => {
                Self::decode(&text).ok_or_else(|| RootKeyError::Malformed { path: path.to_owned() })
            }
            _ => Err(RootKeyError::Length { path: path.to_owned(), bytes: facts.len() }),
        }
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

fn line(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn checksum(key: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(PREFIX.as_bytes());
    context.update(key);
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
