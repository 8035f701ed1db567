//! The console's two cookies: the session's token, and one that forms are bound to before there is a
//! session. Both are `__Host-`: no other host, port or path sets them, and no script reads them.

use axum::http::{HeaderMap, HeaderValue, header};
use identity::SessionToken;

const SESSION: &str = "__Host-weirgate";
const FORM: &str = "__Host-weirgate-form";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

/// The cookies of a request. One that is given twice is none: somebody added another.
#[derive(Debug, Default)]
pub(crate) struct Cookies {
    pub session: Option<SessionToken>,
    pub form: Option<SessionToken>,
}

impl Cookies {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let find = |name: &str| {
            let values = headers.get_all(header::COOKIE).iter().filter_map(|one| one.to_str().ok());
            let pairs = values.flat_map(|one| one.split(';')).filter_map(|one| one.split_once('='));
            let mut found = pairs.filter(|(given, _)| given.trim() == name);
            let (_, value) = found.next()?;
            if found.next().is_some() {
                return None;
            }
            SessionToken::parse(value.trim()).ok()
        };
        Self { session: find(SESSION), form: find(FORM) }
    }
}

pub(crate) fn session(token: &SessionToken) -> Option<HeaderValue> {
    set(SESSION, token.expose(), "")
}

pub(crate) fn no_session() -> HeaderValue {
    set(SESSION, "", "; Max-Age=0").unwrap_or_else(|| HeaderValue::from_static(""))
}

pub(crate) fn form(token: &SessionToken) -> Option<HeaderValue> {
    set(FORM, token.expose(), "")
}

fn set(name: &str, value: &str, more: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{name}={value}; {ATTRIBUTES}{more}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
