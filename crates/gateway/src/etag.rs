//! Entity tags leave sealed, bound to connection and decision: a tag that was given out under one
//! projection cannot confirm data under another.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::fmt;
use types::{Connection, Id};

/// The longest entity tag that is passed on, in bytes.
const MAX_TAG_BYTES: usize = 512;

/// Seals and opens entity tags: equal tags read equal.
pub struct TagKey {
    key: LessSafeKey,
    /// Makes the nonce out of what is sealed, so that none is used for two texts.
    nonce: hmac::Key,
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKey(hidden)")
    }
}

impl TagKey {
    /// `None` if the key material was refused, which 32 bytes never are.
    pub fn new(key: &[u8; 32]) -> Option<Self> {
        let nonce = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), b"weirgate etag nonce");
        Some(Self {
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?),
            nonce: hmac::Key::new(hmac::HMAC_SHA256, nonce.as_ref()),
        })
    }

    /// A strong tag (RFC 9110 §8.8.3) around the provider's own, or `None` if that is unusable.
    pub fn seal(
        &self,
        connection: Id<Connection>,
        decision: &[u8; 16],
        tag: &str,
    ) -> Option<String> {
        if tag.is_empty() || tag.len() > MAX_TAG_BYTES {
            return None;
        }
        let aad = aad(connection, decision);
        let digest = hmac::sign(&self.nonce, &[&aad, tag.as_bytes()].concat());
        let nonce: [u8; NONCE_LEN] = *digest.as_ref().first_chunk()?;
        let mut sealed = tag.as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                &mut sealed,
            )
            .ok()?;
        let mut bytes = nonce.to_vec();
        bytes.extend_from_slice(&sealed);
        Some(format!("\"{}\"", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The provider's tag, if this is one that was sealed for the same connection and decision.
    pub fn open(
        &self,
        connection: Id<Connection>,
        decision: &[u8; 16],
        given: &str,
    ) -> Option<String> {
        let inner = given.trim().strip_prefix('"')?.strip_suffix('"')?;
        if inner.len() > 2 * MAX_TAG_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(inner).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(aad(connection, decision)), &mut sealed)
            .ok()?;
        String::from_utf8(plain.to_vec()).ok()
    }
}

fn aad(connection: Id<Connection>, decision: &[u8; 16]) -> [u8; 32] {
    let mut aad = [0; 32];
    let (head, tail) = aad.split_at_mut(16);
    head.copy_from_slice(&connection.to_bytes());
    tail.copy_from_slice(decision);
    aad
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_opens_only_where_it_was_given_out() {
        let key = TagKey::new(&[7; 32]).unwrap();
        let (here, there) = (Id::from_u128(1), Id::from_u128(2));
        let sealed = key.seal(here, &[1; 16], "W/\"v1\"").unwrap();
        assert_eq!(key.open(here, &[1; 16], &sealed).as_deref(), Some("W/\"v1\""));
        assert_eq!(key.open(there, &[1; 16], &sealed), None);
        assert_eq!(key.open(here, &[2; 16], &sealed), None);
        assert_eq!(key.open(here, &[1; 16], "\"v1\""), None);
        assert_eq!(TagKey::new(&[8; 32]).unwrap().open(here, &[1; 16], &sealed), None);
        assert!(!sealed.contains("v1"));
        assert_eq!(key.seal(here, &[1; 16], "W/\"v1\"").unwrap(), sealed);
        assert_ne!(key.seal(here, &[1; 16], "W/\"v2\"").unwrap()[..17], sealed[..17]);
    }
}
