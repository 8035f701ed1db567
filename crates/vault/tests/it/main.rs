//! What the vault promises, seen from outside.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod credential;
mod injection;
mod keyring;
mod passphrase;
mod record;
mod root_key;
mod share;

use types::SecretBytes;

fn secret(bytes: impl AsRef<[u8]>) -> SecretBytes {
    SecretBytes::new(bytes.as_ref().to_vec())
}
