//! Moves audit entries of committed changes from the store's outbox into the log.
//!
//! The holder of the folder's lock does it: a server each quarter of a second, a verb before it
//! exits if no server runs. A row is deleted only after its entry is on disk; a crash between the
//! two is recognised by the event's id: batches are no longer than what the log remembers.
//! Of several nodes the one that claims a row moves it, and none but it.
//!
//! Before anything moves, each event that was ever committed must wait or be in a log (`accounts`): a
//! row that somebody removed is missed. One that somebody put back is in a log by the account, or has
//! a number that this log is past: in each log numbers rise. Only what was given back by an operator's
//! act, `node retire`, comes later than its number, and says so.
//!
//! Before anything moves, the log is asked what it remembers: the state that it last bound must be
//! one that the store has. That is decided by the store's chain of heads, not by its newest one: so
//! it is right however many nodes with logs of their own sequence the changes of one store.

mod end;
mod first_layout;

pub(crate) use end::authenticate;
pub(crate) use first_layout::seal_first_layout;

use crate::{
    accounts::{self, Account},
    error::Error,
    instance::Instance,
    nodes,
    seals::{self, Tampering},
};
use audit::{
    Changed, Configuration, Durability, FolderLock, Handle, Log, LogConfig, OpenError,
    RECENT_EVENTS, Record, Reserve, Signed, Started, VaultHead,
};
use end::{End, fitting, link, remembers, taken_over, tampered};
use first_layout::is_first_layout;
use std::{collections::HashSet, fs, io, num::NonZeroU64};
use store::{MovedRow, OutboxRow, Store};

/// Never more than the log knows again after a crash.
const BATCH: u32 = 256;
const _: () = assert!(BATCH as usize <= RECENT_EVENTS, "a crash must not sequence twice");
/// So many events are known by their ids at most, between batches.
const MAX_KNOWN: usize = 16 * RECENT_EVENTS;

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
    end: End,
    account: Account,
    /// How a server last began before this.
    pub started_before: Option<Started>,
}

impl OpenLog {
    /// Opens the log, compares the store with what the log last said of it, and moves what waits in
    /// the outbox. The lock makes this process its one writer. A server says what it was told, and
    /// keeps a reserve of so many bytes beside the log, which it gives back when the disk is full; a
    /// verb has neither.
    ///
    /// # Errors
    /// [`Error::VaultRolledBack`] if the store does not have the state that the log last bound.
    pub async fn open(
        instance: &Instance,
        lock: FolderLock,
        configuration: Option<Configuration>,
        reserve: Option<NonZeroU64>,
    ) -> Result<Self, Error> {
        let mut log = Self::open_unjudged(instance, lock, configuration, reserve).await?;
        if let Err(error) = log.begin(instance).await {
            // Ends the writer, which gives the lock back. What is wrong has been said.
            let _ = log.close().await;
            return Err(error);
        }
        Ok(log)
    }

