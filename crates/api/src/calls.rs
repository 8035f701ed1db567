//! Calls of this node: the newest, and each with what the log says of it.

mod shown;

pub(crate) use shown::{Names, RowView, Sees};

use crate::{
    access::sees_customers,
    assets,
    console::Console,
    live,
    pages::{Asked, Home, Refusal, asked_for, or_failed, person},
    views::{Frame, exactly, message, moment, page, took},
};
use app::{
    calls::{self, Answered, End, Kind, Name, Told, Wanted},
    connections, grants,
    people::sessions::SignedIn,
};
use askama::Template;
use axum::{
    extract::{Extension, Path, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use policy::Act;
use shown::{Choice, Meaning};
use std::time::Duration;
use types::{Id, Request as RequestKind};

/// What a page's address asks for.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    provider: String,
    client: String,
    connection: String,
    end: String,
    code: String,
}

impl Filter {
    const NAMES: [&str; 5] = ["provider", "client", "connection", "end", "code"];

    pub(crate) fn of(query: Option<&str>) -> Self {
        let [provider, client, connection, end, code] =
            Self::NAMES.map(|name| asked_for(query, name).trim().to_owned());
        Self { provider, client, connection, end, code }
    }

    const fn values(&self) -> [&String; 5] {
        [&self.provider, &self.client, &self.connection, &self.end, &self.code]
    }

    fn is_empty(&self) -> bool {
        self.values().iter().all(|value| value.is_empty())
    }

    /// The same calls elsewhere.
    fn at(&self, path: &str, more: Option<(&str, u64)>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let pairs = Self::NAMES.into_iter().zip(self.values());
        query.extend_pairs(pairs.filter(|(_, value)| !value.is_empty()));
        query.extend_pairs(more.map(|(name, number)| (name, number.to_string())));
        let query = query.finish();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    /// By ids; or what is none of them.
    pub(crate) fn wanted(&self, names: &Names) -> Result<Wanted, &'static str> {
        let code = Some(self.code.clone()).filter(|code| !code.is_empty());
        let kind = match self.end.as_str() {
            "" => None,
            end => {
                let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == end);
                Some(kind.ok_or("A call ends answered, failed or refused, or is under way.")?)
            }
        };
        let connection = match self.connection.as_str() {
            "" => None,
            id => Some(id.parse().map_err(
                |_| "This is no id of a connection: one is like conn_ with 26 characters.",
            )?),
        };
        let provider = match self.provider.as_str() {
            "" => None,
            name => Some(names.provider_of(name).ok_or("There is no such provider.")?),
        };
        let client = match self.client.as_str() {
            "" => None,
            name => Some(names.client_of(name).ok_or("There is no such client.")?),
        };
        Ok(Wanted { provider, connection, client, kind, code })
    }
}

#[derive(Template)]
#[template(path = "calls.html")]
struct CallsPage {
    frame: Frame,
    problem: Option<&'static str>,
    filter: Filter,
    providers: Vec<Choice>,
    clients: Vec<Choice>,
    ends: Vec<Choice>,
    rows: Vec<RowView>,
    looked_at: u64,
    older: Option<String>,
    /// The newest calls of all: they are followed from here on.
    tail: Option<Followed>,
    newest: String,
}

struct Followed {
    script: &'static str,
    /// What each call that ends becomes one of.
    row: RowView,
    stream: String,
    after: u64,
}

pub(crate) async fn calls(
    State(console): Home,
    Extension(visit): Asked,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let request = asked_for(query.as_deref(), "request");
    let request = request.trim();
    if request.parse::<Id<RequestKind>>().is_ok() {
        return Ok(Redirect::to(&format!("/calls/{request}")).into_response());
    }
    let before: Option<u64> = asked_for(query.as_deref(), "before").parse().ok();
    let filter = Filter::of(query.as_deref());
    let names = or_failed(Names::read(&console, Sees::of(&console, signed_in)).await)?;
    let wanted = filter.wanted(&names);
    let problem = match (&wanted, request) {
        (Err(problem), _) => Some(*problem),
        (Ok(_), "") => None,
        (Ok(_), _) => Some("This is no id of a request: one is like req_ with 26 characters."),
    };
    let listed = match wanted {
        Ok(wanted) if problem.is_none() => {
            or_failed(calls::list(&console.instance, wanted, before).await)?
        }
        _ => calls::Listed::default(),
    };
    let tail = (before.is_none() && problem.is_none()).then(|| Followed {
        script: assets::CALLS.path.as_str(),
        row: RowView::empty(),
        stream: filter.at(live::PATH, None),
        after: listed.newest.unwrap_or(0),
    });
    let ends = Kind::ALL.into_iter().map(|kind| kind.as_str().to_owned());
    let answer = CallsPage {
        frame: Frame::inside(&console, &visit, signed_in, "/calls"),
        problem,
        providers: Choice::of(names.provider_names(), &filter.provider),
        clients: Choice::of(names.client_names(), &filter.client),
        ends: Choice::of(ends, &filter.end),
        rows: listed.calls.iter().map(|call| RowView::of(call, &names)).collect(),
        looked_at: listed.looked_at,
        older: listed.older.map(|older| filter.at("/calls", Some(("before", older)))),
        newest: if problem.is_some() { "/calls".to_owned() } else { filter.at("/calls", None) },
        tail,
        filter,
    };
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok(page(status, &answer))
}

