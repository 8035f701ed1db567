//! People, as those see them who may: invitations, roles, and the end of an account.

use crate::{
    console::Console,
    guard::Visit,
    pages::{Asked, Home, Refusal, or_failed, person},
    views::{Frame, moment, page, status_of, told},
};
use app::{
    Error,
    people::{users as accounts, users::NewLink},
};
use askama::Template;
use axum::{
    Form,
    extract::{Extension, Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use identity::EmailAddress;
use policy::Act;
use serde::Deserialize;
use types::{Id, User, UserState};

struct UserView {
    id: String,
    address: String,
    name: String,
    state: &'static str,
    roles: String,
    has_second_factor: bool,
    acts: Vec<(&'static str, &'static str)>,
}

struct LinkView {
    whom: String,
    url: String,
    expires_at: String,
}

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    frame: Frame,
    problem: Option<String>,
    link: Option<LinkView>,
    users: Vec<UserView>,
    may_invite: bool,
    may_change_roles: bool,
    address: String,
}

pub(crate) async fn users(
    State(console): Home,
    Extension(visit): Asked,
) -> Result<Response, Refusal> {
    users_page(&console, &visit, None, None, String::new()).await
}

async fn users_page(
    console: &Console,
    visit: &Visit,
    problem: Option<&Error>,
    link: Option<LinkView>,
    address: String,
) -> Result<Response, Refusal> {
    let signed_in = person(visit)?;
    let listed = or_failed(accounts::list(&console.instance).await)?;
    let may = |act| console.offers(signed_in, act);
    let (may_invite, may_disable) = (may(Act::UserInvite), may(Act::UserDisable));
    let may_remove = may(Act::UserRemove);
    let users = listed.iter().map(|one| UserView {
        id: one.id.to_string(),
        address: one.address.clone().unwrap_or_else(|| "not known yet".to_owned()),
        name: one.name.clone().unwrap_or_default(),
        state: one.state.as_str(),
        roles: one.roles.join(", "),
        has_second_factor: one.has_second_factor,
        acts: [
            ("disable", "Disable", may_disable && one.state == UserState::Active),
            ("enable", "Enable", may_disable && one.state == UserState::Disabled),
            ("link", "New link", may_invite && one.state == UserState::Invited),
            ("link", "Reset link", may_invite && one.state == UserState::Active),
            ("remove", "Remove", may_remove),
        ]
        .into_iter()
        .filter_map(|(act, name, is_open)| is_open.then_some((act, name)))
        .collect(),
    });
    let answer = UsersPage {
        frame: Frame::inside(console, visit, signed_in, "/users"),
        problem: problem.map(told),
        link,
        users: users.collect(),
        may_invite,
        may_change_roles: may(Act::UserRoles),
        address,
    };
    Ok(page(problem.map_or(StatusCode::OK, status_of), &answer))
}

#[derive(Deserialize)]
pub(crate) struct InviteForm {
    address: String,
    roles: String,
}

#[derive(Deserialize)]
pub(crate) struct RolesForm {
    roles: String,
}

pub(crate) fn roles_of(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|role| !role.is_empty()).map(str::to_owned).collect()
}

pub(crate) async fn invite(
    State(console): Home,
    Extension(visit): Asked,
    Form(form): Form<InviteForm>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let done = async {
        let ctx = console.context(Some(signed_in))?;
        let address = EmailAddress::parse(&form.address)?;
        accounts::invite(&console.instance, &ctx, &address, &roles_of(&form.roles)).await
    };
    match done.await {
        Ok(link) => {
            let link = link_view(&console, &link, form.address);
            users_page(&console, &visit, None, Some(link), String::new()).await
        }
        Err(error) => users_page(&console, &visit, Some(&error), None, form.address).await,
    }
}

fn link_view(console: &Console, link: &NewLink, whom: String) -> LinkView {
    LinkView {
        whom,
        url: format!("{}/invite/{}", console.reached.url, link.token.expose()),
        expires_at: moment(link.expires_at),
    }
}

pub(crate) async fn renew_link(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let done = async {
        let ctx = console.context(Some(signed_in))?;
        accounts::renew_link(&console.instance, &ctx, user_id(&id)?).await
    };
    match done.await {
        Ok(link) => {
            let view = link_view(&console, &link, "that person".to_owned());
            users_page(&console, &visit, None, Some(view), String::new()).await
        }
        Err(error) => users_page(&console, &visit, Some(&error), None, String::new()).await,
    }
}

fn user_id(text: &str) -> Result<Id<User>, Error> {
    text.parse().map_err(|_| Error::NotFound { kind: "user", name: "of that address".to_owned() })
}

pub(crate) async fn disable(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    changed(&console, &visit, &id, async |ctx, id| {
        accounts::set_disabled(&console.instance, ctx, id, true).await
    })
    .await
}

pub(crate) async fn enable(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    changed(&console, &visit, &id, async |ctx, id| {
        accounts::set_disabled(&console.instance, ctx, id, false).await
    })
    .await
}

pub(crate) async fn remove(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    changed(&console, &visit, &id, async |ctx, id| {
        accounts::remove(&console.instance, ctx, id).await
    })
    .await
}

pub(crate) async fn set_roles(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
    Form(form): Form<RolesForm>,
) -> Result<Response, Refusal> {
    let roles = roles_of(&form.roles);
    changed(&console, &visit, &id, async |ctx, id| {
        accounts::set_roles(&console.instance, ctx, id, &roles).await
    })
    .await
}

async fn changed(
    console: &Console,
    visit: &Visit,
    id: &str,
    act: impl AsyncFnOnce(&types::OpContext, Id<User>) -> Result<(), Error>,
) -> Result<Response, Refusal> {
    let signed_in = person(visit)?;
    let done = async {
        let ctx = console.context(Some(signed_in))?;
        act(&ctx, user_id(id)?).await
    };
    match done.await {
        Ok(()) => Ok(Redirect::to("/users").into_response()),
        Err(error) => users_page(console, visit, Some(&error), None, String::new()).await,
    }
}
