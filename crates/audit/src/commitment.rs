//! Personal values stand in the log as salted commitments, so that they can be erased.

use aws_lc_rs::digest;
use std::fmt;

/// SHA-256 over a fixed label, the salt and the value. With a random salt of 32 bytes it says
/// nothing of the value; who has both can prove it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commitment([u8; 32]);

impl Commitment {
    pub fn new(salt: &[u8; 32], value: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"weirgate commitment 1\n");
        context.update(salt);
        context.update(value);
        Self(to_array(context.finish()))
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

pub(crate) fn to_array(digest: digest::Digest) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    bytes
}
