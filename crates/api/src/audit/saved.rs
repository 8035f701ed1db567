//! Filters that a person keeps: a name, an address, and their end.

use super::{address, form::Given, names, shown};
use crate::pages::{Asked, Home, Refusal, or_failed, person};
use app::{Error, saved_views};
use axum::{
    body::Bytes,
    extract::{Extension, Path, State},
    response::{IntoResponse, Redirect, Response},
};
use types::{Id, View};

pub(crate) async fn save(
    State(console): Home,
    Extension(visit): Asked,
    body: Bytes,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let given = Given::of(&body);
    let names = names(&console, signed_in).await?;
    let Ok(filter) = given.filter(&names) else {
        // The page says what is wrong with each part.
        return shown(&console, &visit, &given, &names, None).await;
    };
    let name = given.value("name");
    let done = async {
        let ctx = console.context(Some(signed_in))?;
        saved_views::save(&console.instance, &ctx, signed_in.user, name, &filter).await
    };
    match done.await {
        Ok(_) => Ok(Redirect::to(&address("/audit", &filter, None)).into_response()),
        Err(error) => shown(&console, &visit, &given, &names, Some((&error, name))).await,
    }
}

pub(crate) async fn open(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let id = or_failed(view_id(&id))?;
    let view = or_failed(saved_views::open(&console.instance, signed_in.user, id).await)?;
    Ok(Redirect::to(&address("/audit", &view.filter, None)).into_response())
}

pub(crate) async fn remove(
    State(console): Home,
    Extension(visit): Asked,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let done = async {
        let (id, ctx) = (view_id(&id)?, console.context(Some(signed_in))?);
        saved_views::remove(&console.instance, &ctx, signed_in.user, id).await
    };
    or_failed(done.await)?;
    Ok(Redirect::to("/audit").into_response())
}

fn view_id(text: &str) -> Result<Id<View>, Error> {
    text.parse().map_err(|_| Error::NameUnknown { kind: "view" })
}
