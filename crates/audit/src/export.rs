//! A stretch of the log as one file that proves itself: the entries, the hashes of what lies before
//! and after them, and the checkpoint that signs the whole. Lines of text, read and written in one
//! pass and constant memory.
//!
//! ```text
//! weirgate-audit-export@v1
//! range 256 300 1000
//! before BASE64
//! entry BASE64
//! after BASE64
//!
//! <checkpoint>
//! ```

use crate::{
    files::{Paths, read_if_there},
    note::{Checkpoint, NoteError, VerifierKey, decode_hash},
    proof::{ProofError, Reader},
    record::{CallStep, Record},
    tree::{CompactRange, Hash, leaf_hash},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    collections::HashSet,
    io::{self, BufRead, Read, Write},
    ops::Range,
    path::Path,
};

const FIRST_LINE: &str = "weirgate-audit-export@v1";
/// The longest line: an entry in base64, and some words.
const MAX_LINE: u64 = 100_000;
/// The longest checkpoint, with all signatures of others.
const MAX_NOTE: u64 = 64 * 1_024;

/// What an export was found to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The indices of its entries.
    pub range: Range<u64>,
    pub checkpoint: Checkpoint,
    /// Calls without an outcome, where the export begins with the log.
    pub open_intents: Option<u64>,
    /// How many of the checkpoints that were kept sign what the export shows.
    pub kept: usize,
    /// The checkpoint's note.
    pub note: String,
}

/// Why an export could not be made, or is not what was signed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Log(#[from] ProofError),
    #[error("no entry is in this range: entries 0 to {size} are signed")]
    NoEntries { size: u64 },
    #[error("the export cannot be read or written")]
    Io(#[from] io::Error),
    #[error("the export's line {line} is malformed")]
    Malformed { line: u64 },
    #[error("the export's checkpoint cannot be trusted")]
    Checkpoint(#[source] NoteError),
    #[error("entry {index} cannot be read")]
    Entry { index: u64 },
    #[error("entry {index} does not fit the calls before it")]
    Order { index: u64 },
    #[error("the entries are not those that the checkpoint signs")]
    RootMismatch,
    #[error("the entries are not those of which the checkpoint that was kept signs {size}")]
    KeptMismatch { size: u64 },
}

/// Writes the entries of a range that the newest checkpoint covers; of a range that goes beyond,
/// what is covered; one of which nothing is covered is refused. Yields what was written. It may run beside the writer.
pub fn export(
    dir: &Path,
    key: &VerifierKey,
    range: Range<u64>,
    out: &mut dyn Write,
) -> Result<Range<u64>, ExportError> {
    let paths = Paths::new(dir);
    let note = read_if_there(&paths.checkpoint())?.ok_or(ProofError::NoCheckpoint)?;
    let checkpoint = key.open_own(&note).map_err(ExportError::Checkpoint)?;
    let size = checkpoint.size;
    let range = range.start..range.end.min(size);
    if range.is_empty() {
        return Err(ExportError::NoEntries { size });
    }
    let mut reader = Reader::new(paths)?;
    writeln!(out, "{FIRST_LINE}\nrange {} {} {size}", range.start, range.end)?;
    for (height, number) in subtrees(0, range.start) {
        let hash = reader.node(height, number)?;
        writeln!(out, "before {}", STANDARD.encode(hash))?;
    }
    for index in range.clone() {
        writeln!(out, "entry {}", STANDARD.encode(reader.next_entry(index)?))?;
    }
    for (height, number) in subtrees(range.end, size) {
        let hash = reader.node(height, number)?;
        writeln!(out, "after {}", STANDARD.encode(hash))?;
    }
    out.write_all(b"\n")?;
    out.write_all(&note)?;
    out.flush()?;
    Ok(range)
}

/// Reads the entries of a range that the newest checkpoint covers, in order.
pub fn each_entry<E: From<ExportError>>(
    dir: &Path,
    key: &VerifierKey,
    range: Range<u64>,
    mut each: impl FnMut(u64, &Record) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |error: ProofError| E::from(ExportError::Log(error));
    let paths = Paths::new(dir);
    let note = read_if_there(&paths.checkpoint()).map_err(ProofError::Io).map_err(failed)?;
    let note = note.ok_or(ProofError::NoCheckpoint).map_err(failed)?;
    let checkpoint = key.open_own(&note).map_err(ExportError::Checkpoint)?;
    let size = checkpoint.size;
    let range = range.start..range.end.min(size);
    if range.is_empty() {
        return Err(ExportError::NoEntries { size }.into());
    }
    let mut reader = Reader::new(paths).map_err(failed)?;
    for index in range {
        let entry = reader.next_entry(index).map_err(failed)?;
        each(index, &Record::decode(&entry).map_err(|_| ExportError::Entry { index })?)?;
    }
    Ok(())
}

/// The complete subtrees that the leaves from `begin` to `end` consist of, in order: height and
/// number at that height.
fn subtrees(begin: u64, end: u64) -> impl Iterator<Item = (u32, u64)> {
    let mut at = begin;
    std::iter::from_fn(move || {
        let rest = end.checked_sub(at).filter(|rest| *rest > 0)?;
        let height = at.trailing_zeros().min(rest.ilog2());
        let number = at >> height;
        at += 1 << height;
        Some((height, number))
    })
}

/// Checks an export with nothing but the log's public key; each entry is handed to `each` as it is
/// read, before the whole is known to be true. Checkpoints that were kept are compared where the
/// export shows the log's root at their size.
pub fn verify_export(
    input: &mut dyn BufRead,
    key: &VerifierKey,
    kept: &[Checkpoint],
    mut each: impl FnMut(u64, &Record),
) -> Result<Exported, ExportError> {
    let mut lines = Lines { input, number: 0, text: String::new() };
    if lines.next()? != FIRST_LINE {
        return Err(lines.malformed());
    }
    let [first, end, size] = lines.range()?;
    let mut tree = CompactRange::default();
    for (height, _) in subtrees(0, first) {
        tree.push(height, lines.hash("before ")?);
    }
    let mut open = HashSet::new();
    let mut compared = Compared { kept, count: 0 };
    for index in first..end {
        compared.compare(&tree)?;
        let entry = lines.bytes("entry ")?;
        let record = Record::decode(&entry).map_err(|_| ExportError::Entry { index })?;
        let fits = match record.call_step() {
            Some(CallStep::Begins(request)) => open.insert(request),
            // One that began before the export is not known here.
            Some(CallStep::Ends(request)) => open.remove(&request) || first > 0,
            None => true,
        };
        if !fits {
            return Err(ExportError::Order { index });
        }
        each(index, &record);
        tree.push(0, leaf_hash(&entry));
    }
    for (height, _) in subtrees(end, size) {
        compared.compare(&tree)?;
        tree.push(height, lines.hash("after ")?);
    }
    compared.compare(&tree)?;
    if !lines.next()?.is_empty() {
        return Err(lines.malformed());
    }
    let mut note = String::new();
    lines.input.take(MAX_NOTE).read_to_string(&mut note)?;
    let checkpoint = key.open(&note).map_err(ExportError::Checkpoint)?;
    if (checkpoint.size, checkpoint.root) != (size, tree.root()) {
        return Err(ExportError::RootMismatch);
    }
    let open_intents = (first == 0).then_some(open.len() as u64);
    Ok(Exported { range: first..end, checkpoint, open_intents, kept: compared.count, note })
}

struct Compared<'k> {
    kept: &'k [Checkpoint],
    count: usize,
}

