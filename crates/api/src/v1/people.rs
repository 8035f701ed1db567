//! People, their sessions, and tokens of one's own.

use super::{
    Answer,
    guard::Caller,
    paging::{Page, Paging},
    problem::{Asked, In, Problem},
};
use crate::console::Console;
use app::{
    people::{sessions as session_list, tokens as token_list, users as accounts},
    rules,
};
use axum::{Extension, Json, extract::State, http::StatusCode};
use policy::{Act, Moment};
use serde::{Deserialize, Serialize};
use std::{net::IpAddr, sync::Arc};
use types::Id;
use utoipa::ToSchema;

/// A person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    id: String,
    address: Option<String>,
    name: Option<String>,
    /// invited, active or disabled.
    state: &'static str,
    roles: Vec<String>,
    has_second_factor: bool,
    created_at: String,
}

async fn all(console: &Console) -> Result<Vec<User>, Problem> {
    let listed = accounts::list(&console.instance).await?;
    Ok(listed
        .into_iter()
        .map(|one| User {
            id: one.id.to_string(),
            address: one.address,
            name: one.name,
            state: one.state.as_str(),
            roles: one.roles,
            has_second_factor: one.has_second_factor,
            created_at: one.created_at.to_string(),
        })
        .collect())
}

/// The people.
#[utoipa::path(get, path = "/v1/users", tag = "people", params(Paging),
    responses((status = 200, body = Page<User>, description = "A page of them.")))]
pub(crate) async fn users(
    State(console): State<Arc<Console>>,
    Asked(paging): Asked<Paging>,
) -> Answer<Page<User>> {
    Ok(Json(paging.page(all(&console).await?, |one| one.id.clone())?))
}

/// One person.
#[utoipa::path(get, path = "/v1/users/{id}", tag = "people",
    params(("id" = String, Path, description = "The person's id.")),
    responses((status = 200, body = User, description = "As asked.")))]
pub(crate) async fn user(State(console): State<Arc<Console>>, In(id): In<String>) -> Answer<User> {
    let found = all(&console).await?.into_iter().find(|one| one.id == id);
    found.map(Json).ok_or_else(|| Problem::not_found("person"))
}

/// At which moment it is asked.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct When {
    /// As if it came from this address.
    #[param(value_type = Option<String>)]
    source: Option<IpAddr>,
    /// As if a factor had been shown just now.
    stepped_up: Option<bool>,
}

/// What a person can do, and why.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Acts {
    acts: Vec<Decided>,
}

/// An act, and what decides it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Decided {
    act: &'static str,
    /// allowed, denied, needs a step-up, or needs a second approval.
    decision: &'static str,
    why: String,
}

/// What a person can do, and what decides it.
#[utoipa::path(get, path = "/v1/users/{id}/acts", tag = "people",
    params(("id" = String, Path, description = "The person's id."), When),
    responses((status = 200, body = Acts, description = "As asked.")))]
pub(crate) async fn acts(
    State(console): State<Arc<Console>>,
    In(id): In<String>,
    Asked(when): Asked<When>,
) -> Answer<Acts> {
    let id: Id<types::User> = id.parse().map_err(|_| Problem::not_found("person"))?;
    let moment = Moment {
        now: console.instance.clock.now(),
        source: when.source,
        is_stepped_up: when.stepped_up.unwrap_or(false),
    };
    let all = rules::explain(&console.instance, id, &moment).await?;
    let acts = all.into_iter().map(|(act, decision)| {
        let (decision, why) = rules::in_words(&decision);
        Decided { act: act.as_str(), decision, why }
    });
    Ok(Json(Acts { acts: acts.collect() }))
}

/// A session that is in force.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    id: String,
    user: String,
    created_at: String,
    seen_at: String,
    expires_at: String,
}

/// The sessions in force.
#[utoipa::path(get, path = "/v1/sessions", tag = "people", params(Paging),
    responses((status = 200, body = Page<Session>, description = "A page of them.")))]
pub(crate) async fn sessions(
    State(console): State<Arc<Console>>,
    Asked(paging): Asked<Paging>,
) -> Answer<Page<Session>> {
    let listed = session_list::list(&console.instance, None).await?;
    let listed = listed.into_iter().map(|one| Session {
        id: one.signed_in.session.to_string(),
        user: one.signed_in.user.to_string(),
        created_at: one.signed_in.created_at.to_string(),
        seen_at: one.seen_at.to_string(),
        expires_at: one.signed_in.expires_at.to_string(),
    });
    Ok(Json(paging.page(listed.collect(), |one| one.id.clone())?))
}

/// Ends a session.
#[utoipa::path(delete, path = "/v1/sessions/{id}", tag = "people",
    params(("id" = String, Path, description = "The session's id.")),
    responses((status = 204, description = "It has ended.")))]
pub(crate) async fn end_session(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    In(id): In<String>,
) -> Result<StatusCode, Problem> {
    let id: Id<types::Session> = id.parse().map_err(|_| Problem::not_found("session"))?;
    session_list::end(&console.instance, &caller.context(&console)?, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A personal access token. The token itself is shown once, where it is made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Token {
    id: String,
    name: String,
    roles: Vec<String>,
    created_at: String,
    expires_at: String,
    in_force: bool,
    /// Whether it is the one that asks.
    is_own: bool,
}

/// The tokens of whoever asks.
#[utoipa::path(get, path = "/v1/tokens", tag = "people", params(Paging),
    responses((status = 200, body = Page<Token>, description = "A page of them.")))]
pub(crate) async fn tokens(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    Asked(paging): Asked<Paging>,
) -> Answer<Page<Token>> {
    let listed = token_list::list(&console.instance, Some(caller.bearer.user)).await?;
    let listed = listed.into_iter().map(|one| Token {
        is_own: one.id == caller.bearer.token,
        id: one.id.to_string(),
        name: one.name,
        roles: one.roles,
        created_at: one.created_at.to_string(),
        expires_at: one.expires_at.to_string(),
        in_force: one.is_in_force,
    });
    Ok(Json(paging.page(listed.collect(), |one| one.id.clone())?))
}

/// Ends a token: one's own, or with `token.revoke` anybody's. Doing it twice is no error.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "people",
    params(("id" = String, Path, description = "The token's id.")),
    responses((status = 204, description = "It is revoked.")))]
pub(crate) async fn revoke_token(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    In(id): In<String>,
) -> Result<StatusCode, Problem> {
    let id: Id<types::Token> = id.parse().map_err(|_| Problem::not_found("token"))?;
    let may_all = caller.may(&console, Act::TokenRevoke).is_allowed();
    let of = (!may_all).then_some(caller.bearer.user);
    token_list::revoke(&console.instance, &caller.context(&console)?, id, of).await?;
    Ok(StatusCode::NO_CONTENT)
}
