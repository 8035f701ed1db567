//! The files of a log: names by C2SP tlog-tiles, writes that are whole or not there.

use crate::tree::Hash;
use std::{
    fmt,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
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

/// Which file or folder it is, whatever its name: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }

    /// Of what lies at this path, with its length; `None` if nothing does.
    pub(crate) fn at(path: &Path) -> io::Result<Option<(Self, u64)>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some((Self::of(&metadata), metadata.len()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Somebody else is at work in the folder. No later append may be taken.
pub(crate) fn changed_behind_our_back(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, what)
}

/// The open file of the tile that is not full.
#[derive(Debug)]
pub(crate) struct Tail {
    paths: Paths,
    path: PathBuf,
    file: File,
    identity: Identity,
    /// What was written to it.
    length: u64,
}

impl Tail {
    /// Opens the tail that was just put in place with this length.
    fn open(paths: &Paths, length: u64) -> io::Result<Self> {
        let path = paths.tail();
        let file = when_there_is_room(|| OpenOptions::new().read(true).append(true).open(&path))?;
        let identity = Identity::of(&file.metadata()?);
        Ok(Self { paths: paths.clone(), path, file, identity, length })
    }

    /// Puts a tail in place, durably, and opens it.
    pub(crate) fn put(paths: &Paths, bytes: &[u8]) -> io::Result<Self> {
        paths.put(&paths.tail(), bytes)?;
        Self::open(paths, bytes.len() as u64)
    }

    /// Appends to what was written, and to nothing else: behind a tail that somebody cut or
    /// lengthened, entries would be lost at the next start.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self { paths, path, file, length, .. } = self;
        paths.step(Step::AppendTail, path, || {
            if file.metadata()?.len() != *length {
                return Err(changed_behind_our_back("the log's tail was cut or lengthened"));
            }
            file.write_all(bytes)
        })?;
        *length += bytes.len() as u64;
        Ok(())
    }

    /// Makes durable what was appended, in the file that is still found under its name: a tail that
    /// somebody deleted or replaced would take entries that nobody ever reads.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.paths.step(Step::SyncTail, &self.path, || self.file.sync_data())?;
        self.check()
    }

    /// Puts a tail that was deleted or replaced in its place again, as it was written: whoever did
    /// that is at work in the folder, and is no reason to lose what was acknowledged.
    pub(crate) fn put_back(&self) -> io::Result<()> {
        match Identity::at(&self.path)? {
            Some((identity, _)) if identity == self.identity => return Ok(()),
            _ => {}
        }
        let mut bytes = vec![0; usize::try_from(self.length).map_err(|_| io::ErrorKind::Other)?];
        self.file.read_exact_at(&mut bytes, 0)?;
        self.paths.put(&self.path, &bytes)
    }

    /// Whether the file is in its place and as long as it was written.
    pub(crate) fn check(&self) -> io::Result<()> {
        match Identity::at(&self.path)? {
            Some((identity, length)) if identity == self.identity => {
                if length == self.length {
                    Ok(())
                } else {
                    Err(changed_behind_our_back("the log's tail was cut or lengthened"))
                }
            }
            _ => Err(changed_behind_our_back("the log's tail was deleted or replaced")),
        }
    }
}

/// Bytes of a seal: HMAC-SHA-256.
pub(crate) const SEAL: usize = 32;

/// Puts a seal behind the entries of a group. Entries are never empty, so that a length of zero
/// tells it from them.
pub(crate) fn frame_seal(seal: &[u8; SEAL], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(seal);
}

/// What a tail's bytes say. Which of its entries count is for the reader: those that a checkpoint
/// signs, and those before a seal.
#[derive(Debug, Default)]
pub(crate) struct TailView<'a> {
    /// The index of the first entry.
    pub(crate) start: u64,
    /// Entries, each with where it ends in the file.
    pub(crate) entries: Vec<(&'a [u8], u64)>,
    pub(crate) seals: Vec<Seal<'a>>,
    pub(crate) length: u64,
}

/// Vouches for everything before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seal<'a> {
    /// How many of the tail's entries stand before it.
    pub(crate) count: usize,
    pub(crate) tag: &'a [u8; SEAL],
    /// Where it ends in the file.
    pub(crate) end: u64,
}

impl<'a> TailView<'a> {
    /// Reads up to where a crash tore the file; `None` for what has not even a head.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_first_chunk::<TAIL_HEAD>()?;
        let mut view = Self {
            start: u64::from_be_bytes(*head),
            length: bytes.len() as u64,
            ..Self::default()
        };
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            match usize::from(u16::from_be_bytes(*length)) {
                0 => {
                    let Some((seal, after)) = after.split_first_chunk::<SEAL>() else { break };
                    // A stretch that was given to the file and never written.
                    if rest.iter().all(|byte| *byte == 0) {
                        break;
                    }
                    let end = (bytes.len() - after.len()) as u64;
                    view.seals.push(Seal { count: view.entries.len(), tag: seal, end });
                    rest = after;
                }
                length => {
                    let Some((entry, after)) = after.split_at_checked(length) else { break };
                    view.entries.push((entry, (bytes.len() - after.len()) as u64));
                    rest = after;
                }
            }
        }
        Some(view)
    }

    /// Where the first `count` entries end in the file.
    pub(crate) fn end_of(&self, count: usize) -> u64 {
        let last = count.checked_sub(1).and_then(|last| self.entries.get(last));
        last.map_or(TAIL_HEAD as u64, |(_, end)| *end)
    }

    /// Of a log whose checkpoint signs `signed` entries: how many of these entries count, and where
    /// they end with their seal, if every seal beyond the checkpoint up to the first that `is_broken`
    /// holds.
    pub(crate) fn taken(
        &self,
        signed: u64,
        mut is_broken: impl FnMut(&Seal<'a>) -> bool,
    ) -> (usize, u64) {
        let below = usize::try_from(signed.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let count = below.min(self.entries.len());
        let mut taken = (count, self.end_of(count));
        for seal in &self.seals {
            if seal.count >= below && is_broken(seal) {
                break;
            }
            if seal.count >= taken.0 {
                taken = (seal.count, seal.end);
            }
        }
        taken
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

/// An entry with its length before it, as in C2SP bundles and in `tail`.
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
