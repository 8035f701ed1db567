//! Reading and verifying the audit log. Neither needs the root key, and neither changes the log.

use crate::{
    change::{Care, Change, Changing},
    error::Error,
    folder::{DataFolder, origin_of, read_if_there},
    instance::Instance,
    people::sessions::SignedIn,
    witness,
};
use audit::{
    ExportError, FieldValue, FolderLock, Proof, Started, VerifyError, VerifyOptions, verify,
};
pub use audit::{Record, VaultHead, VerifierKey};
use std::{
    io::{self, Write},
    ops::Range,
    path::Path,
    sync::Arc,
};
use store::{ServerUrl, Store, StoreError};
use tokio::sync::Semaphore;
use types::OpContext;

/// What is held against a log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Against<'a> {
    /// Its public key, kept elsewhere. With it the database is not looked at: a copy of the folder
    /// `audit` is enough, on a disk that cannot be written to.
    pub key: Option<&'a Path>,
    /// Checkpoints that were kept elsewhere.
    pub checkpoints: &'a [String],
}

/// What `audit verify` counts.
#[derive(Debug)]
pub struct Verified {
    pub origin: String,
    pub entries: u64,
    pub open_intents: u64,
    /// Entries of committed changes that wait to be moved into the log; unknown without the database.
    pub outbox_rows: Option<u64>,
    /// Entries that the checkpoint signs.
    pub signed: u64,
    /// Entries that no checkpoint covers yet.
    pub after_checkpoint: u64,
    /// Bytes at the end that no seal covers: the next start cuts them off.
    pub torn_bytes: u64,
    /// How a server last began.
    pub started: Option<Started>,
    /// By which the checkpoint was checked.
    pub key: VerifierKey,
}

/// Recomputes every hash, checks the signature, and reads every entry.
pub async fn verify_folder(
    dir: &Path,
    server: Option<&ServerUrl>,
    against: Against<'_>,
) -> Result<Verified, Error> {
    let folder = DataFolder::at_with(dir.to_owned(), server);
    if !folder.audit().is_dir() && !folder.database().is_file() {
        return Err(Error::NoDataFolder { dir: dir.to_owned() });
    }
    let key = read_key(against.key.unwrap_or(&folder.audit_key()))?;
    let mut ready = Ready { folder, key, kept: against.checkpoints.to_vec(), outbox_rows: None };
    if against.key.is_none() {
        let known = known_of(&ready.folder).await?;
        ready.take(known)?;
    }
    ready.verify()
}

/// All that a log is held against: what is left to do is to read its files.
#[derive(Debug)]
pub(crate) struct Ready {
    folder: DataFolder,
    key: VerifierKey,
    kept: Vec<String>,
    outbox_rows: Option<u64>,
}

impl Ready {
    /// By the database of an installation that is open.
    pub(crate) async fn of(instance: &Instance) -> Result<Self, Error> {
        let folder = instance.folder.clone();
        let key = read_key(&folder.audit_key())?;
        let mut ready = Self { folder, key, kept: Vec::new(), outbox_rows: None };
        let known = known_in(&instance.store, instance.origin.clone()).await;
        ready.take(known.map_err(Error::AuditStore)?.known()?)?;
        Ok(ready)
    }

    /// What the store was told comes before what the log says: it follows the log.
    fn take(&mut self, known: Known) -> Result<(), Error> {
        if self.key.origin() != known.origin {
            let given = self.key.origin().to_owned();
            return Err(Error::AuditForeign { given, wanted: known.origin });
        }
        self.kept.push(known.checkpoint);
        self.kept.extend(known.cosigned);
        self.outbox_rows = Some(known.outbox_rows);
        Ok(())
    }

