//! The one writer of a log: a thread that gathers what is queued into groups, one sync for each.

use crate::{
    hint::{RecentEvents, Started},
    log::{Abandoned, Appender, Begun, OpenError, Opener, Signed},
    record::{CallStep, MAX_RECORD_BYTES, Record, VaultHead},
    reserve::{Reserve, is_full},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as _,
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    task::{Context, Poll},
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Entries that may wait for the writer; at more, appends are refused.
const QUEUE: usize = 16_384;
/// Entries of one group.
const MAX_GROUP: usize = 4_096;
/// The longest that an entry stays unsynced.
const SYNC_WITHIN: Duration = Duration::from_millis(100);
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// How often a log that failed is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

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
    /// After a failed write nobody knows what is on disk. Nothing is taken until the writer has read
    /// the files again and could write them anew; it tries that each second.
    #[error("the audit log cannot be written ({kind}); it is tried again each second")]
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
    change: Option<Change>,
    vault: Option<VaultHead>,
    durability: Durability,
    reply: Option<Reply>,
}

impl Queued {
    fn answer(self, result: Result<u64, AppendError>) {
        if let Some(reply) = self.reply {
            // Who waited may have given up.
            let _ = reply.send(result);
        }
    }
}

/// Of an entry that is a change.
#[derive(Debug, Clone, Copy)]
struct Change {
    event: [u8; 16],
    /// How often the log had been opened again when it was handed over.
    reopened: u64,
}

enum Command {
    Append(Queued),
    VaultHead(VaultHead),
    Close { reply: Reply },
}

/// What the writer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    All,
    /// How calls end that are under way. Others are refused for this reason.
    Ends(io::ErrorKind),
    /// Nothing reaches the disk; how calls end is kept until something does.
    Nothing(io::ErrorKind),
    Closed,
}

impl Mode {
    const fn hindrance(self) -> Option<AppendError> {
        match self {
            Self::All => None,
            Self::Ends(kind) | Self::Nothing(kind) => Some(AppendError::Failed { kind }),
            Self::Closed => Some(AppendError::Closed),
        }
    }
}

/// What the writer's state is, for those who append.
#[derive(Debug)]
struct State {
    /// Whether the mode is [`Mode::All`]: looked at by each append.
    takes_all: AtomicBool,
    mode: Mutex<Mode>,
    /// How often the log was opened again, and what was found in it, until that was taken.
    reopenings: AtomicU64,
    reopened: Mutex<Option<Reopened>>,
    /// The last checkpoint, on disk.
    signed: Mutex<Option<Signed>>,
    queued: AtomicUsize,
    syncs: AtomicU64,
    sync_micros: AtomicU64,
}

/// What was in a log that was opened again after its disk failed: as with
/// [`Opened`](crate::Opened). Entries of which nobody was told may be in it.
#[derive(Debug, Clone)]
pub struct Reopened {
    pub recent_events: Vec<[u8; 16]>,
    pub vault_head: Option<VaultHead>,
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
    fn new() -> Self {
        Self {
            takes_all: AtomicBool::new(true),
            mode: Mutex::new(Mode::All),
            reopenings: AtomicU64::default(),
            reopened: Mutex::default(),
            signed: Mutex::default(),
            queued: AtomicUsize::default(),
            syncs: AtomicU64::default(),
            sync_micros: AtomicU64::default(),
        }
    }

    fn mode(&self) -> Mode {
        *lock(&self.mode)
    }

