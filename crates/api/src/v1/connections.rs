//! Connections: which customer is connected to which provider.

use super::{
    Answer,
    guard::Caller,
    paging::{Page, Paging},
    problem::{Asked, In, Problem},
};
use crate::{access::sees_customers, console::Console};
use app::connections;
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::Serialize;
use std::sync::Arc;
use types::Id;
use utoipa::ToSchema;

/// A connection; its credential is nowhere shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Connection {
    id: String,
    provider: String,
    /// Only for those who may end connections.
    customer: Option<String>,
    environment: String,
    scheme: String,
    created_at: String,
    revoked_at: Option<String>,
}

async fn all(console: &Console, caller: &Caller) -> Result<Vec<Connection>, Problem> {
    let shows_customers = sees_customers(|act| caller.may(console, act).is_allowed());
    let listed = connections::list(&console.instance).await?;
    Ok(listed
        .into_iter()
        .map(|one| Connection {
            id: one.id.to_string(),
            provider: one.provider,
            customer: shows_customers.then_some(one.customer),
            environment: one.environment.to_string(),
            scheme: one.scheme,
            created_at: one.created_at.to_string(),
            revoked_at: one.revoked_at.map(|at| at.to_string()),
        })
        .collect())
}

/// The connections.
#[utoipa::path(get, path = "/v1/connections", tag = "connections", params(Paging),
    responses((status = 200, body = Page<Connection>, description = "A page of them.")))]
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    Asked(paging): Asked<Paging>,
) -> Answer<Page<Connection>> {
    Ok(Json(paging.page(all(&console, &caller).await?, |one| one.id.clone())?))
}

/// One connection.
#[utoipa::path(get, path = "/v1/connections/{id}", tag = "connections",
    params(("id" = String, Path, description = "The connection's id.")),
    responses((status = 200, body = Connection, description = "As asked.")))]
pub(crate) async fn one(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    In(id): In<String>,
) -> Answer<Connection> {
    let found = all(&console, &caller).await?.into_iter().find(|one| one.id == id);
    found.map(Json).ok_or_else(|| Problem::not_found("connection"))
}

/// Ends a connection for good. Doing it twice is no error.
#[utoipa::path(delete, path = "/v1/connections/{id}", tag = "connections",
    params(("id" = String, Path, description = "The connection's id.")),
    responses((status = 204, description = "It is revoked.")))]
pub(crate) async fn revoke(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    In(id): In<String>,
) -> Result<StatusCode, Problem> {
    let id: Id<types::Connection> = id.parse().map_err(|_| Problem::not_found("connection"))?;
    connections::revoke(&console.instance, &caller.context(&console)?, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
