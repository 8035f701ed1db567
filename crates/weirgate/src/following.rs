//! Files that are read again, without a restart, when they have changed.

use std::{os::unix::fs::MetadataExt as _, path::Path, time::Duration};
use tokio::sync::watch;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is made of files.
pub(crate) trait Followed {
    fn paths(&self) -> Vec<&Path>;

    /// Reads them and takes what they say, or leaves everything as it was; and logs which.
    fn reload(&self);
}

/// What changes when a file's content does, or another takes its place: device, inode, length, and
/// the time of the last change.
type Stamp = (u64, u64, u64, i64, i64);

/// Files as they were at one look; `None` while one of them is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen(Option<Vec<Stamp>>);

impl Seen {
    pub(crate) fn of(paths: &[&Path]) -> Self {
        let of = |path: &&Path| {
            let facts = std::fs::metadata(path).ok()?;
            Some((facts.dev(), facts.ino(), facts.len(), facts.ctime(), facts.ctime_nsec()))
        };
        Self(paths.iter().map(of).collect())
    }
}

/// Looks at files every second.
#[derive(Debug)]
pub(crate) struct Follower<F> {
    followed: F,
    /// As they were when they were last loaded, or tried.
    tried: Seen,
    /// At the last look. Files that are still being written are not read.
    seen: Seen,
}

impl<F: Followed> Follower<F> {
    /// `seen` before the files were loaded, so that no change is missed.
    pub(crate) fn new(followed: F, seen: Seen) -> Self {
        Self { followed, tried: seen.clone(), seen }
    }

    /// Looks until told to stop.
    pub(crate) async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            // Both are cancel-safe.
            tokio::select! {
                _ = stopped.changed() => return,
                _ = ticks.tick() => self.look(),
            }
        }
    }

    /// Loads what has changed and lain still since the last look.
    fn look(&mut self) {
        let now = Seen::of(&self.followed.paths());
        let has_settled = now == self.seen;
        self.seen = now.clone();
        if now.0.is_some() && now != self.tried && has_settled {
            self.tried = now;
            self.followed.reload();
        }
    }
}
