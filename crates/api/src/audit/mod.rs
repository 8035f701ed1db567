//! The audit log: what it holds, looked through by a filter that stands in the URL.

pub(crate) mod activity;
pub(crate) mod entry;
pub(crate) mod export;
pub(crate) mod saved;

mod badge;
mod form;

use crate::{
    console::Console,
    guard::Visit,
    pages::{Asked, Home, Refusal, or_failed, person},
    views::{Frame, page, status_of, told},
};
use app::{
    Error,
    audit_check::Begun,
    audit_log::reading,
    audit_search::{self, Filter, Found, Names, Sees},
    people::sessions::SignedIn,
    saved_views,
};
use askama::Template;
use axum::{
    extract::{Extension, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use badge::Badge;
use entry::EntryView;
use form::{FieldView, Given};
use policy::Act;
use std::collections::BTreeMap;

/// Rows that a page shows.
const ROWS: usize = 100;

struct ViewLink {
    id: String,
    name: String,
    url: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    badge: Badge,
    problems: Vec<String>,
    text: FieldView,
    fields: Vec<FieldView>,
    /// The parts that are set, for forms that carry them along.
    parts: Vec<(&'static str, String)>,
    is_open: bool,
    rows: Vec<EntryView>,
    looked: Option<Looked>,
    activity: String,
    /// Where the entries before these are.
    older: Option<String>,
    views: Vec<ViewLink>,
    view_name: String,
    may_export: bool,
}

/// How far was looked.
struct Looked {
    count: u64,
    back_to: String,
    is_all: bool,
}

pub(crate) async fn audit(
    State(console): Home,
    Extension(visit): Asked,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let given = Given::of(query.as_deref().unwrap_or_default().as_bytes());
    let names = names(&console, signed_in).await?;
    if let (Ok(filter), Ok(None)) = (given.filter(&names), given.before())
        && given.is_other_than(&filter)
    {
        // One filter has one address, without parts that say nothing.
        return Ok(Redirect::to(&address("/audit", &filter, None)).into_response());
    }
    shown(&console, &visit, &given, &names, None).await
}

/// What is known beside the log to whoever looks.
async fn names(console: &Console, signed_in: &SignedIn) -> Result<Names, Refusal> {
    let sees = Sees {
        clients: console.offers(signed_in, Act::ClientRead),
        providers: console.offers(signed_in, Act::ProviderRead),
        people: console.offers(signed_in, Act::UserRead),
    };
    or_failed(audit_search::names(&console.instance, sees).await)
}

/// A page with this filter.
fn address(path: &str, filter: &Filter, before: Option<u64>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(filter.parts());
    if let Some(before) = before {
        query.append_pair("before", &before.to_string());
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The page; `refused` is a wish about views, with what was wrong with it.
async fn shown(
    console: &Console,
    visit: &Visit,
    given: &Given,
    names: &Names,
    refused: Option<(&Error, &str)>,
) -> Result<Response, Refusal> {
    let signed_in = person(visit)?;
    let mut problems = Vec::new();
    let read = given.filter(names).map_err(|found| form::in_words(&found));
    let filter = read.as_ref().cloned().unwrap_or_default();
    problems.extend(read.err().unwrap_or_default());
    let before = given.before().unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let mut status =
        if problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let mut found = None;
    if problems.is_empty() {
        match searched(console, filter.clone(), before).await {
            Ok(rows) => found = Some(rows),
            // Whatever is wrong with the log, the page says whether it is whole.
            Err(error) => {
                status = status_of(&error);
                problems.push(format!("The entries cannot be shown. {}", told(&error)));
            }
        }
    }
    if let Some((error, _)) = refused {
        status = status_of(error);
        problems.push(told(error));
    }
    let known = or_failed(console.log.checker.look(&console.instance).await)?;
    let views = or_failed(saved_views::list(&console.instance, signed_in.user).await)?;
    let views = views.into_iter().map(|view| ViewLink {
        id: view.id.to_string(),
        name: view.name,
        url: format!("/audit/views/{}", view.id),
    });
    // A list is printed and shown around: it names nobody.
    let names = &Names { people: BTreeMap::new(), ..names.clone() };
    let values = if found.is_some() { filter.named(names) } else { given.parts() };
    let fields = form::fields(&values);
    let answer = AuditPage {
        frame: Frame::inside(console, visit, signed_in, "/audit"),
        badge: Badge::of(&known),
        problems,
        text: form::text(&values),
        is_open: fields.iter().any(|field| !field.value.is_empty()),
        fields,
        parts: filter.parts(),
        activity: address("/audit/activity", &filter, None),
        older: found.as_ref().and_then(Found::next).map(|at| address("/audit", &filter, Some(at))),
        looked: found.as_ref().map(|found| Looked {
            count: found.looked_at,
            back_to: found.oldest.map(|(_, at)| crate::views::moment(at)).unwrap_or_default(),
            is_all: found.is_all,
        }),
        rows: found
            .map(|found| found.rows.iter().map(|row| EntryView::of(row, names)).collect())
            .unwrap_or_default(),
        views: views.collect(),
        view_name: refused.map_or_else(String::new, |(_, name)| name.to_owned()),
        may_export: console.offers(signed_in, Act::AuditExport),
    };
    Ok(page(status, &answer))
}

async fn searched(console: &Console, filter: Filter, before: Option<u64>) -> Result<Found, Error> {
    reading(&console.instance, move |instance| {
        audit_search::search(&instance.folder, &filter, before, ROWS)
    })
    .await
}

pub(crate) async fn verify(
    State(console): Home,
    Extension(visit): Asked,
) -> Result<Response, Refusal> {
    person(&visit)?;
    match or_failed(console.log.checker.begin(&console.instance).await)? {
        // The page says what is known, and since when.
        Begun::Started | Begun::Running | Begun::TooSoon => {
            Ok(Redirect::to("/audit").into_response())
        }
    }
}
