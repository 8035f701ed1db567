//! The file of a new installation's root key, which never lies in the data folder.

use super::Custody;
use crate::{error::Error, folder::DataFolder};
use std::{
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};
use types::{Id, Instance as InstanceKind, Random};
use vault::{RootKey, RootKeyError};

/// Where a new installation's root key lies.
#[derive(Debug, Clone, Copy)]
pub enum RootKeyPlace<'a> {
    /// This file: it is used if it exists, else made.
    File(&'a Path),
    /// A new file in this folder, named after the installation.
    Folder(&'a Path),
}

impl RootKeyPlace<'_> {
    /// The root key's file, which never lies in the folder.
    pub(crate) fn of(self, id: Id<InstanceKind>, dir: &Path) -> Result<PathBuf, Error> {
        let key_file = absolute(&match self {
            RootKeyPlace::File(file) => file.to_owned(),
            RootKeyPlace::Folder(folder) => folder.join(format!("{id}.key")),
        })?;
        if resolved(&key_file)?.starts_with(resolved(dir)?) {
            return Err(Error::RootKeyInFolder);
        }
        Ok(key_file)
    }
}

/// The root key of an installation that is being made.
pub(super) struct NewKey {
    pub file: PathBuf,
    pub root: Arc<RootKey>,
    /// The file was not there before.
    is_made: bool,
}

impl NewKey {
    pub(super) fn make(
        file: PathBuf,
        custody: &Custody,
        random: &dyn Random,
    ) -> Result<Self, Error> {
        if !file.exists() {
            let passphrase = custody.unattended().passphrase(&file)?;
            let root = RootKey::generate(random)?;
            match root.write_file(&file, passphrase.as_ref(), random) {
                // Another `init` with the same file was faster.
                Err(RootKeyError::Exists { .. }) => {}
                written => {
                    written?;
                    return Ok(Self { root: Arc::new(root), file, is_made: true });
                }
            }
        }
        Ok(Self { root: custody.load_file(&file)?, file, is_made: false })
    }

    /// Removes a key that nothing was sealed with that stays: one of this installation's own name, or
    /// one that whoever has the folder now does not use.
    pub(super) fn remove_unused(&self, dir: &Path, place: RootKeyPlace<'_>) {
        let is_own = match place {
            RootKeyPlace::Folder(_) => true,
            RootKeyPlace::File(_) => {
                let used = DataFolder::at_with(dir.to_owned(), None).recorded_root_key();
                used.is_ok_and(|used| used != self.file)
            }
        };
        if self.is_made
            && is_own
            && let Err(error) = std::fs::remove_file(&self.file)
        {
            tracing::warn!(%error, "a root key that opens nothing cannot be removed");
        }
    }
}

/// Whether a path leads into the data folder.
pub fn is_inside(path: &Path, folder: &DataFolder) -> Result<bool, Error> {
    Ok(resolved(path)?.starts_with(resolved(folder.dir())?))
}

/// Where a path leads, through links and `..`, though its end may not be there yet.
fn resolved(path: &Path) -> Result<PathBuf, Error> {
    let path = absolute(path)?;
    let mut missing = Vec::new();
    let mut there = path.as_path();
    loop {
        match std::fs::canonicalize(there) {
            Ok(mut whole) => {
                for part in missing.into_iter().rev() {
                    match part {
                        Component::ParentDir => drop(whole.pop()),
                        part => whole.push(part),
                    }
                }
                return Ok(whole);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Io { what: "find", path, source }),
        }
        let mut parts = there.components();
        missing.extend(parts.next_back());
        there = parts.as_path();
        if there.as_os_str().is_empty() {
            return Ok(path);
        }
    }
}

pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::Io {
        what: "find",
        path: path.to_owned(),
        source,
    })
}
