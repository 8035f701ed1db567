//! What each server does every few seconds: asks stores for what is half as old as it may be.

use super::{Session, keep, open, vault_kv};
use crate::{asking::Asker, error::Error, instance::Instance, seals};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use store::Everything;
use tokio::{sync::watch, time::MissedTickBehavior};
use types::{Actor, Connection, Id, OpContext, Slug, Timestamp};

const EVERY: Duration = Duration::from_secs(1);
/// How long after it failed a store, or a secret that is closed, is asked again.
const PAUSE: Duration = Duration::from_secs(30);
/// Secrets that are asked for between two looks: others want the store, too.
const AT_ONCE: usize = 100;

/// What a server remembers between two looks.
#[derive(Default)]
struct Memory {
    rows: Option<(u64, Arc<Everything>)>,
    /// For one place and login each.
    sessions: HashMap<Slug, ([u8; 32], Option<Session>)>,
    tried: HashMap<Id<Connection>, Timestamp>,
}

/// Looks until told to stop.
pub async fn keep_up(instance: Arc<Instance>, asker: Asker, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut memory = Memory::default();
    let mut has_failed = false;
    loop {
        // Both are cancel-safe.
        tokio::select! {
            _ = stopped.changed() => return,
            _ = ticks.tick() => {}
        }
        match memory.look(&instance, &asker).await {
            Ok(()) => has_failed = false,
            Err(error) => {
                if !has_failed {
                    tracing::warn!(%error, "secret stores were not asked");
                }
                has_failed = true;
            }
        }
    }
}

impl Memory {
    async fn look(&mut self, instance: &Arc<Instance>, asker: &Asker) -> Result<(), Error> {
        let generation = instance.store.generation().await?;
        let rows = match &self.rows {
            Some((known, rows)) if *known == generation => Arc::clone(rows),
            _ => {
                let rows = Arc::new(seals::load(instance).await?);
                self.rows = Some((rows.generation, Arc::clone(&rows)));
                rows
            }
        };
        let now = instance.clock.now();
        let mut news = Vec::new();
        // Stores that could not say anything at this look.
        let mut silent: HashSet<&Slug> = HashSet::new();
        let in_force = |id: Id<Connection>| {
            rows.connections.iter().any(|row| row.id == id && row.revoked_at.is_none())
        };
        for source in rows.secret_stores.sources.iter().filter(|one| in_force(one.connection)) {
            let Ok(store) = open(instance, &rows, &source.store) else { continue };
            let half = store.place.ttl() / 2;
            let last = self.tried.get(&source.connection).copied();
            let due = match (&source.closed, last) {
                // Whoever failed is asked again after a pause, which is no longer than half a life.
                (_, Some(last)) if last > source.fetched_at => last + PAUSE.min(half),
                (Some(_), _) => now,
                (None, _) => source.fetched_at + half,
            };
            if now < due || news.len() >= AT_ONCE {
                continue;
            }
            self.tried.insert(source.connection, now);
            if silent.contains(&source.store) {
                continue;
            }
            let known = self.sessions.entry(source.store.clone()).or_default();
            if known.0 != store.digest {
                *known = (store.digest, None);
            }
            let session = &mut known.1;
            let of = (source.path.as_str(), source.member.as_deref());
            let place = (&store.place, &store.login);
            let said = vault_kv::fetch(asker, place, session, of, now).await;
            if let Err(error) = &said {
                if !error.closes() {
                    silent.insert(&source.store);
                }
                let code = error.word();
                tracing::warn!(connection.id = %source.connection, code, "a secret store gave no secret");
            }
            news.push((source.connection, said));
        }
        if news.iter().all(|(_, said)| said.as_ref().is_err_and(|error| !error.closes())) {
            return Ok(());
        }
        let request = Id::generate(now, instance.random.as_ref())?;
        let ctx = OpContext { actor: Actor::System, request, now };
        keep(instance, &ctx, news).await.map(drop)
    }
}
