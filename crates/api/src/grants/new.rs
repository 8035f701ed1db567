//! A grant that there is not yet: whose, on what, for what, how long, and the fields of its first object.

use crate::{
    pages::{Asked, Home, Refusal, asked_for, or_failed, person},
    views::{Frame, page, status_of, told},
};
use app::{
    Error, clients, connections,
    grants::matrix::Part,
    proposals::{self, New, Which},
    providers,
};
use askama::Template;
use axum::{
    body::Bytes,
    extract::{Extension, RawQuery, State},
    http::StatusCode,
    response::Response,
};

/// What a form says of it.
pub(super) fn given(body: &Bytes) -> New {
    let of = |wanted: &str| {
        let mut pairs = url::form_urlencoded::parse(body);
        let found = pairs.find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.into_owned()).unwrap_or_default()
    };
    New {
        client: of("client"),
        target: of("target"),
        purpose: of("purpose"),
        expires: of("expires"),
    }
}

pub(super) fn as_sent(new: &New) -> [(&'static str, String); 4] {
    [
        ("client", new.client.clone()),
        ("target", new.target.clone()),
        ("purpose", new.purpose.clone()),
        ("expires", new.expires.clone()),
    ]
}

#[derive(Template)]
#[template(path = "grant_new.html")]
struct NewPage {
    frame: Frame,
    problem: Option<String>,
    clients: Vec<String>,
    /// What is sent, and what is shown.
    targets: Vec<(String, String)>,
    objects: Vec<String>,
    parts: Vec<Part>,
    new: New,
    object: String,
    sent: Vec<(&'static str, String)>,
    may_change: bool,
}

pub(crate) async fn new(
    State(console): Home,
    Extension(visit): Asked,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let asked = |name| asked_for(query.as_deref(), name);
    let new = New {
        client: asked("client"),
        target: asked("target"),
        purpose: asked("purpose").trim().to_owned(),
        expires: asked("expires").trim().to_owned(),
    };
    let object = asked("object");
    let instance = &console.instance;
    let clients = or_failed(clients::list(instance).await)?.into_iter().map(|one| one.name);
    let listed = or_failed(providers::list(instance).await)?;
    let mut targets: Vec<(String, String)> =
        listed.iter().map(|one| (one.slug.to_string(), one.slug.to_string())).collect();
    for one in or_failed(connections::list(instance).await)?.iter().filter(|one| !one.is_revoked) {
        targets.push((one.id.to_string(), format!("{} ({})", one.id, one.provider)));
    }
    let (mut problem, mut objects, mut parts) = (None, Vec::new(), Vec::new());
    if !new.client.is_empty() {
        let wanted = Some(object.as_str()).filter(|object| !object.is_empty());
        match proposals::open(instance, &Which::New(new.clone()), wanted).await {
            Ok(open) => {
                let named = open.parts.iter().map(|part| part.object.clone());
                objects = open.others.into_iter().chain(named).collect();
                objects.sort();
                parts = open.parts;
                if wanted.is_some() && parts.is_empty() {
                    problem = Some(Error::NameUnknown { kind: "object" });
                }
            }
            Err(error) => problem = Some(error),
        }
    }
    let answer = NewPage {
        frame: Frame::inside(&console, &visit, signed_in, "/grants"),
        clients: clients.collect(),
        sent: as_sent(&new).to_vec(),
        may_change: true,
        problem: problem.as_ref().map(told),
        targets,
        objects,
        parts,
        new,
        object,
    };
    Ok(page(problem.as_ref().map_or(StatusCode::OK, status_of), &answer))
}
