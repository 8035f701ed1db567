//! What lies on disk when a log is opened. Nothing here writes: a log that is not what was signed
//! is refused as it is found.

use crate::{
    files::{Paths, TILE, TILE_HEIGHT, TailView, read_if_there, split_hashes, unbundle},
    hint::{Hint, RecentEvents, Started},
    log::{Known, OpenError},
    note::{Checkpoint, SigningKey},
    record::{CallStep, Record, VaultHead},
    tree::{CompactRange, Hash, Levels, leaf_hash, tile_root},
};
use std::{collections::BTreeMap, path::Path};

/// A log as it was left.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Full tiles.
    pub(crate) tiles: u64,
    /// The tree over these, and what waits for tiles above.
    pub(crate) range: CompactRange,
    pub(crate) levels: Levels,
    /// The whole entries of the tail that are in no full tile.
    pub(crate) entries: Vec<Vec<u8>>,
    /// Hash tiles that a crash left out: level, number and content.
    pub(crate) missing: BTreeMap<(u32, u64), Vec<Hash>>,
    pub(crate) cut_bytes: u64,
    /// Requests of calls without an outcome.
    pub(crate) open: BTreeMap<u128, u64>,
    pub(crate) events: RecentEvents,
    /// The last `started` entry of a server.
    pub(crate) started: Option<Started>,
    pub(crate) vault_head: Option<VaultHead>,
}

const fn corrupt(what: &'static str) -> OpenError {
    OpenError::Corrupt { what }
}

/// Reads everything that the writer needs, and checks it against the checkpoint, and that against
/// what must be there all the same.
pub(crate) fn read(
    paths: &Paths,
    key: &SigningKey,
    hint_file: &Path,
    known: &Known,
) -> Result<Found, OpenError> {
    let kept = known.kept.as_ref();
    // A log has a checkpoint from its creation on.
    let note = read_if_there(&paths.checkpoint())?.ok_or(OpenError::Missing)?;
    let checkpoint = key.verifier().open_own(&note)?;
    if let Some(kept) = kept.filter(|kept| kept.size > checkpoint.size) {
        return Err(OpenError::Older { signed: checkpoint.size, kept: kept.size });
    }
    let bytes = read_if_there(&paths.tail())?;
    let tail = match &bytes {
        Some(bytes) => TailView::of(bytes).ok_or(corrupt("`tail` has no head"))?,
        // A crash right after the first checkpoint.
        None if checkpoint.size == 0 && !paths.bundle(0).exists() => TailView::default(),
        None => return Err(corrupt("`tail` is missing")),
    };
    let first = tail.start / TILE;
    if !tail.start.is_multiple_of(TILE)
        || first.checked_sub(1).is_some_and(|last| !paths.bundle(last).exists())
    {
        return Err(corrupt("a bundle is missing, or `tail` is another log's"));
    }
    // Tiles that were completed since the tail was last replaced hold what it begins with.
    let mut tiles = first;
    while paths.bundle(tiles).exists() {
        tiles += 1;
    }
    let mut reader = Tiles { paths, count: tiles, made: BTreeMap::new() };
    let mut hashes: Vec<Hash> = tail.entries.iter().map(|(entry, _)| leaf_hash(entry)).collect();
    let (mut sealed, _) = reader.range(first)?;
    let (taken, end) = tail.taken(checkpoint.size, |seal| {
        let pushed = usize::try_from(sealed.size() - tail.start).unwrap_or(usize::MAX);
        for hash in hashes.iter().take(seal.count).skip(pushed) {
            sealed.push(0, *hash);
        }
        !key.sealer().is_seal(sealed.size(), &sealed.root(), seal.tag)
    });
    hashes.truncate(taken);
    let size = tail.start + taken as u64;
    if size < checkpoint.size {
        return Err(corrupt("entries in `tail` below the checkpoint are missing or damaged"));
    }
    if known.durable.is_some_and(|durable| size < durable.size) {
        return Err(corrupt("entries in `tail` that were on disk are missing or damaged"));
    }
    if size < tiles * TILE {
        return Err(corrupt("a bundle holds entries that `tail` never had"));
    }
    for (tile, held) in (first..tiles).zip(hashes.chunks(256)) {
        if reader.hashes(0, tile)? != held {
            return Err(corrupt("a bundle holds other entries than `tail`"));
        }
    }
    let beyond = usize::try_from((tiles - first) * TILE).unwrap_or(usize::MAX);
    let hashes = hashes.split_off(beyond.min(hashes.len()));
    for level in 0.. {
        let Some(last) = tiles.checked_shr(TILE_HEIGHT * level).unwrap_or(0).checked_sub(1) else {
            break;
        };
        reader.hashes(level, last)?;
    }
    if reader.root_at(checkpoint.size, &hashes)? != checkpoint.root {
        return Err(corrupt("entries below the checkpoint were changed"));
    }
    if let Some(durable) = known.durable
        && reader.root_at(durable.size, &hashes)? != durable.root
    {
        return Err(corrupt("entries that were on disk were changed"));
    }
    if let Some(kept) = kept
        && reader.root_at(kept.size, &hashes)? != kept.root
    {
        return Err(OpenError::Other { kept: kept.size });
    }
    let hint = Hint::read(hint_file, key.verifier()).filter(|hint| hint.size <= checkpoint.size);
    let hint = match hint {
        // Of another history, one that was lost.
        Some(hint) if reader.root_at(hint.size, &hashes)? != hint.root => None,
        hint => hint,
    };
    let (range, levels) = reader.range(tiles)?;
    let entries = tail.entries.iter().take(taken).skip(beyond);
    let mut found = Found {
        tiles,
        range,
        levels,
        entries: entries.map(|(entry, _)| entry.to_vec()).collect(),
        cut_bytes: tail.length.saturating_sub(end),
        ..Found::default()
    };
    if found.cut_bytes > 0 && found.was_closed(&reader, &checkpoint)? {
        return Err(corrupt("`tail` goes on after the log was closed"));
    }
    found.scan(&mut reader, &checkpoint, hint)?;
    found.missing = reader.made;
    Ok(found)
}

