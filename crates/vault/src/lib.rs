//! Credentials at rest and in memory: the key hierarchy and the sealing of single records.
//!
//! The hierarchy is root key → numbered generation → customer key → record. The root key comes
//! from a file that is no part of the data folder. A record is sealed under a key of its own
//! (HKDF-SHA-256 from the customer key with a 192-bit random salt, then AES-256-GCM), bound to its
//! table, record, column, customer, version and generation: a flipped bit, a swapped row, another
//! customer's row or an older version is refused, and never opens to a wrong plaintext. Destroying
//! a customer key makes every record of that customer unreadable, in backups too.
//!
//! What it does not do: it stores nothing but the root key file, and it cannot tell alone that a
//! whole database was put back to an earlier state. For that, [`head`] is bound into the audit
//! log's checkpoints.
#![forbid(unsafe_code)]

pub mod auth;
mod credential;
mod echo;
mod error;
mod escapes;
mod head;
mod injection;
mod key;
mod keyring;
mod passphrase;
mod pepper;
mod record;
mod root_key;
mod secret_json;
mod share;

pub use credential::{Credential, CredentialError, CredentialKind, MAX_SECRET_FILE_BYTES, Supply};
pub use echo::Echoes;
pub use error::VaultError;
pub use head::{HeadRow, VaultHead, head, seals_head};
pub use injection::{
    Injection, MemoryKey, OpenError, OpenInjection, OpenPart, Placement, SealedInjection, Way,
};
pub use key::MAX_RECORD_BYTES;
pub use keyring::{CustomerKey, Keyring, WrappedCustomerKey, WrappedGeneration};
pub use passphrase::{MIN_PASSPHRASE_CHARS, Passphrase, PassphraseError};
pub use pepper::{KeyPepper, digests_match};
pub use record::{RecordContext, open, seal};
pub use root_key::{Keeper, RootKey, RootKeyError};
pub use share::{MAX_SHARES, Share, ShareError, combine, split};
