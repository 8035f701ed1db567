//! To identity providers and back.
//!
//! Browsers come back from another site, and so without the session's cookie, which is strict: the
//! answer is a page of ours, from which the next request is of this site again.

use crate::{
    console::Console,
    cookies,
    guard::Visit,
    pages::{Asked, Home, Refusal, asked_for, person, with_session},
    views::{self, Frame, failed, page, place_of},
};
use app::{
    Error,
    people::sso::{self, Back, Errand, Return},
};
use askama::Template;
use axum::{
    extract::{Extension, Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use identity::oidc::OidcError;
use types::{Id, Identity, Slug, User};

/// A way in that the sign-in page shows.
#[derive(Debug)]
pub(crate) struct Way {
    pub path: String,
    pub name: String,
}

/// The providers that people sign in by.
pub(crate) async fn ways(console: &Console) -> Vec<Way> {
    let listed = sso::list(&console.instance).await.unwrap_or_default();
    listed.iter().map(|one| way(&one.name, "")).collect()
}

fn way(name: &Slug, suffix: &str) -> Way {
    Way { path: format!("/sso/{name}{suffix}"), name: name.to_string() }
}

/// Where somebody can show a factor at a provider instead of here.
pub(crate) async fn step_ups(console: &Console, user: Id<User>) -> Vec<Way> {
    let linked = sso::linked(&console.instance, user).await.unwrap_or_default();
    let shown = linked.into_iter().filter(|one| one.shows_factor);
    shown.map(|one| way(&one.provider, "/step-up")).collect()
}

/// Where somebody can link an account to.
pub(crate) async fn links(console: &Console) -> Vec<Way> {
    let listed = sso::list(&console.instance).await.unwrap_or_default();
    listed.iter().map(|one| way(&one.name, "/link")).collect()
}

pub(crate) async fn sign_in(
    State(console): Home,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    // Another site does not decide whom this browser is signed in as.
    if !is_of(&headers, &["same-origin", "none"]) {
        return Redirect::to("/sign-in").into_response();
    }
    begin(&console, &headers, &name, "", Errand::SignIn).await
}

/// To show a factor at the provider again.
pub(crate) async fn step_up(
    State(console): Home,
    Extension(visit): Asked,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let errand = Errand::StepUp(person(&visit)?.session);
    if !is_of(&headers, &["same-origin"]) {
        return Ok(views::foreign());
    }
    Ok(begin(&console, &headers, &name, "/step-up", errand).await)
}

/// To sign in by the provider from now on, too.
pub(crate) async fn link(
    State(console): Home,
    Extension(visit): Asked,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    // Nor does a page beside this one, to which the session's cookie goes along.
    if !is_of(&headers, &["same-origin"]) {
        return Ok(views::foreign());
    }
    if !signed_in.is_stepped_up(console.instance.clock.now()) {
        return Ok(crate::guard::to_step_up("/account"));
    }
    Ok(begin(&console, &headers, &name, "/link", Errand::Link(signed_in.session)).await)
}

/// Whether a request comes from one of these (Fetch metadata); browsers of old do not say.
pub(crate) fn is_of(headers: &HeaderMap, sites: &[&str]) -> bool {
    let mut given = headers.get_all("sec-fetch-site").iter();
    match (given.next(), given.next()) {
        (None, _) => true,
        (Some(site), None) => sites.iter().any(|one| site.as_bytes() == one.as_bytes()),
        _ => false,
    }
}

/// As browsers spell it: in lower case, without the scheme's own port.
pub(crate) fn authority(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

async fn begin(
    console: &Console,
    headers: &HeaderMap,
    name: &str,
    suffix: &str,
    errand: Errand,
) -> Response {
    let Ok(name) = name.parse::<Slug>() else { return views::not_found() };
    // The cookie must be of the host that the provider sends back to.
    let scheme = console.reached.url.split_once("://").map_or("http", |(scheme, _)| scheme);
    let asked = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let asked = asked.and_then(|host| authority(&format!("{scheme}://{host}")));
    let is_there = asked.is_some() && asked == authority(&console.reached.url);
    if !is_there {
        let base = console.reached.url.trim_end_matches('/');
        return Redirect::to(&format!("{base}/sso/{name}{suffix}")).into_response();
    }
    let url = &console.reached.url;
    match sso::begin(&console.instance, &console.web, url, &name, errand).await {
        Ok(begun) => {
            let mut response = Redirect::to(&begun.url).into_response();
            if let Some(cookie) = cookies::trip(&begun.trip) {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(error) => failed(&error),
    }
}

pub(crate) async fn callback(
    State(console): Home,
    Extension(visit): Asked,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let mut response = came_back(&console, &visit, &name, query.as_deref(), &headers).await;
    response.headers_mut().append(header::SET_COOKIE, cookies::no_trip());
    response
}

async fn came_back(
    console: &Console,
    visit: &Visit,
    name: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Response {
    let Ok(name) = name.parse::<Slug>() else { return views::not_found() };
    let trip = cookies::trip_of(headers);
    let ended = async {
        let back = Return {
            console_url: &console.reached.url,
            name: &name,
            trip: trip.as_ref().map_or("", |trip| trip.expose()),
            query: query.unwrap_or_default(),
        };
        let ctx = console.context(None)?;
        sso::end(&console.instance, &ctx, &console.web, visit.source, back).await
    };
    match ended.await {
        Ok(Back::In(token) | Back::SecondFactor(token) | Back::Enrolment(token)) => {
            with_session(&token, "/sso-done")
        }
        Ok(Back::SteppedUp(token)) => with_session(&token, "/sso-done?to=/account"),
        Ok(Back::Linked) => Redirect::to("/sso-done?to=/account").into_response(),
        Err(error) => {
            // Of what nobody began, strangers can send as much as they like.
            if !matches!(error, Error::Sso(OidcError::State)) {
                tracing::warn!(%error, "a sign-in by an identity provider was refused");
            }
            failed(&error)
        }
    }
}

#[derive(Template)]
#[template(path = "sso_done.html")]
struct DonePage {
    frame: Frame,
    to: &'static str,
}

/// Goes on by itself, as a request of this site.
pub(crate) async fn done(Extension(visit): Asked, RawQuery(query): RawQuery) -> Response {
    let to = place_of(&asked_for(query.as_deref(), "to"));
    page(StatusCode::OK, &DonePage { frame: Frame::outside(&visit), to })
}

pub(crate) async fn unlink(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let done = async {
        let not_found = || Error::NotFound { kind: "identity", name: "of that id".to_owned() };
        let id: Id<Identity> = id.parse().map_err(|_| not_found())?;
        sso::unlink(&console.instance, &console.context(Some(signed_in))?, signed_in, id).await
    };
    crate::account::back(&console, &visit, done.await).await
}
