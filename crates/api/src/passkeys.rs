//! Pages that ask a device for a passkey, the only ones with a script, and what takes its answer.

use crate::{
    assets,
    console::{Console, Party},
    guard::{Visit, to_step_up},
    pages::{
        Asked, Home, enrol_page, enrolled_at, enrolled_page, factor_page, sign_in_page,
        with_session,
    },
    views::{Frame, page, place_of},
};
use app::{
    Error,
    people::{passkeys, sessions::SignedIn},
};
use askama::Template;
use axum::{
    Form,
    extract::{Extension, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;
use types::OpContext;

#[derive(Template)]
#[template(path = "passkey.html")]
struct PasskeyPage<'p> {
    frame: Frame,
    script: &'static str,
    heading: &'static str,
    about: &'static str,
    action: String,
    /// Where one goes who has none, and how that is called.
    back: (String, &'static str),
    /// `create` or `get`.
    kind: &'static str,
    options: &'p str,
    handle: &'p str,
    to: Option<&'static str>,
}

/// What was asked of a person's device.
struct Ceremony {
    heading: &'static str,
    about: &'static str,
    action: String,
    back: (String, &'static str),
    kind: &'static str,
    to: Option<&'static str>,
}

const SHOW: &str = "Your device asks for a finger, a face or a PIN.";

fn asking(visit: &Visit, asked: &passkeys::Asked, ceremony: Ceremony) -> Response {
    let Ceremony { heading, about, action, back, kind, to } = ceremony;
    let page_of = PasskeyPage {
        frame: Frame::outside(visit),
        script: assets::PASSKEY.path.as_str(),
        heading,
        about,
        action,
        back,
        kind,
        options: asked.options.as_json(),
        handle: asked.handle.expose(),
        to,
    };
    page(StatusCode::OK, &page_of)
}

#[derive(Deserialize)]
pub(crate) struct ToForm {
    #[serde(default)]
    to: String,
}

#[derive(Deserialize)]
pub(crate) struct AnswerForm {
    handle: String,
    answer: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    to: String,
}

impl AnswerForm {
    fn answer(&self) -> (&str, &str) {
        (&self.handle, &self.answer)
    }
}

/// Where the console has passkeys, and who asks.
fn party(console: &Console) -> Result<&Party, Error> {
    console.party.as_ref().ok_or(Error::PasskeyRefused)
}

fn of_person<'a>(
    console: &'a Console,
    visit: &'a Visit,
) -> Result<(&'a Party, &'a SignedIn, OpContext), Error> {
    let signed_in = visit.signed_in.as_ref().ok_or(Error::FactorRefused)?;
    Ok((party(console)?, signed_in, console.context(Some(signed_in))?))
}

// ---- enrolment

pub(crate) async fn begin_enrolment(State(console): Home, Extension(visit): Asked) -> Response {
    let begun = async {
        let (party, signed_in, ctx) = of_person(&console, &visit)?;
        passkeys::begin_registration(&console.instance, &ctx, &party.party, signed_in).await
    };
    let at = enrolled_at(&visit);
    match begun.await {
        Ok(asked) => {
            let ceremony = Ceremony {
                heading: "Make a passkey",
                about: SHOW,
                action: format!("{at}/passkey/confirm"),
                back: if at == "/enrol" {
                    (at.to_owned(), "Use an authenticator app instead")
                } else {
                    ("/account".to_owned(), "Back to the account")
                },
                kind: "create",
                to: None,
            };
            asking(&visit, &asked, ceremony)
        }
        Err(Error::StepUpNeeded) => to_step_up("/account"),
        Err(error) => enrol_page(&visit, Some(&error), None, false, String::new()),
    }
}

pub(crate) async fn enrol(
    State(console): Home,
    Extension(visit): Asked,
    Form(form): Form<AnswerForm>,
) -> Response {
    let done = async {
        let (party, signed_in, ctx) = of_person(&console, &visit)?;
        let (instance, party) = (&console.instance, &party.party);
        passkeys::finish_registration(instance, &ctx, party, signed_in, form.answer(), &form.name)
            .await
    };
    match done.await {
        Ok(enrolled) => enrolled_page(&visit, enrolled),
        Err(Error::StepUpNeeded) => to_step_up("/account"),
        Err(error) => enrol_page(&visit, Some(&error), None, false, String::new()),
    }
}

// ---- after a password, and for a step-up

async fn begin_shown(console: &Console, visit: &Visit, to: Option<&'static str>) -> Response {
    let begun = async {
        let (party, signed_in, ctx) = of_person(console, visit)?;
        passkeys::begin_authentication(&console.instance, &ctx, &party.party, signed_in).await
    };
    let (heading, path, back) = match to {
        Some(to) => ("Show a passkey again", "/step-up", format!("/step-up?to={to}")),
        None => ("Second factor: a passkey", "/sign-in/factor", "/sign-in/factor".to_owned()),
    };
    match begun.await {
        Ok(asked) => {
            let action = format!("{path}/passkey");
            let back = (back, "Use a code instead");
            let ceremony = Ceremony { heading, about: SHOW, action, back, kind: "get", to };
            asking(visit, &asked, ceremony)
        }
        Err(error) => factor_page(console, visit, to, Some(&error)).await,
    }
}

async fn shown(
    console: &Console,
    visit: &Visit,
    form: &AnswerForm,
    to: Option<&'static str>,
) -> Response {
    let done = async {
        let (party, signed_in, ctx) = of_person(console, visit)?;
        let (instance, party) = (&console.instance, &party.party);
        passkeys::second_factor(instance, &ctx, party, visit.source, signed_in, form.answer()).await
    };
    match done.await {
        Ok(token) => with_session(&token, to.unwrap_or("/")),
        Err(error) => factor_page(console, visit, to, Some(&error)).await,
    }
}

pub(crate) async fn begin_factor(State(console): Home, Extension(visit): Asked) -> Response {
    begin_shown(&console, &visit, None).await
}

pub(crate) async fn factor(
    State(console): Home,
    Extension(visit): Asked,
    Form(form): Form<AnswerForm>,
) -> Response {
    shown(&console, &visit, &form, None).await
}

pub(crate) async fn begin_step_up(
    State(console): Home,
    Extension(visit): Asked,
    Form(form): Form<ToForm>,
) -> Response {
    begin_shown(&console, &visit, Some(place_of(&form.to))).await
}

pub(crate) async fn step_up(
    State(console): Home,
    Extension(visit): Asked,
    Form(form): Form<AnswerForm>,
) -> Response {
    shown(&console, &visit, &form, Some(place_of(&form.to))).await
}

// ---- instead of a password

pub(crate) async fn begin_sign_in(State(console): Home, Extension(visit): Asked) -> Response {
    let begun = party(&console).and_then(|party| {
        let ctx = console.context(None)?;
        passkeys::begin_sign_in(&console.instance, &ctx, &party.party, &visit.form)
    });
    match begun {
        Ok(asked) => {
            let ceremony = Ceremony {
                heading: "Sign in with a passkey",
                about: SHOW,
                action: "/sign-in/passkey".to_owned(),
                back: ("/sign-in".to_owned(), "Use a password and a code instead"),
                kind: "get",
                to: None,
            };
            asking(&visit, &asked, ceremony)
        }
        Err(error) => sign_in_page(&console, &visit, Some(&error), String::new()).await,
    }
}

pub(crate) async fn sign_in(
    State(console): Home,
    Extension(visit): Asked,
    Form(form): Form<AnswerForm>,
) -> Response {
    let done = async {
        let (party, ctx) = (party(&console)?, console.context(None)?);
        let (instance, party) = (&console.instance, &party.party);
        let (source, answer) = (visit.source, form.answer());
        passkeys::sign_in(instance, &ctx, party, source, &visit.form, answer).await
    };
    match done.await {
        Ok(token) => with_session(&token, "/"),
        Err(error) => sign_in_page(&console, &visit, Some(&error), String::new()).await,
    }
}
