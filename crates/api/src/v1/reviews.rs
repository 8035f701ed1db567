//! Reviews of rights, what waits for a second person, and what nobody uses: to be looked at.

use super::{
    Answer,
    guard::{self, Caller},
    paging::{Page, Paging},
    problem::{Asked, Body, In, Problem},
};
use crate::console::Console;
use app::{Error, advisor, proposals, reviews};
use axum::{Extension, Json, extract::State, http::StatusCode};
use policy::{Act, Decision};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use utoipa::ToSchema;

/// A review of rights.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Review {
    id: String,
    name: String,
    /// As the audit log names actors.
    begun_by: String,
    created_at: String,
    due_at: String,
    closed_at: Option<String>,
    items: usize,
    /// How many items nobody decided yet.
    undecided: usize,
}

impl Review {
    fn of(one: reviews::Reviewed) -> Self {
        Self {
            undecided: one.open_items(),
            id: one.id.to_string(),
            name: one.name,
            begun_by: one.begun_by,
            created_at: one.created_at.to_string(),
            due_at: one.due_at.to_string(),
            closed_at: one.closed_at.map(|at| at.to_string()),
            items: one.items.len(),
        }
    }
}

/// A review with its items and what was decided of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reviewed {
    /// As `review show --json` has it.
    #[schema(value_type = Object)]
    review: serde_json::Value,
}

/// A change of a grant that waits for a second person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Proposal {
    id: String,
    grant: String,
    /// What it would change.
    words: Vec<String>,
    /// The id of whoever proposed it.
    author: String,
    created_at: String,
    expires_at: String,
}

/// The reviews.
#[utoipa::path(get, path = "/v1/reviews", tag = "reviews", params(Paging),
    responses((status = 200, body = Page<Review>, description = "A page of them.")))]
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    Asked(paging): Asked<Paging>,
) -> Answer<Page<Review>> {
    let listed = reviews::list(&console.instance).await?.into_iter().map(Review::of);
    Ok(Json(paging.page(listed.collect(), |one| one.id.clone())?))
}

/// What a review is begun with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReview {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Days until it is due.
    #[schema(minimum = 1, maximum = 366)]
    days: u16,
}

/// Begins a review of every grant in force and every role that somebody has. One is under way at a time:
/// while there is one, this is refused, and begins no other.
#[utoipa::path(post, path = "/v1/reviews", tag = "reviews", request_body = NewReview,
    responses((status = 201, body = Review, description = "It is begun.")))]
pub(crate) async fn begin(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    Body(new): Body<NewReview>,
) -> Result<(StatusCode, Json<Review>), Problem> {
    let ctx = caller.context(&console)?;
    let id = reviews::begin(&console.instance, &ctx, &new.name, new.days).await?;
    let begun = reviews::show(&console.instance, Some(id)).await?;
    Ok((StatusCode::CREATED, Json(Review::of(begun))))
}

/// A review, with what was decided.
#[utoipa::path(get, path = "/v1/reviews/{id}", tag = "reviews",
    params(("id" = String, Path, description = "The review's id.")),
    responses((status = 200, body = Reviewed, description = "As asked.")))]
pub(crate) async fn one(
    State(console): State<Arc<Console>>,
    In(id): In<String>,
) -> Answer<Reviewed> {
    let id = id.parse().map_err(|_| Error::NameUnknown { kind: "review" })?;
    let shown = reviews::show(&console.instance, Some(id)).await?;
    Ok(Json(Reviewed { review: shown.to_json() }))
}

/// Changes of grants that wait for a second person.
#[utoipa::path(get, path = "/v1/proposals", tag = "grants", params(Paging),
    responses((status = 200, body = Page<Proposal>, description = "A page of them.")))]
pub(crate) async fn proposals(
    State(console): State<Arc<Console>>,
    Asked(paging): Asked<Paging>,
) -> Answer<Page<Proposal>> {
    let listed = proposals::waiting(&console.instance).await?.into_iter().map(|one| Proposal {
        id: one.id.to_string(),
        grant: one.grant,
        words: one.words,
        author: one.author.to_string(),
        created_at: one.created_at.to_string(),
        expires_at: one.expires_at.to_string(),
    });
    Ok(Json(paging.page(listed.collect(), |one| one.id.clone())?))
}

/// How far to look back.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Back {
    /// Days; 90 if none are given.
    #[serde(default)]
    #[param(minimum = 1, maximum = 3650)]
    days: Option<u16>,
}

/// What nobody used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Advice {
    /// What lies before was not looked at.
    since: String,
    /// The oldest entry of the log that was looked at.
    looked_back_to: Option<String>,
    /// Since when it is noted which fields are there; where that is later than `since`, none is named.
    fields_since: Option<String>,
    keys: Vec<IdleKey>,
    grants: Vec<IdleGrant>,
    people: Vec<IdlePerson>,
}

/// Somebody with roles who did not sign in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdlePerson {
    id: String,
    roles: Vec<String>,
    created_at: String,
}

/// A key in force that nobody showed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdleKey {
    id: String,
    client: String,
    created_at: String,
    expires_at: String,
}

/// A grant of which nothing, or not all, was used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IdleGrant {
    id: String,
    client: String,
    provider: String,
    purpose: String,
    /// Nothing of it was used.
    is_whole: bool,
    /// It was made since then, and had no time to be used.
    is_young: bool,
    /// Like `read Employee`, or `read Employee.salary`: what was not.
    unused: Vec<String>,
}

/// Grants and keys that nobody used for a while, and people who did not come, by this node's log.
#[utoipa::path(get, path = "/v1/advice", tag = "grants", params(Back),
    responses((status = 200, body = Advice, description = "As asked.")))]
pub(crate) async fn advice(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    Asked(back): Asked<Back>,
) -> Answer<Advice> {
    let days = back.days.unwrap_or(90);
    if !(1..=3_650).contains(&days) {
        let why = "it is not from 1 to 3650".to_owned();
        return Err(Error::Malformed { kind: "number of days", why }.into());
    }
    let _place = guard::place(&console).await?;
    let back = Duration::from_hours(24 * u64::from(days));
    let found = advisor::advise(&console.instance, back).await?;
    let keys = found.keys.into_iter().map(|key| IdleKey {
        id: key.id.to_string(),
        client: key.client,
        created_at: key.created_at.to_string(),
        expires_at: key.expires_at.to_string(),
    });
    let grants = found.grants.into_iter().map(|one| IdleGrant {
        id: one.grant.id.to_string(),
        client: one.grant.client,
        provider: one.grant.provider,
        purpose: one.grant.grant.purpose,
        is_whole: one.is_whole,
        is_young: one.is_young,
        unused: one.unused,
    });
    // Who there is, is for those who may see people.
    let sees_people = matches!(caller.may(&console, Act::UserRead), Decision::Allowed(_));
    let people = found.people.into_iter().filter(|_| sees_people).map(|one| IdlePerson {
        id: one.id.to_string(),
        roles: one.roles,
        created_at: one.created_at.to_string(),
    });
    Ok(Json(Advice {
        since: found.since.to_string(),
        looked_back_to: found.looked_back_to.map(|at| at.to_string()),
        fields_since: found.fields_since.map(|at| at.to_string()),
        keys: keys.collect(),
        grants: grants.collect(),
        people: people.collect(),
    }))
}
