//! Clients and their keys; and a key that follows another.

use crate::{
    console::Console,
    guard::Visit,
    pages::{Asked, Home, Refusal, or_failed, person},
    views::{Frame, moment, page, status_of, told},
};
use app::{
    Error,
    clients::{self, KeyState, Rotation},
};
use askama::Template;
use axum::{
    Form,
    extract::{Extension, Path, State},
    http::StatusCode,
    response::Response,
};
use policy::Act;
use serde::Deserialize;
use std::time::Duration;
use types::{Id, Key};

/// A key that outlives this was forgotten.
const MAX_DAYS: u64 = 3_650;

struct KeyView {
    client: String,
    id: String,
    environment: String,
    state: String,
    expires_at: String,
    is_in_force: bool,
}

/// A key at the only moment when it is shown.
struct NewKey {
    key: String,
    id: String,
    client: String,
    expires_at: String,
    former: String,
    former_ends_at: String,
}

#[derive(Template)]
#[template(path = "clients.html")]
struct ClientsPage {
    frame: Frame,
    problem: Option<String>,
    new_key: Option<NewKey>,
    keys: Vec<KeyView>,
    keyless: Vec<String>,
    may_rotate: bool,
}

pub(crate) async fn clients(
    State(console): Home,
    Extension(visit): Asked,
) -> Result<Response, Refusal> {
    view(&console, &visit, None, None).await
}

async fn view(
    console: &Console,
    visit: &Visit,
    problem: Option<&Error>,
    new_key: Option<NewKey>,
) -> Result<Response, Refusal> {
    let signed_in = person(visit)?;
    let listed = or_failed(clients::list(&console.instance).await)?;
    let (mut keys, mut keyless) = (Vec::new(), Vec::new());
    for client in listed {
        if client.keys.is_empty() {
            keyless.push(client.name.clone());
        }
        keys.extend(client.keys.into_iter().map(|key| KeyView {
            client: client.name.clone(),
            id: key.id.to_string(),
            environment: key.environment.to_string(),
            state: key.state.as_str().replace('_', " "),
            expires_at: moment(key.expires_at),
            is_in_force: key.state == KeyState::InForce,
        }));
    }
    let answer = ClientsPage {
        frame: Frame::inside(console, visit, signed_in, "/clients"),
        problem: problem.map(told),
        new_key,
        keys,
        keyless,
        may_rotate: console.offers(signed_in, Act::KeyCreate),
    };
    Ok(page(problem.map_or(StatusCode::OK, status_of), &answer))
}

#[derive(Deserialize)]
pub(crate) struct RotateForm {
    #[serde(default)]
    overlap: String,
    #[serde(default)]
    days: String,
}

/// Days from the least on, as somebody wrote them.
fn days(text: &str, least: u64, what: &'static str) -> Result<Duration, Error> {
    let days = text.trim().parse::<u64>().ok().filter(|days| (least..=MAX_DAYS).contains(days));
    let why = || format!("write a number of days from {least} to {MAX_DAYS}");
    let days = days.ok_or_else(|| Error::Malformed { kind: what, why: why() })?;
    Ok(Duration::from_hours(24 * days))
}

/// Makes the key that follows one.
pub(crate) async fn rotate_key(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
    Form(form): Form<RotateForm>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let done = async {
        let id: Id<Key> = id.parse().map_err(|_| Error::NameUnknown { kind: "key" })?;
        let life = days(&form.days, 1, "life")?;
        let rotation = Rotation { life, overlap: days(&form.overlap, 0, "overlap")? };
        let ctx = console.context(Some(signed_in))?;
        clients::rotate_key(&console.instance, &ctx, id, rotation).await
    };
    match done.await {
        Ok(rotated) => {
            let new_key = NewKey {
                key: rotated.key.key.expose().to_owned(),
                id: rotated.key.id.to_string(),
                client: rotated.client.clone(),
                expires_at: moment(rotated.key.expires_at),
                former: rotated.former.to_string(),
                former_ends_at: moment(rotated.former_ends_at),
            };
            view(&console, &visit, None, Some(new_key)).await
        }
        Err(error) => view(&console, &visit, Some(&error), None).await,
    }
}
