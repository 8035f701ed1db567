//! A change and its audit entries commit together: the entries go to the outbox, and whoever holds
//! the folder's lock moves them into the log.
//!
//! A change begins by judging what it finds, in its own transaction, and ends by sealing what it
//! leaves. Its last entry binds the state before and the state after it: heads form a chain.

use crate::{
    accounts,
    error::Error,
    instance::Instance,
    seals::{self, Seals},
};
use audit::{Changed, Commitment, MAX_RECORD_BYTES, Record, VaultHead};
use store::{CustomerRow, OutboxRow, ProviderRow, RowSeal, SealedRow, Tx};
use types::{Id, OpContext};

/// What an entry says of a change: names, ids, digests and counts, never personal values.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub verb: &'static str,
    /// Kind and id.
    pub what: String,
    pub details: Vec<(&'static str, String)>,
    pub customer: Option<Commitment>,
}

/// What a change makes of a row, elsewhere in the store, that does not fit its seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// It is refused: nothing is built on what somebody else wrote.
    Whole,
    /// It goes on, because it only takes away: an attack on one row must not keep a key alive.
    Ending,
}

/// A change under way. Dropped without [`Changing::commit`], nothing happened.
#[must_use]
pub(crate) struct Changing<'i> {
    pub tx: Tx,
    instance: &'i Instance,
    ctx: &'i OpContext,
    entries: Vec<Change>,
    /// Seals of the rows as they were found, and as they were stored.
    before: Seals,
    stored: Seals,
    previous: Option<VaultHead>,
    /// Whether account was kept of events before.
    is_accounted: bool,
    descriptions: Seals,
    /// Seals of all rows that were written, where the change says which these are.
    written: Option<Seals>,
}

impl<'i> Changing<'i> {
    /// Begins a change on rows that are what Weirgate left.
    ///
    /// # Errors
    /// [`Error::VaultRolledBack`] if this node's log remembers a state that the store does not have,
    /// [`Error::SealsTampered`] and [`Error::RowTampered`] if rows are not as they were sealed.
    pub(crate) async fn begin(
        instance: &'i Instance,
        ctx: &'i OpContext,
        care: Care,
    ) -> Result<Self, Error> {
        Self::judged(instance, ctx, care, instance.remembered()?).await
    }

    /// The change by which a node joins: nothing remembers anything for it yet.
    pub(crate) async fn joining(instance: &'i Instance, ctx: &'i OpContext) -> Result<Self, Error> {
        Self::judged(instance, ctx, Care::Whole, Vec::new()).await
    }

    async fn judged(
        instance: &'i Instance,
        ctx: &'i OpContext,
        care: Care,
        remembered: Vec<VaultHead>,
    ) -> Result<Self, Error> {
        let mut tx = instance.store.begin(ctx).await?;
        let pepper = &instance.secrets.pepper;
        let rows = tx.everything().await?;
        let judgement = seals::judge(pepper, &rows)?;
        instance.follow_generations(&rows.vault_generations, &judgement);
        for known in remembered {
            seals::remembers(pepper, known, tx.head_at(known.sequence).await?)?;
        }
        if care == Care::Whole {
            judgement.whole()?;
        }
        Ok(Self {
            before: judgement.actual,
            stored: judgement.stored,
            previous: Some(judgement.head),
            is_accounted: judgement.is_accounted,
            ..Self::of(instance, ctx, tx)
        })
    }

    /// The first change of a store, or the one that seals the rows of a store without seals, whose
    /// state the log has as `previous`.
    pub(crate) async fn first(
        instance: &'i Instance,
        ctx: &'i OpContext,
        previous: Option<VaultHead>,
    ) -> Result<Self, Error> {
        let tx = instance.store.begin(ctx).await?;
        Ok(Self { previous, ..Self::of(instance, ctx, tx) })
    }

    fn of(instance: &'i Instance, ctx: &'i OpContext, tx: Tx) -> Self {
        Self {
            tx,
            instance,
            ctx,
            entries: Vec::new(),
            before: Seals::new(),
            stored: Seals::new(),
            previous: None,
            is_accounted: false,
            descriptions: Seals::new(),
            written: None,
        }
    }

    /// Adds an entry to the change.
    pub(crate) fn record(&mut self, entry: Change) {
        self.entries.push(entry);
    }

    /// Says that this provider's description was written.
    pub(crate) fn describe(&mut self, row: &ProviderRow) {
        let seals = seals::of_provider(&self.instance.secrets.pepper, row);
        self.descriptions
            .extend(seals.into_iter().filter(|(place, _)| place.0 == seals::DESCRIPTION));
    }

    /// Says that a customer and these values of it were written, and nothing that was not said so: then
    /// not all rows are read again. One that was not said does not fit its seal afterwards, and is
    /// closed as one that somebody else wrote.
    pub(crate) fn wrote(&mut self, customer: &CustomerRow, values: &[SealedRow]) {
        let seals = seals::of_customer(&self.instance.secrets.pepper, customer, values);
        self.written.get_or_insert_default().extend(seals);
    }

