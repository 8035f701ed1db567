//! The limits' states of keys, connections and providers: they outlast every Snapshot.

use gateway::{LimitSettings, Meter};
use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};
use types::{Connection, Id, Key, Provider, Rate};

#[derive(Debug)]
pub(crate) struct Meters {
    settings: LimitSettings,
    keys: HashMap<Id<Key>, Arc<Meter>>,
    connections: HashMap<Id<Connection>, Arc<Meter>>,
    providers: HashMap<Id<Provider>, Arc<Meter>>,
}

impl Meters {
    pub(crate) fn new(settings: LimitSettings) -> Self {
        let (keys, connections, providers) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { settings, keys, connections, providers }
    }

    pub(crate) fn key(&mut self, id: Id<Key>) -> Arc<Meter> {
        kept(&mut self.keys, id, &self.settings.per_key, usize::MAX)
    }

    pub(crate) fn connection(&mut self, id: Id<Connection>) -> Arc<Meter> {
        let Self { connections, settings, .. } = self;
        kept(connections, id, &settings.per_connection, settings.connection_calls)
    }

    /// `own` are the limits that its overlay declares.
    pub(crate) fn provider(&mut self, id: Id<Provider>, own: &[Rate]) -> Arc<Meter> {
        let Self { providers, settings, .. } = self;
        let rates = [&settings.per_provider, own].concat();
        kept(providers, id, &rates, settings.provider_calls)
    }

    /// Forgets what is gone.
    pub(crate) fn retain(
        &mut self,
        keys: &HashSet<Id<Key>>,
        connections: &HashSet<Id<Connection>>,
        providers: &HashSet<Id<Provider>>,
    ) {
        self.keys.retain(|id, _| keys.contains(id));
        self.connections.retain(|id, _| connections.contains(id));
        self.providers.retain(|id, _| providers.contains(id));
    }
}

fn kept<I: Eq + Hash>(
    meters: &mut HashMap<I, Arc<Meter>>,
    id: I,
    rates: &[Rate],
    max_under_way: usize,
) -> Arc<Meter> {
    let fresh = || Arc::new(Meter::new(rates.to_vec(), max_under_way));
    let meter = meters.entry(id).or_insert_with(fresh);
    if !meter.has(rates, max_under_way) {
        *meter = fresh();
    }
    Arc::clone(meter)
}
