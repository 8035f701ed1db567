//! Full tiles go to disk beside the writer: each takes some syncs, and nobody needs to wait for them,
//! because the tail holds the same entries until they are done.

use crate::{
    files::{Paths, TILE, frame, join_hashes},
    tree::{Hash, Levels, leaf_hash, tile_root},
};
use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

/// Tiles that may wait; at more, the writer waits for the disk.
const QUEUE: usize = 64;

/// Up to 256 entries.
#[derive(Debug, Default)]
pub(crate) struct FullTile {
    framed: Vec<u8>,
    hashes: Vec<Hash>,
}

impl FullTile {
    /// Takes an entry in, and yields its hash.
    pub(crate) fn push(&mut self, entry: &[u8]) -> Hash {
        frame(entry, &mut self.framed);
        let hash = leaf_hash(entry);
        self.hashes.push(hash);
        hash
    }

    pub(crate) fn is_full(&self) -> bool {
        self.hashes.len() as u64 >= TILE
    }

    pub(crate) fn framed(&self) -> &[u8] {
        &self.framed
    }
}

/// The tiles on disk.
#[derive(Debug)]
pub(crate) struct Tiles {
    paths: Paths,
    count: u64,
    levels: Levels,
}

impl Tiles {
    pub(crate) const fn new(paths: Paths, count: u64, levels: Levels) -> Self {
        Self { paths, count, levels }
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// Writes the next tile: its bundle first, then the hash tiles that follow from it.
    pub(crate) fn write(&mut self, tile: &FullTile) -> io::Result<()> {
        let Self { paths, count, levels } = self;
        paths.put(&paths.bundle(*count), &tile.framed)?;
        paths.put(&paths.hashes(0, *count), &join_hashes(&tile.hashes))?;
        *count += 1;
        levels.push(tile_root(&tile.hashes), *count, |level, tile, hashes| {
            paths.put(&paths.hashes(level, tile), &join_hashes(hashes))
        })
    }
}

/// What both threads know.
#[derive(Debug)]
struct Progress {
    count: AtomicU64,
    failed: OnceLock<io::ErrorKind>,
}

/// The thread that writes tiles.
#[derive(Debug)]
pub(crate) struct Tiler {
    queue: Option<SyncSender<Arc<FullTile>>>,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

impl Tiler {
    pub(crate) fn start(tiles: Tiles) -> io::Result<Self> {
        let (queue, received) = sync_channel(QUEUE);
        let progress =
            Arc::new(Progress { count: AtomicU64::new(tiles.count), failed: OnceLock::new() });
        let told = Arc::clone(&progress);
        let thread = std::thread::Builder::new()
            .name("audit-tiles".into())
            .spawn(move || run(tiles, &received, &told))?;
        Ok(Self { queue: Some(queue), progress, thread: Some(thread) })
    }

    /// Hands over the next full tile.
    ///
    /// # Errors
    /// If an earlier tile could not be written.
    pub(crate) fn write(&self, tile: Arc<FullTile>) -> io::Result<()> {
        self.check()?;
        let queue = self.queue.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        queue.send(tile).map_err(|_| self.check().err().unwrap_or(io::ErrorKind::BrokenPipe.into()))
    }

    pub(crate) fn check(&self) -> io::Result<()> {
        self.progress.failed.get().map_or(Ok(()), |kind| Err((*kind).into()))
    }

    /// Tiles on disk.
    pub(crate) fn count(&self) -> u64 {
        self.progress.count.load(Ordering::SeqCst)
    }

    /// Waits for all tiles. No more are taken afterwards.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| io::ErrorKind::Other)?;
        }
        self.check()
    }
}

impl Drop for Tiler {
    /// The thread does not outlive the writer: who opens the log anew finds it alone.
    fn drop(&mut self) {
        // What failed has been told already.
        let _ = self.finish();
    }
}

fn run(mut tiles: Tiles, received: &Receiver<Arc<FullTile>>, progress: &Progress) {
    for tile in received {
        if let Err(error) = tiles.write(&tile) {
            tracing::error!(%error, "audit tile not written");
            progress.failed.get_or_init(|| error.kind());
            return;
        }
        progress.count.store(tiles.count, Ordering::SeqCst);
    }
}