    fn set_mode(&self, mode: Mode) {
        let mut current = lock(&self.mode);
        *current = mode;
        self.takes_all.store(mode == Mode::All, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), AppendError> {
        if self.takes_all.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.mode().hindrance().map_or(Ok(()), Err)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of a change that was handed over to a log which was opened again.
const REOPENED: AppendError = AppendError::Failed { kind: io::ErrorKind::Interrupted };

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

    /// Queues an entry whose writer cannot wait or refuse. That it was not taken is logged, but for a
    /// log that failed, which said so itself.
    pub fn append_and_forget(&self, record: &Record) {
        match self.queue(record, Durability::NextGroup, None) {
            Ok(()) | Err(AppendError::Failed { .. }) => {}
            Err(error) => {
                tracing::error!(%error, audit.kind = record.kind(), "audit entry lost");
            }
        }
    }

    fn queue(
        &self,
        record: &Record,
        durability: Durability,
        reply: Option<Reply>,
    ) -> Result<(), AppendError> {
        let call = record.call_step();
        match self.state.check() {
            // How a call ended is kept until the log takes it again. There are no more of these than
            // calls were under way when it failed.
            Err(AppendError::Failed { .. }) if matches!(call, Some(CallStep::Ends(_))) => {}
            checked => checked?,
        }
        let entry = record.encode();
        if entry.len() > MAX_RECORD_BYTES {
            return Err(AppendError::TooLong { bytes: entry.len() });
        }
        let (change, vault) = match record {
            Record::Changed(changed) => (Some(self.change(changed.event)?), changed.vault_head),
            _ => (None, None),
        };
        self.send(Command::Append(Queued { entry, call, change, vault, durability, reply }))
    }

    /// Changes have an order, and are known by what the log has: none is taken before who hands
    /// them over knows what was found in a log that was opened again.
    fn change(&self, event: [u8; 16]) -> Result<Change, AppendError> {
        let unseen = lock(&self.state.reopened);
        if unseen.is_some() {
            return Err(REOPENED);
        }
        Ok(Change { event, reopened: self.state.reopenings.load(Ordering::SeqCst) })
    }

    /// What was found in the log if it was opened again since this was asked last. Until it is
    /// asked, changes are refused.
    pub fn take_reopened(&self) -> Option<Reopened> {
        lock(&self.state.reopened).take()
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
        lock(&self.state.signed).clone()
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
    log: Place,
    opener: Opener,
    reserve: Option<Reserve>,
    events: RecentEvents,
    /// How a server last began.
    started: Option<Started>,
    /// Open intents with their index.
    open: BTreeMap<u128, u64>,
    /// Calls whose intent was refused when it was queued already: they end too.
    refused: BTreeSet<u128>,
    /// How calls ended while nothing could be written.
    ends: Vec<Queued>,
    /// Calls under way of which that could not be kept.
    lost: BTreeSet<u128>,
    state: Arc<State>,
    /// When the oldest entry was written that is not synced.
    unsynced_since: Option<Instant>,
    checkpointed_at: Instant,
    tried_at: Option<Instant>,
    /// Why it could not be opened again, as it was told.
    told: String,
}

/// Where the log is.
enum Place {
    Open(Box<Appender>),
    Shut(Box<Abandoned>),
    /// For the moment between the two.
    Nowhere,
}

/// However the thread ends, nobody waits for it.
struct CloseOnDrop(Arc<State>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.set_mode(Mode::Closed);
    }
}

impl Writer {
    pub(crate) fn start(
        begun: Begun,
        opener: Opener,
        reserve: Option<Reserve>,
    ) -> io::Result<(Handle, JoinHandle<()>)> {
        let (queue, received) = sync_channel(QUEUE);
        let state = Arc::new(State::new());
        let mut writer = Self {
            log: Place::Open(Box::new(begun.appender)),
            opener,
            reserve,
            events: begun.events,
            started: begun.started,
            open: begun.open,
            refused: BTreeSet::new(),
            ends: Vec::new(),
            lost: BTreeSet::new(),
            state: Arc::clone(&state),
            unsynced_since: None,
            checkpointed_at: Instant::now(),
            tried_at: None,
            told: String::new(),
        };
        writer.tell_checkpoint();
        writer.take_all_if_there_is_room();
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
                    Command::VaultHead(head) => {
                        if let Place::Open(appender) = &mut self.log {
                            appender.vault = Some(head);
                        }
                    }
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
                self.state.set_mode(Mode::Closed);
                // Who asked may have gone away; the log is closed all the same.
                let _ = reply.send(result);
                return;
            }
            self.tick();
        }
    }

