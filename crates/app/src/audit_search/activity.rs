//! What a filter's entries amount to, and what of it is unusual by rules that are said.

use super::{
    Filter, Row,
    filter::{About, kind_of},
    walk,
};
use crate::{audit_log::Record, error::Error, folder::DataFolder};
use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap},
    fmt,
    hash::Hash,
    time::Duration,
};
use types::{Client, Id, Key, Provider, Timestamp};

/// Entries that are counted.
pub const COUNTED: u64 = 200_000;
/// How far back is counted where the filter does not say.
const BACK: Duration = Duration::from_hours(28 * 24);
/// Lines of one table.
const LINES: usize = 20;
/// Different things that are told apart in one table; what comes later is counted together.
const APART: usize = 10_000;
const DAY_MICROS: i64 = 86_400_000_000;
const HOUR_MICROS: i64 = 3_600_000_000;
/// What an actor must have done in a day before its volume can be unusual, and by how much more than
/// its median.
const LEAST_VOLUME: u64 = 20;
const TIMES_MEDIAN: u64 = 3;
/// What must be known of an actor before a rule says anything.
const LEAST_DAYS: usize = 3;
const LEAST_BEFORE: u64 = 20;

/// How often one thing stands in what was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    pub what: String,
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
}

/// Things of one sort, the most frequent first.
#[derive(Debug)]
pub struct Group {
    /// As the part of a filter is called; `field` for what was withheld.
    pub name: &'static str,
    pub rows: Vec<Tally>,
    /// Things that have no line of their own.
    pub more: usize,
}

/// What is unusual of an actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusual {
    /// A key, or who changes something.
    pub who: String,
    pub is_key: bool,
    pub rule: &'static str,
    /// The numbers that led to it, in words.
    pub numbers: String,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Activity {
    pub looked_at: u64,
    /// The oldest entry that was looked at.
    pub back_to: Option<Timestamp>,
    /// The bound was met before all of the period was.
    pub is_cut: bool,
    pub count: u64,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    pub groups: Vec<Group>,
    pub unusual: Vec<Unusual>,
}

const VOLUME: &str = "More than three times the median of the days before, and at least 20";
const NETWORK: &str = "From a network from which it was never seen on the days before";
/// Networks of one actor that are told apart.
const NETWORKS: usize = 1_000;
const HOUR: &str = "In an hour of the day (UTC) in which it was never seen on the days before";

/// Counts what the filter wants, back to its beginning or four weeks, and no more than so many
/// entries.
pub fn activity(folder: &DataFolder, filter: &Filter, now: Timestamp) -> Result<Activity, Error> {
    let mut filter = filter.clone();
    let back = i64::try_from(BACK.as_micros()).unwrap_or(i64::MAX);
    let until = filter.to.unwrap_or(now).min(now + Duration::from_mins(1));
    let since = Timestamp::from_micros(until.as_micros().saturating_sub(back).max(0));
    filter.from = Some(filter.from.unwrap_or(since));
    let mut found = Activity::default();
    let mut counted = Counted::default();
    let mut profiles = Profiles::default();
    found.is_cut = walk(folder, &filter, None, |(_, at, row)| {
        found.looked_at += 1;
        found.back_to = Some(found.back_to.map_or(at, |known| known.min(at)));
        if let Some(row) = row.filter(|row| filter.matches(row)) {
            found.count += 1;
            found.last = found.last.max(Some(row.record.at()));
            let earliest = found.first.unwrap_or(Timestamp::MAX);
            found.first = Some(earliest.min(row.record.at()));
            counted.count(&row);
            profiles.saw(&row, until);
        }
        found.looked_at < COUNTED
    })?;
    // Of a period that begins later, or a log that does, no day before it is known.
    let known_from = found.back_to.unwrap_or(until).max(filter.from.unwrap_or(since));
    let days =
        usize::try_from(until.as_micros().saturating_sub(known_from.as_micros()) / DAY_MICROS - 1);
    let days = days.unwrap_or(0);
    found.unusual = profiles.unusual(days);
    found.groups = counted.groups();
    Ok(found)
}

