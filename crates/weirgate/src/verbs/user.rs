//! `weirgate user ...` and `weirgate session ...`: people, from the data folder.

use super::{Session, input::parse_id};
use crate::{
    cli::{SessionVerb, UserVerb},
    output::{Failure, Lines},
};
use app::people::{
    sessions,
    users::{self, NewLink},
};
use identity::EmailAddress;
use serde_json::{Value, json};
use types::{LinkPurpose, OpContext};

pub(crate) async fn user(session: &Session, verb: &UserVerb) -> Result<(), Failure> {
    match verb {
        UserVerb::SetupLink => {
            let instance = session.instance_to_change().await?;
            let link = users::first_administrator(&instance, &session.context()?).await?;
            session.settle(instance).await?;
            show(session, &link)
        }
        UserVerb::Invite { address, role } => {
            let address = EmailAddress::parse(address).map_err(app::Error::from)?;
            let instance = session.instance_to_change().await?;
            let link = users::invite(&instance, &session.context()?, &address, role).await?;
            session.settle(instance).await?;
            show(session, &link)
        }
        UserVerb::Link { user } => {
            let instance = session.instance_to_change().await?;
            let id = users::find(&instance, user).await?;
            let link = users::renew_link(&instance, &session.context()?, id).await?;
            session.settle(instance).await?;
            show(session, &link)
        }
        UserVerb::List => list(session).await,
        UserVerb::Disable { user } => {
            act(session, user, "Disabled", async |instance, ctx, id| {
                users::set_disabled(instance, ctx, id, true).await
            })
            .await
        }
        UserVerb::Enable { user } => {
            act(session, user, "Enabled", async |instance, ctx, id| {
                users::set_disabled(instance, ctx, id, false).await
            })
            .await
        }
        UserVerb::Remove { user } => act(session, user, "Removed", users::remove).await,
        UserVerb::Roles { user, role } => {
            act(session, user, "Changed the roles of", async |instance, ctx, id| {
                users::set_roles(instance, ctx, id, role).await
            })
            .await
        }
    }
}

async fn act(
    session: &Session,
    user: &str,
    done: &str,
    act: impl AsyncFnOnce(&app::Instance, &OpContext, types::Id<types::User>) -> Result<(), app::Error>,
) -> Result<(), Failure> {
    let instance = session.instance_to_change().await?;
    let id = users::find(&instance, user).await?;
    act(&instance, &session.context()?, id).await?;
    session.settle(instance).await?;
    Ok(session.output.result(&json!({"id": id.to_string()}), format!("{done} {id}."))?)
}

/// A link, this once.
fn show(session: &Session, link: &NewLink) -> Result<(), Failure> {
    let page = if link.purpose == LinkPurpose::Setup { "setup" } else { "invite" };
    let path = format!("/{page}/{}", link.token.expose());
    let json = json!({
        "id": link.user.to_string(),
        "purpose": link.purpose.as_str(),
        "path": path,
        "expires_at": link.expires_at.to_string(),
    });
    let text = [
        path.clone(),
        format!(
            "Open this path on the console, once, before {}. It is shown this once.",
            link.expires_at
        ),
    ];
    Ok(session.output.result(&json, text)?)
}

async fn list(session: &Session) -> Result<(), Failure> {
    let instance = session.instance().await?;
    let listed = users::list(&instance).await?;
    instance.close().await?;
    let mut text = Lines::default();
    let mut rows = Vec::new();
    for one in &listed {
        let address = one.address.as_deref().unwrap_or("not known yet");
        let factor = if !one.signs_in_by.is_empty() {
            format!("  by {}", one.signs_in_by.join(", "))
        } else if one.has_second_factor {
            String::new()
        } else {
            "  no second factor yet".to_owned()
        };
        let (state, roles) = (one.state, one.roles.join(", "));
        text.push(format!("{}  {address}  {state}  {roles}{factor}", one.id));
        rows.push(json!({
            "id": one.id.to_string(),
            "address": one.address,
            "name": one.name,
            "state": one.state.as_str(),
            "roles": one.roles,
            "has_second_factor": one.has_second_factor,
            "signs_in_by": one.signs_in_by,
            "created_at": one.created_at.to_string(),
        }));
    }
    Ok(session.output.result(&json!({"users": rows}), text)?)
}

pub(crate) async fn session(on: &Session, verb: &SessionVerb) -> Result<(), Failure> {
    match verb {
        SessionVerb::List { user } => {
            let instance = on.instance().await?;
            let of = match user {
                Some(user) => Some(users::find(&instance, user).await?),
                None => None,
            };
            let listed = sessions::list(&instance, of).await?;
            instance.close().await?;
            let mut text = Lines::default();
            let mut rows: Vec<Value> = Vec::new();
            for one in &listed {
                let who = &one.signed_in;
                text.push(format!(
                    "{}  {}  {}  seen {}  ends {}",
                    who.session, who.user, who.level, one.seen_at, who.expires_at
                ));
                rows.push(json!({
                    "id": who.session.to_string(),
                    "user": who.user.to_string(),
                    "level": who.level.as_str(),
                    "created_at": who.created_at.to_string(),
                    "seen_at": one.seen_at.to_string(),
                    "expires_at": who.expires_at.to_string(),
                }));
            }
            Ok(on.output.result(&json!({"sessions": rows}), text)?)
        }
        SessionVerb::End { id } => {
            let id = parse_id("session", id)?;
            let instance = on.instance_to_change().await?;
            sessions::end(&instance, &on.context()?, id).await?;
            on.settle(instance).await?;
            Ok(on.output.result(&json!({"id": id.to_string()}), format!("Ended {id}."))?)
        }
    }
}
