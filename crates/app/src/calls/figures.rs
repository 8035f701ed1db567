//! Calls by the hour, and how long they took.

use std::{collections::BTreeMap, time::Duration};
use types::Timestamp;

const HOUR_MICROS: i64 = 3_600 * 1_000_000;
/// Hours that are shown at once.
const SHOWN: i64 = 24;
/// Hours of which durations are kept.
const TIMED: usize = 26;
/// Hours that are counted: ten years with a call in each. The oldest give way.
const COUNTED: usize = 90_000;

/// The hour that a moment lies in, counted from 1970.
const fn hour_of(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(HOUR_MICROS)
}

const fn begin_of(hour: i64) -> Timestamp {
    Timestamp::from_micros(hour.saturating_mul(HOUR_MICROS))
}

/// The calls that ended within an hour, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hour {
    pub begins_at: Timestamp,
    /// Calls that were let through.
    pub calls: u64,
    /// Of these: not answered as asked.
    pub failed: u64,
    /// Calls that were not let through, whoever made them.
    pub refused: u64,
    /// What 95 of 100 took at most, to a sixteenth.
    pub p95: Option<Duration>,
}

/// The last 24 hours, of which the last one has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// The oldest first, each there whether or not there were calls.
    pub hours: Vec<Hour>,
    pub calls: u64,
    pub failed: u64,
    pub refused: u64,
    pub p95: Option<Duration>,
    /// Entries that are not counted yet: the log is still being read.
    pub is_behind: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    calls: u64,
    failed: u64,
    refused: u64,
}

/// What is kept of hours.
#[derive(Debug, Default)]
pub(crate) struct Hours {
    counts: BTreeMap<i64, Counts>,
    durations: BTreeMap<i64, Durations>,
}

impl Hours {
    /// A call ended; how long it took is unknown of one that was interrupted.
    pub(super) fn ended(&mut self, at: Timestamp, is_failed: bool, took: Option<Duration>) {
        let counts = self.counts(at);
        counts.calls += 1;
        counts.failed += u64::from(is_failed);
        if let Some(took) = took {
            self.durations.entry(hour_of(at)).or_default().count(took);
            if self.durations.len() > TIMED {
                self.durations.pop_first();
            }
        }
    }

    pub(super) fn refused(&mut self, at: Timestamp, count: u64) {
        let counts = self.counts(at);
        counts.refused = counts.refused.saturating_add(count);
    }

    fn counts(&mut self, at: Timestamp) -> &mut Counts {
        let hour = hour_of(at);
        if self.counts.len() >= COUNTED && !self.counts.contains_key(&hour) {
            self.counts.pop_first();
        }
        self.counts.entry(hour).or_default()
    }

    /// Calls since the beginning of the hour of this moment, and that beginning.
    pub(crate) fn calls_since(&self, since: Timestamp) -> (Timestamp, u64) {
        let hour = hour_of(since);
        let calls = self.counts.range(hour..).map(|(_, counts)| counts.calls).sum();
        (begin_of(hour), calls)
    }

    pub(super) fn day(&self, now: Timestamp, is_behind: bool) -> Day {
        let last = hour_of(now);
        let shown = (last - SHOWN + 1)..=last;
        let mut all = Durations::default();
        let hours: Vec<Hour> = shown
            .map(|hour| {
                let Counts { calls, failed, refused } =
                    self.counts.get(&hour).copied().unwrap_or_default();
                let durations = self.durations.get(&hour);
                if let Some(one) = durations {
                    all.add(one);
                }
                let p95 = durations.and_then(Durations::p95);
                Hour { begins_at: begin_of(hour), calls, failed, refused, p95 }
            })
            .collect();
        let sum = |of: fn(&Hour) -> u64| hours.iter().map(of).sum();
        Day {
            calls: sum(|hour| hour.calls),
            failed: sum(|hour| hour.failed),
            refused: sum(|hour| hour.refused),
            p95: all.p95(),
            hours,
            is_behind,
        }
    }
}

/// Durations by size: sixteen buckets for each power of two of microseconds.
#[derive(Debug, Default)]
struct Durations(BTreeMap<u64, u64>);

impl Durations {
    fn count(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        *self.0.entry(bucket_of(micros)).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    fn p95(&self) -> Option<Duration> {
        let all: u64 = self.0.values().sum();
        let wanted = (all * 95).div_ceil(100);
        let mut seen = 0;
        for (bucket, count) in &self.0 {
            seen += count;
            if seen >= wanted {
                return Some(Duration::from_micros(most_in(*bucket)));
            }
        }
        None
    }
}

/// Below sixteen each number has a bucket of its own.
fn bucket_of(micros: u64) -> u64 {
    let Some(shift) = micros.checked_ilog2().and_then(|power| power.checked_sub(4)) else {
        return micros;
    };
    u64::from(shift) * 16 + (micros >> shift)
}

/// The largest number of a bucket.
fn most_in(bucket: u64) -> u64 {
    let Some(shift) = (bucket / 16).checked_sub(1) else { return bucket };
    let first = bucket - shift * 16;
    ((u128::from(first) + 1) << shift).saturating_sub(1).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_no_wider_than_a_sixteenth() {
        let mut last = 0;
        let numbers = (0..70_000).chain((17..64).flat_map(|power| {
            let one = 1_u64 << power;
            [one - 1, one, one + one / 3]
        }));
        for micros in numbers.chain([u64::MAX]) {
            let bucket = bucket_of(micros);
            let most = most_in(bucket);
            assert!(bucket >= last && most >= micros, "{micros}: {bucket} {most}");
            assert!(most - micros <= micros / 16, "{micros}: {most}");
            last = bucket;
        }
    }

    #[test]
    fn hours_are_counted_apart_and_give_way_when_there_are_too_many() {
        let mut hours = Hours::default();
        let at = |hour: i64| Timestamp::from_micros(hour * HOUR_MICROS + 5);
        for hour in 0..i64::try_from(COUNTED).unwrap() + 100 {
            hours.ended(at(hour), hour % 2 == 0, Some(Duration::from_millis(3)));
        }
        hours.ended(at(100), true, None);
        assert_eq!((hours.counts.len(), hours.durations.len()), (COUNTED, TIMED));
        let last = i64::try_from(COUNTED).unwrap() + 99;
        hours.refused(at(last), 7);
        let day = hours.day(at(last), false);
        assert_eq!((day.hours.len(), day.calls, day.failed, day.refused), (24, 24, 12, 7));
        assert_eq!(day.hours.last().unwrap().refused, 7);
        let p95 = day.p95.unwrap();
        assert!(p95 >= Duration::from_millis(3) && p95 < Duration::from_micros(3_200), "{p95:?}");
        assert_eq!(hours.calls_since(at(last - 1)), (begin_of(last - 1), 2));
        // An empty day has a row for each hour all the same.
        let day = Hours::default().day(at(last), true);
        assert_eq!((day.hours.len(), day.calls, day.p95, day.is_behind), (24, 0, None, true));
    }

    #[test]
    fn of_a_hundred_calls_the_five_slowest_do_not_count() {
        let mut hours = Hours::default();
        let at = Timestamp::from_micros(1);
        for n in 1..=100 {
            hours.ended(at, false, Some(Duration::from_millis(if n > 95 { 900 } else { 10 })));
        }
        let p95 = hours.day(at, false).p95.unwrap();
        assert!(p95 >= Duration::from_millis(10) && p95 < Duration::from_millis(11), "{p95:?}");
        hours.ended(at, false, Some(Duration::from_millis(900)));
        assert!(hours.day(at, false).p95.unwrap() >= Duration::from_millis(900));
    }
}