    fn write(&mut self, mut group: Vec<Queued>) {
        // Until something has failed there is nothing to sift.
        if self.reopenings() > 0 || self.state.mode() != Mode::All {
            group = self.sift(group);
        }
        if group.is_empty() {
            return;
        }
        let entries: Vec<Vec<u8>> =
            group.iter_mut().map(|it| std::mem::take(&mut it.entry)).collect();
        let written = self.act(|appender| {
            let begin = appender.size();
            appender.append(&entries).map(|()| (begin, appender.is_synced()))
        });
        let (begin, is_synced) = match written {
            Ok(written) => written,
            Err(error) => {
                for (queued, entry) in group.iter_mut().zip(entries) {
                    queued.entry = entry;
                }
                for queued in group {
                    self.put_off(queued, error);
                }
                return;
            }
        };
        if is_synced {
            self.unsynced_since = None;
        } else {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        // Those that wait for the file alone go on before the sync.
        let mut waiting = Vec::new();
        for (index, queued) in (begin..).zip(group) {
            self.note(index, &queued);
            match queued.durability {
                Durability::NextGroup => queued.answer(Ok(index)),
                Durability::Synced => waiting.push((index, queued)),
            }
        }
        if !waiting.is_empty() {
            let synced = self.sync();
            for (index, queued) in waiting {
                if let (Err(_), Some(CallStep::Begins(request))) = (synced, queued.call) {
                    self.refused.insert(request);
                }
                queued.answer(synced.map(|()| index));
            }
        }
    }

    fn reopenings(&self) -> u64 {
        self.state.reopenings.load(Ordering::SeqCst)
    }

    /// What of a group may be written now.
    fn sift(&mut self, group: Vec<Queued>) -> Vec<Queued> {
        let hindrance = self.state.mode().hindrance();
        let mut taken = Vec::new();
        for queued in group {
            if queued.change.is_some_and(|change| change.reopened != self.reopenings()) {
                queued.answer(Err(REOPENED));
                continue;
            }
            match (queued.call, hindrance) {
                (Some(CallStep::Ends(request)), _) if matches!(self.log, Place::Open(_)) => {
                    // Of a refused intent nobody was told that it is in the log, and it may be.
                    if self.refused.remove(&request) && !self.open.contains_key(&request) {
                        queued.answer(Err(hindrance.unwrap_or(REOPENED)));
                    } else {
                        taken.push(queued);
                    }
                }
                (_, Some(error)) => self.put_off(queued, error),
                (_, None) => taken.push(queued),
            }
        }
        taken
    }

    /// Nothing can be written: how calls end is kept, everything else is refused.
    fn put_off(&mut self, queued: Queued, error: AppendError) {
        match queued.call {
            Some(CallStep::Ends(request)) => {
                if self.ends.len() < QUEUE {
                    self.ends.push(queued);
                } else {
                    self.lost.insert(request);
                    queued.answer(Err(error));
                }
            }
            Some(CallStep::Begins(request)) => {
                self.refused.insert(request);
                queued.answer(Err(error));
            }
            None => queued.answer(Err(error)),
        }
    }

    fn note(&mut self, index: u64, queued: &Queued) {
        match queued.call {
            Some(CallStep::Begins(request)) => {
                self.open.insert(request, index);
            }
            Some(CallStep::Ends(request)) => {
                self.open.remove(&request);
            }
            None => {}
        }
        if let Some(change) = queued.change {
            self.events.push(change.event);
        }
        if let Place::Open(appender) = &mut self.log {
            appender.vault = queued.vault.or(appender.vault);
        }
    }

    fn sync(&mut self) -> Result<(), AppendError> {
        let begun = Instant::now();
        self.act(Appender::sync)?;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.state.sync_micros.fetch_add(micros, Ordering::Relaxed);
        self.state.syncs.fetch_add(1, Ordering::Relaxed);
        self.unsynced_since = None;
        Ok(())
    }

    /// When something is due without a further entry.
    fn due_at(&self) -> Option<Instant> {
        let retry = match self.state.mode() {
            Mode::All => None,
            Mode::Ends(_) | Mode::Nothing(_) => {
                Some(self.tried_at.map_or_else(Instant::now, |at| at + RETRY_EVERY))
            }
            Mode::Closed => return None,
        };
        let (mut sync, mut checkpoint) = (None, None);
        if let Place::Open(appender) = &self.log {
            sync = self.unsynced_since.map(|since| since + SYNC_WITHIN);
            checkpoint = appender.has_news().then(|| self.checkpointed_at + CHECKPOINT_EVERY);
        }
        [retry, sync, checkpoint].into_iter().flatten().min()
    }

    /// What is due by now. Failures are remembered and logged by `act`.
    fn tick(&mut self) {
        if self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_WITHIN) {
            let _ = self.sync();
        }
        let has_news = matches!(&self.log, Place::Open(appender) if appender.has_news());
        if has_news && self.checkpointed_at.elapsed() >= CHECKPOINT_EVERY {
            let _ = self.checkpoint();
        }
        self.resume();
    }