    /// Reads all of the log.
    pub(crate) fn verify(self) -> Result<Verified, Error> {
        let Self { folder, key, kept, outbox_rows } = self;
        let dir = folder.dir();
        // While somebody holds the lock, the end of the log moves; and somebody may take it meanwhile.
        let mut options = VerifyOptions { kept_checkpoints: kept, is_live: is_held(dir)? };
        let mut report = verify::verify(&folder.audit(), &key, &options);
        if report.is_err() && !options.is_live && is_held(dir)? {
            options.is_live = true;
            report = verify::verify(&folder.audit(), &key, &options);
        }
        let report = report?;
        Ok(Verified {
            origin: key.origin().to_owned(),
            signed: report.checkpoint_size,
            entries: report.entries,
            open_intents: report.open_intents,
            outbox_rows,
            after_checkpoint: report.after_checkpoint,
            torn_bytes: report.torn_bytes,
            started: report.started,
            key,
        })
    }
}

/// Whether a writer is at work.
fn is_held(dir: &Path) -> Result<bool, Error> {
    match FolderLock::take(dir) {
        Ok(lock) => Ok(lock.is_none()),
        Err(source) => Err(Error::Unreadable { path: dir.to_owned(), source }),
    }
}

fn read_key(path: &Path) -> Result<VerifierKey, Error> {
    let path = path.to_owned();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::AuditKeyMissing { path });
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(Error::AuditKey { path });
        }
        Err(source) => return Err(Error::Unreadable { path, source }),
    };
    text.trim().parse().map_err(|_| Error::AuditKey { path })
}

/// What the database says of the log.
struct Known {
    origin: String,
    checkpoint: String,
    /// The newest that each other node cosigned.
    cosigned: Vec<String>,
    outbox_rows: u64,
}

/// As the tables have it.
struct Told {
    origin: String,
    checkpoint: Option<String>,
    cosigned: Vec<String>,
    outbox_rows: u64,
}

impl Told {
    fn known(self) -> Result<Known, Error> {
        let Self { origin, checkpoint, cosigned, outbox_rows } = self;
        match checkpoint {
            Some(checkpoint) => Ok(Known { origin, checkpoint, cosigned, outbox_rows }),
            None => Err(Error::AuditUnknown { origin }),
        }
    }
}

async fn known_of(folder: &DataFolder) -> Result<Known, Error> {
    let node = folder.node()?;
    let read = async {
        let store = Store::open(&folder.location()).await?;
        let instance = store.load_all().await?.instance;
        let told = known_in(&store, origin_of(instance, node)).await?;
        store.close().await;
        Ok(told)
    };
    read.await.map_err(Error::AuditStore)?.known()
}

async fn known_in(store: &Store, origin: String) -> Result<Told, StoreError> {
    let checkpoint = store.audit_checkpoint(&origin).await?;
    let mut witnesses = store.witnesses().await?;
    witnesses.retain(|row| row.origin == origin);
    let cosigned = witnesses.into_iter().filter_map(|row| row.cosigned).collect();
    let outbox_rows = store.outbox_len().await?;
    Ok(Told { origin, checkpoint, cosigned, outbox_rows })
}

/// By which the log's checkpoints are checked.
pub fn public_key(folder: &DataFolder) -> Result<VerifierKey, Error> {
    read_key(&folder.audit_key())
}

/// That read a log at once, however many ask: each keeps a thread busy.
const READERS: usize = 4;

/// Places of those who read.
#[derive(Debug)]
pub(crate) struct Readers(Arc<Semaphore>);

impl Default for Readers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(READERS)))
    }
}

/// Reads files, which is not for an async thread. Whoever asks may go away meanwhile: the place is held
/// until it is read.
///
/// # Errors
/// Those of reading.
pub async fn reading<T: Send + 'static>(
    instance: &Arc<Instance>,
    read: impl FnOnce(&Instance) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let broken = Error::Internal { what: "the log could not be read" };
    let place = Arc::clone(&instance.readers.0).acquire_owned().await;
    let Ok(place) = place else { return Err(broken) };
    let instance = Arc::clone(instance);
    let done = tokio::task::spawn_blocking(move || {
        let done = read(&instance);
        drop(place);
        done
    });
    done.await.map_err(|_| broken)?
}

