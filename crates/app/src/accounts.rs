//! What became of each event: it waits in the outbox, or a log has it.
//!
//! Events are numbered without gaps by the changes that they are of, and a number is seen by nobody
//! before those below it. As a log has an event on disk, its node puts a sealed row beside the outbox
//! in the transaction in which the event's own row goes. So at any moment each number up to the store's
//! newest state has a row, whichever node claimed it and however far that one has come; a number
//! without one was removed by somebody else. Any node finds that, alone or among others.
//!
//! All that is settled is summed up in one row from time to time. Rows of either kind stay true for
//! ever: nobody gains by putting back an older one.

use crate::{
    error::Error,
    instance::Instance,
    seals::{self, Head},
    sequence::authenticate,
};
use std::collections::BTreeSet;
use store::{Accounts, MovedRow, Tx};
use vault::KeyPepper;

/// So many rows are summed up in one.
const SUM_UP_AT: u64 = 64;

/// What is known of events.
#[derive(Debug, Default, Clone)]
pub(crate) struct Account {
    /// All up to this one are in logs.
    pub settled: u64,
    /// Of those behind it, which are.
    moved: BTreeSet<u64>,
    /// The last that a row of the store stands for together with all before it.
    summed_up: u64,
}

impl Account {
    /// Looks at what came since. The store's newest state has this number.
    ///
    /// # Errors
    /// [`Error::EventMissing`] if an event is nowhere; [`Error::RowTampered`] if one that waits is none
    /// of ours; [`Error::SealsTampered`] if what was known is gone.
    pub(crate) async fn follow(&mut self, instance: &Instance, newest: u64) -> Result<(), Error> {
        if self.settled < newest {
            *self = self.next(instance).await?;
            if self.settled.saturating_sub(self.summed_up) >= SUM_UP_AT {
                instance.store.sum_up_moved(&row(instance, self.settled, None)).await?;
                self.summed_up = self.settled;
            }
        }
        Ok(())
    }

    /// Whether a log has this event.
    pub(crate) fn has(&self, sequence: u64) -> bool {
        sequence <= self.settled || self.moved.contains(&sequence)
    }

    async fn next(&self, instance: &Instance) -> Result<Self, Error> {
        let Accounts { newest, moved, waiting } = instance.store.accounts(self.settled).await?;
        for row in &waiting {
            authenticate(instance, row, newest.is_none())?;
        }
        let pepper = &instance.secrets.pepper;
        // A store whose rows are not sealed yet.
        let Some(newest) = newest else { return Ok(self.clone()) };
        let Head { head, is_accounted } = seals::opened_head(pepper, &newest)?;
        let ours: Vec<MovedRow> = moved.into_iter().filter(|row| is_ours(pepper, row)).collect();
        let Some(summed_up) = summed_up(&ours) else {
            // Nothing was kept account of by the releases before.
            return if is_accounted { Err(Error::SealsTampered) } else { Ok(self.clone()) };
        };
        let mut settled = self.settled.max(summed_up);
        let mut there: BTreeSet<u64> = ours.iter().map(|row| row.sequence).collect();
        while there.contains(&settled.saturating_add(1)) {
            settled += 1;
        }
        there.retain(|number| *number > settled);
        let waiting: BTreeSet<u64> = waiting.iter().map(|row| row.sequence).collect();
        let is_missing = |number: &u64| !there.contains(number) && !waiting.contains(number);
        match (settled.saturating_add(1)..=head.sequence).find(is_missing) {
            Some(sequence) => Err(Error::EventMissing { sequence }),
            None => Ok(Self { settled, moved: there, summed_up }),
        }
    }
}

/// Whether each event is where it belongs, whatever this process has seen before.
pub(crate) async fn check(instance: &Instance) -> Result<(), Error> {
    Account::default().next(instance).await.map(drop)
}

/// Says that a log has an event; without a log, that logs have all up to it.
pub(crate) fn row(instance: &Instance, sequence: u64, log: Option<&str>) -> MovedRow {
    let seal = seals::of_moved(&instance.secrets.pepper, sequence, log).to_vec();
    MovedRow { sequence, log: log.map(ToOwned::to_owned), seal }
}

/// Before the first event of a change: account is kept from the first on whose release does so.
pub(crate) async fn begin(
    instance: &Instance,
    tx: &mut Tx,
    first: u64,
    is_accounted: bool,
) -> Result<(), Error> {
    let pepper = &instance.secrets.pepper;
    let known = tx.summed_up_moved().await?;
    if known.iter().any(|row| is_ours(pepper, row)) {
        return Ok(());
    }
    if is_accounted {
        return Err(Error::SealsTampered);
    }
    let first = tx.oldest_waiting().await?.unwrap_or(first);
    Ok(tx.put_moved(&row(instance, first.saturating_sub(1), None)).await?)
}

fn summed_up(rows: &[MovedRow]) -> Option<u64> {
    rows.iter().filter(|row| row.log.is_none()).map(|row| row.sequence).max()
}

fn is_ours(pepper: &KeyPepper, row: &MovedRow) -> bool {
    vault::digests_match(&row.seal, &seals::of_moved(pepper, row.sequence, row.log.as_deref()))
}
