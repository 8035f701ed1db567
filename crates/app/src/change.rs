//! A change and its audit entry commit together: the entry goes to the outbox, and whoever holds the
//! folder's lock moves it into the log.

use crate::{error::Error, instance::Instance};
use audit::{Changed, Commitment, Record, VaultHead};
use store::Tx;
use types::{Id, OpContext};

/// What an entry says of a change: names, ids and counts, never personal values.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub verb: &'static str,
    /// Kind and id.
    pub what: String,
    pub details: Vec<(&'static str, String)>,
    pub customer: Option<Commitment>,
    /// Whether a sealed row was written: then the vault's new head is bound into the log.
    pub touches_vault: bool,
}

/// Writes the entry of a change into the transaction that makes it.
pub(crate) async fn record(
    instance: &Instance,
    tx: &mut Tx,
    ctx: &OpContext,
    change: Change,
) -> Result<(), Error> {
    let vault_head =
        if change.touches_vault { Some(head_of(tx.sealed_heads().await?)) } else { None };
    let event: Id<types::Request> = Id::generate(ctx.now, instance.random.as_ref())?;
    let record = Record::Changed(Changed {
        event: event.to_bytes(),
        at: ctx.now,
        request: ctx.request,
        actor: ctx.actor.to_string(),
        verb: change.verb.to_owned(),
        what: change.what,
        details: change.details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        customer: change.customer,
        vault_head,
    });
    let event = event.to_bytes();
    tx.append_outbox(event, &instance.seal_event(&event, &record.encode())).await?;
    Ok(())
}

/// The vault's state as the log binds it.
pub(crate) fn head_of(rows: Vec<store::SealedHead>) -> VaultHead {
    let head = vault::head(
        rows.iter().map(|row| vault::HeadRow::of(row.record, row.version, &row.sealed)),
    );
    VaultHead { count: head.count, root: head.root }
}
