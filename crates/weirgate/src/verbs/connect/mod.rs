//! `weirgate connection create --oauth`, `reconnect` and `consent`: somebody consents in a browser, which
//! may be on this machine or have its port forwarded to it.

mod loopback;

use super::{
    Session,
    input::{pairs, parse_environment, parse_id, parse_slug, read_secret},
};
use crate::{
    cli::{BrowserArgs, ConnectionCreateArgs, ConsentVerb},
    config::Config,
    harmless::short,
    output::{FAILED, Failure, INTERRUPTED, Lines, REFUSED, USAGE, chain},
    provider_tls::provider_tls,
};
use app::{
    Asker, Instance,
    connect::{self, Answer, Begin, ConnectError, Consented, New, Opening, Target, Withdrawn},
    tokens::MAX_TOKEN_ANSWER_BYTES,
};
use loopback::Loopback;
use outbound::HickoryResolver;
use serde_json::{Value, json};
use std::{
    io::{self, BufRead as _, IsTerminal as _},
    sync::Arc,
};
use types::{ConnectSession, Id, SecretBytes, Slug};

pub(super) async fn create(
    session: &Session,
    args: &ConnectionCreateArgs,
    config: &Config,
) -> Result<(), Failure> {
    let secret = match &args.secret_file {
        Some(file) => Some(SecretBytes::new(read_secret("--secret-file", file)?)),
        None => None,
    };
    let new = New {
        provider: parse_slug("--provider", &args.provider)?,
        customer: args.customer.clone(),
        scheme: args.scheme.clone(),
        secret,
        environment: parse_environment(&args.environment)?,
        variables: pairs("--var", &args.variables)?,
        headers: pairs("--header", &args.headers)?,
    };
    let target = Target::New(Box::new(new));
    run(session, target, &args.browser, config).await
}

pub(super) async fn reconnect(
    session: &Session,
    id: &str,
    browser: &BrowserArgs,
    config: &Config,
) -> Result<(), Failure> {
    let id = parse_id("connection", id)?;
    run(session, Target::Again(id), browser, config).await
}

fn asker(config: &Config) -> Result<Asker, Failure> {
    let (tls, _) = provider_tls(config)?;
    let resolver = HickoryResolver::from_system().map_err(app::Error::from)?;
    Asker::start(Arc::new(resolver), tls, MAX_TOKEN_ANSWER_BYTES)
        .map_err(|error| Failure::new(FAILED, chain(&error), ""))
}

/// Whether somebody can be asked.
fn check_confirmable(is_yes: bool) -> Result<(), Failure> {
    if is_yes || io::stdin().is_terminal() {
        return Ok(());
    }
    let what = "what comes back has to be confirmed, and there is no terminal to ask at";
    Err(Failure::new(USAGE, what, "Give --yes to confirm it without being asked."))
}

async fn run(
    session: &Session,
    target: Target,
    browser: &BrowserArgs,
    config: &Config,
) -> Result<(), Failure> {
    check_confirmable(browser.yes)?;
    let asker = asker(config)?;
    let mut loopback = Loopback::open(browser.port).await?;
    let base = loopback.base();
    let instance = session.instance_to_change().await?;
    let begin = Begin { target, base: &base, idempotency_key: None };
    let begun = connect::begin(&instance, &session.context()?, begin).await?;
    let way = async {
        let opened = connect::open(&instance, &session.context()?, Opening::Own(begun.id)).await?;
        let shown = connect::show(&instance, &session.context()?, begun.id).await?;
        let provider: Slug = shown.provider.parse().map_err(|_| internal())?;
        loopback.expect_at(&connect::redirect_uri(&base, &provider));
        tell(session, &opened.url, &shown)?;
        if !browser.no_browser {
            open_browser(&opened.url);
        }
        loop {
            let query = loopback.answer().await?;
            let answer = Answer {
                base: &base,
                provider: &provider,
                trip: opened.trip.expose(),
                query: query.expose(),
            };
            match connect::answer(&instance, &session.context()?, &asker, answer).await {
                // Anybody on this machine can send what nobody asked for; ours may still come.
                Err(app::Error::Connect(ConnectError::State))
                    if session.context()?.now < begun.expires_at => {}
                other => {
                    other?;
                    break;
                }
            }
        }
        loopback.linger().await;
        confirmed(session, &instance, begun.id, browser.yes).await
    };
    let life = connect::SESSION_LIFE;
    // What is dropped leaves nothing half done: each step of it is one change.
    let outcome = tokio::select! {
        done = tokio::time::timeout(life, way) => done.unwrap_or_else(|_| {
            let what = "nobody came back within ten minutes";
            Err(Failure::new(REFUSED, what, "Begin again."))
        }),
        _ = tokio::signal::ctrl_c() => {
            Err(Failure::new(INTERRUPTED, "interrupted; nothing was connected", ""))
        }
    };
    if outcome.is_err() {
        // One that ended by itself is no longer there to be given up.
        let _ = connect::cancel(&instance, &session.context()?, Some(&asker), begun.id).await;
    }
    let settled = session.settle(instance).await;
    outcome.and(settled)
}

