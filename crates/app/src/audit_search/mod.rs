//! Looking for entries of the audit log: by a filter, from the newest to the oldest, so far and no
//! further at once.
//!
//! A call is one row: its intent, with how it ended. What proves that entries are what was signed is of
//! [`crate::audit_log`]; here nothing is proven.

mod activity;
mod filter;

pub use activity::{Activity, COUNTED, Group, Tally, Unusual, activity};
pub use filter::{Filter, FilterProblem, KINDS, MAX_TEXT_CHARS, Names, PARTS, Who};

use crate::{
    audit_log::{self, Record},
    error::Error,
    folder::DataFolder,
    instance::Instance,
    people::users,
    seals,
};
use std::{collections::HashMap, ops::Range, time::Duration};
use types::{Id, Request, Timestamp};

/// Entries that are looked at for one page.
pub const SEARCHED: u64 = 20_000;
/// How far after a page ends of its calls are looked for.
const ENDS_AHEAD: u64 = 4_096;
/// Entries come into the log this much out of order, and no more; changes of other nodes may.
const DISORDER: Duration = Duration::from_mins(1);
/// Entries among which one is looked for that came in order.
const PROBED: u64 = 256;

/// By which names ids are told and taken; of what somebody may not see there are none.
pub async fn names(instance: &Instance, sees: Sees) -> Result<Names, Error> {
    let rows = seals::load(instance).await?;
    let mut names = Names::default();
    if sees.clients {
        names.clients =
            rows.clients.into_iter().map(|row| (row.name.to_string(), row.id)).collect();
    }
    if sees.providers {
        names.providers =
            rows.providers.into_iter().map(|row| (row.slug.to_string(), row.id)).collect();
    }
    if sees.people {
        names.people = users::addresses(instance).await?;
    }
    Ok(names)
}

/// What somebody may see beside the log.
#[derive(Debug, Clone, Copy)]
pub struct Sees {
    pub clients: bool,
    pub providers: bool,
    pub people: bool,
}

/// An entry; of a call its intent, with how it ended.
#[derive(Debug, Clone)]
pub struct Row {
    pub index: u64,
    pub record: Record,
    pub end: Option<End>,
}

/// How a call ended: an outcome, or what a crash left.
#[derive(Debug, Clone)]
pub struct End {
    pub index: u64,
    pub record: Record,
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest first.
    pub rows: Vec<Row>,
    pub looked_at: u64,
    /// The oldest entry that was looked at.
    pub oldest: Option<(u64, Timestamp)>,
    /// Nothing that is older can match.
    pub is_all: bool,
}

impl Found {
    /// Where the next search goes on.
    pub fn next(&self) -> Option<u64> {
        self.oldest.map(|(index, _)| index).filter(|index| !self.is_all && *index > 0)
    }
}

/// The newest entries before this one that the filter wants, `most` of them.
pub fn search(
    folder: &DataFolder,
    filter: &Filter,
    before: Option<u64>,
    most: usize,
) -> Result<Found, Error> {
    let mut found = Found::default();
    let is_stopped = walk(folder, filter, before, |row| {
        found.looked_at += 1;
        found.oldest = Some((row.0, row.1));
        found.rows.extend(row.2.filter(|row| filter.matches(row)));
        found.rows.len() < most && found.looked_at < SEARCHED
    })?;
    found.is_all = !is_stopped;
    Ok(found)
}

/// Hands out each entry's index and time, and it as a row unless it is the end of a call, from the
/// newest that the filter's period allows; whether `each` stopped it.
fn walk(
    folder: &DataFolder,
    filter: &Filter,
    before: Option<u64>,
    mut each: impl FnMut((u64, Timestamp, Option<Row>)) -> bool,
) -> Result<bool, Error> {
    let latest = filter.to.map(|to| first_since(folder, to + DISORDER)).transpose()?;
    let before = match (before, latest) {
        (Some(before), Some(latest)) => Some(before.min(latest)),
        (before, latest) => before.or(latest),
    };
    let mut ends: HashMap<Id<Request>, End> = HashMap::new();
    let mut is_stopped = false;
    let from = before.map(|before| before.saturating_add(ENDS_AHEAD));
    audit_log::walk_back(folder, from, |index, record| {
        let at = record.at();
        let is_ahead = before.is_some_and(|before| index >= before);
        let ended = match &record {
            Record::Outcome(one) => Some(one.request),
            Record::Interrupted { request, .. } => Some(*request),
            _ => None,
        };
        let row = match ended {
            Some(request) => {
                ends.insert(request, End { index, record });
                None
            }
            None if is_ahead => None,
            None => {
                if is_too_old(&record, filter) {
                    return false;
                }
                let end = match &record {
                    Record::Intent(one) => ends.remove(&one.request),
                    _ => None,
                };
                Some(Row { index, record, end })
            }
        };
        if is_ahead {
            return true;
        }
        is_stopped = !each((index, at, row));
        !is_stopped
    })?;
    Ok(is_stopped)
}

