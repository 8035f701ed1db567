//! Moves audit entries of committed changes from the store's outbox into the log.
//!
//! The holder of the folder's lock does it: a server each quarter of a second, a verb before it
//! exits if no server runs. A row is deleted only after its entry is on disk; a crash between the
//! two is recognised by the event's id: batches are no longer than what the log remembers.

use crate::{change, error::Error, instance::Instance};
use audit::{
    Durability, FolderLock, Handle, Log, LogConfig, OpenError, RECENT_EVENTS, Record, Signed,
    VaultHead,
};
use std::{collections::HashSet, io};
use store::{OutboxRow, Store};

/// Never more than the log knows again after a crash.
const BATCH: u32 = 256;
const _: () = assert!(BATCH as usize <= RECENT_EVENTS, "a crash must not sequence twice");

/// The log, open for writing.
#[derive(Debug)]
pub struct OpenLog {
    pub handle: Handle,
    log: Log,
    origin: String,
    /// Where the log's checkpoints are told.
    store: Store,
    /// The last checkpoint that was told there.
    told: Option<Signed>,
    /// The vault's state as this log last recorded it.
    head: Option<VaultHead>,
    /// Events that lie in the log already: their rows are only deleted.
    known: HashSet<[u8; 16]>,
}

impl OpenLog {
    /// Opens the log, moves what waits in the outbox, and compares the vault with what the log last
    /// said of it. The lock makes this process its one writer.
    pub async fn open(instance: &Instance, lock: FolderLock) -> Result<Self, Error> {
        let config = config(instance, lock).await?;
        let origin = config.origin.clone();
        check_public_key(instance)?;
        let opened = Log::open(config)?;
        let mut log = Self {
            handle: opened.log.handle(),
            log: opened.log,
            origin,
            store: instance.store.clone(),
            told: None,
            head: opened.vault_head,
            known: opened.recent_events.into_iter().collect(),
        };
        if let Err(error) = log.begin(instance).await {
            // Ends the writer, which gives the lock back. What is wrong has been said.
            let _ = log.close().await;
            return Err(error);
        }
        Ok(log)
    }

    async fn begin(&mut self, instance: &Instance) -> Result<(), Error> {
        let last = self.drain(instance).await?.or(self.head);
        self.compare(instance, last).await?;
        self.tell_checkpoint().await
    }

    /// Goes on with another database of the same installation, which took the place of the one that
    /// the log was opened with. It may be an older copy of it, but none that knows more of this log
    /// than there is, and none whose vault is not what the log recorded.
    pub(crate) async fn follow(&mut self, instance: &Instance) -> Result<(), Error> {
        let note = instance.store.audit_checkpoint(&self.origin).await?;
        let note = note.ok_or(Error::AuditUnknown { origin: self.origin.clone() })?;
        let key = instance.signing_key()?;
        let kept = key.verifier().open(&note).map_err(OpenError::Kept)?;
        let signed = self.handle.checkpoint().map_or(0, |signed| signed.checkpoint.size);
        if kept.size > signed {
            return Err(OpenError::Older { signed, kept: kept.size }.into());
        }
        self.store = instance.store.clone();
        self.told = None;
        self.begin(instance).await
    }

    /// Tells the store of a new checkpoint. The log is ahead of what the store knows of it, by a
    /// crash too, and never behind: the checkpoint is on disk before it is told.
    pub(crate) async fn tell_checkpoint(&mut self) -> Result<(), Error> {
        let signed = self.handle.checkpoint();
        if let Some(signed) = signed.filter(|signed| self.told.as_ref() != Some(signed)) {
            let size = signed.checkpoint.size;
            self.store.keep_audit_checkpoint(&self.origin, size, &signed.note).await?;
            self.told = Some(signed);
        }
        Ok(())
    }