fn internal() -> app::Error {
    app::Error::Internal { what: "a provider's name is none" }
}

/// Where to go, and what will be asked.
fn tell(session: &Session, url: &str, shown: &connect::Shown) -> Result<(), Failure> {
    let scopes: Vec<Value> = shown
        .asked
        .iter()
        .map(|scope| json!({"name": scope.name, "needed_for": scope.needed_for}))
        .collect();
    let json = json!({
        "session": shown.id.to_string(),
        "authorization_url": url,
        "scopes": scopes,
        "expires_at": shown.expires_at.to_string(),
    });
    let mut text = Lines::default();
    text.push(format!("{} will be asked for {}:", shown.provider, short(&shown.customer)));
    if shown.asked.is_empty() {
        text.push("  no scope: no grant needs one, and the provider's plan names none".to_owned());
    }
    for scope in &shown.asked {
        let why = match scope.needed_for.as_slice() {
            [] => "the provider's plan always asks for it".to_owned(),
            operations => format!("grants need it for {}", operations.join(", ")),
        };
        text.push(format!("  {}: {why}", scope.name));
    }
    if shown.is_without_pkce {
        text.push("  without PKCE: the provider's plan says that it cannot".to_owned());
    }
    text.push("Open this address, and come back within ten minutes:".to_owned());
    text.push(url.to_owned());
    Ok(session.output.result(&json, text)?)
}

/// As well as this machine can. Whoever looks at its processes sees the address; a code that comes of it
/// is of no use without what this process keeps.
fn open_browser(url: &str) {
    let has_display =
        ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if !has_display && !cfg!(target_os = "macos") {
        return;
    }
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let null = std::process::Stdio::null;
    // The address was printed, too.
    let _ = std::process::Command::new(program)
        .arg(url)
        .stdin(null())
        .stdout(null())
        .stderr(null())
        .spawn();
}

/// Shows a text, and asks for `y` where nobody said --yes.
fn agreed(session: &Session, consented: &Consented, is_yes: bool) -> Result<bool, Failure> {
    if is_yes {
        return Ok(true);
    }
    let mut text = Lines::default();
    for line in &consented.text {
        text.push(line.clone());
    }
    text.push("Confirm with y, and anything else destroys what was given:".to_owned());
    session.output.talk(text)?;
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    Ok(read.is_ok() && answer.trim() == "y")
}

