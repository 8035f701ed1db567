//! `weirgate vault store ...`

use super::{
    Session,
    input::{parse_id, parse_slug, parse_span, read_secret},
};
use crate::{
    cli::{StoreAddArgs, StoreVerb},
    config::Config,
    output::{Failure, Lines, counted},
    provider_tls::provider_tls,
};
use app::secret_stores::{self, Place};
use serde_json::{Value, json};
use types::SecretBytes;

pub(crate) async fn store(
    session: &Session,
    verb: &StoreVerb,
    config: impl FnOnce() -> Result<Config, Failure>,
) -> Result<(), Failure> {
    match verb {
        StoreVerb::Add(args) => add(session, args, &config()?).await,
        StoreVerb::List => list(session).await,
        StoreVerb::Remove { name } => {
            let name = parse_slug("NAME", name)?;
            let instance = session.instance_to_change().await?;
            secret_stores::remove(&instance, &session.context()?, &name).await?;
            session.settle(instance).await?;
            let json = json!({"name": name.as_str(), "state": "removed"});
            Ok(session.output.result(&json, format!("Forgot the secret store {name}."))?)
        }
        StoreVerb::Refresh { id } => {
            let id = parse_id("connection", id)?;
            let (tls, _) = provider_tls(&config()?)?;
            let instance = session.instance_to_change().await?;
            let said = secret_stores::refresh(&instance, &session.context()?, tls, id).await;
            session.settle(instance).await?;
            let is_new = said?;
            let told = if is_new { "another secret is in use now" } else { "it is as it was" };
            let json = json!({"id": id.to_string(), "replaced": is_new});
            Ok(session.output.result(&json, format!("{id}: {told}."))?)
        }
    }
}

async fn add(session: &Session, args: &StoreAddArgs, config: &Config) -> Result<(), Failure> {
    let name = parse_slug("NAME", &args.name)?;
    let place = Place {
        address: args.address.trim_end_matches('/').to_owned(),
        mount: args.mount.clone(),
        namespace: args.namespace.clone(),
        ttl_seconds: parse_span("--ttl", &args.ttl)?.as_secs(),
        allow_private: args.allow_private_network.clone(),
    };
    let login = SecretBytes::new(read_secret("--login-file", &args.login_file)?);
    let (tls, _) = provider_tls(config)?;
    let instance = session.instance_to_change().await?;
    secret_stores::add(&instance, &session.context()?, tls, &name, &place, &login).await?;
    session.settle(instance).await?;
    let json = json!({"name": name.as_str(), "ttl_seconds": place.ttl_seconds});
    let text = format!("The secret store {name} lets Weirgate in.");
    Ok(session.output.result(&json, text)?)
}

async fn list(session: &Session) -> Result<(), Failure> {
    let instance = session.instance().await?;
    let listed = secret_stores::list(&instance).await?;
    instance.close().await?;
    let mut text = Lines::default();
    if listed.is_empty() {
        text.push("There are no secret stores.".to_owned());
    }
    let mut stores = Vec::new();
    for one in &listed {
        let place = &one.place;
        text.push(format!(
            "{}  {}  {}  {} s  {}",
            one.name,
            place.address,
            place.mount,
            place.ttl_seconds,
            counted(one.connections.len(), "connection")
        ));
        let mut connections: Vec<Value> = Vec::new();
        for source in &one.connections {
            let state = match &source.closed {
                Some(why) => format!("closed: {why}"),
                None => format!("counts until {}", source.counts_until),
            };
            text.push(format!("  {}  {}  {state}", source.connection, source.path));
            connections.push(json!({
                "id": source.connection.to_string(),
                "path": source.path,
                "member": source.member,
                "fetched_at": source.fetched_at.to_string(),
                "counts_until": source.counts_until.to_string(),
                "closed": source.closed,
            }));
        }
        stores.push(json!({
            "name": one.name,
            "address": place.address,
            "mount": place.mount,
            "namespace": place.namespace,
            "ttl_seconds": place.ttl_seconds,
            "connections": connections,
        }));
    }
    Ok(session.output.result(&json!({"stores": stores}), text)?)
}
