//! How long keys and credentials live: rules by time and by event, what they end, and how that is given
//! back.
//!
//! What is known ahead, or stands in the store, ends something by the Snapshot that is compiled from it
//! ([`judge::Limits`]). What depends on use is judged every few seconds by each node ([`keep_up`]), which
//! also writes down what ended, so that it can be given back for a while and is destroyed after it.

mod history;
mod judge;
mod pass;
mod rules;
#[cfg(test)]
mod tests;

pub use history::{Tried, history};
pub use judge::End;
pub(crate) use judge::Limits;
pub use pass::keep_up;
pub use rules::{Condition, Kind, Rule, Span, read};

use crate::{
    change::{Care, Change, Changing},
    clients, connections,
    error::{self, Error},
    instance::Instance,
    seals::{self, ReadProvider},
};
use judge::{Subject, rules_of, subjects};
use rules::Rules;
use std::collections::{BTreeSet, HashMap};
use store::{Everything, LifetimeStateRow, NetworkRow, OwnerRow, RuleRow, UseCount};
use types::{ApiKey, Connection, Environment, Id, Key, OpContext, Slug, Timestamp, User};

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifetimeError {
    #[error("nothing of that id is suspended")]
    NotSuspended,
    #[error("it was ended for good")]
    EndedForGood,
    #[error("no key of this installation is the one that was given")]
    UnknownSecret,
    #[error("the rule {rule} is narrowed to what there is not")]
    Narrowed { rule: Slug },
}

impl LifetimeError {
    pub(crate) const fn kind(&self) -> error::Kind {
        match self {
            Self::NotSuspended | Self::UnknownSecret => error::Kind::NotFound,
            Self::EndedForGood => error::Kind::Refused,
            Self::Narrowed { .. } => error::Kind::Usage,
        }
    }

    pub(crate) const fn remedy(&self) -> &'static str {
        match self {
            Self::NotSuspended => "`weirgate vault lifetime list` shows what is.",
            Self::EndedForGood => {
                "Make another key (`weirgate client key create`), or connect anew."
            }
            Self::UnknownSecret => {
                "It may be of another installation. A connection's credential is reported by the connection's id."
            }
            Self::Narrowed { .. } => {
                "Name a client, provider or connection that is there, or leave the rule out."
            }
        }
    }
}

/// A key or a credential, and how long it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lives {
    pub id: String,
    pub kind: Kind,
    /// The client, or the provider.
    pub of: String,
    pub environment: Environment,
    pub rules: Vec<String>,
    pub ends_at: Option<Timestamp>,
    pub suspended: Option<Suspended>,
}

/// What a rule ended and may be given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspended {
    pub rule: String,
    pub condition: String,
    pub at: Timestamp,
    /// Then it is over for good.
    pub until: Timestamp,
}

/// What stands.
#[derive(Debug)]
pub struct Listing {
    pub rules: Vec<(String, Rule)>,
    /// Those that a rule reaches, or that are suspended.
    pub lives: Vec<Lives>,
    /// Who answers for which client.
    pub owners: Vec<(String, Id<User>)>,
}

/// Rules, and what they make of what there is.
pub async fn list(instance: &Instance) -> Result<Listing, Error> {
    let everything = seals::load(instance).await?;
    let now = instance.clock.now();
    let rules = rules_of(&everything);
    let lives = subjects(&everything, &rules)
        .into_iter()
        .filter(|one| !one.rules.is_empty() || one.is_suspended())
        .filter(|one| one.expires_at.is_none_or(|at| now < at))
        .map(|one| lives_of(&one))
        .collect();
    let owners = everything.lifetimes.owners.iter().filter_map(|row| {
        let client = everything.clients.iter().find(|client| client.id == row.client)?;
        Some((client.name.to_string(), row.owner))
    });
    let owners = owners.collect();
    Ok(Listing {
        rules: rules.into_iter().map(|(name, rule)| (name.to_string(), rule)).collect(),
        lives,
        owners,
    })
}

fn lives_of(one: &Subject<'_>) -> Lives {
    let suspended = one.state.filter(|_| one.is_suspended()).and_then(|row| {
        Some(Suspended {
            rule: row.rule.clone()?,
            condition: row.condition.clone()?,
            at: row.suspended_at?,
            until: row.final_at?,
        })
    });
    Lives {
        id: one.id.clone(),
        kind: one.kind,
        of: one.of.clone(),
        environment: one.environment,
        rules: one.rules.iter().map(|(name, _)| name.to_string()).collect(),
        ends_at: one.ends_at(),
        suspended,
    }
}