async fn confirmed(
    session: &Session,
    instance: &Instance,
    id: Id<ConnectSession>,
    is_yes: bool,
) -> Result<(), Failure> {
    let shown = connect::show(instance, &session.context()?, id).await?;
    let consented = shown.consented.ok_or(app::Error::from(ConnectError::Unknown))?;
    let is_agreed = tokio::task::block_in_place(|| agreed(session, &consented, is_yes))?;
    if !is_agreed {
        return Err(Failure::new(REFUSED, "not confirmed; nothing was connected", ""));
    }
    let done = connect::confirm(instance, &session.context()?, id, &consented.digest).await?;
    let json = json!({
        "id": done.connection.to_string(),
        "scheme": done.scheme,
        "environment": shown.environment.as_str(),
        "token_version": done.version,
        "scopes_asked": consented.asked,
        "scopes_given": consented.granted,
        "scopes_beyond": consented.broader,
        "scopes_missing": consented.narrower,
        "consent": consented.digest,
    });
    let mut text = Lines::default();
    for line in consented.text.iter().filter(|_| is_yes) {
        text.push(line.clone());
    }
    let what = if shown.connection.is_some() { "Connected anew" } else { "Connected" };
    text.push(format!("{what}: {} with the scheme {}.", done.connection, done.scheme));
    Ok(session.output.result(&json, text)?)
}

pub(super) async fn consent(
    session: &Session,
    verb: &ConsentVerb,
    config: impl FnOnce() -> Result<Config, Failure>,
) -> Result<(), Failure> {
    match verb {
        ConsentVerb::List { connection } => {
            let id = connection.as_deref().map(|id| parse_id("connection", id)).transpose()?;
            let instance = session.instance().await?;
            let listed = connect::consents(&instance, id).await?;
            instance.close().await?;
            let mut text = Lines::default();
            let mut rows = Vec::new();
            for one in &listed {
                let state = match (one.ended_at, &one.ended_as) {
                    (Some(at), how) => {
                        format!("{} at {at}", how.as_deref().unwrap_or("ended"))
                    }
                    (None, _) => "in force".to_owned(),
                };
                text.push(format!("{}  {}  {}  {state}", one.id, one.connection, one.provider));
                text.push(format!("  given at {} by {}", one.given_at, one.given_by));
                for line in one.text.lines() {
                    text.push(format!("  | {line}"));
                }
                if !one.beyond.is_empty() {
                    text.push(format!("  to be renewed for: {}", one.beyond.join("; ")));
                }
                rows.push(json!({
                    "id": one.id.to_string(),
                    "connection": one.connection.to_string(),
                    "provider": one.provider,
                    "customer": one.customer,
                    "given_by": one.given_by,
                    "given_at": one.given_at.to_string(),
                    "ended_at": one.ended_at.map(|at| at.to_string()),
                    "ended_as": one.ended_as,
                    "text": one.text,
                    "text_sha256": one.digest,
                    "beyond": one.beyond,
                }));
            }
            Ok(session.output.result(&json!({"consents": rows}), text)?)
        }
        ConsentVerb::Renew { id, yes } => {
            let id = parse_id("connection", id)?;
            check_confirmable(*yes)?;
            let instance = session.instance_to_change().await?;
            let consented = connect::renewal(&instance, id).await?;
            if !tokio::task::block_in_place(|| agreed(session, &consented, *yes))? {
                return Err(Failure::new(REFUSED, "not confirmed; nothing was changed", ""));
            }
            let ctx = session.context()?;
            connect::give_consent(&instance, &ctx, id, &consented.digest).await?;
            session.settle(instance).await?;
            let json = json!({"id": id.to_string(), "text_sha256": consented.digest});
            Ok(session.output.result(&json, format!("Renewed the consent of {id}."))?)
        }
        ConsentVerb::Revoke { id } => {
            let id = parse_id("connection", id)?;
            let asker = asker(&config()?)?;
            let instance = session.instance_to_change().await?;
            let told = connect::withdraw(&instance, &session.context()?, &asker, id).await?;
            session.settle(instance).await?;
            let (code, words) = match told {
                Withdrawn::Told => ("told", "The provider was told."),
                Withdrawn::NotTold => (
                    "not_told",
                    "The provider's plan names no `revocation_url`, so it was not told.",
                ),
                Withdrawn::Failed => {
                    ("failed", "The provider could not be told: revoke it there by hand.")
                }
            };
            let json = json!({"id": id.to_string(), "provider": code});
            let text = format!("Withdrew the consent of {id}; its tokens are destroyed. {words}");
            Ok(session.output.result(&json, text)?)
        }
    }
}
