//! Checks a log with nothing but its public key, and lists it.
//!
//! Every byte in the folder is covered: entries by the tree whose root the checkpoint signs, hash
//! tiles by comparison with the entries, and a file that belongs to neither is a failure. Entries
//! that no checkpoint covers yet must read, fit the calls before them and stand before a seal; what
//! the seal itself says is only known to who can sign, and is looked at when the log is opened.

use crate::{
    files::{
        Paths, Piece, TILE, TILE_HEIGHT, TailView, is_folder, join_hashes, read_if_there, unbundle,
    },
    hint::Started,
    note::{Checkpoint, NoteError, VerifierKey},
    record::{CallStep, Record, VaultHead},
    tree::{CompactRange, Hash, Levels, leaf_hash, tile_root},
};
use std::{
    collections::HashSet,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

/// How often a log that is being written is read again before its state counts as broken.
const RETRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// How to verify.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Checkpoints that were kept elsewhere: the log must contain what they signed.
    pub kept_checkpoints: Vec<String>,
    /// A writer is at work: the end may move.
    pub is_live: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub entries: u64,
    /// Calls whose outcome is not in the log (yet).
    pub open_intents: u64,
    /// Entries that the checkpoint covers.
    pub checkpoint_size: u64,
    /// Entries that it does not.
    pub after_checkpoint: u64,
    /// Bytes behind the last seal and the last checkpoint: what a crash tore, what is just being
    /// written, or what somebody else wrote. The next start cuts them off.
    pub torn_bytes: u64,
    /// The vault's state as the log last recorded it.
    pub vault_head: Option<VaultHead>,
    /// How a server last began.
    pub started: Option<Started>,
}

