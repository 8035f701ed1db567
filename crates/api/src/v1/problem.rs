//! What is told where something cannot be done (RFC 9457).

use crate::views::status_of;
use axum::{
    Json,
    extract::{
        FromRequest, FromRequestParts, Path, Query,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

/// A problem document.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind of status this is, in words.
    title: &'static str,
    status: u16,
    /// For programs: it does not change.
    code: &'static str,
    /// What is wrong, in words.
    detail: String,
    /// What to do.
    remedy: String,
    /// Each thing that is wrong, where several are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            title: status.canonical_reason().unwrap_or("Problem"),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            remedy: remedy.into(),
            problems: Vec::new(),
        }
    }

    /// Of a query: what is wrong, and what to do, by the name of each parameter.
    pub(crate) fn of_parameters(wrong: &[(&'static str, &'static str)]) -> Self {
        let names: Vec<String> = wrong.iter().map(|(name, _)| format!("`{name}`")).collect();
        let detail = format!("{} cannot be understood", names.join(", "));
        let remedy = match wrong {
            [(_, remedy)] => remedy,
            _ => "Correct each, as `problems` says.",
        };
        let problems = wrong.iter().map(|(name, remedy)| format!("{name}: {remedy}")).collect();
        Self { problems, ..Self::new(StatusCode::BAD_REQUEST, "malformed", detail, remedy) }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        let detail = format!("there is no {what} of that name");
        Self::new(StatusCode::NOT_FOUND, "not_found", detail, "List those there are.")
    }
}

impl From<app::Error> for Problem {
    fn from(error: app::Error) -> Self {
        let status = match (&error, status_of(&error)) {
            // What the caller may do was decided before: a rule says no to anybody.
            (app::Error::PlanStale, _) | (_, StatusCode::FORBIDDEN) => StatusCode::CONFLICT,
            (_, status) => status,
        };
        let code = match (&error, status) {
            (app::Error::Exists { .. }, _) => "exists",
            (app::Error::PlanStale, _) => "changed_meanwhile",
            (_, StatusCode::NOT_FOUND) => "not_found",
            (_, StatusCode::CONFLICT) => "refused",
            (_, StatusCode::UNPROCESSABLE_ENTITY) => "invalid",
            (_, StatusCode::SERVICE_UNAVAILABLE) => "unavailable",
            _ => "internal",
        };
        if status.is_server_error() {
            tracing::error!(%error, "the control API could not do what it was asked");
            let detail = "it could not be done now";
            return Self::new(status, code, detail, "The operator's log says why.");
        }
        let mut problem =
            Self::new(status, code, error.to_string(), error.remedy().unwrap_or_default());
        if let app::Error::Grants(problems) = &error {
            problem.problems = problems.iter().map(ToString::to_string).collect();
        }
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let status = rejection.status();
        let (code, remedy) = match status {
            StatusCode::PAYLOAD_TOO_LARGE => ("too_long", "Shorten it."),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("media_type", "Send JSON as application/json."),
            StatusCode::UNPROCESSABLE_ENTITY => {
                ("invalid", "Compare it with the schema in /openapi.json.")
            }
            _ => ("malformed", "Send JSON."),
        };
        // What was sent is not repeated: it may hold what it should not.
        Self::new(status, code, "the body is not what this operation takes", remedy)
    }
}

impl From<QueryRejection> for Problem {
    fn from(_: QueryRejection) -> Self {
        let detail = "the query holds something that this operation does not take, or takes once";
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail, "It takes what /openapi.json says.")
    }
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "the path is not UTF-8", "Correct it.")
    }
}

/// A body of JSON, or a problem.
#[derive(FromRequest)]
#[from_request(via(Json), rejection(Problem))]
pub(crate) struct Body<T>(pub T);

/// A query, or a problem.
#[derive(FromRequestParts)]
#[from_request(via(Query), rejection(Problem))]
pub(crate) struct Asked<T>(pub T);

/// What stands in the path, or a problem.
#[derive(FromRequestParts)]
#[from_request(via(Path), rejection(Problem))]
pub(crate) struct In<T>(pub T);
