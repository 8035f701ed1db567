//! The installation and its nodes.

use super::{
    Answer,
    paging::{Page, Paging},
    problem::Asked,
};
use crate::console::Console;
use app::nodes;
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// What is served here.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Installation {
    /// Of Weirgate.
    version: &'static str,
    /// Whether the gateway takes calls.
    ready: bool,
    /// What is wrong, if it does not.
    status: String,
}

/// Whether the gateway takes calls, and which version this is.
#[utoipa::path(get, path = "/v1/installation", tag = "installation",
    responses((status = 200, body = Installation, description = "As asked.")))]
pub(crate) async fn installation(State(console): State<Arc<Console>>) -> Answer<Installation> {
    let health = console.vitals.health("/readyz");
    let (ready, status) = health.map_or((false, String::new()), |(status, text)| {
        (status.is_success(), text.trim().to_owned())
    });
    Ok(Json(Installation { version: env!("CARGO_PKG_VERSION"), ready, status }))
}

/// A node of the installation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Node {
    name: String,
    log: String,
    /// Whether it is the one that answers.
    is_own: bool,
    is_retired: bool,
    /// When its server was last at work, by its own clock.
    seen_at: Option<String>,
    /// Entries of its log that the store was told of.
    entries: u64,
    /// Events that it claimed and has not settled.
    claimed: u64,
}

/// The nodes.
#[utoipa::path(get, path = "/v1/nodes", tag = "installation", params(Paging),
    responses((status = 200, body = Page<Node>, description = "A page of them.")))]
pub(crate) async fn nodes(
    State(console): State<Arc<Console>>,
    Asked(paging): Asked<Paging>,
) -> Answer<Page<Node>> {
    let listed = nodes::list(&console.instance).await?.into_iter().map(|one| Node {
        name: one.name,
        log: one.log,
        is_own: one.is_own,
        is_retired: one.is_retired,
        seen_at: one.seen_at.map(|at| at.to_string()),
        entries: one.entries,
        claimed: one.claimed,
    });
    Ok(Json(paging.page(listed.collect(), |one| one.name.clone())?))
}
