//! The console's cookies: the session's token, one that forms are bound to before there is a session,
//! those that a browser takes along to an identity provider or to one that is connected, and what was
//! ticked of a review before a step-up. All are `__Host-`: no other host, port or path sets them, and no
//! script reads them.

use app::{connect::SESSION_LIFE, people::sso::TRIP_LIFE, reviews::TICKED_LIFE};
use axum::http::{HeaderMap, HeaderValue, header};
use identity::SessionToken;
use types::SecretText;

const SESSION: &str = "__Host-weirgate";
const FORM: &str = "__Host-weirgate-form";
const TRIP: &str = "__Host-weirgate-sso";
const TICKED: &str = "__Host-weirgate-ticked";
const CONNECT: &str = "__Host-weirgate-connect";
const STRICT: &str = "; SameSite=Strict";
/// A browser that comes back from another site must bring it.
const LAX: &str = "; SameSite=Lax";

/// The cookies of a request. One that is given twice is none: somebody added another.
#[derive(Debug, Default)]
pub(crate) struct Cookies {
    pub session: Option<SessionToken>,
    pub form: Option<SessionToken>,
}

impl Cookies {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let token = |name| SessionToken::parse(only(headers, name)?).ok();
        Self { session: token(SESSION), form: token(FORM) }
    }
}

fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|one| one.to_str().ok());
    let pairs = values.flat_map(|one| one.split(';')).filter_map(|one| one.split_once('='));
    let mut found = pairs.filter(|(given, _)| given.trim() == name);
    let (_, value) = found.next()?;
    found.next().is_none().then_some(value.trim())
}

pub(crate) fn session(token: &SessionToken) -> Option<HeaderValue> {
    set(SESSION, token.expose(), STRICT)
}

pub(crate) fn no_session() -> HeaderValue {
    set(SESSION, "", "; SameSite=Strict; Max-Age=0").unwrap_or_else(|| HeaderValue::from_static(""))
}

pub(crate) fn form(token: &SessionToken) -> Option<HeaderValue> {
    set(FORM, token.expose(), STRICT)
}

/// What a browser took along to an identity provider.
pub(crate) fn trip_of(headers: &HeaderMap) -> Option<SecretText> {
    only(headers, TRIP).map(|text| SecretText::new(text.to_owned()))
}

pub(crate) fn trip(trip: &SecretText) -> Option<HeaderValue> {
    set(TRIP, trip.expose(), &format!("{LAX}; Max-Age={}", TRIP_LIFE.as_secs()))
}

pub(crate) fn no_trip() -> HeaderValue {
    set(TRIP, "", &format!("{LAX}; Max-Age=0")).unwrap_or_else(|| HeaderValue::from_static(""))
}

/// What was ticked of a review; whose it is, is not judged here.
pub(crate) fn ticked_of(headers: &HeaderMap) -> Option<&str> {
    only(headers, TICKED)
}

pub(crate) fn ticked(text: &str) -> Option<HeaderValue> {
    set(TICKED, text, &format!("{STRICT}; Max-Age={}", TICKED_LIFE.as_secs()))
}

pub(crate) fn nothing_ticked() -> HeaderValue {
    let none = set(TICKED, "", &format!("{STRICT}; Max-Age=0"));
    none.unwrap_or_else(|| HeaderValue::from_static(""))
}

/// What a browser took along to a provider that somebody consents at.
pub(crate) fn connect_of(headers: &HeaderMap) -> Option<SecretText> {
    only(headers, CONNECT).map(|text| SecretText::new(text.to_owned()))
}

pub(crate) fn connect(trip: &SecretText) -> Option<HeaderValue> {
    set(CONNECT, trip.expose(), &format!("{LAX}; Max-Age={}", SESSION_LIFE.as_secs()))
}

pub(crate) fn no_connect() -> HeaderValue {
    set(CONNECT, "", &format!("{LAX}; Max-Age=0")).unwrap_or_else(|| HeaderValue::from_static(""))
}

fn set(name: &str, value: &str, more: &str) -> Option<HeaderValue> {
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly{more}");
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
