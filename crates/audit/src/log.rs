//! Opening a log after whatever happened to it, and appending to its files.
//!
//! `tail` holds the newest entries, behind the index of its first, which begins a tile. Of each 256
//! entries a second thread writes the bundle, then the hash tiles; when enough tiles are on disk, a
//! fresh tail without their entries takes the place of the old one. A crash between any two of these
//! leaves a state that [`Log::open`] completes.

use crate::{
    files::{Paths, TAIL_HEAD, TILE, Tail, frame, join_hashes},
    hint::{Hint, RecentEvents},
    note::{Checkpoint, NoteError, SigningKey},
    record::{Record, VaultHead},
    recover::{self, Found},
    tiler::{FullTile, Tiler, Tiles},
    tree::CompactRange,
    writer::{AppendError, Handle, Writer},
};
use std::{collections::VecDeque, io, path::PathBuf, sync::Arc, thread::JoinHandle};
use types::{Clock, Id};

/// Tiles that the tail holds though they are on disk by themselves, before it is replaced: a sync of
/// its own for each tile would cost more than all entries of it.
/// (Tests stop at every step of it, and copy all files each time.)
const REPLACE_AT: usize = if cfg!(test) { 2 } else { 16 };

/// What a log is opened with. The caller holds the folder's lock: there is one writer.
#[derive(Debug)]
pub struct LogConfig {
    /// Holds nothing but the log. A folder of the same name and `.drafts` comes to lie beside it.
    pub dir: PathBuf,
    /// Outside of `dir`: where recovery begins to read. It may be missing; that only costs time.
    pub hint_file: PathBuf,
    /// The log's name for ever, and the key's: `weirgate/` and the installation's id.
    pub origin: String,
    pub key: SigningKey,
    pub clock: Arc<dyn Clock>,
}

