//! Grants: those there are, and what files would make of them.

use super::{
    Answer, guard,
    paging::{Page, Paging},
    problem::{Asked, Body},
};
use crate::console::Console;
use app::{apply, grants};
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A grant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Grant {
    id: String,
    client: String,
    provider: String,
    /// Where it is about one connection alone.
    connection: Option<String>,
    purpose: String,
    /// The last day, in UTC.
    expires: String,
    in_force: bool,
    created_at: String,
    allow: Vec<Allow>,
}

/// What a grant allows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Allow {
    object: Option<String>,
    actions: Vec<String>,
    fields: Vec<String>,
    params: Vec<String>,
    headers: Vec<String>,
    operations: Vec<String>,
}

/// Files as they would lie in the folder that is applied.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Files {
    #[schema(max_items = 1000)]
    files: Vec<File>,
}

/// A file of grants or roles (`NAME.toml`), or of a policy (`NAME.cedar`).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    name: String,
    text: String,
}

/// What applying would do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Plan {
    /// As `apply --dry-run --json` has it.
    #[schema(value_type = Object)]
    plan: serde_json::Value,
}

/// The grants.
#[utoipa::path(get, path = "/v1/grants", tag = "grants", params(Paging),
    responses((status = 200, body = Page<Grant>, description = "A page of them.")))]
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    Asked(paging): Asked<Paging>,
) -> Answer<Page<Grant>> {
    let listed = grants::list(&console.instance).await?.into_iter().map(|one| Grant {
        id: one.id.to_string(),
        client: one.client,
        provider: one.provider,
        connection: one.connection.map(|id| id.to_string()),
        purpose: one.grant.purpose,
        expires: one.grant.expires,
        in_force: one.is_in_force,
        created_at: one.created_at.to_string(),
        allow: one
            .grant
            .allow
            .into_iter()
            .map(|allow| Allow {
                object: allow.object,
                actions: allow.actions,
                fields: allow.fields,
                params: allow.params,
                headers: allow.headers,
                operations: allow.operations,
            })
            .collect(),
    });
    Ok(Json(paging.page(listed.collect(), |one| one.id.clone())?))
}

/// Says what applying these files would change, and every problem that they have; nothing is changed.
#[utoipa::path(post, path = "/v1/grants/plan", tag = "grants", request_body = Files,
    responses((status = 200, body = Plan, description = "As asked.")))]
pub(crate) async fn plan(
    State(console): State<Arc<Console>>,
    Body(given): Body<Files>,
) -> Answer<Plan> {
    let _place = guard::place(&console).await?;
    let files: Vec<(String, Vec<u8>)> =
        given.files.into_iter().map(|file| (file.name, file.text.into_bytes())).collect();
    let plan = apply::plan_files(&console.instance, &files).await?;
    Ok(Json(Plan { plan: plan.to_json(true) }))
}
