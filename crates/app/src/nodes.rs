//! The nodes of an installation: which there are, and the end of one that is lost for good.
//!
//! A node that ended between its claim of events and their entries leaves these in the outbox, and
//! nobody else may move them: its log may have them. An operator who knows that the node never comes
//! back retires it. The events are given back, with their numbers under the vault's seal, so that other
//! logs take them though they are past these numbers; each such entry says whose it was, because the
//! lost log may have it too. A retired node does nothing any more, should it come back.

use crate::{
    change::{Care, Change, Changing, listed},
    customers,
    error::Error,
    folder::origin_of,
    instance::{Instance, SELF_CUSTOMER},
    seals,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use store::{Everything, SealedRow};
use types::{Id, Node, OpContext, SecretBytes, Timestamp};

/// How often a server says that it is at work.
pub(crate) const SEEN_EVERY: Duration = Duration::from_secs(2);
/// A node that did not say so for 8 s does not run.
const LOOKS: u32 = 32;
const PAUSE: Duration = Duration::from_millis(250);
/// What the first node is called; the others have ids.
const FIRST: &str = "first";
/// Under a node's own record: that it is retired, and which events it gave back.
const RETIRED: &str = "retired";

/// A node, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub log: String,
    /// Whether it is the one that is asked.
    pub is_own: bool,
    pub is_retired: bool,
    /// When its server was last at work, by its own clock.
    pub seen_at: Option<Timestamp>,
    /// Entries of its log that the store was told of.
    pub entries: u64,
    /// Events that it claimed and has not settled.
    pub claimed: u64,
}

/// What became of a node's claims.
#[derive(Debug)]
pub struct Retired {
    pub node: Listed,
    /// Numbers of the events that the other nodes take now.
    pub events: Vec<u64>,
}

/// What is sealed of a retired node.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    log: String,
    events: BTreeSet<u64>,
}

/// All nodes, the first one first.
pub async fn list(instance: &Instance) -> Result<Vec<Listed>, Error> {
    let everything = seals::load_whole(instance).await?;
    let seen = instance.store.nodes_seen().await?;
    let claims = instance.store.claims().await?;
    let retired: BTreeSet<String> =
        markers(instance, &everything)?.into_iter().map(|marker| marker.log).collect();
    let mut nodes = Vec::new();
    for (log, note) in instance.store.audit_checkpoints().await? {
        // What no key of ours signed is no log of ours.
        let Ok(key) = instance.key_of_log(&everything, &log) else { continue };
        let Ok(signed) = key.verifier().open(&note) else { continue };
        nodes.push(Listed {
            name: name_of(instance, &log),
            is_own: log == instance.origin,
            is_retired: retired.contains(&log),
            seen_at: seen.get(&log).copied(),
            entries: signed.size,
            claimed: claims.get(&log).copied().unwrap_or(0),
            log,
        });
    }
    Ok(nodes)
}

