//! Pages as text, and what says that there is none.

use crate::{assets, console::Console, guard::Visit};
use app::people::sessions::SignedIn;
use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use policy::Act;
use std::time::Duration;
use types::Timestamp;

/// A link of the navigation.
#[derive(Debug)]
pub(crate) struct Place {
    pub path: &'static str,
    pub name: &'static str,
    pub is_here: bool,
}

/// What stands around every page.
#[derive(Debug)]
pub(crate) struct Frame {
    pub style: &'static str,
    pub places: Vec<Place>,
    pub is_signed_in: bool,
    pub form: String,
    pub is_narrow: bool,
}

const PLACES: [(&str, &str, Option<Act>); 13] = [
    ("/", "Home", None),
    ("/calls", "Calls", Some(Act::AuditRead)),
    ("/providers", "Providers", Some(Act::ProviderRead)),
    ("/connections", "Connections", Some(Act::ConnectionRead)),
    ("/clients", "Clients", Some(Act::ClientRead)),
    ("/grants", "Grants", Some(Act::GrantRead)),
    ("/audit", "Audit", Some(Act::AuditRead)),
    ("/users", "People", Some(Act::UserRead)),
    ("/advice", "Unused rights", Some(Act::GrantRead)),
    ("/reviews", "Reviews", Some(Act::ReviewRead)),
    ("/rules", "Roles and policies", Some(Act::RoleRead)),
    ("/settings", "Settings", Some(Act::SettingsRead)),
    ("/account", "Account", None),
];

/// The page that a path lies below; home for one that lies below none.
pub(crate) fn place_of(path: &str) -> &'static str {
    let is_below = |place: &str| {
        path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    PLACES.iter().map(|(place, ..)| *place).find(|place| is_below(place)).unwrap_or("/")
}

impl Frame {
    /// Around a page for somebody who is in; only what they may see is linked.
    pub(crate) fn inside(
        console: &Console,
        visit: &Visit,
        signed_in: &SignedIn,
        here: &'static str,
    ) -> Self {
        let is_open = |act: &Option<Act>| act.is_none_or(|act| console.offers(signed_in, act));
        let places = PLACES
            .iter()
            .filter(|(_, _, act)| is_open(act))
            .map(|(path, name, _)| Place { path, name, is_here: *path == here })
            .collect();
        Self { places, is_signed_in: true, ..Self::bare(visit.form.clone()) }
    }

    /// Around a page on the way in.
    pub(crate) fn outside(visit: &Visit) -> Self {
        let is_signed_in = visit.signed_in.is_some();
        Self { is_signed_in, is_narrow: true, ..Self::bare(visit.form.clone()) }
    }

    fn bare(form: String) -> Self {
        let style = assets::STYLE.path.as_str();
        Self { style, places: Vec::new(), is_signed_in: false, form, is_narrow: false }
    }
}

/// A moment as people read it, to the second.
pub(crate) fn moment(at: Timestamp) -> String {
    let spelled = at.to_string();
    let second = spelled.split('.').next().unwrap_or_default().trim_end_matches('Z');
    format!("{} UTC", second.replacen('T', " ", 1))
}

/// A moment to the microsecond.
pub(crate) fn exactly(at: Timestamp) -> String {
    format!("{} UTC", at.to_string().trim_end_matches('Z').replacen('T', " ", 1))
}

/// How long something took.
pub(crate) fn took(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..1_000 => format!("{micros} \u{b5}s"),
        1_000..10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// A page, with its status.
pub(crate) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            (StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made\n").into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'m> {
    frame: Frame,
    heading: &'m str,
    what: &'m str,
    remedy: &'m str,
    next: Option<(&'m str, &'m str)>,
}

/// A page that only says something.
pub(crate) fn message(status: StatusCode, heading: &str, what: &str, remedy: &str) -> Response {
    let frame = Frame { is_narrow: true, ..Frame::bare(String::new()) };
    let next = Some(("/", "Home"));
    page(status, &Message { frame, heading, what, remedy, next })
}

pub(crate) fn not_found() -> Response {
    let remedy = "Look at the address; links that work once end with a long code.";
    message(StatusCode::NOT_FOUND, "Not found", "There is no such page.", remedy)
}

pub(crate) fn not_allowed() -> Response {
    let what = "The page is not asked for in this way.";
    message(StatusCode::METHOD_NOT_ALLOWED, "Not like this", what, "Use the page's own buttons.")
}

/// A form that was not made by a page of ours, for this session.
pub(crate) fn foreign() -> Response {
    let what = "The form was not made by a page of the console for this session.";
    let remedy = "Open the page anew, and send it from there.";
    message(StatusCode::FORBIDDEN, "Not from here", what, remedy)
}

pub(crate) fn denied(act: Act) -> Response {
    let what = format!("None of your roles permits {act}, or a policy forbids it.");
    let remedy = "Ask an administrator for a role that does; weirgate user list shows who is one.";
    message(StatusCode::FORBIDDEN, "Not permitted", &what, remedy)
}

/// What an error of a use case is to whoever asked.
pub(crate) fn status_of(error: &app::Error) -> StatusCode {
    use app::{Error, Kind};
    match error {
        Error::SignInSlowed { .. } => StatusCode::TOO_MANY_REQUESTS,
        Error::Exists { .. } | Error::PlanStale => StatusCode::CONFLICT,
        _ => match error.kind() {
            Kind::Usage => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Refused => StatusCode::FORBIDDEN,
            Kind::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

/// What a person is told of an error: what is ours to mend goes to the log, and not to them.
pub(crate) fn told(error: &app::Error) -> String {
    let status = status_of(error);
    if status.is_server_error() {
        tracing::error!(%error, "the console could not do what it was asked");
        return "It could not be done now; the operator's log says why.".to_owned();
    }
    let said = format!("{error}. {}", error.remedy().unwrap_or_default());
    // What is marked for a terminal is quoted here.
    let said = said.replace('`', "\"");
    let mut letters = said.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

pub(crate) fn failed(error: &app::Error) -> Response {
    message(status_of(error), "It could not be done", &told(error), "")
}
