//! An entry of the log as people read it, with what was before and after.

use super::{aside, names};
use crate::{
    pages::{Asked, Home, Refusal, person},
    views::{self, Frame, moment, page},
};
use app::{
    audit_log::Record,
    audit_search::{self, Names, Row},
};
use askama::Template;
use axum::{
    extract::{Extension, Path, State},
    http::StatusCode,
    response::Response,
};
use std::collections::BTreeMap;
use types::{Id, User};

/// A row of the list.
pub(super) struct EntryView {
    pub index: u64,
    pub at: String,
    pub kind: &'static str,
    pub who: String,
    pub what: String,
    pub outcome: String,
    /// A call that was not answered as asked, or somebody who was refused.
    pub is_bad: bool,
    /// Whatever it says.
    pub all: Vec<(String, String)>,
}

impl EntryView {
    pub(super) fn of(row: &Row, names: &Names) -> Self {
        let end = row.end.as_ref().map(|end| &end.record);
        let (outcome, is_bad) = outcome_of(&row.record, end);
        Self {
            index: row.index,
            at: moment(row.record.at()),
            kind: match &row.record {
                Record::Intent(_) => "call",
                Record::Outcome(_) => "end of a call",
                Record::RefusedCount(_) => "more refused",
                other => other.kind(),
            },
            who: who_of(&row.record, names),
            what: what_of(&row.record, names),
            outcome,
            is_bad,
            all: all_of(row),
        }
    }
}

fn who_of(record: &Record, names: &Names) -> String {
    let client = |id| names.client(id).map_or_else(|| format!("{id}"), ToOwned::to_owned);
    match record {
        Record::Intent(one) => client(one.client),
        Record::Refused(one) => client(one.client),
        Record::RefusedCount(one) => one.key.to_string(),
        Record::Changed(one) => {
            let user = one.actor.strip_prefix("user:");
            let user = user.and_then(|id| id.parse::<Id<User>>().ok());
            let address = user.and_then(|id| names.person(id));
            address.unwrap_or(&one.actor).to_owned()
        }
        _ => String::new(),
    }
}

fn what_of(record: &Record, names: &Names) -> String {
    match record {
        Record::Intent(one) => {
            let object = one.object.as_deref().unwrap_or(&one.operation);
            let provider = names.provider(one.provider);
            let provider = provider.map_or_else(|| one.provider.to_string(), ToOwned::to_owned);
            format!("{} {object} of {provider}", one.action)
        }
        Record::Refused(one) => one.operation.clone().unwrap_or_default(),
        Record::RefusedCount(one) => format!("{} times within a second", one.count),
        Record::Unauthenticated(one) => format!("{} times", one.count),
        Record::Changed(one) => format!("{} {}", one.verb, one.what),
        Record::Started { version, .. } => format!("version {version}"),
        Record::Recovered { cut_bytes, .. } => format!("{cut_bytes} bytes were cut off"),
        Record::Outcome(one) => one.request.to_string(),
        Record::Interrupted { request, .. } => request.to_string(),
        Record::Closed { .. } => String::new(),
    }
}

fn outcome_of(record: &Record, end: Option<&Record>) -> (String, bool) {
    match (record, end) {
        (Record::Intent(_), Some(Record::Outcome(one))) | (Record::Outcome(one), _) => {
            let code = one.code.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
            (format!("{}{code}", one.status), one.code.is_some())
        }
        (Record::Intent(_), Some(Record::Interrupted { .. })) => ("interrupted".into(), true),
        (Record::Intent(_), _) => ("not seen".into(), false),
        (Record::Refused(one), _) => (one.code.clone(), true),
        (Record::Unauthenticated(one), _) => (one.code.clone(), true),
        _ => (String::new(), false),
    }
}

/// Every field, those of a call's end behind.
fn all_of(row: &Row) -> Vec<(String, String)> {
    let fields = |record: &Record| {
        let fields = record.fields().into_iter();
        fields
            .map(|(name, value)| (name.replace('_', " "), value.to_string()))
            .filter(|(_, value)| !value.is_empty())
            .collect::<Vec<_>>()
    };
    let mut all = fields(&row.record);
    if let Some(end) = &row.end {
        all.push(("ended by entry".to_owned(), end.index.to_string()));
        let of_end = fields(&end.record).into_iter().filter(|(name, _)| name != "request");
        all.extend(of_end.map(|(name, value)| {
            if name == "at" { ("ended at".to_owned(), value) } else { (name, value) }
        }));
    }
    all
}

