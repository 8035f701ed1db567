//! Room on the log's disk that is kept for the day when it is full: given back, it lets calls under
//! way be recorded to their end. The log takes new ones only while it has its reserve.

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The part of the reserve's size that must be free beside it: a disk with the reserve and nothing
/// more is full.
const BESIDE: u64 = 4;
/// A file system counts as no larger: a tenth of a large one is room for months, and no alarm.
const LARGEST: u64 = 100 << 30;
/// What is written at once where the file system cannot allocate.
const BLOCK: usize = 1 << 16;

/// Where the reserve lies, and how large it is.
#[derive(Debug, Clone)]
pub struct Reserve {
    path: PathBuf,
    bytes: u64,
}

/// A file system's room, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What somebody other than root may still take.
    pub free: u64,
    pub total: u64,
}

impl Space {
    /// Of the file system that this path lies on.
    pub fn of(path: &Path) -> io::Result<Self> {
        let about = statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
        Ok(Self { free: bytes(about.f_bavail), total: bytes(about.f_blocks) })
    }

    /// How much of a hundred is free, rounded down, of a file system that counts as no larger than
    /// 100 GiB.
    pub fn free_percent(self) -> u64 {
        match self.total.min(LARGEST) {
            0 => 0,
            total => (self.free.saturating_mul(100) / total).min(100),
        }
    }
}

/// Whether this is a lack of room.
pub(crate) fn is_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Reserve {
    /// `path` must lie on the log's file system and outside of its folder.
    pub const fn new(path: PathBuf, bytes: u64) -> Self {
        Self { path, bytes }
    }

    /// Takes the room, unless it is taken already.
    ///
    /// # Errors
    /// `StorageFull` if there is no more than that.
    pub(crate) fn take(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&self.path)?;
        let about = file.metadata()?;
        if about.len() == self.bytes && about.blocks().saturating_mul(512) >= self.bytes {
            return Ok(());
        }
        file.set_len(0)?;
        let taken = self.fill(&file);
        if taken.is_err() {
            self.give_back();
        }
        taken
    }

    fn fill(&self, file: &File) -> io::Result<()> {
        // Looked at before: an allocation that fails may take all there is, for a moment.
        if Space::of(&self.path)?.free < self.bytes.saturating_add(self.bytes / BESIDE) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match fallocate(file, FallocateFlags::empty(), 0, self.bytes) {
            Err(rustix::io::Errno::OPNOTSUPP) => {}
            done => return Ok(done?),
        }
        let mut file = file;
        let mut left = self.bytes;
        while left > 0 {
            let block = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            file.write_all(vec![0; block].as_slice())?;
            left -= block as u64;
        }
        file.sync_all()
    }

    /// Whether this was a lack of room, and there is some now.
    pub(crate) fn helps(&self, error: &io::Error) -> bool {
        is_full(error.kind()) && self.give_back()
    }

    /// Gives the room back; whether there was any.
    pub(crate) fn give_back(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_takes_room_and_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        let reserve = Reserve::new(path.clone(), 1 << 20);
        reserve.take().unwrap();
        let about = fs::metadata(&path).unwrap();
        assert_eq!((about.len(), about.blocks() * 512 >= 1 << 20), (1 << 20, true));
        assert_eq!(about.mode() & 0o777, 0o600);
        // Another size, and a file that only looks as if it had it.
        Reserve::new(path.clone(), 1 << 16).take().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 16);
        File::options().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
        reserve.take().unwrap();
        assert!(fs::metadata(&path).unwrap().blocks() * 512 >= 1 << 20);
        let other = io::Error::from(io::ErrorKind::NotFound);
        assert!(!reserve.helps(&other) && path.exists());
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(reserve.helps(&full) && !path.exists());
        assert!(!reserve.helps(&full), "it has given all it had");
    }

    #[test]
    fn more_than_there_is_takes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        let free = Space::of(folder.path()).unwrap().free;
        let error = Reserve::new(path.clone(), free * 2).take().unwrap_err();
        assert!(is_full(error.kind()), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_part_of_nothing_is_nothing() {
        assert_eq!(Space { free: 0, total: 0 }.free_percent(), 0);
        assert_eq!(Space { free: 99, total: 1_000 }.free_percent(), 9);
        assert_eq!(Space { free: 100, total: 1_000 }.free_percent(), 10);
        // Of a large file system little is free when that is little in itself.
        let large = |gib: u64| Space { free: gib << 30, total: 4_000 << 30 }.free_percent();
        assert_eq!((large(9), large(20), large(100), large(3_999)), (9, 20, 100, 100));
    }
}