    /// Tries, not more often than each second, to take again what is not taken.
    fn resume(&mut self) {
        let (Mode::Ends(kind) | Mode::Nothing(kind)) = self.state.mode() else { return };
        if self.tried_at.is_none_or(|at| at.elapsed() >= RETRY_EVERY) {
            self.tried_at = Some(Instant::now());
            self.reopen();
            self.take_all_if_there_is_room();
        }
        // Who waits for one of these is not kept waiting: if not now, it is written later.
        for queued in &mut self.ends {
            if let Some(reply) = queued.reply.take() {
                let _ = reply.send(Err(AppendError::Failed { kind }));
            }
        }
    }

    fn reopen(&mut self) {
        let Mode::Nothing(kind) = self.state.mode() else { return };
        let Self { log, opener, reserve, lost, .. } = self;
        let Place::Shut(abandoned) = log else { return };
        if let Some(reserve) = reserve
            && is_full(kind)
            && reserve.give_back()
        {
            tracing::warn!("the disk of the audit log is full: its reserve is given back");
        }
        let begun = abandoned.reopen(opener, |request| lost.contains(&request));
        let Begun { appender, open, events, vault_head, started, .. } = match begun {
            Ok(begun) => begun,
            Err(error) => {
                // A disk that failed otherwise may be full by now.
                if let OpenError::Io(error) = &error {
                    self.state.set_mode(Mode::Nothing(error.kind()));
                }
                return self.tell_why(&error);
            }
        };
        self.told.clear();
        let found = Reopened { recent_events: events.to_vec(), vault_head };
        {
            // Both at once, for who hands over a change.
            let mut reopened = lock(&self.state.reopened);
            self.state.reopenings.fetch_add(1, Ordering::SeqCst);
            *reopened = Some(found);
        }
        self.log = Place::Open(Box::new(appender));
        (self.open, self.events, self.started) = (open, events, started);
        self.lost.clear();
        self.unsynced_since = None;
        self.checkpointed_at = Instant::now();
        self.state.set_mode(Mode::Ends(io::ErrorKind::StorageFull));
        self.tell_checkpoint();
        let ends = std::mem::take(&mut self.ends);
        // Of some the log has the end already, of others it never had the intent.
        let (wanted, others): (Vec<_>, Vec<_>) = ends.into_iter().partition(|queued| {
            matches!(queued.call, Some(CallStep::Ends(request)) if self.open.contains_key(&request))
        });
        for queued in others {
            if let Some(CallStep::Ends(request)) = queued.call {
                self.refused.remove(&request);
            }
            queued.answer(Err(REOPENED));
        }
        self.write(wanted);
    }