    /// Moves all waiting rows. Yields the vault's head as the last of them has it.
    pub async fn drain(&mut self, instance: &Instance) -> Result<Option<VaultHead>, Error> {
        let mut head = None;
        loop {
            let rows = instance.store.outbox_batch(BATCH).await?;
            let Some(last) = rows.last().map(|row| row.sequence) else { return Ok(head) };
            let mut tickets = Vec::new();
            for row in &rows {
                let record = Record::decode(opened(instance, row)?)
                    .map_err(|_| Error::Internal { what: "an outbox row is malformed" })?;
                let Record::Changed(changed) = &record else {
                    return Err(Error::Internal { what: "an outbox row is no change" });
                };
                if self.known.remove(&changed.event) {
                    continue;
                }
                head = changed.vault_head.or(head);
                self.head = head.or(self.head);
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

    /// Writes what is queued, signs the last checkpoint, ends the writer, and tells the store.
    pub async fn close(self) -> Result<(), Error> {
        let Self { handle, log, origin, store, told, .. } = self;
        // The writer's thread is joined: short, but not for an async thread.
        let closed = tokio::task::spawn_blocking(move || log.close());
        closed.await.map_err(|_| Error::Internal { what: "the log's writer has panicked" })??;
        if let Some(signed) = handle.checkpoint().filter(|signed| told.as_ref() != Some(signed)) {
            store.keep_audit_checkpoint(&origin, signed.checkpoint.size, &signed.note).await?;
        }
        Ok(())
    }
}

/// What waits in the outbox, if this installation wrote it.
fn opened<'a>(instance: &Instance, row: &'a OutboxRow) -> Result<&'a [u8], Error> {
    let record = instance.open_event(&row.event, &row.record);
    record.ok_or(Error::OutboxForged { sequence: row.sequence })
}

async fn config(instance: &Instance, lock: FolderLock) -> Result<LogConfig, Error> {
    let origin = instance.origin();
    let kept = instance.store.audit_checkpoint(&origin).await?;
    Ok(LogConfig {
        lock,
        dir: instance.folder.audit(),
        hint_file: instance.folder.audit_hint(),
        key: instance.signing_key()?,
        clock: instance.clock.clone(),
        // Every log is told of when it is made.
        kept: Some(kept.ok_or_else(|| Error::AuditUnknown { origin: origin.clone() })?),
        origin,
    })
}

/// Who verifies the log takes the key from this file: it must be there, and be the right one.
fn check_public_key(instance: &Instance) -> Result<(), Error> {
    let path = instance.folder.audit_key();
    let key = instance.signing_key()?.verifier().to_string();
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim() == key => Ok(()),
        Ok(_) => Err(Error::AuditKeyWrong { path, key }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Error::AuditKeyWrong { path, key })
        }
        Err(source) => Err(Error::Io { what: "read", path, source }),
    }
}

/// Before a verb changes anything: whether its audit entry could be moved into the log afterwards.
/// If a server holds the folder, it is the server's.
pub async fn check(instance: &Instance) -> Result<(), Error> {
    let Some(lock) = instance.folder.try_lock()? else { return Ok(()) };
    check_public_key(instance)?;
    for row in &instance.store.outbox_batch(BATCH).await? {
        opened(instance, row)?;
    }
    Ok(Log::check(&config(instance, lock).await?)?)
}

/// Before a verb exits: sequences what it committed, unless a server holds the folder and does it.
pub async fn settle(instance: &Instance) -> Result<(), Error> {
    let Some(lock) = instance.folder.try_lock()? else { return Ok(()) };
    OpenLog::open(instance, lock).await?.close().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Init, RootKeyPlace};
    use audit::Changed;
    use std::sync::Arc;
    use types::{Actor, Clock, Id, OpContext, SystemClock, SystemRandom};

    fn ctx() -> OpContext {
        let now = SystemClock.now();
        let request = Id::generate(now, &SystemRandom).unwrap();
        OpContext { actor: Actor::Local { uid: 0 }, request, now }
    }

    fn forged(event: [u8; 16]) -> Vec<u8> {
        let ctx = ctx();
        let record = Record::Changed(Changed {
            event,
            at: ctx.now,
            request: ctx.request,
            actor: "local:0".into(),
            verb: "grant.create".into(),
            what: "never done".into(),
            details: Vec::new(),
            customer: None,
            vault_head: None,
        });
        record.encode()
    }

    /// Who writes to the database has no key to seal with.
    #[tokio::test]
    async fn rows_that_somebody_else_put_into_the_outbox_are_not_adopted() {
        let home = tempfile::tempdir().unwrap();
        let (data, keys) = (home.path().join("data"), home.path().join("keys"));
        let made = Instance::init(Init {
            dir: &data,
            root_key: RootKeyPlace::Folder(&keys),
            actor: ctx(),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
        });
        let instance = made.await.unwrap().instance;
        settle(&instance).await.unwrap();
        let (event, other) = ([1; 16], [2; 16]);
        // In clear, with a guessed seal, and with the seal of another event.
        let record = forged(event);
        let guessed = [&[0x5A; 32][..], &record].concat();
        for row in [record.clone(), guessed, instance.seal_event(&other, &record)] {
            let mut tx = instance.store.begin(&ctx()).await.unwrap();
            tx.append_outbox(event, &row).await.unwrap();
            tx.commit().await.unwrap();
            for refused in [check(&instance).await, settle(&instance).await] {
                assert!(matches!(refused, Err(Error::OutboxForged { .. })), "{refused:?}");
            }
            instance.store.delete_outbox(u64::MAX).await.unwrap();
        }
        let mut tx = instance.store.begin(&ctx()).await.unwrap();
        tx.append_outbox(event, &instance.seal_event(&event, &record)).await.unwrap();
        tx.commit().await.unwrap();
        settle(&instance).await.unwrap();
        let listed = crate::audit_log::list(&instance.folder, 100).unwrap();
        let of_event = |record: &Record| match record {
            Record::Changed(changed) => changed.event == event,
            _ => false,
        };
        assert_eq!(listed.iter().filter(|(_, record)| of_event(record)).count(), 1);
        instance.close().await.unwrap();
    }
}
