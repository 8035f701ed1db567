//! A data folder that is being made: it appears in its place whole or not at all.

use super::key_file::absolute;
use crate::{
    error::Error,
    folder::{DataFolder, make_private_dir, sync_dir},
};
use audit::FolderLock;
use std::{
    io,
    path::{Path, PathBuf},
};
use store::ServerUrl;
use types::{Id, Instance as InstanceKind};

/// A folder beside its place: it appears there whole or not at all.
pub(crate) struct Draft<'d> {
    pub folder: DataFolder,
    dir: &'d Path,
    server: Option<ServerUrl>,
    /// Held while the draft is one: what nobody holds was left by an end in its midst.
    lock: FolderLock,
}

impl<'d> Draft<'d> {
    pub(crate) fn make(
        dir: &'d Path,
        name: Id<InstanceKind>,
        server: Option<&ServerUrl>,
    ) -> Result<Self, Error> {
        remove_drafts(dir)?;
        let draft = draft_dir(dir, &name.to_string())?;
        make_private_dir(&draft)?;
        let folder = DataFolder::at_with(draft, server);
        let lock = folder.lock()?;
        Ok(Self { folder, dir, server: server.cloned(), lock })
    }

    /// The result, after removing what was begun if it is none.
    pub(super) fn or_discard<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err()
            && let Err(error) = std::fs::remove_dir_all(self.folder.dir())
        {
            tracing::warn!(%error, "a draft cannot be removed");
        }
        result
    }

    /// Removes what was begun.
    pub(crate) fn discard(self) -> Result<(), Error> {
        let path = self.folder.dir().to_owned();
        std::fs::remove_dir_all(&path).map_err(|source| Error::Io { what: "remove", path, source })
    }

    pub(super) fn place(self) -> Result<DataFolder, Error> {
        // Renaming onto an empty folder is what makes it appear whole. The lock goes with it: until then
        // it keeps others from taking the draft for one that was left.
        let placed = std::fs::rename(self.folder.dir(), self.dir).map_err(|source| {
            let dir = self.dir.to_owned();
            match source.kind() {
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
                    Error::FolderMadeMeanwhile { dir }
                }
                _ => Error::Io { what: "create", path: dir, source },
            }
        });
        self.or_discard(placed)?;
        let Self { dir, server, lock, .. } = self;
        drop(lock);
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_dir(parent.unwrap_or(Path::new(".")))?;
        DataFolder::open_with(dir, server.as_ref())
    }
}

/// Refuses a place that holds anything.
pub(crate) fn refuse_taken(dir: &Path) -> Result<(), Error> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::FolderTaken { dir: dir.to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(Error::FolderTaken { dir: dir.to_owned() })
        }
        Err(source) => Err(Error::Io { what: "read", path: dir.to_owned(), source }),
    }
}

/// Beside the folder, so that a rename can put it there.
fn draft_dir(dir: &Path, id: &str) -> Result<PathBuf, Error> {
    let dir = absolute(dir)?;
    let name = dir.file_name().ok_or_else(|| Error::FolderTaken { dir: dir.clone() })?;
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".{id}"));
    Ok(dir.with_file_name(draft))
}

/// Removes drafts of this folder that an `init` left when it was killed. A root key that it made
/// stays: no key is ever deleted, though this one opens nothing.
fn remove_drafts(dir: &Path) -> Result<(), Error> {
    let pattern = draft_dir(dir, "")?;
    let (Some(parent), Some(prefix)) = (pattern.parent(), pattern.file_name()) else {
        return Ok(());
    };
    let entries = match std::fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Io { what: "read", path: parent.to_owned(), source }),
    };
    for entry in entries {
        let failed = |source| Error::Io { what: "read", path: parent.to_owned(), source };
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let id = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        let id = id.and_then(|id| std::str::from_utf8(id).ok());
        let is_draft = id.is_some_and(|id| id.parse::<Id<InstanceKind>>().is_ok());
        // A link of such a name leads to what is not ours.
        if !is_draft || !entry.file_type().map_err(failed)?.is_dir() {
            continue;
        }
        let path = entry.path();
        // One that holds nothing is just being made, and is locked next.
        if std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none()) {
            continue;
        }
        let lock = match DataFolder::at_with(path.clone(), None).try_lock() {
            Ok(Some(lock)) => lock,
            Ok(None) => continue,
            // It is in its place by now.
            Err(_) if !path.exists() => continue,
            Err(error) => return Err(error),
        };
        std::fs::remove_dir_all(&path).map_err(|source| Error::Io {
            what: "remove the draft",
            path,
            source,
        })?;
        drop(lock);
    }
    Ok(())
}