/// What a change made of one thing.
struct Difference {
    name: String,
    before: String,
    after: String,
}

#[derive(Template)]
#[template(path = "audit_entry.html")]
struct EntryPage {
    frame: Frame,
    entry: EntryView,
    is_change: bool,
    differences: Vec<Difference>,
    /// Where the values before come from, if not from the entry itself.
    previous: Option<u64>,
    words: Vec<String>,
    state: Option<Difference>,
    same: Option<String>,
    request: Option<String>,
}

pub(crate) async fn entry(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let Ok(index) = id.parse::<u64>() else { return Ok(views::not_found()) };
    let folder = console.instance.folder.clone();
    let Some(found) = aside(move || audit_search::entry(&folder, index)).await? else {
        return Ok(views::not_found());
    };
    let names = names(&console, signed_in).await?;
    let record = &found.row.record;
    let (differences, previous, words) = differences(record, found.previous.as_ref());
    let about = |text: &str| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        format!("/audit?{}", query.append_pair("text", text).finish())
    };
    let (state, same, request) = match record {
        Record::Changed(one) => (state_of(record), Some(about(&one.what)), Some(one.request)),
        Record::Intent(one) => (None, None, Some(one.request)),
        Record::Outcome(one) => (None, None, Some(one.request)),
        Record::Refused(one) => (None, None, Some(one.request)),
        Record::Interrupted { request, .. } => (None, None, Some(*request)),
        _ => (None, None, None),
    };
    let answer = EntryPage {
        frame: Frame::inside(&console, &visit, signed_in, "/audit"),
        entry: EntryView::of(&found.row, &names),
        is_change: matches!(record, Record::Changed(_)),
        differences,
        previous,
        words,
        state,
        same,
        request: request.map(|request| about(&request.to_string())),
    };
    Ok(page(StatusCode::OK, &answer))
}

/// Of each detail what it was and what it became. An entry says what was before itself, or the entry
/// before it of the same thing does; what it says in words stands apart.
fn differences(
    record: &Record,
    previous: Option<&Row>,
) -> (Vec<Difference>, Option<u64>, Vec<String>) {
    const UNSAID: &str = "not in the log";
    let Record::Changed(one) = record else { return (Vec::new(), None, Vec::new()) };
    let (words, details): (Vec<_>, Vec<_>) =
        one.details.iter().partition(|(name, _)| name == "words");
    let words = words.into_iter().flat_map(|(_, text)| text.split("; ").map(ToOwned::to_owned));
    let own_before = details.iter().find(|(name, _)| name == "before");
    let earlier = previous.map(|row| (row.index, &row.record));
    let known: BTreeMap<&str, &str> = match earlier {
        Some((_, Record::Changed(before))) => {
            before.details.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
        }
        _ => BTreeMap::new(),
    };
    let is_new = one.verb.ends_with(".create") || one.verb.ends_with(".import");
    let mut is_by_previous = false;
    let rest = details.iter().filter(|(name, _)| name != "before");
    let found = rest.map(|(name, after)| {
        let before = match (own_before, known.get(name.as_str())) {
            // What was before is of what the change is about: its first detail.
            (Some((_, before)), _) if name == "roles" => before.clone(),
            (_, Some(before)) => {
                is_by_previous = true;
                (*before).to_owned()
            }
            _ if is_new => "nothing".to_owned(),
            _ => UNSAID.to_owned(),
        };
        Difference { name: name.replace('_', " "), before, after: after.clone() }
    });
    let found = found.collect();
    let previous = earlier.map(|(index, _)| index).filter(|_| is_by_previous);
    (found, previous, words.collect())
}

/// The state of all of the store's rows, which the change's last entry binds.
fn state_of(record: &Record) -> Option<Difference> {
    let Record::Changed(one) = record else { return None };
    let spelled = |head: app::audit_log::VaultHead| {
        let root: String = head.root.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("change {}: {} rows, root {root}...", head.sequence, head.count)
    };
    let after = spelled(one.vault_head?);
    let before = one.previous_head.map_or_else(|| "not in the log".to_owned(), spelled);
    Some(Difference { name: "state of the store".to_owned(), before, after })
}