/// Ends a node that never comes back: the others take the events that it had claimed.
///
/// # Errors
/// [`Error::NodeAlive`] if its server is at work; [`Error::NodeOwn`] for the node that is asked.
pub async fn retire(instance: &Instance, ctx: &OpContext, name: &str) -> Result<Retired, Error> {
    let node = list(instance).await?.into_iter().find(|node| node.name == name);
    let node = node.ok_or(Error::NameUnknown { kind: "node" })?;
    if node.is_own {
        return Err(Error::NodeOwn { name: node.name });
    }
    // No clock is compared: who is at work says so again within this time.
    for _ in 0..LOOKS {
        tokio::time::sleep(PAUSE).await;
        if instance.store.nodes_seen().await?.get(&node.log).copied() != node.seen_at {
            return Err(Error::NodeAlive { name: node.name });
        }
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let events = changing.tx.unclaim_outbox_of(&node.log).await?;
    if node.is_retired && events.is_empty() {
        return Ok(Retired { node, events });
    }
    let own = customers::find_or_create(instance, &mut changing.tx, ctx, SELF_CUSTOMER).await?;
    let (table, record) = instance.record_of_log(&node.log);
    let before = changing.tx.sealed(table, &record, RETIRED).await?;
    let mut marker = Marker { log: node.log.clone(), events: events.iter().copied().collect() };
    if let Some(before) = &before {
        marker.events.extend(opened(&instance.open_sealed(&own.key, before)?)?.events);
    }
    let text = serde_json::to_vec(&marker)
        .map_err(|_| Error::Internal { what: "a retired node cannot be written" })?;
    let version = before.map_or(1, |before| before.version + 1);
    let secret = SecretBytes::new(text);
    let sealed = instance.seal_version(&own.key, (table, &record, RETIRED), version, &secret)?;
    changing.tx.put_sealed(&sealed).await?;
    let numbers: Vec<String> = events.iter().map(ToString::to_string).collect();
    changing.record(Change {
        verb: "node.retire",
        what: format!("node {}", node.name),
        details: vec![
            ("log", node.log.clone()),
            ("entries", node.entries.to_string()),
            ("events", listed(&numbers)),
        ],
        customer: None,
    });
    changing.commit().await?;
    Ok(Retired { node, events })
}

/// Events that retired nodes gave back, each with the log that had claimed it.
pub(crate) async fn given_back(instance: &Instance) -> Result<BTreeMap<u64, String>, Error> {
    if instance.store.sealed_named(RETIRED).await?.is_empty() {
        return Ok(BTreeMap::new());
    }
    let everything = instance.store.load_all().await?;
    let mut given = BTreeMap::new();
    for Marker { log, events } in markers(instance, &everything)? {
        given.extend(events.into_iter().map(|event| (event, log.clone())));
    }
    Ok(given)
}

/// # Errors
/// [`Error::NodeRetired`] if this node was retired.
pub(crate) async fn check_own(instance: &Instance) -> Result<(), Error> {
    let (table, record) = instance.record_of_log(&instance.origin);
    if instance.store.sealed(table, &record, RETIRED).await?.is_none() {
        return Ok(());
    }
    let everything = Box::pin(instance.store.load_all()).await?;
    let is_own = |marker: &Marker| marker.log == instance.origin;
    if markers(instance, &everything)?.iter().any(is_own) {
        return Err(Error::NodeRetired { name: name_of(instance, &instance.origin) });
    }
    Ok(())
}

fn markers(instance: &Instance, everything: &Everything) -> Result<Vec<Marker>, Error> {
    let mut markers = Vec::new();
    for row in everything.sealed.iter().filter(|row| row.column == RETIRED) {
        let Some(customer) = everything.customers.iter().find(|one| one.id == row.customer) else {
            continue;
        };
        let key = customers::open(instance, customer)?.key;
        // One that does not open was put there by somebody else, and says nothing.
        let Ok(text) = instance.open_sealed(&key, row) else { continue };
        let marker = opened(&text)?;
        if is_at(instance, row, &marker.log) {
            markers.push(marker);
        }
    }
    Ok(markers)
}

fn is_at(instance: &Instance, row: &SealedRow, log: &str) -> bool {
    let (table, record) = instance.record_of_log(log);
    row.table == table && row.record == record
}

fn opened(text: &SecretBytes) -> Result<Marker, Error> {
    serde_json::from_slice(text.expose())
        .map_err(|_| Error::Internal { what: "what is sealed of a retired node is malformed" })
}

fn name_of(instance: &Instance, log: &str) -> String {
    let first = origin_of(instance.id, None);
    match log.strip_prefix(&first).and_then(|rest| rest.strip_prefix('/')) {
        Some(node) => node.parse::<Id<Node>>().map_or_else(|_| log.to_owned(), |id| id.to_string()),
        None => FIRST.to_owned(),
    }
}