/// What a file of rules changes, and what that ends at once.
#[derive(Debug)]
pub struct Plan {
    /// Added, changed or removed; a name; in words.
    pub changes: Vec<(&'static str, String, String)>,
    pub ends: Vec<(Lives, End)>,
    wanted: Rules,
    generation: u64,
}

/// What it would do to have the rules of this file, and no others.
///
/// # Errors
/// [`Error::Grants`] with all that is wrong with it.
pub async fn plan(instance: &Instance, file: &str, text: &str) -> Result<Plan, Error> {
    let wanted = read(file, text).map_err(Error::Grants)?;
    let everything = seals::load_whole(instance).await?;
    let known = Known::read(instance).await?;
    planned(&everything, &known, wanted, instance.clock.now())
}

fn planned<P: ReadProvider>(
    everything: &Everything<P>,
    known: &Known,
    wanted: Rules,
    now: Timestamp,
) -> Result<Plan, Error> {
    for (name, rule) in &wanted {
        let has_client =
            |one: &String| everything.clients.iter().any(|row| row.name.as_str() == one);
        let has_provider =
            |one: &String| everything.providers.iter().any(|row| row.slug().as_str() == one);
        let has_connection =
            |one: &String| everything.connections.iter().any(|row| row.id.to_string() == *one);
        let is_there = rule.client.as_ref().is_none_or(has_client)
            && rule.provider.as_ref().is_none_or(has_provider)
            && rule.connection.as_ref().is_none_or(has_connection);
        if !is_there {
            return Err(LifetimeError::Narrowed { rule: name.clone() }.into());
        }
    }
    let before = rules_of(everything);
    let names: BTreeSet<&Slug> = before.keys().chain(wanted.keys()).collect();
    let changes = names.into_iter().filter_map(|name| {
        let (old, new) = (before.get(name), wanted.get(name));
        let kind = match (old, new) {
            (None, Some(_)) => "added",
            (Some(_), None) => "removed",
            (Some(old), Some(new)) if old != new => "changed",
            _ => return None,
        };
        let words = new.or(old).map(Rule::in_words).unwrap_or_default();
        Some((kind, name.to_string(), words))
    });
    let changes = changes.collect();
    let ends = subjects(everything, &wanted)
        .iter()
        .filter(|one| !one.is_suspended())
        .filter_map(|one| Some((lives_of(one), known.end_of(one, now)?)))
        .collect();
    Ok(Plan { changes, ends, wanted, generation: everything.generation })
}

/// Puts a plan into force, unless the store moved on since.
pub async fn apply(instance: &Instance, ctx: &OpContext, plan: Plan) -> Result<Plan, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let everything = changing.tx.everything().await?;
    let plan = if everything.generation == plan.generation {
        plan
    } else {
        let known = Known::read(instance).await?;
        planned(&everything, &known, plan.wanted, ctx.now)?
    };
    for (kind, name, words) in &plan.changes {
        let name: Slug =
            name.parse().map_err(|_| Error::Internal { what: "a rule has no name" })?;
        let verb = if let Some(rule) = plan.wanted.get(&name) {
            let body = rule.to_stored();
            let row = RuleRow { name: name.clone(), body, created_at: ctx.now };
            changing.tx.put_lifetime(&row).await?;
            if *kind == "added" { "lifetime.add" } else { "lifetime.change" }
        } else {
            changing.tx.delete_lifetime(&name).await?;
            "lifetime.remove"
        };
        changing.record(Change {
            verb,
            what: format!("lifetime {name}"),
            details: vec![("words", words.clone())],
            ..Change::default()
        });
    }
    changing.commit().await?;
    Ok(plan)
}

/// What nodes told of use.
#[derive(Debug, Default)]
pub(crate) struct Known {
    uses: HashMap<String, UseCount>,
    networks: Vec<NetworkRow>,
}

impl Known {
    async fn read(instance: &Instance) -> Result<Self, Error> {
        let uses = instance.store.use_counts().await?.into_iter();
        Ok(Self {
            uses: uses.map(|one| (one.subject.clone(), one)).collect(),
            networks: instance.store.key_networks().await?,
        })
    }

    /// What ends it by now, the earliest.
    fn end_of(&self, subject: &Subject<'_>, now: Timestamp) -> Option<End> {
        // What is over by itself needs no rule.
        if subject.expires_at.is_some_and(|at| at <= now) {
            return None;
        }
        let of_it = |row: &&NetworkRow| row.subject == subject.id;
        let needs = subject.rules.iter().any(|(_, rule)| rule.needs_uses());
        let networks: Vec<&NetworkRow> =
            self.networks.iter().filter(|_| needs).filter(of_it).collect();
        let timed = subject.timed().filter(|end| end.at <= now);
        let ends = [
            timed,
            subject.by_event(now),
            subject.by_use(self.uses.get(&subject.id), &networks, now),
        ];
        ends.into_iter().flatten().min_by_key(|end| end.at)
    }
}

