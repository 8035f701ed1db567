//! Customers: whose data a connection reaches, and the unit of erasure.
//!
//! A customer's name is personal data: it stands sealed under the customer's own key, is found by a
//! keyed digest, and appears in the audit log only as a salted commitment.

use crate::{
    audit_log,
    change::{Care, Change, Changing},
    error::Error,
    folder::DataFolder,
    instance::{Instance, SELF_CUSTOMER},
    seals,
};
use audit::{Commitment, ProofError, Record, certificate};
use std::collections::{BTreeMap, BTreeSet};
use store::{CustomerRow, Destroyed, Tx};
use types::{Customer, Id, OpContext, SecretBytes, Timestamp};
use vault::CustomerKey;

pub(crate) const LOOKUP_KIND: &str = "customer";
pub(crate) const TABLE: &str = "customer";
const COLUMN: &str = "name";
const SALT_BYTES: usize = 32;

/// A customer, opened.
#[derive(Debug)]
pub(crate) struct OpenCustomer {
    pub id: Id<Customer>,
    pub key: CustomerKey,
    pub commitment: Commitment,
}

/// The customer of this name; made with a key of its own when it is new.
pub(crate) async fn find_or_create(
    instance: &Instance,
    tx: &mut Tx,
    ctx: &OpContext,
    name: &str,
) -> Result<OpenCustomer, Error> {
    let lookup = instance.secrets.pepper.lookup_digest(LOOKUP_KIND, name);
    if let Some(row) = tx.customer_by_lookup(&lookup).await? {
        return open(instance, &row);
    }
    create(instance, tx, ctx, lookup, name).await
}

/// A new customer, or a key of a person's own.
pub(crate) async fn create(
    instance: &Instance,
    tx: &mut Tx,
    ctx: &OpContext,
    lookup: [u8; 32],
    name: &str,
) -> Result<OpenCustomer, Error> {
    let id = Id::generate(ctx.now, instance.random.as_ref())?;
    let (key, wrapped) = instance.keyring().create_customer_key(id, instance.random.as_ref())?;
    let mut salt = [0_u8; SALT_BYTES];
    instance.random.fill(&mut salt)?;
    let commitment = Commitment::new(&salt, name.as_bytes());
    // Salt and value lie together: who may open them can prove what the log says.
    let mut value = salt.to_vec();
    value.extend_from_slice(name.as_bytes());
    let sealed = instance.seal(&key, TABLE, &id.to_bytes(), COLUMN, &SecretBytes::new(value))?;
    tx.insert_customer(&CustomerRow {
        id,
        lookup,
        generation: wrapped.generation,
        wrapped_key: wrapped.blob,
        commitment: commitment.to_bytes(),
        created_at: ctx.now,
    })
    .await?;
    tx.put_sealed(&sealed).await?;
    Ok(OpenCustomer { id, key, commitment })
}

/// A customer as its key is now, in this change: a new generation may have come since it was read.
pub(crate) async fn current(
    instance: &Instance,
    tx: &mut Tx,
    id: Id<Customer>,
) -> Result<OpenCustomer, Error> {
    let row = tx.customer(id).await?;
    open(instance, &row.ok_or(Error::Internal { what: "a customer is missing" })?)
}

/// What commitments to values of this customer are salted with: whoever may open the name.
pub(crate) async fn salt(
    instance: &Instance,
    tx: &mut Tx,
    customer: &OpenCustomer,
) -> Result<[u8; SALT_BYTES], Error> {
    let missing = Error::Internal { what: "a customer's name is missing" };
    let sealed = tx.sealed(TABLE, &customer.id.to_bytes(), COLUMN).await?;
    let value = instance.open_sealed(&customer.key, &sealed.ok_or(missing)?)?;
    let salt = value.expose().first_chunk().copied();
    salt.ok_or(Error::Internal { what: "a customer's salt is cut" })
}

/// What an entry says of values that may name or concern a customer: each name with a commitment
/// to its value, which nobody can check once the customer's key is gone.
pub(crate) fn committed(
    salt: &[u8; SALT_BYTES],
    kind: &str,
    values: &BTreeMap<String, String>,
) -> Vec<String> {
    values
        .iter()
        .map(|(name, value)| {
            let value = format!("{kind}\n{}\n{name}\n{value}", name.len());
            format!("{name}={}", Commitment::new(salt, value.as_bytes()))
        })
        .collect()
}