impl Compared<'_> {
    fn compare(&mut self, tree: &CompactRange) -> Result<(), ExportError> {
        let size = tree.size();
        let mut here = self.kept.iter().filter(|kept| kept.size == size).peekable();
        if here.peek().is_none() {
            return Ok(());
        }
        let root = tree.root();
        for kept in here {
            if kept.root != root {
                return Err(ExportError::KeptMismatch { size });
            }
            self.count += 1;
        }
        Ok(())
    }
}

/// An export's lines, one at a time.
struct Lines<'i> {
    input: &'i mut dyn BufRead,
    number: u64,
    text: String,
}

impl Lines<'_> {
    const fn malformed(&self) -> ExportError {
        ExportError::Malformed { line: self.number }
    }

    fn next(&mut self) -> Result<&str, ExportError> {
        self.number += 1;
        self.text.clear();
        let read = self.input.take(MAX_LINE).read_line(&mut self.text);
        let is_text = match read {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => false,
            Err(error) => return Err(error.into()),
        };
        match self.text.strip_suffix('\n').filter(|_| is_text) {
            Some(line) => Ok(line),
            None => Err(ExportError::Malformed { line: self.number }),
        }
    }

    fn range(&mut self) -> Result<[u64; 3], ExportError> {
        let numbers = self.next()?.strip_prefix("range ").and_then(|rest| {
            let numbers: Vec<u64> =
                rest.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
            let numbers: [u64; 3] = numbers.try_into().ok()?;
            numbers.is_sorted().then_some(numbers)
        });
        numbers.ok_or(self.malformed())
    }

    fn bytes(&mut self, word: &str) -> Result<Vec<u8>, ExportError> {
        let decoded = self.next()?.strip_prefix(word).and_then(|text| STANDARD.decode(text).ok());
        decoded.ok_or(self.malformed())
    }

    fn hash(&mut self, word: &str) -> Result<Hash, ExportError> {
        let decoded = self.next()?.strip_prefix(word).and_then(decode_hash);
        decoded.ok_or(self.malformed())
    }
}
