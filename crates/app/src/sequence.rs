//! Moves audit entries of committed changes from the store's outbox into the log.
//!
//! The holder of the folder's lock does it: a server each quarter of a second, a verb before it
//! exits if no server runs. A row is deleted only after its entry is on disk; a crash between the
//! two is recognised by the event's id: batches are no longer than what the log remembers.
//! Of several nodes the one that claims a row moves it, and none but it.
//!
//! Before anything moves, the log is asked what it remembers: the state that it last bound must be
//! one that the store has. That is decided by the store's chain of heads, not by its newest one: so
//! it is right however many nodes with logs of their own sequence the changes of one store.

use crate::{
    change::{self, Change, Changing},
    error::Error,
    instance::Instance,
    seals::{self, OUTBOX, Tampering},
};
use audit::{
    Changed, Durability, FolderLock, Handle, Log, LogConfig, MAX_RECORD_BYTES, OpenError,
    RECENT_EVENTS, Record, Signed, VaultHead, VerifyError, VerifyOptions, verify,
};
use std::{collections::HashSet, fs, io};
use store::{OutboxRow, Store};
use types::{Actor, Id, OpContext};

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
    /// Events that lie in the log already: their rows are only deleted.
    known: HashSet<[u8; 16]>,
    /// The newest state that the log binds.
    last: Option<VaultHead>,
    /// Whether the log holds no change yet: that of its beginning still waits.
    is_new: bool,
}

impl OpenLog {
    /// Opens the log, compares the store with what the log last said of it, and moves what waits in
    /// the outbox. The lock makes this process its one writer.
    ///
    /// # Errors
    /// [`Error::VaultRolledBack`] if the store does not have the state that the log last bound.
    pub async fn open(instance: &Instance, lock: FolderLock) -> Result<Self, Error> {
        let mut log = Self::open_unjudged(instance, lock).await?;
        if let Err(error) = log.begin(instance).await {
            // Ends the writer, which gives the lock back. What is wrong has been said.
            let _ = log.close().await;
            return Err(error);
        }
        Ok(log)
    }

    async fn open_unjudged(instance: &Instance, lock: FolderLock) -> Result<Self, Error> {
        check_public_key(instance)?;
        let opened = Log::open(config(instance, lock, told(instance).await?)?)?;
        Ok(Self {
            handle: opened.log.handle(),
            log: opened.log,
            origin: instance.origin.clone(),
            store: instance.store.clone(),
            told: None,
            last: opened.vault_head,
            is_new: opened.recent_events.is_empty(),
            known: opened.recent_events.into_iter().collect(),
        })
    }

    async fn begin(&mut self, instance: &Instance) -> Result<(), Error> {
        self.drain(instance).await?;
        self.tell_checkpoint().await
    }

