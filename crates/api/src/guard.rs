//! What every request passes before and every answer after its handler.

use crate::{
    access::{Way, way},
    console::{Console, Peer},
    cookies::{self, Cookies},
    live, reviews,
    router::access_of,
    views,
};
use app::people::{form_token, sessions, sessions::SignedIn};
use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Limited};
use identity::SessionToken;
use policy::{Act, Decision};
use std::{net::IpAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

/// The longest form.
const MAX_BODY_BYTES: usize = 64 * 1_024;
/// A page that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(30);
const FORM_TYPE: &str = "application/x-www-form-urlencoded";
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'; \
                      report-uri /csp-report; report-to csp";
/// Where browsers report breaches of that: those that know it by its newer name, and all others.
const REPORTS: &str = "csp=\"/csp-report\"";

/// What the guard found out of a request, for its handler.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub signed_in: Option<SignedIn>,
    /// What forms on the page carry.
    pub form: String,
    pub source: Option<IpAddr>,
    /// Whether browsers have passkeys for the name that was asked.
    pub has_passkeys: bool,
    /// Where they have them, if it is elsewhere.
    pub passkeys_at: Option<String>,
    /// A policy permits the act once a second person approves.
    pub needs_second: bool,
}

/// Outermost: headers, panics, time, the host that was asked.
pub(crate) async fn around(
    State(console): State<Arc<Console>>,
    request: Request,
    next: Next,
) -> Response {
    let is_asset = request.uri().path().starts_with("/assets/");
    let is_known = host(&request, &console).is_some();
    let answered = async {
        if !is_known {
            let what = "The console is not known by the name that was asked.";
            let remedy = "Open it as http://localhost with its port, or set console_url.";
            return views::message(StatusCode::MISDIRECTED_REQUEST, "Another host", what, remedy);
        }
        let handled = AssertUnwindSafe(next.run(request)).catch_unwind();
        match tokio::time::timeout(PATIENCE, handled).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => views::message(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something is wrong in Weirgate",
                "The request was given up.",
                "Report this with what you did.",
            ),
            Err(_) => views::message(
                StatusCode::SERVICE_UNAVAILABLE,
                "It took too long",
                "The request was given up.",
                "Try again in a moment.",
            ),
        }
    };
    let mut response = answered.await;
    let is_kept = is_asset && response.status() == StatusCode::OK;
    put_headers(response.headers_mut(), console.reached.is_tls, is_kept);
    response
}

/// To a step-up, and from there back to the page that was acted on.
pub(crate) fn to_step_up(path: &str) -> Response {
    let to = format!("/step-up?to={}", views::place_of(path));
    Redirect::to(&to).into_response()
}

/// What stands on every answer, also on those that are no pages.
pub(crate) async fn strict(
    State(console): State<Arc<Console>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    put_headers(response.headers_mut(), console.reached.is_tls, false);
    response
}

pub(crate) fn put_headers(headers: &mut HeaderMap, is_tls: bool, is_kept: bool) {
    // An answer that says even less of where somebody was keeps to that.
    let is_silent = headers.get(header::REFERRER_POLICY).is_some_and(|kept| kept == "no-referrer");
    let mut put = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    put(header::CONTENT_SECURITY_POLICY, POLICY);
    put(HeaderName::from_static("reporting-endpoints"), REPORTS);
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::X_FRAME_OPTIONS, "DENY");
    // Without any, browsers would say `Origin: null` of our own forms (Fetch §3.2).
    if !is_silent {
        put(header::REFERRER_POLICY, "same-origin");
    }
    put(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    put(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    put(HeaderName::from_static("cross-origin-embedder-policy"), "require-corp");
    put(
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=(), \
         publickey-credentials-create=(self), publickey-credentials-get=(self)",
    );
    let kept = if is_kept { "public, max-age=31536000, immutable" } else { "no-store" };
    put(header::CACHE_CONTROL, kept);
    if is_tls {
        put(header::STRICT_TRANSPORT_SECURITY, "max-age=63072000; includeSubDomains");
    }
}

/// The authority that was asked, if it is one of ours: a name that somebody else made lead here is none
/// (DNS rebinding).
fn host(request: &Request, console: &Console) -> Option<String> {
    let mut given = request.headers().get_all(header::HOST).iter();
    let authority = given.next()?.to_str().ok()?;
    // One that stands in the request's target counts instead of the header (RFC 9112 §3.2.2); browsers
    // send none.
    if given.next().is_some() || request.uri().authority().is_some() {
        return None;
    }
    // Read by one parser, so that nothing else stands in it.
    let url = url::Url::parse(&format!("http://{authority}/")).ok()?;
    let name = url.host_str()?.to_ascii_lowercase();
    let is_plain = url.username().is_empty() && url.password().is_none() && url.path() == "/";
    let is_ours = name == "localhost"
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|addr| addr.is_loopback())
        || console.reached.hosts.iter().any(|one| one.eq_ignore_ascii_case(&name));
    (is_plain && is_ours).then(|| authority.to_ascii_lowercase())
}

