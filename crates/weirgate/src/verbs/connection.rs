//! `weirgate connection ...`.

use super::{
    Session, connect,
    input::{pairs, parse_environment, parse_id, parse_slug, read_secret},
};
use crate::{
    cli::{ConnectionCreateArgs, ConnectionReplaceArgs, ConnectionVerb},
    config::Config,
    harmless::short,
    output::{AUTHENTICATION, FAILED, Failure, Lines, USAGE, counted},
    provider_tls::provider_tls,
};
use app::{
    connection_check, connections,
    replacement::{self, How, Slot},
    secret_stores::{self, Reference},
};
use outbound::TlsConfig;
use serde_json::json;
use std::sync::Arc;
use types::{Connection, Id, SecretBytes};

pub(crate) async fn connection(
    session: &Session,
    verb: &ConnectionVerb,
    config: impl FnOnce() -> Result<Config, Failure>,
) -> Result<(), Failure> {
    match verb {
        ConnectionVerb::Create(args) if args.oauth => {
            connect::create(session, args, &config()?).await
        }
        ConnectionVerb::Reconnect { id, browser } => {
            connect::reconnect(session, id, browser, &config()?).await
        }
        ConnectionVerb::Consent(verb) => connect::consent(session, verb, config).await,
        ConnectionVerb::Create(ConnectionCreateArgs {
            provider,
            customer,
            scheme,
            secret_file,
            secret_from,
            environment,
            variables,
            headers,
            ..
        }) => {
            let provider = parse_slug("--provider", provider)?;
            let environment = parse_environment(environment)?;
            // What is given is read before anything is opened.
            let given = match secret_file {
                Some(file) => Some(SecretBytes::new(read_secret("--secret-file", file)?)),
                None => None,
            };
            let reference = match secret_from {
                Some(text) => Some(Reference::parse(text).map_err(|why| {
                    let what = format!("what --secret-from gives is no reference: {why}");
                    Failure::new(USAGE, what, "`weirgate vault store list` shows the stores.")
                })?),
                None => None,
            };
            let (variables, headers) =
                (pairs("--var", variables)?.into_iter().collect(), pairs("--header", headers)?);
            let instance = session.instance_to_change().await?;
            let (secret, source) = match (given, reference) {
                (Some(secret), _) => (secret, None),
                (None, Some(reference)) => {
                    let (tls, _) = provider_tls(&config()?)?;
                    let context = session.context()?;
                    let taken = secret_stores::take(&instance, &context, tls, &reference).await?;
                    (taken.secret, Some(taken.source))
                }
                (None, None) => {
                    let remedy = "Give --secret-file, --secret-from or --oauth.";
                    return Err(Failure::new(USAGE, "there is no secret", remedy));
                }
            };
            let create = connections::Create {
                provider,
                customer: customer.clone(),
                scheme: scheme.clone(),
                secret,
                environment,
                variables,
                headers,
                source,
            };
            let created = connections::create(&instance, &session.context()?, create).await?;
            session.settle(instance).await?;
            let text = format!(
                "Created {} with the scheme {} (credential {}).",
                created.id, created.scheme, created.fingerprint
            );
            let json = json!({
                "id": created.id.to_string(),
                "scheme": created.scheme,
                "credential": created.fingerprint,
                "environment": environment.as_str(),
            });
            Ok(session.output.result(&json, &text)?)
        }
        ConnectionVerb::List => {
            let instance = session.instance().await?;
            let listed = connections::list(&instance).await?;
            instance.close().await?;
            let mut text = Lines::default();
            let mut rows = Vec::new();
            for one in &listed {
                let state = if one.is_revoked { "revoked" } else { "active" };
                text.push(format!(
                    "{}  {}  {}  {state}  {}",
                    one.id,
                    one.provider,
                    one.environment,
                    short(&one.customer)
                ));
                rows.push(json!({
                    "id": one.id.to_string(),
                    "provider": one.provider,
                    "customer": one.customer,
                    "environment": one.environment.as_str(),
                    "state": state,
                }));
            }
            Ok(session.output.result(&json!({"connections": rows}), text)?)
        }
        ConnectionVerb::Show { id } => {
            let id = parse_id("connection", id)?;
            let instance = session.instance().await?;
            let shown = connections::show(&instance, id).await?;
            instance.close().await?;
            let mut text = Lines::default();
            text.push(format!("{}  {}  {}", shown.id, shown.provider, shown.environment));
            text.push(format!("customer: {}", short(&shown.customer)));
            text.push(format!("scheme: {}", shown.scheme));
            text.push(format!("state: {}", shown.state.as_str()));
            let times = [("obtained", shown.obtained_at), ("expires", shown.expires_at)];
            for (name, at) in times {
                text.extend(at.map(|at| format!("token {name}: {at}")));
            }
            let certificate = shown.certificate_expires_at;
            text.extend(certificate.map(|at| format!("certificate expires: {at}")));
            let scopes = [
                ("needed by the grants", &shown.needed),
                ("given beyond what was asked", &shown.beyond),
                ("asked for and not given", &shown.missing),
                ("needed by the grants and not there", &shown.lacking),
            ];
            for (name, scopes) in scopes {
                text.extend(
                    (!scopes.is_empty()).then(|| format!("scopes {name}: {}", scopes.join(" "))),
                );
            }
            if let Some(beyond) = shown.beyond_consent.as_ref().filter(|beyond| !beyond.is_empty())
            {
                text.push(format!(
                    "the consent must be renewed before grants let through: {}",
                    beyond.join("; ")
                ));
            }
            let slots = [
                (
                    shown.has_next,
                    "another secret is held: try it with `connection replace --again`",
                ),
                (
                    shown.has_former,
                    "the former secret is kept: destroy it with `connection replace --retire`",
                ),
            ];
            text.extend(slots.into_iter().filter(|slot| slot.0).map(|slot| slot.1.to_owned()));
            if let Some((failures, next_at)) = shown.failed {
                text.push(format!(
                    "the last {} failed; tried again at {next_at}",
                    counted(failures as usize, "renewal")
                ));
            }
            let json = json!({
                "id": shown.id.to_string(),
                "provider": shown.provider,
                "customer": shown.customer,
                "environment": shown.environment.as_str(),
                "scheme": shown.scheme,
                "state": shown.state.as_str(),
                "token_obtained_at": shown.obtained_at.map(|at| at.to_string()),
                "token_expires_at": shown.expires_at.map(|at| at.to_string()),
                "certificate_expires_at": shown.certificate_expires_at.map(|at| at.to_string()),
                "token_version": shown.version,
                "scopes_needed": shown.needed,
                "scopes_beyond": shown.beyond,
                "scopes_missing": shown.missing,
                "scopes_lacking": shown.lacking,
                "is_consented": shown.beyond_consent.is_some(),
                "beyond_consent": shown.beyond_consent.unwrap_or_default(),
                "has_next_secret": shown.has_next,
                "has_former_secret": shown.has_former,
                "renewals_failed": shown.failed.map_or(0, |(failures, _)| failures),
            });
            Ok(session.output.result(&json, text)?)
        }
        ConnectionVerb::Check { id } => check(session, id, &config()?).await,
        ConnectionVerb::Replace(args) => replace(session, args, &config()?).await,
        ConnectionVerb::Revoke { id } => {
            let id = parse_id("connection", id)?;
            let instance = session.instance_to_change().await?;
            connections::revoke(&instance, &session.context()?, id).await?;
            session.settle(instance).await?;
            let json = json!({"id": id.to_string(), "state": "revoked"});
            Ok(session.output.result(&json, format!("Revoked {id}."))?)
        }
    }
}