/// A moment of a call.
struct Step {
    at: String,
    what: &'static str,
    after: String,
    entry: u64,
}

/// A grant that allows now what the call did.
struct GrantView {
    id: String,
    purpose: String,
    until: String,
    is_later: bool,
}

#[derive(Template)]
#[template(path = "call.html")]
struct CallPage {
    frame: Frame,
    row: RowView,
    key: String,
    customer: Option<String>,
    environment: &'static str,
    action: &'static str,
    object: String,
    generation: Option<u64>,
    steps: Vec<Step>,
    /// `None` for who does not see grants, and for a call that was refused.
    grants: Option<Vec<GrantView>>,
    answered: Option<Answered>,
    withheld: Vec<String>,
    withheld_more: u64,
    meaning: Option<Meaning>,
}

pub(crate) async fn call(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let name = match (id.parse(), id.parse()) {
        (Ok(index), _) => Some(Name::Entry(index)),
        (_, Ok(request)) => Some(Name::Request(request)),
        _ => None,
    };
    let found = match name {
        Some(name) => or_failed(calls::find(&console.instance, name).await)?,
        None => None,
    };
    let Some(Told { call, withheld, withheld_more }) = found else {
        let what = "This node's log says of no such call.";
        let remedy = "Ask the console of the node that served it. A call that was refused because \
                      nobody was known has no entry of its own.";
        return Ok(message(StatusCode::NOT_FOUND, "No such call", what, remedy));
    };
    let names = or_failed(Names::read(&console, Sees::of(&console, signed_in)).await)?;
    let may = |act| console.offers(signed_in, act);
    let grants = match &call.granted {
        Some(_) if may(Act::GrantRead) => Some(allowing(&console, &call).await?),
        _ => None,
    };
    let granted = call.granted.as_ref();
    let answer = CallPage {
        frame: Frame::inside(&console, &visit, signed_in, "/calls"),
        row: RowView::of(&call, &names),
        key: call.key.to_string(),
        customer: customer_of(&console, signed_in, &call).await?,
        environment: granted.map_or("", |granted| granted.environment.as_str()),
        action: granted.map_or("", |granted| granted.action.as_str()),
        object: granted.and_then(|granted| granted.object.clone()).unwrap_or_default(),
        generation: granted.map(|granted| granted.generation),
        steps: steps_of(&call),
        grants,
        meaning: code_of(&call).map(Meaning::of),
        answered: match call.end {
            End::Answered(answered) => Some(answered),
            _ => None,
        },
        withheld,
        withheld_more,
    };
    Ok(page(StatusCode::OK, &answer))
}

fn code_of(call: &calls::Call) -> Option<&str> {
    match &call.end {
        End::Answered(answered) => answered.code.as_deref(),
        End::Refused { code } => Some(code),
        End::UnderWay | End::Unseen | End::Interrupted { .. } => None,
    }
}

/// Whose data it was about, for those who see that.
async fn customer_of(
    console: &Console,
    signed_in: &SignedIn,
    call: &calls::Call,
) -> Result<Option<String>, Refusal> {
    let Some(connection) = call.connection else { return Ok(None) };
    let may = |act| console.offers(signed_in, act);
    if !may(Act::ConnectionRead) || !sees_customers(may) {
        return Ok(None);
    }
    let mut listed = or_failed(connections::list(&console.instance).await)?.into_iter();
    Ok(listed.find(|one| one.id == connection).map(|one| one.customer))
}

async fn allowing(console: &Console, call: &calls::Call) -> Result<Vec<GrantView>, Refusal> {
    let listed = or_failed(grants::list(&console.instance).await)?.into_iter();
    let found = listed.filter(|one| one.is_in_force && calls::allows(one, call));
    let shown = found.map(|one| GrantView {
        id: one.id.to_string(),
        is_later: one.created_at > call.at,
        purpose: one.grant.purpose,
        until: one.grant.expires,
    });
    Ok(shown.collect())
}

fn steps_of(call: &calls::Call) -> Vec<Step> {
    let step = |at, what, after: Option<Duration>, entry| Step {
        at: exactly(at),
        what,
        after: after.map(took).unwrap_or_default(),
        entry,
    };
    let begun = |what| step(call.at, what, None, call.index);
    match &call.end {
        End::Refused { .. } => vec![begun("Refused; nothing was asked of the provider")],
        End::UnderWay | End::Unseen => vec![begun("Received, and what it is to do recorded")],
        End::Answered(one) => {
            let ended = match one.code {
                None => "Answered, and the outcome recorded",
                Some(_) => "Ended with an error, and the outcome recorded",
            };
            let last = step(one.at, ended, Some(one.duration), one.index);
            vec![begun("Received, and what it is to do recorded"), last]
        }
        End::Interrupted { index, at } => {
            let last = step(*at, "Found unfinished when the server started again", None, *index);
            vec![begun("Received, and what it is to do recorded"), last]
        }
    }
}