/// Why a log does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the audit log's files cannot be read or written")]
    Io(#[from] io::Error),
    #[error("the audit log is not what was signed: {what}")]
    Corrupt { what: &'static str },
    #[error("the audit log's checkpoint is not this log's")]
    Checkpoint(#[from] NoteError),
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
}

/// The log's writer, under way. Dropped without [`Log::close`], the writer goes on until the last
/// [`Handle`] is gone, and the log does not say that it ended.
#[derive(Debug)]
pub struct Log {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Log {
    /// Completes what a crash interrupted, says so in the log, and starts the writer. It blocks for
    /// some syncs.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] if what a signed checkpoint covers is missing or changed: nothing is
    /// cut or overwritten then.
    pub fn open(config: LogConfig) -> Result<Opened, OpenError> {
        let paths = Paths::new(&config.dir);
        Self::open_at(paths, config)
    }

    pub(crate) fn open_at(paths: Paths, config: LogConfig) -> Result<Opened, OpenError> {
        let LogConfig { dir: _, hint_file, origin, key, clock } = config;
        if key.origin() != origin {
            return Err(OpenError::OtherKey);
        }
        let found = recover::read(&paths, key.verifier(), &hint_file)?;
        let (vault_head, events) = (found.vault_head, found.events.clone());
        let at = clock.now();
        let mut entries = Vec::new();
        if found.cut_bytes > 0 {
            entries.push(Record::Recovered { at, cut_bytes: found.cut_bytes });
        }
        for request in found.open.keys() {
            entries.push(Record::Interrupted { at, request: Id::from_u128(*request) });
        }
        entries.push(Record::Started { at, version: env!("CARGO_PKG_VERSION").to_owned() });
        let encoded: Vec<Vec<u8>> = entries.iter().map(Record::encode).collect();
        let mut appender = Appender::start(paths, found, &encoded, &key)?;
        appender.write_checkpoint(&key)?;
        let recent_events = events.to_vec();
        let (handle, thread) = Writer::start(appender, key, clock, hint_file, events)?;
        Ok(Opened { log: Self { handle, thread }, recent_events, vault_head })
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

/// Appends to the files. It has no clock.
#[derive(Debug)]
pub(crate) struct Appender {
    paths: Paths,
    tiler: Tiler,
    range: CompactRange,
    /// Full tiles that the tail still holds, oldest first.
    full: VecDeque<Arc<FullTile>>,
    /// The tile that is not full.
    last: FullTile,
    tail: Tail,
    is_synced: bool,
    pub(crate) vault: Option<VaultHead>,
    checkpoint: Option<Checkpoint>,
}

impl Appender {
    /// Completes what was found, and appends the first entries in the same step as the tail's torn
    /// end goes: the log never forgets that it was torn.
    fn start(
        paths: Paths,
        found: Found,
        entries: &[Vec<u8>],
        key: &SigningKey,
    ) -> io::Result<Self> {
        paths.create()?;
        if found.checkpoint.is_none() {
            // Before the first entry, so that from then on a missing checkpoint means tampering.
            let empty = Checkpoint { size: 0, root: CompactRange::default().root(), vault: None };
            paths.put(&paths.checkpoint(), key.sign(&empty).as_bytes())?;
        }
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
        let mut made = Tiles::new(paths.for_tiles(), tiles, levels);
        let mut last = FullTile::default();
        for entry in there.iter().chain(entries) {
            range.push(0, last.push(entry));
            if last.is_full() {
                made.write(&std::mem::take(&mut last))?;
            }
        }
        let tail = write_tail(&paths, made.count(), [&last])?;
        Ok(Self {
            paths,
            tiler: Tiler::start(made)?,
            range,
            full: VecDeque::new(),
            last,
            tail,
            is_synced: true,
            vault: vault_head,
            checkpoint: None,
        })
    }

    pub(crate) const fn size(&self) -> u64 {
        self.range.size()
    }

    /// Appends entries in order. They are in the file when this returns, and durable after
    /// [`Appender::sync`].
    pub(crate) fn append(&mut self, entries: &[Vec<u8>]) -> io::Result<()> {
        let mut framed = Vec::with_capacity(entries.iter().map(|entry| entry.len() + 2).sum());
        for entry in entries {
            frame(entry, &mut framed);
        }
        self.is_synced = false;
        self.tail.append(&framed)?;
        for entry in entries {
            let hash = self.last.push(entry);
            self.range.push(0, hash);
            if self.last.is_full() {
                let full = Arc::new(std::mem::take(&mut self.last));
                self.full.push_back(Arc::clone(&full));
                self.tiler.write(full)?;
            }
        }
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
        self.full.drain(..self.held_in_vain());
        let first = self.size() / TILE - self.full.len() as u64;
        let held = self.full.iter().map(AsRef::as_ref).chain([&self.last]);
        self.tail = write_tail(&self.paths, first, held)?;
        self.is_synced = true;
        Ok(())
    }

    /// Waits for all full tiles, and leaves none of them in the tail.
    pub(crate) fn finish_tiles(&mut self) -> io::Result<()> {
        self.tiler.finish()?;
        if self.held_in_vain() > 0 { self.replace_tail() } else { Ok(()) }
    }

    pub(crate) const fn is_synced(&self) -> bool {
        self.is_synced
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.tiler.check()?;
        if !self.is_synced {
            self.tail.sync()?;
            self.is_synced = true;
        }
        Ok(())
    }

    /// Whether a checkpoint would say more than the last one.
    pub(crate) fn has_news(&self) -> bool {
        self.checkpoint.is_none_or(|last| last.size != self.size() || last.vault != self.vault)
    }

    /// Signs what is there, after making it durable.
    pub(crate) fn write_checkpoint(&mut self, key: &SigningKey) -> io::Result<()> {
        self.sync()?;
        let checkpoint =
            Checkpoint { size: self.size(), root: self.range.root(), vault: self.vault };
        self.paths.put(&self.paths.checkpoint(), key.sign(&checkpoint).as_bytes())?;
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    /// What may be said of the last checkpoint's entries.
    pub(crate) fn hint(&self, first_open: Option<u64>, events: &RecentEvents) -> Option<Hint> {
        let Checkpoint { size, root, .. } = self.checkpoint?;
        let begin = first_open.unwrap_or(size).min(size);
        Some(Hint { begin, size, root, events: events.clone() })
    }
}

/// Puts a tail in place, durably, that begins with this tile.
fn write_tail<'a>(
    paths: &Paths,
    first: u64,
    held: impl IntoIterator<Item = &'a FullTile>,
) -> io::Result<Tail> {
    let mut bytes = Vec::with_capacity(TAIL_HEAD);
    bytes.extend_from_slice(&(first * TILE).to_be_bytes());
    for tile in held {
        bytes.extend_from_slice(tile.framed());
    }
    paths.put(&paths.tail(), &bytes)?;
    Tail::open(paths)
}
