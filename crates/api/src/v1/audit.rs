//! This node's audit log.

use super::{
    Answer,
    paging::{Page, Paging, cursor},
    problem::{Asked, Problem},
};
use crate::console::Console;
use app::audit_log::{self, reading};
use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// An entry of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Entry {
    index: u64,
    at: String,
    kind: &'static str,
    /// Whatever it says, by name.
    fields: BTreeMap<&'static str, String>,
}

/// What this node's log was signed with last.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Checkpoint {
    /// A signed note (C2SP tlog-checkpoint).
    checkpoint: String,
}

/// The entries of the log of the node that answers, the newest first.
#[utoipa::path(get, path = "/v1/audit/entries", tag = "audit", params(Paging),
    responses((status = 200, body = Page<Entry>, description = "A page of them.")))]
pub(crate) async fn entries(
    State(console): State<Arc<Console>>,
    Asked(paging): Asked<Paging>,
) -> Answer<Page<Entry>> {
    let limit = paging.limit()?;
    let before = match paging.after()? {
        None => None,
        Some(text) => Some(text.parse::<u64>().map_err(|_| {
            let detail = "`cursor` is none that an answer gave as `next`";
            Problem::new(StatusCode::BAD_REQUEST, "malformed", detail, "Begin without one.")
        })?),
    };
    let items = reading(&console.instance, move |instance| {
        let mut items = Vec::new();
        audit_log::walk_back(&instance.folder, before, |index, record| {
            let fields = record.fields().into_iter();
            let fields = fields.map(|(name, value)| (name, value.to_string()));
            items.push(Entry {
                index,
                at: record.at().to_string(),
                kind: record.kind(),
                fields: fields.filter(|(_, value)| !value.is_empty()).collect(),
            });
            items.len() < limit
        })?;
        Ok(items)
    })
    .await?;
    let oldest = items.last().map(|one| one.index).filter(|oldest| *oldest > 0);
    Ok(Json(Page { items, next: oldest.map(|oldest| cursor(&oldest.to_string())) }))
}

/// The newest checkpoint, signed by the log's key: who keeps it can prove later that nothing was
/// changed.
#[utoipa::path(get, path = "/v1/audit/checkpoint", tag = "audit",
    responses((status = 200, body = Checkpoint, description = "As asked.")))]
pub(crate) async fn checkpoint(State(console): State<Arc<Console>>) -> Answer<Checkpoint> {
    let instance = &console.instance;
    let read = reading(instance, |instance| audit_log::checkpoint(&instance.folder)).await?;
    Ok(Json(Checkpoint { checkpoint: read }))
}