/// Who asks, whether a form came from us, and what the route demands.
pub(crate) async fn before(
    State(console): State<Arc<Console>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(access) = request
        .extensions()
        .get::<MatchedPath>()
        .and_then(|path| access_of(request.method(), path.as_str()))
    else {
        return views::not_allowed();
    };
    let cookies = Cookies::of(request.headers());
    let found = match &cookies.session {
        None => Ok(None),
        // A page asks for it by itself, also when nobody is there.
        Some(token) if request.uri().path() == live::PATH => {
            sessions::look_on(&console.instance, token).await
        }
        Some(token) => sessions::look_up(&console.instance, token).await,
    };
    let source = request.extensions().get::<Peer>().and_then(|peer| peer.0);
    let signed_in = match found {
        Ok(found) => found.map(|person| SignedIn { source, ..person }),
        Err(error) => return views::failed(&error),
    };
    let asked = host(&request, &console).unwrap_or_default();
    // Forms are bound to the session, or before there is one to a cookie of their own.
    let mut new_form = None;
    let bound = match (&cookies.session, &cookies.form) {
        (Some(token), _) if signed_in.is_some() => form_token(&console.instance, token),
        (_, Some(token)) => form_token(&console.instance, token),
        _ => match SessionToken::generate(console.instance.random.as_ref()) {
            Ok(token) => {
                let bound = form_token(&console.instance, &token);
                new_form = cookies::form(&token);
                bound
            }
            Err(error) => return views::failed(&error.into()),
        },
    };
    let mut request = match checked(request, &asked, &bound, new_form.is_some()).await {
        Ok(request) => request,
        Err(refusal) => return *refusal,
    };
    let mut needs_second = false;
    match way(access, signed_in.as_ref()) {
        Way::Open => {}
        Way::Elsewhere(path) => return Redirect::to(path).into_response(),
        Way::Decide(act) => {
            let Some(person) = signed_in.as_ref() else { return views::not_allowed() };
            match console.decide(person, act, source) {
                Decision::Allowed(_) => {}
                Decision::NeedsStepUp(_) => {
                    let cookie = reviews::ticked(&console, person, &mut request).await;
                    let mut response = to_step_up(request.uri().path());
                    response.headers_mut().extend(cookie.map(|one| (header::SET_COOKIE, one)));
                    return response;
                }
                // Of a grant it is a proposal; nothing else can be proposed.
                Decision::NeedsApproval(_) if act == Act::GrantApply => needs_second = true,
                Decision::NeedsApproval(_) | Decision::Denied(_) => return views::denied(act),
            }
        }
    }
    let has_passkeys = console.party.as_ref().is_some_and(|one| one.is_at(&asked));
    let elsewhere = console.party.as_ref().filter(|_| !has_passkeys);
    let passkeys_at = elsewhere.map(|one| one.origin.clone());
    let visit = Visit { signed_in, form: bound, source, has_passkeys, passkeys_at, needs_second };
    request.extensions_mut().insert(visit);
    let mut response = next.run(request).await;
    if let Some(cookie) = new_form {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// A request that changes something comes from a page of ours, by a form that was made for this
/// session.
async fn checked(
    request: Request,
    host: &str,
    bound: &str,
    is_unbound: bool,
) -> Result<Request, Box<Response>> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(request);
    }
    let foreign = || Box::new(views::foreign());
    if !is_from_here(request.headers(), host) || is_unbound {
        return Err(foreign());
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    if essence != Some(FORM_TYPE) {
        return Err(Box::new(views::message(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Not a form",
            "What was sent is not a form.",
            "Use the page's own button.",
        )));
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
        return Err(Box::new(views::message(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Too long",
            "What was sent is longer than any form.",
            "Shorten it.",
        )));
    };
    let bytes: Bytes = body.to_bytes();
    let mut given = url::form_urlencoded::parse(&bytes).filter(|(name, _)| name == "form");
    let is_ours = given.next().is_some_and(|(_, value)| app::people::is_form_token(&value, bound));
    if !is_ours || given.next().is_some() {
        return Err(foreign());
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// By what browsers say of where a request comes from (Fetch metadata, RFC 6454 §7).
fn is_from_here(headers: &HeaderMap, host: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text("origin").map(|origin| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    });
    let is_alone =
        ["origin", "sec-fetch-site"].iter().all(|name| headers.get_all(*name).iter().count() <= 1);
    match (is_alone, text("sec-fetch-site"), origin) {
        (false, ..) | (_, _, Some(false)) => false,
        (_, Some(site), _) => site == "same-origin",
        (_, None, Some(true)) => true,
        (_, None, None) => false,
    }
}