/// The newest `limit` entries, newest first.
pub fn list(folder: &DataFolder, limit: usize) -> Result<Vec<(u64, Record)>, Error> {
    Ok(verify::list(&folder.audit(), limit)?)
}

/// Hands out entries from the newest to the oldest, or from the one before `before`, until `each` says
/// no.
pub fn walk_back(
    folder: &DataFolder,
    before: Option<u64>,
    each: impl FnMut(u64, Record) -> bool,
) -> Result<(), Error> {
    Ok(verify::walk_back(&folder.audit(), before, each)?)
}

/// Hands out entries from this one on, in order, until `each` says no.
pub fn walk_on(
    folder: &DataFolder,
    from: u64,
    each: impl FnMut(u64, Record) -> bool,
) -> Result<(), Error> {
    Ok(verify::walk_on(&folder.audit(), from, each)?)
}

/// The proof of one entry, as a file of its own: under the log's newest checkpoint, or under this one.
pub fn proof(folder: &DataFolder, index: u64, under: Option<&str>) -> Result<Proof, Error> {
    let (dir, key) = (folder.audit(), read_key(&folder.audit_key())?);
    Ok(match under {
        Some(note) => Proof::under(&dir, &key, index, note)?,
        None => Proof::of(&dir, &key, index)?,
    })
}

/// The log's newest checkpoint.
pub fn checkpoint(folder: &DataFolder) -> Result<String, Error> {
    let note = read_if_there(&folder.audit().join("checkpoint"))?;
    let note = note.ok_or(VerifyError::NoCheckpoint)?;
    read_key(&folder.audit_key())?.open(&note).map_err(VerifyError::Checkpoint)?;
    Ok(note)
}

/// How many entries the log's newest checkpoint signs.
pub fn signed_size(folder: &DataFolder) -> Result<u64, Error> {
    let key = read_key(&folder.audit_key())?;
    Ok(key.open(&checkpoint(folder)?).map_err(VerifyError::Checkpoint)?.size)
}

/// Whether the newest checkpoint signs this entry, and its hashes lead there.
///
/// # Errors
/// [`Error::AuditProof`] for an entry that is not what was signed, or is not signed yet.
pub fn check_entry(folder: &DataFolder, index: u64) -> Result<Record, Error> {
    let key = read_key(&folder.audit_key())?;
    Ok(Proof::of(&folder.audit(), &key, index)?.verify(&key)?.0)
}

/// The newest checkpoint that others cosigned, with all of their cosignatures.
pub fn cosigned(folder: &DataFolder) -> Result<String, Error> {
    let key = read_key(&folder.audit_key())?;
    let mut newest: Option<(u64, String)> = None;
    for note in witness::cosigned(folder)? {
        // What does not open is not this log's.
        let Ok(checkpoint) = key.open(&note) else { continue };
        match &mut newest {
            // The same text: what else a checkpoint binds may differ at one size.
            Some((_, all)) if text_of(all) == text_of(&note) => {
                let lines = note.lines().filter(|line| line.starts_with('\u{2014}'));
                let others: Vec<&str> = lines.filter(|line| !all.contains(line)).collect();
                for line in others {
                    all.push_str(line);
                    all.push('\n');
                }
            }
            Some((size, _)) if *size >= checkpoint.size => {}
            _ => newest = Some((checkpoint.size, note)),
        }
    }
    newest.map(|(_, note)| note).ok_or_else(|| Error::NotFound {
        kind: "cosigned checkpoint",
        name: key.origin().to_owned(),
    })
}

/// Writes a stretch of the log that proves itself; yields which entries it holds.
pub fn export(
    folder: &DataFolder,
    range: Range<u64>,
    out: &mut dyn Write,
) -> Result<Range<u64>, Error> {
    Ok(audit::export(&folder.audit(), &read_key(&folder.audit_key())?, range, out)?)
}