impl Found {
    /// Whether the last entry that the checkpoint signs says that the writer ended. No crash tears
    /// anything behind that: the next writer begins with a new tail.
    fn was_closed(&self, reader: &Tiles<'_>, checkpoint: &Checkpoint) -> Result<bool, OpenError> {
        let Some(last) = checkpoint.size.checked_sub(1) else { return Ok(false) };
        let place = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
        let record = if let Some(within) = last.checked_sub(self.tiles * TILE) {
            self.entries.get(place(within)).and_then(|entry| Record::decode(entry).ok())
        } else {
            let bundle = read_if_there(&reader.paths.bundle(last / TILE))?.unwrap_or_default();
            let entries = unbundle(&bundle).ok_or(corrupt("an entry bundle is damaged"))?;
            entries.get(place(last % TILE)).and_then(|entry| Record::decode(entry).ok())
        };
        Ok(matches!(record, Some(Record::Closed { .. })))
    }

    /// Reads entries from where the hint says that no call before is open.
    fn scan(
        &mut self,
        reader: &mut Tiles<'_>,
        checkpoint: &Checkpoint,
        hint: Option<Hint>,
    ) -> Result<(), OpenError> {
        let (begin, known) = hint.as_ref().map_or((0, 0), |hint| (hint.begin, hint.size));
        if let Some(hint) = hint {
            (self.events, self.started) = (hint.events, hint.started);
        }
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
        let entries = std::mem::take(&mut self.entries);
        for (index, entry) in (self.tiles * TILE..).zip(&entries) {
            if index >= begin {
                self.note(index, entry, known, checkpoint.size)?;
            }
        }
        self.entries = entries;
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
        self.started = Started::of(&record).or_else(|| self.started.take());
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

    /// The root over the first `size` entries, where `beyond` are the hashes of those that are in no
    /// full tile.
    fn root_at(&mut self, size: u64, beyond: &[Hash]) -> Result<Hash, OpenError> {
        let tiles = self.count.min(size / TILE);
        let (mut range, _) = self.range(tiles)?;
        let left = usize::try_from(size - tiles * TILE).unwrap_or(usize::MAX);
        let within;
        let hashes = if left == 0 || tiles == self.count {
            beyond
        } else {
            within = self.hashes(0, tiles)?;
            &within
        };
        for hash in hashes.iter().take(left) {
            range.push(0, *hash);
        }
        Ok(range.root())
    }
}
