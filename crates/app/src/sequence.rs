//! Moves audit entries of committed changes from the store's outbox into the log.
//!
//! The holder of the folder's lock does it: a server each quarter of a second, a verb before it
//! exits if no server runs. A row is deleted only after its entry is on disk; a crash between the
//! two is recognised by the event's id: batches are no longer than what the log remembers.
//!
//! Before anything moves, the log is asked what it remembers: the state that it last bound must be
//! one that the store has. That is decided by the store's chain of heads, not by its newest one: so
//! it is right however many nodes with logs of their own sequence the changes of one store.

use crate::{
    change::{self, Change, Changing},
    error::Error,
    folder::FolderLock,
    instance::Instance,
    seals::{self, Tampering},
};
use audit::{
    Changed, Durability, Handle, Log, LogConfig, MAX_RECORD_BYTES, RECENT_EVENTS, Record, VaultHead,
};
use std::collections::HashSet;
use store::OutboxRow;
use types::{Actor, Id, OpContext};

/// Never more than the log knows again after a crash.
const BATCH: u32 = 256;
const _: () = assert!(BATCH as usize <= RECENT_EVENTS, "a crash must not sequence twice");

/// The log, open for writing, with the lock that makes this process its one writer.
#[derive(Debug)]
pub struct OpenLog {
    pub handle: Handle,
    log: Log,
    /// Events that lie in the log already: their rows are only deleted.
    known: HashSet<[u8; 16]>,
    /// The newest state that the log binds.
    last: Option<VaultHead>,
    _lock: FolderLock,
}

impl OpenLog {
    /// Opens the log, compares the store with what the log last said of it, and moves what waits in
    /// the outbox.
    ///
    /// # Errors
    /// [`Error::VaultRolledBack`] if the store does not have the state that the log last bound.
    pub async fn open(instance: &Instance, lock: FolderLock) -> Result<Self, Error> {
        let mut log = Self::open_unjudged(instance, lock)?;
        log.drain(instance).await?;
        Ok(log)
    }

    pub(crate) fn open_unjudged(instance: &Instance, lock: FolderLock) -> Result<Self, Error> {
        let opened = Log::open(LogConfig {
            dir: instance.folder.audit(),
            hint_file: instance.folder.audit_hint(),
            origin: instance.origin(),
            key: instance.signing_key()?,
            clock: instance.clock.clone(),
        })?;
        Ok(Self {
            handle: opened.log.handle(),
            log: opened.log,
            known: opened.recent_events.into_iter().collect(),
            last: opened.vault_head,
            _lock: lock,
        })
    }

    /// Moves all waiting rows.
    ///
    /// # Errors
    /// [`Error::VaultRolledBack`] if the store, or a waiting row, contradicts what the log binds:
    /// then nothing moves.
    pub async fn drain(&mut self, instance: &Instance) -> Result<(), Error> {
        if let Some(last) = self.last {
            remembers(instance, last).await?;
        }
        loop {
            let rows = instance.store.outbox_batch(BATCH).await?;
            let Some(up_to) = rows.last().map(|row| row.sequence) else { return Ok(()) };
            let mut tickets = Vec::new();
            for row in &rows {
                self.authenticate(instance, row)?;
                let record = Record::decode(&row.record)
                    .map_err(|_| Error::Internal { what: "an outbox row is malformed" })?;
                let Record::Changed(changed) = record else {
                    return Err(Error::Internal { what: "an outbox row is no change" });
                };
                if self.known.remove(&changed.event) {
                    continue;
                }
                self.follow(instance, &changed).await?;
                let record = Record::Changed(fitting(changed, &row.record));
                tickets.push(self.handle.append(&record, Durability::Synced)?);
            }
            for ticket in tickets {
                ticket.await?;
            }
            instance.store.delete_outbox(up_to).await?;
        }
    }