    async fn open_unjudged(
        instance: &Instance,
        lock: FolderLock,
        configuration: Option<Configuration>,
        reserve: Option<NonZeroU64>,
    ) -> Result<Self, Error> {
        check_public_key(instance)?;
        let mut config = config(instance, lock, told(instance).await?)?;
        config.configuration = configuration;
        config.reserve =
            reserve.map(|bytes| Reserve::new(instance.folder.audit_reserve(), bytes.get()));
        let opened = Log::open(config)?;
        Ok(Self {
            handle: opened.log.handle(),
            log: opened.log,
            origin: instance.origin.clone(),
            store: instance.store.clone(),
            told: None,
            end: End::of(opened.vault_head, opened.recent_events.is_empty()),
            known: opened.recent_events.into_iter().collect(),
            account: Account::default(),
            started_before: opened.started_before,
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
        (self.told, self.account) = (None, Account::default());
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
    /// [`Error::VaultRolledBack`] if the store, or a waiting row, contradicts what the log binds,
    /// [`Error::RowTampered`] if a row is none that waited, [`Error::EventMissing`] if one was
    /// removed: then nothing of its batch moves. [`Error::NodeRetired`] if nothing is this node's any
    /// more.
    pub async fn drain(&mut self, instance: &Instance) -> Result<(), Error> {
        // Large states are not for every caller's stack.
        Box::pin(nodes::check_own(instance)).await?;
        // What a failed disk has taken is known again as after a crash.
        if let Some(found) = self.handle.take_reopened() {
            self.end = End::of(found.vault_head, found.recent_events.is_empty());
            self.known.extend(found.recent_events);
        }
        if let Some(last) = self.end.last {
            remembers(instance, last).await?;
        }
        loop {
            let newest = newest_head(instance).await?.map_or(0, |newest| newest.sequence);
            Box::pin(self.account.follow(instance, newest)).await?;
            let rows = instance.store.take_outbox(&instance.origin, BATCH).await?;
            let Some(up_to) = rows.last().map(|row| row.sequence) else { return Ok(()) };
            // All are judged before one moves.
            let mut judged = Vec::new();
            let mut end = self.end;
            let given_back = Box::pin(nodes::given_back(instance)).await?;
            for row in &rows {
                let from = given_back.get(&row.sequence).map(String::as_str);
                if let Some(changed) = self.judge(instance, row, &mut end, from).await? {
                    judged.push((
                        changed.event,
                        end,
                        Record::Changed(fitting(changed, &row.record)),
                    ));
                }
            }
            self.append(judged).await?;
            // One that the account has already was put back meanwhile.
            let moved: Vec<MovedRow> = rows
                .iter()
                .filter(|row| !self.account.has(row.sequence))
                .map(|row| accounts::row(instance, row.sequence, Some(&instance.origin)))
                .collect();
            instance.store.settle_outbox(&instance.origin, up_to, &moved).await?;
            self.end = end;
            if self.known.len() > MAX_KNOWN {
                self.known = rows.iter().map(|row| row.event).collect();
            }
        }
    }

    /// The event of a row that the log does not have yet, and where the log ends with it. `from` is the
    /// log of a retired node that had claimed it.
    async fn judge(
        &self,
        instance: &Instance,
        row: &OutboxRow,
        end: &mut End,
        from: Option<&str>,
    ) -> Result<Option<Changed>, Error> {
        authenticate(instance, row, self.is_first_layout())?;
        let record = Record::decode(&row.record)
            .map_err(|_| Error::Internal { what: "an outbox row is malformed" })?;
        let Record::Changed(changed) = record else {
            return Err(Error::Internal { what: "an outbox row is no change" });
        };
        if self.known.contains(&changed.event) {
            end.number = end.number.map(|number| number.max(row.sequence));
            return Ok(None);
        }
        if self.account.has(row.sequence) {
            return Err(tampered(row.sequence, Tampering::Added));
        }
        if let Some(log) = from {
            return taken_over(instance, changed, log).await.map(Some);
        }
        let is_behind = |end: &End| end.number.is_some_and(|number| row.sequence <= number);
        if is_behind(end) {
            end.look_for_links(instance)?;
        }
        if is_behind(end) {
            return Err(tampered(row.sequence, Tampering::Added));
        }
        link(instance, &changed, end).await?;
        end.number = Some(row.sequence);
        Ok(Some(changed))
    }

    /// What is on disk counts as moved, whatever becomes of the rest.
    async fn append(&mut self, judged: Vec<([u8; 16], End, Record)>) -> Result<(), Error> {
        let mut tickets = Vec::new();
        let mut failed = None;
        for (event, end, record) in judged {
            match self.handle.append(&record, Durability::Synced) {
                Ok(ticket) => tickets.push((event, end, ticket)),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        for (event, end, ticket) in tickets {
            ticket.await?;
            self.known.insert(event);
            self.end = end;
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn is_first_layout(&self) -> bool {
        is_first_layout(self.end.last)
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
        configuration: None,
        reserve: None,
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

async fn newest_head(instance: &Instance) -> Result<Option<VaultHead>, Error> {
    let newest = instance.store.newest_head().await?;
    let Some(newest) = newest else { return Ok(None) };
    Ok(Some(seals::opened_head(&instance.secrets.pepper, &newest)?.head))
}

/// Before a verb changes anything: whether its audit entry could be moved into the log afterwards.
/// If a server holds the folder, it is the server's.
pub async fn check(instance: &Instance) -> Result<(), Error> {
    let Some(lock) = instance.folder.try_lock()? else { return Ok(()) };
    check_public_key(instance)?;
    Box::pin(accounts::check(instance)).await?;
    Log::check(&config(instance, lock, told(instance).await?)?)?;
    Ok(())
}

/// Before a verb exits: sequences what it committed, unless a server holds the folder and does it.
pub async fn settle(instance: &Instance) -> Result<(), Error> {
    let Some(lock) = instance.folder.try_lock()? else { return Ok(()) };
    // On the heap: it is a large part of what many verbs keep on their stacks.
    Box::pin(OpenLog::open(instance, lock, None, None)).await?.close().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        change::{Care, Change, Changing},
        seals::OUTBOX,
        seals_tests::{Home, add_client, ctx, id_of},
    };

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
        let mut tx = instance.store.begin(&ctx()).await.unwrap();
        let sequence = tx.next_sequence().await.unwrap();
        tx.put_outbox(OutboxRow { sequence, event, record: Vec::new(), seal: None }).await.unwrap();
        tx.commit().await.unwrap();
        remove(&instance, sequence).await;
        let put = async |seal: &dyn Fn(u64) -> Option<[u8; 32]>| {
            let mut tx = instance.store.begin(&ctx()).await.unwrap();
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
            remove(&instance, u64::MAX).await;
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

    fn changes(instance: &Instance) -> Vec<Changed> {
        let listed = crate::audit_log::list(&instance.folder, 1_000).unwrap();
        let changed = |(_, record)| match record {
            Record::Changed(changed) => Some(changed),
            _ => None,
        };
        listed.into_iter().filter_map(changed).collect()
    }

    async fn waiting(instance: &Instance) -> Vec<OutboxRow> {
        instance.store.outbox_batch(100).await.unwrap()
    }

    /// As by hand: whoever claimed the rows.
    async fn remove(instance: &Instance, up_to: u64) {
        instance.store.take_outbox(&instance.origin, 100).await.unwrap();
        instance.store.settle_outbox(&instance.origin, up_to, &[]).await.unwrap();
    }

    async fn put_back(instance: &Instance, rows: &[OutboxRow]) {
        let mut tx = instance.store.begin(&ctx()).await.unwrap();
        for row in rows {
            tx.put_outbox(row.clone()).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// One change of several events.
    async fn change_of(instance: &Instance, events: &[&str]) {
        let ctx = ctx();
        let mut changing = Changing::begin(instance, &ctx, Care::Whole).await.unwrap();
        for what in events {
            let what = (*what).to_owned();
            changing.record(Change { verb: "test", what, ..Change::default() });
        }
        changing.commit().await.unwrap();
    }

    /// Nobody needs a key to remove a row: its change was made all the same.
    #[tokio::test]
    async fn an_event_that_somebody_removed_is_missed() {
        let home = Home::new();
        let instance = home.init().await;
        settle(&instance).await.unwrap();
        let before = changes(&instance).len();
        for name in ["a", "b", "c"] {
            add_client(&instance, name).await.unwrap();
        }
        let rows = waiting(&instance).await;
        assert_eq!(rows.len(), 3);
        for gone in [&[0][..], &[0, 1], &[0, 1, 2], &[1], &[1, 2], &[2]] {
            remove(&instance, u64::MAX).await;
            let left: Vec<OutboxRow> = (0..3)
                .filter(|place| !gone.contains(place))
                .map(|place| rows[place].clone())
                .collect();
            put_back(&instance, &left).await;
            // With what could look like a second node.
            let own = told(&instance).await.unwrap();
            for note in ["forged", own.as_str()] {
                instance.store.keep_audit_checkpoint("weirgate/other", 0, note).await.unwrap();
                let refused = settle(&instance).await;
                assert!(
                    matches!(refused, Err(Error::EventMissing { .. })),
                    "{gone:?}: {refused:?}"
                );
            }
            // What stood before the gap may be in the log, and what is behind it is not.
            let there = changes(&instance).len() - before;
            assert!(there <= gone[0], "{gone:?}: {there}");
        }
        remove(&instance, u64::MAX).await;
        let refused = check(&instance).await;
        assert!(matches!(refused, Err(Error::EventMissing { .. })), "{refused:?}");
        put_back(&instance, &rows).await;
        settle(&instance).await.unwrap();
        assert_eq!(changes(&instance).len(), before + 3);
        instance.close().await.unwrap();
    }

    /// A row's seal is right for ever: its number is not.
    #[tokio::test]
    async fn an_event_that_somebody_put_back_is_not_sequenced_again() {
        let home = Home::new();
        let instance = home.init().await;
        settle(&instance).await.unwrap();
        let before = changes(&instance).len();
        change_of(&instance, &["one", "two"]).await;
        let rows = waiting(&instance).await;
        let mut log =
            OpenLog::open(&instance, instance.folder.lock().unwrap(), None, None).await.unwrap();
        // As after a crash between the entry and the row's end.
        put_back(&instance, &rows).await;
        log.drain(&instance).await.unwrap();
        assert!(waiting(&instance).await.is_empty());
        // Later than any crash: the log does not know so many ids.
        log.known.clear();
        for row in &rows {
            put_back(&instance, std::slice::from_ref(row)).await;
            for _ in 0..2 {
                let refused = log.drain(&instance).await;
                let is_added =
                    matches!(refused, Err(Error::RowTampered { how: Tampering::Added, .. }));
                assert!(is_added, "{refused:?}");
            }
            remove(&instance, u64::MAX).await;
        }
        log.close().await.unwrap();
        assert_eq!(changes(&instance).len(), before + 2);
        instance.close().await.unwrap();
    }

    /// A crash may come between two events of one change, and the first ones' rows may be gone.
    #[tokio::test]
    async fn a_change_that_a_crash_cut_in_two_is_completed() {
        let home = Home::new();
        let instance = home.init().await;
        settle(&instance).await.unwrap();
        let before = changes(&instance).len();
        change_of(&instance, &["one", "two", "three"]).await;
        let rows = waiting(&instance).await;
        assert_eq!(rows.len(), 3);
        let log = OpenLog::open_unjudged(&instance, instance.folder.lock().unwrap(), None, None)
            .await
            .unwrap();
        for row in &rows[..2] {
            let record = Record::decode(&row.record).unwrap();
            log.handle.append(&record, Durability::Synced).unwrap().await.unwrap();
        }
        log.close().await.unwrap();
        instance.store.take_outbox(&instance.origin, 100).await.unwrap();
        let moved = [&rows[0], &rows[1]]
            .map(|row| accounts::row(&instance, row.sequence, Some(&instance.origin)));
        let up_to = rows[1].sequence;
        instance.store.settle_outbox(&instance.origin, up_to, &moved).await.unwrap();
        settle(&instance).await.unwrap();
        assert_eq!(changes(&instance).len(), before + 3);
        instance.close().await.unwrap();
    }
}
