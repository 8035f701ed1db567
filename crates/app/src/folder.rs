//! The data folder: where each thing lies, and the lock that one server holds.

use crate::error::Error;
use audit::FolderLock;
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use store::{Location, ServerUrl};
use types::{Id, Instance, Node};

/// How long a server waits for a verb that holds the folder.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// An existing data folder, by its path, and the database that it belongs to.
#[derive(Debug, Clone)]
pub struct DataFolder {
    dir: PathBuf,
    server: Option<ServerUrl>,
}

impl DataFolder {
    /// A folder that `init` made. One that cannot be looked into is not called missing.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_with(dir, None)
    }

    /// As [`Self::open`]; with a server, the database lies there and not in the folder.
    pub fn open_with(dir: &Path, server: Option<&ServerUrl>) -> Result<Self, Error> {
        let folder = Self::at_with(dir.to_owned(), server);
        let there = if server.is_some() { folder.root_key_path() } else { folder.database() };
        match std::fs::metadata(there) {
            Ok(facts) if facts.is_file() => Ok(folder),
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Io { what: "look into", path: dir.to_owned(), source })
            }
            Ok(_) | Err(_) => Err(Error::NoDataFolder { dir: dir.to_owned() }),
        }
    }

    #[cfg(test)]
    pub(crate) fn at(dir: PathBuf) -> Self {
        Self::at_with(dir, None)
    }

    pub(crate) fn at_with(dir: PathBuf, server: Option<&ServerUrl>) -> Self {
        Self { dir, server: server.cloned() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn config(&self) -> PathBuf {
        self.dir.join("weirgate.toml")
    }

    /// The file of a database that lies in the folder.
    pub fn database(&self) -> PathBuf {
        self.dir.join("weirgate.db")
    }

    /// The database's server, if it lies on one.
    pub fn server(&self) -> Option<&ServerUrl> {
        self.server.as_ref()
    }

    pub fn location(&self) -> Location {
        match &self.server {
            Some(url) => Location::Server(url.clone()),
            None => Location::File(self.database()),
        }
    }

    /// Names this node; the first of an installation has no such file.
    pub fn node_file(&self) -> PathBuf {
        self.dir.join("node")
    }

    /// Which node of its installation this folder is; `None` for the first.
    pub(crate) fn node(&self) -> Result<Option<Id<Node>>, Error> {
        let path = self.node_file();
        match std::fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse() {
                Ok(node) => Ok(Some(node)),
                Err(_) => Err(Error::NodeMalformed { path }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { what: "read", path, source }),
        }
    }

    pub fn audit(&self) -> PathBuf {
        self.dir.join("audit")
    }

    /// The log's public key.
    pub fn audit_key(&self) -> PathBuf {
        self.dir.join("audit.pub")
    }

    /// Where recovery of the log begins to read; it may be missing.
    pub fn audit_hint(&self) -> PathBuf {
        self.dir.join("audit-hint")
    }

    /// Room that a server keeps for the log's last words.
    pub fn audit_reserve(&self) -> PathBuf {
        self.dir.join("audit-reserve")
    }

    /// What this node saw of the other nodes' logs, and the key that it cosigns with.
    pub fn witness(&self) -> PathBuf {
        self.dir.join("witness")
    }

    /// The public key of this node as a witness.
    pub fn witness_key(&self) -> PathBuf {
        self.dir.join("witness.pub")
    }

    /// The newest checkpoints of this node's log that others cosigned.
    pub fn cosigned(&self) -> PathBuf {
        self.dir.join("cosigned")
    }

    /// The file that says where the root key lies.
    pub fn root_key_path(&self) -> PathBuf {
        self.dir.join("root-key-path")
    }

    /// The file that says where the root key lies to which a rotation goes. It stays: a start that finds
    /// the database under no other key looks there.
    fn next_root_key_path(&self) -> PathBuf {
        self.dir.join("root-key-path.next")
    }

    /// The place of the root key that a rotation went to last, whether or not it was done.
    pub(crate) fn next_root_key(&self) -> Result<Option<PathBuf>, Error> {
        let text = read_if_there(&self.next_root_key_path())?;
        Ok(text.map(|text| PathBuf::from(text.trim_end_matches('\n'))))
    }

    pub(crate) fn note_next_root_key(&self, file: &Path) -> Result<(), Error> {
        put(&self.next_root_key_path(), format!("{}\n", file.display()).as_bytes())
    }

    /// From now on the root key lies there.
    pub(crate) fn record_root_key(&self, file: &Path) -> Result<(), Error> {
        put(&self.root_key_path(), format!("{}\n", file.display()).as_bytes())
    }

    /// Shapes of answers that a server learned.
    pub(crate) fn observed(&self) -> PathBuf {
        self.dir.join("observed")
    }

    /// Takes the folder's lock, or says that another process holds it.
    pub fn lock(&self) -> Result<FolderLock, Error> {
        self.try_lock()?.ok_or_else(|| Error::FolderInUse { dir: self.dir.clone() })
    }

    /// Takes the folder's lock as soon as it is free: a verb holds it for a moment, a server on and on.
    pub async fn lock_soon(&self) -> Result<FolderLock, Error> {
        let begun = Instant::now();
        loop {
            match self.lock() {
                Err(Error::FolderInUse { .. }) if begun.elapsed() < LOCK_PATIENCE => {
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                result => return result,
            }
        }
    }

    /// Takes the folder's lock if nobody holds it. Nothing is written for it.
    pub fn try_lock(&self) -> Result<Option<FolderLock>, Error> {
        FolderLock::take(&self.dir).map_err(|source| Error::Io {
            what: "lock",
            path: self.dir.clone(),
            source,
        })
    }

    /// The root key's place as `init` recorded it.
    pub fn recorded_root_key(&self) -> Result<PathBuf, Error> {
        let path = self.root_key_path();
        let text = std::fs::read_to_string(&path)
            .map_err(|source| Error::RootKeyPlace { path, source })?;
        Ok(PathBuf::from(text.trim_end_matches('\n')))
    }
}

/// The name of a node's audit log, for ever.
pub(crate) fn origin_of(instance: Id<Instance>, node: Option<Id<Node>>) -> String {
    match node {
        None => format!("weirgate/{instance}"),
        Some(node) => format!("weirgate/{instance}/{node}"),
    }
}

/// Makes a folder that only its owner may enter, with its parents.
pub(crate) fn make_private_dir(dir: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { what: "create", path: dir.to_owned(), source };
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        result => result.map_err(failed),
    }
}

/// Writes a new file durably. It never replaces one.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let failed = |source| Error::Io { what: "write", path: path.to_owned(), source };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

/// Puts a file in place durably, whatever was there.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    let draft = PathBuf::from(draft);
    match std::fs::remove_file(&draft) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(Error::Io { what: "remove", path: draft, source });
        }
        _ => write_new(&draft, bytes, 0o600)?,
    }
    std::fs::rename(&draft, path).map_err(|source| Error::Io {
        what: "write",
        path: path.to_owned(),
        source,
    })?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// The text of a file, if it is there.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Unreadable { path: path.to_owned(), source }),
    }
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(|source| Error::Io {
        what: "sync",
        path: dir.to_owned(),
        source,
    })
}