#[derive(Default)]
struct Counted {
    kinds: Counts<&'static str>,
    actors: Counts<String>,
    clients: Counts<Id<Client>>,
    keys: Counts<Id<Key>>,
    providers: Counts<Id<Provider>>,
    objects: Counts<String>,
    verbs: Counts<String>,
    statuses: Counts<u16>,
    codes: Counts<String>,
    fields: Counts<String>,
    networks: Counts<Network>,
}

/// As the log has it: a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Network([u8; 8]);

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn network_of(row: &Row) -> Option<Network> {
    match &row.record {
        Record::Intent(one) => one.network.map(Network),
        _ => None,
    }
}

impl Counted {
    fn count(&mut self, row: &Row) {
        let about = About::of(row);
        let at = row.record.at();
        self.kinds.put(Some(&kind_of(&row.record)), at);
        self.actors.put(about.actor, at);
        self.clients.put(about.client.as_ref(), at);
        self.keys.put(about.key.as_ref(), at);
        self.providers.put(about.provider.as_ref(), at);
        self.objects.put(about.object, at);
        self.verbs.put(about.verb, at);
        match outcome_of(row) {
            Some(Outcome::Status(status)) => self.statuses.put(Some(&status), at),
            Some(Outcome::Code(code)) => self.codes.put(Some(code), at),
            None => {}
        }
        self.networks.put(network_of(row).as_ref(), at);
        for field in about.fields() {
            self.fields.put(Some(field.as_str()), at);
        }
    }

    fn groups(self) -> Vec<Group> {
        let mut outcomes = self.statuses.tallies();
        outcomes.extend(self.codes.tallies());
        let groups = [
            ("actor", self.actors.tallies()),
            ("client", self.clients.tallies()),
            ("key", self.keys.tallies()),
            ("provider", self.providers.tallies()),
            ("object", self.objects.tallies()),
            ("field", self.fields.tallies()),
            ("network", self.networks.tallies()),
            ("verb", self.verbs.tallies()),
            ("outcome", outcomes),
            ("kind", self.kinds.tallies()),
        ];
        let groups = groups.into_iter().filter(|(_, rows)| !rows.is_empty());
        groups
            .map(|(name, mut rows)| {
                rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.what.cmp(&b.what)));
                let more = rows.len().saturating_sub(LINES);
                rows.truncate(LINES);
                Group { name, rows, more }
            })
            .collect()
    }
}

/// How often each thing of one sort was seen: most of them again and again.
struct Counts<K>(HashMap<K, (u64, Timestamp, Timestamp)>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + fmt::Display> Counts<K> {
    fn put<Q>(&mut self, what: Option<&Q>, at: Timestamp)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let Some(what) = what else { return };
        if let Some((count, first, last)) = self.0.get_mut(what) {
            *count += 1;
            *first = (*first).min(at);
            *last = (*last).max(at);
        } else if self.0.len() < APART {
            self.0.insert(what.to_owned(), (1, at, at));
        }
    }

    fn tallies(self) -> Vec<Tally> {
        let tally = |(what, (count, first, last)): (K, _)| Tally {
            what: what.to_string(),
            count,
            first,
            last,
        };
        self.0.into_iter().map(tally).collect()
    }
}

/// How something ended.
enum Outcome<'r> {
    Status(u16),
    Code(&'r str),
}

fn outcome_of(row: &Row) -> Option<Outcome<'_>> {
    match (&row.record, row.end.as_ref().map(|end| &end.record)) {
        (Record::Intent(_), Some(Record::Outcome(one))) => {
            Some(one.code.as_deref().map_or(Outcome::Status(one.status), Outcome::Code))
        }
        (Record::Refused(one), _) => Some(Outcome::Code(&one.code)),
        (Record::Unauthenticated(one), _) => Some(Outcome::Code(&one.code)),
        _ => None,
    }
}

/// When each actor was seen.
#[derive(Debug, Default)]
struct Profiles {
    keys: HashMap<Id<Key>, Profile>,
    actors: HashMap<String, Profile>,
}

