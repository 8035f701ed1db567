//! The files of a log: names by C2SP tlog-tiles, writes that are whole or not there.

use crate::tree::Hash;
use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
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
/// Folder of all tiles, and in it that of entry bundles; hash tiles lie in folders of their level.
pub(crate) const TILES: &str = "tile";
pub(crate) const ENTRIES: &str = "entries";

/// "Too many open files", in the process and in the system: one number each on every Unix.
const CROWDED: [i32; 2] = [24, 23];
/// Pause before a file is tried again.
const CROWDED_PAUSE: Duration = Duration::from_millis(20);

/// Opens a file as soon as there is room for it. That others hold every descriptor says nothing
/// about the disk, and ends with them; until then entries wait, and who waits for them refuses.
fn when_there_is_room<T>(open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut is_told = false;
    loop {
        match open() {
            Err(error) if error.raw_os_error().is_some_and(|code| CROWDED.contains(&code)) => {
                if !is_told {
                    tracing::error!(%error, "audit log waits until a file can be opened");
                    is_told = true;
                }
                thread::sleep(CROWDED_PAUSE);
            }
            done => return done,
        }
    }
}

/// One step that changes the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    CreateFolder,
    WriteDraft,
    SyncDraft,
    Rename,
    SyncFolder,
    AppendTail,
    SyncTail,
}

/// Stands before and after each step, so that tests can stop, fail and count them.
pub(crate) trait Watch: Send + Sync + fmt::Debug {
    fn before(&self, step: Step, path: &Path) -> io::Result<()>;
    fn after(&self, step: Step, path: &Path);
}

/// Where the files lie, and every way in which they change. Drafts of files lie beside the folder,
/// so that all in it is covered by verification.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) dir: PathBuf,
    drafts: PathBuf,
    /// Of the one thread that uses these paths.
    draft: &'static str,
    watch: Option<Arc<dyn Watch>>,
}

impl Paths {
    pub(crate) fn new(dir: &Path) -> Self {
        let mut name = dir.file_name().unwrap_or_default().to_owned();
        name.push(".drafts");
        Self { dir: dir.to_owned(), drafts: dir.with_file_name(name), draft: "draft", watch: None }
    }

    #[cfg(test)]
    pub(crate) fn watched(dir: &Path, watch: Arc<dyn Watch>) -> Self {
        Self { watch: Some(watch), ..Self::new(dir) }
    }

    /// The same for a second thread.
    pub(crate) fn for_tiles(&self) -> Self {
        Self { draft: "tile", ..self.clone() }
    }

    /// Whether nothing has been written yet.
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        match fs::read_dir(&self.dir) {
            Ok(mut entries) => Ok(entries.next().is_none()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Makes both folders, durable in the one above.
    pub(crate) fn create(&self) -> io::Result<()> {
        for dir in [&self.dir, &self.drafts] {
            if dir.is_dir() {
                continue;
            }
            self.step(Step::CreateFolder, dir, || {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
            })?;
            match dir.parent() {
                Some(above) if above.as_os_str().is_empty() => self.sync_folder(Path::new("."))?,
                Some(above) => self.sync_folder(above)?,
                None => {}
            }
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
        self.dir.join(TILES).join(ENTRIES).join(tile_name(tile))
    }

    pub(crate) fn hashes(&self, level: u32, tile: u64) -> PathBuf {
        self.dir.join(TILES).join(level.to_string()).join(tile_name(tile))
    }

    /// Puts a whole file in its place, durably: draft, sync, rename, sync of the folder. After a
    /// crash the place holds the old file or the new one, and nothing between.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let draft = self.drafts.join(self.draft);
        let file = self.step(Step::WriteDraft, &draft, || {
            let mut options = OpenOptions::new();
            options.create(true).write(true).truncate(true).mode(0o600);
            let mut file = when_there_is_room(|| options.open(&draft))?;
            file.write_all(bytes).map(|()| file)
        })?;
        self.step(Step::SyncDraft, &draft, || file.sync_all())?;
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        if !folder.is_dir() {
            self.create_folders(folder)?;
        }
        self.step(Step::Rename, path, || fs::rename(&draft, path))?;
        self.sync_folder(folder)
    }

    /// Makes sure that a file found at opening, and its name, are on disk.
    pub(crate) fn settle(&self, path: &Path) -> io::Result<()> {
        self.step(Step::SyncDraft, path, || when_there_is_room(|| File::open(path))?.sync_all())?;
        let mut folder = path.parent();
        while let Some(at) = folder.filter(|at| at.starts_with(&self.dir)) {
            self.sync_folder(at)?;
            folder = at.parent();
        }
        Ok(())
    }

    /// Makes missing folders below the log's, each durable in the one above.
    fn create_folders(&self, folder: &Path) -> io::Result<()> {
        let inner = folder.strip_prefix(&self.dir).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut at = self.dir.clone();
        for part in inner.components() {
            let above = at.clone();
            at.push(part);
            if !at.is_dir() {
                self.step(Step::CreateFolder, &at, || {
                    fs::DirBuilder::new().mode(0o700).create(&at)
                })?;
                self.sync_folder(&above)?;
            }
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step(Step::SyncFolder, folder, || {
            when_there_is_room(|| File::open(folder))?.sync_all()
        })
    }

    fn step<T>(
        &self,
        step: Step,
        path: &Path,
        act: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let Some(watch) = &self.watch else { return act() };
        watch.before(step, path)?;
        let done = act()?;
        watch.after(step, path);
        Ok(done)
    }
}

/// The open file of the tile that is not full.
#[derive(Debug)]
pub(crate) struct Tail {
    paths: Paths,
    path: PathBuf,
    file: File,
    /// Device and inode.
    identity: (u64, u64),
}

impl Tail {
    pub(crate) fn open(paths: &Paths) -> io::Result<Self> {
        let path = paths.tail();
        let file = when_there_is_room(|| OpenOptions::new().append(true).open(&path))?;
        let metadata = file.metadata()?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Self { paths: paths.clone(), path, file, identity })
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self { paths, path, file, .. } = self;
        paths.step(Step::AppendTail, path, || file.write_all(bytes))
    }

    /// Makes durable what was appended, in the file that is still found under its name: a tail that
    /// somebody deleted or replaced would take entries that nobody ever reads.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.paths.step(Step::SyncTail, &self.path, || {
            self.file.sync_data()?;
            let there = fs::metadata(&self.path)?;
            if (there.dev(), there.ino()) == self.identity {
                Ok(())
            } else {
                Err(io::ErrorKind::NotFound.into())
            }
        })
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

/// What a file in the log's folder can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    Tail,
    Checkpoint,
    Bundle { tile: u64 },
    Hashes { level: u32, tile: u64 },
}

