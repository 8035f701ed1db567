//! The pages: each reads its input, calls `app`, and shows.

use crate::{
    assets,
    console::Console,
    cookies,
    guard::{Visit, to_step_up},
    sso::{self, Way},
    views::{self, Frame, failed, page, place_of, status_of, told},
};
use app::{
    Error,
    people::{
        factors, factors::Enrolled, passkeys, sessions, sessions::SignedIn, sign_in as way_in,
        sign_in::Begun, users as accounts, users::Acceptance,
    },
    providers as provider_list,
};
use askama::Template;
use axum::{
    Form,
    extract::{Extension, Path, RawQuery, State},
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Redirect, Response},
};
use identity::{EmailAddress, LinkToken, Password, SessionToken};
use serde::Deserialize;
use std::sync::Arc;
use types::{LinkPurpose, SecretText, SessionLevel, Timestamp};

pub(crate) type Home = State<Arc<Console>>;
pub(crate) type Asked = Extension<Visit>;

pub(crate) async fn health(State(console): Home, uri: Uri) -> Response {
    match console.vitals.health(uri.path()) {
        Some((status, text)) => (status, text).into_response(),
        None => views::not_found(),
    }
}

pub(crate) async fn metrics(State(console): Home) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], console.vitals.metrics()).into_response()
}

/// Whom to tell of a weakness (RFC 9116). It never lapses: nobody would see that in time.
pub(crate) async fn security(State(console): Home) -> Response {
    const DAY_US: i64 = 24 * 3_600 * 1_000_000;
    let Some(contact) = console.vitals.security_contact() else { return views::not_found() };
    let today = console.instance.clock.now().as_micros() / DAY_US;
    let expires = Timestamp::from_micros((today + 180) * DAY_US);
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (kind, format!("Contact: {contact}\nExpires: {expires}\n")).into_response()
}

pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    match assets::file(&name) {
        Some((text, kind)) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        None => views::not_found(),
    }
}

/// To another page, with the session's cookie.
pub(crate) fn with_session(token: &SessionToken, path: &str) -> Response {
    let mut response = Redirect::to(path).into_response();
    set_session(&mut response, token);
    response
}

fn set_session(response: &mut Response, token: &SessionToken) {
    if let Some(cookie) = cookies::session(token) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// An answer in place of the page.
pub(crate) struct Refusal(Box<Response>);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        *self.0
    }
}

/// The session that the guard let through.
pub(crate) fn person(visit: &Visit) -> Result<&SignedIn, Refusal> {
    let refused = || Refusal(Box::new(Redirect::to("/sign-in").into_response()));
    visit.signed_in.as_ref().ok_or_else(refused)
}

pub(crate) fn or_failed<T>(result: Result<T, Error>) -> Result<T, Refusal> {
    result.map_err(|error| Refusal(Box::new(failed(&error))))
}

// ---- links

#[derive(Template)]
#[template(path = "account_new.html")]
struct AccountNew {
    frame: Frame,
    heading: &'static str,
    about: &'static str,
    problem: Option<String>,
    asks_address: bool,
    address: String,
    name: String,
}

#[derive(Deserialize)]
pub(crate) struct AccountForm {
    #[serde(default)]
    address: String,
    #[serde(default)]
    name: String,
    password: String,
}

/// Shows what a link is for, and does nothing.
pub(crate) async fn link(
    State(console): Home,
    Extension(visit): Asked,
    Path(token): Path<String>,
) -> Response {
    account_page(&console, &visit, &token, None, String::new(), String::new()).await
}

