//! The one writer of a log: a thread that gathers what is queued into groups, one sync for each.

use crate::{
    log::{Appender, opens, remember},
    note::SigningKey,
    record::{MAX_RECORD_BYTES, Record},
};
use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    task::{Context, Poll},
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::oneshot;
use types::{Clock, Timestamp};

/// Entries that may wait for the writer; at more, appends are refused.
const QUEUE: usize = 65_536;
/// Entries of one group.
const MAX_GROUP: usize = 4_096;
/// The longest that an entry stays unsynced, and the shortest pause between looks at the clock.
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
    #[error("the audit log's files could not be written; it must be opened anew")]
    Failed,
    #[error("the audit log is closed")]
    Closed,
    #[error("an entry of {bytes} bytes is longer than {MAX_RECORD_BYTES}")]
    TooLong { bytes: usize },
}

type Reply = oneshot::Sender<Result<u64, AppendError>>;

/// An entry on its way.
struct Queued {
    record: Box<Record>,
    entry: Vec<u8>,
    durability: Durability,
    reply: Option<Reply>,
}

enum Command {
    Append(Queued),
    Close { reply: Reply },
}

/// Appends to the log from anywhere. Never blocks.
#[derive(Clone)]
pub struct Handle {
    queue: SyncSender<Command>,
    is_healthy: Arc<AtomicBool>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("is_healthy", &self.is_healthy()).finish()
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
    /// Queues an entry.
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
            tracing::error!(%error, kind = record.kind(), "an audit entry was lost");
        }
    }

    fn queue(
        &self,
        record: &Record,
        durability: Durability,
        reply: Option<Reply>,
    ) -> Result<(), AppendError> {
        if !self.is_healthy() {
            return Err(AppendError::Failed);
        }
        let entry = record.encode();
        if entry.len() > MAX_RECORD_BYTES {
            return Err(AppendError::TooLong { bytes: entry.len() });
        }
        let record = Box::new(record.clone());
        self.queue.try_send(Command::Append(Queued { record, entry, durability, reply })).map_err(
            |error| match error {
                TrySendError::Full(_) => AppendError::Full,
                TrySendError::Disconnected(_) => AppendError::Closed,
            },
        )
    }

    /// Whether entries are taken.
    pub fn is_healthy(&self) -> bool {
        self.is_healthy.load(Ordering::SeqCst)
    }

    pub(crate) fn close(&self) -> Result<(), AppendError> {
        let (reply, ticket) = oneshot::channel();
        // Blocks while the queue is full: all of it is written first.
        self.queue.send(Command::Close { reply }).map_err(|_| AppendError::Closed)?;
        ticket.blocking_recv().unwrap_or(Err(AppendError::Closed)).map(drop)
    }
}

/// The thread's own.
pub(crate) struct Writer {
    appender: Appender,
    key: SigningKey,
    clock: Arc<dyn Clock>,
    hint_file: PathBuf,
    /// Of the last changes, oldest first.
    events: VecDeque<[u8; 16]>,
    /// Open intents with their index.
    open: BTreeMap<u128, u64>,
    is_healthy: Arc<AtomicBool>,
    is_synced: bool,
    checkpoint_at: Timestamp,
    synced_at: Timestamp,
}

