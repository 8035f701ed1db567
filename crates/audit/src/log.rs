//! Opening a log after whatever happened to it, and appending to its files.
//!
//! `tail` holds the newest entries, behind the index of its first, which begins a tile, and behind
//! each group of them a seal of the tree up to there. Of each 256 entries a second thread writes the
//! bundle, then the hash tiles, once the tail that holds them is on disk; when enough tiles are, a
//! fresh tail without their entries takes the place of the old one. A crash between any two of these
//! leaves a state that [`Log::open`] completes. Entries after the last good seal that no checkpoint
//! signs are what a crash tore, or what somebody else wrote: they are cut off and counted.

use crate::{
    files::{Paths, SEAL, TAIL_HEAD, TILE, Tail, frame, frame_seal, join_hashes},
    hint::{Hint, RecentEvents, Started},
    lock::FolderLock,
    note::{Checkpoint, NoteError, Sealer, SigningKey},
    record::{Configuration, Record, VaultHead},
    recover::{self, Found},
    reserve::Reserve,
    tiler::{FullTile, Tiler, Tiles},
    tree::{CompactRange, Hash},
    writer::{AppendError, Handle, Writer},
};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};
use types::{Clock, Id};

/// Tiles that the tail holds though they are on disk by themselves, before it is replaced: a sync of
/// its own for each tile would cost more than all entries of it.
/// (Tests stop at every step of it, and copy all files each time.)
const REPLACE_AT: usize = if cfg!(test) { 2 } else { 16 };

/// What a log is opened with.
#[derive(Debug)]
pub struct LogConfig {
    /// Of the folder around the log: there is one writer. It is held until the writer has ended,
    /// and compared with the folder before anything is acknowledged.
    pub lock: FolderLock,
    /// Holds nothing but the log. A folder of the same name and `.drafts` comes to lie beside it.
    pub dir: PathBuf,
    /// Outside of `dir`: where recovery begins to read. It may be missing; that only costs time.
    pub hint_file: PathBuf,
    /// The log's name for ever, and the key's: `weirgate/` and the installation's id.
    pub origin: String,
    pub key: SigningKey,
    pub clock: Arc<dyn Clock>,
    /// A checkpoint of this log that was kept elsewhere: the log must contain what it signed.
    pub kept: Option<String>,
    /// What a server was told; its `changed_since` is found out here.
    pub configuration: Option<Configuration>,
    /// Room on the log's disk for what must be written though it is full.
    pub reserve: Option<Reserve>,
}