    /// A log with its reserve, or without any to have, takes everything.
    fn take_all_if_there_is_room(&mut self) {
        if !matches!(self.log, Place::Open(_)) {
            return;
        }
        let before = self.state.mode();
        match self.reserve.as_ref().map_or(Ok(()), Reserve::take) {
            Err(error) if is_full(error.kind()) => {
                if before == Mode::All {
                    self.state.set_mode(Mode::Ends(io::ErrorKind::StorageFull));
                    self.tried_at = Some(Instant::now());
                }
                self.tell_once(
                    "there is no room on its disk for its reserve: calls are refused until there is",
                );
            }
            taken => {
                if let Err(error) = taken {
                    tracing::warn!(%error, "the audit log has no reserve for a full disk");
                    self.reserve = None;
                }
                self.told.clear();
                self.state.set_mode(Mode::All);
                if before != Mode::All {
                    tracing::warn!("audit log takes entries again");
                }
            }
        }
    }

    fn tell_why(&mut self, error: &OpenError) {
        let mut said = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            said = format!("{said}: {next}");
            cause = next.source();
        }
        self.tell_once(&said);
    }

    /// As long as it stays the same it is no news.
    fn tell_once(&mut self, said: &str) {
        if self.told != said {
            tracing::error!(
                error = said,
                "audit log takes no entries; it is tried again each second"
            );
            said.clone_into(&mut self.told);
        }
    }

    fn checkpoint(&mut self) -> Result<(), AppendError> {
        self.checkpointed_at = Instant::now();
        let Self { log, opener, .. } = self;
        let written = match log {
            Place::Open(appender) => appender.write_checkpoint(&opener.key),
            Place::Shut(_) | Place::Nowhere => Ok(()),
        };
        written.map_err(|error| self.fail(&error))?;
        self.unsynced_since = None;
        self.tell_checkpoint();
        Ok(())
    }

    fn tell_checkpoint(&self) {
        let Place::Open(appender) = &self.log else { return };
        *lock(&self.state.signed) = appender.signed().cloned();
        // A hint that is lost only costs time.
        let first_open = self.open.values().min().copied();
        let hint = appender.hint(first_open, &self.events, self.started.as_ref());
        let Some(hint) = hint else { return };
        if let Err(error) = hint.write(&self.opener.hint_file, &self.opener.key) {
            tracing::warn!(%error, "audit hint not written");
        }
    }

    fn end(&mut self) -> Result<u64, AppendError> {
        if !matches!(self.log, Place::Open(_)) {
            self.tried_at = None;
            self.resume();
        }
        let closed = Record::Closed { at: self.opener.clock.now() }.encode();
        let index = self.act(|appender| {
            let index = appender.size();
            appender.append(std::slice::from_ref(&closed))?;
            appender.finish_tiles().map(|()| index)
        })?;
        self.checkpoint()?;
        self.act(Appender::drop_seals)?;
        Ok(index)
    }

    fn act<T>(
        &mut self,
        act: impl FnOnce(&mut Appender) -> io::Result<T>,
    ) -> Result<T, AppendError> {
        match &mut self.log {
            Place::Open(appender) => act(appender).map_err(|error| self.fail(&error)),
            Place::Shut(_) | Place::Nowhere => {
                Err(self.state.mode().hindrance().unwrap_or(AppendError::Closed))
            }
        }
    }

    /// After a failure nobody knows what is on disk: nothing is done until the files were read again.
    fn fail(&mut self, error: &io::Error) -> AppendError {
        let kind = error.kind();
        tracing::error!(%error, "audit log not written: it takes nothing until it is opened again");
        self.state.set_mode(Mode::Nothing(kind));
        if let Place::Open(appender) = std::mem::replace(&mut self.log, Place::Nowhere) {
            self.log = Place::Shut(Box::new(appender.abandon()));
        }
        self.unsynced_since = None;
        AppendError::Failed { kind }
    }
}
