//! Why a call was not answered as asked, and the problem document (RFC 9457) that says so.
//!
//! Nothing here holds a body, a header value or a URL with its query: what a variant carries may be
//! shown to the caller and written to a log.

use crate::limits::{Held, Limit};
use bytes::Bytes;
use http::StatusCode;
use outbound::OutboundError;
use serde_json::{Map, Value, json};
use std::time::Duration;
use types::{Fault, Id, Origin, Request};

/// A call that was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("{what}")]
    BothKeyHeaders { what: &'static str },
    #[error("the request is malformed: {what}")]
    RequestMalformed { what: &'static str },
    #[error("no API key is given")]
    KeyMissing,
    #[error("the API key is malformed: {0}")]
    KeyMalformed(types::ApiKeyError),
    #[error("the API key is not known")]
    KeyUnknown,
    #[error("the API key has expired")]
    KeyExpired,
    #[error("the API key was revoked")]
    KeyRevoked,
    #[error("the API key is suspended")]
    KeySuspended,
    #[error("nothing is served at this path")]
    PathNotServed,
    #[error("there is no such connection")]
    ConnectionUnknown,
    #[error("the provider declares no such path")]
    PathUnknown,
    #[error("the provider declares no such method on this path")]
    MethodUnknown,
    #[error("the method {method} is not served")]
    MethodUnsupported { method: &'static str },
    #[error("the path is refused: {what}")]
    PathRefused { what: String },
    #[error("no grant lets this client do that")]
    NotGranted,
    #[error("a policy forbids that")]
    PolicyForbids,
    #[error("the grant has expired")]
    GrantExpired,
    #[error("the query parameter `{name}` is not declared by the operation")]
    ParameterUndeclared { name: String },
    #[error("the query parameter `{name}` is not named by the grant")]
    ParameterNotGranted { name: String },
    #[error("the field `{path}` may not be written")]
    FieldNotGranted { path: String },
    #[error("the list `{path}` would be replaced, and only a part of its elements may be written")]
    ListGrantedInPart { path: String },
    #[error("the operation takes no body")]
    BodyNotDeclared,
    #[error("the operation needs a body")]
    BodyMissing,
    #[error("the body is no acceptable JSON: {reason} at byte {offset}")]
    BodyMalformed { reason: &'static str, offset: u64 },
    #[error("the body's media type is not accepted here")]
    BodyMediaUnsupported,
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error("the body did not arrive within {seconds} s")]
    BodyTimeout { seconds: u64 },
    #[error("the If-Match tag is not one that this operation gave out")]
    PreconditionFailed,
    #[error("{}", told(.0.limit))]
    Held(Held),
    #[error("too many calls are under way")]
    Overloaded,
    #[error("the audit log cannot be written")]
    AuditUnavailable,
    #[error("the configuration could not be confirmed for {seconds} s")]
    SnapshotStale { seconds: u64 },
    #[error("a new description of the provider is coming into force")]
    ProviderUpdating,
    #[error("the connection's credential cannot be opened")]
    CredentialUnavailable,
    #[error("a token for the connection is being obtained")]
    CredentialRenewing,
    #[error("no token for the connection could be obtained ({code})")]
    RenewalFailed { code: &'static str, wait: Duration },
    #[error("what was consented to for this connection is over")]
    ConsentEnded,
    #[error("the connection's credential is suspended")]
    CredentialSuspended,
    #[error("the secret store does not vouch for the connection's credential")]
    CredentialStale,
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("the provider answered {status}")]
    ProviderError { status: u16, fields: Map<String, Value> },
    #[error("the provider refused the connection's credential")]
    ProviderCredentialRefused { status: u16 },
    #[error("the provider told an error inside a success")]
    ProviderErrorInside { code: String },
    #[error("the provider's answer is refused: {reason} at byte {offset}")]
    AnswerRefused { reason: &'static str, offset: u64 },
    #[error("the provider's answer repeats the connection's credential")]
    CredentialEchoed,
    #[error("the provider's answer has a media type that may not pass")]
    AnswerMedia,
    #[error("the provider's description declares no shape for this answer")]
    AnswerUndescribed,
    #[error("access was withdrawn while the answer was under way")]
    AccessWithdrawn,
    #[error("the caller went away")]
    CallerGone,
    #[error("something is wrong in Weirgate: {what}")]
    Internal { what: &'static str },
}

impl CallError {
    /// What a call fails with that has met a defect of ours.
    pub(crate) const PANICKED: Self = Self::Internal { what: "a defect was met" };

    /// The status that the caller sees.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BothKeyHeaders { .. }
            | Self::RequestMalformed { .. }
            | Self::PathRefused { .. }
            | Self::BodyMissing
            | Self::BodyMalformed { .. } => StatusCode::BAD_REQUEST,
            Self::KeyMissing
            | Self::KeyMalformed(_)
            | Self::KeyUnknown
            | Self::KeyExpired
            | Self::KeyRevoked
            | Self::KeySuspended => StatusCode::UNAUTHORIZED,
            Self::PathNotServed
            | Self::ConnectionUnknown
            | Self::PathUnknown
            | Self::MethodUnknown => StatusCode::NOT_FOUND,
            Self::MethodUnsupported { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotGranted
            | Self::PolicyForbids
            | Self::GrantExpired
            | Self::ParameterUndeclared { .. }
            | Self::ParameterNotGranted { .. }
            | Self::FieldNotGranted { .. }
            | Self::ListGrantedInPart { .. }
            | Self::BodyNotDeclared
            | Self::CredentialSuspended
            | Self::AccessWithdrawn => StatusCode::FORBIDDEN,
            Self::BodyMediaUnsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout { .. } | Self::CallerGone => StatusCode::REQUEST_TIMEOUT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::Held(Held { limit: Limit::Bodies, .. }) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Held(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded
            | Self::AuditUnavailable
            | Self::SnapshotStale { .. }
            | Self::ProviderUpdating
            | Self::CredentialRenewing
            | Self::CredentialStale
            | Self::CredentialUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::ProviderError { status, .. } => match status {
                400..=499 => StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY),
                _ => StatusCode::BAD_GATEWAY,
            },
            Self::Outbound(_)
            | Self::RenewalFailed { .. }
            | Self::ConsentEnded
            | Self::ProviderCredentialRefused { .. }
            | Self::ProviderErrorInside { .. }
            | Self::AnswerRefused { .. }
            | Self::CredentialEchoed
            | Self::AnswerMedia
            | Self::AnswerUndescribed => StatusCode::BAD_GATEWAY,
            Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the reader can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::BothKeyHeaders { .. } => "Send the key in one header, once.",
            Self::RequestMalformed { .. } => "Correct the part of the request that `detail` names.",
            Self::BodyMalformed { .. } => {
                "Send well-formed JSON; `reason` and `offset` say where it stops being that."
            }
            Self::KeyMissing => "Send `Authorization: Bearer wg_...` or `X-Weirgate-Key: wg_...`.",
            Self::KeyMalformed(_) => "Copy the whole key again; it was mistyped or cut.",
            Self::KeyUnknown => {
                "Check that the key belongs to this installation; create one with `weirgate client key create`."
            }
            Self::KeyExpired | Self::KeyRevoked => {
                "Create a new key with `weirgate client key create`."
            }
            Self::KeySuspended => {
                "A rule of lifetimes ended it: ask the operator to restore it (`weirgate vault lifetime restore`), or use another key."
            }
            Self::CredentialStale => {
                "The operator must look at the secret store, and at `weirgate vault store list`."
            }
            Self::CredentialSuspended => {
                "A rule of lifetimes ended it: the operator may restore it (`weirgate vault lifetime restore`), or replace it by another one."
            }
            Self::PathNotServed => {
                "Call /proxy/CONNECTION/PATH, where PATH is one of the provider's; health and metrics are served on the console's port."
            }
            Self::ConnectionUnknown => {
                "Check the connection's id, and that its environment is the key's."
            }
            Self::PathUnknown | Self::MethodUnknown => {
                "Use a path and method that `weirgate provider show` lists."
            }
            Self::MethodUnsupported { .. } => "Use GET, HEAD, POST, PUT, PATCH or DELETE.",
            Self::PathRefused { .. } => {
                "Send each path segment percent-encoded once, without slashes or dots in it."
            }
            Self::NotGranted => {
                "Ask for a grant that names this object and action, and apply it with `weirgate apply`."
            }
            Self::PolicyForbids => {
                "It may be allowed at another hour or from another address; `weirgate policy list` \
                 shows the policies."
            }
            Self::GrantExpired => "Renew the grant's `expires` and run `weirgate apply`.",
            Self::ParameterUndeclared { .. } => {
                "Leave the parameter out, or declare it in the provider's overlay."
            }
            Self::ParameterNotGranted { .. } => {
                "Leave the parameter out, or name it in the grant's `params`."
            }
            Self::FieldNotGranted { .. } => {
                "Leave the field out, or name it in a grant with the action of this call."
            }
            Self::ListGrantedInPart { .. } => {
                "Leave the list out, or grant all that is declared in its elements."
            }
            Self::BodyNotDeclared => "Send no body.",
            Self::BodyMissing => "Send the body that the provider's description asks for.",
            Self::BodyMediaUnsupported => {
                "Send application/json (or the form type the operation declares), unencoded."
            }
            Self::BodyTooLarge { .. } => "Send less, or raise `max_write_bytes`.",
            Self::BodyTimeout { .. } | Self::CallerGone => "Send the request again.",
            Self::PreconditionFailed => "Read the object again and use the ETag of that answer.",
            Self::Held(_)
            | Self::Overloaded
            | Self::ProviderUpdating
            | Self::CredentialRenewing
            | Self::RenewalFailed { .. } => "Wait for the time that Retry-After gives.",
            Self::AuditUnavailable => {
                "The operator must look at the disk of the data folder and at the server's log lines; once the log can be written it goes on by itself."
            }
            Self::SnapshotStale { .. } => "The operator must look at the database.",
            Self::CredentialUnavailable => {
                "The operator must restore the data folder, or create the connection anew with `weirgate connection create`."
            }
            Self::ConsentEnded => {
                "Somebody has to consent anew: `weirgate connection reconnect CONNECTION`, or the console's page of the connection."
            }
            Self::Outbound(error) => remedy_of_outbound(error),
            Self::ProviderError { status: 500.., .. } => {
                "The provider failed; try again later, and look at its status page."
            }
            Self::ProviderError { .. } => "The provider refused the call; see `provider_error`.",
            Self::ProviderCredentialRefused { .. } => {
                "Put a credential that works in its place (`weirgate connection replace`)."
            }
            Self::ProviderErrorInside { .. } => "See the provider's documentation for this code.",
            Self::AnswerRefused { .. } | Self::AnswerMedia => {
                "The provider broke its own description; nothing of the answer was passed on."
            }
            Self::CredentialEchoed => {
                "Grant no field that holds the credential itself; if none is granted, the provider repeats what it is sent: tell it, and replace the credential."
            }
            Self::AnswerUndescribed => "Declare the answer's shape in the provider's overlay.",
            Self::AccessWithdrawn => "Ask for the grant again.",
            Self::Internal { .. } => "Report this with the request id.",
        }
    }

    /// The problem document. `request` is also in the header `weirgate-request-id`.
    pub fn to_problem(&self, request: Id<Request>) -> Bytes {
        let mut problem = Map::new();
        problem.insert("type".into(), json!(format!("/errors/{}", self.code())));
        problem.insert("title".into(), json!(self.title()));
        problem.insert("status".into(), json!(self.status().as_u16()));
        problem.insert("code".into(), json!(self.code()));
        problem.insert("detail".into(), json!(self.to_string()));
        problem.insert("remedy".into(), json!(self.remedy()));
        problem.insert("request_id".into(), json!(request.to_string()));
        match self {
            Self::ProviderError { status, fields } => {
                problem.insert("provider_status".into(), json!(status));
                if !fields.is_empty() {
                    problem.insert("provider_error".into(), Value::Object(fields.clone()));
                }
            }
            Self::ProviderCredentialRefused { status } => {
                problem.insert("provider_status".into(), json!(status));
            }
            Self::RenewalFailed { code, .. } => {
                problem.insert("reason".into(), json!(code));
            }
            Self::ProviderErrorInside { code } => {
                problem.insert("provider_code".into(), json!(code));
            }
            Self::AnswerRefused { reason, offset } | Self::BodyMalformed { reason, offset } => {
                problem.insert("reason".into(), json!(reason));
                problem.insert("offset".into(), json!(offset));
            }
            Self::Held(held) => {
                problem.insert("limit".into(), json!(held.limit.as_str()));
            }
            Self::FieldNotGranted { path } | Self::ListGrantedInPart { path } => {
                problem.insert("field".into(), json!(path));
            }
            Self::ParameterNotGranted { name } | Self::ParameterUndeclared { name } => {
                problem.insert("parameter".into(), json!(name));
            }
            _ => {}
        }
        Bytes::from(Value::Object(problem).to_string())
    }

    fn title(&self) -> &'static str {
        match self.status() {
            StatusCode::BAD_REQUEST => "The request is malformed",
            StatusCode::UNAUTHORIZED => "The API key is not accepted",
            StatusCode::FORBIDDEN => "Not granted",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::METHOD_NOT_ALLOWED => "The method is not served",
            StatusCode::TOO_MANY_REQUESTS => "Too many calls",
            StatusCode::PAYLOAD_TOO_LARGE => "The body is too large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "The media type is not accepted",
            StatusCode::BAD_GATEWAY => "The provider failed",
            StatusCode::SERVICE_UNAVAILABLE => "Not available now",
            StatusCode::INTERNAL_SERVER_ERROR => "Internal error",
            _ => "The call failed",
        }
    }
}

fn told(limit: Limit) -> String {
    match limit {
        Limit::KeyBodies => "too many request bodies of this key wait at once".to_owned(),
        Limit::Bodies => "too many request bodies wait at once".to_owned(),
        limit => format!("too many calls: the limit of the {} is reached", limit.as_str()),
    }
}

fn remedy_of_outbound(error: &OutboundError) -> &'static str {
    match error {
        OutboundError::AddressRefused(_) | OutboundError::PlainHttpRefused => {
            "The operator must look where the provider's name leads; an internal provider is allowed at `weirgate provider import` by --allow-private-network."
        }
        OutboundError::Unsendable { .. } => {
            "The operator must correct what `detail` names in the provider's server or the connection."
        }
        OutboundError::Unresolvable | OutboundError::ResolveTimeout { .. } => {
            "The operator must check the server's name with `weirgate provider check`, and this machine's resolver."
        }
        OutboundError::Tls(_) => {
            "The operator must look at the provider's certificate; a private issuer is trusted by `extra_roots_file`."
        }
        OutboundError::TooLarge { .. } => "Ask for smaller pages, or raise `max_answer_bytes`.",
        OutboundError::Malformed { .. } | OutboundError::Bomb { .. } | OutboundError::Encoding => {
            "Tell the provider: its answer breaks HTTP, and nothing of it was passed on."
        }
        OutboundError::NoWindow => {
            "Try again later; the operator may raise `max_window_bytes` if there is memory for it."
        }
        OutboundError::Reset | OutboundError::BodyTimeout { .. } => {
            "Try again later; a write may have been done, so look before it is repeated."
        }
        OutboundError::Unreachable
        | OutboundError::ConnectTimeout { .. }
        | OutboundError::TlsTimeout { .. }
        | OutboundError::HeadTimeout { .. }
        | OutboundError::TotalTimeout { .. } => {
            "The provider failed; try again later, and look at its status page."
        }
    }
}

impl Fault for CallError {
    fn origin(&self) -> Origin {
        match self {
            Self::Outbound(error) => error.origin(),
            Self::ProviderError { .. }
            | Self::CredentialRenewing
            | Self::RenewalFailed { .. }
            | Self::ConsentEnded
            | Self::ProviderCredentialRefused { .. }
            | Self::ProviderErrorInside { .. }
            | Self::AnswerRefused { .. }
            | Self::CredentialEchoed
            | Self::AnswerMedia
            | Self::AnswerUndescribed
            | Self::Held(Held { limit: Limit::ToldByProvider, .. }) => Origin::Provider,
            Self::Held(Held { limit: Limit::Bodies, .. })
            | Self::Overloaded
            | Self::AuditUnavailable
            | Self::SnapshotStale { .. }
            | Self::ProviderUpdating
            | Self::CredentialStale
            | Self::CredentialUnavailable
            | Self::Internal { .. } => Origin::Internal,
            _ => Origin::Caller,
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Outbound(error) => error.is_retryable(),
            Self::ProviderError { status, .. } => matches!(status, 429 | 500 | 502 | 503 | 504),
            Self::Held(_)
            | Self::Overloaded
            | Self::AuditUnavailable
            | Self::SnapshotStale { .. }
            | Self::ProviderUpdating
            | Self::CredentialRenewing
            | Self::RenewalFailed { .. }
            | Self::BodyTimeout { .. }
            | Self::CallerGone => true,
            _ => false,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::BothKeyHeaders { .. } => "both_key_headers",
            Self::RequestMalformed { .. } => "request_malformed",
            Self::KeyMissing => "key_missing",
            Self::KeyMalformed(_) => "key_malformed",
            Self::KeyUnknown => "key_unknown",
            Self::KeyExpired => "key_expired",
            Self::KeyRevoked => "key_revoked",
            Self::KeySuspended => "key_suspended",
            Self::PathNotServed => "path_not_served",
            Self::ConnectionUnknown => "connection_unknown",
            Self::PathUnknown => "path_unknown",
            Self::MethodUnknown => "method_unknown",
            Self::MethodUnsupported { .. } => "method_unsupported",
            Self::PathRefused { .. } => "path_refused",
            Self::NotGranted => "not_granted",
            Self::PolicyForbids => "policy_forbids",
            Self::GrantExpired => "grant_expired",
            Self::ParameterUndeclared { .. } => "parameter_undeclared",
            Self::ParameterNotGranted { .. } => "parameter_not_granted",
            Self::FieldNotGranted { .. } => "field_not_granted",
            Self::ListGrantedInPart { .. } => "list_granted_in_part",
            Self::BodyNotDeclared => "body_not_declared",
            Self::BodyMissing => "body_missing",
            Self::BodyMalformed { .. } => "body_malformed",
            Self::BodyMediaUnsupported => "body_media_unsupported",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTimeout { .. } => "body_timeout",
            Self::PreconditionFailed => "precondition_failed",
            Self::Held(held) => match held.limit {
                Limit::ConnectionCalls | Limit::ProviderCalls => "too_many_calls",
                Limit::KeyBodies | Limit::Bodies => "too_many_bodies",
                _ => "rate_limited",
            },
            Self::Overloaded => "overloaded",
            Self::AuditUnavailable => "audit_unavailable",
            Self::SnapshotStale { .. } => "snapshot_stale",
            Self::ProviderUpdating => "provider_updating",
            Self::CredentialUnavailable => "credential_unavailable",
            Self::CredentialRenewing => "credential_renewing",
            Self::RenewalFailed { .. } => "credential_renewal_failed",
            Self::ConsentEnded => "consent_ended",
            Self::CredentialSuspended => "credential_suspended",
            Self::CredentialStale => "credential_stale",
            Self::Outbound(error) => error.code(),
            Self::ProviderError { .. } => "provider_error",
            Self::ProviderCredentialRefused { .. } => "provider_credential_refused",
            Self::ProviderErrorInside { .. } => "provider_error_inside",
            Self::AnswerRefused { .. } => "answer_refused",
            Self::CredentialEchoed => "credential_echoed",
            Self::AnswerMedia => "answer_media",
            Self::AnswerUndescribed => "answer_undescribed",
            Self::AccessWithdrawn => "access_withdrawn",
            Self::CallerGone => "caller_gone",
            Self::Internal { .. } => "internal",
        }
    }
}
