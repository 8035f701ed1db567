//! `weirgate grant ...`, `role ...`, `policy ...` and `explain ...`: what is permitted, and why.

use super::Session;
use crate::{
    cli::{ExplainVerb, GrantVerb, PolicyVerb, RoleVerb},
    output::{FINDINGS, Failure, Lines, NOT_FOUND, USAGE},
};
use ::policy::{Act, Moment};
use app::{
    advisor, explain, grants,
    people::users,
    proposals,
    rules::{self, Rule, RuleKind},
};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};
use types::{Clock as _, Slug, SystemClock, nearest};

/// The longest policy that is read.
const MAX_BYTES: u64 = 64 * 1_024;

pub(crate) async fn grant(session: &Session, verb: &GrantVerb) -> Result<(), Failure> {
    let client = match verb {
        GrantVerb::List { client } => client,
        GrantVerb::Proposals => return waiting(session).await,
    };
    let instance = session.instance().await?;
    let mut listed = grants::list(&instance).await?;
    instance.close().await?;
    if let Some(client) = client {
        listed.retain(|one| one.client == *client);
    }
    let mut text = Lines::default();
    let mut rows = Vec::new();
    for one in &listed {
        let state = if one.is_in_force { "" } else { "  expired" };
        let target = one.connection.map_or_else(|| one.provider.clone(), |id| id.to_string());
        let (purpose, expires) = (&one.grant.purpose, &one.grant.expires);
        text.push(format!("{} on {target}, to {purpose}, until {expires}{state}", one.client));
        for allow in &one.grant.allow {
            let object = allow.object.as_deref().unwrap_or("operations");
            let what = if allow.object.is_some() { &allow.fields } else { &allow.operations };
            text.push(format!("  {} {object}: {}", allow.actions.join(", "), what.join(", ")));
        }
        rows.push(grant_json(one));
    }
    if listed.is_empty() {
        text.push("There is no grant. `weirgate apply` makes them from files.");
    }
    Ok(session.output.result(&json!({"grants": rows}), text)?)
}

/// What people proposed on the console.
async fn waiting(session: &Session) -> Result<(), Failure> {
    let instance = session.instance().await?;
    let listed = proposals::waiting(&instance).await;
    instance.close().await?;
    let mut text = Lines::default();
    let mut rows = Vec::new();
    for one in listed? {
        text.push(format!(
            "{}  {}  by {}  until {}",
            one.id, one.grant, one.author, one.expires_at
        ));
        for words in &one.words {
            text.push(format!("  {words}"));
        }
        rows.push(json!({
            "id": one.id.to_string(),
            "grant": one.grant,
            "words": one.words,
            "author": one.author.to_string(),
            "created_at": one.created_at.to_string(),
            "expires_at": one.expires_at.to_string(),
        }));
    }
    if rows.is_empty() {
        text.push("No change of a grant waits for a second person.");
    }
    Ok(session.output.result(&json!({"proposals": rows}), text)?)
}

fn grant_json(one: &grants::Listed) -> Value {
    let allow: Vec<Value> = one
        .grant
        .allow
        .iter()
        .map(|allow| {
            json!({
                "object": allow.object, "actions": allow.actions, "fields": allow.fields,
                "params": allow.params, "headers": allow.headers, "operations": allow.operations,
            })
        })
        .collect();
    json!({
        "id": one.id.to_string(),
        "client": one.client,
        "provider": one.provider,
        "connection": one.connection.map(|id| id.to_string()),
        "purpose": one.grant.purpose,
        "expires": one.grant.expires,
        "in_force": one.is_in_force,
        "allow": allow,
    })
}

pub(crate) async fn role(session: &Session, verb: &RoleVerb) -> Result<(), Failure> {
    match verb {
        RoleVerb::List { acts: true } => {
            let all: Vec<Value> = Act::ALL
                .iter()
                .map(|act| json!({"act": act.as_str(), "on": act.resource().as_str()}))
                .collect();
            let text: Vec<String> = Act::ALL.iter().map(ToString::to_string).collect();
            Ok(session.output.result(&json!({"acts": all}), text)?)
        }
        RoleVerb::List { acts: false } => {
            let instance = session.instance().await?;
            let listed = rules::roles(&instance).await?;
            instance.close().await?;
            let json: Vec<Value> = listed.iter().map(role_json).collect();
            let mut text = Lines::default();
            for one in &listed {
                let own = if one.is_built_in { "" } else { ", your own" };
                let people = if one.people == 1 { "person" } else { "people" };
                text.push(format!("{} ({} {people}{own})", one.name, one.people));
                let acts: Vec<&str> = one.acts.iter().map(|act| act.as_str()).collect();
                text.push(format!("  {}", acts.join(", ")));
            }
            Ok(session.output.result(&json!({"roles": json}), text)?)
        }
        RoleVerb::Remove { name } => remove(session, RuleKind::Role, name).await,
    }
}

