//! Opening a log after whatever happened to it, and appending to its files.
//!
//! `tail` holds the entries of the tile that is not full, behind the index of its first. When it
//! reaches 256 entries, the bundle is written, then the hash tiles, then a fresh tail takes its
//! place: a crash between any two of these leaves a state that [`Log::open`] completes.

use crate::{
    files::{
        Paths, TAIL_HEAD, TILE, TILE_HEIGHT, frame, join_hashes, read_if_there, split_hashes,
        unbundle, unframe,
    },
    note::{Checkpoint, NoteError, SigningKey},
    record::{Changed, Record, VaultHead},
    tree::{CompactRange, Hash, leaf_hash, tile_root},
    writer::{AppendError, Handle, Writer},
};
use std::{
    collections::{BTreeMap, VecDeque},
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
};
use types::{Clock, Id, Request};

/// Changes whose events are known at opening.
pub const RECENT_EVENTS: usize = 256;

/// What a log is opened with. The caller holds the folder's lock: there is one writer.
#[derive(Debug)]
pub struct LogConfig {
    /// Holds nothing but the log.
    pub dir: PathBuf,
    /// Outside of `dir`: where recovery begins to read. It may be missing; that only costs time.
    pub hint_file: PathBuf,
    /// The log's name for ever, and the key's.
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
    #[error("the audit log's writer cannot be started")]
    Append(#[from] AppendError),
}

/// An opened log.
#[derive(Debug)]
pub struct Opened {
    pub log: Log,
    /// The events of the last [`RECENT_EVENTS`] changes that the log holds, oldest first. Who sequences
    /// changes in order, in batches no longer than that, and forgets a batch before the next one, knows
    /// by it what a crash made it sequence already.
    pub recent_events: Vec<[u8; 16]>,
    /// The vault's state as the log last recorded it.
    pub vault_head: Option<VaultHead>,
}

/// The log's writer, under way.
#[derive(Debug)]
pub struct Log {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Log {
    /// Completes what a crash interrupted, says so in the log, and starts the writer.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] if what a signed checkpoint covers is missing or changed: nothing is
    /// cut or overwritten then.
    pub fn open(config: LogConfig) -> Result<Opened, OpenError> {
        let LogConfig { dir, hint_file, origin, key, clock } = config;
        if key.origin() != origin {
            return Err(OpenError::Checkpoint(NoteError::OtherOrigin));
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let (mut appender, recovered) = Appender::open(Paths::new(&dir), &key)?;
        let scanned = scan(&appender, &hint_file, recovered.checkpoint)?;
        let now = clock.now();
        let mut entries = Vec::new();
        if recovered.cut_bytes > 0 {
            entries.push(Record::Recovered { at: now, cut_bytes: recovered.cut_bytes });
        }
        for request in scanned.open.keys() {
            entries.push(Record::Interrupted { at: now, request: Id::from_u128(*request) });
        }
        entries.push(Record::Started { at: now, version });
        let encoded: Vec<Vec<u8>> = entries.iter().map(Record::encode).collect();
        appender.append(&encoded)?;
        appender.sync()?;
        appender.vault = scanned.vault_head;
        appender.write_checkpoint(&key)?;
        let (handle, thread) =
            Writer::start(appender, key, clock, hint_file, scanned.events.clone())?;
        Ok(Opened {
            log: Self { handle, thread },
            recent_events: scanned.events.into(),
            vault_head: scanned.vault_head,
        })
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Writes what is queued, says in the log that it ended, and signs a last checkpoint. Blocks
    /// until that is on disk.
    pub fn close(self) -> Result<(), AppendError> {
        let result = self.handle.close();
        match self.thread.join() {
            Ok(()) => result,
            Err(_) => Err(AppendError::Failed),
        }
    }
}

/// What was found at opening.
struct Recovered {
    cut_bytes: u64,
    checkpoint: Option<Checkpoint>,
}

/// Appends to the files. It has no clock and no thread.
#[derive(Debug)]
pub(crate) struct Appender {
    paths: Paths,
    tail: File,
    /// Entries of the tile that is not full, framed, with their hashes.
    framed: Vec<u8>,
    hashes: Vec<Hash>,
    /// Roots of full tiles that do not fill a tile of the level above yet; level 1 first.
    upper: Vec<Vec<Hash>>,
    range: CompactRange,
    pub(crate) vault: Option<VaultHead>,
    pub(crate) checkpointed: Option<u64>,
}

impl Appender {
    fn open(paths: Paths, key: &SigningKey) -> Result<(Self, Recovered), OpenError> {
        paths.create()?;
        let is_new =
            !paths.tail().exists() && !paths.checkpoint().exists() && !paths.bundle(0).exists();
        if is_new {
            // Before the first entry, so that from then on a missing checkpoint means tampering.
            let empty = Checkpoint { size: 0, root: CompactRange::default().root(), vault: None };
            paths.put(&paths.checkpoint(), key.sign(&empty).as_bytes())?;
        }
        let mut tiles = 0;
        while paths.bundle(tiles).exists() {
            tiles += 1;
        }
        let (range, upper) = full_tiles(&paths, tiles)?;
        let mut appender = Self {
            // Replaced below, when it is known to be the right one.
            tail: File::open(&paths.dir)?,
            paths,
            framed: Vec::new(),
            hashes: Vec::new(),
            upper,
            range,
            vault: None,
            checkpointed: None,
        };
        let cut_bytes = appender.open_tail(tiles, is_new)?;
        let checkpoint = appender.check_checkpoint(key)?;
        Ok((appender, Recovered { cut_bytes, checkpoint }))
    }

    /// Takes over the tail, without a torn end.
    fn open_tail(&mut self, tiles: u64, is_new: bool) -> Result<u64, OpenError> {
        let start = tiles * TILE;
        let corrupt = |what| OpenError::Corrupt { what };
        let Some(bytes) = read_if_there(&self.paths.tail())? else {
            // The first tail is written right after the first checkpoint.
            return if is_new || (tiles == 0 && self.range.size() == 0) {
                self.fresh_tail(start, &[]).map(|()| 0).map_err(Into::into)
            } else {
                Err(corrupt("the tail is missing"))
            };
        };
        let (head, entries) =
            bytes.split_first_chunk::<TAIL_HEAD>().ok_or(corrupt("the tail has no head"))?;
        let given = u64::from_be_bytes(*head);
        if given + TILE == start {
            // The bundle was completed, and the tail not replaced yet.
            self.fresh_tail(start, &[])?;
            return Ok(0);
        }
        if given != start {
            return Err(corrupt("a bundle is missing, or the tail is another one's"));
        }
        let mut rest = entries;
        while let Some((entry, after)) = unframe(rest) {
            if Record::decode(entry).is_err() {
                break;
            }
            self.take(entry);
            rest = after;
        }
        if self.hashes.len() as u64 >= TILE {
            return Err(corrupt("the tail holds more than a tile"));
        }
        if rest.is_empty() {
            self.tail = append_to(&self.paths.tail())?;
        } else {
            let good = self.framed.clone();
            self.fresh_tail(start, &good)?;
        }
        Ok(rest.len() as u64)
    }

    fn fresh_tail(&mut self, start: u64, framed: &[u8]) -> io::Result<()> {
        let mut bytes = start.to_be_bytes().to_vec();
        bytes.extend_from_slice(framed);
        self.paths.put(&self.paths.tail(), &bytes)?;
        self.tail = append_to(&self.paths.tail())?;
        Ok(())
    }

    fn take(&mut self, entry: &[u8]) {
        frame(entry, &mut self.framed);
        let hash = leaf_hash(entry);
        self.hashes.push(hash);
        self.range.push(0, hash);
    }

    /// What was signed must be there.
    fn check_checkpoint(&mut self, key: &SigningKey) -> Result<Option<Checkpoint>, OpenError> {
        let note = read_if_there(&self.paths.checkpoint())?
            .ok_or(OpenError::Corrupt { what: "the checkpoint is missing" })?;
        let note = String::from_utf8(note).map_err(|_| NoteError::Malformed)?;
        let checkpoint = key.verifier().open(&note)?;
        if checkpoint.size > self.range.size() {
            return Err(OpenError::Corrupt { what: "entries below the checkpoint are missing" });
        }
        if self.root_at(checkpoint.size)? != checkpoint.root {
            return Err(OpenError::Corrupt { what: "entries below the checkpoint were changed" });
        }
        self.checkpointed = Some(checkpoint.size);
        self.vault = checkpoint.vault;
        Ok(Some(checkpoint))
    }

    fn root_at(&self, size: u64) -> Result<Hash, OpenError> {
        let (mut range, _) = full_tiles(&self.paths, size / TILE)?;
        let left = usize::try_from(size % TILE).unwrap_or(0);
        let in_tail = size / TILE == self.range.size() / TILE;
        let hashes = if in_tail {
            self.hashes.clone()
        } else {
            let corrupt = OpenError::Corrupt { what: "a hash tile is damaged" };
            let bytes = read_if_there(&self.paths.hashes(0, size / TILE))?;
            bytes.as_deref().and_then(split_hashes).ok_or(corrupt)?
        };
        for hash in hashes.iter().take(left) {
            range.push(0, *hash);
        }
        Ok(range.root())
    }

    pub(crate) const fn size(&self) -> u64 {
        self.range.size()
    }

    /// Appends entries in order. They are in the file when this returns, and durable after
    /// [`Appender::sync`].
    pub(crate) fn append(&mut self, entries: &[Vec<u8>]) -> io::Result<()> {
        let mut written = self.framed.len();
        for entry in entries {
            self.take(entry);
            if self.hashes.len() as u64 == TILE {
                self.complete_tile()?;
                written = 0;
            }
        }
        let pending = self.framed.get(written..).unwrap_or_default();
        if pending.is_empty() { Ok(()) } else { self.tail.write_all(pending) }
    }

    fn complete_tile(&mut self) -> io::Result<()> {
        let size = self.range.size();
        let tile = size / TILE - 1;
        self.paths.put(&self.paths.bundle(tile), &self.framed)?;
        self.paths.put(&self.paths.hashes(0, tile), &join_hashes(&self.hashes))?;
        let mut root = tile_root(&self.hashes);
        let mut level = 0;
        loop {
            if self.upper.len() <= level {
                self.upper.push(Vec::new());
            }
            let Some(hashes) = self.upper.get_mut(level) else { break };
            hashes.push(root);
            if (hashes.len() as u64) < TILE {
                break;
            }
            let full = std::mem::take(hashes);
            level += 1;
            let height = u32::try_from(level).unwrap_or(u32::MAX);
            let tile = (size >> (TILE_HEIGHT * (height + 1))) - 1;
            self.paths.put(&self.paths.hashes(height, tile), &join_hashes(&full))?;
            root = tile_root(&full);
        }
        self.framed.clear();
        self.hashes.clear();
        self.fresh_tail(size, &[])
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.tail.sync_data()
    }

    /// Signs what is there. It must be durable already.
    pub(crate) fn write_checkpoint(&mut self, key: &SigningKey) -> io::Result<()> {
        let checkpoint =
            Checkpoint { size: self.range.size(), root: self.range.root(), vault: self.vault };
        self.paths.put(&self.paths.checkpoint(), key.sign(&checkpoint).as_bytes())?;
        self.checkpointed = Some(checkpoint.size);
        Ok(())
    }
}

fn append_to(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

type Uppers = Vec<Vec<Hash>>;

/// The tree over the first `tiles` full tiles, and the roots that wait for a tile above. Missing
/// hash tiles at the end are made anew from their bundles, as a crash leaves it.
fn full_tiles(paths: &Paths, tiles: u64) -> Result<(CompactRange, Uppers), OpenError> {
    let corrupt = |what| OpenError::Corrupt { what };
    let mut range = CompactRange::default();
    let mut upper: Uppers = vec![Vec::new()];
    let whole = tiles / TILE * TILE;
    for tile in 0..tiles {
        let from_above = if tile < whole {
            let bytes = read_if_there(&paths.hashes(1, tile / TILE))?;
            let index = usize::try_from(tile % TILE).unwrap_or(0);
            bytes.as_deref().and_then(split_hashes).and_then(|all| all.get(index).copied())
        } else {
            None
        };
        let root = if let Some(root) = from_above {
            root
        } else {
            let hashes = if let Some(bytes) = read_if_there(&paths.hashes(0, tile))? {
                split_hashes(&bytes).ok_or(corrupt("a hash tile is damaged"))?
            } else {
                let bundle = read_if_there(&paths.bundle(tile))?.unwrap_or_default();
                let entries = unbundle(&bundle).ok_or(corrupt("an entry bundle is damaged"))?;
                let hashes: Vec<Hash> = entries.into_iter().map(leaf_hash).collect();
                paths.put(&paths.hashes(0, tile), &join_hashes(&hashes))?;
                hashes
            };
            tile_root(&hashes)
        };
        range.push(TILE_HEIGHT, root);
        push_upper(paths, &mut upper, root, tile + 1)?;
    }
    Ok((range, upper))
}

/// Hands a full tile's root to the levels above, writing tiles there that are full and missing.
fn push_upper(paths: &Paths, upper: &mut Uppers, root: Hash, tiles: u64) -> io::Result<()> {
    let mut root = root;
    let mut level = 0;
    loop {
        if upper.len() <= level {
            upper.push(Vec::new());
        }
        let Some(hashes) = upper.get_mut(level) else { return Ok(()) };
        hashes.push(root);
        if (hashes.len() as u64) < TILE {
            return Ok(());
        }
        let full = std::mem::take(hashes);
        level += 1;
        let height = u32::try_from(level).unwrap_or(u32::MAX);
        let path = paths.hashes(height, (tiles >> (TILE_HEIGHT * height)) - 1);
        if !path.exists() {
            paths.put(&path, &join_hashes(&full))?;
        }
        root = tile_root(&full);
    }
}

struct Scanned {
    /// Requests with an intent and no outcome.
    open: BTreeMap<u128, u64>,
    events: VecDeque<[u8; 16]>,
    vault_head: Option<VaultHead>,
}

pub(crate) fn remember(events: &mut VecDeque<[u8; 16]>, event: [u8; 16]) {
    events.push_back(event);
    if events.len() > RECENT_EVENTS {
        events.pop_front();
    }
}

/// Reads entries from where the hint says that nothing before is open.
fn scan(
    appender: &Appender,
    hint_file: &std::path::Path,
    checkpoint: Option<Checkpoint>,
) -> Result<Scanned, OpenError> {
    let signed = checkpoint.map_or(0, |checkpoint| checkpoint.size);
    // The hint does not know the recent events yet: all is read.
    let _ = (hint_file, signed);
    let begin = 0;
    let mut scanned = Scanned {
        open: BTreeMap::new(),
        events: VecDeque::new(),
        vault_head: checkpoint.and_then(|checkpoint| checkpoint.vault),
    };
    let mut index = begin / TILE * TILE;
    while index < appender.size() {
        let tile = index / TILE;
        let bytes = if tile == appender.size() / TILE {
            appender.framed.clone()
        } else {
            std::fs::read(appender.paths.bundle(tile))?
        };
        let mut rest = bytes.as_slice();
        while let Some((entry, after)) = unframe(rest) {
            if index >= begin {
                let record = Record::decode(entry)
                    .map_err(|_| OpenError::Corrupt { what: "an entry cannot be read" })?;
                scanned.note(&record, index);
            }
            index += 1;
            rest = after;
        }
        if !index.is_multiple_of(TILE) {
            break;
        }
    }
    Ok(scanned)
}

impl Scanned {
    fn note(&mut self, record: &Record, index: u64) {
        match record {
            Record::Changed(Changed { event, vault_head, .. }) => {
                remember(&mut self.events, *event);
                self.vault_head = vault_head.or(self.vault_head);
            }
            _ => {
                if let Some((request, is_open)) = opens(record) {
                    if is_open {
                        self.open.insert(request.as_u128(), index);
                    } else {
                        self.open.remove(&request.as_u128());
                    }
                }
            }
        }
    }
}

/// Whether a record opens or ends a call.
pub(crate) fn opens(record: &Record) -> Option<(Id<Request>, bool)> {
    match record {
        Record::Intent(intent) => Some((intent.request, true)),
        Record::Outcome(outcome) => Some((outcome.request, false)),
        Record::Interrupted { request, .. } => Some((*request, false)),
        _ => None,
    }
}
