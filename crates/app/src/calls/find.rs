//! One call, wherever in the log it is.

use super::{Call, End};
use crate::{
    audit_log::{self, Record, reading},
    error::Error,
    folder::DataFolder,
    grants,
    instance::Instance,
};
use std::{sync::Arc, time::Duration};
use types::{Action, Id, Request, Timestamp};

/// Entries among which the other end of a call is looked for.
const SEARCHED: u64 = 100_000;
/// How far a request's id may be ahead of the entries around it.
const EARLIER: Duration = Duration::from_secs(10);

/// What a call is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// By any of its entries.
    Entry(u64),
    Request(Id<Request>),
}

/// All that the log says of a call.
#[derive(Debug)]
pub struct Told {
    pub call: Call,
    /// Declared fields that were there and were withheld.
    pub withheld: Vec<String>,
    /// More of these, whose names are left out.
    pub withheld_more: u64,
}

/// A call by its name, if it is in this node's log.
///
/// # Errors
/// Where the log cannot be read.
pub async fn find(instance: &Arc<Instance>, name: Name) -> Result<Option<Told>, Error> {
    reading(instance, move |instance| {
        let folder = &instance.folder;
        let begun = match name {
            Name::Entry(index) => match at(folder, index)? {
                Some(record) => match request_of(&record) {
                    Some(request) => begun_before(folder, Some(index + 1), request, SEARCHED)?,
                    None => None,
                },
                None => None,
            },
            Name::Request(request) => begun_as(folder, request)?,
        };
        begun.map(|call| ended(folder, call)).transpose()
    })
    .await
}

/// The entry of this number.
fn at(folder: &DataFolder, index: u64) -> Result<Option<Record>, Error> {
    let mut found = None;
    audit_log::walk_on(folder, index, |_, record| {
        found = Some(record);
        false
    })?;
    Ok(found)
}

fn request_of(record: &Record) -> Option<Id<Request>> {
    match record {
        Record::Intent(one) => Some(one.request),
        Record::Outcome(one) => Some(one.request),
        Record::Refused(one) => Some(one.request),
        Record::Interrupted { request, .. } => Some(*request),
        _ => None,
    }
}

fn begun_by(index: u64, record: Record, request: Id<Request>) -> Option<Call> {
    match record {
        Record::Intent(one) if one.request == request => Some(Call::begun(index, one)),
        Record::Refused(one) if one.request == request => Some(Call::refused(index, one)),
        _ => None,
    }
}

fn begun_before(
    folder: &DataFolder,
    before: Option<u64>,
    request: Id<Request>,
    mut left: u64,
) -> Result<Option<Call>, Error> {
    let mut found = None;
    audit_log::walk_back(folder, before, |index, record| {
        found = begun_by(index, record, request);
        left -= 1;
        found.is_none() && left > 0
    })?;
    Ok(found)
}

/// An id says when it was made (RFC 9562 §5.7), and entries stand nearly in the order of time.
fn begun_as(folder: &DataFolder, request: Id<Request>) -> Result<Option<Call>, Error> {
    let millis = i64::try_from(request.as_u128() >> 80).unwrap_or(0);
    let made = Timestamp::from_micros(millis.saturating_mul(1_000));
    let earlier = made.as_micros().saturating_sub(micros(EARLIER));
    let mut size = 0;
    audit_log::walk_back(folder, None, |index, _| {
        size = index + 1;
        false
    })?;
    let (mut low, mut high) = (0, size);
    while low < high {
        let middle = low.midpoint(high);
        match at(folder, middle)? {
            Some(record) if record.at().as_micros() < earlier => low = middle + 1,
            _ => high = middle,
        }
    }
    let (mut found, mut left) = (None, SEARCHED);
    audit_log::walk_on(folder, low, |index, record| {
        let is_late = record.at() > made + EARLIER;
        found = begun_by(index, record, request);
        left -= 1;
        found.is_none() && left > 0 && !is_late
    })?;
    match found {
        Some(call) => Ok(Some(call)),
        // The clock was set meanwhile: it may still be among the newest.
        None => begun_before(folder, None, request, SEARCHED),
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn ended(folder: &DataFolder, mut call: Call) -> Result<Told, Error> {
    let (mut withheld, mut withheld_more, mut left) = (Vec::new(), 0, SEARCHED);
    if matches!(call.end, End::UnderWay) {
        audit_log::walk_on(folder, call.index + 1, |index, record| {
            left -= 1;
            let Some((_, end)) =
                End::of(index, &record).filter(|(request, _)| *request == call.request)
            else {
                return left > 0;
            };
            call.end = end;
            if let Record::Outcome(outcome) = record {
                (withheld, withheld_more) = (outcome.withheld, outcome.withheld_more);
            }
            false
        })?;
        if left == 0 && matches!(call.end, End::UnderWay) {
            call.end = End::Unseen;
        }
    }
    Ok(Told { call, withheld, withheld_more })
}

/// Whether a grant allows what a call did. Which one did when it was made, no log says.
pub fn allows(listed: &grants::Listed, call: &Call) -> bool {
    let (Some(connection), Some(granted)) = (call.connection, &call.granted) else { return false };
    let grant = &listed.grant;
    let is_unfiltered = matches!(granted.action, Action::Download | Action::Upload);
    grant.client.0 == call.client
        && grant.reaches(granted.provider, connection)
        && grant.allow.iter().any(|allow| {
            let is_of = if is_unfiltered {
                call.operation.as_ref().is_some_and(|one| allow.operations.contains(one))
            } else {
                allow.object == granted.object
            };
            is_of && allow.actions.iter().any(|action| action == granted.action.as_str())
        })
}
