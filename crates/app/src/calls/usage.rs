//! When something was used last.

use crate::people::sign_in::SIGN_IN;
use audit::{Changed, Intent};
use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    hash::Hash,
};
use types::{Action, Client, Connection, Id, Key, Provider, Timestamp, User};

/// Ways of use, and keys, that are remembered. Those that were used longest ago give way.
const REMEMBERED: usize = 50_000;
/// Keys and connections that are counted, and networks of keys; what comes after is not.
const COUNTED: usize = 500_000;

/// What a call used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Used {
    pub client: Id<Client>,
    pub provider: Id<Provider>,
    pub connection: Id<Connection>,
    pub action: &'static str,
    pub object: Option<String>,
    pub operation: String,
}

/// What is counted, however often it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Counted {
    Key(Id<Key>),
    Connection(Id<Connection>),
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Connection(id) => id.fmt(f),
        }
    }
}

/// How often each was used and when last, and from which networks keys were used first.
pub(crate) type AllCounted = (Vec<(Counted, u64, Timestamp)>, Vec<(Id<Key>, [u8; 8], Timestamp)>);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    counts: HashMap<Counted, (u64, Timestamp)>,
    networks: HashMap<(Id<Key>, [u8; 8]), Timestamp>,
    used: HashMap<Used, Timestamp>,
    keys: HashMap<Id<Key>, Timestamp>,
    /// When somebody signed in, or changed something.
    people: HashMap<Id<User>, Timestamp>,
    /// What was used last by then may be forgotten.
    forgotten_to: Option<Timestamp>,
}

impl Usage {
    pub(super) fn note(&mut self, intent: &Intent) {
        for what in [Counted::Key(intent.key), Counted::Connection(intent.connection)] {
            let has_room = self.counts.len() < COUNTED;
            let known = self.counts.get_mut(&what);
            match known {
                Some((uses, last)) => {
                    *uses += 1;
                    *last = intent.at.max(*last);
                }
                None if has_room => drop(self.counts.insert(what, (1, intent.at))),
                None => {}
            }
        }
        if let Some(network) = intent.network
            && self.networks.len() < COUNTED
        {
            self.networks.entry((intent.key, network)).or_insert(intent.at);
        }
        let used = Used {
            client: intent.client,
            provider: intent.provider,
            connection: intent.connection,
            action: Action::as_str(intent.action),
            object: intent.object.clone(),
            operation: intent.operation.clone(),
        };
        let forgotten = [
            note(&mut self.used, used, intent.at, REMEMBERED),
            note(&mut self.keys, intent.key, intent.at, REMEMBERED),
        ];
        self.forgotten_to = forgotten.into_iter().chain([self.forgotten_to]).max().flatten();
    }

    pub(super) fn note_change(&mut self, changed: &Changed) {
        let came = changed.what.strip_prefix("user ").filter(|_| changed.verb == SIGN_IN);
        let who = came.or_else(|| changed.actor.strip_prefix("user:"));
        let Some(user) = who.and_then(|id| id.parse().ok()) else { return };
        let forgotten = note(&mut self.people, user, changed.at, REMEMBERED);
        self.forgotten_to = forgotten.max(self.forgotten_to);
    }

    /// All that was counted.
    pub(crate) fn counted(&self) -> AllCounted {
        let counts = self.counts.iter().map(|(what, (uses, last))| (*what, *uses, *last));
        let networks = self.networks.iter().map(|((key, network), at)| (*key, *network, *at));
        (counts.collect(), networks.collect())
    }

    /// Who signed in or changed something since then.
    pub(crate) fn people_since(&self, since: Timestamp) -> BTreeSet<Id<User>> {
        self.people.iter().filter(|(_, at)| **at >= since).map(|(user, _)| *user).collect()
    }

    /// From when on it is known what was used.
    pub(crate) fn known_from(&self, since: Timestamp) -> Timestamp {
        self.forgotten_to.map_or(since, |forgotten| since.max(forgotten))
    }

    /// What was used since then.
    pub(crate) fn since(&self, since: Timestamp) -> (BTreeSet<Used>, BTreeSet<Id<Key>>) {
        let used = self.used.iter().filter(|(_, at)| **at >= since).map(|(used, _)| used.clone());
        let keys = self.keys.iter().filter(|(_, at)| **at >= since).map(|(key, _)| *key);
        (used.collect(), keys.collect())
    }
}

/// Notes the last time; where there are too many, the older half is forgotten. Until when that was used,
/// if so.
fn note<K: Eq + Hash>(
    times: &mut HashMap<K, Timestamp>,
    key: K,
    at: Timestamp,
    limit: usize,
) -> Option<Timestamp> {
    let last = times.entry(key).or_insert(at);
    *last = at.max(*last);
    if times.len() <= limit {
        return None;
    }
    let mut all: Vec<Timestamp> = times.values().copied().collect();
    let middle = all.len() / 2;
    let (_, forgotten, _) = all.select_nth_unstable(middle);
    let forgotten = *forgotten;
    times.retain(|_, last| *last > forgotten);
    Some(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_are_forgotten_from_the_oldest_on_and_it_is_known_until_when() {
        let mut times = HashMap::new();
        let at = Timestamp::from_micros;
        for n in 0..10 {
            assert_eq!(note(&mut times, n, at(n), 10), None);
        }
        assert_eq!(note(&mut times, 0, at(20), 10), None);
        assert_eq!(note(&mut times, 10, at(10), 10), Some(at(6)));
        let mut left: Vec<i64> = times.into_keys().collect();
        left.sort_unstable();
        assert_eq!(left, [0, 7, 8, 9, 10]);
        let usage = Usage { forgotten_to: Some(at(6)), ..Usage::default() };
        assert_eq!((usage.known_from(at(3)), usage.known_from(at(8))), (at(6), at(8)));
    }

    /// The clock may be set back: what counts is the latest time that was seen.
    #[test]
    fn the_last_use_does_not_go_back() {
        let mut times = HashMap::new();
        note(&mut times, 1, Timestamp::from_micros(9), 10);
        note(&mut times, 1, Timestamp::from_micros(2), 10);
        assert_eq!(times[&1], Timestamp::from_micros(9));
    }
}
