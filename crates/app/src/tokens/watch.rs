//! Leases that nodes left without a word: each is watched before it is taken over.
//!
//! Whoever left it may have died, or may hold what the provider gave and wait for the store. So it is
//! watched, by the watcher's own measure of time because clocks differ, for longer than a conversation
//! takes, and without a gap: after the store was away, whoever has something to write goes first.

use std::{collections::HashMap, time::Duration};
use store::LeftLease;
use types::{Connection, Id};

/// Longer than the longest conversation, and the writing of what came of it.
const WATCH: Duration = Duration::from_secs(70);
/// Two looks that are further apart are a gap.
const GAP: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Watched {
    left: LeftLease,
    since: Duration,
    seen: Duration,
}

/// What one node watches. Times are since any moment of its own.
#[derive(Debug, Default)]
pub(super) struct Watches(HashMap<Id<Connection>, Watched>);

impl Watches {
    /// What this node may take over, if anything.
    pub(super) fn over(&self, connection: Id<Connection>) -> Option<LeftLease> {
        let watched = self.0.get(&connection)?;
        (watched.seen.saturating_sub(watched.since) >= WATCH).then(|| watched.left.clone())
    }

    /// It was seen as it is.
    pub(super) fn see(&mut self, connection: Id<Connection>, left: LeftLease, at: Duration) {
        let begin = || Watched { left: left.clone(), since: at, seen: at };
        let watched = self.0.entry(connection).or_insert_with(begin);
        if watched.left != left || at.saturating_sub(watched.seen) > GAP {
            *watched = begin();
        }
        watched.seen = at;
    }

    pub(super) fn forget(&mut self, connection: Id<Connection>) {
        self.0.remove(&connection);
    }
}
