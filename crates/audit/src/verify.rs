//! Checks a log with nothing but its public key, and lists it.
//!
//! Every byte in the folder is covered: entries by the tree whose root the checkpoint signs, hash
//! tiles by comparison with the entries, and a file that belongs to neither is a failure.

use crate::{
    files::{
        CHECKPOINT, Paths, TAIL, TAIL_HEAD, TILE, TILE_HEIGHT, join_hashes, read_if_there,
        tile_name, unbundle, unframe,
    },
    log::opens,
    note::{Checkpoint, NoteError, VerifierKey},
    record::{Record, VaultHead},
    tree::{CompactRange, Hash, leaf_hash, tile_root},
};
use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How often a log that is being written is read again before its state counts as broken.
const RETRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// How to verify.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// A checkpoint that was kept elsewhere: the log must contain what it signed.
    pub kept_checkpoint: Option<String>,
    /// A writer is at work: the end may move.
    pub is_live: bool,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    pub entries: u64,
    /// Calls whose outcome is not in the log (yet).
    pub open_intents: u64,
    /// Entries that the checkpoint does not cover.
    pub after_checkpoint: u64,
    /// Bytes of an entry that a crash cut off; the next start removes them.
    pub torn_bytes: u64,
    pub vault_head: Option<VaultHead>,
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
    #[error("the log is not the one of which the kept checkpoint signed {signed} entries")]
    KeptMismatch { signed: u64 },
    #[error("entry {index} cannot be read")]
    Entry { index: u64 },
    #[error("entry {index} ends a call that did not begin")]
    Order { index: u64 },
    #[error("the bundle that begins with entry {index} is damaged")]
    Bundle { index: u64 },
    #[error("the hash tile of level {level} that covers entry {index} does not fit the entries")]
    HashTile { level: u32, index: u64 },
    #[error("the tail is missing or damaged after entry {index}")]
    Tail { index: u64 },
    #[error("`{}` does not belong to the log", path.display())]
    Stranger { path: PathBuf },
}

