//! Providers: what they declare, and what a new description would mean.

use super::{
    Answer,
    guard::{self, Caller},
    paging::{Page, Paging},
    problem::{Asked, Body, In, Problem},
};
use crate::console::Console;
use app::{explain, provider_diff, providers};
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use policy::Act;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use types::Slug;
use utoipa::ToSchema;

/// A provider, as it is listed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListedProvider {
    id: String,
    name: String,
    /// What replaces the description's own servers.
    server: Option<String>,
    imported_at: String,
}

/// What a provider's description declares.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Provider {
    name: String,
    /// As `provider show --json` has them: operations, objects with their fields and labels, diagnostics.
    #[schema(value_type = Object)]
    declared: serde_json::Value,
}

/// A description to put into a provider's place.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Import {
    /// OpenAPI 3.0, 3.1 or Swagger 2.0, JSON or YAML, as a text.
    description: String,
    /// An overlay; without one the overlay of an earlier import stays.
    overlay: Option<String>,
    /// Replaces the description's servers; without one what an earlier import named stays.
    server: Option<String>,
    /// `HOST:PORT` that may be private, and reached by plain http: refused, because it needs a step-up.
    /// Those that an earlier import allowed stay.
    #[serde(default)]
    allow_private_network: Vec<String>,
    /// Connections may send their credentials to other hosts than they do: refused, because it needs a
    /// step-up.
    #[serde(default)]
    accept_servers: bool,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Imported {
    id: String,
    name: String,
    replaced: bool,
    /// What stays of an earlier import, and what no longer passes by the grants there are.
    notices: Vec<String>,
    operations: usize,
    objects: usize,
    diagnostics: usize,
}

/// A description to compare.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Candidate {
    description: String,
    overlay: Option<String>,
}

/// What changes, and what that means for grants.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Difference {
    /// As `provider diff --json` has it.
    #[schema(value_type = Object)]
    report: serde_json::Value,
}

/// Who can see a field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Seen {
    field: String,
    /// The data category, where it is known.
    label: Option<String>,
    /// Grants by which it passes.
    ways: Vec<Way>,
}

/// A grant by which a field passes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Way {
    client: String,
    grant: String,
    purpose: String,
    expires: String,
    keys_in_force: usize,
    /// Operations that answer with it.
    reads: Vec<String>,
    /// Operations that may carry it.
    writes: Vec<String>,
}

fn slug(name: &str) -> Result<Slug, Problem> {
    name.parse().map_err(|_| Problem::not_found("provider"))
}

/// The providers.
#[utoipa::path(get, path = "/v1/providers", tag = "providers", params(Paging),
    responses((status = 200, body = Page<ListedProvider>, description = "A page of them.")))]
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    Asked(paging): Asked<Paging>,
) -> Answer<Page<ListedProvider>> {
    let listed = providers::list(&console.instance).await?.into_iter().map(|one| ListedProvider {
        id: one.id.to_string(),
        name: one.slug.to_string(),
        // A URL may hold what is nobody's business.
        server: one.server.as_deref().map(providers::shown),
        imported_at: one.imported_at.to_string(),
    });
    Ok(Json(paging.page(listed.collect(), |one| one.name.clone())?))
}

/// What a provider declares.
#[utoipa::path(get, path = "/v1/providers/{name}", tag = "providers",
    params(("name" = String, Path, description = "The provider's short name.")),
    responses((status = 200, body = Provider, description = "As asked.",
        headers(("etag" = String, description = "For `If-Match` when it is imported anew.")))))]
pub(crate) async fn one(
    State(console): State<Arc<Console>>,
    In(name): In<String>,
) -> Result<Response, Problem> {
    let slug = slug(&name)?;
    let (model, tag) = providers::show_tagged(&console.instance, &slug).await?;
    let declared = providers::to_json(&slug, &model);
    let mut response = Json(Provider { name, declared }).into_response();
    put_tag(&mut response, &tag);
    Ok(response)
}

fn put_tag(response: &mut Response, tag: &str) {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
}

/// Puts a description into a provider's place, or makes the provider. One that is there is replaced only
/// with `If-Match` and the tag that it was read with; `If-None-Match: *` makes a new one alone.
#[utoipa::path(put, path = "/v1/providers/{name}", tag = "providers",
    params(("name" = String, Path, description = "1 to 63 of a-z, 0-9 and -.",
        pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("if-match" = Option<String>, Header, description = "The tag of what is replaced."),
        ("if-none-match" = Option<String>, Header, description = "`*`: nothing is replaced.")),
    request_body = Import,
    responses((status = 200, body = Imported, description = "It was replaced."),
        (status = 201, body = Imported, description = "It was made."),
        (status = 412, body = Problem, content_type = "application/problem+json",
            description = "It is not what it was, or it is there."),
        (status = 428, body = Problem, content_type = "application/problem+json",
            description = "It is there, and no `If-Match` says which one is meant.")))]
