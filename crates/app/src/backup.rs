//! A copy of an installation in one file: every row of its database as it stands there, sealed
//! values sealed, with its configuration and its log's public key. Making and checking one needs no
//! root key; what it holds is judged by whoever restores it with the key.
//!
//! The file is lines of JSON: a head, a line for each row, and an end with the count of rows and the
//! SHA-256 of all lines before it. It is the same whichever database the rows came from. The audit
//! log is not in it: that is exported by itself (`weirgate audit export`).

use crate::{error::Error, folder::DataFolder};
use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use store::{Cell, Store};
use types::{Clock, Id, Random, Request};

/// The format's number; it is the first thing in a file.
const FORMAT: u64 = 1;
/// The longest line: a description of the largest size that is imported, in base64.
const MAX_LINE: u64 = 256 << 20;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub weirgate_backup: u64,
    /// The newest migration of the database: it is restored by a release that has the same.
    pub layout: i64,
    pub instance: String,
    /// The state of the configuration: it moves with each change.
    pub generation: u64,
    pub created_at: String,
    /// `weirgate.toml`, if there is one.
    pub config: Option<String>,
    /// The audit log's public key.
    pub audit_key: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct End {
    rows: u64,
    sha256: String,
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub head: Head,
    pub rows: BTreeMap<String, u64>,
    pub bytes: u64,
}

/// Why a file is no backup that can be relied on.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There may be no such file: what was given as its name may be anything, and is not repeated.
    #[error("the backup cannot be {what}")]
    Io {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("there is a file at {} already", path.display())]
    Exists { path: PathBuf },
    #[error("{} is no backup of Weirgate, or of a newer release", path.display())]
    NotOne { path: PathBuf },
    #[error("the backup {} is damaged at line {line}: {what}", path.display())]
    Damaged { path: PathBuf, line: u64, what: &'static str },
    #[error("the backup {} has the layout {found} of another release, and this one has {wanted}", path.display())]
    Layout { path: PathBuf, found: i64, wanted: i64 },
    #[error("the backup {} ends too early", path.display())]
    Cut { path: PathBuf },
    #[error("the backup {} was changed after it was made", path.display())]
    Changed { path: PathBuf },
}

impl BackupError {
    pub(crate) const fn remedy(&self) -> &'static str {
        match self {
            Self::Io { .. } => "Check the path, the disk's space and the permissions.",
            Self::Exists { .. } => "Name a new file.",
            Self::NotOne { .. } => {
                "Name a file that `weirgate backup create` wrote; one of a newer release needs that release."
            }
            Self::Layout { .. } => {
                "Restore it with the release that made it, and start that folder with this one."
            }
            Self::Damaged { .. } | Self::Cut { .. } | Self::Changed { .. } => {
                "Use another copy, or another backup; this one cannot be relied on."
            }
        }
    }
}

/// Writes a backup into a new file that only its owner may read. A server may run meanwhile.
pub async fn create(
    folder: &DataFolder,
    file: &Path,
    clock: &dyn Clock,
    random: &dyn Random,
) -> Result<Summary, Error> {
    let failed = |what| move |source: io::Error| BackupError::Io { what, source };
    if file.exists() {
        return Err(BackupError::Exists { path: file.to_owned() }.into());
    }
    let store = Store::open(&folder.location()).await?;
    let head = Head {
        weirgate_backup: FORMAT,
        layout: store.layout().await?,
        instance: store.load_all().await?.instance.to_string(),
        generation: store.generation().await?,
        created_at: clock.now().to_string(),
        config: optional(&folder.config())?,
        audit_key: optional(&folder.audit_key())?,
    };
    // Beside its place, so that what is there is whole, and by a name of its own: another's file is
    // neither overwritten nor followed.
    let draft: Id<Request> = Id::generate(clock.now(), random)?;
    let draft = file.with_file_name(format!(".weirgate-{draft}.draft"));
    let out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .map_err(failed("made"))?;
    let mut writer = Writer::new(BufWriter::new(out));
    let written = write(&store, &head, &mut writer).await;
    store.close().await;
    let finish = |writer: Writer<BufWriter<File>>| -> io::Result<()> {
        let out = writer.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        out.sync_all()?;
        // Never over another: whoever came first has it.
        fs::hard_link(&draft, file)
    };
    let result = match written {
        Ok(()) => finish(writer).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists { path: file.to_owned() }.into(),
            _ => failed("written")(source).into(),
        }),
        Err(error) => Err(error),
    };
    // Whether or not it became a backup, the draft is none.
    fs::remove_file(&draft).map_err(failed("written"))?;
    result?;
    verify(file)
}

async fn write(
    store: &Store,
    head: &Head,
    writer: &mut Writer<BufWriter<File>>,
) -> Result<(), Error> {
    let failed = |source| Error::Io { what: "write", path: PathBuf::from("the backup"), source };
    writer.line(&json!(head)).map_err(failed)?;
    store
        .dump(|table, row| {
            let cells: Vec<Value> = row.into_iter().map(encoded).collect();
            writer.rows += 1;
            writer.line(&json!([table, cells])).map_err(failed)
        })
        .await?;
    let end = End { rows: writer.rows, sha256: writer.sum() };
    writer.line(&json!(end)).map_err(failed)
}

/// Writes lines and adds them up.
struct Writer<W> {
    out: W,
    sum: digest::Context,
    rows: u64,
}

impl<W: Write> Writer<W> {
    fn new(out: W) -> Self {
        Self { out, sum: digest::Context::new(&digest::SHA256), rows: 0 }
    }

