//! What lies on disk when a log is opened. Nothing here writes: a log that is not what was signed
//! is refused as it is found.

use crate::{
    files::{Paths, TAIL_HEAD, TILE, TILE_HEIGHT, read_if_there, split_hashes, unbundle, unframe},
    hint::{Hint, RecentEvents},
    log::OpenError,
    note::{Checkpoint, VerifierKey},
    record::{CallStep, Record, VaultHead},
    tree::{CompactRange, Hash, Levels, leaf_hash, tile_root},
};
use std::{collections::BTreeMap, path::Path};

/// A log as it was left.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Full tiles.
    pub(crate) tiles: u64,
    /// The whole entries of the tail, framed, and their hashes.
    pub(crate) framed: Vec<u8>,
    pub(crate) hashes: Vec<Hash>,
    pub(crate) levels: Levels,
    pub(crate) range: CompactRange,
    /// Hash tiles that a crash left out: level, number and content.
    pub(crate) missing: BTreeMap<(u32, u64), Vec<Hash>>,
    pub(crate) cut_bytes: u64,
    /// `None` for a new log.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Requests of calls without an outcome.
    pub(crate) open: BTreeMap<u128, u64>,
    pub(crate) events: RecentEvents,
    pub(crate) vault_head: Option<VaultHead>,
}

const fn corrupt(what: &'static str) -> OpenError {
    OpenError::Corrupt { what }
}

/// Reads everything that the writer needs, and checks it against the checkpoint.
pub(crate) fn read(paths: &Paths, key: &VerifierKey, hint_file: &Path) -> Result<Found, OpenError> {
    let tail = read_if_there(&paths.tail())?;
    let Some(note) = read_if_there(&paths.checkpoint())? else {
        // A new log gets its checkpoint before anything else.
        return if paths.is_empty()? {
            Ok(Found::default())
        } else {
            Err(corrupt("the checkpoint is missing"))
        };
    };
    let checkpoint = key.open_own(&note)?;
    let (tail_start, entries) = match &tail {
        Some(bytes) => {
            let (head, entries) =
                bytes.split_first_chunk::<TAIL_HEAD>().ok_or(corrupt("the tail has no head"))?;
            (u64::from_be_bytes(*head), entries)
        }
        // A crash right after the first checkpoint.
        None if checkpoint.size == 0 && !paths.bundle(0).exists() => (0, &[][..]),
        None => return Err(corrupt("the tail is missing")),
    };
    let mut tiles = tail_start / TILE;
    if !tail_start.is_multiple_of(TILE)
        || tiles.checked_sub(1).is_some_and(|last| !paths.bundle(last).exists())
    {
        return Err(corrupt("a bundle is missing, or the tail is another one's"));
    }
    // Tiles that were completed before the tail was replaced: they hold all that the tail holds.
    while paths.bundle(tiles).exists() {
        tiles += 1;
    }
    let entries = if tiles * TILE == tail_start { entries } else { &[] };
    let mut reader = Tiles { paths, count: tiles, made: BTreeMap::new() };
    let (range, levels) = reader.range(tiles)?;
    let mut found =
        Found { tiles, range, levels, checkpoint: Some(checkpoint), ..Found::default() };
    found.take_tail(entries)?;
    if found.range.size() < checkpoint.size {
        return Err(corrupt("entries below the checkpoint are missing or damaged"));
    }
    for level in 0.. {
        let Some(last) = tiles.checked_shr(TILE_HEIGHT * level).unwrap_or(0).checked_sub(1) else {
            break;
        };
        reader.hashes(level, last)?;
    }
    if reader.root_at(checkpoint.size, &found.hashes)? != checkpoint.root {
        return Err(corrupt("entries below the checkpoint were changed"));
    }
    let hint = Hint::read(hint_file, key).filter(|hint| hint.size <= checkpoint.size);
    let hint = match hint {
        // Of another history, one that was lost.
        Some(hint) if reader.root_at(hint.size, &found.hashes)? != hint.root => None,
        hint => hint,
    };
    found.scan(&mut reader, &checkpoint, hint)?;
    found.missing = reader.made;
    Ok(found)
}

impl Found {
    /// Takes whole entries, up to where a crash tore the file.
    fn take_tail(&mut self, entries: &[u8]) -> Result<(), OpenError> {
        let mut rest = entries;
        while let Some((entry, after)) = unframe(rest) {
            if Record::decode(entry).is_err() {
                break;
            }
            let hash = leaf_hash(entry);
            self.hashes.push(hash);
            self.range.push(0, hash);
            rest = after;
        }
        if self.hashes.len() as u64 >= TILE {
            return Err(corrupt("the tail holds more than a tile"));
        }
        self.cut_bytes = rest.len() as u64;
        self.framed = entries.get(..entries.len() - rest.len()).unwrap_or_default().to_vec();
        Ok(())
    }