impl Writer {
    pub(crate) fn start(
        appender: Appender,
        key: SigningKey,
        clock: Arc<dyn Clock>,
        hint_file: PathBuf,
        events: VecDeque<[u8; 16]>,
    ) -> io::Result<(Handle, JoinHandle<()>)> {
        let (queue, received) = sync_channel(QUEUE);
        let is_healthy = Arc::new(AtomicBool::new(true));
        let now = clock.now();
        let writer = Self {
            appender,
            key,
            clock,
            hint_file,
            events,
            open: BTreeMap::new(),
            is_healthy: Arc::clone(&is_healthy),
            is_synced: true,
            checkpoint_at: now,
            synced_at: now,
        };
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || writer.run(&received))?;
        Ok((Handle { queue, is_healthy }, thread))
    }

    fn run(mut self, received: &Receiver<Command>) {
        loop {
            let first = match received.recv_timeout(SYNC_WITHIN) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut group = Vec::new();
            let mut close = None;
            for command in first.into_iter().chain(received.try_iter()) {
                match command {
                    Command::Append(queued) => group.push(queued),
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
        let mut records = Vec::with_capacity(group.len());
        let mut entries = Vec::with_capacity(group.len());
        let mut replies = Vec::with_capacity(group.len());
        for Queued { record, entry, durability, reply } in group {
            records.push(record);
            entries.push(entry);
            replies.push((durability, reply));
        }
        let is_healthy = self.is_healthy.load(Ordering::SeqCst);
        let written =
            if is_healthy { self.guard(|this| this.appender.append(&entries)) } else { false };
        if written {
            self.is_synced = false;
            for (index, record) in (begin..).zip(&records) {
                self.note(record, index);
            }
        }
        let answer = |reply: Option<Reply>, index: u64, is_done: bool| {
            if let Some(reply) = reply {
                // Who waited may have given up.
                let _ = reply.send(if is_done { Ok(index) } else { Err(AppendError::Failed) });
            }
        };
        // Those that wait for the file alone go on before the sync.
        let mut waiting = Vec::new();
        for (index, (durability, reply)) in (begin..).zip(replies) {
            match durability {
                Durability::NextGroup => answer(reply, index, written),
                Durability::Synced => waiting.push((index, reply)),
            }
        }
        if !waiting.is_empty() {
            let synced = written && self.sync();
            for (index, reply) in waiting {
                answer(reply, index, synced);
            }
        }
    }

    fn note(&mut self, record: &Record, index: u64) {
        if let Record::Changed(changed) = record {
            remember(&mut self.events, changed.event);
            self.appender.vault = changed.vault_head.or(self.appender.vault);
        }
        match opens(record) {
            Some((request, true)) => {
                self.open.insert(request.as_u128(), index);
            }
            Some((request, false)) => {
                self.open.remove(&request.as_u128());
            }
            None => {}
        }
    }

    fn sync(&mut self) -> bool {
        let is_synced = self.guard(|this| this.appender.sync());
        self.is_synced |= is_synced;
        self.synced_at = self.clock.now();
        is_synced
    }

    /// What is due by the clock.
    fn tick(&mut self) {
        if !self.is_healthy.load(Ordering::SeqCst) {
            return;
        }
        let now = self.clock.now();
        // A clock that was set back must not stop the log.
        let is_due = |since: Timestamp, span| now < since || now.since(since) >= span;
        if !self.is_synced && is_due(self.synced_at, SYNC_WITHIN) {
            self.sync();
        }
        let has_news = self.appender.checkpointed != Some(self.appender.size());
        if has_news && is_due(self.checkpoint_at, CHECKPOINT_EVERY) {
            self.checkpoint();
            self.checkpoint_at = now;
        }
    }

    fn checkpoint(&mut self) -> bool {
        if !self.is_synced && !self.sync() {
            return false;
        }
        let is_written = self.guard(|this| this.appender.write_checkpoint(&this.key));
        if is_written {
            self.write_hint();
        }
        is_written
    }

    /// Nothing before this index is open. A hint that is lost only costs time.
    fn write_hint(&self) {
        let index = self.open.values().min().copied().unwrap_or(self.appender.size());
        let draft = self.hint_file.with_extension("draft");
        let written = std::fs::write(&draft, format!("{index}\n"))
            .and_then(|()| std::fs::rename(&draft, &self.hint_file));
        if let Err(error) = written {
            tracing::warn!(%error, "the audit log's hint cannot be written");
        }
    }

    fn end(&mut self) -> Result<u64, AppendError> {
        if !self.is_healthy.load(Ordering::SeqCst) {
            return Err(AppendError::Failed);
        }
        let closed = Record::Closed { at: self.clock.now() }.encode();
        let index = self.appender.size();
        let is_written = self.guard(|this| this.appender.append(std::slice::from_ref(&closed)));
        self.is_synced = false;
        let is_closed = is_written && self.checkpoint();
        self.is_healthy.store(false, Ordering::SeqCst);
        if is_closed { Ok(index) } else { Err(AppendError::Failed) }
    }

    /// After a failed write nobody knows what is in the file: from then on the log takes nothing.
    fn guard(&mut self, act: impl FnOnce(&mut Self) -> io::Result<()>) -> bool {
        match act(self) {
            Ok(()) => true,
            Err(error) => {
                self.is_healthy.store(false, Ordering::SeqCst);
                tracing::error!(%error, "the audit log cannot be written and is closed");
                false
            }
        }
    }
}
