//! Connect sessions: a product's own program makes a link by which its customer consents.

use super::{
    Answer,
    guard::Caller,
    problem::{Body, In, Problem},
};
use crate::console::Console;
use app::connect::{self, Begin, ConnectError, New, Target};
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use types::{Environment, Slug};
use utoipa::ToSchema;

/// What is to be connected: a new connection, or one that there is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectWanted {
    /// Of a new connection.
    provider: Option<String>,
    /// Whose data it is to reach; of a new connection.
    customer: Option<String>,
    /// The id of the connection that is consented to anew; then nothing else is given.
    connection: Option<String>,
    /// `live` or `test`.
    environment: Option<String>,
    /// Where several security schemes have an authorization code flow.
    scheme: Option<String>,
    /// Variables of the server's URL.
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

/// A session that was begun.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectBegun {
    id: String,
    /// Opens the session, once: give it to whoever consents, and to nobody else.
    token: String,
    /// Where whoever consents is sent.
    url: String,
    expires_at: String,
}

/// How far a session came.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectSession {
    id: String,
    provider: String,
    environment: String,
    /// `waiting`, `away`, `exchanging`, `returned`, `connected` or `ended`.
    progress: String,
    /// Why it ended: a known code.
    failure: Option<String>,
    /// The connection that came of it.
    connection: Option<String>,
    expires_at: String,
}

fn malformed(detail: &'static str) -> Problem {
    let remedy = "Give provider and customer, or connection alone.";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail, remedy)
}

fn target(wanted: ConnectWanted) -> Result<Target, Problem> {
    let ConnectWanted { provider, customer, connection, environment, scheme, variables } = wanted;
    match (provider, customer, connection) {
        (None, None, Some(id))
            if environment.is_none() && scheme.is_none() && variables.is_empty() =>
        {
            id.parse().map(Target::Again).map_err(|_| Problem::not_found("connection"))
        }
        (Some(provider), Some(customer), None) => {
            let provider: Slug = provider.parse().map_err(|_| Problem::not_found("provider"))?;
            let environment = match environment.as_deref() {
                None => Environment::Live,
                Some(given) => given
                    .parse()
                    .map_err(|_| malformed("the environment is neither live nor test"))?,
            };
            let headers = BTreeMap::new();
            let secret = None;
            let new = New { provider, customer, scheme, secret, environment, variables, headers };
            Ok(Target::New(Box::new(new)))
        }
        _ => Err(malformed("it is not clear what is to be connected")),
    }
}

/// Makes a link by which somebody consents. It connects nothing by itself; a request that is repeated with
/// its `Idempotency-Key` is answered with the session of then.
#[utoipa::path(post, path = "/v1/connect-sessions", tag = "connections", request_body = ConnectWanted,
    params(("Idempotency-Key" = Option<String>, Header, description = "A text of your own, for each session another.")),
    responses((status = 201, body = ConnectBegun, description = "It was begun.")))]
pub(crate) async fn begin(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Body(wanted): Body<ConnectWanted>,
) -> Result<(StatusCode, Json<ConnectBegun>), Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let key = match (keys.next(), keys.next()) {
        (None, _) => None,
        (Some(key), None) => Some(key.to_str().unwrap_or_default()),
        _ => Some(""),
    };
    let base = console.reached.url.trim_end_matches('/');
    let asked = Begin { target: target(wanted)?, base, idempotency_key: key };
    let ctx = caller.context(&console)?;
    let begun = connect::begin(&console.instance, &ctx, asked).await?;
    let token = begun.token.expose();
    let answer = ConnectBegun {
        id: begun.id.to_string(),
        url: format!("{base}/link/{token}"),
        token: token.to_owned(),
        expires_at: begun.expires_at.to_string(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// How far a session came that this token began.
#[utoipa::path(get, path = "/v1/connect-sessions/{id}", tag = "connections",
    params(("id" = String, Path, description = "The session's id.")),
    responses((status = 200, body = ConnectSession, description = "As asked.")))]
pub(crate) async fn one(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    In(id): In<String>,
) -> Answer<ConnectSession> {
    let not_found = || Problem::not_found("connect session");
    let id = id.parse().map_err(|_| not_found())?;
    let ctx = caller.context(&console)?;
    let shown = match connect::show(&console.instance, &ctx, id).await {
        Err(app::Error::Connect(ConnectError::Unknown)) => return Err(not_found()),
        other => other?,
    };
    let failure = shown.failure.or_else(|| shown.is_expired.then(|| "expired".to_owned()));
    Ok(Json(ConnectSession {
        id: shown.id.to_string(),
        provider: shown.provider,
        environment: shown.environment.to_string(),
        progress: if shown.is_expired { "ended".to_owned() } else { shown.progress.to_string() },
        failure,
        connection: shown.connection.map(|id| id.to_string()),
        expires_at: shown.expires_at.to_string(),
    }))
}