/// Recomputes and compares everything.
pub fn verify(
    dir: &Path,
    key: &VerifierKey,
    options: &VerifyOptions,
) -> Result<Report, VerifyError> {
    let mut tries = 0;
    loop {
        match verify_once(dir, key, options) {
            // Tile and tail change places one after the other.
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
    let checkpoint = open_note(key, &note).map_err(VerifyError::Checkpoint)?;
    let kept = options
        .kept_checkpoint
        .as_ref()
        .map(|note| key.open(note).map_err(VerifyError::KeptCheckpoint))
        .transpose()?;
    let mut walk = Walk::new(checkpoint, kept);
    let mut tiles = 0;
    while let Some(bundle) = read_if_there(&paths.bundle(tiles))? {
        walk.bundle(&paths, tiles, &bundle)?;
        tiles += 1;
    }
    let torn_bytes = walk.tail(&paths, options.is_live)?;
    if !options.is_live {
        strangers(&paths, tiles)?;
    }
    walk.finish(torn_bytes)
}

fn open_note(key: &VerifierKey, note: &[u8]) -> Result<Checkpoint, NoteError> {
    key.open(std::str::from_utf8(note).map_err(|_| NoteError::Malformed)?)
}

struct Walk {
    range: CompactRange,
    checkpoint: Checkpoint,
    kept: Option<Checkpoint>,
    open: HashSet<u128>,
    vault_head: Option<VaultHead>,
    /// Level 1 first.
    upper: Vec<Vec<Hash>>,
}

impl Walk {
    fn new(checkpoint: Checkpoint, kept: Option<Checkpoint>) -> Self {
        Self {
            range: CompactRange::default(),
            checkpoint,
            kept,
            open: HashSet::new(),
            vault_head: None,
            upper: Vec::new(),
        }
    }

    /// Compares the root wherever a checkpoint signed one.
    fn compare(&self) -> Result<(), VerifyError> {
        let size = self.range.size();
        if self.checkpoint.size == size && self.checkpoint.root != self.range.root() {
            return Err(VerifyError::RootMismatch { signed: size });
        }
        if let Some(kept) = &self.kept
            && kept.size == size
            && kept.root != self.range.root()
        {
            return Err(VerifyError::KeptMismatch { signed: size });
        }
        Ok(())
    }

    fn entry(&mut self, entry: &[u8]) -> Result<Hash, VerifyError> {
        self.compare()?;
        let index = self.range.size();
        let record = Record::decode(entry).map_err(|_| VerifyError::Entry { index })?;
        match opens(&record) {
            Some((request, true)) if !self.open.insert(request.as_u128()) => {
                return Err(VerifyError::Order { index });
            }
            Some((request, false)) if !self.open.remove(&request.as_u128()) => {
                return Err(VerifyError::Order { index });
            }
            _ => {}
        }
        if let Record::Changed(changed) = &record {
            self.vault_head = changed.vault_head.or(self.vault_head);
        }
        let hash = leaf_hash(entry);
        self.range.push(0, hash);
        Ok(hash)
    }

    fn bundle(&mut self, paths: &Paths, tile: u64, bytes: &[u8]) -> Result<(), VerifyError> {
        let index = tile * TILE;
        let entries = unbundle(bytes).ok_or(VerifyError::Bundle { index })?;
        let mut hashes = Vec::with_capacity(entries.len());
        for entry in entries {
            hashes.push(self.entry(entry)?);
        }
        let is_last = !paths.bundle(tile + 1).exists();
        self.hash_tile(paths, 0, tile, &hashes, is_last)?;
        let mut root = tile_root(&hashes);
        for level in 1_u32.. {
            let place = usize::try_from(level - 1).unwrap_or(usize::MAX);
            if self.upper.len() <= place {
                self.upper.push(Vec::new());
            }
            let Some(hashes) = self.upper.get_mut(place) else { break };
            hashes.push(root);
            if (hashes.len() as u64) < TILE {
                break;
            }
            let full = std::mem::take(hashes);
            let tile = ((tile + 1) >> (TILE_HEIGHT * level)) - 1;
            self.hash_tile(paths, level, tile, &full, is_last)?;
            root = tile_root(&full);
        }
        Ok(())
    }

    /// A hash tile must fit its entries. Those of the last bundle may be missing after a crash.
    fn hash_tile(
        &self,
        paths: &Paths,
        level: u32,
        tile: u64,
        hashes: &[Hash],
        may_miss: bool,
    ) -> Result<(), VerifyError> {
        let wrong = VerifyError::HashTile { level, index: self.range.size() - 1 };
        match read_if_there(&paths.hashes(level, tile))? {
            Some(bytes) if bytes == join_hashes(hashes) => Ok(()),
            None if may_miss => Ok(()),
            _ => Err(wrong),
        }
    }

    /// Yields the bytes of a torn end.
    fn tail(&mut self, paths: &Paths, is_live: bool) -> Result<u64, VerifyError> {
        let index = self.range.size();
        let damaged = || VerifyError::Tail { index };
        let Some(bytes) = read_if_there(&paths.tail())? else {
            // A crash right after the first checkpoint.
            return if index == 0 && self.checkpoint.size == 0 { Ok(0) } else { Err(damaged()) };
        };
        let (head, entries) = bytes.split_first_chunk::<TAIL_HEAD>().ok_or_else(damaged)?;
        let start = u64::from_be_bytes(*head);
        if start + TILE == index && !is_live {
            // A crash between the bundle and the fresh tail: what it holds is in the bundle.
            let bundle = read_if_there(&paths.bundle(start / TILE))?.unwrap_or_default();
            return if bundle.starts_with(whole_part(entries)) { Ok(0) } else { Err(damaged()) };
        }
        if start != index {
            return Err(damaged());
        }
        let mut rest = entries;
        while let Some((entry, after)) = unframe(rest) {
            self.entry(entry)?;
            rest = after;
        }
        if self.range.size() - index >= TILE {
            return Err(damaged());
        }
        Ok(rest.len() as u64)
    }

    fn finish(self, torn_bytes: u64) -> Result<Report, VerifyError> {
        self.compare()?;
        let entries = self.range.size();
        let most = self.kept.map_or(0, |kept| kept.size).max(self.checkpoint.size);
        if most > entries {
            return Err(VerifyError::Truncated { entries, signed: most });
        }
        Ok(Report {
            entries,
            open_intents: self.open.len() as u64,
            after_checkpoint: entries - self.checkpoint.size,
            torn_bytes,
            vault_head: self.vault_head,
        })
    }
}

/// Entries without a torn end.
fn whole_part(entries: &[u8]) -> &[u8] {
    let mut rest = entries;
    while let Some((_, after)) = unframe(rest) {
        rest = after;
    }
    entries.get(..entries.len() - rest.len()).unwrap_or_default()
}

/// Fails at the first file that is not part of a log of this many full tiles.
fn strangers(paths: &Paths, tiles: u64) -> Result<(), VerifyError> {
    let mut expected: HashSet<PathBuf> =
        [TAIL, CHECKPOINT].iter().map(|name| paths.dir.join(name)).collect();
    for tile in 0..tiles {
        expected.insert(paths.bundle(tile));
    }
    let mut level = 0;
    let mut count = tiles;
    while count > 0 {
        for tile in 0..count {
            expected.insert(paths.dir.join(format!("tile/{level}")).join(tile_name(tile)));
        }
        level += 1;
        count /= TILE;
    }
    let mut folders = vec![paths.dir.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if !expected.contains(&path) {
                return Err(VerifyError::Stranger { path });
            }
        }
    }
    Ok(())
}

/// The newest `limit` entries, newest first, each with its index.
pub fn list(dir: &Path, limit: usize) -> Result<Vec<(u64, Record)>, VerifyError> {
    let mut tries = 0;
    loop {
        match list_once(dir, limit) {
            Err(_) if tries < RETRIES => {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

fn list_once(dir: &Path, limit: usize) -> Result<Vec<(u64, Record)>, VerifyError> {
    let paths = Paths::new(dir);
    let damaged = VerifyError::Tail { index: 0 };
    let Some(tail) = read_if_there(&paths.tail())? else { return Ok(Vec::new()) };
    let (head, entries) = tail.split_first_chunk::<TAIL_HEAD>().ok_or(damaged)?;
    let mut start = u64::from_be_bytes(*head);
    let mut listed = Vec::new();
    push_reversed(start, entries, limit, &mut listed)?;
    while listed.len() < limit && start > 0 {
        start -= TILE;
        let bundle = fs::read(paths.bundle(start / TILE))?;
        push_reversed(start, &bundle, limit, &mut listed)?;
    }
    Ok(listed)
}

fn push_reversed(
    start: u64,
    framed: &[u8],
    limit: usize,
    listed: &mut Vec<(u64, Record)>,
) -> Result<(), VerifyError> {
    let mut found = Vec::new();
    let mut rest = framed;
    let mut index = start;
    while let Some((entry, after)) = unframe(rest) {
        let record = Record::decode(entry).map_err(|_| VerifyError::Entry { index })?;
        found.push((index, record));
        index += 1;
        rest = after;
    }
    let room = limit.saturating_sub(listed.len());
    listed.extend(found.into_iter().rev().take(room));
    Ok(())
}