    /// Seals what was changed and makes the change durable. Yields the state that it left; without
    /// any entry nothing was changed.
    ///
    /// # Errors
    /// [`Error::RecordTooLong`] if an entry would not fit into the log: it could never be sequenced,
    /// and would block all after it. [`Error::SealsTampered`] if the account of events is gone.
    pub(crate) async fn commit(mut self) -> Result<Option<VaultHead>, Error> {
        let Some(last) = self.entries.len().checked_sub(1) else {
            self.tx.commit().await?;
            return Ok(None);
        };
        let mut left = None;
        self.seal_rows().await?;
        let pepper = &self.instance.secrets.pepper;
        for (index, entry) in std::mem::take(&mut self.entries).into_iter().enumerate() {
            let sequence = self.tx.next_sequence().await?;
            if index == 0 {
                let begun =
                    accounts::begin(self.instance, &mut self.tx, sequence, self.is_accounted);
                Box::pin(begun).await?;
            }
            let event: Id<types::Request> =
                Id::generate(self.ctx.now, self.instance.random.as_ref())?;
            let event = event.to_bytes();
            let mut record = changed(self.ctx, event, entry);
            if index == last {
                let head = seals::head_of(&self.stored, sequence);
                self.tx.insert_head(&seals::stored_head(pepper, head, event)).await?;
                left = Some(head);
                record.vault_head = left;
                record.previous_head = self.previous;
            }
            let record = encode(record)?;
            let seal = Some(seals::of_event(pepper, sequence, &event, &record).to_vec());
            self.tx.put_outbox(OutboxRow { sequence, event, record, seal }).await?;
        }
        self.tx.commit().await?;
        Ok(left)
    }

    /// Only what this change wrote is sealed anew: a row that did not fit its seal before does not
    /// fit it afterwards.
    async fn seal_rows(&mut self) -> Result<(), Error> {
        if let Some(written) = self.written.take() {
            for ((kind, id), seal) in written {
                self.tx.put_seal(&RowSeal { kind: kind.clone(), id: id.clone(), seal }).await?;
                self.stored.insert((kind, id), seal);
            }
            return Ok(());
        }
        let rows = self.tx.everything().await?;
        let mut after = seals::of(&self.instance.secrets.pepper, &rows);
        after.append(&mut self.descriptions);
        for (place, seal) in &after {
            if self.before.get(place) != Some(seal) {
                let (kind, id) = place.clone();
                self.tx.put_seal(&RowSeal { kind, id, seal: *seal }).await?;
                self.stored.insert(place.clone(), *seal);
            }
        }
        for (kind, id) in self.before.keys().filter(|place| !after.contains_key(*place)) {
            self.tx.delete_seal(kind, id).await?;
            self.stored.remove(&(kind.clone(), id.clone()));
        }
        Ok(())
    }
}

fn changed(ctx: &OpContext, event: [u8; 16], entry: Change) -> Changed {
    Changed {
        event,
        at: ctx.now,
        request: ctx.request,
        actor: ctx.actor.to_string(),
        verb: entry.verb.to_owned(),
        what: entry.what,
        details: entry.details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        customer: entry.customer,
        vault_head: None,
        previous_head: None,
    }
}

fn encode(changed: Changed) -> Result<Vec<u8>, Error> {
    let longest = |changed: &Changed| {
        let what = ("name", changed.what.len());
        let details = changed.details.iter().map(|(name, value)| (name.as_str(), value.len()));
        let longest = details.chain([what]).max_by_key(|(_, length)| *length);
        longest.map_or_else(String::new, |(name, _)| name.to_owned())
    };
    let record = Record::Changed(changed);
    let bytes = record.encode();
    if bytes.len() <= MAX_RECORD_BYTES {
        return Ok(bytes);
    }
    let Record::Changed(changed) = record else { return Ok(bytes) };
    Err(Error::RecordTooLong {
        verb: changed.verb.clone(),
        part: longest(&changed),
        bytes: bytes.len(),
        limit: MAX_RECORD_BYTES,
    })
}

/// A list as an entry holds it: in words while it is short, else its length and digest.
pub(crate) fn listed(items: &[String]) -> String {
    const MAX_BYTES: usize = 4_000;
    let joined = items.join(", ");
    if joined.len() <= MAX_BYTES {
        return joined;
    }
    format!("{} of them, SHA-256 {}", items.len(), hex(&seals::sha256(joined.as_bytes())))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The vault's state as the first layout bound it into the log.
pub(crate) fn first_layout_head(rows: &[store::SealedHead]) -> VaultHead {
    let head = vault::head(
        rows.iter().map(|row| vault::HeadRow::of(row.record, row.version, &row.sealed)),
    );
    VaultHead { count: head.count, root: head.root, sequence: 0 }
}
