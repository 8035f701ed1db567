//! Why the vault did not seal or open.

use types::{Customer, Id, RandomError};

/// Says numbers, ids and sizes, never a value. None of these is a wrong plaintext: what does not
/// open exactly as it was sealed does not open at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    #[error("the vault has no generation of keys: restore the database from a backup")]
    NoGeneration,
    #[error(
        "generation {generation} of the vault was made under another root key: use the root key file that belongs to this data folder"
    )]
    WrongRootKey { generation: u32 },
    #[error("generation {generation} of the vault is damaged: restore the database from a backup")]
    GenerationDamaged { generation: u32 },
    #[error("generation {generation} of the vault stands there twice")]
    GenerationTwice { generation: u32 },
    #[error("generation {generation} of the vault is missing")]
    GenerationUnknown { generation: u32 },
    #[error("no generation after {generation} can be numbered")]
    GenerationsExhausted { generation: u32 },
    /// Changed, another customer's, or of another generation.
    #[error("the key of customer {customer} is damaged or does not belong there")]
    CustomerKeyRefused { customer: Id<Customer> },
    #[error("a record holds at most {limit} bytes, this one has {bytes}")]
    TooLong { bytes: usize, limit: usize },
    #[error("the key belongs to another customer or generation than the record")]
    OtherKey,
    #[error("a sealed value of {bytes} bytes is cut")]
    Truncated { bytes: usize },
    #[error("format {format} of a sealed value is unknown to this release: use a newer one")]
    FormatUnknown { format: u8 },
    /// Changed, moved from another place, of another version, or sealed under another key.
    #[error("the sealed value is damaged or does not belong here")]
    NotAuthentic,
    #[error("key material has {bytes} bytes instead of {expected}")]
    KeyLength { bytes: usize, expected: usize },
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error("the cryptographic library refused to work")]
    Crypto,
}
