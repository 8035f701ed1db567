//! Keyed digests: of API keys, of credentials for display, and of names that are looked up.

use crate::{
    Credential, VaultError,
    key::{Key, Purpose},
};
use aws_lc_rs::{constant_time, hmac};
use std::{fmt, fmt::Write as _};
use types::{ApiKey, Random, SecretBytes};

/// Hexadecimal digits of a fingerprint: 64 bits tell credentials apart and reveal nothing.
const FINGERPRINT_DIGITS: usize = 16;

/// The installation's secret for keyed digests. It lives in the vault as a system secret; whoever
/// has only the database can neither test a guessed key nor a guessed name.
pub struct KeyPepper {
    secret: Key,
    key_digest: hmac::Key,
    fingerprint: hmac::Key,
    lookup: hmac::Key,
    row: hmac::Key,
}

impl fmt::Debug for KeyPepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPepper(hidden)")
    }
}

impl KeyPepper {
    pub fn generate(random: &dyn Random) -> Result<Self, VaultError> {
        Self::new(Key::generate(random)?)
    }

    /// Reads what [`KeyPepper::to_bytes`] gave.
    ///
    /// # Errors
    /// [`VaultError::KeyLength`] unless there are exactly 32 bytes.
    pub fn from_bytes(bytes: &SecretBytes) -> Result<Self, VaultError> {
        Self::new(Key::from_slice(bytes.expose())?)
    }

    /// 32 bytes, for sealing as a record under the reserved customer `self`.
    pub fn to_bytes(&self) -> SecretBytes {
        SecretBytes::new(self.secret.expose().to_vec())
    }

    fn new(secret: Key) -> Result<Self, VaultError> {
        let derive = |purpose| -> Result<hmac::Key, VaultError> {
            Ok(hmac::Key::new(hmac::HMAC_SHA256, secret.derive(&[], purpose)?.expose()))
        };
        let (key_digest, fingerprint, lookup) =
            (derive(Purpose::KeyDigest)?, derive(Purpose::Fingerprint)?, derive(Purpose::Lookup)?);
        let row = derive(Purpose::Row)?;
        Ok(Self { secret, key_digest, fingerprint, lookup, row })
    }

    /// The only form in which an API key is stored: HMAC-SHA-256.
    pub fn digest(&self, key: &ApiKey) -> [u8; 32] {
        digest(&self.key_digest, &[key.expose().as_bytes()])
    }

    /// A short name for a credential, to tell two apart on a screen. It reveals nothing of it.
    pub fn fingerprint(&self, credential: &Credential) -> String {
        let bytes = credential.to_record_bytes();
        let mut text = String::with_capacity(FINGERPRINT_DIGITS);
        for byte in digest(&self.fingerprint, &[bytes.expose()]).iter().take(FINGERPRINT_DIGITS / 2)
        {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Finds a sealed text (such as a customer's name) without opening anything: equal texts of
    /// one `kind` have equal digests. No normalisation happens here.
    pub fn lookup_digest(&self, kind: &str, text: &str) -> [u8; 32] {
        let length = (kind.len() as u64).to_be_bytes();
        digest(&self.lookup, &[&length, kind.as_bytes(), text.as_bytes()])
    }

    /// Authenticates a row of the store: its kind, its id, and all of its values. `content` must
    /// have one spelling for one meaning.
    pub fn row_seal(&self, kind: &str, id: &str, content: &[u8]) -> [u8; 32] {
        let (kind_length, id_length) =
            ((kind.len() as u64).to_be_bytes(), (id.len() as u64).to_be_bytes());
        let parts = [&kind_length, kind.as_bytes(), &id_length, id.as_bytes(), content];
        digest(&self.row, &parts)
    }
}

fn digest(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(context.sign().as_ref()) {
        *to = *from;
    }
    digest
}

/// Compares in a time that does not depend on where the two differ.
pub fn digests_match(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}
