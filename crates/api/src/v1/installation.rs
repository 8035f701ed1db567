//! The installation and its nodes.

use super::{
    Answer,
    paging::{Page, Paging},
    problem::Asked,
};
use crate::console::Console;
use app::{
    Error,
    doctor::{self, Level},
    nodes,
};
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

/// What the server was told, and what it shows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Told {
    settings: Vec<Setting>,
    listeners: Vec<Listener>,
    /// The certificate that both ports show.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    certificate: Option<Certificate>,
    is_behind_proxy: bool,
}

/// A key of the configuration.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Setting {
    key: &'static str,
    /// Without what may be secret in it.
    value: String,
    /// Where the value came from.
    source: String,
    is_default: bool,
}

/// A port.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Listener {
    name: &'static str,
    url: String,
}

/// From when to when it holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Certificate {
    begins_at: String,
    ends_at: String,
}

/// What the server that answers was told, and what became of it.
#[utoipa::path(get, path = "/v1/settings", tag = "installation",
    responses((status = 200, body = Told, description = "As asked.")))]
pub(crate) async fn settings(State(console): State<Arc<Console>>) -> Answer<Told> {
    let about = console.vitals.about();
    let settings = about.settings.into_iter().map(|one| Setting {
        key: one.key,
        value: one.value,
        source: one.source,
        is_default: one.is_default,
    });
    let listeners =
        about.listeners.into_iter().map(|one| Listener { name: one.name, url: one.url });
    Ok(Json(Told {
        settings: settings.collect(),
        listeners: listeners.collect(),
        certificate: about.certificate.map(|one| Certificate {
            begins_at: one.begins_at.to_string(),
            ends_at: one.ends_at.to_string(),
        }),
        is_behind_proxy: about.is_behind_proxy,
    }))
}

/// What was found of the machine and the data folder.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Findings {
    findings: Vec<Finding>,
}

/// What a check found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Finding {
    check: &'static str,
    /// `good`, `warning` or `bad`.
    level: &'static str,
    what: String,
    /// What to do; empty where nothing is.
    remedy: String,
}

/// What `weirgate doctor` finds at a glance, at the node that answers.
#[utoipa::path(get, path = "/v1/doctor", tag = "installation",
    responses((status = 200, body = Findings, description = "As asked.")))]
pub(crate) async fn findings(State(console): State<Arc<Console>>) -> Answer<Findings> {
    let instance = Arc::clone(&console.instance);
    // It reads files, which is not for an async thread.
    let found = tokio::task::spawn_blocking(move || doctor::glance(&instance)).await;
    let found =
        found.map_err(|_| Error::Internal { what: "the machine could not be looked at" })?;
    let findings = found.into_iter().map(|one| Finding {
        check: one.check,
        level: match one.level {
            Level::Good => "good",
            Level::Warning => "warning",
            Level::Bad => "bad",
        },
        what: one.what,
        remedy: one.remedy,
    });
    Ok(Json(Findings { findings: findings.collect() }))
}
