//! What every request of the API passes before and every answer after its handler.

use super::{API_ROUTES, Need, problem::Problem};
use crate::{
    console::{Console, Peer},
    guard::put_headers,
};
use app::people::{tokens, tokens::Bearer};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use identity::PersonalToken;
use policy::{Act, Decision, Moment, Principal, Resource};
use std::{net::IpAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::sync::SemaphorePermit;
use types::{Actor, Id, OpContext};

/// What takes longer is given up.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whose program asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub bearer: Bearer,
    pub source: Option<IpAddr>,
}

impl Caller {
    /// Who acts, as part of which request.
    pub(crate) fn context(&self, console: &Console) -> Result<OpContext, Problem> {
        let now = console.instance.clock.now();
        let request =
            Id::generate(now, console.instance.random.as_ref()).map_err(app::Error::from)?;
        let actor = Actor::Token { id: self.bearer.token, user: self.bearer.user };
        Ok(OpContext { actor, request, now })
    }

    /// Whether the token's owner may do something, by this token.
    pub(crate) fn may(&self, console: &Console, act: Act) -> Decision {
        let principal = Principal {
            id: self.bearer.user.to_string(),
            roles: self.bearer.roles.clone(),
            is_token: true,
        };
        let now = console.instance.clock.now();
        let moment = Moment { now, source: self.source, is_stepped_up: false };
        self.bearer.decider.decide(&principal, act, &Resource::default(), &moment)
    }
}

/// How long one may wait for a place among the dear requests.
const PLACE_PATIENCE: Duration = Duration::from_secs(5);

/// Outermost: headers, panics, time.
pub(crate) async fn around(
    State(console): State<Arc<Console>>,
    request: Request,
    next: Next,
) -> Response {
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind();
    let mut response = match tokio::time::timeout(PATIENCE, handled).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something is wrong in Weirgate",
            "Report this with what you did.",
        )
        .into_response(),
        Err(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "it took too long, and was given up",
            "Try again in a moment.",
        )
        .into_response(),
    };
    put_headers(response.headers_mut(), console.reached.is_tls, false);
    response
}

/// Whose token it is, and whether its owner may do that.
pub(crate) async fn before(
    State(console): State<Arc<Console>>,
    mut request: Request,
    next: Next,
) -> Response {
    let source = request.extensions().get::<Peer>().and_then(|peer| peer.0);
    let caller = match caller(&console, request.headers(), source).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let declared = API_ROUTES.iter().filter(|(_, route, _)| *route == path);
    let method = request.method().as_str();
    let Some((_, _, need)) = declared.clone().find(|(known, ..)| *known == method) else {
        let known: Vec<&str> = declared.map(|(known, ..)| *known).collect();
        return not_served(&known);
    };
    if let Need::May(act) = need {
        match caller.may(&console, *act) {
            Decision::Allowed(_) => {}
            _ if act.needs_step_up() => return needs_step_up(*act).into_response(),
            _ => {
                let why = "is not permitted to this token's owner, or not to the token's roles";
                let remedy = "Ask for a role that permits it, and make a token with that role.";
                let detail = format!("{act} {why}");
                return Problem::new(StatusCode::FORBIDDEN, "not_permitted", detail, remedy)
                    .into_response();
            }
        }
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// A place for what reads descriptions or much of the log, once all that was sent is here.
pub(super) async fn place(console: &Console) -> Result<SemaphorePermit<'_>, Problem> {
    let place = tokio::time::timeout(PLACE_PATIENCE, console.dear.acquire()).await;
    place.ok().and_then(Result::ok).ok_or_else(|| {
        let detail = "other requests of this kind take all the time that there is for them";
        let remedy = "Try again in a moment.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail, remedy)
    })
}

/// What no token does.
pub(super) fn needs_step_up(act: Act) -> Problem {
    let detail = format!("{act} needs a step-up, which no token has");
    let remedy = "Do it at the command line on the data folder, or where there is a page for it in the console.";
    Problem::new(StatusCode::FORBIDDEN, "not_permitted", detail, remedy)
}

fn not_served(methods: &[&str]) -> Response {
    let allowed = methods.join(", ");
    let detail = format!("this path is served with {allowed}");
    let problem =
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail, "Use one of these.");
    let mut response = problem.into_response();
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

/// One header with one token: whatever is wrong with it, the answer is the same.
async fn caller(
    console: &Console,
    headers: &HeaderMap,
    source: Option<IpAddr>,
) -> Result<Caller, Problem> {
    let unknown = || {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "token_unknown",
            "the token is none that is in force",
            "Make one on the console's account page; it has a last day, and ends with its owner's \
             rights.",
        )
    };
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        let remedy = "Send a personal access token as `Authorization: Bearer TOKEN`.";
        let detail = "there is not exactly one `Authorization`";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "token_missing", detail, remedy));
    };
    let (scheme, token) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(unknown)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unknown());
    }
    let token = PersonalToken::parse(token.trim()).map_err(|_| unknown())?;
    let bearer = tokens::look_up(&console.instance, &token).await?.ok_or_else(unknown)?;
    Ok(Caller { bearer, source })
}
