//! A root key file that a passphrase seals.
//!
//! One line: `wgroot2.` and unpadded base64url of: memory in KiB, passes and lanes of Argon2id (RFC
//! 9106), four bytes each; 16 bytes of salt; the key, sealed under what Argon2id made of passphrase and
//! salt; and the first 8 bytes of SHA-256 over `wgroot2.` and all before. So a damaged file is told from
//! a wrong passphrase. The costs stand in the file: they can rise without another format.

use crate::{
    VaultError,
    key::{KEY_BYTES, Key, Purpose},
    root_key::checksum_of,
};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::zeroize::Zeroizing;
use types::{Random as _, SecretText, SystemRandom};

pub(crate) const PREFIX: &str = "wgroot2.";
/// 256 MiB and four passes: about half a second on one core.
const MEMORY_KIB: u32 = 256 * 1024;
const PASSES: u32 = 4;
const LANES: u32 = 1;
/// A file that asks for less was not made by this product, one that asks for more would keep a start
/// from ever being done.
const MEMORY_RANGE: std::ops::RangeInclusive<u32> = MEMORY_KIB..=4 * 1024 * 1024;
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 16;
const SALT_BYTES: usize = 16;
const COSTS_BYTES: usize = 12;
/// Format, salt and tag of a sealed value around the key.
const SEALED_BYTES: usize = 1 + 24 + KEY_BYTES + 16;
const CHECKSUM_BYTES: usize = 8;
const PAYLOAD_BYTES: usize = COSTS_BYTES + SALT_BYTES + SEALED_BYTES + CHECKSUM_BYTES;
/// Without the line end.
pub(crate) const LINE_CHARS: usize = PREFIX.len() + (PAYLOAD_BYTES * 4).div_ceil(3);

/// Characters of the shortest passphrase: five words, or twice the digits of a bank card.
pub const MIN_PASSPHRASE_CHARS: usize = 20;
const MAX_BYTES: usize = 1024;

/// What seals a root key file. It is never printed, and wiped on drop.
///
/// ```compile_fail
/// fn print(passphrase: vault::Passphrase) { println!("{passphrase}"); }
/// ```
/// ```compile_fail
/// fn copy(passphrase: &vault::Passphrase) -> vault::Passphrase { passphrase.clone() }
/// ```
#[derive(Debug)]
pub struct Passphrase(SecretText);

/// Why a text is no passphrase. Says nothing of it but its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    #[error("a passphrase has at least {MIN_PASSPHRASE_CHARS} characters, this one {is}")]
    TooShort { is: usize },
    #[error("a passphrase has at most {MAX_BYTES} bytes, this one {is}")]
    TooLong { is: usize },
    #[error("a passphrase is one line of text without control characters")]
    NotALine,
}

impl Passphrase {
    /// A line as it was typed or stands in a file; its end is no part of it.
    pub fn new(line: &SecretText) -> Result<Self, PassphraseError> {
        let text = line.expose();
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let is = text.chars().count();
        if is < MIN_PASSPHRASE_CHARS {
            return Err(PassphraseError::TooShort { is });
        }
        if text.len() > MAX_BYTES {
            return Err(PassphraseError::TooLong { is: text.len() });
        }
        if text.chars().any(char::is_control) {
            return Err(PassphraseError::NotALine);
        }
        Ok(Self(SecretText::new(text.to_owned())))
    }

    /// The file's text.
    pub(crate) fn seal(&self, key: &Key) -> Result<Zeroizing<String>, VaultError> {
        let mut head = Vec::with_capacity(PAYLOAD_BYTES);
        for cost in [MEMORY_KIB, PASSES, LANES] {
            head.extend_from_slice(&cost.to_be_bytes());
        }
        let mut salt = [0; SALT_BYTES];
        SystemRandom.fill(&mut salt)?;
        head.extend_from_slice(&salt);
        let sealing = self.stretched([MEMORY_KIB, PASSES, LANES], &salt)?;
        let sealed = sealing.seal(Purpose::RootKey, &head, key.expose())?;
        let mut payload = head;
        payload.extend_from_slice(&sealed);
        let checksum = checksum_of(PREFIX, &payload);
        payload.extend_from_slice(&checksum);
        let mut text = Zeroizing::new(String::from(PREFIX));
        URL_SAFE_NO_PAD.encode_string(&payload, &mut text);
        text.push('\n');
        Ok(text)
    }

    /// # Errors
    /// [`VaultError::NotAuthentic`] if it does not open it.
    pub(crate) fn open(&self, file: &SealedKey) -> Result<Key, VaultError> {
        let sealing = self.stretched(file.costs, &file.salt)?;
        let key = sealing.open(Purpose::RootKey, &file.head, &file.sealed)?;
        Key::from_slice(key.expose())
    }

    fn stretched(&self, costs: [u32; 3], salt: &[u8]) -> Result<Key, VaultError> {
        let [memory, passes, lanes] = costs;
        let params = Params::new(memory, passes, lanes, Some(KEY_BYTES));
        let params = params.map_err(|_| VaultError::Crypto)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(self.0.expose().as_bytes(), salt, &mut *key)
            .map_err(|_| VaultError::Crypto)?;
        Key::from_slice(&*key)
    }
}

/// What stands in a sealed file.
pub(crate) struct SealedKey {
    costs: [u32; 3],
    salt: [u8; SALT_BYTES],
    /// Costs and salt, which the sealed key is bound to.
    head: Vec<u8>,
    sealed: Vec<u8>,
}

/// Reads a line that begins with the prefix; `None` for one that is damaged, or asks for costs that
/// this product never did.
pub(crate) fn read(line: &[u8]) -> Option<SealedKey> {
    if line.len() != LINE_CHARS {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(line.strip_prefix(PREFIX.as_bytes())?).ok()?;
    let (payload, given) = payload.split_at_checked(payload.len().checked_sub(CHECKSUM_BYTES)?)?;
    if checksum_of(PREFIX, payload) != *given {
        return None;
    }
    let (head, sealed) = payload.split_at_checked(COSTS_BYTES + SALT_BYTES)?;
    let (costs, salt) = head.split_at_checked(COSTS_BYTES)?;
    let mut read = [0; 3];
    for (cost, bytes) in read.iter_mut().zip(costs.chunks_exact(4)) {
        *cost = u32::from_be_bytes(bytes.try_into().ok()?);
    }
    let [memory, passes, lanes] = read;
    let is_ours = MEMORY_RANGE.contains(&memory)
        && (1..=MAX_PASSES).contains(&passes)
        && (1..=MAX_LANES).contains(&lanes);
    is_ours.then(|| SealedKey {
        costs: read,
        salt: salt.try_into().unwrap_or_default(),
        head: head.to_vec(),
        sealed: sealed.to_vec(),
    })
}