impl Profiles {
    fn saw(&mut self, row: &Row, until: Timestamp) {
        let at = row.record.at();
        match &row.record {
            Record::Intent(one) => {
                saw(&mut self.keys, &one.key, (at, network_of(row)), until);
            }
            Record::Refused(one) => saw(&mut self.keys, &one.key, (at, None), until),
            Record::Changed(one) => {
                saw(&mut self.actors, one.actor.as_str(), (at, None), until);
            }
            _ => {}
        }
    }

    /// People and programs of here before keys, each by its name.
    fn unusual(&self, days: usize) -> Vec<Unusual> {
        let keys = self.keys.iter().map(|(id, profile)| (true, id.to_string(), profile));
        let actors = self.actors.iter().map(|(who, profile)| (false, who.clone(), profile));
        let mut all: Vec<(bool, String, &Profile)> = keys.chain(actors).collect();
        all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let said = all.into_iter().flat_map(|(is_key, who, profile)| {
            let said = profile.unusual(days).into_iter();
            said.map(move |(rule, numbers)| Unusual { who: who.clone(), is_key, rule, numbers })
        });
        said.collect()
    }
}

fn saw<K, Q>(
    profiles: &mut HashMap<K, Profile>,
    who: &Q,
    seen: (Timestamp, Option<Network>),
    until: Timestamp,
) where
    K: Hash + Eq + Borrow<Q>,
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
{
    if let Some(profile) = profiles.get_mut(who) {
        profile.saw(seen, until);
    } else if profiles.len() < APART {
        profiles.entry(who.to_owned()).or_default().saw(seen, until);
    }
}

/// When an actor was seen.
#[derive(Debug, Default)]
struct Profile {
    last_day: u64,
    before: u64,
    /// By how many days they lie back; the last day is 0.
    by_day: BTreeMap<i64, u64>,
    hours_of_last_day: BTreeMap<i64, u64>,
    hours_before: [u64; 24],
    /// How often on the last day, and before.
    networks: BTreeMap<Network, (u64, u64)>,
}

impl Profile {
    fn saw(&mut self, (at, network): (Timestamp, Option<Network>), until: Timestamp) {
        let back = until.as_micros().saturating_sub(at.as_micros()).max(0) / DAY_MICROS;
        let hour = at.as_micros().rem_euclid(DAY_MICROS) / HOUR_MICROS;
        *self.by_day.entry(back).or_default() += 1;
        if let Some(network) = network
            && (self.networks.len() < NETWORKS || self.networks.contains_key(&network))
        {
            let (last, before) = self.networks.entry(network).or_default();
            *(if back == 0 { last } else { before }) += 1;
        }
        if back == 0 {
            self.last_day += 1;
            *self.hours_of_last_day.entry(hour).or_default() += 1;
        } else {
            self.before += 1;
            let place = usize::try_from(hour).unwrap_or(0);
            if let Some(count) = self.hours_before.get_mut(place) {
                *count += 1;
            }
        }
    }