async fn account_page(
    console: &Console,
    visit: &Visit,
    token: &str,
    problem: Option<&Error>,
    given: String,
    name: String,
) -> Response {
    let found = match LinkToken::parse(token) {
        Ok(token) => accounts::link(&console.instance, &token).await,
        Err(_) => Err(Error::LinkUnknown),
    };
    let open = match found {
        Ok(open) => open,
        Err(error) => return failed(&error),
    };
    let (heading, about) = match open.purpose {
        LinkPurpose::Setup => {
            ("Set up Weirgate", "You will be its first administrator. Next comes a second factor.")
        }
        LinkPurpose::Invite => ("Welcome", "Choose a password. Next comes a second factor."),
        LinkPurpose::Reset => (
            "A new start",
            "Choose a new password. Your sessions, tokens and second factors of before end; next you \
             enrol a new factor.",
        ),
    };
    let asks_address = open.purpose == LinkPurpose::Setup;
    let address = open.address.unwrap_or(given);
    let frame = Frame::outside(visit);
    let status = problem.map_or(StatusCode::OK, status_of);
    let problem = problem.map(told);
    page(status, &AccountNew { frame, heading, about, problem, asks_address, address, name })
}

pub(crate) async fn accept(
    State(console): Home,
    Extension(visit): Asked,
    Path(token): Path<String>,
    Form(form): Form<AccountForm>,
) -> Response {
    let AccountForm { address, name, password } = form;
    let password = Password::new(password);
    let done = async {
        let token = LinkToken::parse(&token).map_err(|_| Error::LinkUnknown)?;
        let given = if address.is_empty() { None } else { Some(EmailAddress::parse(&address)?) };
        let acceptance = Acceptance { address: given, name: name.clone(), password };
        accounts::accept(&console.instance, &console.context(None)?, &token, acceptance).await
    };
    match done.await {
        Ok(session) => with_session(&session, "/enrol"),
        Err(error @ Error::LinkUnknown) => failed(&error),
        Err(error) => account_page(&console, &visit, &token, Some(&error), address, name).await,
    }
}

// ---- the way in

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    frame: Frame,
    has_passkeys: bool,
    passkeys_at: Option<String>,
    ways: Vec<Way>,
    problem: Option<String>,
    address: String,
}

#[derive(Deserialize)]
pub(crate) struct SignInForm {
    address: String,
    password: String,
}

pub(crate) async fn sign_in_form(State(console): Home, Extension(visit): Asked) -> Response {
    if visit.signed_in.as_ref().is_some_and(|one| one.level == SessionLevel::Full) {
        return Redirect::to("/").into_response();
    }
    sign_in_page(&console, &visit, None, String::new()).await
}

pub(crate) async fn sign_in_page(
    console: &Console,
    visit: &Visit,
    problem: Option<&Error>,
    address: String,
) -> Response {
    let ways = sso::ways(console).await;
    let (frame, has_passkeys) = (Frame::outside(visit), visit.has_passkeys);
    let status = problem.map_or(StatusCode::OK, status_of);
    let told = problem.map(told);
    let passkeys_at = visit.passkeys_at.clone();
    let answer = SignInPage { frame, has_passkeys, passkeys_at, ways, problem: told, address };
    let response = page(status, &answer);
    match problem {
        Some(error) => slowed(response, error),
        None => response,
    }
}

pub(crate) async fn sign_in(
    State(console): Home,
    Extension(visit): Asked,
    Form(form): Form<SignInForm>,
) -> Response {
    let password = Password::new(form.password);
    let begun = async {
        let ctx = console.context(None)?;
        way_in::password(&console.instance, &ctx, visit.source, &form.address, password).await
    };
    match begun.await {
        Ok(Begun::SecondFactor(token)) => with_session(&token, "/sign-in/factor"),
        Ok(Begun::Enrolment(token)) => with_session(&token, "/enrol"),
        Err(error) => sign_in_page(&console, &visit, Some(&error), form.address).await,
    }
}

