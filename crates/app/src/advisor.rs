//! What nobody used for a while: keys, grants, and of grants objects and actions. By this node's log.

use crate::{
    audit_log::{self, Record},
    clients::{self, KeyState},
    error::Error,
    grants::{self, Listed},
    instance::Instance,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use types::{Action, Client, Connection, Id, Key, Provider, Timestamp};

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
    /// Like `read Employee`, or `download export`: what was not.
    pub unused: Vec<String>,
}

/// See the module.
#[derive(Debug)]
pub struct Advice {
    /// What lies before was not looked at.
    pub since: Timestamp,
    /// The oldest entry that was looked at: a log that begins later cannot say more.
    pub looked_back_to: Option<Timestamp>,
    pub calls: u64,
    pub keys: Vec<IdleKey>,
    pub grants: Vec<IdleGrant>,
}

/// What a call used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Used {
    client: Id<Client>,
    provider: Id<Provider>,
    connection: Id<Connection>,
    action: &'static str,
    object: Option<String>,
    operation: String,
}

#[derive(Debug, Default)]
struct Looked {
    oldest: Option<Timestamp>,
    calls: u64,
    keys: BTreeSet<Id<Key>>,
    used: BTreeSet<Used>,
}

/// Looks back so far.
///
/// # Errors
/// Where the log cannot be read.
pub async fn advise(instance: &Arc<Instance>, back: Duration) -> Result<Advice, Error> {
    let now = instance.clock.now();
    let back = i64::try_from(back.as_micros()).unwrap_or(i64::MAX);
    let since = Timestamp::from_micros(now.as_micros().saturating_sub(back));
    let reader = Arc::clone(instance);
    // It reads files, which is not for an async thread.
    let looked = tokio::task::spawn_blocking(move || look(&reader, since)).await;
    let looked = looked.map_err(|_| Error::Internal { what: "the log could not be read" })??;
    let keys = clients::list(instance).await?.into_iter().flat_map(|client| {
        let name = client.name;
        client.keys.into_iter().map(move |key| (name.clone(), key))
    });
    let idle = keys.filter(|(_, key)| {
        // One that is younger had no time to be used.
        key.state == KeyState::InForce && key.created_at < since && !looked.keys.contains(&key.id)
    });
    let keys = idle.map(|(client, key)| IdleKey {
        id: key.id,
        client,
        created_at: key.created_at,
        expires_at: key.expires_at,
    });
    let listed = grants::list(instance).await?.into_iter().filter(|grant| grant.is_in_force);
    Ok(Advice {
        since,
        looked_back_to: looked.oldest,
        calls: looked.calls,
        keys: keys.collect(),
        grants: listed.filter_map(|grant| idle_in(grant, &looked.used)).collect(),
    })
}

fn look(instance: &Instance, since: Timestamp) -> Result<Looked, Error> {
    let mut looked = Looked::default();
    audit_log::walk_back(&instance.folder, None, |_, record| {
        if record.at() < since {
            return false;
        }
        looked.oldest = Some(record.at());
        if let Record::Intent(intent) = record {
            looked.calls += 1;
            looked.keys.insert(intent.key);
            looked.used.insert(Used {
                client: intent.client,
                provider: intent.provider,
                connection: intent.connection,
                action: intent.action.as_str(),
                object: intent.object,
                operation: intent.operation,
            });
        }
        true
    })?;
    Ok(looked)
}

/// What of a grant nobody used; `None` where all of it was.
fn idle_in(listed: Listed, used: &BTreeSet<Used>) -> Option<IdleGrant> {
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
                }
            }
        }
    }
    unused.sort();
    unused.dedup();
    let is_whole = own.is_empty();
    (is_whole || !unused.is_empty() && all > 0).then_some(IdleGrant {
        grant: listed,
        is_whole,
        unused,
    })
}