/// Why a log does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the audit log's files cannot be read or written")]
    Io(#[from] io::Error),
    #[error("the audit log is missing: its folder has no file `checkpoint`")]
    Missing,
    #[error("the audit log is not what was signed: {what}")]
    Corrupt { what: &'static str },
    #[error("the file `checkpoint` of the audit log is not this log's")]
    Checkpoint(#[from] NoteError),
    #[error("the checkpoint that was kept of the audit log is not this log's")]
    Kept(#[source] NoteError),
    #[error("the audit log is an older one: it signs {signed} entries, and {kept} were signed")]
    Older { signed: u64, kept: u64 },
    #[error("the audit log is another one than that of which {kept} entries were signed")]
    Other { kept: u64 },
    #[error("there is a log already")]
    Exists,
    #[error("the signing key is not named after the audit log")]
    OtherKey,
}

/// An opened log.
#[derive(Debug)]
pub struct Opened {
    pub log: Log,
    /// The events of the last [`RECENT_EVENTS`](crate::RECENT_EVENTS) changes that the log holds,
    /// oldest first. Who sequences changes in order, in batches no longer than that, and begins the
    /// next batch only after the last one's rows are gone, finds here whatever a crash made it
    /// sequence already.
    pub recent_events: Vec<[u8; 16]>,
    /// The vault's state as the log last recorded it.
    pub vault_head: Option<VaultHead>,
    /// How a server began before this.
    pub started_before: Option<Started>,
}

/// The log's writer, under way. Dropped without [`Log::close`], the writer goes on until the last
/// [`Handle`] is gone, and the log does not say that it ended.
#[derive(Debug)]
pub struct Log {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Log {
    /// Makes a log without entries, and yields its first checkpoint. From then on a log that is not
    /// there was taken away.
    ///
    /// # Errors
    /// [`OpenError::Exists`] if the folder holds anything.
    pub fn create(
        dir: &Path,
        key: &SigningKey,
        vault: Option<VaultHead>,
    ) -> Result<String, OpenError> {
        Self::create_at(&Paths::new(dir), key, vault)
    }

    pub(crate) fn create_at(
        paths: &Paths,
        key: &SigningKey,
        vault: Option<VaultHead>,
    ) -> Result<String, OpenError> {
        if !paths.is_empty()? {
            return Err(OpenError::Exists);
        }
        paths.create()?;
        let empty = Checkpoint { size: 0, root: CompactRange::default().root(), vault };
        let note = key.sign(&empty);
        paths.put(&paths.checkpoint(), note.as_bytes())?;
        Ok(note)
    }

    /// Whether [`Log::open`] would find a log that it can go on with, and the vault's state as it
    /// last bound it. Writes nothing.
    pub fn check(config: &LogConfig) -> Result<Option<VaultHead>, OpenError> {
        let known = Known { kept: config.kept_checkpoint()?, durable: None };
        let paths = Paths::new(&config.dir);
        recover::read(&paths, &config.key, &config.hint_file, &known).map(|found| found.vault_head)
    }

    /// Completes what a crash interrupted, says so in the log, and starts the writer. It blocks for
    /// some syncs.
    ///
    /// # Errors
    /// [`OpenError::Missing`] without a log; [`OpenError::Corrupt`], [`OpenError::Older`] or
    /// [`OpenError::Other`] if what a signed checkpoint covers is missing or changed: nothing is cut
    /// or overwritten then.
    pub fn open(config: LogConfig) -> Result<Opened, OpenError> {
        let paths = Paths::new(&config.dir);
        Self::open_at(paths, config)
    }

    pub(crate) fn open_at(paths: Paths, config: LogConfig) -> Result<Opened, OpenError> {
        let known = Known { kept: config.kept_checkpoint()?, durable: None };
        let LogConfig { lock, hint_file, key, clock, reserve, configuration, .. } = config;
        let lock = Arc::new(lock);
        let opener = Opener { paths, key, clock, hint_file, lock, configuration };
        let begin = || opener.begin(&known, |_| true);
        let begun = match begin() {
            Err(OpenError::Io(error)) if reserve.as_ref().is_some_and(|it| it.helps(&error)) => {
                begin()?
            }
            begun => begun?,
        };
        let (recent_events, vault_head) = (begun.events.to_vec(), begun.vault_head);
        let started_before = begun.started_before.clone();
        let (handle, thread) = Writer::start(begun, opener, reserve)?;
        let log = Self { handle, thread };
        Ok(Opened { log, recent_events, vault_head, started_before })
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Writes what is queued, says in the log that it ended, and signs a last checkpoint. Blocks
    /// until that is on disk; afterwards every append is refused.
    pub fn close(self) -> Result<(), AppendError> {
        let result = self.handle.close();
        // A writer that panicked has dropped the reply, so that the result says it already.
        let _ = self.thread.join();
        result
    }
}

impl LogConfig {
    fn kept_checkpoint(&self) -> Result<Option<Checkpoint>, OpenError> {
        if self.key.origin() != self.origin {
            return Err(OpenError::OtherKey);
        }
        let open = |note: &String| self.key.verifier().open(note).map_err(OpenError::Kept);
        self.kept.as_ref().map(open).transpose()
    }
}

/// What must be in the log that is found.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// A checkpoint that was kept elsewhere.
    pub(crate) kept: Option<Checkpoint>,
    /// What this process had on disk already.
    pub(crate) durable: Option<Mark>,
}

/// The first `size` entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

/// Opens the log, at the start and again after its disk failed.
#[derive(Debug)]
pub(crate) struct Opener {
    pub(crate) paths: Paths,
    pub(crate) key: SigningKey,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hint_file: PathBuf,
    pub(crate) lock: Arc<FolderLock>,
    /// What a server was told.
    pub(crate) configuration: Option<Configuration>,
}

/// A log that was completed and says so, under a fresh checkpoint.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) appender: Appender,
    /// Requests of calls that go on, with the index of their intent.
    pub(crate) open: BTreeMap<u128, u64>,
    pub(crate) events: RecentEvents,
    pub(crate) vault_head: Option<VaultHead>,
    /// How a server last began, and before that.
    pub(crate) started: Option<Started>,
    pub(crate) started_before: Option<Started>,
}

impl Opener {
    /// Of the calls without an outcome, those that are `lost` are told to be interrupted.
    pub(crate) fn begin(
        &self,
        known: &Known,
        is_lost: impl Fn(u128) -> bool,
    ) -> Result<Begun, OpenError> {
        let mut found = recover::read(&self.paths, &self.key, &self.hint_file, known)?;
        let at = self.clock.now();
        let mut entries = Vec::new();
        if found.cut_bytes > 0 {
            entries.push(Record::Recovered { at, cut_bytes: found.cut_bytes });
        }
        let mut open = std::mem::take(&mut found.open);
        open.retain(|request, _| {
            let is_lost = is_lost(*request);
            if is_lost {
                entries.push(Record::Interrupted { at, request: Id::from_u128(*request) });
            }
            !is_lost
        });
        let started_before = found.started.clone();
        let mut configuration = self.configuration.clone();
        if let (Some(now), Some(before)) = (&mut configuration, &started_before) {
            let is_other = before.configuration.digest != now.digest;
            now.changed_since = is_other.then_some(before.at);
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let record = Record::Started { at, version, configuration };
        let started = Started::of(&record).or_else(|| started_before.clone());
        entries.push(record);
        let encoded: Vec<Vec<u8>> = entries.iter().map(Record::encode).collect();
        let (vault_head, events) = (found.vault_head, found.events.clone());
        let (paths, lock) = (self.paths.clone(), Arc::clone(&self.lock));
        let sealer = self.key.sealer().clone();
        let mut appender = Appender::start(paths, found, &encoded, sealer, lock)?;
        appender.write_checkpoint(&self.key)?;
        Ok(Begun { appender, open, events, vault_head, started, started_before })
    }
}

/// A checkpoint as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub checkpoint: Checkpoint,
    pub note: String,
}

/// Appends to the files. It has no clock.
#[derive(Debug)]
pub(crate) struct Appender {
    paths: Paths,
    sealer: Sealer,
    tiler: Tiler,
    range: CompactRange,
    /// Full tiles that the tail still holds, oldest first.
    full: VecDeque<Arc<FullTile>>,
    /// How many of these wait for the tail to be synced, before they are written by themselves: on
    /// disk no tile is ahead of the tail.
    unsynced: usize,
    /// The tile that is not full.
    last: FullTile,
    tail: Tail,
    is_synced: bool,
    /// What is on disk for sure.
    durable: Mark,
    pub(crate) vault: Option<VaultHead>,
    signed: Option<Signed>,
    /// The last to be dropped.
    lock: Arc<FolderLock>,
}

/// What a writer knows of a log that it could not go on with.
#[derive(Debug)]
pub(crate) struct Abandoned {
    known: Known,
    /// Its file has what it had, whatever lies under its name; gone once it lies there.
    tail: Option<Tail>,
}

impl Abandoned {
    /// Opens the log again: only if all is there that this process had on disk.
    pub(crate) fn reopen(
        &mut self,
        opener: &Opener,
        is_lost: impl Fn(u128) -> bool,
    ) -> Result<Begun, OpenError> {
        opener.lock.check()?;
        if let Some(tail) = &self.tail {
            tail.put_back()?;
        }
        // What lies there from now on is what opening made of it.
        self.tail = None;
        opener.begin(&self.known, is_lost)
    }
}

impl Appender {
    /// Completes what was found, and appends the first entries in the same step as the tail's torn
    /// end goes: the log never forgets that it was torn.
    fn start(
        paths: Paths,
        found: Found,
        entries: &[Vec<u8>],
        sealer: Sealer,
        lock: Arc<FolderLock>,
    ) -> io::Result<Self> {
        paths.create()?;
        // A sync that failed before the crash may have left these in memory only.
        if let Some(last) = found.tiles.checked_sub(1) {
            paths.settle(&paths.bundle(last))?;
            if !found.missing.contains_key(&(0, last)) {
                paths.settle(&paths.hashes(0, last))?;
            }
        }
        for ((level, tile), hashes) in &found.missing {
            paths.put(&paths.hashes(*level, *tile), &join_hashes(hashes))?;
        }
        let Found { entries: there, tiles, levels, mut range, vault_head, .. } = found;
        let mut full = Vec::new();
        let mut last = FullTile::default();
        for entry in there.iter().chain(entries) {
            range.push(0, last.push(entry));
            if last.is_full() {
                full.push(std::mem::take(&mut last));
            }
        }
        let durable = Mark { size: range.size(), root: range.root() };
        let seal = sealer.seal(durable.size, &durable.root);
        let mut tail = put_tail(&paths, tiles, full.iter().chain([&last]), Some(&seal))?;
        let mut made = Tiles::new(paths.for_tiles(), tiles, levels);
        for tile in &full {
            made.write(tile)?;
        }
        if !full.is_empty() {
            tail = put_tail(&paths, made.count(), [&last], Some(&seal))?;
        }
        Ok(Self {
            paths,
            sealer,
            tiler: Tiler::start(made)?,
            range,
            full: VecDeque::new(),
            unsynced: 0,
            last,
            tail,
            is_synced: true,
            durable,
            vault: vault_head,
            signed: None,
            lock,
        })
    }

    pub(crate) const fn size(&self) -> u64 {
        self.range.size()
    }

    /// Ends the thread that writes tiles; the log is gone on with by opening it again.
    pub(crate) fn abandon(self) -> Abandoned {
        let kept = self.signed.map(|signed| signed.checkpoint);
        Abandoned { known: Known { kept, durable: Some(self.durable) }, tail: Some(self.tail) }
    }

    fn seal(&self) -> [u8; SEAL] {
        self.sealer.seal(self.range.size(), &self.range.root())
    }

    /// Appends entries in order, and a seal. They are in the file when this returns, and durable
    /// after [`Appender::sync`].
    pub(crate) fn append(&mut self, entries: &[Vec<u8>]) -> io::Result<()> {
        let length: usize = entries.iter().map(|entry| entry.len() + 2).sum();
        let mut framed = Vec::with_capacity(length + 2 + SEAL);
        for entry in entries {
            frame(entry, &mut framed);
            self.range.push(0, self.last.push(entry));
            if self.last.is_full() {
                self.full.push_back(Arc::new(std::mem::take(&mut self.last)));
                self.unsynced += 1;
            }
        }
        frame_seal(&self.seal(), &mut framed);
        self.is_synced = false;
        self.tail.append(&framed)?;
        if self.full.len() >= REPLACE_AT && self.held_in_vain() >= REPLACE_AT {
            self.replace_tail()?;
        }
        Ok(())
    }

    /// Tiles in the tail that are on disk by themselves.
    fn held_in_vain(&self) -> usize {
        let first = self.size() / TILE - self.full.len() as u64;
        usize::try_from(self.tiler.count().saturating_sub(first)).unwrap_or(0)
    }

    /// Puts a new tail in place, without what is on disk in tiles.
    fn replace_tail(&mut self) -> io::Result<()> {
        // What was appended to a tail that is not ours any more must not come back in a new one.
        self.tail.check()?;
        self.full.drain(..self.held_in_vain());
        self.tail = self.put_tail(Some(&self.seal()))?;
        self.has_synced();
        self.hand_over()
    }

    fn put_tail(&self, seal: Option<&[u8; SEAL]>) -> io::Result<Tail> {
        let first = self.size() / TILE - self.full.len() as u64;
        let held = self.full.iter().map(AsRef::as_ref).chain([&self.last]);
        put_tail(&self.paths, first, held, seal)
    }

    /// Gives the tiles to their writer that the synced tail holds.
    fn hand_over(&mut self) -> io::Result<()> {
        let first = self.full.len().saturating_sub(self.unsynced);
        for tile in self.full.iter().skip(first) {
            self.tiler.write(Arc::clone(tile))?;
        }
        self.unsynced = 0;
        Ok(())
    }

    /// Waits for all full tiles, and leaves none of them in the tail.
    pub(crate) fn finish_tiles(&mut self) -> io::Result<()> {
        self.sync()?;
        self.tiler.finish()?;
        if self.held_in_vain() > 0 { self.replace_tail() } else { Ok(()) }
    }

    /// After the last checkpoint, which signs all there is: no seal says more. Every byte of a log
    /// that was closed is covered by its signature.
    pub(crate) fn drop_seals(&mut self) -> io::Result<()> {
        self.tail.check()?;
        self.tail = self.put_tail(None)?;
        Ok(())
    }

    pub(crate) const fn is_synced(&self) -> bool {
        self.is_synced
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.tiler.check()?;
        if self.is_synced {
            self.tail.check()?;
        } else {
            self.tail.sync()?;
            self.has_synced();
            self.hand_over()?;
        }
        self.lock.check()
    }

    fn has_synced(&mut self) {
        self.is_synced = true;
        self.durable = Mark { size: self.range.size(), root: self.range.root() };
    }

    /// Whether a checkpoint would say more than the last one.
    pub(crate) fn has_news(&self) -> bool {
        self.signed.as_ref().is_none_or(|Signed { checkpoint, .. }| {
            checkpoint.size != self.size() || checkpoint.vault != self.vault
        })
    }

    /// Signs what is there, after making it durable.
    pub(crate) fn write_checkpoint(&mut self, key: &SigningKey) -> io::Result<()> {
        self.sync()?;
        let checkpoint =
            Checkpoint { size: self.size(), root: self.range.root(), vault: self.vault };
        let note = key.sign(&checkpoint);
        self.paths.put(&self.paths.checkpoint(), note.as_bytes())?;
        self.signed = Some(Signed { checkpoint, note });
        Ok(())
    }

    /// The last checkpoint.
    pub(crate) const fn signed(&self) -> Option<&Signed> {
        self.signed.as_ref()
    }

    /// What may be said of the last checkpoint's entries.
    pub(crate) fn hint(
        &self,
        first_open: Option<u64>,
        events: &RecentEvents,
        started: Option<&Started>,
    ) -> Option<Hint> {
        let Checkpoint { size, root, .. } = self.signed.as_ref()?.checkpoint;
        let begin = first_open.unwrap_or(size).min(size);
        let (events, started) = (events.clone(), started.cloned());
        Some(Hint { begin, size, root, started, events })
    }
}

/// Puts a tail in place, durably, that begins with this tile.
fn put_tail<'a>(
    paths: &Paths,
    first: u64,
    held: impl IntoIterator<Item = &'a FullTile>,
    seal: Option<&[u8; SEAL]>,
) -> io::Result<Tail> {
    let mut bytes = Vec::with_capacity(TAIL_HEAD);
    bytes.extend_from_slice(&(first * TILE).to_be_bytes());
    for tile in held {
        bytes.extend_from_slice(tile.framed());
    }
    if let Some(seal) = seal {
        frame_seal(seal, &mut bytes);
    }
    Tail::put(paths, &bytes)
}
