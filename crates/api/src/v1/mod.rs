//! The control API: what programs of people do, by personal access tokens.
//!
//! A token is never wider than its owner, and does nothing that needs a step-up: secrets, rights and
//! what guards them are for people in the console and for the command line. Sessions are no way in, so
//! that no other site can act by a browser's cookies.

mod audit;
mod clients;
mod connect;
mod connections;
mod grants;
mod guard;
mod installation;
mod paging;
mod people;
mod problem;
mod providers;
mod reviews;
mod rules;

use crate::console::Console;
use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::{StatusCode, header},
    middleware::from_fn_with_state,
    response::{IntoResponse as _, Response},
    routing::{any, delete, get, post, put},
};
use policy::Act;
use problem::Problem;
use std::sync::{Arc, LazyLock};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        ContentBuilder, RefOr, ResponseBuilder, Schema,
        schema::Ref,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

/// Descriptions are the longest of what is sent; with what JSON escapes in them.
const MAX_IMPORT_BYTES: usize = 48 * 1_024 * 1_024;
const MAX_BODY_BYTES: usize = 1_024 * 1_024;

/// What a route demands of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// That its owner may do this.
    May(Act),
    /// That it is one: its own affairs.
    Token,
}

/// Method, path and what is demanded. A route that is not here is served to nobody.
pub const API_ROUTES: &[(&str, &str, Need)] = &[
    ("GET", "/v1/installation", Need::May(Act::InstallationRead)),
    ("GET", "/v1/nodes", Need::May(Act::NodeList)),
    ("GET", "/v1/settings", Need::May(Act::SettingsRead)),
    ("GET", "/v1/doctor", Need::May(Act::DoctorRun)),
    ("GET", "/v1/providers", Need::May(Act::ProviderRead)),
    ("GET", "/v1/providers/{name}", Need::May(Act::ProviderRead)),
    ("PUT", "/v1/providers/{name}", Need::May(Act::ProviderImport)),
    ("POST", "/v1/providers/{name}/diff", Need::May(Act::ProviderRead)),
    ("GET", "/v1/providers/{name}/fields/{field}", Need::May(Act::GrantRead)),
    ("GET", "/v1/connections", Need::May(Act::ConnectionRead)),
    ("GET", "/v1/connections/{id}", Need::May(Act::ConnectionRead)),
    ("DELETE", "/v1/connections/{id}", Need::May(Act::ConnectionRevoke)),
    ("POST", "/v1/connect-sessions", Need::May(Act::ConnectionOffer)),
    ("GET", "/v1/connect-sessions/{id}", Need::May(Act::ConnectionOffer)),
    ("GET", "/v1/clients", Need::May(Act::ClientRead)),
    ("GET", "/v1/clients/{name}", Need::May(Act::ClientRead)),
    ("PUT", "/v1/clients/{name}", Need::May(Act::ClientCreate)),
    ("DELETE", "/v1/keys/{id}", Need::May(Act::KeyRevoke)),
    ("GET", "/v1/grants", Need::May(Act::GrantRead)),
    ("POST", "/v1/grants/plan", Need::May(Act::GrantRead)),
    ("GET", "/v1/proposals", Need::May(Act::GrantRead)),
    ("GET", "/v1/advice", Need::May(Act::GrantRead)),
    ("GET", "/v1/reviews", Need::May(Act::ReviewRead)),
    ("POST", "/v1/reviews", Need::May(Act::ReviewBegin)),
    ("GET", "/v1/reviews/{id}", Need::May(Act::ReviewRead)),
    ("GET", "/v1/users", Need::May(Act::UserRead)),
    ("GET", "/v1/users/{id}", Need::May(Act::UserRead)),
    ("GET", "/v1/users/{id}/acts", Need::May(Act::UserRead)),
    ("GET", "/v1/sessions", Need::May(Act::SessionRead)),
    ("DELETE", "/v1/sessions/{id}", Need::May(Act::SessionEnd)),
    ("GET", "/v1/tokens", Need::Token),
    ("DELETE", "/v1/tokens/{id}", Need::Token),
    ("GET", "/v1/roles", Need::May(Act::RoleRead)),
    ("GET", "/v1/policies", Need::May(Act::PolicyRead)),
    ("GET", "/v1/audit/entries", Need::May(Act::AuditRead)),
    ("GET", "/v1/audit/checkpoint", Need::May(Act::AuditRead)),
];