impl Piece {
    /// By the path within the folder; `None` if the log names no file so.
    pub(crate) fn of(inner: &Path) -> Option<Self> {
        let text = inner.to_str()?;
        match text {
            TAIL => return Some(Self::Tail),
            CHECKPOINT => return Some(Self::Checkpoint),
            _ => {}
        }
        let (kind, name) = text.strip_prefix(TILES)?.strip_prefix('/')?.split_once('/')?;
        let tile = name.split('/').try_fold(0_u64, |number, part| {
            let digits: u64 = part.strip_prefix('x').unwrap_or(part).parse().ok()?;
            number.checked_mul(1_000)?.checked_add(digits)
        })?;
        if tile_name(tile) != name {
            return None;
        }
        if kind == ENTRIES {
            return Some(Self::Bundle { tile });
        }
        let level: u32 = kind.parse().ok()?;
        (level.to_string() == kind).then_some(Self::Hashes { level, tile })
    }

    /// Whether a log of this many full tiles has it.
    pub(crate) fn is_within(self, tiles: u64) -> bool {
        match self {
            Self::Tail | Self::Checkpoint => true,
            Self::Bundle { tile } => tile < tiles,
            Self::Hashes { level, tile } => {
                tile < tiles.checked_shr(TILE_HEIGHT * level).unwrap_or(0)
            }
        }
    }
}

/// Whether a log has a folder of this path within its own.
pub(crate) fn is_folder(inner: &Path) -> bool {
    let Some(text) = inner.to_str() else { return false };
    let mut parts = text.split('/');
    if parts.next() != Some(TILES) {
        return false;
    }
    let is_kind = |part: &str| {
        part == ENTRIES || part.parse::<u32>().is_ok_and(|level| level.to_string() == part)
    };
    let is_thousands = |part: &str| {
        part.strip_prefix('x')
            .is_some_and(|digits| digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    parts.next().is_none_or(is_kind) && parts.all(is_thousands)
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

/// Whether this is what a crash leaves behind the last entry: less than an entry, or a stretch that
/// was given to the file and never written. An entry is never empty.
pub(crate) fn is_torn(rest: &[u8]) -> bool {
    unframe(rest).is_none() || rest.iter().all(|byte| *byte == 0)
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
    use std::cell::Cell;

    #[test]
    fn a_lack_of_descriptors_is_waited_out_and_nothing_else_is() {
        for code in CROWDED {
            let tries = Cell::new(0);
            let opened = when_there_is_room(|| {
                tries.set(tries.get() + 1);
                if tries.get() < 3 { Err(io::Error::from_raw_os_error(code)) } else { Ok(7) }
            });
            assert_eq!((opened.unwrap(), tries.get()), (7, 3));
        }
        let full = when_there_is_room(|| Err::<(), _>(io::ErrorKind::StorageFull.into()));
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    /// The examples of c2sp.org/tlog-tiles.
    #[test]
    fn tiles_are_named_by_the_specification() {
        assert_eq!(tile_name(0), "000");
        assert_eq!(tile_name(999), "999");
        assert_eq!(tile_name(1_000), "x001/000");
        assert_eq!(tile_name(1_234_067), "x001/x234/067");
        for tile in [0, 999, 1_000, 1_234_067] {
            let name = format!("tile/entries/{}", tile_name(tile));
            assert_eq!(Piece::of(Path::new(&name)), Some(Piece::Bundle { tile }));
            let name = format!("tile/1/{}", tile_name(tile));
            assert_eq!(Piece::of(Path::new(&name)), Some(Piece::Hashes { level: 1, tile }));
        }
    }

    #[test]
    fn other_names_are_nothing_of_the_log() {
        for name in [
            "tail2",
            "tile/000",
            "tile/entries/0",
            "tile/entries/0000",
            "tile/entries/x000/000",
            "tile/entries/000.p/3",
            "tile/00/000",
            "tile/+1/000",
            "tile/1/+00",
            "tile/x/000",
            "x/tail",
        ] {
            assert_eq!(Piece::of(Path::new(name)), None, "{name}");
        }
    }
}