    /// Goes on with another database of the same installation, which took the place of the one that
    /// the log was opened with: none that knows more of this log than there is, and none that has not
    /// the state that the log last bound.
    pub(crate) async fn follow(&mut self, instance: &Instance) -> Result<(), Error> {
        let kept = told(instance).await?;
        let key = instance.signing_key()?;
        let kept = key.verifier().open(&kept).map_err(OpenError::Kept)?;
        let signed = self.handle.checkpoint().map_or(0, |signed| signed.checkpoint.size);
        if kept.size > signed {
            return Err(OpenError::Older { signed, kept: kept.size }.into());
        }
        let replaced = std::mem::replace(&mut self.store, instance.store.clone());
        self.told = None;
        let begun = self.begin(instance).await;
        if begun.is_err() {
            self.store = replaced;
        }
        begun
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
            let rows = instance.store.take_outbox(&instance.origin, BATCH).await?;
            let Some(up_to) = rows.last().map(|row| row.sequence) else { return Ok(()) };
            let mut tickets = Vec::new();
            for row in &rows {
                authenticate(instance, row, self.is_first_layout())?;
                let record = Record::decode(&row.record)
                    .map_err(|_| Error::Internal { what: "an outbox row is malformed" })?;
                let Record::Changed(changed) = record else {
                    return Err(Error::Internal { what: "an outbox row is no change" });
                };
                if self.known.remove(&changed.event) {
                    continue;
                }
                self.link(instance, &changed).await?;
                let record = Record::Changed(fitting(changed, &row.record));
                tickets.push(self.handle.append(&record, Durability::Synced)?);
            }
            for ticket in tickets {
                ticket.await?;
            }
            instance.store.delete_outbox(&instance.origin, up_to).await?;
        }
    }

    fn is_first_layout(&self) -> bool {
        is_first_layout(self.last)
    }

    /// Takes the next link of the chain: later than all before it, and one that the store has. The
    /// first of a log may be the one that the log was made with, or one that waited before that.
    async fn link(&mut self, instance: &Instance, changed: &Changed) -> Result<(), Error> {
        let is_new = std::mem::replace(&mut self.is_new, false);
        let Some(head) = changed.vault_head else { return Ok(()) };
        let is_later = |last: VaultHead| last.sequence < head.sequence || is_new;
        if self.last.is_some_and(|last| last.sequence > 0 && !is_later(last)) {
            return Err(Error::VaultRolledBack);
        }
        remembers(instance, head).await?;
        if let Some(previous) = changed.previous_head {
            remembers(instance, previous).await?;
        }
        self.last = Some(head);
        Ok(())
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

/// The checkpoint that the store was told of this log: every log is told of when it is made.
async fn told(instance: &Instance) -> Result<String, Error> {
    let kept = instance.store.audit_checkpoint(&instance.origin).await?;
    kept.ok_or_else(|| Error::AuditUnknown { origin: instance.origin.clone() })
}

fn config(instance: &Instance, lock: FolderLock, kept: String) -> Result<LogConfig, Error> {
    Ok(LogConfig {
        lock,
        dir: instance.folder.audit(),
        hint_file: instance.folder.audit_hint(),
        origin: instance.origin.clone(),
        key: instance.signing_key()?,
        clock: instance.clock.clone(),
        kept: Some(kept),
    })
}

/// Who verifies the log takes the key from this file: it must be there, and be the right one.
fn check_public_key(instance: &Instance) -> Result<(), Error> {
    let path = instance.folder.audit_key();
    let key = instance.signing_key()?.verifier().to_string();
    match fs::read_to_string(&path) {
        Ok(text) if text.trim() == key => Ok(()),
        Ok(_) => Err(Error::AuditKeyWrong { path, key }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Error::AuditKeyWrong { path, key })
        }
        Err(source) => Err(Error::Io { what: "read", path, source }),
    }
}

/// Nothing goes into the log that Weirgate did not write. Only a log of the first layout takes rows
/// without a seal: there were none.
fn authenticate(instance: &Instance, row: &OutboxRow, is_first_layout: bool) -> Result<(), Error> {
    let OutboxRow { sequence, event, record, seal } = row;
    let wanted = seals::of_event(&instance.secrets.pepper, *sequence, event, record);
    let how = match seal {
        Some(seal) if vault::digests_match(seal, &wanted) => return Ok(()),
        Some(_) => Tampering::Changed,
        None if is_first_layout => return Ok(()),
        None => Tampering::Added,
    };
    Err(Error::RowTampered { kind: OUTBOX.to_owned(), id: sequence.to_string(), how })
}

/// Before a verb changes anything: whether its audit entry could be moved into the log afterwards.
/// If a server holds the folder, it is the server's.
pub async fn check(instance: &Instance) -> Result<(), Error> {
    let Some(lock) = instance.folder.try_lock()? else { return Ok(()) };
    check_public_key(instance)?;
    authenticate_all(instance).await?;
    Ok(Log::check(&config(instance, lock, told(instance).await?)?)?)
}

