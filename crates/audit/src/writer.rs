//! The one writer of a log: a thread that gathers what is queued into groups, one sync for each.

use crate::{
    hint::Known,
    log::{Appender, Signed},
    note::SigningKey,
    record::{CallStep, MAX_RECORD_BYTES, Record, VaultHead},
};
use std::{
    collections::BTreeMap,
    fmt, io,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    task::{Context, Poll},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;
use types::Clock;

/// Entries that may wait for the writer; at more, appends are refused.
const QUEUE: usize = 16_384;
/// Entries of one group.
const MAX_GROUP: usize = 4_096;
/// The longest that an entry stays unsynced.
const SYNC_WITHIN: Duration = Duration::from_millis(100);
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// When an append counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The entry is on disk.
    Synced,
    /// The entry is in the file, and on disk with the next group, at the latest after 100 ms: it
    /// survives the end of the process, but perhaps not of the machine.
    NextGroup,
}

/// Why an entry was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("{QUEUE} entries wait for the audit log already")]
    Full,
    /// After a failed write nobody knows what is on disk. Nothing is taken any more, until
    /// [`Log::open`](crate::Log::open) has read the files again.
    #[error("the audit log could not be written ({kind}) and must be opened anew")]
    Failed { kind: io::ErrorKind },
    #[error("the audit log is closed")]
    Closed,
    #[error("an entry of {bytes} bytes is longer than {MAX_RECORD_BYTES}")]
    TooLong { bytes: usize },
}

type Reply = oneshot::Sender<Result<u64, AppendError>>;

/// An entry on its way, with what the writer must know of it.
struct Queued {
    entry: Vec<u8>,
    call: Option<CallStep>,
    /// Of a change.
    event: Option<[u8; 16]>,
    vault: Option<VaultHead>,
    durability: Durability,
    reply: Option<Reply>,
}

enum Command {
    Append(Queued),
    VaultHead(VaultHead),
    Close { reply: Reply },
}

/// What the writer's state is, for those who append.
#[derive(Debug, Default)]
struct State {
    failed: OnceLock<io::ErrorKind>,
    is_closed: AtomicBool,
    /// The last checkpoint, on disk.
    signed: Mutex<Option<Signed>>,
    queued: AtomicUsize,
    syncs: AtomicU64,
    sync_micros: AtomicU64,
}

/// How the writer keeps up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Entries that wait for the writer.
    pub queued: usize,
    /// Syncs to the disk since the log was opened, and the time they took together.
    pub syncs: u64,
    pub syncing: Duration,
}

impl State {
    fn check(&self) -> Result<(), AppendError> {
        match self.failed.get() {
            Some(kind) => Err(AppendError::Failed { kind: *kind }),
            None if self.is_closed.load(Ordering::SeqCst) => Err(AppendError::Closed),
            None => Ok(()),
        }
    }
}

/// Appends to the log from anywhere. Never blocks.
#[derive(Clone)]
pub struct Handle {
    queue: SyncSender<Command>,
    state: Arc<State>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("state", &self.state).finish_non_exhaustive()
    }
}

/// Resolves to the entry's index when the append counts as done.
#[derive(Debug)]
#[must_use]
pub struct Ticket(oneshot::Receiver<Result<u64, AppendError>>);

impl Future for Ticket {
    type Output = Result<u64, AppendError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|result| result.unwrap_or(Err(AppendError::Closed)))
    }
}

impl Ticket {
    /// Waits where no async runtime is.
    pub fn wait(self) -> Result<u64, AppendError> {
        self.0.blocking_recv().unwrap_or(Err(AppendError::Closed))
    }
}

impl Handle {
    /// Queues an entry. It never waits: neither for the disk nor for room.
    ///
    /// # Errors
    /// At once, if the log takes no entries: the caller must refuse what it was about to do.
    pub fn append(&self, record: &Record, durability: Durability) -> Result<Ticket, AppendError> {
        let (reply, ticket) = oneshot::channel();
        self.queue(record, durability, Some(reply))?;
        Ok(Ticket(ticket))
    }

    /// Queues an entry whose writer cannot wait or refuse. A failure is logged.
    pub fn append_and_forget(&self, record: &Record) {
        if let Err(error) = self.queue(record, Durability::NextGroup, None) {
            tracing::error!(%error, audit.kind = record.kind(), "audit entry lost");
        }
    }

    fn queue(
        &self,
        record: &Record,
        durability: Durability,
        reply: Option<Reply>,
    ) -> Result<(), AppendError> {
        self.state.check()?;
        let entry = record.encode();
        if entry.len() > MAX_RECORD_BYTES {
            return Err(AppendError::TooLong { bytes: entry.len() });
        }
        let (event, vault) = match record {
            Record::Changed(changed) => (Some(changed.event), changed.vault_head),
            _ => (None, None),
        };
        let call = record.call_step();
        self.send(Command::Append(Queued { entry, call, event, vault, durability, reply }))
    }

