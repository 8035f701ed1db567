//! `weirgate client ...`.

use super::{
    Session,
    input::{parse_environment, parse_id, parse_overlap, parse_slug, parse_span},
};
use crate::{
    cli::{ClientVerb, KeyVerb},
    output::{FAILED, Failure, Lines},
};
use app::{
    Instance,
    clients::{self, KeyState, Rotated, Rotation},
};
use serde_json::json;
use types::{Id, Key};

pub(crate) async fn client(session: &Session, verb: &ClientVerb) -> Result<(), Failure> {
    match verb {
        ClientVerb::Create { name } => {
            let name = parse_slug("NAME", name)?;
            let instance = session.instance_to_change().await?;
            let id = clients::create(&instance, &session.context()?, &name).await?;
            session.settle(instance).await?;
            let json = json!({"id": id.to_string(), "name": name.as_str()});
            let next = session.next(&format!("client key create {name} --expires 90d"));
            let text = [format!("Created the client {name} ({id})."), format!("Next: {next}")];
            Ok(session.output.result(&json, text)?)
        }
        ClientVerb::Owner(args) => super::lifetimes::owner(session, args).await,
        ClientVerb::List => {
            let instance = session.instance().await?;
            let listed = clients::list(&instance).await?;
            instance.close().await?;
            let mut text = Lines::default();
            let mut rows = Vec::new();
            for one in &listed {
                text.push(format!("{}  {}", one.name, one.id));
                let mut keys = Vec::new();
                for key in &one.keys {
                    let (state, expires) = match key.state {
                        KeyState::InForce => ("in force", "expires"),
                        KeyState::Suspended => ("suspended", "expires"),
                        KeyState::Expired => ("expired", "since"),
                        KeyState::Revoked => ("revoked", "would expire"),
                    };
                    text.push(format!(
                        "  {}  {}  {state}  {expires} {}",
                        key.id, key.environment, key.expires_at
                    ));
                    keys.push(json!({
                        "id": key.id.to_string(),
                        "environment": key.environment.as_str(),
                        "expires_at": key.expires_at.to_string(),
                        "is_revoked": key.state == KeyState::Revoked,
                        "state": key.state.as_str(),
                    }));
                }
                rows.push(json!({"id": one.id.to_string(), "name": one.name, "keys": keys}));
            }
            Ok(session.output.result(&json!({"clients": rows}), text)?)
        }
        ClientVerb::Key(KeyVerb::Create { name, expires, environment }) => {
            let name = parse_slug("NAME", name)?;
            let life = parse_span("--expires", expires)?;
            let environment = parse_environment(environment)?;
            let instance = session.instance_to_change().await?;
            let context = session.context()?;
            let created =
                clients::create_key(&instance, &context, &name, environment, life).await?;
            // The committed change is the durable record. It is made once and the key shown once,
            // whatever becomes of its entry now.
            let json = json!({
                "id": created.id.to_string(),
                "key": created.key.expose(),
                "expires_at": created.expires_at.to_string(),
            });
            let text = [
                created.key.expose().to_owned(),
                format!(
                    "{} expires {}. The key is shown this once.",
                    created.id, created.expires_at
                ),
            ];
            match session.output.result(&json, text) {
                Ok(()) => session.settle(instance).await,
                // Also where the reader went away: nobody has the key then.
                Err(error) => Err(take_back(session, instance, created.id, error.into()).await),
            }
        }
        ClientVerb::Key(KeyVerb::Rotate { id, overlap, expires }) => {
            let id = parse_id("key", id)?;
            let overlap = parse_overlap("--overlap", overlap)?;
            let rotation = Rotation { life: parse_span("--expires", expires)?, overlap };
            let instance = session.instance_to_change().await?;
            let context = session.context()?;
            let rotated = clients::rotate_key(&instance, &context, id, rotation).await?;
            match tell_rotated(session, &rotated) {
                Ok(()) => session.settle(instance).await,
                Err(failure) => Err(put_back(session, instance, &rotated, failure).await),
            }
        }
        ClientVerb::Key(KeyVerb::Revoke { id }) => {
            let id = parse_id("key", id)?;
            let instance = session.instance_to_change().await?;
            clients::revoke_key(&instance, &session.context()?, id).await?;
            session.settle(instance).await?;
            let json = json!({"id": id.to_string(), "state": "revoked"});
            Ok(session.output.result(&json, format!("Revoked {id}."))?)
        }
    }
}

/// Revokes a key that nobody was shown: it would be in force, and nobody's.
async fn take_back(
    session: &Session,
    instance: Instance,
    id: Id<Key>,
    failure: Failure,
) -> Failure {
    let revoked = async {
        clients::revoke_key(&instance, &session.context()?, id).await?;
        session.settle(instance).await
    };
    let shown = failure.message;
    match revoked.await {
        Ok(()) => Failure::new(
            FAILED,
            format!("{id} was made and is revoked again, because nobody was shown it: {shown}"),
            "Look at what standard output leads to, and make another key.",
        ),
        Err(other) => {
            let remedy = session.next(&format!("client key revoke {id}"));
            Failure::new(
                FAILED,
                format!("{id} is made and may be in force: {shown}; and {}", other.message),
                format!("Nobody was shown it: revoke it with `{remedy}`."),
            )
        }
    }
}

fn tell_rotated(session: &Session, rotated: &Rotated) -> Result<(), Failure> {
    let Rotated { client, environment, key, former, former_ends_at, .. } = rotated;
    let json = json!({
        "id": key.id.to_string(),
        "key": key.key.expose(),
        "expires_at": key.expires_at.to_string(),
        "client": client,
        "environment": environment.as_str(),
        "former": {"id": former.to_string(), "expires_at": former_ends_at.to_string()},
    });
    let text = [
        key.key.expose().to_owned(),
        format!(
            "{} of {client} ({environment}) expires {}. The key is shown this once.",
            key.id, key.expires_at
        ),
        format!("{former} ends {former_ends_at}: give the new key to its program before."),
    ];
    Ok(session.output.result(&json, text)?)
}

/// Takes a rotation back whose key nobody was shown: the former one goes on as before.
async fn put_back(
    session: &Session,
    instance: Instance,
    rotated: &Rotated,
    failure: Failure,
) -> Failure {
    let (id, former, shown) = (rotated.key.id, rotated.former, failure.message);
    let back = async {
        clients::rotate_back(&instance, &session.context()?, rotated).await?;
        session.settle(instance).await
    };
    match back.await {
        Ok(()) => Failure::new(
            FAILED,
            format!(
                "{id} was made and is revoked again, because nobody was shown it, and {former} goes \
                 on as before: {shown}"
            ),
            "Look at what standard output leads to, and rotate again.",
        ),
        Err(other) => {
            let remedy = session.next(&format!("client key revoke {id}"));
            Failure::new(
                FAILED,
                format!(
                    "{id} is made and may be in force, and {former} ends {}: {shown}; and {}",
                    rotated.former_ends_at, other.message
                ),
                format!("Nobody was shown it: revoke it with `{remedy}`, and make another."),
            )
        }
    }
}