/// Whether all that waits was written by Weirgate.
pub(crate) async fn authenticate_all(instance: &Instance) -> Result<(), Error> {
    for row in &instance.store.outbox_batch(u32::MAX).await? {
        authenticate(instance, row, false)?;
    }
    Ok(())
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
/// [`Error::SealsTampered`] if the log knows of seals, or of nothing; [`Error::AuditVerify`] and
/// [`Error::FirstLayoutUnsigned`] if the log cannot be taken over; [`Error::VaultRolledBack`] if the
/// vault is not in the state that the log last bound; [`Error::FolderInUse`] while a server runs.
pub(crate) async fn seal_first_layout(instance: &Instance) -> Result<(), Error> {
    let lock = instance.folder.lock_soon().await?;
    take_over_log(instance).await?;
    let mut log = OpenLog::open_unjudged(instance, lock).await?;
    let sealed = seal_rows(instance, &mut log).await;
    let closed = log.close().await;
    sealed.and(closed)
}

/// Tells the store of a log whose release told it nothing: of one that its checkpoint signs whole,
/// because entries behind it had no seals then.
async fn take_over_log(instance: &Instance) -> Result<(), Error> {
    if instance.store.audit_checkpoint(&instance.origin).await?.is_some() {
        return Ok(());
    }
    let dir = instance.folder.audit();
    let key = instance.signing_key()?;
    let report = verify::verify(&dir, key.verifier(), &VerifyOptions::default())?;
    if !is_first_layout(report.vault_head) {
        return Err(Error::SealsTampered);
    }
    if report.after_checkpoint > 0 || report.torn_bytes > 0 {
        return Err(Error::FirstLayoutUnsigned);
    }
    let note = fs::read_to_string(dir.join("checkpoint")).map_err(VerifyError::Io)?;
    let size = report.checkpoint_size;
    Ok(instance.store.keep_audit_checkpoint(&instance.origin, size, &note).await?)
}

fn is_first_layout(head: Option<VaultHead>) -> bool {
    head.is_some_and(|head| head.sequence == 0)
}

async fn seal_rows(instance: &Instance, log: &mut OpenLog) -> Result<(), Error> {
    if !log.is_first_layout() {
        return Err(Error::SealsTampered);
    }
    log.drain(instance).await?;
    let now = instance.clock.now();
    let request = Id::generate(now, instance.random.as_ref())?;
    let ctx = OpContext { actor: Actor::System, request, now };
    let mut changing = Changing::first(instance, &ctx, log.last).await?;
    if changing.tx.everything().await?.head.is_some() || !log.is_first_layout() {
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
    log.drain(instance).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seals_tests::{Home, ctx, id_of};

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
            previous_head: None,
        });
        record.encode()
    }

    /// Who writes to the database has no key to seal with.
    #[tokio::test]
    async fn rows_that_somebody_else_put_into_the_outbox_are_not_adopted() {
        let home = Home::new();
        let instance = home.init().await;
        let pepper = &instance.secrets.pepper;
        let (event, other) = (id_of::<types::Request>().to_bytes(), [2; 16]);
        let record = forged(event);
        // Without a seal, with a guessed one, and with those of another event, place and record.
        let wrong = |case: u8, at: u64| match case {
            0 => None,
            1 => Some([0x5A; 32]),
            2 => Some(seals::of_event(pepper, at, &other, &record)),
            3 => Some(seals::of_event(pepper, at + 1, &event, &record)),
            _ => Some(seals::of_event(pepper, at, &event, b"another")),
        };
        let put = async |seal: &dyn Fn(u64) -> Option<[u8; 32]>| {
            let mut tx = instance.store.begin(&ctx()).await.unwrap();
            let sequence = tx.next_sequence().await.unwrap();
            let seal = seal(sequence).map(|seal| seal.to_vec());
            let record = record.clone();
            tx.put_outbox(OutboxRow { sequence, event, record, seal }).await.unwrap();
            tx.commit().await.unwrap();
        };
        for case in 0..5 {
            put(&|at| wrong(case, at)).await;
            for refused in [check(&instance).await, settle(&instance).await] {
                assert!(
                    matches!(&refused, Err(Error::RowTampered { kind, .. }) if kind == OUTBOX),
                    "{refused:?}"
                );
            }
            instance.store.delete_outbox(&instance.origin, u64::MAX).await.unwrap();
        }
        put(&|at| Some(seals::of_event(pepper, at, &event, &record))).await;
        check(&instance).await.unwrap();
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