    /// `days` are known before the last one.
    fn unusual(&self, days: usize) -> Vec<(&'static str, String)> {
        let mut said = Vec::new();
        if days < LEAST_DAYS {
            return said;
        }
        let day = |back: usize| {
            let back = i64::try_from(back).unwrap_or(i64::MAX);
            self.by_day.get(&back).copied().unwrap_or(0)
        };
        let mut volumes: Vec<u64> = (1..=days).map(day).collect();
        volumes.sort_unstable();
        let median = volumes.get(volumes.len() / 2).copied().unwrap_or(0);
        if self.last_day >= LEAST_VOLUME && self.last_day > TIMES_MEDIAN * median {
            let numbers = format!(
                "{} in the last 24 hours; the median of the {days} days before is {median} a day",
                self.last_day
            );
            said.push((VOLUME, numbers));
        }
        let days_seen = self.by_day.keys().filter(|back| **back > 0).count();
        if self.before >= LEAST_BEFORE && days_seen >= LEAST_DAYS {
            let is_new = |hour: i64| {
                let place = usize::try_from(hour).unwrap_or(0);
                self.hours_before.get(place).is_some_and(|count| *count == 0)
            };
            let new = self.hours_of_last_day.iter().filter(|(hour, _)| is_new(**hour));
            let hours: Vec<String> =
                new.map(|(hour, count)| format!("{count} from {hour:02}:00 on")).collect();
            if !hours.is_empty() {
                let numbers = format!(
                    "{}; none then among {} on {days_seen} days before",
                    hours.join(", "),
                    self.before
                );
                said.push((HOUR, numbers));
            }
            let mut known = 0;
            let mut new = Vec::new();
            for (network, (last, before)) in &self.networks {
                known += u64::from(*before > 0);
                if *before == 0 && *last > 0 {
                    new.push(format!("{last} from {network}"));
                }
            }
            // Where the log knows no networks of before, none is new.
            if known > 0 && !new.is_empty() {
                let numbers = format!("{}; {known} others are known", new.join(", "));
                said.push((NETWORK, numbers));
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(counts: &[(i64, i64, u64)]) -> Profile {
        let until = Timestamp::from_micros(1_000 * DAY_MICROS);
        let mut profile = Profile::default();
        for (back, hour, count) in counts {
            let at = until.as_micros() - (back + 1) * DAY_MICROS + hour * HOUR_MICROS + 1;
            for _ in 0..*count {
                profile.saw((Timestamp::from_micros(at), None), until);
            }
        }
        profile
    }

    #[test]
    fn a_day_is_compared_with_the_median_of_the_days_before() {
        let before = [(1, 9, 10), (2, 9, 10), (3, 9, 11), (4, 9, 100)];
        let with = |last: u64| profile(&[&before[..], &[(0, 9, last)]].concat()).unusual(4);
        assert!(with(33).is_empty(), "three times the median is none too many");
        let said = with(34);
        assert_eq!(said[0].0, VOLUME);
        let numbers = "34 in the last 24 hours; the median of the 4 days before is 11 a day";
        assert_eq!(said[0].1, numbers);
        // A few of what never was are nothing, and nothing is said of what is hardly known.
        assert!(profile(&[(0, 9, 19)]).unusual(10).is_empty());
        assert_eq!(profile(&[(0, 9, 20)]).unusual(10)[0].0, VOLUME);
        assert!(profile(&[(0, 9, 500)]).unusual(2).is_empty());
    }

    #[test]
    fn a_network_is_unusual_that_was_never_seen_before() {
        let before = [(1, 9, 10), (2, 9, 10), (3, 9, 10)];
        let with = |seen: &[(i64, u8)]| {
            let mut profile = profile(&before);
            let until = Timestamp::from_micros(1_000 * DAY_MICROS);
            for (back, network) in seen {
                let at = until.as_micros() - (back + 1) * DAY_MICROS + 9 * HOUR_MICROS;
                let network = Some(Network([*network; 8]));
                profile.saw((Timestamp::from_micros(at), network), until);
            }
            profile.unusual(5)
        };
        assert!(with(&[(1, 1), (0, 1)]).is_empty());
        assert!(with(&[(0, 1)]).is_empty(), "nothing is known of networks before");
        let said = with(&[(1, 1), (0, 1), (0, 2), (0, 2)]);
        assert_eq!(said[0].0, NETWORK);
        assert_eq!(said[0].1, "2 from 0202020202020202; 1 others are known");
    }

    #[test]
    fn an_hour_is_unusual_that_was_never_seen_before() {
        let before = [(1, 9, 10), (2, 10, 10), (3, 9, 10)];
        let with = |hour: i64| profile(&[&before[..], &[(0, hour, 2)]].concat()).unusual(5);
        assert!(with(9).is_empty() && with(10).is_empty());
        let said = with(3);
        assert_eq!(said[0].0, HOUR);
        assert_eq!(said[0].1, "2 from 03:00 on; none then among 30 on 3 days before");
        // On two days alone, or with too few, one does not know somebody's hours.
        assert!(profile(&[(1, 9, 15), (2, 9, 15), (0, 3, 2)]).unusual(5).is_empty());
        assert!(profile(&[(1, 9, 6), (2, 9, 6), (3, 9, 6), (0, 3, 2)]).unusual(5).is_empty());
    }
}
