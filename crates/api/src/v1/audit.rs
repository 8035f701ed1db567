//! This node's audit log.

use super::{
    Answer,
    guard::Caller,
    paging::{Page, Paging, cursor},
    problem::{Asked, Problem},
};
use crate::console::Console;
use app::{
    audit_log::{self, Record, reading},
    audit_search::{self, Filter, Sees},
};
use axum::{
    Json,
    extract::{Extension, State},
    http::StatusCode,
};
use policy::Act;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// An entry of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Entry {
    index: u64,
    at: String,
    kind: &'static str,
    /// Whatever it says, by name.
    fields: BTreeMap<&'static str, String>,
    /// Of a call that a filter found: the entry that says how it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion, nullable = false)]
    end: Option<Box<Entry>>,
}

impl Entry {
    fn of(index: u64, record: &Record) -> Self {
        let fields = record.fields().into_iter();
        let fields = fields.map(|(name, value)| (name, value.to_string()));
        Self {
            index,
            at: record.at().to_string(),
            kind: record.kind(),
            fields: fields.filter(|(_, value)| !value.is_empty()).collect(),
            end: None,
        }
    }

    fn found(row: &audit_search::Row) -> Self {
        let end = row.end.as_ref().map(|end| Box::new(Self::of(end.index, &end.record)));
        Self { end, ..Self::of(row.index, &row.record) }
    }
}

/// What this node's log was signed with last.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Checkpoint {
    /// A signed note (C2SP tlog-checkpoint).
    checkpoint: String,
}

/// Which page, and of which entries: every part that is given must fit.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// What the page before gave as `next`.
    cursor: Option<String>,
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// `call`, `refused`, `refused_count`, `unauthenticated`, `changed`, `started`, `recovered`,
    /// `interrupted` or `closed`.
    kind: Option<String>,
    /// Who changed something: a person's id or address, `user:ID`, `token:ID`, `local:` with a number
    /// or without, or `system`.
    actor: Option<String>,
    /// An API key, by id.
    key: Option<String>,
    /// A client, by name or id.
    client: Option<String>,
    /// A provider, by name or id.
    provider: Option<String>,
    /// A connection, by id.
    connection: Option<String>,
    /// An object like `Employee`, or a field like `ssn` or `Employee.ssn`.
    object: Option<String>,
    /// What was done, like `read` or `user.invite`; `user` for all that begins so.
    verb: Option<String>,
    /// How a call ended: a status like `404`, a class like `4xx`, or a code like `rate_limited`.
    outcome: Option<String>,
    /// From this moment on: a day like `2026-11-27`, or a minute of one like `2026-11-27T06:30`, in
    /// UTC.
    from: Option<String>,
    /// Before this moment; a day alone is the whole of it.
    to: Option<String>,
    /// A text that an entry holds, in any case.
    text: Option<String>,
}

impl Wanted {
    /// Which page, and the parts that were given.
    fn split(self) -> (Paging, Vec<(&'static str, String)>) {
        let paging = Paging::of(self.cursor, self.limit);
        let parts = [
            ("kind", self.kind),
            ("actor", self.actor),
            ("key", self.key),
            ("client", self.client),
            ("provider", self.provider),
            ("connection", self.connection),
            ("object", self.object),
            ("verb", self.verb),
            ("outcome", self.outcome),
            ("from", self.from),
            ("to", self.to),
            ("text", self.text),
        ];
        (paging, parts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

/// The entries of the log of the node that answers, the newest first.
///
/// With a filter a call is one of them: its beginning, with how it ended as `end`. One page looks at
/// 20,000 entries at most: it may have few items, or none, and `next` all the same.
#[utoipa::path(get, path = "/v1/audit/entries", tag = "audit", params(Wanted),
    responses((status = 200, body = Page<Entry>, description = "A page of them.")))]
pub(crate) async fn entries(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    Asked(wanted): Asked<Wanted>,
) -> Answer<Page<Entry>> {
    let (paging, parts) = wanted.split();
    let limit = paging.limit()?;
    let before = match paging.after()? {
        None => None,
        Some(text) => Some(text.parse::<u64>().map_err(|_| {
            let detail = "`cursor` is none that an answer gave as `next`";
            Problem::new(StatusCode::BAD_REQUEST, "malformed", detail, "Begin without one.")
        })?),
    };
    if parts.is_empty() {
        return every(&console, before, limit).await;
    }
    let filter = filter(&console, &caller, &parts).await?;
    let found = reading(&console.instance, move |instance| {
        audit_search::search(&instance.folder, &filter, before, limit)
    })
    .await?;
    let next = found.next().map(|index| cursor(&index.to_string()));
    Ok(Json(Page { items: found.rows.iter().map(Entry::found).collect(), next }))
}

/// By the names that the token's owner may see, and no others.
async fn filter(
    console: &Console,
    caller: &Caller,
    parts: &[(&'static str, String)],
) -> Result<Filter, Problem> {
    let may = |act| caller.may(console, act).is_allowed();
    let sees = Sees {
        clients: may(Act::ClientRead),
        providers: may(Act::ProviderRead),
        people: may(Act::UserRead),
    };
    let names = audit_search::names(&console.instance, sees).await?;
    let empty = parts.iter().filter(|(_, value)| value.trim().is_empty());
    let mut wrong: Vec<_> =
        empty.map(|(name, _)| (*name, "Give a value, or leave it out.")).collect();
    let given = parts.iter().map(|(name, value)| (*name, value.as_str()));
    match Filter::parse(given, &names) {
        Ok(filter) if wrong.is_empty() => Ok(filter),
        read => {
            let found = read.err().unwrap_or_default();
            wrong.extend(found.into_iter().map(|one| (one.name, one.remedy)));
            Err(Problem::of_parameters(&wrong))
        }
    }
}

/// Each entry by itself, without a gap.
async fn every(console: &Console, before: Option<u64>, limit: usize) -> Answer<Page<Entry>> {
    let items = reading(&console.instance, move |instance| {
        let mut items = Vec::new();
        audit_log::walk_back(&instance.folder, before, |index, record| {
            items.push(Entry::of(index, &record));
            items.len() < limit
        })?;
        Ok(items)
    })
    .await?;
    let oldest = items.last().map(|one| one.index).filter(|oldest| *oldest > 0);
    Ok(Json(Page { items, next: oldest.map(|oldest| cursor(&oldest.to_string())) }))
}

/// The newest checkpoint, signed by the log's key: who keeps it can prove later that nothing was
/// changed.
#[utoipa::path(get, path = "/v1/audit/checkpoint", tag = "audit",
    responses((status = 200, body = Checkpoint, description = "As asked.")))]
pub(crate) async fn checkpoint(State(console): State<Arc<Console>>) -> Answer<Checkpoint> {
    let instance = &console.instance;
    let read = reading(instance, |instance| audit_log::checkpoint(&instance.folder)).await?;
    Ok(Json(Checkpoint { checkpoint: read }))
}
