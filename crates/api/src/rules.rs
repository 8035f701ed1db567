//! Roles and policies, and what they let a person do.

use crate::{
    console::Console,
    guard::Visit,
    pages::{Asked, Home, Refusal, asked_for, or_failed, person},
    views::{Frame, page},
};
use app::{people::users as accounts, rules};
use askama::Template;
use axum::{
    extract::{Extension, RawQuery, State},
    http::StatusCode,
    response::Response,
};
use policy::{Act, Moment};
use std::net::IpAddr;

struct RoleView {
    name: String,
    is_built_in: bool,
    people: usize,
    acts: Vec<&'static str>,
}

struct PolicyView {
    name: String,
    text: String,
}

/// A choice in a form.
struct Choice {
    id: String,
    name: String,
    is_chosen: bool,
}

struct Answer {
    act: &'static str,
    decision: &'static str,
    why: String,
}

/// "What can this person do, and why?"
struct Tester {
    people: Vec<Choice>,
    acts: Vec<Choice>,
    source: String,
    is_stepped_up: bool,
    problem: Option<&'static str>,
    answers: Vec<Answer>,
}

#[derive(Template)]
#[template(path = "rules.html")]
struct RulesPage {
    frame: Frame,
    roles: Vec<RoleView>,
    policies: Vec<PolicyView>,
    tester: Option<Tester>,
}

pub(crate) async fn rules(
    State(console): Home,
    Extension(visit): Asked,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let may = |act| console.offers(signed_in, act);
    let roles = or_failed(rules::roles(&console.instance).await)?.into_iter().map(|one| RoleView {
        name: one.name,
        is_built_in: one.is_built_in,
        people: one.people,
        acts: one.acts.iter().map(|act| act.as_str()).collect(),
    });
    let policies = if may(Act::PolicyRead) {
        or_failed(rules::policies(&console.instance).await)?
    } else {
        Vec::new()
    };
    let policies = policies.into_iter().map(|one| PolicyView { name: one.name, text: one.text });
    // Whose roles are whose is for those who may know it.
    let tester = if may(Act::UserRead) && may(Act::PolicyRead) {
        Some(tester(&console, &visit, query.as_deref()).await?)
    } else {
        None
    };
    let frame = Frame::inside(&console, &visit, signed_in, "/rules");
    let answer = RulesPage { frame, roles: roles.collect(), policies: policies.collect(), tester };
    Ok(page(StatusCode::OK, &answer))
}

async fn tester(console: &Console, visit: &Visit, query: Option<&str>) -> Result<Tester, Refusal> {
    let (user, act) = (asked_for(query, "user"), asked_for(query, "act"));
    let given = asked_for(query, "source");
    let is_stepped_up = !asked_for(query, "stepped_up").is_empty();
    let listed = or_failed(accounts::list(&console.instance).await)?;
    let people = listed.iter().map(|one| {
        let id = one.id.to_string();
        let is_chosen = id == user;
        Choice { name: one.address.clone().unwrap_or_else(|| id.clone()), id, is_chosen }
    });
    let acts = Act::ALL.iter().map(|one| Choice {
        id: one.to_string(),
        name: one.to_string(),
        is_chosen: one.as_str() == act,
    });
    let source: Option<IpAddr> = given.trim().parse().ok();
    let mut tester = Tester {
        people: people.collect(),
        acts: acts.collect(),
        is_stepped_up,
        problem: None,
        answers: Vec::new(),
        source: given,
    };
    if user.is_empty() {
        tester.source = visit.source.map(|source| source.to_string()).unwrap_or_default();
        return Ok(tester);
    }
    let Some(found) = listed.iter().find(|one| one.id.to_string() == user) else {
        tester.problem = Some("There is no such person. Choose one of those below.");
        return Ok(tester);
    };
    if source.is_none() && !tester.source.trim().is_empty() {
        tester.problem = Some("This is no address. Write one like 192.0.2.7, or nothing.");
        return Ok(tester);
    }
    let now = console.instance.clock.now();
    let moment = Moment { now, source, is_stepped_up };
    let all = or_failed(rules::explain(&console.instance, found.id, &moment).await)?;
    let wanted = all.into_iter().filter(|(one, _)| act.is_empty() || one.as_str() == act);
    tester.answers = wanted
        .map(|(act, decision)| {
            let (decision, why) = rules::in_words(&decision);
            Answer { act: act.as_str(), decision, why }
        })
        .collect();
    Ok(tester)
}
