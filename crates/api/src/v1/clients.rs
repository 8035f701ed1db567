//! Clients and their keys.

use super::{
    Answer,
    guard::Caller,
    paging::{Page, Paging},
    problem::{Asked, In, Problem},
};
use crate::console::Console;
use app::clients;
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::Serialize;
use std::sync::Arc;
use types::{Id, Slug};
use utoipa::ToSchema;

/// A program of the company.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Client {
    id: String,
    name: String,
    created_at: String,
    keys: Vec<Key>,
}

/// A key of a client. The key itself is shown once, where it is made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    id: String,
    environment: String,
    /// in_force, expired or revoked.
    state: &'static str,
    created_at: String,
    expires_at: String,
    revoked_at: Option<String>,
}

async fn all(console: &Console) -> Result<Vec<Client>, Problem> {
    let listed = clients::list(&console.instance).await?;
    let key = |key: clients::ListedKey| Key {
        id: key.id.to_string(),
        environment: key.environment.to_string(),
        state: key.state.as_str(),
        created_at: key.created_at.to_string(),
        expires_at: key.expires_at.to_string(),
        revoked_at: key.revoked_at.map(|at| at.to_string()),
    };
    Ok(listed
        .into_iter()
        .map(|one| Client {
            id: one.id.to_string(),
            name: one.name,
            created_at: one.created_at.to_string(),
            keys: one.keys.into_iter().map(key).collect(),
        })
        .collect())
}

async fn named(console: &Console, name: &str) -> Result<Option<Client>, Problem> {
    Ok(all(console).await?.into_iter().find(|one| one.name == name))
}

/// The clients with their keys.
#[utoipa::path(get, path = "/v1/clients", tag = "clients", params(Paging),
    responses((status = 200, body = Page<Client>, description = "A page of them.")))]
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    Asked(paging): Asked<Paging>,
) -> Answer<Page<Client>> {
    Ok(Json(paging.page(all(&console).await?, |one| one.name.clone())?))
}

/// One client.
#[utoipa::path(get, path = "/v1/clients/{name}", tag = "clients",
    params(("name" = String, Path, description = "The client's name.")),
    responses((status = 200, body = Client, description = "As asked.")))]
pub(crate) async fn one(
    State(console): State<Arc<Console>>,
    In(name): In<String>,
) -> Answer<Client> {
    named(&console, &name).await?.map(Json).ok_or_else(|| Problem::not_found("client"))
}

/// Names a program. Doing it twice is no error: its name is its key.
#[utoipa::path(put, path = "/v1/clients/{name}", tag = "clients",
    params(("name" = String, Path, description = "1 to 63 of a-z, 0-9 and -.",
        pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")),
    responses((status = 201, body = Client, description = "It was made."),
        (status = 200, body = Client, description = "It was there.")))]
pub(crate) async fn put(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    In(name): In<String>,
) -> Result<(StatusCode, Json<Client>), Problem> {
    let slug: Slug = name.parse().map_err(|error: types::SlugError| {
        let remedy = "Give a short name, like payroll-sync.";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", error.to_string(), remedy)
    })?;
    let made = clients::create(&console.instance, &caller.context(&console)?, &slug).await;
    let status = match made {
        Ok(_) => StatusCode::CREATED,
        Err(app::Error::Exists { .. }) => StatusCode::OK,
        Err(error) => return Err(error.into()),
    };
    let found = named(&console, slug.as_str()).await?;
    let found = found.ok_or_else(|| Problem::not_found("client"))?;
    Ok((status, Json(found)))
}

/// Ends a key. Doing it twice is no error.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "clients",
    params(("id" = String, Path, description = "The key's id.")),
    responses((status = 204, description = "It is revoked.")))]
pub(crate) async fn revoke_key(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    In(id): In<String>,
) -> Result<StatusCode, Problem> {
    let id: Id<types::Key> = id.parse().map_err(|_| Problem::not_found("key"))?;
    clients::revoke_key(&console.instance, &caller.context(&console)?, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