pub(crate) async fn import(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    In(name): In<String>,
    headers: HeaderMap,
    Body(given): Body<Import>,
) -> Result<(StatusCode, Json<Imported>), Problem> {
    let slug: Slug = name.parse().map_err(|error: types::SlugError| {
        let remedy = "Give a short name, like bamboohr.";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", error.to_string(), remedy)
    })?;
    if given.accept_servers || !given.allow_private_network.is_empty() {
        return Err(guard::needs_step_up(Act::ProviderMove));
    }
    let expects = expected(&console, &slug, &headers).await?;
    let _place = guard::place(&console).await?;
    let import = providers::Import {
        slug,
        description: given.description.into_bytes(),
        overlay: given.overlay.map(String::into_bytes),
        is_without_overlay: false,
        server: given.server,
        is_server_described: false,
        allow_private: Vec::new(),
        accepts_servers: false,
        expects: Some(expects),
    };
    let context = caller.context(&console)?;
    let imported = providers::import(&console.instance, &context, import).await?;
    let status = if imported.is_replaced { StatusCode::OK } else { StatusCode::CREATED };
    let shown = Imported {
        id: imported.id.to_string(),
        name: imported.slug.to_string(),
        replaced: imported.is_replaced,
        notices: imported.notices,
        operations: imported.operations,
        objects: imported.objects,
        diagnostics: imported.diagnostics,
    };
    Ok((status, Json(shown)))
}

/// What has to be there, by what the caller says and by what is there.
async fn expected(
    console: &Console,
    slug: &Slug,
    headers: &HeaderMap,
) -> Result<providers::Expected, Problem> {
    use providers::Expected;
    let stale = |detail: &str| {
        let remedy = "Read it again, and decide anew.";
        Problem::new(StatusCode::PRECONDITION_FAILED, "changed_meanwhile", detail, remedy)
    };
    let text = |name: header::HeaderName| {
        headers.get(name).map(|value| value.to_str().unwrap_or_default().trim().to_owned())
    };
    let there = providers::tag(&console.instance, slug).await?;
    match (there, text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (Some(_), _, Some(_)) => Err(stale("there is a provider of that name")),
        (None, Some(_), _) => Err(stale("there is no provider of that name")),
        (None, None, _) => Ok(Expected::Nothing),
        (Some(tag), Some(given), None) if given.trim_matches('"') == tag => Ok(Expected::Tag(tag)),
        (Some(_), Some(_), None) => Err(stale("the provider is not what it was")),
        (Some(_), None, None) => Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "match_missing",
            "there is a provider of that name, and no `If-Match` says that it is meant",
            "Read it, and send its `ETag` as `If-Match`.",
        )),
    }
}

/// Says what a new description would mean for the grants in force; nothing is changed.
#[utoipa::path(post, path = "/v1/providers/{name}/diff", tag = "providers",
    params(("name" = String, Path, description = "The provider's short name.")),
    request_body = Candidate,
    responses((status = 200, body = Difference, description = "As asked.")))]
pub(crate) async fn diff(
    State(console): State<Arc<Console>>,
    In(name): In<String>,
    Body(given): Body<Candidate>,
) -> Answer<Difference> {
    let _place = guard::place(&console).await?;
    let new = provider_diff::Description {
        bytes: given.description.into_bytes(),
        overlay: given.overlay.map(String::into_bytes),
    };
    let report = provider_diff::with_imported(&console.instance, &slug(&name)?, new).await?;
    Ok(Json(Difference { report: report.to_json() }))
}

/// Which clients can see or send a field, by which grant and operations.
#[utoipa::path(get, path = "/v1/providers/{name}/fields/{field}", tag = "providers",
    params(("name" = String, Path, description = "The provider's short name."),
        ("field" = String, Path, description = "Like Employee.address.city.")),
    responses((status = 200, body = Seen, description = "As asked.")))]
pub(crate) async fn field(
    State(console): State<Arc<Console>>,
    In((name, field)): In<(String, String)>,
) -> Answer<Seen> {
    let seen = explain::field(&console.instance, &slug(&name)?, &field).await?;
    let ways = seen.ways.into_iter().map(|way| Way {
        client: way.grant.client,
        grant: way.grant.id.to_string(),
        purpose: way.grant.grant.purpose,
        expires: way.grant.grant.expires,
        keys_in_force: way.keys,
        reads: way.reads,
        writes: way.writes,
    });
    Ok(Json(Seen { field: seen.field, label: seen.label, ways: ways.collect() }))
}
