//! `weirgate vault lifetime ...`, `vault leak` and `client owner`.

use super::{
    Session,
    input::{parse_id, parse_slug, parse_span, read_secret},
};
use crate::{
    cli::{LeakArgs, LifetimeVerb, OwnerArgs},
    output::{Failure, Lines, NOT_FOUND, USAGE, counted},
};
use app::lifetimes::{self, End, Leaked, Lives};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use types::ApiKey;

/// The longest file of rules.
const MAX_BYTES: u64 = 1_024 * 1_024;

pub(crate) async fn lifetime(session: &Session, verb: &LifetimeVerb) -> Result<(), Failure> {
    match verb {
        LifetimeVerb::Apply { file, dry_run } => apply(session, file, *dry_run).await,
        LifetimeVerb::List => list(session).await,
        LifetimeVerb::Try { file, since } => {
            let back = parse_span("--since", since)?;
            let text = read(file)?;
            let instance = Arc::new(session.instance().await?);
            let tried = lifetimes::history(&instance, FILE, &text, back).await?;
            let mut lines = Lines::default();
            lines.push(format!(
                "Of {} that a rule reaches, {} would have ended since {}.",
                counted(tried.reached, "key or credential"),
                tried.ends.len(),
                tried.since
            ));
            if let Some(first) = tried.first_at.filter(|first| *first > tried.since) {
                lines.push(format!("This node's log begins later, at {first}."));
            }
            lines.extend(tried.ends.iter().map(ended));
            let json = json!({
                "since": tried.since.to_string(),
                "log_begins": tried.first_at.map(|at| at.to_string()),
                "reached": tried.reached,
                "would_have_ended": tried.ends.iter().map(end_json).collect::<Vec<Value>>(),
            });
            Ok(session.output.result(&json, lines)?)
        }
        LifetimeVerb::Restore { id } => {
            let id = any_id(id)?;
            let instance = session.instance_to_change().await?;
            lifetimes::restore(&instance, &session.context()?, &id).await?;
            session.settle(instance).await?;
            Ok(session.output.result(&json!({"id": id}), format!("Gave back {id}."))?)
        }
    }
}

/// How problems name the file: its path may be something else that was pasted.
const FILE: &str = "file";

fn read(file: &Path) -> Result<String, Failure> {
    let unreadable = |why: String| {
        Failure::new(NOT_FOUND, format!("the file cannot be read ({why})"), "Check its path.")
    };
    let facts = std::fs::metadata(file).map_err(|error| unreadable(error.kind().to_string()))?;
    if !facts.is_file() || facts.len() > MAX_BYTES {
        return Err(unreadable(format!("it is no file of at most {MAX_BYTES} bytes")));
    }
    std::fs::read_to_string(file).map_err(|error| unreadable(error.kind().to_string()))
}

async fn apply(session: &Session, file: &Path, is_dry: bool) -> Result<(), Failure> {
    let text = read(file)?;
    let plan = if is_dry {
        let instance = session.instance().await?;
        let plan = lifetimes::plan(&instance, FILE, &text).await?;
        instance.close().await?;
        plan
    } else {
        let instance = session.instance_to_change().await?;
        let plan = lifetimes::plan(&instance, FILE, &text).await?;
        let plan = lifetimes::apply(&instance, &session.context()?, plan).await?;
        session.settle(instance).await?;
        plan
    };
    let mut lines = Lines::default();
    if plan.changes.is_empty() {
        lines.push("No rule changes.".to_owned());
    }
    let changes = plan.changes.iter().map(|(kind, name, words)| format!("{kind} {name}: {words}"));
    lines.extend(changes);
    let (would, these) = if is_dry { ("would end", "would end") } else { ("end", "ends") };
    if !plan.ends.is_empty() {
        lines.push(format!("{} {would} now:", counted(plan.ends.len(), "key or credential")));
    }
    lines.extend(plan.ends.iter().map(ended));
    let json = json!({
        "is_dry_run": is_dry,
        "changes": plan
            .changes
            .iter()
            .map(|(kind, name, words)| json!({"kind": kind, "name": name, "words": words}))
            .collect::<Vec<Value>>(),
        these.replace(' ', "_"): plan.ends.iter().map(end_json).collect::<Vec<Value>>(),
    });
    Ok(session.output.result(&json, lines)?)
}

fn ended((lives, end): &(Lives, End)) -> String {
    let rule = end.rule.as_ref().map(ToString::to_string).unwrap_or_default();
    let (id, of, condition) = (&lives.id, &lives.of, end.condition.as_str());
    format!("  {id}  {of}  {condition} of {rule}, {}", end.at)
}