fn role_json(one: &Rule) -> Value {
    let acts: Vec<&str> = one.acts.iter().map(|act| act.as_str()).collect();
    json!({"name": one.name, "built_in": one.is_built_in, "acts": acts, "people": one.people})
}

async fn remove(session: &Session, kind: RuleKind, name: &str) -> Result<(), Failure> {
    let instance = session.instance_to_change().await?;
    let words = rules::remove(&instance, &session.context()?, kind, name).await?;
    session.settle(instance).await?;
    let mut text = vec![format!("Removed the {} {name}.", kind.as_str())];
    text.extend(words.iter().map(|words| format!("  {words}")));
    Ok(session.output.result(&json!({"removed": name, "words": words}), text)?)
}

pub(crate) async fn policy(session: &Session, verb: &PolicyVerb) -> Result<(), Failure> {
    match verb {
        PolicyVerb::List => {
            let instance = session.instance().await?;
            let listed = rules::policies(&instance).await?;
            instance.close().await?;
            let json: Vec<Value> =
                listed.iter().map(|one| json!({"name": one.name, "text": one.text})).collect();
            let mut text: Vec<String> = listed.iter().map(|one| one.name.clone()).collect();
            if text.is_empty() {
                text.push("There is no policy: roles alone decide.".to_owned());
            }
            Ok(session.output.result(&json!({"policies": json}), text)?)
        }
        PolicyVerb::Show { name } => {
            let instance = session.instance().await?;
            let listed = rules::policies(&instance).await?;
            instance.close().await?;
            let found = listed.into_iter().find(|one| one.name == *name);
            let missing = || app::Error::NameUnknown { kind: "policy" };
            let found = found.ok_or_else(missing)?;
            let text: Vec<String> = found.text.lines().map(str::to_owned).collect();
            Ok(session.output.result(&json!({"name": found.name, "text": found.text}), text)?)
        }
        PolicyVerb::Check { file } => check(session, file),
        PolicyVerb::Schema => {
            let text: Vec<String> = ::policy::SCHEMA.lines().map(str::to_owned).collect();
            Ok(session.output.result(&json!({"schema": *::policy::SCHEMA}), text)?)
        }
        PolicyVerb::Remove { name } => remove(session, RuleKind::Policy, name).await,
    }
}

fn check(session: &Session, file: &Path) -> Result<(), Failure> {
    let unreadable = |why: String| {
        Failure::new(NOT_FOUND, format!("the file cannot be read ({why})"), "Check its path.")
    };
    let facts = std::fs::metadata(file).map_err(|error| unreadable(error.kind().to_string()))?;
    if !facts.is_file() || facts.len() > MAX_BYTES {
        return Err(unreadable(format!("it is no file of at most {MAX_BYTES} bytes")));
    }
    let text =
        std::fs::read_to_string(file).map_err(|error| unreadable(error.kind().to_string()))?;
    match ::policy::check(&text) {
        Ok(()) => Ok(session.output.result(&json!({"problems": []}), "It can be in force.")?),
        Err(problems) => {
            let told = problems.iter().map(|one| {
                let place = match (one.line, one.column) {
                    (Some(line), Some(column)) => format!("{line}:{column}: "),
                    _ => String::new(),
                };
                format!("{place}{}. {}", one.what, one.remedy)
            });
            let count = problems.len();
            let plural = if count == 1 { "problem" } else { "problems" };
            let mut failure =
                Failure::new(FINDINGS, format!("the policy has {count} {plural}"), "Correct it.");
            failure.problems = told.collect();
            Err(failure)
        }
    }
}

