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

use crate::{
    accounts::{self, Account},
    change::{self, Change, Changing},
    error::Error,
    instance::Instance,
    nodes,
    seals::{self, OUTBOX, Tampering},
};
use audit::{
    Changed, Configuration, Durability, FolderLock, Handle, Log, LogConfig, MAX_RECORD_BYTES,
    OpenError, RECENT_EVENTS, Record, Reserve, Signed, Started, VaultHead, VerifyError,
    VerifyOptions, verify,
};
use std::{collections::HashSet, fs, io, num::NonZeroU64};
use store::{MovedRow, OutboxRow, Store};
use types::{Actor, Id, OpContext};

/// Never more than the log knows again after a crash.
const BATCH: u32 = 256;
const _: () = assert!(BATCH as usize <= RECENT_EVENTS, "a crash must not sequence twice");
/// So many events are known by their ids at most, between batches.
const MAX_KNOWN: usize = 16 * RECENT_EVENTS;
/// So far back the log is read for a change that was whole.
const MAX_LOOKED_BACK: usize = 65_536;

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

/// How far the log has come.
#[derive(Debug, Clone, Copy)]
struct End {
    /// The newest state that the log binds.
    last: Option<VaultHead>,
    /// The number of the last event in it; `None` where the log does not tell.
    number: Option<u64>,
    links: Links,
}

/// Whether the log holds a change that binds a state. If not, `last` is the state that it was made
/// with, and changes from before that may wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Links {
    None,
    /// It holds events, by a crash perhaps only the first ones of a change.
    Unknown,
    Some,
}

impl End {
    fn of(last: Option<VaultHead>, is_new: bool) -> Self {
        let numbered = last.filter(|last| last.sequence > 0 && !is_new);
        let number = numbered.map(|last| last.sequence);
        let links = if is_new { Links::None } else { Links::Unknown };
        Self { last, number, links }
    }

    /// Looks whether there is none, where that is not known.
    fn look_for_links(&mut self, instance: &Instance) -> Result<(), Error> {
        if self.links != Links::Unknown {
            return Ok(());
        }
        let newest = verify::list(&instance.folder.audit(), MAX_LOOKED_BACK)?;
        let is_link = |(_, record): &(u64, Record)| matches!(record, Record::Changed(changed) if changed.vault_head.is_some());
        if newest.len() < MAX_LOOKED_BACK && !newest.iter().any(is_link) {
            (self.links, self.number) = (Links::None, None);
        } else {
            self.links = Links::Some;
        }
        Ok(())
    }
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

/// Takes the next link of the chain: later than all before it, and one that the store has. The first
/// of a log may be the one that the log was made with, or one that waited before that; events that lead
/// to it are none.
async fn link(instance: &Instance, changed: &Changed, end: &mut End) -> Result<(), Error> {
    let Some(head) = changed.vault_head else { return Ok(()) };
    let is_later = |last: VaultHead| last.sequence == 0 || last.sequence < head.sequence;
    if !end.last.is_none_or(is_later) {
        end.look_for_links(instance)?;
        if end.links != Links::None {
            return Err(Error::VaultRolledBack);
        }
    }
    remembers(instance, head).await?;
    if let Some(previous) = changed.previous_head {
        remembers(instance, previous).await?;
    }
    (end.last, end.links) = (Some(head), Links::Some);
    Ok(())
}

/// An event that a retired node had claimed comes later than its number: it is no link of this log, and
/// says whose it was and which state it left.
async fn taken_over(
    instance: &Instance,
    mut changed: Changed,
    log: &str,
) -> Result<Changed, Error> {
    let states =
        [("state_before", changed.previous_head.take()), ("state", changed.vault_head.take())];
    for (name, head) in states {
        let Some(head) = head else { continue };
        remembers(instance, head).await?;
        let VaultHead { count, root, sequence } = head;
        let state = format!("{sequence} {count} {}", change::hex(&root));
        changed.details.push((name.to_owned(), state));
    }
    changed.details.push(("taken_over_from".to_owned(), log.to_owned()));
    Ok(changed)
}

async fn newest_head(instance: &Instance) -> Result<Option<VaultHead>, Error> {
    let newest = instance.store.newest_head().await?;
    let Some(newest) = newest else { return Ok(None) };
    Ok(Some(seals::opened_head(&instance.secrets.pepper, &newest)?.head))
}

/// Nothing goes into the log that Weirgate did not write. Only a log of the first layout takes rows
/// without a seal: there were none.
pub(crate) fn authenticate(
    instance: &Instance,
    row: &OutboxRow,
    is_first_layout: bool,
) -> Result<(), Error> {
    let OutboxRow { sequence, event, record, seal } = row;
    let wanted = seals::of_event(&instance.secrets.pepper, *sequence, event, record);
    let how = match seal {
        Some(seal) if vault::digests_match(seal, &wanted) => return Ok(()),
        Some(_) => Tampering::Changed,
        None if is_first_layout => return Ok(()),
        None => Tampering::Added,
    };
    Err(tampered(*sequence, how))
}

fn tampered(sequence: u64, how: Tampering) -> Error {
    Error::RowTampered { kind: OUTBOX.to_owned(), id: sequence.to_string(), how }
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
    // On the heap: it is a large part of what many verbs keep on their stacks.
    Box::pin(OpenLog::open(instance, lock, None, None)).await?.close().await
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
    let mut log = OpenLog::open_unjudged(instance, lock, None, None).await?;
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
    let mut changing = Changing::first(instance, &ctx, log.end.last).await?;
    if changing.tx.everything().await?.head.is_some() || !log.is_first_layout() {
        return Err(Error::SealsTampered);
    }
    if Some(change::first_layout_head(&changing.tx.sealed_heads().await?)) != log.end.last {
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
    use crate::{
        change::Care,
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
