//! `weirgate sso ...`: identity providers, from the data folder.

use super::{
    Session,
    input::{parse_slug, read_secret},
};
use crate::{
    cli::{SsoAddArgs, SsoVerb},
    config::Config,
    output::{Failure, Lines, USAGE},
    provider_tls::provider_tls,
};
use app::people::sso::{self, Settings, ShownAt, Web};
use outbound::HickoryResolver;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use types::{SecretBytes, Slug};

pub(crate) async fn sso(session: &Session, verb: &SsoVerb, config: &Config) -> Result<(), Failure> {
    match verb {
        SsoVerb::Add(args) => add(session, args, config).await,
        SsoVerb::List => list(session, config).await,
        SsoVerb::Check { name } => {
            let name = parse_slug("NAME", name)?;
            let instance = session.instance().await?;
            let checked = sso::check(&instance, &web(config)?, &name).await;
            instance.close().await?;
            checked?;
            let text = format!("{name} can be reached, and is what it was when it was added.");
            Ok(session.output.result(&json!({"name": name.as_str(), "is_well": true}), text)?)
        }
        SsoVerb::Remove { name } => {
            let name = parse_slug("NAME", name)?;
            let instance = session.instance_to_change().await?;
            let disabled = sso::remove(&instance, &session.context()?, &name).await?;
            session.settle(instance).await?;
            let json = json!({"name": name.as_str(), "disabled": disabled});
            let text = format!("Removed {name}; {disabled} accounts that it made are disabled.");
            Ok(session.output.result(&json, text)?)
        }
    }
}

async fn add(session: &Session, args: &SsoAddArgs, config: &Config) -> Result<(), Failure> {
    let name = parse_slug("NAME", &args.name)?;
    let settings = settings(args)?;
    let mut secret = read_secret("--client-secret-file", &args.client_secret_file)?;
    while secret.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        secret.pop();
    }
    if secret.is_empty() {
        let remedy = "Put the secret that the provider gave into it, and nothing else.";
        return Err(Failure::new(USAGE, "the file of --client-secret-file is empty", remedy));
    }
    let web = web(config)?;
    let instance = session.instance_to_change().await?;
    let ctx = session.context()?;
    let secret = SecretBytes::new(secret);
    let id = sso::add(&instance, &ctx, &web, &name, &settings, secret).await?;
    session.settle(instance).await?;
    let redirect_uri = redirect_uri(config, &name);
    let json = json!({
        "id": id.to_string(),
        "name": name.as_str(),
        "redirect_uri": redirect_uri,
    });
    let text = [
        format!("People can sign in with {name}, once it knows this redirect URI:"),
        redirect_uri.clone(),
    ];
    Ok(session.output.result(&json, text)?)
}

fn settings(args: &SsoAddArgs) -> Result<Settings, Failure> {
    let mut roles = BTreeMap::new();
    for given in &args.groups {
        let pair = given.rsplit_once('=').filter(|(group, _)| !group.is_empty());
        let (group, named) = pair.ok_or_else(|| {
            let remedy = "Write it like --group staff=auditor,read-only.";
            Failure::new(USAGE, "a --group is not of the form GROUP=ROLES", remedy)
        })?;
        let named = named.split(',').map(|role| role.trim().to_owned());
        let named: Vec<String> = named.filter(|role| !role.is_empty()).collect();
        roles.entry(group.to_owned()).or_insert_with(Vec::new).extend(named);
    }
    let scopes = if args.scopes.is_empty() {
        vec!["email".to_owned(), "profile".to_owned()]
    } else {
        args.scopes.clone()
    };
    let second_factor = match args.second_factor.as_str() {
        "provider" if args.amr.is_empty() && args.acr.is_empty() => {
            ShownAt::Provider { amr: vec!["mfa".to_owned()], acr: Vec::new() }
        }
        "provider" => ShownAt::Provider { amr: args.amr.clone(), acr: args.acr.clone() },
        "weirgate" if args.amr.is_empty() && args.acr.is_empty() => ShownAt::Weirgate,
        _ => {
            return Err(Failure::new(
                USAGE,
                "--second-factor is neither `provider` nor `weirgate`, or `weirgate` with --amr or --acr",
                "Say who asks for the second factor: the provider, which then must prove it, or \
                 Weirgate.",
            ));
        }
    };
    Ok(Settings {
        issuer: args.issuer.clone(),
        client_id: args.client_id.clone(),
        scopes,
        groups_claim: args.groups_claim.clone(),
        roles,
        second_factor,
    })
}

async fn list(session: &Session, config: &Config) -> Result<(), Failure> {
    let instance = session.instance().await?;
    let listed = sso::list(&instance).await?;
    instance.close().await?;
    let mut text = Lines::default();
    let mut rows: Vec<Value> = Vec::new();
    for one in &listed {
        let Settings { issuer, client_id, scopes, groups_claim, roles, second_factor } =
            &one.settings;
        let shown = match second_factor {
            ShownAt::Provider { amr, acr } => {
                let proofs = amr.iter().map(|value| format!("amr {value}"));
                let proofs = proofs.chain(acr.iter().map(|value| format!("acr {value}")));
                format!("proves a second factor by {}", proofs.collect::<Vec<_>>().join(" or "))
            }
            ShownAt::Weirgate => "the second factor is shown to Weirgate".to_owned(),
        };
        let redirect_uri = redirect_uri(config, &one.name);
        text.push(format!("{}  {issuer}  client {client_id}  {} people", one.name, one.people));
        text.push(format!("    {shown}; redirect URI {redirect_uri}"));
        for (group, roles) in roles {
            text.push(format!("    {group} brings {}", roles.join(", ")));
        }
        rows.push(json!({
            "id": one.id.to_string(),
            "name": one.name.as_str(),
            "issuer": issuer,
            "client_id": client_id,
            "scopes": scopes,
            "groups_claim": groups_claim,
            "groups": roles,
            "second_factor": second_factor,
            "people": one.people,
            "redirect_uri": redirect_uri,
            "created_at": one.created_at.to_string(),
        }));
    }
    Ok(session.output.result(&json!({"identity_providers": rows}), text)?)
}

fn redirect_uri(config: &Config, name: &Slug) -> String {
    sso::redirect_uri(&config.console_url_of(config.console_addr), name)
}

fn web(config: &Config) -> Result<Web, Failure> {
    let (tls, _) = provider_tls(config)?;
    let resolver = HickoryResolver::from_system().map_err(app::Error::from)?;
    Ok(Web::new(Arc::new(resolver), tls))
}
