//! Home: how things stand.

use crate::{
    account::{Untold, untold},
    assets,
    console::Console,
    expiring::{self, Expiring},
    pages::{Asked, Home, Refusal, or_failed, person},
    views::{Frame, moment, page, took},
};
use app::{
    advisor,
    calls::{self, Day, Hour},
    clients, connections,
    people::{sessions::SignedIn, users},
    providers, reviews,
};
use askama::Template;
use axum::{
    extract::{Extension, State},
    http::StatusCode,
    response::Response,
};
use policy::Act;
use std::time::Duration;

/// What was not used for so long is counted.
const UNUSED_DAYS: u16 = 90;

/// A row of the table, and what is drawn of it.
struct HourView {
    begins_at: String,
    seconds: i64,
    calls: u64,
    failed: u64,
    refused: u64,
    p95: String,
    /// In milliseconds.
    drawn: String,
}

struct DayView {
    hours: Vec<HourView>,
    calls: u64,
    failed: u64,
    refused: u64,
    p95: String,
    is_behind: bool,
    /// There is something to draw.
    has_any: bool,
    style: &'static str,
    scripts: [&'static str; 2],
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    frame: Frame,
    who: Option<String>,
    id: String,
    roles: String,
    hindrance: Option<&'static str>,
    counts: Vec<(&'static str, usize, &'static str)>,
    day: Option<DayView>,
    expiring: Expiring,
    notices: Untold,
    unused_days: u16,
    /// Grants of which something was not used, and keys that nobody showed.
    unused: Option<(usize, usize)>,
}

impl From<Hour> for HourView {
    fn from(hour: Hour) -> Self {
        let millis = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1_000.0);
        Self {
            begins_at: moment(hour.begins_at),
            seconds: hour.begins_at.as_micros() / 1_000_000,
            calls: hour.calls,
            failed: hour.failed,
            refused: hour.refused,
            p95: hour.p95.map_or_else(|| "none".to_owned(), took),
            drawn: hour.p95.map(millis).unwrap_or_default(),
        }
    }
}

impl From<Day> for DayView {
    fn from(day: Day) -> Self {
        Self {
            has_any: day.calls > 0 || day.refused > 0,
            hours: day.hours.into_iter().map(HourView::from).collect(),
            calls: day.calls,
            failed: day.failed,
            refused: day.refused,
            p95: day.p95.map_or_else(|| "no call".to_owned(), took),
            is_behind: day.is_behind,
            style: assets::CHART_STYLE.path.as_str(),
            scripts: [assets::CHART.path.as_str(), assets::HOME.path.as_str()],
        }
    }
}

pub(crate) async fn home(
    State(console): Home,
    Extension(visit): Asked,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let may = |act| console.offers(signed_in, act);
    let instance = &console.instance;
    let day = or_failed(calls::day(instance).await)?;
    let counts = counts(&console, signed_in).await?;
    let mut unused = None;
    // A page does not wait until a long log was read.
    if !day.is_behind && may(Act::GrantRead) && may(Act::ClientRead) {
        let back = Duration::from_hours(24 * u64::from(UNUSED_DAYS));
        let found = or_failed(advisor::advise(instance, back).await)?;
        let grants = found.grants.iter().filter(|one| !one.is_young).count();
        unused = Some((grants, found.keys.len()));
    }
    let ready = console.vitals.health("/readyz");
    let hindrance = ready.filter(|(status, _)| !status.is_success()).map(|(_, what)| what.trim());
    let who = or_failed(users::address(instance, signed_in.user).await)?;
    let answer = HomePage {
        frame: Frame::inside(&console, &visit, signed_in, "/"),
        who,
        id: signed_in.user.to_string(),
        roles: signed_in.roles.join(", "),
        hindrance,
        counts,
        day: may(Act::AuditRead).then(|| DayView::from(day)),
        expiring: expiring::soon(&console, signed_in).await?,
        notices: untold(&console, signed_in).await?,
        unused_days: UNUSED_DAYS,
        unused,
    };
    Ok(page(StatusCode::OK, &answer))
}

/// What there is, as far as somebody sees it.
async fn counts(
    console: &Console,
    signed_in: &SignedIn,
) -> Result<Vec<(&'static str, usize, &'static str)>, Refusal> {
    let may = |act| console.offers(signed_in, act);
    let instance = &console.instance;
    let mut counts = Vec::new();
    if may(Act::ProviderRead) {
        let count = or_failed(providers::list(instance).await)?.len();
        counts.push(("Providers", count, "/providers"));
    }
    if may(Act::ConnectionRead) {
        let all = or_failed(connections::list(instance).await)?;
        let count = all.iter().filter(|one| !one.is_revoked).count();
        counts.push(("Connections in force", count, "/connections"));
    }
    if may(Act::ClientRead) {
        let count = or_failed(clients::list(instance).await)?.len();
        counts.push(("Clients", count, "/clients"));
    }
    if may(Act::ReviewRead) {
        let now = instance.clock.now();
        let listed = or_failed(reviews::list(instance).await)?;
        if let Some(open) = listed.iter().find(|one| one.closed_at.is_none()) {
            let name = if open.is_overdue(now) {
                "Rights whose review is overdue"
            } else {
                "Rights to be reviewed"
            };
            counts.push((name, open.open_items(), "/reviews"));
        }
    }
    Ok(counts)
}
