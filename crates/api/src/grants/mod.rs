//! Grants: what each lets through, and what changing one would do before it is done.

use crate::{
    advice,
    console::Console,
    guard::{Visit, to_step_up},
    pages::{Asked, Home, Refusal, asked_for, or_failed, person},
    views::{Frame, moment, page, status_of, told},
};
use app::{
    Error, advisor,
    grants::{self, Problem, matrix::Part},
    people::{sessions::SignedIn, users},
    proposals::{self, Choice, Saved, Verdict, Waiting, Wanted, Which},
};
use askama::Template;
use axum::{
    body::Bytes,
    extract::{Extension, Path, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use policy::{Act, Decision};
use std::collections::BTreeSet;
use types::{Grant, Id, Proposal};

mod new;

pub(crate) use new::new;

/// In the place of an id: a grant that there is not yet.
const NEW: &str = "new";

struct GrantView {
    id: String,
    client: String,
    target: String,
    purpose: String,
    expires: String,
    allows: Vec<String>,
}

struct WaitingView {
    id: String,
    grant: String,
    words: Vec<String>,
    author: String,
    since: String,
    until: String,
    is_own: bool,
}

impl WaitingView {
    async fn of(console: &Console, signed_in: &SignedIn, one: Waiting) -> Result<Self, Refusal> {
        let address = if console.offers(signed_in, Act::UserRead) {
            or_failed(users::address(&console.instance, one.author).await)?
        } else {
            None
        };
        Ok(Self {
            id: one.id.to_string(),
            grant: one.grant,
            words: one.words,
            author: address.unwrap_or_else(|| one.author.to_string()),
            since: moment(one.created_at),
            until: moment(one.expires_at),
            is_own: one.author == signed_in.user,
        })
    }
}

#[derive(Template)]
#[template(path = "grants.html")]
struct GrantsPage {
    frame: Frame,
    problem: Option<String>,
    grants: Vec<GrantView>,
    waiting: Vec<WaitingView>,
    may_change: bool,
    may_approve: bool,
}

pub(crate) async fn grants(
    State(console): Home,
    Extension(visit): Asked,
) -> Result<Response, Refusal> {
    grants_view(&console, &visit, None).await
}

async fn grants_view(
    console: &Console,
    visit: &Visit,
    problem: Option<&Error>,
) -> Result<Response, Refusal> {
    let signed_in = person(visit)?;
    let listed = or_failed(grants::list(&console.instance).await)?;
    let shown = listed.into_iter().filter(|one| one.is_in_force).map(|one| {
        let allows = one.grant.allow.iter().map(|allow| {
            let object = allow.object.as_deref().unwrap_or("operations");
            let fields = allow.fields.len();
            let plural = if fields == 1 { "field" } else { "fields" };
            format!("{} {object}: {fields} {plural}", allow.actions.join(", "))
        });
        GrantView {
            id: one.id.to_string(),
            client: one.client,
            target: one.connection.map_or(one.provider, |id| id.to_string()),
            allows: allows.collect(),
            purpose: one.grant.purpose,
            expires: one.grant.expires,
        }
    });
    let mut waiting = Vec::new();
    for one in or_failed(proposals::waiting(&console.instance).await)? {
        waiting.push(WaitingView::of(console, signed_in, one).await?);
    }
    let answer = GrantsPage {
        frame: Frame::inside(console, visit, signed_in, "/grants"),
        problem: problem.map(told),
        grants: shown.collect(),
        waiting,
        may_change: console.offers(signed_in, Act::GrantApply),
        may_approve: console.offers(signed_in, Act::GrantApprove),
    };
    Ok(page(problem.map_or(StatusCode::OK, status_of), &answer))
}

#[derive(Template)]
#[template(path = "grant.html")]
struct GrantPage {
    frame: Frame,
    id: String,
    client: String,
    target: String,
    purpose: String,
    expires: String,
    parts: Vec<Part>,
    others: Vec<String>,
    more: String,
    may_change: bool,
    is_stepped_up: bool,
}

pub(crate) async fn grant(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let more = asked_for(query.as_deref(), "object");
    let which = Which::There(or_failed(grant_id(&id))?);
    let asked = Some(more.as_str()).filter(|more| !more.is_empty());
    let open = or_failed(proposals::open(&console.instance, &which, asked).await)?;
    let answer = GrantPage {
        frame: Frame::inside(&console, &visit, signed_in, "/grants"),
        id,
        client: open.client,
        target: open.target,
        purpose: open.purpose,
        expires: open.expires,
        parts: open.parts,
        others: open.others,
        more,
        may_change: console.offers(signed_in, Act::GrantApply),
        is_stepped_up: signed_in.is_stepped_up(console.instance.clock.now()),
    };
    Ok(page(StatusCode::OK, &answer))
}

fn grant_id(text: &str) -> Result<Id<Grant>, Error> {
    text.parse().map_err(|_| Error::NameUnknown { kind: "grant" })
}

/// What a form says.
struct Chosen {
    choice: Choice,
    /// As it was sent, to be sent again.
    sent: Vec<(&'static str, String)>,
    shown: String,
}

async fn chosen(console: &Console, id: &str, body: &Bytes) -> Result<Chosen, Error> {
    let (mut fields, mut sent, mut more, mut shown) =
        (BTreeSet::new(), Vec::new(), None, String::new());
    let which = if id == NEW { Which::New(new::given(body)) } else { Which::There(grant_id(id)?) };
    if let Which::New(new) = &which {
        sent.extend(new::as_sent(new));
    }
    for (name, value) in url::form_urlencoded::parse(body) {
        match name.as_ref() {
            "field" => {
                let place = value.split_once(':');
                let place = place.and_then(|(part, field)| Some((part.parse().ok()?, field)));
                let (part, field): (usize, &str) =
                    place.ok_or(Error::NameUnknown { kind: "field" })?;
                fields.insert((part, field.to_owned()));
                sent.push(("field", value.into_owned()));
            }
            "more" if !value.is_empty() => {
                sent.push(("more", value.to_string()));
                more = Some(value.into_owned());
            }
            "unused" => return unused(console, grant_id(id)?, &value, shown_in(body)).await,
            "shown" => shown = value.into_owned(),
            _ => {}
        }
    }
    let wanted = Wanted::These { fields, more };
    Ok(Chosen { choice: Choice { which, wanted }, sent, shown })
}

fn shown_in(body: &Bytes) -> String {
    let mut pairs = url::form_urlencoded::parse(body);
    pairs.find(|(name, _)| name == "shown").map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Without what nobody used for so many days.
async fn unused(
    console: &Console,
    grant: Id<Grant>,
    days: &str,
    shown: String,
) -> Result<Chosen, Error> {
    let days = advice::days_of(days).ok_or(Error::NameUnknown { kind: "number of days" })?;
    let advice = advisor::advise(&console.instance, advice::back(days)).await?;
    let idle = advice.grants.into_iter().filter(|one| advice.is_long_enough && !one.is_young);
    let idle = idle.into_iter().find(|one| one.grant.id == grant);
    let wanted = match idle {
        Some(one) if one.is_whole => Wanted::Nothing,
        Some(one) => Wanted::Without(one.unused.into_iter().collect()),
        None => Wanted::Without(BTreeSet::new()),
    };
    let choice = Choice { which: Which::There(grant), wanted };
    Ok(Chosen { choice, sent: vec![("unused", days.to_string())], shown })
}

#[derive(Template)]
#[template(path = "grant_effect.html")]
struct EffectPage {
    frame: Frame,
    id: String,
    problems: Vec<String>,
    words: Vec<String>,
    notices: Vec<String>,
    clients: usize,
    waits: bool,
    preview: Vec<(String, String)>,
    sent: Vec<(&'static str, String)>,
    shown: String,
    may_change: bool,
}

pub(crate) async fn effect(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let Chosen { choice, sent, .. } = or_failed(chosen(&console, &id, &body).await)?;
    let frame = Frame::inside(&console, &visit, signed_in, "/grants");
    let may_change = console.offers(signed_in, Act::GrantApply);
    let decision = console.decide(signed_in, Act::GrantApply, visit.source);
    let needs_second = matches!(decision, Decision::NeedsApproval(_));
    let answer = match proposals::look(&console.instance, &choice).await {
        Ok(effect) => EffectPage {
            shown: effect.fingerprint,
            problems: Vec::new(),
            words: effect.words,
            notices: effect.notices,
            clients: effect.clients,
            waits: effect.opens_sensitive || needs_second,
            preview: effect.preview,
            frame,
            id,
            sent,
            may_change,
        },
        Err(Error::Grants(problems)) => EffectPage {
            problems: problems.iter().map(in_words).collect(),
            words: Vec::new(),
            notices: Vec::new(),
            clients: 0,
            waits: false,
            preview: Vec::new(),
            shown: String::new(),
            frame,
            id,
            sent,
            may_change: false,
        },
        Err(error) => return or_failed(Err(error)),
    };
    let status =
        if answer.problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok(page(status, &answer))
}

/// What is marked for a terminal is quoted here.
fn in_words(problem: &Problem) -> String {
    format!("{}. {}", problem.what, problem.remedy).replace('`', "\"")
}

pub(crate) async fn save(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let done = async {
        let Chosen { choice, shown, .. } = chosen(&console, &id, &body).await?;
        let ctx = console.context(Some(signed_in))?;
        let (instance, second) = (&console.instance, visit.needs_second);
        proposals::save(instance, &ctx, signed_in, &choice, &shown, second).await
    };
    match done.await {
        Ok(Saved::Done | Saved::Waits(_) | Saved::Same) => {
            Ok(Redirect::to("/grants").into_response())
        }
        Err(Error::StepUpNeeded) => Ok(to_step_up("/grants")),
        Err(error) => grants_view(&console, &visit, Some(&error)).await,
    }
}

#[derive(Template)]
#[template(path = "proposal.html")]
struct ProposalPage {
    frame: Frame,
    one: WaitingView,
    preview: Vec<(String, String)>,
    may_change: bool,
    may_approve: bool,
}

pub(crate) async fn proposal(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let (one, preview) =
        or_failed(async { proposals::look_at(&console.instance, proposal_id(&id)?).await }.await)?;
    let answer = ProposalPage {
        frame: Frame::inside(&console, &visit, signed_in, "/grants"),
        one: WaitingView::of(&console, signed_in, one).await?,
        preview,
        may_change: console.offers(signed_in, Act::GrantApply),
        may_approve: console.offers(signed_in, Act::GrantApprove),
    };
    Ok(page(StatusCode::OK, &answer))
}

fn proposal_id(text: &str) -> Result<Id<Proposal>, Error> {
    text.parse().map_err(|_| Error::NameUnknown { kind: "proposal" })
}

pub(crate) async fn approve(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    decide(&console, &visit, &id, Verdict::Approve).await
}

pub(crate) async fn reject(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    decide(&console, &visit, &id, Verdict::Reject).await
}

pub(crate) async fn withdraw(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    decide(&console, &visit, &id, Verdict::Withdraw).await
}

async fn decide(
    console: &Console,
    visit: &Visit,
    id: &str,
    verdict: Verdict,
) -> Result<Response, Refusal> {
    let signed_in = person(visit)?;
    let done = async {
        let id = proposal_id(id)?;
        let ctx = console.context(Some(signed_in))?;
        proposals::decide(&console.instance, &ctx, signed_in, id, verdict).await
    };
    match done.await {
        Ok(()) => Ok(Redirect::to("/grants").into_response()),
        Err(Error::StepUpNeeded) => Ok(to_step_up("/grants")),
        Err(error) => grants_view(console, visit, Some(&error)).await,
    }
}
