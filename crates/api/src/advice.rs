//! What nobody used for a while.

use crate::{
    pages::{Asked, Home, Refusal, asked_for, or_failed, person},
    views::{Frame, moment, page},
};
use app::advisor;
use askama::Template;
use axum::{
    extract::{Extension, RawQuery, State},
    http::StatusCode,
    response::Response,
};
use std::time::Duration;

/// How far back is looked, unless somebody says so.
const DAYS: u16 = 90;

struct KeyView {
    client: String,
    id: String,
    created_at: String,
    expires_at: String,
}

struct GrantView {
    client: String,
    target: String,
    purpose: String,
    unused: String,
}

#[derive(Template)]
#[template(path = "advice.html")]
struct AdvicePage {
    frame: Frame,
    days: u16,
    problem: Option<&'static str>,
    calls: u64,
    back_to: String,
    keys: Vec<KeyView>,
    grants: Vec<GrantView>,
}

pub(crate) async fn advice(
    State(console): Home,
    Extension(visit): Asked,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let given = asked_for(query.as_deref(), "days");
    let parsed = given.trim().parse::<u16>().ok().filter(|days| (1..=3_650).contains(days));
    let problem = (!given.is_empty() && parsed.is_none())
        .then_some("These are no days. Write a number from 1 to 3650.");
    let days = parsed.unwrap_or(DAYS);
    let back = Duration::from_hours(24 * u64::from(days));
    let found = or_failed(advisor::advise(&console.instance, back).await)?;
    let keys = found.keys.into_iter().map(|key| KeyView {
        client: key.client,
        id: key.id.to_string(),
        created_at: moment(key.created_at),
        expires_at: moment(key.expires_at),
    });
    let grants = found.grants.into_iter().map(|one| GrantView {
        client: one.grant.client,
        target: one.grant.connection.map_or(one.grant.provider, |id| id.to_string()),
        purpose: one.grant.grant.purpose,
        unused: if one.is_whole { "all of it".to_owned() } else { one.unused.join(", ") },
    });
    let answer = AdvicePage {
        frame: Frame::inside(&console, &visit, signed_in, "/advice"),
        days,
        problem,
        calls: found.calls,
        back_to: found.looked_back_to.map_or_else(|| "now".to_owned(), moment),
        keys: keys.collect(),
        grants: grants.collect(),
    };
    Ok(page(StatusCode::OK, &answer))
}
