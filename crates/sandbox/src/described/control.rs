//! The sandbox's own paths, below `/__sandbox`: what it serves, its faults, a fresh start, and the
//! authorization server.

use super::{
    fault::Rules,
    mock::{Call, Mock, Reply},
    oauth::Refused,
    problem::Problem,
};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::PoisonError};

pub(crate) const PREFIX: &str = "/__sandbox";
pub(crate) const TOKEN_PATH: &str = "/__sandbox/oauth/token";
pub(crate) const AUTHORIZE_PATH: &str = "/__sandbox/oauth/authorize";
pub(crate) const REVOKE_PATH: &str = "/__sandbox/oauth/revoke";
/// RFC 8414 §3.
const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";
/// Longest list of fault rules, in bytes.
const MAX_RULES_BYTES: usize = 16 * 1_024;

impl Mock {
    /// The answer, if the path is the sandbox's own.
    pub(super) fn control(&self, call: Call<'_>) -> Option<Reply> {
        let is_token_path = call.method == Method::POST && self.is_token_path(call.path);
        let path = if is_token_path { TOKEN_PATH } else { call.path };
        if path != METADATA_PATH && path != PREFIX && !path.starts_with("/__sandbox/") {
            return None;
        }
        let answered = match (call.method.as_str(), path) {
            ("GET", PREFIX) => Ok(self.about()),
            ("GET", "/__sandbox/calls") => Ok(self.calls()),
            ("POST", "/__sandbox/reset") => {
                self.reset();
                Ok(empty(StatusCode::NO_CONTENT))
            }
            ("GET", "/__sandbox/faults") => {
                let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
                Ok(text(rules.text()))
            }
            ("PUT", "/__sandbox/faults") => self.set_rules(call.body),
            ("DELETE", "/__sandbox/faults") => self.set_rules(b""),
            ("POST", TOKEN_PATH) => Ok(self.token(call)),
            ("POST", REVOKE_PATH) => Ok(self.revoke(call)),
            ("GET", AUTHORIZE_PATH) => Ok(self.authorize(call)),
            ("GET", METADATA_PATH) => Ok(self.metadata()),
            _ => Err(Problem::not_found()),
        };
        Some(answered.unwrap_or_else(|problem| self.refuse(None, &problem)))
    }

    /// Whether a path is that of a declared `tokenUrl` which the description has no operation for.
    fn is_token_path(&self, path: &str) -> bool {
        self.token_paths.iter().any(|one| one == path)
    }

    fn about(&self) -> Reply {
        json_reply(
            StatusCode::OK,
            &json!({
                "title": self.table.title,
                "url": self.base_url(),
                "operations": self.table.entries.len(),
                "collections": self.roles.collections.iter().filter(|one| one.is_listed).count(),
                "token_url": format!("{}{TOKEN_PATH}", self.root_url),
                "authorize_url": format!("{}{AUTHORIZE_PATH}", self.root_url),
                "revoke_url": format!("{}{REVOKE_PATH}", self.root_url),
                "calls": format!("{}{PREFIX}/calls", self.root_url),
            }),
        )
    }

    /// A call of every operation, one JSON object a line.
    fn calls(&self) -> Reply {
        let mut lines = String::new();
        for index in 0..self.table.entries.len() {
            let Some(sample) = self.sample(index) else { continue };
            let question = if sample.query.is_empty() { "" } else { "?" };
            let headers: BTreeMap<&str, &str> = sample
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .chain(sample.media.as_deref().map(|media| ("content-type", media)))
                .collect();
            let line = json!({
                "method": sample.method,
                "url": format!("{}{}{question}{}", self.base_url(), sample.path, sample.query),
                "headers": headers,
                "body": String::from_utf8_lossy(&sample.body),
            });
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        let mut reply = text(lines);
        reply.headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"))];
        reply
    }

    fn set_rules(&self, body: &[u8]) -> Result<Reply, Problem> {
        let wrong = |detail: String| Problem::bad("fault_unknown", detail);
        if body.len() > MAX_RULES_BYTES {
            return Err(wrong(format!("the rules have more than {MAX_RULES_BYTES} bytes")));
        }
        let body =
            std::str::from_utf8(body).map_err(|_| wrong("the rules are no text".to_owned()))?;
        let lines = body.lines().filter(|line| !line.trim().is_empty());
        let rules = Rules::parse(lines).map_err(|error| wrong(error.to_string()))?;
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        Ok(empty(StatusCode::NO_CONTENT))
    }

    fn token(&self, call: Call<'_>) -> Reply {
        let form = read_form(call.body);
        let now = self.clock.now();
        match self.auth.oauth.token(&form, call.headers, &self.auth.credential, now) {
            Ok(answer) => uncached(json_reply(StatusCode::OK, &answer)),
            Err(refused) => oauth_error(&refused),
        }
    }

    fn revoke(&self, call: Call<'_>) -> Reply {
        let form = read_form(call.body);
        match self.auth.oauth.revoke(&form, call.headers, &self.auth.credential) {
            Ok(()) => empty(StatusCode::OK),
            Err(refused) => oauth_error(&refused),
        }
    }

    fn authorize(&self, call: Call<'_>) -> Reply {
        let query = read_form(call.query.as_bytes());
        match self.auth.oauth.authorize(&query, self.clock.now()) {
            Ok(target) => {
                let mut reply = uncached(empty(StatusCode::FOUND));
                if let Ok(target) = HeaderValue::try_from(target) {
                    reply.headers.push((header::LOCATION, target));
                }
                reply
            }
            Err(refused) => oauth_error(&refused),
        }
    }

    fn metadata(&self) -> Reply {
        let url = |path: &str| format!("{}{path}", self.root_url);
        json_reply(
            StatusCode::OK,
            &json!({
                "issuer": self.root_url,
                "authorization_endpoint": url(AUTHORIZE_PATH),
                "token_endpoint": url(TOKEN_PATH),
                "revocation_endpoint": url(REVOKE_PATH),
                "response_types_supported": ["code"],
                "grant_types_supported":
                    ["authorization_code", "client_credentials", "password", "refresh_token"],
                "code_challenge_methods_supported": ["S256", "plain"],
                "token_endpoint_auth_methods_supported":
                    ["client_secret_basic", "client_secret_post", "none"],
            }),
        )
    }
}

fn read_form(bytes: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(bytes).into_owned().collect()
}

fn empty(status: StatusCode) -> Reply {
    Reply::new(status, Vec::new(), Bytes::new())
}

fn text(text: String) -> Reply {
    let media = HeaderValue::from_static("text/plain; charset=utf-8");
    Reply::new(StatusCode::OK, vec![(header::CONTENT_TYPE, media)], Bytes::from(text))
}

fn json_reply(status: StatusCode, value: &Value) -> Reply {
    let media = HeaderValue::from_static("application/json");
    Reply::new(status, vec![(header::CONTENT_TYPE, media)], Bytes::from(value.to_string()))
}

/// RFC 6749 §5.1: tokens are not to be kept on the way.
fn uncached(mut reply: Reply) -> Reply {
    reply.headers.push((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    reply
}

fn oauth_error(refused: &Refused) -> Reply {
    let body = json!({ "error": refused.error, "error_description": refused.description });
    let mut reply = uncached(json_reply(refused.status, &body));
    if refused.status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"sandbox\"");
        reply.headers.push((header::WWW_AUTHENTICATE, challenge));
    }
    reply
}
