//! What nobody used for a while.

use crate::{
    pages::{Asked, Home, Refusal, asked_for, or_failed, person},
    views::{Frame, moment, page},
};
use app::{Error, advisor, clients, people::users};
use askama::Template;
use axum::{
    extract::{Extension, Path, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use policy::Act;
use std::time::Duration;
use types::{Id, Key};

/// How far back is looked, unless somebody says so.
const DAYS: u16 = 90;

struct KeyView {
    client: String,
    id: String,
    created_at: String,
    expires_at: String,
}

struct GrantView {
    id: String,
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
    /// Address or id, roles and id of those who did not come.
    people: Vec<(String, String, String)>,
    sees_people: bool,
    is_long_enough: bool,
    /// Where it is too late to name fields.
    fields_since: Option<String>,
    may_change: bool,
    may_revoke: bool,
    may_disable: bool,
}

pub(crate) async fn advice(
    State(console): Home,
    Extension(visit): Asked,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let given = asked_for(query.as_deref(), "days");
    let parsed = days_of(&given);
    let problem = (!given.is_empty() && parsed.is_none())
        .then_some("These are no days. Write a number from 1 to 3650.");
    let days = parsed.unwrap_or(DAYS);
    let found = or_failed(advisor::advise(&console.instance, back(days)).await)?;
    let keys = found.keys.into_iter().map(|key| KeyView {
        client: key.client,
        id: key.id.to_string(),
        created_at: moment(key.created_at),
        expires_at: moment(key.expires_at),
    });
    let grants = found.grants.into_iter().filter(|one| !one.is_young).map(|one| GrantView {
        id: one.grant.id.to_string(),
        client: one.grant.client,
        target: one.grant.connection.map_or(one.grant.provider, |id| id.to_string()),
        purpose: one.grant.grant.purpose,
        unused: if one.is_whole { "all of it".to_owned() } else { one.unused.join(", ") },
    });
    let sees_people = console.offers(signed_in, Act::UserRead);
    let mut people = Vec::new();
    if sees_people && !found.people.is_empty() {
        let listed = or_failed(users::list(&console.instance).await)?;
        people.extend(found.people.into_iter().map(|one| {
            let address = listed.iter().find(|user| user.id == one.id);
            let address = address.and_then(|user| user.address.clone());
            let name = address.unwrap_or_else(|| one.id.to_string());
            (name, one.roles.join(", "), one.id.to_string())
        }));
    }
    let answer = AdvicePage {
        frame: Frame::inside(&console, &visit, signed_in, "/advice"),
        days,
        problem,
        calls: found.calls,
        back_to: found.looked_back_to.map_or_else(|| "now".to_owned(), moment),
        keys: keys.collect(),
        grants: grants.collect(),
        may_change: found.is_long_enough && console.offers(signed_in, Act::GrantApply),
        is_long_enough: found.is_long_enough,
        fields_since: found
            .fields_since
            .is_none_or(|at| at > found.since)
            .then(|| found.fields_since.map_or_else(|| "now".to_owned(), moment)),
        people,
        sees_people,
        may_disable: console.offers(signed_in, Act::UserDisable),
        may_revoke: console.offers(signed_in, Act::KeyRevoke),
    };
    Ok(page(StatusCode::OK, &answer))
}

/// Days to look back, as somebody wrote them.
pub(crate) fn days_of(text: &str) -> Option<u16> {
    text.trim().parse::<u16>().ok().filter(|days| (1..=3_650).contains(days))
}

pub(crate) fn back(days: u16) -> Duration {
    Duration::from_hours(24 * u64::from(days))
}

/// Ends a key that nobody uses.
pub(crate) async fn revoke_key(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let done = async {
        let id: Id<Key> = id.parse().map_err(|_| Error::NameUnknown { kind: "key" })?;
        clients::revoke_key(&console.instance, &console.context(Some(signed_in))?, id).await
    };
    or_failed(done.await.map(drop))?;
    Ok(Redirect::to("/advice").into_response())
}
