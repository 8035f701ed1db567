//! Roles and policies.

use super::{
    Answer,
    paging::{Page, Paging},
    problem::Asked,
};
use crate::console::Console;
use app::rules;
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// A role.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Role {
    name: String,
    built_in: bool,
    acts: Vec<&'static str>,
    /// How many people have it.
    people: usize,
}

/// A policy.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Policy {
    name: String,
    /// In Cedar.
    text: String,
}

/// The roles.
#[utoipa::path(get, path = "/v1/roles", tag = "rules", params(Paging),
    responses((status = 200, body = Page<Role>, description = "A page of them.")))]
pub(crate) async fn roles(
    State(console): State<Arc<Console>>,
    Asked(paging): Asked<Paging>,
) -> Answer<Page<Role>> {
    let listed = rules::roles(&console.instance).await?.into_iter().map(|one| Role {
        name: one.name,
        built_in: one.is_built_in,
        acts: one.acts.iter().map(|act| act.as_str()).collect(),
        people: one.people,
    });
    Ok(Json(paging.page(listed.collect(), |one| one.name.clone())?))
}

/// The policies in force.
#[utoipa::path(get, path = "/v1/policies", tag = "rules", params(Paging),
    responses((status = 200, body = Page<Policy>, description = "A page of them.")))]
pub(crate) async fn policies(
    State(console): State<Arc<Console>>,
    Asked(paging): Asked<Paging>,
) -> Answer<Page<Policy>> {
    let listed = rules::policies(&console.instance).await?;
    let listed = listed.into_iter().map(|one| Policy { name: one.name, text: one.text });
    Ok(Json(paging.page(listed.collect(), |one| one.name.clone())?))
}
