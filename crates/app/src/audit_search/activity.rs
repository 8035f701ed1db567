//! What a filter's entries amount to, and what of it is unusual by rules that are said.

use super::{
    Filter, Row,
    filter::{About, kind_of},
    walk,
};
use crate::{audit_log::Record, error::Error, folder::DataFolder};
use std::{collections::BTreeMap, time::Duration};
use types::Timestamp;

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
    let mut profiles: BTreeMap<(bool, String), Profile> = BTreeMap::new();
    found.is_cut = walk(folder, &filter, None, |(_, at, row)| {
        found.looked_at += 1;
        found.back_to = Some(found.back_to.map_or(at, |known| known.min(at)));
        if let Some(row) = row.filter(|row| filter.matches(row)) {
            found.count += 1;
            found.last = found.last.max(Some(row.record.at()));
            let earliest = found.first.unwrap_or(Timestamp::MAX);
            found.first = Some(earliest.min(row.record.at()));
            counted.count(&row);
            if let Some(who) = actor_of(&row)
                && (profiles.len() < APART || profiles.contains_key(&who))
            {
                profiles.entry(who).or_default().saw(row.record.at(), until);
            }
        }
        found.looked_at < COUNTED
    })?;
    // Of a period that begins later, or a log that does, no day before it is known.
    let known_from = found.back_to.unwrap_or(until).max(filter.from.unwrap_or(since));
    let days =
        usize::try_from(until.as_micros().saturating_sub(known_from.as_micros()) / DAY_MICROS - 1);
    let days = days.unwrap_or(0);
    for ((is_key, who), profile) in &profiles {
        let said = profile.unusual(days).into_iter();
        found.unusual.extend(said.map(|(rule, numbers)| Unusual {
            who: who.clone(),
            is_key: *is_key,
            rule,
            numbers,
        }));
    }
    found.groups = counted.groups();
    Ok(found)
}

fn actor_of(row: &Row) -> Option<(bool, String)> {
    match &row.record {
        Record::Intent(one) => Some((true, one.key.to_string())),
        Record::Refused(one) => Some((true, one.key.to_string())),
        Record::Changed(one) => Some((false, one.actor.clone())),
        _ => None,
    }
}

#[derive(Default)]
struct Counted(BTreeMap<&'static str, BTreeMap<String, Tally>>);

impl Counted {
    fn count(&mut self, row: &Row) {
        let about = About::of(row);
        let at = row.record.at();
        self.put("kind", kind_of(&row.record).to_owned(), at);
        let parts = [
            ("actor", about.actor.map(ToOwned::to_owned)),
            ("client", about.client.map(|id| id.to_string())),
            ("key", about.key.map(|id| id.to_string())),
            ("provider", about.provider.map(|id| id.to_string())),
            ("object", about.object.map(ToOwned::to_owned)),
            ("verb", about.verb.map(ToOwned::to_owned)),
            ("outcome", outcome_of(row)),
        ];
        for (name, value) in parts {
            if let Some(value) = value {
                self.put(name, value, at);
            }
        }
        for field in about.fields() {
            self.put("field", field.clone(), at);
        }
    }

    fn put(&mut self, name: &'static str, what: String, at: Timestamp) {
        let group = self.0.entry(name).or_default();
        if group.len() >= APART && !group.contains_key(&what) {
            return;
        }
        let new = || Tally { what: what.clone(), count: 0, first: at, last: at };
        let tally = group.entry(what.clone()).or_insert_with(new);
        tally.count += 1;
        tally.first = tally.first.min(at);
        tally.last = tally.last.max(at);
    }

    fn groups(self) -> Vec<Group> {
        const ORDER: [&str; 9] =
            ["actor", "client", "key", "provider", "object", "field", "verb", "outcome", "kind"];
        let mut all = self.0;
        let groups = ORDER.into_iter().filter_map(|name| Some((name, all.remove(name)?)));
        groups
            .map(|(name, tallies)| {
                let mut rows: Vec<Tally> = tallies.into_values().collect();
                rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.what.cmp(&b.what)));
                let more = rows.len().saturating_sub(LINES);
                rows.truncate(LINES);
                Group { name, rows, more }
            })
            .collect()
    }
}

fn outcome_of(row: &Row) -> Option<String> {
    match (&row.record, row.end.as_ref().map(|end| &end.record)) {
        (Record::Intent(_), Some(Record::Outcome(one))) => {
            Some(one.code.clone().unwrap_or_else(|| one.status.to_string()))
        }
        (Record::Refused(one), _) => Some(one.code.clone()),
        (Record::Unauthenticated(one), _) => Some(one.code.clone()),
        _ => None,
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
}

impl Profile {
    fn saw(&mut self, at: Timestamp, until: Timestamp) {
        let back = until.as_micros().saturating_sub(at.as_micros()).max(0) / DAY_MICROS;
        let hour = at.as_micros().rem_euclid(DAY_MICROS) / HOUR_MICROS;
        *self.by_day.entry(back).or_default() += 1;
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
                profile.saw(Timestamp::from_micros(at), until);
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