    /// Nothing goes into the log that Weirgate did not write. Only a log of the first layout takes
    /// rows without a seal: there were none.
    fn authenticate(&self, instance: &Instance, row: &OutboxRow) -> Result<(), Error> {
        let OutboxRow { sequence, event, record, seal } = row;
        let wanted = seals::of_event(&instance.secrets.pepper, *sequence, event, record);
        let how = match seal {
            Some(seal) if vault::digests_match(seal, &wanted) => return Ok(()),
            Some(_) => Tampering::Changed,
            None if self.last.is_some_and(|last| last.sequence == 0) => return Ok(()),
            None => Tampering::Added,
        };
        Err(Error::RowTampered { kind: "outbox".to_owned(), id: sequence.to_string(), how })
    }

    /// Takes the next link of the chain: later than all before it, and one that the store has.
    async fn follow(&mut self, instance: &Instance, changed: &Changed) -> Result<(), Error> {
        let Some(head) = changed.vault_head else { return Ok(()) };
        if self.last.is_some_and(|last| last.sequence > 0 && head.sequence <= last.sequence) {
            return Err(Error::VaultRolledBack);
        }
        remembers(instance, head).await?;
        if let Some(previous) = changed.previous_head {
            remembers(instance, previous).await?;
        }
        self.last = Some(head);
        Ok(())
    }

    /// Writes what is queued, signs the last checkpoint and ends the writer.
    pub async fn close(self) -> Result<(), Error> {
        // The writer's thread is joined: short, but not for an async thread.
        let closed = tokio::task::spawn_blocking(move || self.log.close());
        closed.await.map_err(|_| Error::Internal { what: "the log's writer has panicked" })??;
        Ok(())
    }
}

async fn remembers(instance: &Instance, known: VaultHead) -> Result<(), Error> {
    let found = instance.store.head_at(known.sequence).await?;
    seals::remembers(&instance.secrets.pepper, known, found)
}

/// A record that a release before this one let grow too long is cut: its digest says what it was.
fn fitting(mut changed: Changed, record: &[u8]) -> Changed {
    const KEPT_CHARS: usize = 200;
    if record.len() > MAX_RECORD_BYTES {
        let digest = change::hex(&seals::sha256(record));
        changed.details =
            vec![("cut".to_owned(), format!("{} bytes, SHA-256 {digest}", record.len()))];
        changed.what = changed.what.chars().take(KEPT_CHARS).collect();
    }
    changed
}

/// Before a verb exits: sequences what it committed, unless a server holds the folder and does it.
pub async fn settle(instance: &Instance) -> Result<(), Error> {
    let Some(lock) = instance.folder.try_lock()? else { return Ok(()) };
    OpenLog::open(instance, lock).await?.close().await
}

/// Seals the rows of a store that an earlier release wrote. They are taken as they are, once: but
/// only while the log still says that they have no seals, so that nobody gets rows sealed by
/// removing all seals.
///
/// # Errors
/// [`Error::SealsTampered`] if the log knows of seals, or of nothing; [`Error::VaultRolledBack`] if
/// the vault is not in the state that the log last bound; [`Error::FolderInUse`] while a server runs.
pub(crate) async fn seal_first_layout(instance: &Instance) -> Result<(), Error> {
    let mut log = OpenLog::open_unjudged(instance, instance.folder.lock()?)?;
    let is_first_layout = |head: Option<VaultHead>| head.is_some_and(|head| head.sequence == 0);
    if !is_first_layout(log.last) {
        return Err(Error::SealsTampered);
    }
    log.drain(instance).await?;
    let now = instance.clock.now();
    let request = Id::generate(now, instance.random.as_ref())?;
    let ctx = OpContext { actor: Actor::System, request, now };
    let mut changing = Changing::first(instance, &ctx, log.last).await?;
    if changing.tx.everything().await?.head.is_some() || !is_first_layout(log.last) {
        return Err(Error::SealsTampered);
    }
    if Some(change::first_layout_head(&changing.tx.sealed_heads().await?)) != log.last {
        return Err(Error::VaultRolledBack);
    }
    for row in changing.tx.providers().await? {
        changing.describe(&row);
    }
    changing.record(Change {
        verb: "instance.seal",
        what: format!("instance {}", instance.id),
        ..Change::default()
    });
    changing.commit().await?;
    log.drain(instance).await?;
    log.close().await
}