/// What providers are verified by stands in the configuration.
async fn check(session: &Session, id: &str, config: &Config) -> Result<(), Failure> {
    let id = parse_id("connection", id)?;
    let instance = session.instance_to_change().await?;
    let (tls, _) = provider_tls(config)?;
    let (instance, checked) =
        connection_check::check(instance, &session.context()?, tls, id).await?;
    session.settle(instance).await?;
    let checked = checked?;
    let meaning = checked.verdict();
    let json = json!({
        "id": id.to_string(),
        "status": checked.status,
        "works": checked.works(),
        "meaning": meaning,
    });
    let text = format!("{id}: {} ({meaning}).", checked.status);
    if checked.works() {
        return Ok(session.output.result(&json, text)?);
    }
    let exit = if checked.is_refused() { AUTHENTICATION } else { FAILED };
    Err(Failure::new(exit, text, "See what the provider says of this status."))
}

async fn replace(
    session: &Session,
    args: &ConnectionReplaceArgs,
    config: &Config,
) -> Result<(), Failure> {
    let id = parse_id("connection", &args.id)?;
    let secret = match &args.what.secret_file {
        Some(file) => Some(SecretBytes::new(read_secret("--secret-file", file)?)),
        None => None,
    };
    let (tls, _) = provider_tls(config)?;
    let instance = session.instance_to_change().await?;
    let done = replaced(session, &instance, args, (id, secret, tls)).await;
    // What was held or destroyed is in the log, whatever came of the rest.
    session.settle(instance).await?;
    let (json, text) = done?;
    Ok(session.output.result(&json, text)?)
}

async fn replaced(
    session: &Session,
    instance: &app::Instance,
    args: &ConnectionReplaceArgs,
    (id, secret, tls): (Id<Connection>, Option<SecretBytes>, Arc<TlsConfig>),
) -> Result<(serde_json::Value, String), Failure> {
    if args.what.cancel {
        replacement::cancel(instance, &session.context()?, id).await?;
        let json = json!({"id": id.to_string(), "held": "destroyed"});
        return Ok((json, format!("Destroyed the secret that was held for {id}.")));
    }
    if args.what.retire {
        replacement::retire(instance, &session.context()?, id).await?;
        let json = json!({"id": id.to_string(), "former": "destroyed"});
        return Ok((json, format!("Destroyed the former secret of {id}.")));
    }
    if let Some(secret) = &secret {
        replacement::hold(instance, &session.context()?, id, secret).await?;
    }
    let how = How {
        from: if args.what.back { Slot::Former } else { Slot::Next },
        is_checked: !args.unchecked,
        keeps_former: args.keep_former,
    };
    let done = replacement::switch(instance, &session.context()?, tls, id, how).await?;
    let former = if args.keep_former { "kept" } else { "destroyed" };
    let json = json!({
        "id": id.to_string(),
        "credential": done.fingerprint,
        "status": done.status,
        "former": former,
    });
    let tried = done
        .status
        .map_or_else(|| "not tried".to_owned(), |status| format!("the provider answered {status}"));
    let text = format!(
        "{id} uses the credential {} now ({tried}); what it replaces is {former}. End that at the provider.",
        done.fingerprint
    );
    Ok((json, text))
}