pub(crate) async fn advise(session: &Session, days: u16) -> Result<(), Failure> {
    let instance = Arc::new(session.instance().await?);
    let back = Duration::from_hours(24 * u64::from(days));
    let advice = advisor::advise(&instance, back).await?;
    if let Some(instance) = Arc::into_inner(instance) {
        instance.close().await?;
    }
    let mut text = Lines::default();
    let back_to = advice.looked_back_to.map(|at| at.to_string());
    text.push(format!(
        "{} calls since {}.",
        advice.calls,
        back_to.as_deref().unwrap_or("the log began")
    ));
    if advice.fields_since.is_none_or(|at| at > advice.since) {
        let since = advice.fields_since.map_or_else(|| "not yet".to_owned(), |at| at.to_string());
        text.push(format!("Which fields are there is noted since: {since}."));
    }
    let mut keys = Vec::new();
    for key in &advice.keys {
        text.push(format!("key {} of {} was not used: revoke it", key.id, key.client));
        keys.push(json!({
            "id": key.id.to_string(),
            "client": key.client,
            "created_at": key.created_at.to_string(),
            "expires_at": key.expires_at.to_string(),
        }));
    }
    let mut grants = Vec::new();
    for one in &advice.grants {
        let grant = &one.grant;
        let target = grant.connection.map_or_else(|| grant.provider.clone(), |id| id.to_string());
        let name = format!("{} on {target}, to {}", grant.client, grant.grant.purpose);
        if one.is_young {
            text.push(format!(
                "grant {name}: it is younger than that; not used: {}",
                one.unused.join(", ")
            ));
        } else if one.is_whole {
            text.push(format!("grant {name}: nothing of it was used; take it out of the files"));
        } else {
            text.push(format!("grant {name}: not used: {}", one.unused.join(", ")));
        }
        grants.push(json!({
            "id": grant.id.to_string(),
            "client": grant.client,
            "target": target,
            "purpose": grant.grant.purpose,
            "whole": one.is_whole,
            "young": one.is_young,
            "unused": one.unused,
        }));
    }
    let mut people = Vec::new();
    for one in &advice.people {
        let roles = one.roles.join(", ");
        text.push(format!(
            "{} did not come, and has {roles}: drop the roles, or disable it",
            one.id
        ));
        people.push(json!({
            "id": one.id.to_string(),
            "roles": one.roles,
            "created_at": one.created_at.to_string(),
        }));
    }
    if keys.is_empty() && grants.is_empty() && people.is_empty() {
        text.push("Every key and every grant was used, and everybody came.");
    }
    let json = json!({
        "since": advice.since.to_string(),
        "looked_back_to": back_to,
        "fields_since": advice.fields_since.map(|at| at.to_string()),
        "calls": advice.calls,
        "people": people,
        "keys": keys,
        "grants": grants,
    });
    Ok(session.output.result(&json, text)?)
}

pub(crate) async fn explain(session: &Session, verb: &ExplainVerb) -> Result<(), Failure> {
    match verb {
        ExplainVerb::Person { user, act, source, stepped_up } => {
            let wanted = act.as_deref().map(parse_act).transpose()?;
            let instance = session.instance().await?;
            let id = users::find(&instance, user).await?;
            let moment =
                Moment { now: SystemClock.now(), source: *source, is_stepped_up: *stepped_up };
            let mut all = rules::explain(&instance, id, &moment).await?;
            instance.close().await?;
            all.retain(|(act, _)| wanted.is_none_or(|wanted| wanted == *act));
            let mut text = Lines::default();
            let mut rows = Vec::new();
            for (act, decision) in &all {
                let (word, why) = rules::in_words(decision);
                text.push(format!("{act}: {word} ({why})"));
                rows.push(json!({"act": act.as_str(), "decision": word, "why": why}));
            }
            Ok(session.output.result(&json!({"id": id.to_string(), "acts": rows}), text)?)
        }
        ExplainVerb::Field { provider, field } => {
            let slug: Slug =
                provider.parse().map_err(|_| app::Error::NameUnknown { kind: "provider" })?;
            let instance = session.instance().await?;
            let seen = explain::field(&instance, &slug, field).await?;
            instance.close().await?;
            show_field(session, &seen)
        }
    }
}

fn parse_act(text: &str) -> Result<Act, Failure> {
    text.parse().map_err(|_| {
        let near = nearest(text, Act::ALL.iter().map(|act| act.as_str()));
        let remedy = near.map_or_else(
            || "`weirgate role list --acts` names them all.".to_owned(),
            |near| format!("Did you mean `{near}`?"),
        );
        Failure::new(USAGE, "there is no such act", remedy)
    })
}

fn show_field(session: &Session, seen: &explain::Seen) -> Result<(), Failure> {
    let label = seen.label.as_ref().map_or_else(String::new, |label| format!(" ({label})"));
    let mut text = Lines::default();
    text.push(format!("{}{label}", seen.field));
    let mut rows = Vec::new();
    for way in &seen.ways {
        let grant = &way.grant;
        let target = grant.connection.map_or_else(|| grant.provider.clone(), |id| id.to_string());
        let keys = if way.keys == 1 { "1 key".to_owned() } else { format!("{} keys", way.keys) };
        text.push(format!(
            "  {} on {target}, to {}, until {} ({keys} in force)",
            grant.client, grant.grant.purpose, grant.grant.expires
        ));
        for (verb, operations) in [("sees it by", &way.reads), ("may send it by", &way.writes)] {
            if !operations.is_empty() {
                text.push(format!("    {verb} {}", operations.join(", ")));
            }
        }
        rows.push(json!({
            "client": grant.client,
            "grant": grant.id.to_string(),
            "target": target,
            "purpose": grant.grant.purpose,
            "expires": grant.grant.expires,
            "keys_in_force": way.keys,
            "reads": way.reads,
            "writes": way.writes,
        }));
    }
    if seen.ways.is_empty() {
        text.push("  No grant in force lets it through.");
    }
    let json = json!({"field": seen.field, "label": seen.label, "seen_by": rows});
    Ok(session.output.result(&json, text)?)
}
