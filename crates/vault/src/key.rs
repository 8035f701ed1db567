//! The one construction that everything sealed at rest uses.
//!
//! Format of a sealed value: one version byte, 24 bytes of salt, the ciphertext, 16 bytes of tag.
//! The AES-256-GCM key is HKDF-SHA-256 (RFC 5869) of the parent key with the salt and a label for
//! the purpose. It seals this one value only, so the nonce is constant, and the 2^32 limit of
//! random 96-bit nonces (NIST SP 800-38D §8.3) does not apply.

use crate::VaultError;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};
use secrecy::{ExposeSecret, SecretBox, zeroize::Zeroizing};
use std::fmt;
use types::{Random, SecretBytes, SystemRandom};

pub(crate) const KEY_BYTES: usize = 32;
const FORMAT: u8 = 1;
const SALT_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// The longest plaintext that is sealed as one record.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// What a derived key is for: keys of different purposes never meet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Generation,
    GenerationCommitment,
    CustomerKey,
    Record,
    KeyDigest,
    Fingerprint,
    Lookup,
    Row,
    Injection,
    RootKeyName,
    RootKey,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Generation => b"weirgate vault 1 generation",
            Self::GenerationCommitment => b"weirgate vault 1 generation commitment",
            Self::CustomerKey => b"weirgate vault 1 customer key",
            Self::Record => b"weirgate vault 1 record",
            Self::KeyDigest => b"weirgate vault 1 api key digest",
            Self::Fingerprint => b"weirgate vault 1 credential fingerprint",
            Self::Lookup => b"weirgate vault 1 lookup",
            Self::Row => b"weirgate vault 1 row of the store",
            Self::Injection => b"weirgate vault 1 injection in memory",
            Self::RootKeyName => b"weirgate vault 1 root key name",
            Self::RootKey => b"weirgate vault 1 root key by passphrase",
        }
    }
}

/// 256 bits of key material: wiped on drop, never copied, never printed.
pub(crate) struct Key(SecretBox<[u8; KEY_BYTES]>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(hidden)")
    }
}

impl Key {
    pub(crate) fn generate(random: &dyn Random) -> Result<Self, VaultError> {
        let mut filled = Ok(());
        let key = SecretBox::init_with_mut(|bytes: &mut [u8; KEY_BYTES]| {
            filled = random.fill(bytes);
        });
        filled?;
        Ok(Self(key))
    }

    /// # Errors
    /// [`VaultError::KeyLength`] unless there are exactly 32 bytes.
    pub(crate) fn from_slice(bytes: &[u8]) -> Result<Self, VaultError> {
        let wrong = VaultError::KeyLength { bytes: bytes.len(), expected: KEY_BYTES };
        let bytes: &[u8; KEY_BYTES] = bytes.try_into().map_err(|_| wrong)?;
        Ok(Self(SecretBox::init_with_mut(|key: &mut [u8; KEY_BYTES]| {
            key.copy_from_slice(bytes);
        })))
    }

    pub(crate) fn expose(&self) -> &[u8; KEY_BYTES] {
        self.0.expose_secret()
    }

    pub(crate) fn derive(&self, salt: &[u8], purpose: Purpose) -> Result<Self, VaultError> {
        let mut filled = Ok(());
        let key = SecretBox::init_with_mut(|bytes: &mut [u8; KEY_BYTES]| {
            filled = hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
                .extract(self.expose())
                .expand(&[purpose.label()], hkdf::HKDF_SHA256)
                .and_then(|output| output.fill(bytes));
        });
        filled.map(|()| Self(key)).map_err(|_| VaultError::Crypto)
    }

    fn record_cipher(&self, salt: &[u8], purpose: Purpose) -> Result<LessSafeKey, VaultError> {
        let key = self.derive(salt, purpose)?;
        let unbound =
            UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| VaultError::Crypto)?;
        Ok(LessSafeKey::new(unbound))
    }

    /// Seals `plain` so that it opens only with this key, purpose and context.
    ///
    /// The salt always comes from the system, never from an injected source: a repeated salt
    /// would use one key and nonce twice.
    pub(crate) fn seal(
        &self,
        purpose: Purpose,
        context: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        if plain.len() > MAX_RECORD_BYTES {
            return Err(VaultError::TooLong { bytes: plain.len(), limit: MAX_RECORD_BYTES });
        }
        let mut salt = [0_u8; SALT_BYTES];
        SystemRandom.fill(&mut salt)?;
        let cipher = self.record_cipher(&salt, purpose)?;
        let mut body = Zeroizing::new(plain.to_vec());
        let tag = cipher
            .seal_in_place_separate_tag(constant_nonce(), Aad::from(aad(context)), &mut body)
            .map_err(|_| VaultError::Crypto)?;
        let mut sealed = Vec::with_capacity(1 + SALT_BYTES + body.len() + TAG_BYTES);
        sealed.push(FORMAT);
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(&body);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what [`Key::seal`] made with the same key, purpose and context; anything else is
    /// refused without saying which of them differs.
    pub(crate) fn open(
        &self,
        purpose: Purpose,
        context: &[u8],
        sealed: &[u8],
    ) -> Result<SecretBytes, VaultError> {
        let (format, rest) = sealed.split_first().ok_or(VaultError::Truncated { bytes: 0 })?;
        if *format != FORMAT {
            return Err(VaultError::FormatUnknown { format: *format });
        }
        if rest.len() < SALT_BYTES + TAG_BYTES {
            return Err(VaultError::Truncated { bytes: sealed.len() });
        }
        let (salt, body) = rest.split_at(SALT_BYTES);
        let cipher = self.record_cipher(salt, purpose).map_err(|_| VaultError::NotAuthentic)?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = cipher
            .open_in_place(constant_nonce(), Aad::from(aad(context)), &mut body)
            .map_err(|_| VaultError::NotAuthentic)?
            .len();
        body.truncate(length);
        Ok(SecretBytes::new(std::mem::take(&mut *body)))
    }
}

/// Each key seals one value, so no nonce is ever used twice with it.
fn constant_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn aad(context: &[u8]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(1 + context.len());
    aad.push(FORMAT);
    aad.extend_from_slice(context);
    aad
}
