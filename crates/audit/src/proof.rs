//! One entry's place in the log as a file of its own, in the form of c2sp.org/tlog-proof: who holds
//! it and the log's public key needs neither the log nor this installation.

use crate::{
    files::{Paths, TILE, TILE_HEIGHT, TailView, read_if_there, split_hashes, unframe},
    note::{Checkpoint, NoteError, VerifierKey, decode_hash},
    record::Record,
    tree::{Hash, leaf_hash, node_hash, tile_root},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fmt, io, path::Path, str::FromStr};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// A path in a tree of less than 2^64 leaves is not longer.
const MAX_PATH: usize = 64;

/// An entry with what shows that a checkpoint covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub index: u64,
    /// The entry as it stands in the log. The format calls this unauthenticated, which it is until
    /// [`Self::verify`] has hashed it.
    pub entry: Vec<u8>,
    path: Vec<Hash>,
    checkpoint: String,
}

/// Why there is no proof, or why it proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    #[error("the log's files cannot be read")]
    Io(#[from] io::Error),
    #[error("the checkpoint is missing")]
    NoCheckpoint,
    #[error("the checkpoint cannot be trusted")]
    Checkpoint(#[source] NoteError),
    #[error("the checkpoint covers {size} entries, and entry {index} is none of them")]
    NotCovered { index: u64, size: u64 },
    #[error("the log's files around entry {index} are damaged")]
    Damaged { index: u64 },
    #[error("this is no proof: {what}")]
    Malformed { what: &'static str },
    #[error("the entry is not the one that the checkpoint covers at {index}")]
    Mismatch { index: u64 },
    #[error("the entry cannot be read")]
    Entry,
}

impl Proof {
    /// The proof of an entry under the log's newest checkpoint. It may run beside the writer.
    pub fn of(dir: &Path, key: &VerifierKey, index: u64) -> Result<Self, ProofError> {
        let paths = Paths::new(dir);
        let note = read_if_there(&paths.checkpoint())?.ok_or(ProofError::NoCheckpoint)?;
        key.open_own(&note).map_err(ProofError::Checkpoint)?;
        Self::under(dir, key, index, &String::from_utf8_lossy(&note))
    }

    /// The proof of an entry under a checkpoint of the log, which others may have signed too.
    pub fn under(
        dir: &Path,
        key: &VerifierKey,
        index: u64,
        note: &str,
    ) -> Result<Self, ProofError> {
        let checkpoint = key.open(note).map_err(ProofError::Checkpoint)?;
        if index >= checkpoint.size {
            return Err(ProofError::NotCovered { index, size: checkpoint.size });
        }
        let reader = Reader::new(Paths::new(dir))?;
        let mut path = Vec::new();
        reader.path(index, 0, checkpoint.size, &mut path)?;
        let proof = Self { index, entry: reader.entry(index)?, path, checkpoint: note.to_owned() };
        // A proof that does not hold is not handed out.
        proof.verify(key).map(|_| proof)
    }

    /// The note that covers the entry.
    pub fn note(&self) -> &str {
        &self.checkpoint
    }

    /// Whether this entry is in the log of that key; yields what it says, and the checkpoint.
    pub fn verify(&self, key: &VerifierKey) -> Result<(Record, Checkpoint), ProofError> {
        let checkpoint = key.open(&self.checkpoint).map_err(ProofError::Checkpoint)?;
        let Self { index, .. } = *self;
        if index >= checkpoint.size {
            return Err(ProofError::NotCovered { index, size: checkpoint.size });
        }
        let root = root_along(index, checkpoint.size, leaf_hash(&self.entry), &self.path);
        if root != Some(checkpoint.root) {
            return Err(ProofError::Mismatch { index });
        }
        let record = Record::decode(&self.entry).map_err(|_| ProofError::Entry)?;
        Ok((record, checkpoint))
    }
}

/// RFC 9162 §2.1.3.2; `None` where the path has not the length that the place demands.
fn root_along(index: u64, size: u64, leaf: Hash, path: &[Hash]) -> Option<Hash> {
    let (mut place, mut last) = (index, size.checked_sub(1)?);
    let mut hash = leaf;
    for other in path {
        if last == 0 {
            return None;
        }
        if place % 2 == 1 || place == last {
            hash = node_hash(other, &hash);
            while place % 2 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, other);
        }
        place >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        writeln!(f, "extra {}", STANDARD.encode(&self.entry))?;
        writeln!(f, "index {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for Proof {
    type Err = ProofError;
    fn from_str(text: &str) -> Result<Self, ProofError> {
        let malformed = |what| ProofError::Malformed { what };
        let (head, checkpoint) =
            text.split_once("\n\n").ok_or(malformed("it has no checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(malformed("it does not begin as one"));
        }
        let entry = lines
            .next()
            .and_then(|line| STANDARD.decode(line.strip_prefix("extra ")?).ok())
            .ok_or(malformed("it does not hold the entry"))?;
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(|digits| {
                let index: u64 = digits.parse().ok()?;
                (index.to_string() == digits).then_some(index)
            })
            .ok_or(malformed("it has no index"))?;
        let path: Vec<Hash> = lines
            .map(decode_hash)
            .collect::<Option<_>>()
            .ok_or(malformed("a line of its path is no hash"))?;
        if path.len() > MAX_PATH {
            return Err(malformed("its path is too long"));
        }
        Ok(Self { index, entry, path, checkpoint: checkpoint.to_owned() })
    }
}

/// An entry of a bundle.
fn nth(bundle: &[u8], place: u64) -> Option<Vec<u8>> {
    let mut rest = bundle;
    for _ in 0..place {
        rest = unframe(rest)?.1;
    }
    unframe(rest).map(|(entry, _)| entry.to_vec())
}

/// A log's entries and hashes, wherever they stand at the moment.
pub(crate) struct Reader {
    paths: Paths,
    tail_start: u64,
    tail: Vec<Vec<u8>>,
    /// The bundle that was read last, by its number.
    bundle: Option<(u64, Vec<u8>)>,
}

impl Reader {
    pub(crate) fn new(paths: Paths) -> Result<Self, ProofError> {
        let mut reader = Self { paths, tail_start: 0, tail: Vec::new(), bundle: None };
        if let Some(bytes) = read_if_there(&reader.paths.tail())? {
            let view = TailView::of(&bytes).ok_or(ProofError::Damaged { index: 0 })?;
            reader.tail_start = view.start;
            reader.tail = view.entries.iter().map(|(entry, _)| entry.to_vec()).collect();
        }
        Ok(reader)
    }

    /// As [`Self::entry`] for many in order: a bundle is read once.
    pub(crate) fn next_entry(&mut self, index: u64) -> Result<Vec<u8>, ProofError> {
        let number = index / TILE;
        if index >= self.tail_start {
            return self.entry(index);
        }
        let damaged = || ProofError::Damaged { index };
        if self.bundle.as_ref().is_none_or(|(read, _)| *read != number) {
            let bytes = read_if_there(&self.paths.bundle(number))?.ok_or_else(damaged)?;
            self.bundle = Some((number, bytes));
        }
        let (_, bytes) = self.bundle.as_ref().ok_or_else(damaged)?;
        nth(bytes, index % TILE).ok_or_else(damaged)
    }

    fn entry(&self, index: u64) -> Result<Vec<u8>, ProofError> {
        let place = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let in_tail = index.checked_sub(self.tail_start).and_then(|at| self.tail.get(place(at)));
        if let Some(entry) = in_tail {
            return Ok(entry.clone());
        }
        let damaged = || ProofError::Damaged { index };
        let bundle = read_if_there(&self.paths.bundle(index / TILE))?.ok_or_else(damaged)?;
        nth(&bundle, index % TILE).ok_or_else(damaged)
    }

    /// The root of the complete subtree of that height and number.
    pub(crate) fn node(&self, height: u32, number: u64) -> Result<Hash, ProofError> {
        self.root(number << height, (number + 1) << height)
    }

    /// `count` hashes of a level, of which each stands for 256 of the one below. All lie in one tile.
    fn level(&self, level: u32, first: u64, count: u64) -> Result<Vec<Hash>, ProofError> {
        if let Some(bytes) = read_if_there(&self.paths.hashes(level, first / TILE))? {
            let index = first << (TILE_HEIGHT * level);
            let hashes = split_hashes(&bytes).ok_or(ProofError::Damaged { index })?;
            let skipped = hashes.into_iter().skip(usize::try_from(first % TILE).unwrap_or(0));
            return Ok(skipped.take(usize::try_from(count).unwrap_or(0)).collect());
        }
        (first..first + count)
            .map(|number| match level.checked_sub(1) {
                None => Ok(leaf_hash(&self.entry(number)?)),
                Some(below) => Ok(tile_root(&self.level(below, number * TILE, TILE)?)),
            })
            .collect()
    }

    /// The root over the entries from `begin` to `end`, as RFC 6962 §2.1 splits them.
    pub(crate) fn root(&self, begin: u64, end: u64) -> Result<Hash, ProofError> {
        let count = end - begin;
        if !count.is_power_of_two() {
            let left = begin + (1 << count.ilog2());
            return Ok(node_hash(&self.root(begin, left)?, &self.root(left, end)?));
        }
        let level = count.ilog2() / TILE_HEIGHT;
        let below = TILE_HEIGHT * level;
        Ok(tile_root(&self.level(level, begin >> below, count >> below)?))
    }

    /// The path of RFC 6962 §2.1.1, the leaf's sibling first.
    fn path(
        &self,
        index: u64,
        begin: u64,
        end: u64,
        out: &mut Vec<Hash>,
    ) -> Result<(), ProofError> {
        let count = end - begin;
        if count < 2 {
            return Ok(());
        }
        let left = begin + (1 << (count - 1).ilog2());
        if index < left {
            self.path(index, begin, left, out)?;
            out.push(self.root(left, end)?);
        } else {
            self.path(index, left, end, out)?;
            out.push(self.root(begin, left)?);
        }
        Ok(())
    }
}
