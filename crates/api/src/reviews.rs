//! Reviews of rights: what there is, what becomes of it, and the evidence.

use crate::{
    console::Console,
    guard::{Visit, to_step_up},
    pages::{Asked, Home, Refusal, asked_for, or_failed, person},
    views::{Frame, moment, page, status_of, told},
};
use app::{
    Error,
    people::users,
    reviews::{self, About, Item, Reviewed, State, Undecided, Verdict},
};
use askama::Template;
use axum::{
    Form,
    body::Bytes,
    extract::{Extension, Path, RawQuery, State as In},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
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
    reviews: Vec<Line>,
    may_begin: bool,
}

pub(crate) async fn reviews(
    In(console): Home,
    Extension(visit): Asked,
) -> Result<Response, Refusal> {
    reviews_view(&console, &visit, None).await
}

async fn reviews_view(
    console: &Console,
    visit: &Visit,
    problem: Option<&Error>,
) -> Result<Response, Refusal> {
    let signed_in = person(visit)?;
    let listed = or_failed(reviews::list(&console.instance).await)?;
    let now = console.instance.clock.now();
    let is_under_way = listed.iter().any(|one| one.closed_at.is_none());
    let answer = ReviewsPage {
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
        Err(error) => reviews_view(&console, &visit, Some(&error)).await,
    }
}

struct ItemView {
    number: usize,
    /// What is confirmed or dropped.
    what: String,
    words: Vec<String>,
    is_managed: bool,
    is_own: bool,
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
    earlier: Option<usize>,
    later: Option<usize>,
    from: usize,
}

pub(crate) async fn review(
    In(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let from = asked_for(query.as_deref(), "from").parse().unwrap_or(1);
    review_view(&console, &visit, &id, from, None).await
}

async fn review_view(
    console: &Console,
    visit: &Visit,
    id: &str,
    from: usize,
    problem: Option<&Error>,
) -> Result<Response, Refusal> {
    let signed_in = person(visit)?;
    let shown = or_failed(found(console, id).await)?;
    let people = People::of(console, visit).await?;
    let may_decide = shown.closed_at.is_none() && console.offers(signed_in, Act::ReviewDecide);
    let first = from.clamp(1, shown.items.len().max(1)) - 1;
    let here = shown.items.iter().skip(first).take(ITEMS);
    let items: Vec<ItemView> = here.map(|item| people.item(item)).collect();
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

    fn item(&self, item: &Item) -> ItemView {
        let what = match &item.about {
            About::Grant { name, .. } => name.clone(),
            About::Role { user, role, .. } => format!("{role}, of {}", self.name(user)),
        };
        ItemView {
            number: item.number,
            what,
            words: item.about.words(),
            is_managed: matches!(item.about, About::Role { is_managed: true, .. }),
            is_own: matches!(&item.about, About::Role { user, .. } if *user == self.own),
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
        Ok(id) => Ok(Redirect::to(&format!("/reviews/{id}?from={from}")).into_response()),
        Err(Error::StepUpNeeded) => Ok(to_step_up("/reviews")),
        Err(error) => review_view(&console, &visit, &id, from, Some(&error)).await,
    }
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
        Ok(id) => Ok(Redirect::to(&format!("/reviews/{id}")).into_response()),
        Err(Error::StepUpNeeded) => Ok(to_step_up("/reviews")),
        Err(error) => review_view(&console, &visit, &id, 1, Some(&error)).await,
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
