//! Secrets of an installation, and how they lie in its store.

use crate::error::Error;
use store::{Everything, SealedRow, VaultGenerationRow};
use types::{Id, Node, Random, SecretBytes};
use vault::{CustomerKey, KeyPepper, Keyring, RecordContext, RootKey, WrappedGeneration};

/// Secrets of the installation itself. They lie sealed in the store like any other, so that a later
/// change of the root key re-wraps one key and touches none of them.
pub(crate) struct InstanceSecrets {
    pub pepper: KeyPepper,
    pub(super) audit_seed: SecretBytes,
    pub(super) tag_key: SecretBytes,
}

pub(super) const TABLE: &str = "instance";
/// Under a further node's id lies the key of its audit log.
pub(super) const NODE_TABLE: &str = "node";
const PEPPER: &str = "pepper";
pub(super) const AUDIT_SEED: &str = "audit_seed";
const TAG_KEY: &str = "tag_key";
pub(super) const SECRET_BYTES: usize = 32;

impl PartialEq for InstanceSecrets {
    /// Both come from sealed records that opened: nobody outside can try one after the other.
    fn eq(&self, other: &Self) -> bool {
        self.columns()
            .iter()
            .zip(&other.columns())
            .all(|(one, other)| one.0 == other.0 && one.1.expose() == other.1.expose())
    }
}

impl InstanceSecrets {
    pub(crate) fn generate(random: &dyn Random) -> Result<Self, Error> {
        let pepper = KeyPepper::generate(random)?;
        Ok(Self { pepper, audit_seed: secret(random)?, tag_key: secret(random)? })
    }

    pub(crate) fn columns(&self) -> [(&'static str, SecretBytes); 3] {
        [
            (PEPPER, self.pepper.to_bytes()),
            (AUDIT_SEED, copy(&self.audit_seed)),
            (TAG_KEY, copy(&self.tag_key)),
        ]
    }

    /// The secrets as `node` has them: each has a log with a key of its own.
    pub(super) fn open(
        keyring: &Keyring,
        everything: &Everything,
        node: Option<Id<Node>>,
    ) -> Result<Self, Error> {
        let (instance, node) = ((TABLE, everything.instance.to_bytes()), node.map(own_record));
        let read = |(table, record): (&str, [u8; 16]), column: &str| {
            let missing = Error::Internal { what: "a secret of the installation is missing" };
            let row = everything
                .sealed
                .iter()
                .find(|row| row.table == table && row.record == record && row.column == column)
                .ok_or(match Id::<Node>::from_bytes(record) {
                    node if table == NODE_TABLE => Error::NodeUnknown { node: node.to_string() },
                    _ => missing,
                })?;
            let missing = Error::Internal { what: "the installation's own customer is missing" };
            let customer =
                everything.customers.iter().find(|one| one.id == row.customer).ok_or(missing)?;
            let wrapped = vault::WrappedCustomerKey {
                generation: customer.generation,
                blob: customer.wrapped_key.clone(),
            };
            open_row(&keyring.open_customer_key(customer.id, &wrapped)?, row)
        };
        let pepper = KeyPepper::from_bytes(&read(instance, PEPPER)?)?;
        let audit_seed = read(node.unwrap_or(instance), AUDIT_SEED)?;
        Ok(Self { pepper, audit_seed, tag_key: read(instance, TAG_KEY)? })
    }
}

pub(super) const fn own_record(node: Id<Node>) -> (&'static str, [u8; 16]) {
    (NODE_TABLE, node.to_bytes())
}

pub(super) fn secret(random: &dyn Random) -> Result<SecretBytes, Error> {
    let mut bytes = vec![0; SECRET_BYTES];
    random.fill(&mut bytes)?;
    Ok(SecretBytes::new(bytes))
}

pub(super) fn copy(secret: &SecretBytes) -> SecretBytes {
    SecretBytes::new(secret.expose().to_vec())
}

pub(super) fn opened_keyring(root: &RootKey, everything: &Everything) -> Result<Keyring, Error> {
    Ok(Keyring::open(root, &wrapped(&everything.vault_generations))?)
}

pub(super) fn wrapped(rows: &[VaultGenerationRow]) -> Vec<WrappedGeneration> {
    rows.iter()
        .map(|row| WrappedGeneration { number: row.number, blob: row.wrapped_key.clone() })
        .collect()
}

pub(super) fn open_row(key: &CustomerKey, row: &SealedRow) -> Result<SecretBytes, Error> {
    let context = RecordContext {
        table: &row.table,
        record: &row.record,
        column: &row.column,
        customer: row.customer,
        version: row.version,
        generation: row.generation,
    };
    Ok(vault::open(key, &context, &row.sealed)?)
}