/// What of the log leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// What [`export`] writes.
    Bundle,
    /// A line of JSON for each entry.
    Lines,
}

/// Records that a person takes a stretch of the log along, before the first of it leaves.
///
/// # Errors
/// [`Error::StepUpNeeded`].
pub async fn record_export(
    instance: &Instance,
    ctx: &OpContext,
    signed_in: &SignedIn,
    range: &Range<u64>,
    form: Form,
) -> Result<(), Error> {
    if !signed_in.is_stepped_up(ctx.now) {
        return Err(Error::StepUpNeeded);
    }
    // Whoever finds that rows were tampered with needs the evidence.
    let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
    let form = match form {
        Form::Bundle => "bundle",
        Form::Lines => "jsonl",
    };
    let to = Some(range.end).filter(|end| *end < u64::MAX);
    changing.record(Change {
        verb: "audit.export",
        what: format!("log {}", instance.origin),
        details: vec![
            ("form", form.to_owned()),
            ("from", range.start.to_string()),
            ("to", to.map_or_else(|| "the end".to_owned(), |to| to.to_string())),
        ],
        ..Change::default()
    });
    changing.commit().await.map(drop)
}

/// An entry as a line of JSON has it.
pub fn to_json(index: u64, record: &Record) -> serde_json::Value {
    let mut row = serde_json::Map::new();
    row.insert("index".into(), index.into());
    row.insert("kind".into(), record.kind().into());
    for (name, value) in record.fields() {
        let value = match value {
            FieldValue::Text(text) => text.into(),
            FieldValue::Number(number) => number.into(),
            FieldValue::Truth(truth) => truth.into(),
        };
        row.insert(name.into(), value);
    }
    serde_json::Value::Object(row)
}

fn text_of(note: &str) -> Option<&str> {
    note.split_once("\n\n").map(|(text, _)| text)
}

/// Hands out the entries of a stretch, in order.
pub fn each_entry(
    folder: &DataFolder,
    range: Range<u64>,
    mut each: impl FnMut(u64, &Record) -> io::Result<()>,
) -> Result<(), Error> {
    let key = read_key(&folder.audit_key())?;
    audit::each_entry(&folder.audit(), &key, range, |index, record| {
        each(index, record).map_err(|error| Error::from(ExportError::Io(error)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seals_tests::Home;
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };
    use tokio::task::JoinSet;

    /// However many ask, and though those who asked have gone away.
    #[tokio::test]
    async fn a_few_read_the_log_at_once() {
        let home = Home::new();
        let instance = Arc::new(home.init().await);
        let (go_on, waits) = mpsc::channel::<()>();
        let waits = Arc::new(Mutex::new(waits));
        let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut askers = JoinSet::new();
        for number in 0..12 {
            let (instance, waits) = (Arc::clone(&instance), Arc::clone(&waits));
            let (reading_now, most) = (Arc::clone(&under_way), Arc::clone(&most));
            let asker = askers.spawn(async move {
                reading(&instance, move |_| {
                    let now = reading_now.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    // Whoever waits for the lock reads as much as whoever has it.
                    waits.lock().unwrap().recv().unwrap();
                    reading_now.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                })
                .await
            });
            if number < READERS {
                while under_way.load(Ordering::SeqCst) <= number {
                    tokio::task::yield_now().await;
                }
                // Its reader goes on, and keeps its place.
                asker.abort();
            }
        }
        for _ in 0..12 {
            go_on.send(()).unwrap();
        }
        let mut done = 0;
        while let Some(asker) = askers.join_next().await {
            done += usize::from(asker.is_ok_and(|read| read.is_ok()));
        }
        assert_eq!(done, 12 - READERS);
        assert_eq!(most.load(Ordering::SeqCst), READERS);
    }
}