    /// Reads entries from where the hint says that no call before is open.
    fn scan(
        &mut self,
        reader: &mut Tiles<'_>,
        checkpoint: &Checkpoint,
        hint: Option<Hint>,
    ) -> Result<(), OpenError> {
        let (begin, known) = hint.as_ref().map_or((0, 0), |hint| (hint.begin, hint.size));
        self.events = hint.map(|hint| hint.events).unwrap_or_default();
        self.vault_head = checkpoint.vault;
        for tile in begin / TILE..self.tiles {
            let bundle = read_if_there(&reader.paths.bundle(tile))?.unwrap_or_default();
            let entries = unbundle(&bundle).ok_or(corrupt("an entry bundle is damaged"))?;
            let hashes = reader.hashes(0, tile)?;
            for (index, (entry, hash)) in (tile * TILE..).zip(entries.into_iter().zip(hashes)) {
                if leaf_hash(entry) != hash {
                    return Err(corrupt("an entry does not fit its hash tile"));
                }
                if index >= begin {
                    self.note(index, entry, known, checkpoint.size)?;
                }
            }
        }
        let framed = std::mem::take(&mut self.framed);
        let mut rest = framed.as_slice();
        let mut index = self.tiles * TILE;
        while let Some((entry, after)) = unframe(rest) {
            if index >= begin {
                self.note(index, entry, known, checkpoint.size)?;
            }
            index += 1;
            rest = after;
        }
        self.framed = framed;
        Ok(())
    }

    fn note(&mut self, index: u64, entry: &[u8], known: u64, signed: u64) -> Result<(), OpenError> {
        let record = Record::decode(entry).map_err(|_| corrupt("an entry cannot be read"))?;
        match record.call_step() {
            Some(CallStep::Begins(request)) => {
                self.open.insert(request, index);
            }
            Some(CallStep::Ends(request)) => {
                self.open.remove(&request);
            }
            None => {}
        }
        if let Record::Changed(changed) = &record {
            if index >= known {
                self.events.push(changed.event);
            }
            if index >= signed {
                self.vault_head = changed.vault_head.or(self.vault_head);
            }
        }
        Ok(())
    }
}

/// The hash tiles of a log. Those that a crash left out can only be the last of their level, and are
/// made again from what they are the hashes of.
struct Tiles<'a> {
    paths: &'a Paths,
    count: u64,
    made: BTreeMap<(u32, u64), Vec<Hash>>,
}

impl Tiles<'_> {
    fn hashes(&mut self, level: u32, tile: u64) -> Result<Vec<Hash>, OpenError> {
        if let Some(made) = self.made.get(&(level, tile)) {
            return Ok(made.clone());
        }
        if let Some(bytes) = read_if_there(&self.paths.hashes(level, tile))? {
            return split_hashes(&bytes).ok_or(corrupt("a hash tile is damaged"));
        }
        if Some(tile + 1) != self.count.checked_shr(TILE_HEIGHT * level) {
            return Err(corrupt("a hash tile is missing"));
        }
        let hashes: Vec<Hash> = if let Some(below) = level.checked_sub(1) {
            (tile * TILE..(tile + 1) * TILE)
                .map(|tile| self.hashes(below, tile).map(|hashes| tile_root(&hashes)))
                .collect::<Result<_, _>>()?
        } else {
            let bundle = read_if_there(&self.paths.bundle(tile))?.unwrap_or_default();
            let entries = unbundle(&bundle).ok_or(corrupt("an entry bundle is damaged"))?;
            entries.into_iter().map(leaf_hash).collect()
        };
        self.made.insert((level, tile), hashes.clone());
        Ok(hashes)
    }

    /// The tree over the first `tiles` full tiles, from at most 255 tiles of each level.
    fn range(&mut self, tiles: u64) -> Result<(CompactRange, Levels), OpenError> {
        let mut levels = Vec::new();
        let mut count = tiles;
        while count > 0 {
            let below = u32::try_from(levels.len()).unwrap_or(u32::MAX);
            let roots: Vec<Hash> = (count - count % TILE..count)
                .map(|tile| self.hashes(below, tile).map(|hashes| tile_root(&hashes)))
                .collect::<Result<_, _>>()?;
            levels.push(roots);
            count /= TILE;
        }
        let mut range = CompactRange::default();
        for (height, roots) in (1..).zip(&levels).collect::<Vec<_>>().into_iter().rev() {
            for root in roots {
                range.push(TILE_HEIGHT * height, *root);
            }
        }
        Ok((range, Levels::new(levels)))
    }

    /// The root over the first `size` entries, of which `tail` holds those beyond the full tiles.
    fn root_at(&mut self, size: u64, tail: &[Hash]) -> Result<Hash, OpenError> {
        let (mut range, _) = self.range(size / TILE)?;
        let left = usize::try_from(size % TILE).unwrap_or(0);
        let made;
        let hashes = if left == 0 || size / TILE == self.count {
            tail
        } else {
            made = self.hashes(0, size / TILE)?;
            &made
        };
        for hash in hashes.iter().take(left) {
            range.push(0, *hash);
        }
        Ok(range.root())
    }
}
