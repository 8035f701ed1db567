//! What nobody used for a while: keys, grants, of grants objects and actions, and roles of people who
//! did not come. By this node's log.

use crate::{
    audit_log::reading,
    calls::Used,
    clients::{self, KeyState},
    error::Error,
    grants::{self, Listed},
    instance::Instance,
    people::{self, sessions},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use types::{Action, Client, Id, Key, Provider, Timestamp, User, UserState};

/// A key in force that nobody showed.
#[derive(Debug)]
pub struct IdleKey {
    pub id: Id<Key>,
    pub client: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// A grant in force of which nothing, or not all, was used.
#[derive(Debug)]
pub struct IdleGrant {
    pub grant: Listed,
    /// Nothing of it was.
    pub is_whole: bool,
    /// It was made since then, and had no time to be used.
    pub is_young: bool,
    /// Like `read Employee`, `read Employee.salary` or `download export`: what was not.
    pub unused: Vec<String>,
}

/// Somebody with roles who did not sign in, has no session that was seen, and changed nothing.
#[derive(Debug)]
pub struct IdlePerson {
    pub id: Id<User>,
    pub roles: Vec<String>,
    pub created_at: Timestamp,
}

/// See the module.
#[derive(Debug)]
pub struct Advice {
    /// What was used before counts as unused.
    pub since: Timestamp,
    /// From when on calls are counted: the beginning of the hour, or of the log.
    pub looked_back_to: Option<Timestamp>,
    /// Calls that ended since then.
    pub calls: u64,
    /// This node's log goes back so far: else what was used at others, or before, is not known.
    pub is_long_enough: bool,
    /// Since when it is noted which fields are there; where that is later than `since`, no field is named.
    pub fields_since: Option<Timestamp>,
    pub keys: Vec<IdleKey>,
    pub grants: Vec<IdleGrant>,
    pub people: Vec<IdlePerson>,
}

struct Seen {
    since: Timestamp,
    looked_back_to: Option<Timestamp>,
    calls: u64,
    keys: BTreeSet<Id<Key>>,
    used: BTreeSet<Used>,
    people: BTreeSet<Id<User>>,
    first_at: Option<Timestamp>,
}

/// Looks back so far.
///
/// # Errors
/// Where the log cannot be read.
pub async fn advise(instance: &Arc<Instance>, back: Duration) -> Result<Advice, Error> {
    let now = instance.clock.now();
    let back = i64::try_from(back.as_micros()).unwrap_or(i64::MAX);
    let wanted = Timestamp::from_micros(now.as_micros().saturating_sub(back));
    let seen = reading(instance, move |instance| {
        instance.calls.look(&instance.folder, |known| {
            let since = known.usage.known_from(wanted);
            let (hour, calls) = known.hours.calls_since(since);
            let looked_back_to = known.first_at.map(|first| first.max(hour).min(now));
            let (used, keys) = known.usage.since(since);
            let people = known.usage.people_since(since);
            Seen { since, looked_back_to, calls, keys, used, people, first_at: known.first_at }
        })
    });
    let Seen { since, looked_back_to, calls, keys: shown, used, people, first_at } = seen.await?;
    let keys = clients::list(instance).await?.into_iter().flat_map(|client| {
        let name = client.name;
        client.keys.into_iter().map(move |key| (name.clone(), key))
    });
    let idle = keys.filter(|(_, key)| {
        // One that is younger had no time to be used.
        key.state == KeyState::InForce && key.created_at < since && !shown.contains(&key.id)
    });
    let keys = idle.map(|(client, key)| IdleKey {
        id: key.id,
        client,
        created_at: key.created_at,
        expires_at: key.expires_at,
    });
    let (fields, fields_since) = instance.store.field_uses().await?;
    let met: Option<BTreeSet<Field>> = fields_since.filter(|begun| *begun <= since).map(|_| {
        let recent = fields.into_iter().filter(|row| row.last_at >= since);
        recent.map(|row| (row.client, row.provider, row.action, row.object, row.field)).collect()
    });
    let listed = grants::list(instance).await?.into_iter().filter(|grant| grant.is_in_force);
    Ok(Advice {
        since,
        looked_back_to,
        calls,
        is_long_enough: first_at.is_some_and(|first| first <= since),
        keys: keys.collect(),
        fields_since,
        grants: listed.filter_map(|grant| idle_in(grant, &used, met.as_ref(), since)).collect(),
        people: idle_people(instance, since, &people).await?,
    })
}

async fn idle_people(
    instance: &Instance,
    since: Timestamp,
    came: &BTreeSet<Id<User>>,
) -> Result<Vec<IdlePerson>, Error> {
    let sessions = sessions::list(instance, None).await?;
    // At whichever node.
    let seen: BTreeSet<Id<User>> =
        sessions.iter().filter(|one| one.seen_at >= since).map(|one| one.signed_in.user).collect();
    let people = people::now(instance).await?;
    let idle = people.users.iter().filter(|row| {
        let had_time = row.created_at < since && row.state != UserState::Disabled;
        had_time && !row.roles.is_empty() && !came.contains(&row.id) && !seen.contains(&row.id)
    });
    let idle = idle.map(|row| IdlePerson {
        id: row.id,
        roles: row.roles.clone(),
        created_at: row.created_at,
    });
    Ok(idle.collect())
}

/// A field that was there: whose, at which provider, by which action, of which object.
type Field = (Id<Client>, Id<Provider>, String, String, String);

/// What of a grant nobody used; `None` where all of it was. `met`: fields that were there, where that is
/// known for so long.
fn idle_in(
    listed: Listed,
    used: &BTreeSet<Used>,
    met: Option<&BTreeSet<Field>>,
    since: Timestamp,
) -> Option<IdleGrant> {
    let grant = &listed.grant;
    let own: Vec<&Used> = used
        .iter()
        .filter(|one| one.client == grant.client.0)
        .filter(|one| grant.reaches(one.provider, one.connection))
        .collect();
    let mut unused = Vec::new();
    let mut all = 0;
    for allow in &grant.allow {
        for action in &allow.actions {
            let is_unfiltered =
                [Action::Download, Action::Upload].iter().any(|one| one.as_str() == action);
            let of_action = own.iter().filter(|one| one.action == action);
            if is_unfiltered {
                for operation in &allow.operations {
                    all += 1;
                    if !of_action.clone().any(|one| one.operation == *operation) {
                        unused.push(format!("{action} {operation}"));
                    }
                }
            } else if let Some(object) = &allow.object {
                all += 1;
                // A download may have been of the same object.
                let is_used = own.iter().any(|one| {
                    one.object.as_ref() == Some(object)
                        && (one.action == action || action == Action::Read.as_str())
                });
                if !is_used {
                    unused.push(format!("{action} {object}"));
                } else if let Some(met) = met {
                    let providers: BTreeSet<Id<Provider>> =
                        own.iter().map(|one| one.provider).collect();
                    let was_met = |field: &String| {
                        providers.iter().any(|provider| {
                            let is_it = |one: &Field| is_field(one, object, field);
                            let of_it = |one: &&Field| {
                                (one.0, one.1) == (grant.client.0, *provider) && one.2 == *action
                            };
                            met.iter().filter(of_it).any(is_it)
                        })
                    };
                    let idle = allow.fields.iter().filter(|field| !was_met(field));
                    unused.extend(idle.map(|field| format!("{action} {object}.{field}")));
                }
            }
        }
    }
    unused.sort();
    unused.dedup();
    let is_whole = own.is_empty();
    let is_young = listed.created_at >= since;
    (is_whole || !unused.is_empty() && all > 0).then_some(IdleGrant {
        is_young,
        grant: listed,
        is_whole,
        unused,
    })
}

/// Whether what was there is this field of this object: by itself, or inside another one.
fn is_field((_, _, _, of, name): &Field, object: &str, field: &str) -> bool {
    // `jobs[]` and `jobs` name the same member.
    let bare = |text: &str| text.trim_end_matches("[]").trim_end_matches(".*").to_owned();
    let own = of == object && bare(name) == bare(field);
    let inside = name.strip_prefix(object).and_then(|rest| rest.strip_prefix('.'));
    own || inside.is_some_and(|rest| bare(rest) == bare(field))
}