/// Why a log is not what was signed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("the log's files cannot be read")]
    Io(#[from] io::Error),
    #[error("the checkpoint is missing")]
    NoCheckpoint,
    #[error("the checkpoint cannot be trusted")]
    Checkpoint(#[source] NoteError),
    #[error("the checkpoint that was kept cannot be trusted")]
    KeptCheckpoint(#[source] NoteError),
    #[error("the log ends after {entries} entries, and {signed} were signed")]
    Truncated { entries: u64, signed: u64 },
    #[error("the first {signed} entries are not those that were signed")]
    RootMismatch { signed: u64 },
    #[error("the checkpoint signs {size} entries, and the one that was kept {kept}")]
    OlderCheckpoint { size: u64, kept: u64 },
    #[error("the log is not the one of which the kept checkpoint signed {signed} entries")]
    KeptMismatch { signed: u64 },
    #[error("entry {index} cannot be read")]
    Entry { index: u64 },
    #[error("entry {index} does not fit the calls and changes before it")]
    Order { index: u64 },
    #[error("the bundle that begins with entry {index} is damaged")]
    Bundle { index: u64 },
    #[error("entry {index} does not fit the hash tile of level {level}")]
    HashTile { level: u32, index: u64 },
    #[error("the tail, which should begin with entry {index}, is missing or damaged")]
    Tail { index: u64 },
    #[error("the log was closed before entry {index}, and something was written behind it")]
    AfterClose { index: u64 },
    #[error("`{}` does not belong to the log", path.display())]
    Stranger { path: PathBuf },
}

impl VerifyError {
    /// The first entry that is known to be bad. A signature alone does not tell where.
    pub const fn first_bad_entry(&self) -> Option<u64> {
        match self {
            Self::Entry { index }
            | Self::Order { index }
            | Self::Bundle { index }
            | Self::HashTile { index, .. }
            | Self::Tail { index }
            | Self::AfterClose { index } => Some(*index),
            Self::Truncated { entries, .. } => Some(*entries),
            Self::Io(_)
            | Self::NoCheckpoint
            | Self::Checkpoint(_)
            | Self::KeptCheckpoint(_)
            | Self::RootMismatch { .. }
            | Self::KeptMismatch { .. }
            | Self::OlderCheckpoint { .. }
            | Self::Stranger { .. } => None,
        }
    }
}

/// Recomputes and compares everything. Memory does not depend on the log's length but for the calls
/// that are open at once and 16 bytes for each change.
pub fn verify(
    dir: &Path,
    key: &VerifierKey,
    options: &VerifyOptions,
) -> Result<Report, VerifyError> {
    let mut tries = 0;
    loop {
        match verify_once(dir, key, options) {
            Err(_) if options.is_live && tries < RETRIES => {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

fn verify_once(
    dir: &Path,
    key: &VerifierKey,
    options: &VerifyOptions,
) -> Result<Report, VerifyError> {
    let paths = Paths::new(dir);
    // The checkpoint first: the log only grows meanwhile.
    let note = read_if_there(&paths.checkpoint())?.ok_or(VerifyError::NoCheckpoint)?;
    let checkpoint = key.open_own(&note).map_err(VerifyError::Checkpoint)?;
    let mut kept = options
        .kept_checkpoints
        .iter()
        .map(|note| key.open(note).map_err(VerifyError::KeptCheckpoint))
        .collect::<Result<Vec<_>, _>>()?;
    kept.sort_by_key(|one| one.size);
    let mut walk = Walk::new(&paths, checkpoint, kept);
    let torn_bytes = loop {
        while let Some(bundle) = read_if_there(&paths.bundle(walk.tiles))? {
            walk.bundle(&bundle)?;
        }
        match walk.tail()? {
            End::Torn(bytes) => break bytes,
            // The tail was replaced since; else it belongs to another log.
            End::Ahead if options.is_live && paths.bundle(walk.tiles).exists() => {}
            End::Ahead => return Err(VerifyError::Tail { index: walk.range.size() }),
        }
    };
    strangers(&paths, walk.tiles)?;
    walk.finish(torn_bytes)
}

/// How the tail ends.
enum End {
    /// After so many bytes of a torn entry.
    Torn(u64),
    /// It begins beyond the tiles that were read.
    Ahead,
}

struct Walk<'a> {
    paths: &'a Paths,
    tiles: u64,
    range: CompactRange,
    levels: Levels,
    checkpoint: Checkpoint,
    /// By size, and how many of them were compared.
    kept: Vec<Checkpoint>,
    compared: usize,
    open: HashSet<u128>,
    /// Changes: none is in the log twice.
    events: HashSet<[u8; 16]>,
    /// Whether the last entry that the checkpoint signs says that the writer ended.
    was_closed: bool,
    vault_head: Option<VaultHead>,
    started: Option<Started>,
}

impl<'a> Walk<'a> {
    fn new(paths: &'a Paths, checkpoint: Checkpoint, kept: Vec<Checkpoint>) -> Self {
        Self {
            paths,
            tiles: 0,
            range: CompactRange::default(),
            levels: Levels::default(),
            checkpoint,
            kept,
            compared: 0,
            open: HashSet::new(),
            events: HashSet::new(),
            was_closed: false,
            vault_head: checkpoint.vault,
            started: None,
        }
    }

    /// Compares the root wherever a checkpoint signed one.
    fn compare(&mut self) -> Result<(), VerifyError> {
        let size = self.range.size();
        let differs = |signed: &Checkpoint| signed.size == size && signed.root != self.range.root();
        if differs(&self.checkpoint) {
            return Err(VerifyError::RootMismatch { signed: size });
        }
        let here = self.kept.iter().skip(self.compared).take_while(|kept| kept.size == size);
        let (count, is_other) =
            here.fold((0, false), |(count, is_other), kept| (count + 1, is_other || differs(kept)));
        self.compared += count;
        if is_other {
            return Err(VerifyError::KeptMismatch { signed: size });
        }
        Ok(())
    }

    fn entry(&mut self, entry: &[u8], hash: Hash) -> Result<(), VerifyError> {
        self.compare()?;
        let index = self.range.size();
        let record = Record::decode(entry).map_err(|_| VerifyError::Entry { index })?;
        let fits = match record.call_step() {
            Some(CallStep::Begins(request)) => self.open.insert(request),
            Some(CallStep::Ends(request)) => self.open.remove(&request),
            None => true,
        };
        let is_new = match &record {
            Record::Changed(changed) => self.events.insert(changed.event),
            _ => true,
        };
        if !fits || !is_new {
            return Err(VerifyError::Order { index });
        }
        if let Record::Changed(changed) = &record
            && index >= self.checkpoint.size
        {
            self.vault_head = changed.vault_head.or(self.vault_head);
        }
        self.started = Started::of(&record).or_else(|| self.started.take());
        if index + 1 == self.checkpoint.size {
            self.was_closed = matches!(record, Record::Closed { .. });
        }
        self.range.push(0, hash);
        Ok(())
    }

    /// Takes the next full tile.
    fn bundle(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        let tile = self.tiles;
        let index = tile * TILE;
        let entries = unbundle(bytes).ok_or(VerifyError::Bundle { index })?;
        // A crash may have left out the hash tiles of the last bundle; the next start makes them.
        let may_miss = !self.paths.bundle(tile + 1).exists();
        let hashes: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        hash_tile(self.paths, 0, tile, &hashes, may_miss)?;
        for (entry, hash) in entries.into_iter().zip(&hashes) {
            self.entry(entry, *hash)?;
        }
        self.tiles += 1;
        let paths = self.paths;
        self.levels.push(tile_root(&hashes), self.tiles, |level, tile, hashes| {
            hash_tile(paths, level, tile, hashes, may_miss)
        })
    }

    fn tail(&mut self) -> Result<End, VerifyError> {
        let index = self.range.size();
        let damaged = || VerifyError::Tail { index };
        let Some(bytes) = read_if_there(&self.paths.tail())? else {
            // A crash right after the first checkpoint.
            let is_new = index == 0 && self.checkpoint.size == 0;
            return if is_new { Ok(End::Torn(0)) } else { Err(damaged()) };
        };
        let view = TailView::of(&bytes).ok_or_else(damaged)?;
        if view.start > index {
            return Ok(End::Ahead);
        }
        if !view.start.is_multiple_of(TILE) {
            return Err(damaged());
        }
        let (taken, end) = view.taken(self.checkpoint.size, |_| false);
        let mut entries = view.entries.iter().take(taken).map(|(entry, _)| *entry);
        // Tiles that were completed since the tail was last replaced hold what it begins with.
        for tile in view.start / TILE..self.tiles {
            let bundle = read_if_there(&self.paths.bundle(tile))?.unwrap_or_default();
            let held = unbundle(&bundle).ok_or(VerifyError::Bundle { index: tile * TILE })?;
            for entry in held {
                if entries.next() != Some(entry) {
                    return Err(damaged());
                }
            }
        }
        for entry in entries {
            self.entry(entry, leaf_hash(entry))?;
        }
        let torn_bytes = view.length.saturating_sub(end);
        let index = self.range.size();
        if torn_bytes > 0 && self.was_closed && index == self.checkpoint.size {
            return Err(VerifyError::AfterClose { index });
        }
        Ok(End::Torn(torn_bytes))
    }

    fn finish(mut self, torn_bytes: u64) -> Result<Report, VerifyError> {
        self.compare()?;
        let entries = self.range.size();
        let kept = self.kept.iter().map(|kept| kept.size).max().unwrap_or(0);
        let most = kept.max(self.checkpoint.size);
        if most > entries {
            return Err(VerifyError::Truncated { entries, signed: most });
        }
        if most > self.checkpoint.size {
            return Err(VerifyError::OlderCheckpoint { size: self.checkpoint.size, kept: most });
        }
        Ok(Report {
            entries,
            open_intents: self.open.len() as u64,
            checkpoint_size: self.checkpoint.size,
            after_checkpoint: entries - self.checkpoint.size,
            torn_bytes,
            vault_head: self.vault_head,
            started: self.started,
        })
    }
}

/// A hash tile must hold these hashes.
fn hash_tile(
    paths: &Paths,
    level: u32,
    tile: u64,
    hashes: &[Hash],
    may_miss: bool,
) -> Result<(), VerifyError> {
    let bytes = match read_if_there(&paths.hashes(level, tile))? {
        Some(bytes) => bytes,
        None if may_miss => return Ok(()),
        None => Vec::new(),
    };
    if bytes == join_hashes(hashes) {
        return Ok(());
    }
    let place =
        hashes.iter().zip(bytes.chunks(32)).take_while(|(ours, there)| ours == there).count();
    let index = (tile * TILE + place as u64) << (TILE_HEIGHT * level);
    Err(VerifyError::HashTile { level, index })
}

/// Fails at the first file that is not part of a log of this many full tiles.
fn strangers(paths: &Paths, tiles: u64) -> Result<(), VerifyError> {
    let mut found = Vec::new();
    let mut folders = vec![paths.dir.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            let inner = path.strip_prefix(&paths.dir).unwrap_or(&path);
            let kind = entry.file_type()?;
            if kind.is_dir() && is_folder(inner) {
                folders.push(path);
            } else {
                match Piece::of(inner).filter(|_| kind.is_file()) {
                    Some(piece) => found.push((piece, path)),
                    None => return Err(VerifyError::Stranger { path }),
                }
            }
        }
    }
    // Tiles that were completed since they were read. Bundles come first, so that by now the
    // bundle of each file that was listed is there.
    let mut now = tiles;
    while paths.bundle(now).exists() {
        now += 1;
    }
    match found.into_iter().find(|(piece, _)| !piece.is_within(now)) {
        Some((_, path)) => Err(VerifyError::Stranger { path }),
        None => Ok(()),
    }
}

/// The newest `limit` entries, newest first, each with its index. Nothing is verified but that they
/// read. It may run beside the writer.
pub fn list(dir: &Path, limit: usize) -> Result<Vec<(u64, Record)>, VerifyError> {
    let mut listed = Vec::new();
    walk_back(dir, None, |index, record| {
        if listed.len() < limit {
            listed.push((index, record));
        }
        listed.len() < limit
    })?;
    Ok(listed)
}

/// Hands out entries from the newest to the oldest, or from the one before `before`, until `each` says
/// no. As [`list`], it may run beside the writer, and proves nothing.
pub fn walk_back(
    dir: &Path,
    before: Option<u64>,
    mut each: impl FnMut(u64, Record) -> bool,
) -> Result<(), VerifyError> {
    let before = before.unwrap_or(u64::MAX);
    let paths = Paths::new(dir);
    let signed = signed_size(&paths)?;
    let Some(tail) = read_if_there(&paths.tail())? else { return Ok(()) };
    let view = TailView::of(&tail).ok_or(VerifyError::Tail { index: 0 })?;
    let mut tiles = view.start / TILE;
    while paths.bundle(tiles).exists() {
        tiles += 1;
    }
    let (taken, _) = view.taken(signed, |_| false);
    let entries: Vec<&[u8]> = view.entries.iter().take(taken).map(|(entry, _)| *entry).collect();
    // The tail may begin with what is in tiles by now.
    if !hand_back(view.start, &entries, tiles * TILE..before, &mut each)? {
        return Ok(());
    }
    let mut tiles = tiles.min(before.div_ceil(TILE));
    while let Some(tile) = tiles.checked_sub(1) {
        let bundle = fs::read(paths.bundle(tile))?;
        let entries = unbundle(&bundle).ok_or(VerifyError::Bundle { index: tile * TILE })?;
        if !hand_back(tile * TILE, &entries, 0..before, &mut each)? {
            return Ok(());
        }
        tiles = tile;
    }
    Ok(())
}

/// Hands out entries from `from` on, in order, until `each` says no or there are no more. As [`list`], it
/// may run beside the writer, and proves nothing.
pub fn walk_on(
    dir: &Path,
    from: u64,
    mut each: impl FnMut(u64, Record) -> bool,
) -> Result<(), VerifyError> {
    let paths = Paths::new(dir);
    let mut next = from;
    loop {
        while let Some(bundle) = read_if_there(&paths.bundle(next / TILE))? {
            let start = next / TILE * TILE;
            let entries = unbundle(&bundle).ok_or(VerifyError::Bundle { index: start })?;
            if !hand_on(start, &entries, next, &mut each)? {
                return Ok(());
            }
            next = start + TILE;
        }
        // Before the tail, which only grows.
        let signed = signed_size(&paths)?;
        let Some(tail) = read_if_there(&paths.tail())? else { return Ok(()) };
        let view = TailView::of(&tail).ok_or(VerifyError::Tail { index: next })?;
        if view.start > next {
            // The tail was replaced since the tiles were read.
            if paths.bundle(next / TILE).exists() {
                continue;
            }
            return Err(VerifyError::Tail { index: next });
        }
        let (taken, _) = view.taken(signed, |_| false);
        let entries: Vec<&[u8]> =
            view.entries.iter().take(taken).map(|(entry, _)| *entry).collect();
        hand_on(view.start, &entries, next, &mut each)?;
        return Ok(());
    }
}

/// Those of the entries from `start` on that are not before `from`, the first one first; whether more
/// are wanted.
fn hand_on(
    start: u64,
    entries: &[&[u8]],
    from: u64,
    each: &mut impl FnMut(u64, Record) -> bool,
) -> Result<bool, VerifyError> {
    for (index, entry) in (start..).zip(entries).filter(|(index, _)| *index >= from) {
        let record = Record::decode(entry).map_err(|_| VerifyError::Entry { index })?;
        if !each(index, record) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How many entries the checkpoint says that it signs.
fn signed_size(paths: &Paths) -> Result<u64, VerifyError> {
    let note = read_if_there(&paths.checkpoint())?.ok_or(VerifyError::NoCheckpoint)?;
    let signed = String::from_utf8_lossy(&note).lines().nth(1).and_then(|line| line.parse().ok());
    signed.ok_or(VerifyError::Checkpoint(NoteError::Malformed))
}

/// Those of the entries from `start` on that lie in the range, the last one first; whether more are
/// wanted.
fn hand_back(
    start: u64,
    entries: &[&[u8]],
    range: Range<u64>,
    each: &mut impl FnMut(u64, Record) -> bool,
) -> Result<bool, VerifyError> {
    for (index, entry) in (start..).zip(entries).collect::<Vec<_>>().into_iter().rev() {
        if index >= range.end {
            continue;
        }
        if index < range.start {
            break;
        }
        let record = Record::decode(entry).map_err(|_| VerifyError::Entry { index })?;
        if !each(index, record) {
            return Ok(false);
        }
    }
    Ok(true)
}