/// Whether what lies before this entry is before the period. A change may have waited for the log, so
/// that its time says nothing of its place.
fn is_too_old(record: &Record, filter: &Filter) -> bool {
    let is_in_order = !matches!(record, Record::Changed(_));
    is_in_order && filter.from.is_some_and(|from| record.at() + DISORDER < from)
}

/// The first entry that is not older than this, by halves; the count of all if none is.
fn first_since(folder: &DataFolder, at: Timestamp) -> Result<u64, Error> {
    let mut size = 0;
    audit_log::walk_back(folder, None, |index, _| {
        size = index + 1;
        false
    })?;
    let Range { start: mut low, end: mut high } = 0..size;
    while low < high {
        let middle = low + (high - low) / 2;
        match time_at(folder, middle)? {
            Some(time) if time < at => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// When an entry came into the log, by it or by the one before it that tells.
fn time_at(folder: &DataFolder, index: u64) -> Result<Option<Timestamp>, Error> {
    let mut time = None;
    audit_log::walk_back(folder, index.checked_add(1), |found, record| {
        let is_in_order = !matches!(record, Record::Changed(_));
        if is_in_order || time.is_none() {
            time = Some(record.at());
        }
        !is_in_order && found + PROBED > index
    })?;
    Ok(time)
}

/// The entries of a period, with a minute on either side: they come into the log a little out of order.
pub fn range_of(
    folder: &DataFolder,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<Range<u64>, Error> {
    let start = match from {
        Some(from) => {
            let minute = i64::try_from(DISORDER.as_micros()).unwrap_or(i64::MAX);
            let from = Timestamp::from_micros(from.as_micros().saturating_sub(minute));
            first_since(folder, from)?
        }
        None => 0,
    };
    let end = to.map(|to| first_since(folder, to + DISORDER)).transpose()?;
    Ok(start..end.unwrap_or(u64::MAX))
}

/// One entry with what belongs to it.
#[derive(Debug)]
pub struct Entry {
    pub row: Row,
    /// Of a change: the one before it of the same thing, unless it lies too far back.
    pub previous: Option<Row>,
}

/// The entry of this index; `None` if the log has none.
pub fn entry(folder: &DataFolder, index: u64) -> Result<Option<Entry>, Error> {
    let every = Filter::default();
    let Some(after) = index.checked_add(1) else { return Ok(None) };
    let (mut found, mut previous, mut looked_at) = (None::<Row>, None, 0);
    // The end of a call is a row of its own here.
    let mut first = None;
    audit_log::walk_back(folder, Some(after), |at, record| {
        first = Some(Row { index: at, record, end: None });
        false
    })?;
    let Some(first) = first.filter(|first| first.index == index) else { return Ok(None) };
    let Some(what) = what_of(&first.record).map(ToOwned::to_owned) else {
        walk(folder, &every, Some(after), |(_, _, row)| {
            found = row;
            false
        })?;
        return Ok(Some(Entry { row: found.unwrap_or(first), previous: None }));
    };
    walk(folder, &every, Some(index), |(_, _, row)| {
        looked_at += 1;
        previous = row.filter(|row| what_of(&row.record) == Some(&what));
        previous.is_none() && looked_at < SEARCHED
    })?;
    Ok(Some(Entry { row: first, previous }))
}

fn what_of(record: &Record) -> Option<&str> {
    match record {
        Record::Changed(one) => Some(&one.what),
        _ => None,
    }
}
