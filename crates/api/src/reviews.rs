//! Reviews of rights: what there is, what becomes of it, and the evidence.

use crate::{
    console::Console,
    cookies,
    guard::{Visit, to_step_up},
    pages::{Asked, Home, Refusal, asked_for, or_failed, person},
    views::{Frame, moment, page, status_of, told},
};
use app::{
    Error,
    people::{sessions::SignedIn, users},
    reviews::{self, About, Item, Reviewed, State, Ticked, Undecided, Verdict},
};
use askama::Template;
use axum::{
    Form,
    body::{Body, Bytes},
    extract::{Extension, Path, RawQuery, Request, State as In},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use http_body_util::BodyExt as _;
use policy::Act;
use serde::Deserialize;
use std::collections::BTreeMap;
use types::{Id, Review, Timestamp};

/// Items on one page, so that what is chosen of them fits into one form.
const ITEMS: usize = 100;

struct Line {
    id: String,
    name: String,
    state: String,
    is_late: bool,
    left: usize,
    all: usize,
}

impl Line {
    fn of(one: &Reviewed, now: Timestamp) -> Self {
        let is_late = one.is_overdue(now);
        let state = match one.closed_at {
            Some(at) => format!("closed {}", moment(at)),
            None if is_late => format!("overdue since {}", moment(one.due_at)),
            None => format!("due {}", moment(one.due_at)),
        };
        let (left, all) = (one.open_items(), one.items.len());
        Self { id: one.id.to_string(), name: one.name.clone(), state, is_late, left, all }
    }
}

#[derive(Template)]
#[template(path = "reviews.html")]
struct ReviewsPage {
    frame: Frame,
    problem: Option<String>,
    /// Where what was ticked before a step-up is looked at again, and of which review.
    ticked: Option<(String, String)>,
    reviews: Vec<Line>,
    may_begin: bool,
}

pub(crate) async fn reviews(
    In(console): Home,
    Extension(visit): Asked,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let ticked = kept(&console, person(&visit)?, &headers);
    reviews_view(&console, &visit, ticked, None).await
}

async fn reviews_view(
    console: &Console,
    visit: &Visit,
    ticked: Option<Ticked>,
    problem: Option<&Error>,
) -> Result<Response, Refusal> {
    let signed_in = person(visit)?;
    let listed = or_failed(reviews::list(&console.instance).await)?;
    let now = console.instance.clock.now();
    let is_under_way = listed.iter().any(|one| one.closed_at.is_none());
    let ticked = ticked.and_then(|kept| {
        let is_of = |one: &&Reviewed| one.id == kept.review && one.closed_at.is_none();
        let review = listed.iter().find(is_of)?;
        Some((format!("/reviews/{}?from={}", kept.review, kept.from), review.name.clone()))
    });
    let answer = ReviewsPage {
        ticked,
        frame: Frame::inside(console, visit, signed_in, "/reviews"),
        problem: problem.map(told),
        reviews: listed.iter().rev().map(|one| Line::of(one, now)).collect(),
        may_begin: !is_under_way && console.offers(signed_in, Act::ReviewBegin),
    };
    Ok(page(problem.map_or(StatusCode::OK, status_of), &answer))
}

#[derive(Deserialize)]
pub(crate) struct BeginForm {
    name: String,
    days: String,
}

pub(crate) async fn begin(
    In(console): Home,
    Extension(visit): Asked,
    Form(form): Form<BeginForm>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let begun = async {
        // What is no number is told as one that is none of those that can be given.
        let days = form.days.trim().parse().unwrap_or_default();
        let ctx = console.context(Some(signed_in))?;
        reviews::begin(&console.instance, &ctx, &form.name, days).await
    };
    match begun.await {
        Ok(id) => Ok(Redirect::to(&format!("/reviews/{id}")).into_response()),
        Err(error) => reviews_view(&console, &visit, None, Some(&error)).await,
    }
}

struct ItemView {
    number: usize,
    /// What is confirmed or dropped.
    what: String,
    words: Vec<String>,
    is_managed: bool,
    is_own: bool,
    is_confirmed: bool,
    is_dropped: bool,
    /// What became of it; empty while somebody may decide.
    outcome: String,
}

#[derive(Template)]
#[template(path = "review.html")]
struct ReviewPage {
    frame: Frame,
    problem: Option<String>,
    line: Line,
    begun: String,
    by: String,
    closed_by: String,
    items: Vec<ItemView>,
    is_open: bool,
    is_stepped_up: bool,
    may_decide: bool,
    is_any_left_here: bool,
    /// Something of this page was ticked before, and is to be looked at again.
    is_ticked: bool,
    earlier: Option<usize>,
    later: Option<usize>,
    from: usize,
}

pub(crate) async fn review(
    In(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let from = asked_for(query.as_deref(), "from").parse().unwrap_or(1);
    let ticked = kept(&console, person(&visit)?, &headers);
    let ticked = ticked.filter(|one| one.review.to_string() == id);
    let ticks = ticked.map(|one| one.verdicts).unwrap_or_default();
    review_view(&console, &visit, (&id, from), &ticks, None).await
}

type Ticks = BTreeMap<usize, Verdict>;

/// What this person ticked before a step-up.
fn kept(console: &Console, signed_in: &SignedIn, headers: &HeaderMap) -> Option<Ticked> {
    Ticked::kept(&console.instance, signed_in.user, cookies::ticked_of(headers)?)
}

/// Of a page that a step-up is due for, what was ticked, for the browser to keep: it came by a form of
/// ours, for this session.
pub(crate) async fn ticked(
    console: &Console,
    signed_in: &SignedIn,
    request: &mut Request,
) -> Option<HeaderValue> {
    let id = request.uri().path().strip_prefix("/reviews/")?.strip_suffix("/decide")?;
    let review = id.parse().ok()?;
    let body = std::mem::replace(request.body_mut(), Body::empty());
    let (verdicts, from) = verdicts(&body.collect().await.ok()?.to_bytes());
    let ticked = Ticked { review, from, verdicts: verdicts.into_iter().collect() };
    cookies::ticked(&ticked.keep(&console.instance, signed_in.user)?)
}

async fn review_view(
    console: &Console,
    visit: &Visit,
    (id, from): (&str, usize),
    ticks: &Ticks,
    problem: Option<&Error>,
) -> Result<Response, Refusal> {
    let signed_in = person(visit)?;
    let shown = or_failed(found(console, id).await)?;
    let people = People::of(console, visit).await?;
    let may_decide = shown.closed_at.is_none() && console.offers(signed_in, Act::ReviewDecide);
    let first = from.clamp(1, shown.items.len().max(1)) - 1;
    let here = shown.items.iter().skip(first).take(ITEMS);
    let items: Vec<ItemView> = here.map(|item| people.item(item, ticks)).collect();
    let after = first + items.len();
    let answer = ReviewPage {
        frame: Frame::inside(console, visit, signed_in, "/reviews"),
        problem: problem.map(told),
        line: Line::of(&shown, console.instance.clock.now()),
        begun: moment(shown.created_at),
        by: people.actor(&shown.begun_by),
        closed_by: shown.closed_by.as_deref().map(|by| people.actor(by)).unwrap_or_default(),
        is_open: shown.closed_at.is_none(),
        is_stepped_up: signed_in.is_stepped_up(console.instance.clock.now()),
        may_decide,
        is_any_left_here: items.iter().any(|item| item.outcome.is_empty()),
        is_ticked: items.iter().any(|item| item.is_confirmed || item.is_dropped),
        earlier: (first > 0).then(|| first.saturating_sub(ITEMS) + 1),
        later: (after < shown.items.len()).then_some(after + 1),
        from: first + 1,
        items,
    };
    Ok(page(problem.map_or(StatusCode::OK, status_of), &answer))
}

async fn found(console: &Console, id: &str) -> Result<Reviewed, Error> {
    reviews::show(&console.instance, Some(review_id(id)?)).await
}

fn review_id(text: &str) -> Result<Id<Review>, Error> {
    text.parse().map_err(|_| Error::NameUnknown { kind: "review" })
}

/// Addresses, for those who may see them.
struct People {
    own: String,
    addresses: BTreeMap<String, String>,
}

impl People {
    async fn of(console: &Console, visit: &Visit) -> Result<Self, Refusal> {
        let signed_in = person(visit)?;
        let mut addresses = BTreeMap::new();
        if console.offers(signed_in, Act::UserRead) {
            for one in or_failed(users::list(&console.instance).await)? {
                addresses.extend(one.address.map(|address| (one.id.to_string(), address)));
            }
        }
        Ok(Self { own: signed_in.user.to_string(), addresses })
    }

    fn name(&self, user: &str) -> String {
        self.addresses.get(user).cloned().unwrap_or_else(|| user.to_owned())
    }

    /// An actor as the log names it.
    fn actor(&self, actor: &str) -> String {
        match actor.strip_prefix("user:") {
            Some(user) => self.name(user),
            None => actor.to_owned(),
        }
    }

    fn item(&self, item: &Item, ticks: &Ticks) -> ItemView {
        let what = match &item.about {
            About::Grant { name, .. } => name.clone(),
            About::Role { user, role, .. } => format!("{role}, of {}", self.name(user)),
        };
        let is_managed = matches!(item.about, About::Role { is_managed: true, .. });
        let is_own = matches!(&item.about, About::Role { user, .. } if *user == self.own);
        let tick = ticks.get(&item.number).filter(|_| item.state == State::Open);
        ItemView {
            number: item.number,
            what,
            words: item.about.words(),
            is_managed,
            is_own,
            // Only what the page offers.
            is_confirmed: !is_own && tick == Some(&Verdict::Confirm),
            is_dropped: !is_managed && tick == Some(&Verdict::Drop),
            outcome: match &item.state {
                State::Open => String::new(),
                State::Changed => "changed since: nothing is left to decide".to_owned(),
                State::Decided(one) => {
                    format!("{} by {}", one.outcome.as_str(), self.actor(&one.by))
                }
            },
        }
    }
}

/// What a form says of items: `1=confirm`, `2=drop`; whatever else it says of one leaves it open.
fn verdicts(body: &Bytes) -> (Vec<(usize, Verdict)>, usize) {
    let (mut verdicts, mut from) = (Vec::new(), 1);
    for (name, value) in url::form_urlencoded::parse(body) {
        if name == "from" {
            from = value.parse().unwrap_or(1);
            continue;
        }
        let verdict = match value.as_ref() {
            "confirm" => Verdict::Confirm,
            "drop" => Verdict::Drop,
            _ => continue,
        };
        verdicts.extend(name.parse().ok().map(|number: usize| (number, verdict)));
    }
    (verdicts, from)
}

pub(crate) async fn decide(
    In(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let (verdicts, from) = verdicts(&body);
    let done = async {
        let (id, ctx) = (review_id(&id)?, console.context(Some(signed_in))?);
        reviews::decide(&console.instance, &ctx, Some(signed_in), id, &verdicts).await?;
        Ok(id)
    };
    match done.await {
        Ok(id) => Ok(recorded(&format!("/reviews/{id}?from={from}"))),
        Err(Error::StepUpNeeded) => Ok(to_step_up("/reviews")),
        Err(error) => {
            let ticks = verdicts.into_iter().collect();
            review_view(&console, &visit, (&id, from), &ticks, Some(&error)).await
        }
    }
}

/// To the page that says what was decided. What was ticked before is nothing any more.
fn recorded(path: &str) -> Response {
    let mut response = Redirect::to(path).into_response();
    response.headers_mut().append(header::SET_COOKIE, cookies::nothing_ticked());
    response
}

#[derive(Deserialize)]
pub(crate) struct CloseForm {
    undecided: Option<String>,
}

pub(crate) async fn close(
    In(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
    Form(form): Form<CloseForm>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let is_drop = form.undecided.as_deref() == Some("drop");
    let undecided = if is_drop { Undecided::Drop } else { Undecided::Refuse };
    let done = async {
        let (id, ctx) = (review_id(&id)?, console.context(Some(signed_in))?);
        reviews::close(&console.instance, &ctx, Some(signed_in), id, undecided).await?;
        Ok(id)
    };
    match done.await {
        Ok(id) => Ok(recorded(&format!("/reviews/{id}"))),
        Err(Error::StepUpNeeded) => Ok(to_step_up("/reviews")),
        Err(error) => review_view(&console, &visit, (&id, 1), &Ticks::new(), Some(&error)).await,
    }
}

pub(crate) async fn evidence(
    In(console): Home,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let shown = or_failed(found(&console, &id).await)?;
    let file = format!("attachment; filename=\"{}.json\"", shown.id);
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_DISPOSITION, file),
    ];
    Ok((headers, reviews::evidence(&console.instance, &shown)).into_response())
}