    fn send(&self, command: Command) -> Result<(), AppendError> {
        self.state.queued.fetch_add(1, Ordering::Relaxed);
        self.queue.try_send(command).map_err(|error| {
            self.state.queued.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => AppendError::Full,
                TrySendError::Disconnected(_) => {
                    self.state.check().err().unwrap_or(AppendError::Closed)
                }
            }
        })
    }

    /// How the writer keeps up.
    pub fn pace(&self) -> Pace {
        let State { queued, syncs, sync_micros, .. } = &*self.state;
        Pace {
            queued: queued.load(Ordering::Relaxed),
            syncs: syncs.load(Ordering::Relaxed),
            syncing: Duration::from_micros(sync_micros.load(Ordering::Relaxed)),
        }
    }

    /// The vault's state that the next checkpoint binds. A [`Record::Changed`] that names one does
    /// the same.
    pub fn set_vault_head(&self, head: VaultHead) -> Result<(), AppendError> {
        self.state.check()?;
        self.send(Command::VaultHead(head))
    }

    /// Whether entries are taken.
    pub fn is_healthy(&self) -> bool {
        self.state.check().is_ok()
    }

    /// The last checkpoint, once it is on disk: who keeps it elsewhere is never ahead of the log.
    /// There is one as long as there is a handle.
    pub fn checkpoint(&self) -> Option<Signed> {
        self.state.signed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn close(&self) -> Result<(), AppendError> {
        let (reply, ticket) = oneshot::channel();
        self.state.queued.fetch_add(1, Ordering::Relaxed);
        // Blocks while the queue is full: all of it is written first.
        self.queue.send(Command::Close { reply }).map_err(|_| AppendError::Closed)?;
        Ticket(ticket).wait().map(drop)
    }
}

/// The thread's own.
pub(crate) struct Writer {
    appender: Appender,
    key: SigningKey,
    clock: Arc<dyn Clock>,
    hint_file: PathBuf,
    known: Known,
    /// Open intents with their index.
    open: BTreeMap<u128, u64>,
    state: Arc<State>,
    /// When the oldest entry was written that is not synced.
    unsynced_since: Option<Instant>,
    checkpointed_at: Instant,
}

/// However the thread ends, nobody waits for it.
struct CloseOnDrop(Arc<State>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::SeqCst);
    }
}

