//! Numbered generations under the root key, and customer keys under a generation.
//!
//! A wrapped generation is: 32 bytes of commitment to the root key, the sealed generation key, and
//! 8 bytes of SHA-256 over all before. The checksum tells accidental damage, the commitment tells
//! a wrong root key: whoever restores a backup needs to know which of the two it is.

use crate::{
    RootKey, VaultError,
    key::{KEY_BYTES, Key, Purpose},
    pepper::digests_match,
};
use aws_lc_rs::digest;
use std::{collections::BTreeMap, sync::Arc};
use types::{Customer, Id, Random, SecretBytes};

const CHECKSUM_BYTES: usize = 8;

/// A generation's key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedGeneration {
    /// Counts from 1.
    pub number: u32,
    pub blob: Vec<u8>,
}

/// A customer's key as it is stored. Deleting every copy of it erases the customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedCustomerKey {
    pub generation: u32,
    pub blob: Vec<u8>,
}

/// The opened generations. New customer keys go under the newest.
#[derive(Debug)]
pub struct Keyring {
    current: u32,
    generations: BTreeMap<u32, Arc<Key>>,
}

/// What all records of one customer are sealed under.
///
/// ```compile_fail
/// fn copy(key: &vault::CustomerKey) -> vault::CustomerKey { key.clone() }
/// ```
/// ```compile_fail
/// fn print(key: &vault::CustomerKey) { println!("{key}"); }
/// ```
#[derive(Debug)]
pub struct CustomerKey {
    customer: Id<Customer>,
    generation: u32,
    key: Key,
}

impl Keyring {
    /// A vault's first generation, with the row to store.
    pub fn create(
        root: &RootKey,
        random: &dyn Random,
    ) -> Result<(Self, WrappedGeneration), VaultError> {
        let nothing = Self { current: 0, generations: BTreeMap::new() };
        nothing.with_new_generation(root, random)
    }

    /// Opens all stored generations.
    ///
    /// # Errors
    /// [`VaultError::WrongRootKey`] or [`VaultError::GenerationDamaged`] for the first row that does not
    /// open: a vault opens whole or not at all.
    pub fn open<'a>(
        root: &RootKey,
        rows: impl IntoIterator<Item = &'a WrappedGeneration>,
    ) -> Result<Self, VaultError> {
        let mut generations = BTreeMap::new();
        for row in rows {
            let key = unwrap_generation(root, row)?;
            if generations.insert(row.number, Arc::new(key)).is_some() {
                return Err(VaultError::GenerationTwice { generation: row.number });
            }
        }
        let current = *generations.keys().next_back().ok_or(VaultError::NoGeneration)?;
        Ok(Self { current, generations })
    }

    /// This keyring with one generation more, and the row to store for it.
    pub fn with_new_generation(
        &self,
        root: &RootKey,
        random: &dyn Random,
    ) -> Result<(Self, WrappedGeneration), VaultError> {
        let number = self
            .current
            .checked_add(1)
            .ok_or(VaultError::GenerationsExhausted { generation: self.current })?;
        let key = Key::generate(random)?;
        let wrapped = wrap_generation(root, number, &key)?;
        let mut generations = self.generations.clone();
        generations.insert(number, Arc::new(key));
        Ok((Self { current: number, generations }, wrapped))
    }

    /// The rows to store in place of those that there are, under another root key. What is sealed under
    /// a generation stays as it is.
    pub fn rewrap(&self, root: &RootKey) -> Result<Vec<WrappedGeneration>, VaultError> {
        let wrapped = |(number, key): (&u32, &Arc<Key>)| wrap_generation(root, *number, key);
        self.generations.iter().map(wrapped).collect()
    }

    /// A keyring of exactly these rows: those that this one has are taken over, whichever root key wraps
    /// them by now; the others are opened.
    ///
    /// # Errors
    /// As [`Self::open`], for a row that this one does not have.
    pub fn follow<'a>(
        &self,
        root: &RootKey,
        rows: impl IntoIterator<Item = &'a WrappedGeneration>,
    ) -> Result<Self, VaultError> {
        let mut generations = BTreeMap::new();
        for row in rows {
            let key = match self.generations.get(&row.number) {
                Some(known) => Arc::clone(known),
                None => Arc::new(unwrap_generation(root, row)?),
            };
            generations.insert(row.number, key);
        }
        let current = *generations.keys().next_back().ok_or(VaultError::NoGeneration)?;
        Ok(Self { current, generations })
    }

    /// The numbers of all generations, in order.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.generations.keys().copied()
    }

    /// The generation that new customer keys go under.
    pub const fn current_generation(&self) -> u32 {
        self.current
    }

    /// A new customer's key, with the row to store.
    pub fn create_customer_key(
        &self,
        customer: Id<Customer>,
        random: &dyn Random,
    ) -> Result<(CustomerKey, WrappedCustomerKey), VaultError> {
        let key = CustomerKey { customer, generation: self.current, key: Key::generate(random)? };
        let wrapped = self.wrap_customer_key(&key)?;
        Ok((key, wrapped))
    }

    /// Wraps a customer's key under the generation that it belongs to.
    pub fn wrap_customer_key(&self, key: &CustomerKey) -> Result<WrappedCustomerKey, VaultError> {
        let generation = self.generation(key.generation)?;
        let context = customer_context(key.customer, key.generation);
        let blob = generation.seal(Purpose::CustomerKey, &context, key.key.expose())?;
        Ok(WrappedCustomerKey { generation: key.generation, blob })
    }

    /// Opens the stored key of exactly this customer.
    ///
    /// # Errors
    /// [`VaultError::CustomerKeyRefused`] if the row is damaged or another customer's.
    pub fn open_customer_key(
        &self,
        customer: Id<Customer>,
        wrapped: &WrappedCustomerKey,
    ) -> Result<CustomerKey, VaultError> {
        let context = customer_context(customer, wrapped.generation);
        let refused = |_| VaultError::CustomerKeyRefused { customer };
        let bytes = self
            .generation(wrapped.generation)?
            .open(Purpose::CustomerKey, &context, &wrapped.blob)
            .map_err(refused)?;
        let key = Key::from_slice(bytes.expose()).map_err(refused)?;
        Ok(CustomerKey { customer, generation: wrapped.generation, key })
    }

    fn generation(&self, number: u32) -> Result<&Key, VaultError> {
        let known = self.generations.get(&number).map(Arc::as_ref);
        known.ok_or(VaultError::GenerationUnknown { generation: number })
    }
}

