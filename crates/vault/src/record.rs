//! Sealing of one record, bound to the place it stands in.

use crate::{CustomerKey, VaultError, key::Purpose};
use types::{Customer, Id, SecretBytes};

/// Where a sealed record stands. It opens only under exactly this context.
#[derive(Clone, Copy, Debug)]
pub struct RecordContext<'a> {
    pub table: &'a str,
    /// The row's id.
    pub record: &'a [u8],
    pub column: &'a str,
    pub customer: Id<Customer>,
    /// Counts up with each replacement, so that an older value put back is refused.
    pub version: u64,
    /// The generation that wraps the customer key.
    pub generation: u32,
}

impl RecordContext<'_> {
    /// Every variable part is preceded by its length: no two contexts have one encoding.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.table.len() + self.column.len());
        for part in [self.table.as_bytes(), self.record, self.column.as_bytes()] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(&self.customer.to_bytes());
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes
    }

    fn is_of(&self, key: &CustomerKey) -> bool {
        key.customer() == self.customer && key.generation() == self.generation
    }
}

/// Seals a record under a fresh key derived from its customer's.
///
/// # Errors
/// [`VaultError::TooLong`] above [`crate::MAX_RECORD_BYTES`]; [`VaultError::OtherKey`] if `key` is
/// not that of the context's customer and generation.
pub fn seal(
    key: &CustomerKey,
    context: &RecordContext<'_>,
    plain: &SecretBytes,
) -> Result<Vec<u8>, VaultError> {
    if !context.is_of(key) {
        return Err(VaultError::OtherKey);
    }
    key.key().seal(Purpose::Record, &context.encode(), plain.expose())
}

/// Opens a record that [`seal`] made for exactly this context.
///
/// # Errors
/// [`VaultError::NotAuthentic`] if a bit differs in the record or in its context.
pub fn open(
    key: &CustomerKey,
    context: &RecordContext<'_>,
    sealed: &[u8],
) -> Result<SecretBytes, VaultError> {
    if !context.is_of(key) {
        return Err(VaultError::OtherKey);
    }
    key.key().open(Purpose::Record, &context.encode(), sealed)
}
