//! One writer per folder.

use crate::files::{Identity, changed_behind_our_back};
use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// Proof that this process is the one that writes the audit log of a folder. The system gives the
/// lock back when the process ends, however it ends.
///
/// What is locked is the folder itself, not a file in it: a file could be deleted, and a second
/// process would lock a new one of its name.
#[derive(Debug)]
#[must_use]
pub struct FolderLock {
    dir: PathBuf,
    identity: Identity,
    _folder: File,
}

impl FolderLock {
    /// Takes the lock if nobody holds it. Nothing is written.
    pub fn take(dir: &Path) -> io::Result<Option<Self>> {
        let folder = File::open(dir)?;
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let identity = Identity::of(&folder.metadata()?);
        let lock = Self { dir: dir.to_owned(), identity, _folder: folder };
        lock.check().map(|()| Some(lock))
    }

    /// Whether the folder of this path is still the one that is locked.
    pub(crate) fn check(&self) -> io::Result<()> {
        match Identity::at(&self.dir)? {
            Some((identity, _)) if identity == self.identity => Ok(()),
            _ => Err(changed_behind_our_back("the folder that this process holds was replaced")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nothing_in_the_folder_can_be_deleted_to_take_the_lock_twice() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("data");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("lock"), b"").unwrap();
        let lock = FolderLock::take(&dir).unwrap().unwrap();
        for entry in fs::read_dir(&dir).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        assert!(FolderLock::take(&dir).unwrap().is_none());
        drop(lock);
        assert!(FolderLock::take(&dir).unwrap().is_some());
    }

    #[test]
    fn a_replaced_folder_is_not_the_locked_one() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("data");
        fs::create_dir(&dir).unwrap();
        let lock = FolderLock::take(&dir).unwrap().unwrap();
        lock.check().unwrap();
        fs::rename(&dir, home.path().join("moved")).unwrap();
        assert!(lock.check().is_err());
        fs::create_dir(&dir).unwrap();
        assert!(lock.check().is_err());
        fs::remove_dir(&dir).unwrap();
        fs::rename(home.path().join("moved"), &dir).unwrap();
        lock.check().unwrap();
    }
}
