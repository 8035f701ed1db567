//! What a filter's entries amount to, counted when somebody asks for it.

use super::{
    address,
    form::{self, Given},
    names,
};
use crate::{
    pages::{Asked, Home, Refusal, or_failed, person},
    views::{Frame, moment, page},
};
use app::{
    Error,
    audit_log::reading,
    audit_search::{self, Activity, COUNTED, Filter, Names},
};
use askama::Template;
use axum::{
    extract::{Extension, RawQuery, State},
    http::StatusCode,
    response::Response,
};
use std::sync::Arc;

struct LineView {
    what: String,
    /// To the entries, unless they cannot be filtered by it.
    url: Option<String>,
    count: u64,
    first: String,
    last: String,
}

struct GroupView {
    heading: &'static str,
    rows: Vec<LineView>,
    more: usize,
}

struct UnusualView {
    who: String,
    url: Option<String>,
    rule: &'static str,
    numbers: String,
}

#[derive(Template)]
#[template(path = "audit_activity.html")]
struct ActivityPage {
    frame: Frame,
    problems: Vec<String>,
    parts: Vec<(&'static str, String)>,
    entries: String,
    looked_at: u64,
    back_to: String,
    is_cut: bool,
    most: u64,
    count: u64,
    first: String,
    last: String,
    groups: Vec<GroupView>,
    unusual: Vec<UnusualView>,
}

pub(crate) async fn activity(
    State(console): Home,
    Extension(visit): Asked,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let given = Given::of(query.as_deref().unwrap_or_default().as_bytes());
    let names = names(&console, signed_in).await?;
    let frame = Frame::inside(&console, &visit, signed_in, "/audit");
    let (filter, problems) = match given.filter(&names) {
        Ok(filter) => (filter, Vec::new()),
        Err(problems) => (Filter::default(), form::in_words(&problems)),
    };
    let found = if problems.is_empty() {
        let places = Arc::clone(&console.log.counting.0);
        let gone = Error::Internal { what: "nobody may count any more" };
        let place = or_failed(places.acquire_owned().await.map_err(|_| gone))?;
        let wanted = filter.clone();
        let now = console.instance.clock.now();
        let found = reading(&console.instance, move |instance| {
            let found = audit_search::activity(&instance.folder, &wanted, now);
            drop(place);
            found
        });
        or_failed(found.await)?
    } else {
        Activity::default()
    };
    let status =
        if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let spelled = |at: Option<types::Timestamp>| at.map(moment).unwrap_or_default();
    let answer = ActivityPage {
        frame,
        problems,
        parts: filter.named(&names),
        entries: address("/audit", &filter, None),
        looked_at: found.looked_at,
        back_to: spelled(found.back_to),
        is_cut: found.is_cut,
        most: COUNTED,
        count: found.count,
        first: spelled(found.first),
        last: spelled(found.last),
        groups: groups(&found, &filter, &names),
        unusual: unusual(&found, &filter, &names),
    };
    Ok(page(status, &answer))
}

fn groups(found: &Activity, filter: &Filter, names: &Names) -> Vec<GroupView> {
    let heading = |name: &str| match name {
        "actor" => "People and programs that changed something",
        "client" => "Clients",
        "key" => "Keys",
        "provider" => "Providers",
        "object" => "Objects",
        "field" => "Withheld fields",
        "network" => "Networks, by their tags",
        "verb" => "Acts",
        "outcome" => "Outcomes",
        _ => "Kinds",
    };
    let groups = found.groups.iter().map(|group| {
        let part = if group.name == "field" { "object" } else { group.name };
        let rows = group.rows.iter().map(|tally| {
            let (url, what) = narrowed(filter, names, part, &tally.what);
            LineView {
                what,
                url,
                count: tally.count,
                first: moment(tally.first),
                last: moment(tally.last),
            }
        });
        GroupView { heading: heading(group.name), rows: rows.collect(), more: group.more }
    });
    groups.collect()
}

fn unusual(found: &Activity, filter: &Filter, names: &Names) -> Vec<UnusualView> {
    let shown = found.unusual.iter().map(|one| {
        let part = if one.is_key { "key" } else { "actor" };
        let (url, who) = narrowed(filter, names, part, &one.who);
        UnusualView { who, url, rule: one.rule, numbers: one.numbers.clone() }
    });
    shown.collect()
}

/// The entries of the filter that have this as well, and what it is called.
fn narrowed(
    filter: &Filter,
    names: &Names,
    part: &'static str,
    value: &str,
) -> (Option<String>, String) {
    // Entries cannot be filtered by it.
    if part == "network" {
        return (None, value.to_owned());
    }
    let mut parts = filter.parts();
    parts.retain(|(name, _)| *name != part);
    parts.push((part, value.to_owned()));
    let read = Filter::parse(parts.iter().map(|(name, value)| (*name, value.as_str())), names);
    let Ok(narrow) = read else { return (None, value.to_owned()) };
    let named = narrow.named(names).into_iter().find(|(name, _)| *name == part);
    (Some(address("/audit", &narrow, None)), named.map_or_else(String::new, |(_, name)| name))
}