pub(crate) fn open(instance: &Instance, row: &CustomerRow) -> Result<OpenCustomer, Error> {
    let wrapped =
        vault::WrappedCustomerKey { generation: row.generation, blob: row.wrapped_key.clone() };
    let key = instance.keyring().open_customer_key(row.id, &wrapped)?;
    Ok(OpenCustomer { id: row.id, key, commitment: Commitment::from_bytes(row.commitment) })
}

/// A customer's name, opened for a person at the command line.
pub(crate) fn name(
    instance: &Instance,
    everything: &store::Everything,
    id: Id<Customer>,
) -> Result<String, Error> {
    let missing = Error::Internal { what: "a connection's customer is missing" };
    let row = everything.customers.iter().find(|row| row.id == id).ok_or(missing)?;
    let customer = open(instance, row)?;
    let sealed = everything
        .sealed
        .iter()
        .find(|row| row.table == TABLE && row.record == id.to_bytes() && row.column == COLUMN)
        .ok_or(Error::Internal { what: "a customer's name is missing" })?;
    let value = instance.open_sealed(&customer.key, sealed)?;
    let name = value.expose().get(SALT_BYTES..).unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// A customer and how much there is of it.
#[derive(Debug)]
pub struct Listed {
    pub id: Id<Customer>,
    pub name: String,
    pub connections: usize,
    pub values: usize,
    pub created_at: Timestamp,
}

/// The customers that have, or had, connections, by name; not the company itself, nor what people's
/// and identity providers' own values are sealed under.
pub async fn list(instance: &Instance) -> Result<Vec<Listed>, Error> {
    let rows = seals::load_whole(instance).await?;
    let of_people = rows.people.users.iter().map(|user| user.customer);
    let of_people: BTreeSet<_> =
        of_people.chain(rows.people.providers.iter().map(|one| one.customer)).collect();
    let mut listed = Vec::new();
    for row in rows.customers.iter().filter(|row| !of_people.contains(&row.id)) {
        let name = name(instance, &rows, row.id)?;
        if name == SELF_CUSTOMER {
            continue;
        }
        listed.push(Listed {
            id: row.id,
            name,
            connections: rows.connections.iter().filter(|one| one.customer == row.id).count(),
            values: rows.sealed.iter().filter(|one| one.customer == row.id).count(),
            created_at: row.created_at,
        });
    }
    listed.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(listed)
}

/// What was destroyed of a customer.
#[derive(Debug)]
pub struct Erased {
    pub id: Id<Customer>,
    pub destroyed: Destroyed,
}

/// Destroys a customer's key with all that is sealed under it, and ends its connections with the grants
/// on them. What the log says of it stays, and every proof of that: commitments that nobody can open.
///
/// # Errors
/// [`Error::CustomerIsSelf`] for the company itself, whose key opens the installation.
pub async fn erase(instance: &Instance, ctx: &OpContext, name: &str) -> Result<Erased, Error> {
    if name == SELF_CUSTOMER {
        return Err(Error::CustomerIsSelf);
    }
    // It only takes away.
    let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
    let lookup = instance.secrets.pepper.lookup_digest(LOOKUP_KIND, name);
    let row = changing.tx.customer_by_lookup(&lookup).await?;
    let row = row.ok_or(Error::NameUnknown { kind: "customer" })?;
    let destroyed = changing.tx.erase_customer(row.id).await?;
    changing.record(Change {
        verb: certificate::ERASURE,
        what: format!("customer {}", row.id),
        details: vec![
            ("keys", "1".to_owned()),
            ("sealed_values", destroyed.sealed.to_string()),
            ("connections", destroyed.connections.to_string()),
            ("grants", destroyed.grants.to_string()),
        ],
        customer: Some(Commitment::from_bytes(row.commitment)),
    });
    changing.commit().await?;
    Ok(Erased { id: row.id, destroyed })
}

/// The certificate of an erasure, from this node's log; `None` until a checkpoint of the log covers its
/// entry, and where another node's log has it.
pub fn certify(folder: &DataFolder, id: Id<Customer>) -> Result<Option<String>, Error> {
    let what = format!("customer {id}");
    let mut found = None;
    audit_log::walk_back(folder, None, |index, record| {
        let is_it = matches!(&record, Record::Changed(changed)
            if changed.verb == certificate::ERASURE && changed.what == what);
        if is_it {
            found = Some(index);
        }
        !is_it
    })?;
    let Some(index) = found else { return Ok(None) };
    match audit_log::proof(folder, index, None) {
        Err(Error::AuditProof(ProofError::NotCovered { .. })) => Ok(None),
        proof => Ok(Some(certificate::certify(&proof?, &audit_log::public_key(folder)?)?)),
    }
}