impl CustomerKey {
    pub const fn customer(&self) -> Id<Customer> {
        self.customer
    }

    /// The generation that wraps this key, for [`crate::RecordContext::generation`].
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The key itself, to be sealed under the one that follows it.
    pub fn to_bytes(&self) -> SecretBytes {
        SecretBytes::new(self.key.expose().to_vec())
    }

    /// Reads what [`CustomerKey::to_bytes`] gave.
    pub fn from_bytes(
        customer: Id<Customer>,
        generation: u32,
        bytes: &SecretBytes,
    ) -> Result<Self, VaultError> {
        Ok(Self { customer, generation, key: Key::from_slice(bytes.expose())? })
    }

    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }
}

fn wrap_generation(
    root: &RootKey,
    number: u32,
    key: &Key,
) -> Result<WrappedGeneration, VaultError> {
    let mut blob = commitment(root, number)?.expose().to_vec();
    let sealed = root.key().seal(Purpose::Generation, &number.to_be_bytes(), key.expose())?;
    blob.extend_from_slice(&sealed);
    let checksum = checksum(number, &blob);
    blob.extend_from_slice(&checksum);
    Ok(WrappedGeneration { number, blob })
}

fn unwrap_generation(root: &RootKey, row: &WrappedGeneration) -> Result<Key, VaultError> {
    let damaged = VaultError::GenerationDamaged { generation: row.number };
    let end = row.blob.len().checked_sub(CHECKSUM_BYTES).ok_or_else(|| damaged.clone())?;
    let (blob, given) = row.blob.split_at(end);
    if checksum(row.number, blob) != *given {
        return Err(damaged);
    }
    let (stated, sealed) = blob.split_at_checked(KEY_BYTES).ok_or_else(|| damaged.clone())?;
    if !digests_match(commitment(root, row.number)?.expose(), stated) {
        return Err(VaultError::WrongRootKey { generation: row.number });
    }
    root.key()
        .open(Purpose::Generation, &row.number.to_be_bytes(), sealed)
        .and_then(|bytes| Key::from_slice(bytes.expose()))
        .map_err(|_| damaged)
}

/// Only the root key that made a generation yields its commitment.
fn commitment(root: &RootKey, number: u32) -> Result<Key, VaultError> {
    root.key().derive(&number.to_be_bytes(), Purpose::GenerationCommitment)
}

fn checksum(number: u32, blob: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&number.to_be_bytes());
    context.update(blob);
    let mut checksum = [0; CHECKSUM_BYTES];
    for (to, from) in checksum.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    checksum
}

fn customer_context(customer: Id<Customer>, generation: u32) -> Vec<u8> {
    let mut context = customer.to_bytes().to_vec();
    context.extend_from_slice(&generation.to_be_bytes());
    context
}
