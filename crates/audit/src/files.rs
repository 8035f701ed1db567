//! The files of a log: names by C2SP tlog-tiles, writes that are whole or not there.

use crate::tree::Hash;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Entries of a full tile (c2sp.org/tlog-tiles).
pub(crate) const TILE: u64 = 256;
/// Bytes of a full tile of hashes.
pub(crate) const TILE_BYTES: usize = 256 * 32;
/// The height of a full tile.
pub(crate) const TILE_HEIGHT: u32 = 8;
/// Bytes of `tail` before its entries: the index of the first, big-endian.
pub(crate) const TAIL_HEAD: usize = 8;

pub(crate) const TAIL: &str = "tail";
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// Where the files lie. Drafts of files lie beside the folder, so that all in it is covered by
/// verification.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) dir: PathBuf,
    drafts: PathBuf,
}

impl Paths {
    pub(crate) fn new(dir: &Path) -> Self {
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(".drafts");
        Self { dir: dir.to_owned(), drafts: dir.with_file_name(name) }
    }

    pub(crate) fn create(&self) -> io::Result<()> {
        for dir in [&self.dir, &self.drafts] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        Ok(())
    }

    pub(crate) fn tail(&self) -> PathBuf {
        self.dir.join(TAIL)
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.dir.join(CHECKPOINT)
    }

    pub(crate) fn bundle(&self, tile: u64) -> PathBuf {
        self.dir.join("tile/entries").join(tile_name(tile))
    }

    pub(crate) fn hashes(&self, level: u32, tile: u64) -> PathBuf {
        self.dir.join(format!("tile/{level}")).join(tile_name(tile))
    }

    /// Puts a whole file in its place, durably: draft, sync, rename, sync of the folder.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let draft = self.drafts.join("draft");
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        if !folder.is_dir() {
            self.create_folders(folder)?;
        }
        fs::rename(&draft, path)?;
        File::open(folder)?.sync_all()
    }

    /// Makes missing folders below the log's, each durable in the one above.
    fn create_folders(&self, folder: &Path) -> io::Result<()> {
        let inner = folder.strip_prefix(&self.dir).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut at = self.dir.clone();
        for part in inner.components() {
            let above = at.clone();
            at.push(part);
            if !at.is_dir() {
                fs::DirBuilder::new().mode(0o700).create(&at)?;
                File::open(above)?.sync_all()?;
            }
        }
        Ok(())
    }
}

/// `x001/234` for 1234.
pub(crate) fn tile_name(tile: u64) -> String {
    let mut name = format!("{:03}", tile % 1_000);
    let mut rest = tile / 1_000;
    while rest > 0 {
        name = format!("x{:03}/{name}", rest % 1_000);
        rest /= 1_000;
    }
    name
}

/// Entries with their lengths before them, as in C2SP bundles and in `tail`.
pub(crate) fn frame(entry: &[u8], out: &mut Vec<u8>) {
    // The writer refuses longer entries.
    let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(entry);
}

/// The next entry and what follows it; `None` where the rest is no whole entry.
pub(crate) fn unframe(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// All entries of a full bundle.
pub(crate) fn unbundle(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::with_capacity(256);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (entry, after) = unframe(rest)?;
        entries.push(entry);
        rest = after;
    }
    (entries.len() as u64 == TILE).then_some(entries)
}

pub(crate) fn join_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

pub(crate) fn split_hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    (bytes.len() == TILE_BYTES)
        .then(|| bytes.chunks_exact(32).filter_map(|chunk| chunk.try_into().ok()).collect())
}

/// A file's bytes, or `None` if there is none.
pub(crate) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of c2sp.org/tlog-tiles.
    #[test]
    fn tiles_are_named_by_the_specification() {
        assert_eq!(tile_name(0), "000");
        assert_eq!(tile_name(999), "999");
        assert_eq!(tile_name(1_000), "x001/000");
        assert_eq!(tile_name(1_234_067), "x001/x234/067");
    }
}
