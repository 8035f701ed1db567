//! One's own account: factors, sessions, tokens, identity providers and password.

use crate::{
    console::Console,
    guard::{Visit, to_step_up},
    pages::{Asked, CodesPage, Home, Refusal, exposed, or_failed, person},
    people::roles_of,
    sso::{self, Way},
    views::{Frame, moment, page, status_of, told},
};
use app::{
    Error,
    people::{
        factors, notices, sessions, sessions::SignedIn, sso as sso_accounts, tokens,
        tokens::Wanted, users as accounts,
    },
};
use askama::Template;
use axum::{
    Form,
    extract::{Extension, Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use identity::Password;
use serde::Deserialize;
use std::time::Duration;
use types::{Factor, FactorKind, Id, Session, Timestamp, Token};

const DAY: Duration = Duration::from_hours(24);

struct SessionView {
    id: String,
    begun: String,
    seen: String,
    ends: String,
    is_own: bool,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    has_passkeys: bool,
    passkeys_at: Option<String>,
    problem: Option<String>,
    id: String,
    roles: String,
    factors: Vec<FactorView>,
    recovery_left: usize,
    sessions: Vec<SessionView>,
    identities: Vec<IdentityView>,
    /// Providers that can be linked still.
    linkable: Vec<Way>,
    has_password: bool,
    tokens: Vec<TokenView>,
    new_token: Option<String>,
    notices: Untold,
}

struct FactorView {
    id: String,
    name: String,
    kind: &'static str,
    since: String,
}

struct IdentityView {
    id: String,
    provider: String,
    is_managed: bool,
    since: String,
}

struct TokenView {
    id: String,
    name: String,
    roles: String,
    expires: String,
}

pub(crate) async fn account(
    State(console): Home,
    Extension(visit): Asked,
) -> Result<Response, Refusal> {
    account_view(&console, &visit, None, None).await
}

async fn account_view(
    console: &Console,
    visit: &Visit,
    problem: Option<&Error>,
    new_token: Option<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(visit)?;
    let user = signed_in.user;
    let (factors, recovery_left) = or_failed(factors::list(&console.instance, user).await)?;
    let sessions = or_failed(sessions::list(&console.instance, Some(user)).await)?;
    let sessions = sessions.iter().map(|one| SessionView {
        id: one.signed_in.session.to_string(),
        begun: moment(one.signed_in.created_at),
        seen: moment(one.seen_at),
        ends: moment(one.signed_in.expires_at),
        is_own: one.signed_in.session == signed_in.session,
    });
    let factors = factors.into_iter().map(|one| FactorView {
        id: one.id.to_string(),
        name: one.name,
        kind: if one.kind == FactorKind::Totp { "codes by time" } else { "passkey" },
        since: moment(one.created_at),
    });
    let held = or_failed(tokens::list(&console.instance, Some(user)).await)?;
    let held = held.into_iter().filter(|one| one.is_in_force).map(|one| TokenView {
        id: one.id.to_string(),
        name: one.name,
        roles: one.roles.join(", "),
        expires: moment(one.expires_at),
    });
    let linked = or_failed(sso_accounts::linked(&console.instance, user).await)?;
    let mut linkable = sso::links(console).await;
    linkable.retain(|way| linked.iter().all(|one| one.provider.as_str() != way.name));
    let has_password = linked.iter().all(|one| !one.is_managed);
    let identities = linked.into_iter().map(|one| IdentityView {
        id: one.id.to_string(),
        provider: one.provider.to_string(),
        is_managed: one.is_managed,
        since: moment(one.created_at),
    });
    let answer = AccountPage {
        identities: identities.collect(),
        linkable: if has_password { linkable } else { Vec::new() },
        has_password,
        frame: Frame::inside(console, visit, signed_in, "/account"),
        has_passkeys: visit.has_passkeys,
        passkeys_at: visit.passkeys_at.clone(),
        problem: problem.map(told),
        id: user.to_string(),
        roles: signed_in.roles.join(", "),
        factors: factors.collect(),
        recovery_left,
        sessions: sessions.collect(),
        tokens: held.collect(),
        new_token,
        notices: untold(console, signed_in).await?,
    };
    Ok(page(problem.map_or(StatusCode::OK, status_of), &answer))
}

/// Notices with their times, and the newest one's in microseconds.
pub(crate) struct Untold {
    pub(crate) listed: Vec<(String, String)>,
    pub(crate) newest: i64,
}

/// What of the account was changed that its owner has not seen yet.
pub(crate) async fn untold(console: &Console, signed_in: &SignedIn) -> Result<Untold, Refusal> {
    let listed = or_failed(notices::list(&console.instance, signed_in.user).await)?;
    let newest = listed.iter().map(|one| one.at().as_micros()).max().unwrap_or_default();
    let in_words = |text: &str| {
        let mut letters = text.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>())
    };
    let listed = listed.iter();
    let shown = listed.map(|one| (moment(one.at()), in_words(&one.what).unwrap_or_default()));
    Ok(Untold { listed: shown.collect(), newest })
}

#[derive(Deserialize)]
pub(crate) struct SeenForm {
    #[serde(default)]
    newest: String,
}

pub(crate) async fn notices_seen(
    State(console): Home,
    Extension(visit): Asked,
    Form(form): Form<SeenForm>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let ctx = or_failed(console.context(Some(signed_in)))?;
    let newest = Timestamp::from_micros(form.newest.parse().unwrap_or_default());
    let done = notices::seen(&console.instance, &ctx, signed_in, newest).await;
    back(&console, &visit, done).await
}

/// To the account after an act on it, to the step-up that it wants, or what was wrong with it.
pub(crate) async fn back(
    console: &Console,
    visit: &Visit,
    done: Result<(), Error>,
) -> Result<Response, Refusal> {
    match done {
        Ok(()) => Ok(Redirect::to("/account").into_response()),
        Err(Error::StepUpNeeded) => Ok(to_step_up("/account")),
        Err(error) => account_view(console, visit, Some(&error), None).await,
    }
}

pub(crate) async fn new_recovery_codes(
    State(console): Home,
    Extension(visit): Asked,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let done = async {
        let ctx = console.context(Some(signed_in))?;
        factors::replace_recovery_codes(&console.instance, &ctx, signed_in).await
    };
    match done.await {
        Ok(codes) => {
            let frame = Frame::inside(&console, &visit, signed_in, "/account");
            Ok(page(StatusCode::OK, &CodesPage { frame, codes: exposed(&codes) }))
        }
        Err(Error::StepUpNeeded) => Ok(to_step_up("/account")),
        Err(error) => account_view(&console, &visit, Some(&error), None).await,
    }
}

/// One of one's own; never the last.
pub(crate) async fn remove_factor(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let done = async {
        let not_found = || Error::NotFound { kind: "factor", name: "of that id".to_owned() };
        let id: Id<Factor> = id.parse().map_err(|_| not_found())?;
        factors::remove(&console.instance, &console.context(Some(signed_in))?, signed_in, id).await
    };
    back(&console, &visit, done.await).await
}

/// One of one's own.
pub(crate) async fn end_session(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let done = async {
        let not_found = || Error::NotFound { kind: "session", name: "of that id".to_owned() };
        let id: Id<Session> = id.parse().map_err(|_| not_found())?;
        let own = sessions::list(&console.instance, Some(signed_in.user)).await?;
        if !own.iter().any(|one| one.signed_in.session == id) {
            return Err(not_found());
        }
        sessions::end(&console.instance, &console.context(Some(signed_in))?, id).await
    };
    back(&console, &visit, done.await).await
}

pub(crate) async fn end_other_sessions(
    State(console): Home,
    Extension(visit): Asked,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let done = async {
        let ctx = console.context(Some(signed_in))?;
        sessions::end_others(&console.instance, &ctx, signed_in).await
    };
    back(&console, &visit, done.await.map(drop)).await
}

#[derive(Deserialize)]
pub(crate) struct PasswordForm {
    before: String,
    password: String,
}

pub(crate) async fn change_password(
    State(console): Home,
    Extension(visit): Asked,
    Form(form): Form<PasswordForm>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let (before, new) = (Password::new(form.before), Password::new(form.password));
    let done = async {
        let ctx = console.context(Some(signed_in))?;
        let instance = &console.instance;
        accounts::change_password(instance, &ctx, visit.source, signed_in, before, new).await
    };
    back(&console, &visit, done.await).await
}

#[derive(Deserialize)]
pub(crate) struct TokenForm {
    name: String,
    roles: String,
    days: String,
}

pub(crate) async fn new_token(
    State(console): Home,
    Extension(visit): Asked,
    Form(form): Form<TokenForm>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let done = async {
        let ctx = console.context(Some(signed_in))?;
        let days: u32 = form.days.trim().parse().unwrap_or(0);
        let life = DAY.saturating_mul(days);
        let wanted = Wanted { name: &form.name, roles: &roles_of(&form.roles), life };
        tokens::create(&console.instance, &ctx, signed_in, &wanted).await
    };
    match done.await {
        Ok(new) => {
            let shown = new.token.expose().to_owned();
            account_view(&console, &visit, None, Some(shown)).await
        }
        Err(Error::StepUpNeeded) => Ok(to_step_up("/account")),
        Err(error) => account_view(&console, &visit, Some(&error), None).await,
    }
}

/// One of one's own.
pub(crate) async fn revoke_token(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let done = async {
        let not_found = || Error::NotFound { kind: "token", name: "of that id".to_owned() };
        let id: Id<Token> = id.parse().map_err(|_| not_found())?;
        let ctx = console.context(Some(signed_in))?;
        tokens::revoke(&console.instance, &ctx, id, Some(signed_in.user)).await
    };
    back(&console, &visit, done.await).await
}