impl Writer {
    pub(crate) fn start(
        appender: Appender,
        key: SigningKey,
        clock: Arc<dyn Clock>,
        hint_file: PathBuf,
        known: Known,
    ) -> io::Result<(Handle, JoinHandle<()>)> {
        let (queue, received) = sync_channel(QUEUE);
        let state = Arc::new(State::default());
        let writer = Self {
            appender,
            key,
            clock,
            hint_file,
            known,
            open: BTreeMap::new(),
            state: Arc::clone(&state),
            unsynced_since: None,
            checkpointed_at: Instant::now(),
        };
        writer.tell_checkpoint();
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || {
            let _closed = CloseOnDrop(Arc::clone(&writer.state));
            writer.run(&received);
        })?;
        Ok((Handle { queue, state }, thread))
    }

    fn run(mut self, received: &Receiver<Command>) {
        loop {
            let waited = match self.due_at() {
                Some(due) => received.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => received.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let first = match waited {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    // Nobody is left to be told; what was taken is signed all the same.
                    let _ = self.checkpoint();
                    return;
                }
            };
            let mut group = Vec::new();
            let mut close = None;
            for command in first.into_iter().chain(received.try_iter()) {
                self.state.queued.fetch_sub(1, Ordering::Relaxed);
                match command {
                    Command::Append(queued) => group.push(queued),
                    Command::VaultHead(head) => self.appender.vault = Some(head),
                    Command::Close { reply } => {
                        close = Some(reply);
                        break;
                    }
                }
                if group.len() >= MAX_GROUP {
                    break;
                }
            }
            self.write(group);
            if let Some(reply) = close {
                let result = self.end();
                self.state.is_closed.store(true, Ordering::SeqCst);
                // Who asked may have gone away; the log is closed all the same.
                let _ = reply.send(result);
                return;
            }
            self.tick();
        }
    }

    fn write(&mut self, group: Vec<Queued>) {
        if group.is_empty() {
            return;
        }
        let begin = self.appender.size();
        let mut entries = Vec::with_capacity(group.len());
        let mut replies = Vec::with_capacity(group.len());
        let mut meanings = Vec::with_capacity(group.len());
        for Queued { entry, call, event, vault, durability, reply } in group {
            entries.push(entry);
            meanings.push((call, event, vault));
            replies.push((durability, reply));
        }
        let written = self.guard(|this| this.appender.append(&entries));
        if written.is_ok() {
            for (index, (call, event, vault)) in (begin..).zip(meanings) {
                self.note(index, call, event, vault);
            }
            if self.appender.is_synced() {
                self.unsynced_since = None;
            } else {
                self.unsynced_since.get_or_insert_with(Instant::now);
            }
        }
        // Those that wait for the file alone go on before the sync. Who waited may have given up:
        // that a reply finds nobody is no failure.
        let mut waiting = Vec::new();
        for (index, (durability, reply)) in (begin..).zip(replies) {
            match (durability, reply) {
                (Durability::NextGroup, Some(reply)) => {
                    let _ = reply.send(written.map(|()| index));
                }
                (Durability::NextGroup, None) => {}
                (Durability::Synced, reply) => waiting.push((index, reply)),
            }
        }
        if !waiting.is_empty() {
            let synced = written.and_then(|()| self.sync());
            for (index, reply) in waiting {
                if let Some(reply) = reply {
                    let _ = reply.send(synced.map(|()| index));
                }
            }
        }
    }

    fn note(
        &mut self,
        index: u64,
        call: Option<CallStep>,
        event: Option<[u8; 16]>,
        vault: Option<VaultHead>,
    ) {
        match call {
            Some(CallStep::Begins(request)) => {
                self.open.insert(request, index);
            }
            Some(CallStep::Ends(request)) => {
                self.open.remove(&request);
            }
            None => {}
        }
        if let Some(event) = event {
            self.known.events.push(event);
        }
        self.appender.vault = vault.or(self.appender.vault);
    }

    fn sync(&mut self) -> Result<(), AppendError> {
        let begun = Instant::now();
        self.guard(|this| this.appender.sync())?;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.state.sync_micros.fetch_add(micros, Ordering::Relaxed);
        self.state.syncs.fetch_add(1, Ordering::Relaxed);
        self.unsynced_since = None;
        Ok(())
    }

    /// When something is due without a further entry.
    fn due_at(&self) -> Option<Instant> {
        if self.state.failed.get().is_some() {
            return None;
        }
        let sync = self.unsynced_since.map(|since| since + SYNC_WITHIN);
        let checkpoint = self.appender.has_news().then(|| self.checkpointed_at + CHECKPOINT_EVERY);
        [sync, checkpoint].into_iter().flatten().min()
    }

    /// What is due by now. Failures are remembered and logged by `guard`.
    fn tick(&mut self) {
        if self.state.failed.get().is_some() {
            return;
        }
        if self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_WITHIN) {
            let _ = self.sync();
        }
        if self.appender.has_news() && self.checkpointed_at.elapsed() >= CHECKPOINT_EVERY {
            let _ = self.checkpoint();
        }
    }

    fn checkpoint(&mut self) -> Result<(), AppendError> {
        self.checkpointed_at = Instant::now();
        self.guard(|this| this.appender.write_checkpoint(&this.key))?;
        self.unsynced_since = None;
        self.tell_checkpoint();
        Ok(())
    }

    fn tell_checkpoint(&self) {
        let mut signed = self.state.signed.lock().unwrap_or_else(PoisonError::into_inner);
        *signed = self.appender.signed().cloned();
        drop(signed);
        self.write_hint();
    }

    /// A hint that is lost only costs time.
    fn write_hint(&self) {
        let first_open = self.open.values().min().copied();
        let Some(hint) = self.appender.hint(first_open, &self.known) else { return };
        if let Err(error) = hint.write(&self.hint_file, &self.key) {
            tracing::warn!(%error, "audit hint not written");
        }
    }

    fn end(&mut self) -> Result<u64, AppendError> {
        let closed = Record::Closed { at: self.clock.now() }.encode();
        let index = self.appender.size();
        self.guard(|this| this.appender.append(std::slice::from_ref(&closed)))?;
        self.guard(|this| this.appender.finish_tiles())?;
        self.checkpoint()?;
        self.guard(|this| this.appender.drop_seals())?;
        Ok(index)
    }

    /// After the first failure nothing is done any more.
    fn guard(&mut self, act: impl FnOnce(&mut Self) -> io::Result<()>) -> Result<(), AppendError> {
        if let Some(kind) = self.state.failed.get() {
            return Err(AppendError::Failed { kind: *kind });
        }
        act(self).map_err(|error| {
            let kind = *self.state.failed.get_or_init(|| error.kind());
            tracing::error!(%error, "audit log not written: it takes nothing until it is opened anew");
            AppendError::Failed { kind }
        })
    }
}