fn end_json((lives, end): &(Lives, End)) -> Value {
    json!({
        "id": lives.id,
        "kind": lives.kind.as_str(),
        "of": lives.of,
        "rule": end.rule.as_ref().map(ToString::to_string),
        "condition": end.condition.as_str(),
        "at": end.at.to_string(),
    })
}

async fn list(session: &Session) -> Result<(), Failure> {
    let instance = session.instance().await?;
    let listing = lifetimes::list(&instance).await?;
    instance.close().await?;
    let mut lines = Lines::default();
    if listing.rules.is_empty() {
        lines.push("There are no rules: keys end by their own expiry alone.".to_owned());
    }
    lines.extend(listing.rules.iter().map(|(name, rule)| format!("{name}: {}", rule.in_words())));
    lines.extend(
        listing.owners.iter().map(|(client, owner)| format!("{client} is answered for by {owner}")),
    );
    for one in &listing.lives {
        let state = match &one.suspended {
            Some(was) => format!(
                "suspended at {} by {} ({}), for good from {} on",
                was.at, was.rule, was.condition, was.until
            ),
            None => one.ends_at.map_or_else(|| "in force".to_owned(), |at| format!("ends {at}")),
        };
        lines.push(format!("{}  {}  {}  {state}", one.id, one.of, one.environment));
    }
    let lives = listing.lives.iter().map(|one| {
        json!({
            "id": one.id,
            "kind": one.kind.as_str(),
            "of": one.of,
            "environment": one.environment.as_str(),
            "rules": one.rules,
            "ends_at": one.ends_at.map(|at| at.to_string()),
            "suspended": one.suspended.as_ref().map(|was| json!({
                "rule": was.rule,
                "condition": was.condition,
                "at": was.at.to_string(),
                "until": was.until.to_string(),
            })),
        })
    });
    let rules = listing.rules.iter();
    let owners = listing.owners.iter();
    let json = json!({
        "rules": rules
            .map(|(name, rule)| json!({"name": name, "words": rule.in_words()}))
            .collect::<Vec<Value>>(),
        "owners": owners
            .map(|(client, owner)| json!({"client": client, "owner": owner.to_string()}))
            .collect::<Vec<Value>>(),
        "lives": lives.collect::<Vec<Value>>(),
    });
    Ok(session.output.result(&json, lines)?)
}

/// The id of a key or a connection, spelled as it is kept.
fn any_id(text: &str) -> Result<String, Failure> {
    if text.starts_with("key_") {
        return Ok(parse_id::<types::Key>("key", text)?.to_string());
    }
    Ok(parse_id::<types::Connection>("connection", text)?.to_string())
}

pub(crate) async fn leak(session: &Session, args: &LeakArgs) -> Result<(), Failure> {
    let leaked = match (&args.id, &args.key_file) {
        (Some(id), _) if id.starts_with("key_") => Leaked::Key(parse_id("key", id)?),
        (Some(id), _) => Leaked::Connection(parse_id("connection", id)?),
        (None, Some(file)) => {
            let bytes = read_secret("--key-file", file)?;
            let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
            let key = ApiKey::parse(text).map_err(|error| {
                let what = format!("what --key-file gives is no API key: {error}");
                Failure::new(USAGE, what, "Give the whole key, as it was shown once.")
            })?;
            Leaked::ApiKey(key)
        }
        (None, None) => {
            return Err(Failure::new(USAGE, "nothing is named", "Give an id, or --key-file."));
        }
    };
    let instance = session.instance_to_change().await?;
    let ended = lifetimes::leaked(&instance, &session.context()?, leaked).await;
    session.settle(instance).await?;
    let id = ended?;
    let text = format!("Ended {id} for good. End it at the provider too, if it is a connection.");
    Ok(session.output.result(&json!({"id": id}), text)?)
}

pub(crate) async fn owner(session: &Session, args: &OwnerArgs) -> Result<(), Failure> {
    let name = parse_slug("NAME", &args.name)?;
    let instance = session.instance_to_change().await?;
    let owner = match &args.user {
        Some(user) => Some(app::people::users::find(&instance, user).await?),
        None => None,
    };
    lifetimes::set_owner(&instance, &session.context()?, &name, owner).await?;
    session.settle(instance).await?;
    let json = json!({"client": name.as_str(), "owner": owner.map(|id| id.to_string())});
    let text = match owner {
        Some(id) => format!("{id} answers for {name} now."),
        None => format!("Nobody answers for {name} now."),
    };
    Ok(session.output.result(&json, text)?)
}
