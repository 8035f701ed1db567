//! What each route demands of whoever asks.

use app::people::sessions::SignedIn;
use policy::Act;
use types::SessionLevel;

/// What a route demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: sign-in, links, and what makes them look like something.
    Anybody,
    /// A password that was shown.
    HalfWay,
    /// A session of somebody who has no second factor yet.
    Enrolling,
    /// Any session: to end it.
    Session,
    /// A session with a second factor.
    Person,
    /// That, and a role that permits the act.
    May(Act),
}

/// What becomes of a request before its handler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// To the page that the session is good for.
    Elsewhere(&'static str),
    /// Whether the act is permitted is asked of the decider.
    Decide(Act),
}

/// Whether somebody sees whose a connection is: who may end it has to know.
pub(crate) fn sees_customers(may: impl Fn(Act) -> bool) -> bool {
    may(Act::ConnectionRevoke)
}

pub(crate) fn way(access: Access, signed_in: Option<&SignedIn>) -> Way {
    let level = signed_in.map(|one| one.level);
    match (access, level) {
        (Access::Anybody, _) => Way::Open,
        (_, None) => Way::Elsewhere("/sign-in"),
        (Access::Session, Some(_)) => Way::Open,
        (Access::HalfWay, Some(SessionLevel::Password)) => Way::Open,
        (Access::Enrolling, Some(SessionLevel::Enrol)) => Way::Open,
        (Access::Person, Some(SessionLevel::Full)) => Way::Open,
        (Access::May(act), Some(SessionLevel::Full)) => Way::Decide(act),
        (_, Some(SessionLevel::Password)) => Way::Elsewhere("/sign-in/factor"),
        (_, Some(SessionLevel::Enrol)) => Way::Elsewhere("/enrol"),
        (_, Some(SessionLevel::Full)) => Way::Elsewhere("/"),
    }
}
