//! Checkpoints at the end of a file, one after the other: nothing in it is ever written again, so that
//! a file system may forbid just that.

use super::NotTaken;
use audit::{Checkpoint, ProofError, Signed, VerifierKey, extends, notes};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// What is read of the file's end: many checkpoints with cosignatures of many.
const MAX_READ: u64 = 256 * 1_024;

/// See the module.
#[derive(Debug)]
pub(crate) struct KeptFile {
    path: PathBuf,
    /// The log's folder.
    dir: PathBuf,
    key: VerifierKey,
    newest: Newest,
}

/// The newest that is in the file.
#[derive(Debug, Clone, Copy)]
enum Newest {
    Unread,
    None,
    Is(Checkpoint),
}

/// Why a file takes no checkpoints.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeptFileError {
    #[error("the file cannot be read or written")]
    Io(#[from] io::Error),
    #[error("the file holds something else than checkpoints of the log `{origin}`")]
    NotOurs { origin: String },
    #[error("the audit log's files cannot be read")]
    Log(#[from] ProofError),
    #[error("the audit log is not the one of which the file holds a checkpoint of {size} entries")]
    Contradicted { size: u64 },
}

impl KeptFile {
    pub(crate) fn new(path: &Path, dir: PathBuf, key: VerifierKey) -> Self {
        Self { path: path.to_owned(), dir, key, newest: Newest::Unread }
    }

    /// Whether the log is the one of which the file holds checkpoints.
    pub(crate) fn compare(&mut self, signed: &Signed) -> Result<(), KeptFileError> {
        if matches!(self.newest, Newest::Unread) {
            self.newest = self.read()?.map_or(Newest::None, Newest::Is);
        }
        match self.newest {
            Newest::Is(kept) if !extends(&self.dir, &kept, &signed.checkpoint)? => {
                Err(KeptFileError::Contradicted { size: kept.size })
            }
            _ => Ok(()),
        }
    }

    fn read(&self) -> Result<Option<Checkpoint>, KeptFileError> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let from = file.metadata()?.len().saturating_sub(MAX_READ);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(MAX_READ).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let not_ours = || KeptFileError::NotOurs { origin: self.key.origin().to_owned() };
        // The first may be the end of one.
        let found = notes(&text).into_iter().skip(usize::from(from > 0));
        let found: Vec<Checkpoint> = found
            .map(|note| self.key.open(&note))
            .collect::<Result<_, _>>()
            .map_err(|_| not_ours())?;
        let newest = found.into_iter().max_by_key(|checkpoint| checkpoint.size);
        if newest.is_none() && !text.trim().is_empty() {
            return Err(not_ours());
        }
        Ok(newest)
    }

    /// Puts a checkpoint at the end, durably.
    pub(crate) fn keep(&mut self, signed: &Signed) -> Result<(), NotTaken> {
        self.try_keep(signed).map_err(|error| match error {
            KeptFileError::Contradicted { .. } => NotTaken::Contradicted(error.to_string()),
            error => {
                let code = match error {
                    KeptFileError::NotOurs { .. } => "checkpoint_file_not_ours",
                    _ => "checkpoint_file_unusable",
                };
                // Somebody may put the right one in its place.
                self.newest = Newest::Unread;
                NotTaken::Failed { code, cause: crate::output::chain(&error) }
            }
        })
    }

    fn try_keep(&mut self, signed: &Signed) -> Result<(), KeptFileError> {
        self.compare(signed)?;
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o644).open(&self.path)?;
        let length = file.metadata()?.len();
        let mut last = [b'\n'];
        if length > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        // An empty line between two; what a crash tore ends first.
        let between = match (length, last) {
            (0, _) => "",
            (_, [b'\n']) => "\n",
            _ => "\n\n",
        };
        // One write: others may append meanwhile.
        file.write_all(format!("{between}{}", signed.note).as_bytes())?;
        file.sync_data()?;
        self.newest = Newest::Is(signed.checkpoint);
        Ok(())
    }
}
