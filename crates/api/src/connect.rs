//! Connections in the console, and connecting by somebody's consent.
//!
//! Browsers come back from the provider without the session's cookie, which is strict: the answer is
//! taken in by what the browser kept, and the page that is confirmed is of this site again.

use crate::{
    access::sees_customers,
    console::Console,
    cookies,
    guard::Visit,
    pages::{Asked, Home, Refusal, or_failed, person},
    sso::{authority, is_of},
    views::{self, Frame, failed, moment, page, status_of, told},
};
use app::{
    Asker, Error,
    connect::{self, Answer, Begin, ConnectError, Consented, New, Opening, Target, Withdrawn},
    connections,
};
use askama::Template;
use axum::{
    Form,
    extract::{Extension, Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use policy::Act;
use serde::Deserialize;
use std::collections::BTreeMap;
use types::{ConnectProgress, ConnectSession, Connection, Environment, Id, Slug};

const HERE: &str = "/connections";
const NOT_SHOWN: &str = "not shown to your roles";

struct Row {
    id: String,
    provider: String,
    customer: String,
    environment: String,
    state: &'static str,
}

#[derive(Template)]
#[template(path = "connections.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<Row>,
    may_connect: bool,
}

pub(crate) async fn list(
    State(console): Home,
    Extension(visit): Asked,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let listed = or_failed(connections::list(&console.instance).await)?;
    let shows_customers = sees_customers(|act| console.offers(signed_in, act));
    let rows = listed.into_iter().map(|one| Row {
        id: one.id.to_string(),
        provider: one.provider,
        customer: if shows_customers { one.customer } else { NOT_SHOWN.to_owned() },
        environment: one.environment.to_string(),
        state: if one.is_revoked { "revoked" } else { "in force" },
    });
    let answer = ListPage {
        frame: Frame::inside(&console, &visit, signed_in, HERE),
        rows: rows.collect(),
        may_connect: console.offers(signed_in, Act::ConnectionConnect),
    };
    Ok(page(StatusCode::OK, &answer))
}

struct ConsentView {
    id: String,
    given: String,
    state: String,
    lines: Vec<String>,
}

#[derive(Template)]
#[template(path = "connection.html")]
struct ConnectionPage {
    frame: Frame,
    problem: Option<String>,
    done: Option<&'static str>,
    id: String,
    facts: Vec<(&'static str, String)>,
    may_reconnect: bool,
    /// Why it should be.
    why: Option<String>,
    beyond: Vec<String>,
    renewal: Vec<String>,
    digest: String,
    consents: Vec<ConsentView>,
    may_withdraw: bool,
}

pub(crate) async fn one(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    connection_page(&console, &visit, &id, None, None).await
}

async fn connection_page(
    console: &Console,
    visit: &Visit,
    id: &str,
    problem: Option<&Error>,
    done: Option<&'static str>,
) -> Result<Response, Refusal> {
    let signed_in = person(visit)?;
    let Ok(id) = id.parse::<Id<Connection>>() else { return Ok(views::not_found()) };
    let shown = match connections::show(&console.instance, id).await {
        Err(Error::NotFound { .. }) => return Ok(views::not_found()),
        other => or_failed(other)?,
    };
    let shows_customers = sees_customers(|act| console.offers(signed_in, act));
    let words = |scopes: &[String]| match scopes {
        [] => String::new(),
        some => some.join(" "),
    };
    let customer = if shows_customers { shown.customer } else { NOT_SHOWN.to_owned() };
    let all = [
        ("Id", shown.id.to_string()),
        ("Provider", shown.provider),
        ("Customer", customer),
        ("Environment", shown.environment.to_string()),
        ("Scheme", shown.scheme),
        ("State", shown.state.as_str().replace('_', " ")),
        ("Token obtained", shown.obtained_at.map(moment).unwrap_or_default()),
        ("Token expires", shown.expires_at.map(moment).unwrap_or_default()),
        ("Scopes that the grants need", words(&shown.needed)),
        ("Given beyond what was asked", words(&shown.beyond)),
        ("Asked for and not given", words(&shown.missing)),
        ("Needed and not there", words(&shown.lacking)),
    ];
    let is_ended = shown.state == connections::State::ConsentEnded;
    let why = match (is_ended, shown.lacking.as_slice()) {
        (true, _) => Some("What was consented to is over: calls are refused.".to_owned()),
        (false, []) => None,
        (false, lacking) => Some(format!("Grants need more than was given: {}", lacking.join(" "))),
    };
    let may_connect = console.offers(signed_in, Act::ConnectionConnect);
    let beyond = shown.beyond_consent.clone().unwrap_or_default();
    let renewal = if beyond.is_empty() || !may_connect || !shows_customers {
        None
    } else {
        connect::renewal(&console.instance, id).await.ok()
    };
    let listed = if shows_customers {
        or_failed(connect::consents(&console.instance, Some(id)).await)?
    } else {
        Vec::new()
    };
    let consents = listed.iter().rev().map(|one| ConsentView {
        id: one.id.to_string(),
        given: format!("{} by {}", moment(one.given_at), one.given_by),
        state: match one.ended_at {
            Some(at) => {
                format!("{} {}", one.ended_as.as_deref().unwrap_or("ended"), moment(at))
            }
            None => "in force".to_owned(),
        },
        lines: one.text.lines().map(ToOwned::to_owned).collect(),
    });
    let answer = ConnectionPage {
        frame: Frame::inside(console, visit, signed_in, HERE),
        problem: problem.map(told),
        done,
        id: shown.id.to_string(),
        facts: all.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        may_reconnect: may_connect
            && shown.is_by_consent
            && shown.state != connections::State::Revoked,
        why,
        beyond,
        digest: renewal.as_ref().map(|one| one.digest.clone()).unwrap_or_default(),
        renewal: renewal.map(|one| one.text).unwrap_or_default(),
        consents: consents.collect(),
        may_withdraw: shown.beyond_consent.is_some()
            && console.offers(signed_in, Act::ConnectionRevoke),
    };
    Ok(page(problem.map_or(StatusCode::OK, status_of), &answer))
}

#[derive(Clone, Default, Deserialize)]
pub(crate) struct NewForm {
    provider: String,
    customer: String,
    #[serde(default)]
    environment: String,
    #[serde(default)]
    scheme: String,
}

#[derive(Template)]
#[template(path = "connection_new.html")]
struct NewPage {
    frame: Frame,
    problem: Option<String>,
    providers: Vec<String>,
    given: NewForm,
}

pub(crate) async fn new(
    State(console): Home,
    Extension(visit): Asked,
) -> Result<Response, Refusal> {
    new_page(&console, &visit, None, NewForm::default()).await
}

async fn new_page(
    console: &Console,
    visit: &Visit,
    problem: Option<&Error>,
    given: NewForm,
) -> Result<Response, Refusal> {
    let signed_in = person(visit)?;
    let listed = or_failed(app::providers::list(&console.instance).await)?;
    let answer = NewPage {
        frame: Frame::inside(console, visit, signed_in, HERE),
        problem: problem.map(told),
        providers: listed.iter().map(|one| one.slug.to_string()).collect(),
        given,
    };
    Ok(page(problem.map_or(StatusCode::OK, status_of), &answer))
}

pub(crate) async fn begin(
    State(console): Home,
    Extension(visit): Asked,
    Form(form): Form<NewForm>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let given = form.clone();
    let done = async {
        let unknown = || Error::NameUnknown { kind: "provider" };
        let new = New {
            provider: form.provider.parse::<Slug>().map_err(|_| unknown())?,
            customer: form.customer,
            scheme: Some(form.scheme).filter(|scheme| !scheme.is_empty()),
            secret: None,
            environment: form.environment.parse().unwrap_or(Environment::Live),
            variables: BTreeMap::new(),
            headers: BTreeMap::new(),
        };
        let target = Target::New(Box::new(new));
        let base = &console.reached.url;
        let begin = Begin { target, base, idempotency_key: None };
        connect::begin(&console.instance, &console.context(Some(signed_in))?, begin).await
    };
    match done.await {
        Ok(begun) => Ok(to_session(begun.id)),
        Err(error) => new_page(&console, &visit, Some(&error), given).await,
    }
}

pub(crate) async fn reconnect(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let Ok(connection) = id.parse() else { return Ok(views::not_found()) };
    let done = async {
        let (target, base) = (Target::Again(connection), &console.reached.url);
        let begin = Begin { target, base, idempotency_key: None };
        connect::begin(&console.instance, &console.context(Some(signed_in))?, begin).await
    };
    match done.await {
        Ok(begun) => Ok(to_session(begun.id)),
        Err(Error::NotFound { .. }) => Ok(views::not_found()),
        Err(error) => connection_page(&console, &visit, &id, Some(&error), None).await,
    }
}

fn to_session(id: Id<ConnectSession>) -> Response {
    Redirect::to(&format!("/connections/connect/{id}")).into_response()
}

#[derive(Template)]
#[template(path = "connect_session.html")]
struct SessionPage {
    frame: Frame,
    heading: &'static str,
    problem: Option<String>,
    stage: &'static str,
    id: String,
    provider: String,
    customer: String,
    environment: String,
    scopes: Vec<(String, String)>,
    is_without_pkce: bool,
    expires: String,
    /// Line by line, and whether it is one to look at twice.
    text: Vec<(String, bool)>,
    digest: String,
    failure: String,
    connection: Option<String>,
}

pub(crate) async fn session(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    session_page(&console, &visit, &id, None).await
}

async fn session_page(
    console: &Console,
    visit: &Visit,
    id: &str,
    problem: Option<&Error>,
) -> Result<Response, Refusal> {
    let signed_in = person(visit)?;
    let Ok(id) = id.parse() else { return Ok(views::not_found()) };
    let ctx = or_failed(console.context(Some(signed_in)))?;
    let shown = match connect::show(&console.instance, &ctx, id).await {
        Err(Error::Connect(ConnectError::Unknown)) => return Ok(views::not_found()),
        other => or_failed(other)?,
    };
    let (stage, heading) = match shown.progress {
        _ if shown.is_expired => ("ended", "Nothing was connected"),
        ConnectProgress::Waiting => ("waiting", "What will be asked for"),
        ConnectProgress::Away | ConnectProgress::Exchanging => ("away", "Not back yet"),
        ConnectProgress::Returned => ("returned", "Confirm what came back"),
        ConnectProgress::Connected => ("connected", "Connected"),
        ConnectProgress::Ended => ("ended", "Nothing was connected"),
    };
    let why = |needed_for: &[String]| match needed_for {
        [] => "the provider's plan always asks for it".to_owned(),
        operations => format!("grants need it for {}", operations.join(", ")),
    };
    let lines = |one: &Consented| {
        let is_bad = |line: &str| {
            (!one.broader.is_empty() && line.starts_with("Given beyond"))
                || (!one.narrower.is_empty() && line.starts_with("Asked for and not given"))
        };
        one.text.iter().map(|line| (line.clone(), is_bad(line))).collect()
    };
    let answer = SessionPage {
        frame: Frame::inside(console, visit, signed_in, HERE),
        heading,
        problem: problem.map(told),
        stage,
        id: shown.id.to_string(),
        provider: shown.provider,
        customer: shown.customer,
        environment: shown.environment.to_string(),
        scopes: shown.asked.iter().map(|one| (one.name.clone(), why(&one.needed_for))).collect(),
        is_without_pkce: shown.is_without_pkce,
        expires: moment(shown.expires_at),
        text: shown.consented.as_ref().map(lines).unwrap_or_default(),
        digest: shown.consented.map(|one| one.digest).unwrap_or_default(),
        failure: shown.failure.unwrap_or_else(|| "expired".to_owned()),
        connection: shown.connection.map(|id| id.to_string()),
    };
    Ok(page(problem.map_or(StatusCode::OK, status_of), &answer))
}

/// To the provider.
pub(crate) async fn go(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    // Nor does a page beside this one, to which the session's cookie goes along.
    if !is_of(&headers, &["same-origin"]) {
        return Ok(views::foreign());
    }
    let Ok(session) = id.parse::<Id<ConnectSession>>() else { return Ok(views::not_found()) };
    // The cookie must be of the host that the provider sends back to.
    let scheme = console.reached.url.split_once("://").map_or("http", |(scheme, _)| scheme);
    let asked = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let asked = asked.and_then(|host| authority(&format!("{scheme}://{host}")));
    if asked.is_none() || asked != authority(&console.reached.url) {
        let base = console.reached.url.trim_end_matches('/');
        let what = format!("The provider sends you back to {base}, where this browser is not now.");
        let remedy = "Sign in there, and begin again.";
        return Ok(views::message(StatusCode::CONFLICT, "Not under this name", &what, remedy));
    }
    let ctx = or_failed(console.context(Some(signed_in)))?;
    match connect::open(&console.instance, &ctx, Opening::Own(session)).await {
        Ok(opened) => {
            let mut response = Redirect::to(&opened.url).into_response();
            if let Some(cookie) = cookies::connect(&opened.trip) {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            Ok(without_referrer(response))
        }
        Err(Error::Connect(ConnectError::Unknown)) => Ok(views::not_found()),
        Err(error) => session_page(&console, &visit, &id, Some(&error)).await,
    }
}

/// The provider, and what it leads to, learn nothing of where somebody was.
fn without_referrer(mut response: Response) -> Response {
    let value = HeaderValue::from_static("no-referrer");
    response.headers_mut().insert(header::REFERRER_POLICY, value);
    response
}

pub(crate) async fn callback(
    State(console): Home,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let mut response = came_back(&console, &name, query.as_deref(), &headers).await;
    response.headers_mut().append(header::SET_COOKIE, cookies::no_connect());
    without_referrer(response)
}

async fn came_back(
    console: &Console,
    name: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Response {
    let Ok(provider) = name.parse::<Slug>() else { return views::not_found() };
    let Some(asker) = &console.asker else { return views::not_found() };
    let trip = cookies::connect_of(headers);
    let done = async {
        let answer = Answer {
            base: &console.reached.url,
            provider: &provider,
            trip: trip.as_ref().map_or("", |trip| trip.expose()),
            query: query.unwrap_or_default(),
        };
        connect::answer(&console.instance, &console.context(None)?, asker, answer).await
    };
    match done.await {
        // On by a page of ours: the session's cookie did not come along.
        Ok(id) => Redirect::to(&format!("/connect-done?to={id}")).into_response(),
        Err(error) => {
            // Of what nobody began, strangers can send as much as they like.
            if !matches!(error, Error::Connect(ConnectError::State)) {
                tracing::warn!(%error, "an answer to a connect session was refused");
            }
            failed(&error)
        }
    }
}

#[derive(Template)]
#[template(path = "sso_done.html")]
struct DonePage {
    frame: Frame,
    to: String,
}

/// Goes on by itself, as a request of this site.
pub(crate) async fn done(Extension(visit): Asked, RawQuery(query): RawQuery) -> Response {
    let asked = crate::pages::asked_for(query.as_deref(), "to");
    let to = match asked.parse::<Id<ConnectSession>>() {
        Ok(id) => format!("/connections/connect/{id}"),
        Err(_) => HERE.to_owned(),
    };
    page(StatusCode::OK, &DonePage { frame: Frame::outside(&visit), to })
}

#[derive(Deserialize)]
pub(crate) struct ShownForm {
    #[serde(default)]
    shown: String,
}

pub(crate) async fn confirm(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
    Form(form): Form<ShownForm>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let Ok(session) = id.parse() else { return Ok(views::not_found()) };
    let ctx = or_failed(console.context(Some(signed_in)))?;
    match connect::confirm(&console.instance, &ctx, session, &form.shown).await {
        Ok(done) => Ok(Redirect::to(&format!("/connections/{}", done.connection)).into_response()),
        Err(error) => session_page(&console, &visit, &id, Some(&error)).await,
    }
}

pub(crate) async fn cancel(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let Ok(session) = id.parse() else { return Ok(views::not_found()) };
    let ctx = or_failed(console.context(Some(signed_in)))?;
    match connect::cancel(&console.instance, &ctx, console.asker.as_ref(), session).await {
        Ok(()) => Ok(to_session(session)),
        Err(error) => session_page(&console, &visit, &id, Some(&error)).await,
    }
}

pub(crate) async fn renew(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
    Form(form): Form<ShownForm>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let Ok(connection) = id.parse() else { return Ok(views::not_found()) };
    let ctx = or_failed(console.context(Some(signed_in)))?;
    let given = connect::give_consent(&console.instance, &ctx, connection, &form.shown).await;
    match given {
        Ok(_) => Ok(Redirect::to(&format!("/connections/{connection}")).into_response()),
        Err(error) => connection_page(&console, &visit, &id, Some(&error), None).await,
    }
}

pub(crate) async fn withdraw(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let Ok(connection) = id.parse() else { return Ok(views::not_found()) };
    let Some(asker): Option<&Asker> = console.asker.as_ref() else {
        return Ok(views::not_found());
    };
    let ctx = or_failed(console.context(Some(signed_in)))?;
    match connect::withdraw(&console.instance, &ctx, asker, connection).await {
        Ok(how) => {
            let done = match how {
                Withdrawn::Told => "The consent is withdrawn, and the provider was told.",
                Withdrawn::NotTold => {
                    "The consent is withdrawn. The provider's plan names no place to tell it."
                }
                Withdrawn::Failed => {
                    "The consent is withdrawn. The provider could not be told: revoke it there by hand."
                }
            };
            connection_page(&console, &visit, &id, None, Some(done)).await
        }
        Err(error) => connection_page(&console, &visit, &id, Some(&error), None).await,
    }
}