/// Gives back what a rule ended.
///
/// # Errors
/// [`LifetimeError`] where nothing is suspended, or no more.
pub async fn restore(instance: &Instance, ctx: &OpContext, id: &str) -> Result<(), Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let everything = changing.tx.everything().await?;
    let state = everything.lifetimes.states.iter().find(|row| row.subject == id);
    let state = state.ok_or(LifetimeError::NotSuspended)?;
    if state.ended_at.is_some() || state.final_at.is_some_and(|at| at <= ctx.now) {
        return Err(LifetimeError::EndedForGood.into());
    }
    if state.suspended_at.is_none() || state.restored_at.is_some() {
        return Err(LifetimeError::NotSuspended.into());
    }
    let row = LifetimeStateRow { restored_at: Some(ctx.now), ..state.clone() };
    changing.tx.put_lifetime_state(&row).await?;
    if state.condition.as_deref() == Some(Condition::OwnerRoleChanged.as_str()) {
        // Whoever gives it back means the roles that the owner has now.
        let key = everything.keys.iter().find(|key| key.id.to_string() == id);
        let owner = everything
            .lifetimes
            .owners
            .iter()
            .find(|row| Some(row.client) == key.map(|key| key.client));
        let user =
            everything.people.users.iter().find(|user| Some(user.id) == owner.map(|row| row.owner));
        if let (Some(owner), Some(user)) = (owner, user) {
            let row = OwnerRow { roles: user.roles.clone(), ..owner.clone() };
            changing.tx.put_owner(&row).await?;
        }
    }
    let details = [("rule", &state.rule), ("condition", &state.condition)];
    changing.record(Change {
        verb: "lifetime.restore",
        what: what_of(id),
        details: details
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)))
            .collect(),
        ..Change::default()
    });
    changing.commit().await.map(drop)
}

/// A connection's secret was replaced, or consented to anew: its life begins anew, and nothing of it is
/// suspended any more.
pub(crate) async fn renewed(
    instance: &Instance,
    changing: &mut Changing<'_>,
    id: Id<Connection>,
    now: Timestamp,
) -> Result<(), Error> {
    let subject = id.to_string();
    let uses = instance.store.use_counts().await?.into_iter();
    let uses_before = uses.filter(|one| one.subject == subject).map(|one| one.uses).sum();
    let row = LifetimeStateRow {
        subject,
        renewed_at: Some(now),
        uses_before,
        ..LifetimeStateRow::default()
    };
    Ok(changing.tx.put_lifetime_state(&row).await?)
}

fn what_of(id: &str) -> String {
    let kind = if id.starts_with("key_") { "key" } else { "connection" };
    format!("{kind} {id}")
}

/// Says who answers for a client; `None`: nobody.
///
/// # Errors
/// [`Error::NameUnknown`] for no such client.
pub async fn set_owner(
    instance: &Instance,
    ctx: &OpContext,
    client: &Slug,
    owner: Option<Id<User>>,
) -> Result<(), Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let row = changing.tx.client_by_name(client).await?;
    let row = row.ok_or_else(|| Error::NameUnknown { kind: "client" })?;
    let mut details = Vec::new();
    match owner {
        Some(owner) => {
            let people = changing.tx.everything().await?.people;
            let user = people.users.iter().find(|user| user.id == owner);
            let unknown = || Error::NotFound { kind: "user", name: owner.to_string() };
            let roles = user.ok_or_else(unknown)?.roles.clone();
            let row = OwnerRow { client: row.id, owner, roles, set_at: ctx.now };
            changing.tx.put_owner(&row).await?;
            details.push(("owner", owner.to_string()));
        }
        None => changing.tx.delete_owner(row.id).await?,
    }
    changing.record(Change {
        verb: "client.owner",
        what: format!("client {}", row.id),
        details,
        ..Change::default()
    });
    changing.commit().await.map(drop)
}

/// What somebody who should not have it has.
#[derive(Debug)]
pub enum Leaked {
    Key(Id<Key>),
    Connection(Id<Connection>),
    /// An API key as it is, which is nowhere repeated.
    ApiKey(ApiKey),
}

/// Ends what leaked, for good, whatever rules say; yields its id.
///
/// # Errors
/// [`LifetimeError::UnknownSecret`] for a key of nobody here.
pub async fn leaked(instance: &Instance, ctx: &OpContext, what: Leaked) -> Result<String, Error> {
    let id = match what {
        Leaked::Key(id) => {
            clients::revoke_key(instance, ctx, id).await?;
            id.to_string()
        }
        Leaked::Connection(id) => {
            connections::revoke(instance, ctx, id).await?;
            id.to_string()
        }
        Leaked::ApiKey(key) => {
            let digest = instance.secrets.pepper.digest(&key);
            let keys = seals::load(instance).await?.keys;
            let found = keys.iter().find(|row| vault::digests_match(&row.digest, &digest));
            let id = found.ok_or(LifetimeError::UnknownSecret)?.id;
            clients::revoke_key(instance, ctx, id).await?;
            id.to_string()
        }
    };
    let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
    changing.record(Change { verb: "lifetime.leak", what: what_of(&id), ..Change::default() });
    changing.commit().await?;
    Ok(id)
}