/// Says when the next attempt counts (RFC 9110 §10.2.3).
fn slowed(mut response: Response, error: &Error) -> Response {
    if let Error::SignInSlowed { retry_after } = error {
        let seconds = HeaderValue::from(retry_after.as_secs().max(1));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

#[derive(Template)]
#[template(path = "factor.html")]
struct FactorPage {
    frame: Frame,
    has_passkeys: bool,
    heading: &'static str,
    about: &'static str,
    action: &'static str,
    /// Where a step-up leads.
    to: Option<&'static str>,
    /// Providers where a factor can be shown instead.
    ways: Vec<Way>,
    problem: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct CodeForm {
    code: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    to: String,
}

pub(crate) async fn factor_page(
    console: &Console,
    visit: &Visit,
    to: Option<&'static str>,
    problem: Option<&Error>,
) -> Response {
    let (heading, about, action) = if to.is_some() {
        (
            "Show a factor again",
            "What you are about to do touches secrets or rights. It stays open for five minutes.",
            "/step-up",
        )
    } else {
        ("Second factor", "Your password is right. Now show that it is you.", "/sign-in/factor")
    };
    let frame = Frame::outside(visit);
    let status = problem.map_or(StatusCode::OK, status_of);
    let told = problem.map(told);
    // Offered to those who have one, where browsers have them.
    let has_passkeys = match &visit.signed_in {
        Some(one) if visit.has_passkeys => {
            passkeys::has_any(&console.instance, one.user).await.unwrap_or(false)
        }
        _ => false,
    };
    let ways = match &visit.signed_in {
        Some(one) if to.is_some() => sso::step_ups(console, one.user).await,
        _ => Vec::new(),
    };
    let answer =
        FactorPage { frame, has_passkeys, heading, about, action, to, ways, problem: told };
    let response = page(status, &answer);
    match problem {
        Some(error) => slowed(response, error),
        None => response,
    }
}

pub(crate) async fn factor_form(State(console): Home, Extension(visit): Asked) -> Response {
    factor_page(&console, &visit, None, None).await
}

/// The first value of this name in a page's address.
pub(crate) fn asked_for(query: Option<&str>, name: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let found = pairs.find(|(given, _)| given == name);
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

pub(crate) async fn step_up_form(
    State(console): Home,
    Extension(visit): Asked,
    RawQuery(query): RawQuery,
) -> Response {
    let to = place_of(&asked_for(query.as_deref(), "to"));
    factor_page(&console, &visit, Some(to), None).await
}

pub(crate) async fn factor(
    State(console): Home,
    Extension(visit): Asked,
    Form(form): Form<CodeForm>,
) -> Response {
    shown(&console, &visit, &form.code, None).await
}

pub(crate) async fn step_up(
    State(console): Home,
    Extension(visit): Asked,
    Form(form): Form<CodeForm>,
) -> Response {
    shown(&console, &visit, &form.code, Some(place_of(&form.to))).await
}

/// To one of our own pages alone, whatever was asked for.
async fn shown(console: &Console, visit: &Visit, code: &str, to: Option<&'static str>) -> Response {
    let done = async {
        let signed_in = visit.signed_in.as_ref().ok_or(Error::FactorRefused)?;
        let ctx = console.context(Some(signed_in))?;
        way_in::second_factor(&console.instance, &ctx, visit.source, signed_in, code).await
    };
    match done.await {
        Ok(token) => with_session(&token, to.unwrap_or("/")),
        Err(error) => factor_page(console, visit, to, Some(&error)).await,
    }
}

// ---- enrolment

pub(crate) struct ShownTotp {
    qr: String,
    spelled: String,
}

#[derive(Template)]
#[template(path = "enrol.html")]
struct EnrolPage {
    frame: Frame,
    has_passkeys: bool,
    passkeys_at: Option<String>,
    problem: Option<String>,
    new: Option<ShownTotp>,
    /// A key was shown, whose code is waited for.
    is_begun: bool,
    /// Where its forms lead: to the first factor, or to one more.
    at: &'static str,
    name: String,
}

#[derive(Template)]
#[template(path = "codes.html")]
pub(crate) struct CodesPage {
    pub frame: Frame,
    pub codes: Vec<String>,
}

pub(crate) async fn enrol_form(State(_): Home, Extension(visit): Asked) -> Response {
    enrol_page(&visit, None, None, false, String::new())
}

pub(crate) fn enrol_page(
    visit: &Visit,
    problem: Option<&Error>,
    new: Option<ShownTotp>,
    is_begun: bool,
    name: String,
) -> Response {
    let status = problem.map_or(StatusCode::OK, status_of);
    let problem = problem.map(told);
    let name = if name.is_empty() { "authenticator app".to_owned() } else { name };
    let (frame, at) = (Frame::outside(visit), enrolled_at(visit));
    let (has_passkeys, passkeys_at) = (visit.has_passkeys, visit.passkeys_at.clone());
    let answer = EnrolPage { frame, has_passkeys, passkeys_at, problem, new, is_begun, at, name };
    page(status, &answer)
}

/// Where factors are enrolled: the first one, or one more.
pub(crate) fn enrolled_at(visit: &Visit) -> &'static str {
    let is_more = visit.signed_in.as_ref().is_some_and(|one| one.level == SessionLevel::Full);
    if is_more { "/account/factors" } else { "/enrol" }
}

pub(crate) async fn enrol_begin(State(console): Home, Extension(visit): Asked) -> Response {
    let done = async {
        let signed_in = visit.signed_in.as_ref().ok_or(Error::FactorRefused)?;
        let ctx = console.context(Some(signed_in))?;
        factors::begin_totp(&console.instance, &ctx, signed_in).await
    };
    match done.await {
        Ok(new) => {
            let qr = new.qr_svg.expose().to_owned();
            let shown = ShownTotp { qr, spelled: new.spelled.expose().to_owned() };
            enrol_page(&visit, None, Some(shown), true, String::new())
        }
        Err(Error::StepUpNeeded) => to_step_up("/account"),
        Err(error) => enrol_page(&visit, Some(&error), None, false, String::new()),
    }
}

pub(crate) async fn enrol_confirm(
    State(console): Home,
    Extension(visit): Asked,
    Form(form): Form<CodeForm>,
) -> Response {
    let done = async {
        let signed_in = visit.signed_in.as_ref().ok_or(Error::FactorRefused)?;
        let ctx = console.context(Some(signed_in))?;
        factors::confirm_totp(&console.instance, &ctx, signed_in, &form.code, &form.name).await
    };
    match done.await {
        Ok(enrolled) => enrolled_page(&visit, enrolled),
        Err(Error::StepUpNeeded) => to_step_up("/account"),
        // The key that the app has goes on to count.
        Err(error) => enrol_page(&visit, Some(&error), None, true, form.name),
    }
}

pub(crate) fn enrolled_page(visit: &Visit, Enrolled { session, recovery }: Enrolled) -> Response {
    let Some(codes) = recovery else { return with_session(&session, "/account") };
    let codes = exposed(&codes);
    let frame = Frame { is_signed_in: false, ..Frame::outside(visit) };
    let mut response = page(StatusCode::OK, &CodesPage { frame, codes });
    set_session(&mut response, &session);
    response
}

pub(crate) fn exposed(codes: &[SecretText]) -> Vec<String> {
    codes.iter().map(|code| code.expose().to_owned()).collect()
}

pub(crate) async fn sign_out(State(console): Home, Extension(visit): Asked) -> Response {
    if let Some(signed_in) = &visit.signed_in {
        let ended = async {
            let ctx = console.context(Some(signed_in))?;
            sessions::end(&console.instance, &ctx, signed_in.session).await
        };
        match ended.await {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => return failed(&error),
        }
    }
    let mut response = Redirect::to("/sign-in").into_response();
    response.headers_mut().append(header::SET_COOKIE, cookies::no_session());
    response
}

// ---- what there is

#[derive(Template)]
#[template(path = "table.html")]
struct TablePage {
    frame: Frame,
    heading: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    empty: &'static str,
    command: &'static str,
}

pub(crate) async fn providers(
    State(console): Home,
    Extension(visit): Asked,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let listed = or_failed(provider_list::list(&console.instance).await)?;
    let rows = listed.iter().map(|one| {
        let server = one.server.clone().unwrap_or_else(|| "as described".to_owned());
        vec![one.slug.to_string(), one.id.to_string(), server]
    });
    Ok(page(
        StatusCode::OK,
        &TablePage {
            frame: Frame::inside(&console, &visit, signed_in, "/providers"),
            heading: "Providers",
            columns: vec!["Name", "Id", "Server"],
            rows: rows.collect(),
            empty: "No API was imported yet.",
            command: "weirgate provider import FILE --name NAME",
        },
    ))
}
