//! Moves audit entries of committed changes from the store's outbox into the log.
//!
//! The holder of the folder's lock does it: a server each quarter of a second, a verb before it
//! exits if no server runs. A row is deleted only after its entry is on disk; a crash between the
//! two is recognised by the event's id: batches are no longer than what the log remembers.

use crate::{change, error::Error, folder::FolderLock, instance::Instance};
use audit::{Durability, Handle, Log, LogConfig, RECENT_EVENTS, Record, VaultHead};
use std::collections::HashSet;

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
    _lock: FolderLock,
}

impl OpenLog {
    /// Opens the log, moves what waits in the outbox, and compares the vault with what the log last
    /// said of it.
    pub async fn open(instance: &Instance, lock: FolderLock) -> Result<Self, Error> {
        let opened = Log::open(LogConfig {
            dir: instance.folder.audit(),
            hint_file: instance.folder.audit_hint(),
            origin: instance.origin(),
            key: instance.signing_key()?,
            clock: instance.clock.clone(),
        })?;
        let mut log = Self {
            handle: opened.log.handle(),
            log: opened.log,
            known: opened.recent_events.into_iter().collect(),
            _lock: lock,
        };
        let last = log.drain(instance).await?.or(opened.vault_head);
        log.compare(instance, last).await?;
        Ok(log)
    }

    /// Moves all waiting rows. Yields the vault's head as the last of them has it.
    pub async fn drain(&mut self, instance: &Instance) -> Result<Option<VaultHead>, Error> {
        let mut head = None;
        loop {
            let rows = instance.store.outbox_batch(BATCH).await?;
            let Some(last) = rows.last().map(|row| row.sequence) else { return Ok(head) };
            let mut tickets = Vec::new();
            for row in &rows {
                let record = Record::decode(&row.record)
                    .map_err(|_| Error::Internal { what: "an outbox row is malformed" })?;
                let Record::Changed(changed) = &record else {
                    return Err(Error::Internal { what: "an outbox row is no change" });
                };
                if self.known.remove(&changed.event) {
                    continue;
                }
                head = changed.vault_head.or(head);
                tickets.push(self.handle.append(&record, Durability::Synced)?);
            }
            for ticket in tickets {
                ticket.await?;
            }
            instance.store.delete_outbox(last).await?;
        }
    }

    /// A vault that is not what the log last recorded was changed behind our back.
    async fn compare(&self, instance: &Instance, last: Option<VaultHead>) -> Result<(), Error> {
        let (heads, waiting) = instance.store.vault_state().await?;
        // A verb may have committed since: its row says the new head, and is compared next time.
        if waiting > 0 {
            return Ok(());
        }
        match last {
            Some(last) if last != change::head_of(heads) => Err(Error::VaultRolledBack),
            _ => Ok(()),
        }
    }

    /// Writes what is queued, signs the last checkpoint and ends the writer.
    pub async fn close(self) -> Result<(), Error> {
        // The writer's thread is joined: short, but not for an async thread.
        let closed = tokio::task::spawn_blocking(move || self.log.close());
        closed.await.map_err(|_| Error::Internal { what: "the log's writer has panicked" })??;
        Ok(())
    }
}

/// Before a verb exits: sequences what it committed, unless a server holds the folder and does it.
pub async fn settle(instance: &Instance) -> Result<(), Error> {
    let Some(lock) = instance.folder.try_lock()? else { return Ok(()) };
    OpenLog::open(instance, lock).await?.close().await
}
