//! An entry of the log as people read it, with what was before and after.

use super::names;
use crate::{
    pages::{Asked, Home, Refusal, or_failed, person},
    views::{self, Frame, moment, page},
};
use app::{
    audit_log::{Record, reading},
    audit_search::{self, Names, Row},
};
use askama::Template;
use axum::{
    extract::{Extension, Path, State},
    http::StatusCode,
    response::Response,
};
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
    said: Said,
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
    let found =
        reading(&console.instance, move |instance| audit_search::entry(&instance.folder, index));
    let Some(found) = or_failed(found.await)? else {
        return Ok(views::not_found());
    };
    let names = names(&console, signed_in).await?;
    let record = &found.row.record;
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
        said: Said::of(record, found.previous.as_ref()),
        state,
        same,
        request: request.map(|request| about(&request.to_string())),
    };
    Ok(page(StatusCode::OK, &answer))
}

/// What an entry says of a change beside its names.
#[derive(Default)]
struct Said {
    differences: Vec<Difference>,
    /// Whose details say what was before, if not those of the entry itself.
    previous: Option<u64>,
    words: Vec<String>,
    /// Of what nothing says how it was before.
    rest: Vec<(String, String)>,
}

impl Said {
    /// What was before stands in the entry itself, or in the one before it of the same thing.
    fn of(record: &Record, previous: Option<&Row>) -> Self {
        let Record::Changed(one) = record else { return Self::default() };
        let mut said = Self::default();
        // Others tell what happened, and not how something is.
        let sets =
            [".import", ".put", ".change", ".roles"].iter().any(|end| one.verb.ends_with(end));
        let earlier = previous.filter(|_| sets).and_then(|row| match &row.record {
            Record::Changed(earlier) => Some((row.index, earlier)),
            _ => None,
        });
        let value_in = |details: &[(String, String)], name: &str| {
            let found = details.iter().find(|(one, _)| one == name);
            found.map(|(_, value)| value.clone())
        };
        let own_before = value_in(&one.details, "before");
        let is_new = one.verb.ends_with(".create") || one.verb.ends_with(".import");
        for (name, after) in &one.details {
            let before = match name.as_str() {
                "words" => {
                    said.words.extend(after.split("; ").map(ToOwned::to_owned));
                    continue;
                }
                "before" if one.details.iter().any(|(name, _)| name == "roles") => continue,
                "roles" if own_before.is_some() => own_before.clone(),
                _ => earlier.and_then(|(index, earlier)| {
                    let before = value_in(&earlier.details, name)?;
                    said.previous = Some(index);
                    Some(before)
                }),
            };
            let name = name.replace('_', " ");
            let nothing = is_new.then(|| "nothing".to_owned());
            match before.or(nothing) {
                Some(before) => {
                    said.differences.push(Difference { name, before, after: after.clone() });
                }
                None => said.rest.push((name, after.clone())),
            }
        }
        said
    }
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