    fn line(&mut self, value: &Value) -> io::Result<()> {
        let mut line = value.to_string();
        line.push('\n');
        self.sum.update(line.as_bytes());
        self.out.write_all(line.as_bytes())
    }

    fn sum(&self) -> String {
        crate::change::hex(self.sum.clone().finish().as_ref())
    }
}

fn optional(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { what: "read", path: path.to_owned(), source }),
    }
}

fn encoded(cell: Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Text(text) => Value::String(text),
        Cell::Number(number) => json!(number),
        Cell::Bytes(bytes) => json!({"base64": STANDARD.encode(bytes)}),
    }
}

fn decoded(value: Value) -> Option<Cell> {
    Some(match value {
        Value::Null => Cell::Null,
        Value::String(text) => Cell::Text(text),
        Value::Number(number) => Cell::Number(number.as_i64()?),
        Value::Object(object) => {
            let text = object.get("base64").filter(|_| object.len() == 1)?.as_str()?;
            Cell::Bytes(STANDARD.decode(text).ok()?)
        }
        Value::Bool(_) | Value::Array(_) => return None,
    })
}

/// Whether a file is a whole backup, as it was made. Whether somebody made it up is told by whoever
/// restores it with the root key.
pub fn verify(file: &Path) -> Result<Summary, Error> {
    let mut reader = BackupReader::open(file)?;
    while reader.next_row()?.is_some() {}
    Ok(reader.summary())
}

/// Reads a backup row by row. Only when [`Self::next_row`] has yielded `None` is it known that all
/// of them are as they were written.
pub(crate) struct BackupReader {
    path: PathBuf,
    input: BufReader<File>,
    sum: digest::Context,
    /// Of all bytes, as other programs compute it.
    whole: digest::Context,
    line: u64,
    bytes: u64,
    head: Head,
    rows: BTreeMap<String, u64>,
}

impl BackupReader {
    pub(crate) fn open(path: &Path) -> Result<Self, BackupError> {
        let input = File::open(path).map_err(|source| BackupError::Io { what: "read", source })?;
        let head = Head {
            weirgate_backup: 0,
            layout: 0,
            instance: String::new(),
            generation: 0,
            created_at: String::new(),
            config: None,
            audit_key: None,
        };
        let mut reader = Self {
            path: path.to_owned(),
            input: BufReader::new(input),
            sum: digest::Context::new(&digest::SHA256),
            whole: digest::Context::new(&digest::SHA256),
            line: 0,
            bytes: 0,
            head,
            rows: BTreeMap::new(),
        };
        let not_one = || BackupError::NotOne { path: path.to_owned() };
        let first = reader.next_line().map_err(|error| match error {
            BackupError::Io { .. } => error,
            _ => not_one(),
        })?;
        reader.head = serde_json::from_str(&first).map_err(|_| not_one())?;
        if reader.head.weirgate_backup != FORMAT {
            return Err(not_one());
        }
        reader.sum.update(first.as_bytes());
        Ok(reader)
    }

    pub(crate) const fn head(&self) -> &Head {
        &self.head
    }

    /// Of all that was read.
    pub(crate) fn sha256(&self) -> String {
        crate::change::hex(self.whole.clone().finish().as_ref())
    }

    pub(crate) fn summary(self) -> Summary {
        Summary { head: self.head, rows: self.rows, bytes: self.bytes }
    }

    fn next_line(&mut self) -> Result<String, BackupError> {
        self.line += 1;
        let mut line = String::new();
        let read = (&mut self.input).take(MAX_LINE).read_line(&mut line);
        match read {
            Ok(read) => self.bytes += read as u64,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(self.damaged("it is no text"));
            }
            Err(source) => {
                return Err(BackupError::Io { what: "read", source });
            }
        }
        self.whole.update(line.as_bytes());
        if line.ends_with('\n') {
            Ok(line)
        } else {
            Err(BackupError::Cut { path: self.path.clone() })
        }
    }

    fn damaged(&self, what: &'static str) -> BackupError {
        BackupError::Damaged { path: self.path.clone(), line: self.line, what }
    }

    /// The next row; `None` after the last, when the sum was compared.
    pub(crate) fn next_row(&mut self) -> Result<Option<(String, Vec<Cell>)>, BackupError> {
        let line = self.next_line()?;
        if line.starts_with('{') {
            return self.end(&line).map(|()| None);
        }
        let (table, cells): (String, Vec<Value>) =
            serde_json::from_str(&line).map_err(|_| self.damaged("it is no row"))?;
        let width = cells.len();
        let row: Option<Vec<Cell>> = cells.into_iter().map(decoded).collect();
        let row = row
            .filter(|_| store::is_known(&table, width))
            .ok_or_else(|| self.damaged("it is no row of this release"))?;
        self.sum.update(line.as_bytes());
        *self.rows.entry(table.clone()).or_default() += 1;
        Ok(Some((table, row)))
    }

    fn end(&mut self, line: &str) -> Result<(), BackupError> {
        let end: End = serde_json::from_str(line).map_err(|_| self.damaged("it is no end"))?;
        let sum = crate::change::hex(self.sum.clone().finish().as_ref());
        let count: u64 = self.rows.values().sum();
        let mut rest = [0; 1];
        let more = self
            .input
            .read(&mut rest)
            .map_err(|source| BackupError::Io { what: "read", source })?;
        if sum != end.sha256 || count != end.rows || more > 0 {
            return Err(BackupError::Changed { path: self.path.clone() });
        }
        Ok(())
    }
}