pub(crate) fn router(console: Arc<Console>) -> Router {
    let long = || DefaultBodyLimit::max(MAX_IMPORT_BYTES);
    let guarded = Router::new()
        .route("/v1/installation", get(installation::installation))
        .route("/v1/nodes", get(installation::nodes))
        .route("/v1/settings", get(installation::settings))
        .route("/v1/doctor", get(installation::findings))
        .route("/v1/providers", get(providers::list))
        .route(
            "/v1/providers/{name}",
            get(providers::one).merge(put(providers::import).layer(long())),
        )
        .route("/v1/providers/{name}/diff", post(providers::diff).layer(long()))
        .route("/v1/providers/{name}/fields/{field}", get(providers::field))
        .route("/v1/connections", get(connections::list))
        .route("/v1/connections/{id}", get(connections::one).delete(connections::revoke))
        .route("/v1/connect-sessions", post(connect::begin))
        .route("/v1/connect-sessions/{id}", get(connect::one))
        .route("/v1/clients", get(clients::list))
        .route("/v1/clients/{name}", get(clients::one).put(clients::put))
        .route("/v1/keys/{id}", delete(clients::revoke_key))
        .route("/v1/grants", get(grants::list))
        .route("/v1/grants/plan", post(grants::plan))
        .route("/v1/proposals", get(reviews::proposals))
        .route("/v1/advice", get(reviews::advice))
        .route("/v1/reviews", get(reviews::list).post(reviews::begin))
        .route("/v1/reviews/{id}", get(reviews::one))
        .route("/v1/users", get(people::users))
        .route("/v1/users/{id}", get(people::user))
        .route("/v1/users/{id}/acts", get(people::acts))
        .route("/v1/sessions", get(people::sessions))
        .route("/v1/sessions/{id}", delete(people::end_session))
        .route("/v1/tokens", get(people::tokens))
        .route("/v1/tokens/{id}", delete(people::revoke_token))
        .route("/v1/roles", get(rules::roles))
        .route("/v1/policies", get(rules::policies))
        .route("/v1/audit/entries", get(audit::entries))
        .route("/v1/audit/checkpoint", get(audit::checkpoint))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(&console), guard::before));
    Router::new()
        .route("/openapi.json", get(description))
        .route("/v1", any(unknown))
        .route("/v1/", any(unknown))
        .route("/v1/{*rest}", any(unknown))
        .merge(guarded)
        .layer(from_fn_with_state(Arc::clone(&console), guard::around))
        .with_state(console)
}

async fn unknown() -> Problem {
    let detail = "nothing is served under this path";
    Problem::new(StatusCode::NOT_FOUND, "path_unknown", detail, "/openapi.json says what is.")
}

async fn description() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, DESCRIPTION.as_str()).into_response()
}

/// The API's description, in OpenAPI 3.1.
pub static DESCRIPTION: LazyLock<String> = LazyLock::new(|| {
    let mut text = Api::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
});

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Weirgate control API",
        version = "1",
        description = "What a person's programs may do, by a personal access token. Problems are \
                       documents of RFC 9457. Acts on secrets, rights and what guards them need a \
                       step-up, which no token has: they are for the console and the command line.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        installation::installation,
        installation::nodes,
        installation::settings,
        installation::findings,
        providers::list,
        providers::one,
        providers::import,
        providers::diff,
        providers::field,
        connections::list,
        connections::one,
        connections::revoke,
        connect::begin,
        connect::one,
        clients::list,
        clients::one,
        clients::put,
        clients::revoke_key,
        grants::list,
        grants::plan,
        reviews::proposals,
        reviews::advice,
        reviews::list,
        reviews::begin,
        reviews::one,
        people::users,
        people::user,
        people::acts,
        people::sessions,
        people::end_session,
        people::tokens,
        people::revoke_token,
        rules::roles,
        rules::policies,
        audit::entries,
        audit::checkpoint,
    ),
    components(schemas(Problem)),
    security(("token" = [])),
    modifiers(&Common),
)]
struct Api;

/// What every operation has in common: who may ask, and how it fails.
struct Common;

impl Modify for Common {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        const FAILURES: [(&str, &str); 10] = [
            ("400", "What was sent cannot be read."),
            ("401", "No token that is in force was sent."),
            ("403", "The token's owner may not do that, or a token never may."),
            ("404", "There is none of that name."),
            ("409", "It cannot be done as things are."),
            ("413", "What was sent is too long."),
            ("415", "What was sent is of another media type."),
            ("422", "What was sent cannot be meant."),
            ("500", "Something is wrong in Weirgate."),
            ("503", "It cannot be done now."),
        ];
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A personal access token, made in the console."))
            .build();
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        let problem = || {
            let schema: RefOr<Schema> = Ref::from_schema_name("Problem").into();
            ContentBuilder::new().schema(Some(schema)).build()
        };
        for item in api.paths.paths.values_mut() {
            let all = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
            for operation in all.into_iter().flatten() {
                for (status, says) in FAILURES {
                    let response = ResponseBuilder::new()
                        .description(says)
                        .content("application/problem+json", problem())
                        .build();
                    let responses = &mut operation.responses.responses;
                    responses.entry(status.to_owned()).or_insert_with(|| response.into());
                }
            }
        }
    }
}

/// An answer, or why there is none.
type Answer<T> = Result<Json<T>, Problem>;
