//! From the store's rows to the gateway's [`Snapshot`].
//!
//! Compiling is incremental: what did not change is taken over from the last time, so that a
//! revocation is in force as fast as its rows are read. A provider whose description is new is read
//! apart, which may take a second; until then its own connections are closed and all others serve.

use crate::{
    connect::Agreed,
    connections::{CREDENTIAL_COLUMN, CREDENTIAL_TABLE},
    customers,
    error::Error,
    grants::ResolvedGrant,
    instance::Instance,
    lifetimes::Limits,
    meters::Meters,
    placement,
    policies::{InForce, Scope, digest_of as policies_digest},
    providers,
    rights::{self, CompiledRights},
    secret_stores,
    servers::{self, ServerError},
    tokens::{
        APP_COLUMN, APP_TABLE, CredentialRows, Material, Renewable, Renewables, TOKEN_COLUMN,
        needed_scopes, spread_of,
    },
};
use aws_lc_rs::digest;
use gateway::{
    ConnectionEntry, CredentialEntry, KeyEntry, LimitSettings, Meter, ProviderEntry, Snapshot,
    SnapshotSecrets,
};
use http::{HeaderName, HeaderValue};
use outbound::GuardPolicy;
use provider::{LoadLimits, PathRouter};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use store::{ConnectionRow, CustomerRow, Everything, ProviderRow, SealedRow};
use types::{Client, Connection, Environment, Id, Provider, Timestamp};
use vault::{MemoryKey, Placement, auth::Moment};

/// Keeps what the last Snapshot was made of.
pub(crate) struct Compiler {
    secrets: Arc<SnapshotSecrets>,
    meters: Meters,
    providers: HashMap<Id<Provider>, KnownProvider>,
    connections: HashMap<Id<Connection>, KnownConnection>,
    rights: HashMap<(Id<Client>, Id<Connection>), KnownRights>,
    policies: Option<Arc<InForce>>,
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler").field("providers", &self.providers.len()).finish_non_exhaustive()
    }
}

struct KnownProvider {
    digest: [u8; 32],
    entry: Arc<ProviderEntry>,
}

struct KnownConnection {
    row: ConnectionRow,
    customer: Option<CustomerRow>,
    rows: Option<CredentialRows>,
    provider: Arc<ProviderEntry>,
    provider_digest: [u8; 32],
    /// `None`: nothing can be called before the first tokens say where.
    entry: Option<Arc<ConnectionEntry>>,
    guard: Arc<GuardPolicy>,
    acquires: Option<Acquires>,
}

/// What of a connection's credential is obtained.
#[derive(Clone)]
struct Acquires {
    scheme: String,
    /// When it is due.
    renew_at: Option<Timestamp>,
    is_over: bool,
}

/// A connection as it was compiled.
struct Built {
    entry: Option<ConnectionEntry>,
    guard: Arc<GuardPolicy>,
    acquires: Option<Acquires>,
}

struct KnownRights {
    provider: Arc<ProviderEntry>,
    grants: Vec<ResolvedGrant>,
    policies: [u8; 32],
    compiled: CompiledRights,
}

/// A compiled Snapshot, and what it could not hold yet.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub snapshot: Snapshot,
    /// Providers whose description has to be read first: see [`read_provider`].
    pub missing: Vec<ProviderRow>,
    /// When it has to be compiled again though nothing changed: a grant expires.
    pub valid_until: Timestamp,
    /// Connections whose tokens are renewed.
    pub renewables: Renewables,
}

/// A description, read.
#[derive(Debug)]
pub(crate) struct ReadProvider {
    id: Id<Provider>,
    digest: [u8; 32],
    slug: String,
    model: provider::Provider,
    router: PathRouter,
}

/// Reads a provider's description: pure work of up to a second.
pub(crate) fn read_provider(row: &ProviderRow) -> Result<ReadProvider, Error> {
    let model = provider::load(&row.description, row.overlay.as_deref(), &LoadLimits::default())?;
    providers::check_names(&model)?;
    let router = PathRouter::new(&model);
    let slug = row.slug.to_string();
    Ok(ReadProvider { id: row.id, digest: digest_of(row), slug, model, router })
}

/// Of a provider as it was imported: another import of the same has another.
pub(crate) fn digest_of(row: &ProviderRow) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    let server = row.server.as_deref().unwrap_or_default();
    let private = row.allow_private.join(",");
    let parts: [&[u8]; 4] = [
        &row.description,
        row.overlay.as_deref().unwrap_or_default(),
        server.as_bytes(),
        private.as_bytes(),
    ];
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    bytes
}

impl Compiler {
    pub(crate) fn new(instance: &Instance, limits: LimitSettings) -> Result<Self, Error> {
        let secrets = SnapshotSecrets {
            memory_key: MemoryKey::generate(instance.random.as_ref())?,
            pepper: vault::KeyPepper::from_bytes(&instance.secrets.pepper.to_bytes())?,
            tag_key: instance.tag_key()?,
        };
        Ok(Self {
            secrets: Arc::new(secrets),
            meters: Meters::new(limits),
            providers: HashMap::new(),
            connections: HashMap::new(),
            rights: HashMap::new(),
            policies: None,
        })
    }

    /// Takes in a description that was read.
    pub(crate) fn learn(&mut self, read: ReadProvider) {
        let ReadProvider { id, digest, slug, model, router } = read;
        let meter = self.meters.provider(id, &model.limits);
        let entry = Arc::new(ProviderEntry { id, digest, slug, model, router, meter });
        self.providers.insert(id, KnownProvider { digest, entry });
    }

    /// Compiles what the store holds. One bad row closes what hangs on it, is logged, and leaves the
    /// rest in force.
    pub(crate) fn compile(
        &mut self,
        instance: &Instance,
        rows: &Everything,
        now: Timestamp,
    ) -> Compiled {
        let mut missing = Vec::new();
        let mut digests = HashMap::new();
        for row in &rows.providers {
            let digest = digest_of(row);
            digests.insert(row.id, digest);
            let is_known = self.providers.get(&row.id).is_some_and(|one| one.digest == digest);
            if !is_known {
                self.providers.remove(&row.id);
                missing.push(row.clone());
            }
        }
        self.providers.retain(|id, _| digests.contains_key(id));
        let connections = self.connections(instance, rows);
        let (rights, valid_until) = self.rights(rows, &connections, &digests, now);
        let limits = Limits::of_all(rows, now);
        let keys = rows
            .keys
            .iter()
            .map(|row| {
                let entry = KeyEntry {
                    id: row.id,
                    client: row.client,
                    environment: row.environment,
                    expires_at: limits.of(row.id).map_or(row.expires_at, |one| {
                        one.ends_at.map_or(row.expires_at, |at| at.min(row.expires_at))
                    }),
                    is_revoked: row.revoked_at.is_some(),
                    is_suspended: limits.of(row.id).is_some_and(|one| one.is_suspended),
                    meter: self.meters.key(row.id),
                };
                (row.digest, entry)
            })
            .collect();
        self.meters.retain(
            &rows.keys.iter().map(|row| row.id).collect(),
            &rows.connections.iter().map(|row| row.id).collect(),
            &rows.providers.iter().map(|row| row.id).collect(),
        );
        let is_missing = |id| missing.iter().any(|row: &ProviderRow| row.id == id);
        let renewables = self.renewables(&connections, &rights);
        let is_unplaced = |id| renewables.get(&id).is_some_and(|one| one.is_unplaced);
        let pending = rows
            .connections
            .iter()
            .filter(|row| row.revoked_at.is_none())
            .filter(|row| is_missing(row.provider) || is_unplaced(row.id))
            .map(|row| (row.id, row.environment))
            .collect();
        let snapshot = Snapshot {
            generation: rows.generation,
            keys,
            connections,
            pending,
            rights,
            usable_until: secret_stores::close(rows, limits.of_connections(rows)),
            secrets: Arc::clone(&self.secrets),
        };
        Compiled { snapshot, missing, valid_until, renewables }
    }

    /// What is renewed, by the connections just compiled.
    fn renewables(
        &self,
        connections: &HashMap<Id<Connection>, Arc<ConnectionEntry>>,
        rights: &AllRights,
    ) -> Renewables {
        let mut renewables = Renewables::new();
        let mut allowed: HashMap<Id<Connection>, BTreeSet<usize>> = HashMap::new();
        for ((_, connection), rights) in rights {
            allowed.entry(*connection).or_default().extend(rights.operations.keys());
        }
        for (id, known) in &self.connections {
            let Some(acquires) = known.acquires.as_ref().filter(|one| !one.is_over) else {
                continue;
            };
            let (Some(customer), Some(rows)) = (&known.customer, &known.rows) else { continue };
            let model = &known.provider.model;
            let operations = allowed.get(id).into_iter().flatten();
            let operations = operations.filter_map(|index| model.operations.get(*index));
            let renewable = Renewable {
                row: known.row.clone(),
                customer: customer.clone(),
                rows: rows.clone(),
                provider: Arc::clone(&known.provider),
                guard: Arc::clone(&known.guard),
                scopes: needed_scopes(model, &acquires.scheme, operations),
                renew_at: acquires.renew_at,
                is_unplaced: !connections.contains_key(id),
            };
            renewables.insert(*id, Arc::new(renewable));
        }
        renewables
    }

    fn connections(
        &mut self,
        instance: &Instance,
        rows: &Everything,
    ) -> HashMap<Id<Connection>, Arc<ConnectionEntry>> {
        let index = Index::of(rows);
        let mut known = HashMap::new();
        let mut entries = HashMap::new();
        for row in rows.connections.iter().filter(|row| row.revoked_at.is_none()) {
            let Some(provider) = self.providers.get(&row.provider) else { continue };
            let meter = self.meters.connection(row.id);
            let customer = index.customers.get(&row.customer).copied();
            let credential = index.rows_of(row);
            let kept = self.connections.remove(&row.id).filter(|kept| {
                kept.row == *row
                    && kept.customer.as_ref() == customer
                    && kept.rows == credential
                    && kept.provider_digest == provider.digest
                    && Arc::ptr_eq(&kept.provider, &provider.entry)
            });
            let built = match kept {
                Some(kept) => {
                    if let Some(entry) = &kept.entry {
                        entries.insert(row.id, Arc::clone(entry));
                    }
                    known.insert(row.id, kept);
                    continue;
                }
                None => match self.connection(instance, &index, row, &provider.entry, meter) {
                    Ok(built) => built,
                    Err(error) => {
                        tracing::error!(
                            connection.id = %row.id,
                            error = %error,
                            "a connection cannot be used and stays closed"
                        );
                        continue;
                    }
                },
            };
            let Built { entry, guard, acquires } = built;
            let entry = entry.map(Arc::new);
            if let Some(entry) = &entry {
                entries.insert(row.id, Arc::clone(entry));
            }
            known.insert(
                row.id,
                KnownConnection {
                    row: row.clone(),
                    customer: customer.cloned(),
                    rows: credential,
                    provider: Arc::clone(&provider.entry),
                    provider_digest: provider.digest,
                    entry,
                    guard,
                    acquires,
                },
            );
        }
        self.connections = known;
        entries
    }

    fn connection(
        &self,
        instance: &Instance,
        index: &Index<'_>,
        row: &ConnectionRow,
        provider: &Arc<ProviderEntry>,
        meter: Arc<Meter>,
    ) -> Result<Built, Error> {
        let missing = |what| Error::Internal { what };
        let source = index
            .providers
            .get(&row.provider)
            .ok_or(missing("the connection's provider is missing"))?;
        let customer = index
            .customers
            .get(&row.customer)
            .ok_or(missing("the connection's customer is missing"))?;
        let customer = customers::open(instance, customer)?;
        let rows = index.rows_of(row).ok_or(missing("the connection's credential is missing"))?;
        let material = Material::open(instance, &provider.model, row, &customer, &rows)?;
        let spread = spread_of(row.id, material.version);
        let moment = Moment { now: instance.clock.now(), random: instance.random.as_ref() };
        let memory = (&self.secrets.memory_key, moment);
        let credential = material.entry(&row.variables, memory, spread)?;
        let acquires = material.acquiring().map(|(scheme, _)| Acquires {
            scheme: scheme.to_owned(),
            renew_at: material.token.as_ref().and_then(|token| token.renew_at(spread)),
            is_over: matches!(credential, CredentialEntry::Ended),
        });
        let places: Vec<(String, Placement)> =
            placement::places(&material.ways).chain(placement::declared(&provider.model)).collect();
        let policy = providers::guard_policy(&source.allow_private)?.owned_by(row.id.to_bytes());
        let policy = match material.identity(&row.variables)? {
            Some(identity) => policy.showing(identity),
            None => policy,
        };
        let guard = Arc::new(policy.clone());
        let plan = servers::plan_with(
            &provider.model,
            source.server.as_deref(),
            &row.variables,
            &material.taken(),
        );
        let plan = match plan {
            Ok(plan) => plan,
            Err(ServerError::VariableMissing { name })
                if matches!(credential, CredentialEntry::Missing)
                    && material
                        .acquiring()
                        .is_some_and(|(_, plan)| plan.taken().contains(name.as_str())) =>
            {
                return Ok(Built { entry: None, guard, acquires });
            }
            Err(error) => return Err(error.into()),
        };
        let servers = plan
            .urls
            .iter()
            .map(|url| providers::target_of(&provider.model, url, &policy))
            .collect::<Result<Vec<_>, _>>()?;
        let fixed_headers = row
            .headers
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                Some((name, HeaderValue::from_str(value).ok()?))
            })
            .collect::<Option<Vec<_>>>()
            .ok_or(missing("a fixed header is malformed"))?;
        let entry = ConnectionEntry {
            id: row.id,
            environment: row.environment,
            customer: customer.id,
            customer_commitment: customer.commitment,
            provider: Arc::clone(provider),
            servers,
            server_of: plan.of_operation,
            guard: Arc::clone(&guard),
            meter,
            credential,
            credential_params: query_params(&places),
            credential_headers: header_names(&places),
            fixed_headers,
        };
        Ok(Built { entry: Some(entry), guard, acquires })
    }

    fn rights(
        &mut self,
        rows: &Everything,
        connections: &HashMap<Id<Connection>, Arc<ConnectionEntry>>,
        digests: &HashMap<Id<Provider>, [u8; 32]>,
        now: Timestamp,
    ) -> (AllRights, Timestamp) {
        let mut valid_until = Timestamp::MAX;
        let mut known = HashMap::new();
        let mut all = HashMap::new();
        // Connections of one provider mostly share the same grants: compiled once for all.
        let mut shared: HashMap<Sharing, CompiledRights> = HashMap::new();
        let grants = parsed_grants(rows);
        let agreed = Agreed::of(&rows.connects.consents);
        let Some(in_force) = self.policies(rows) else { return (all, valid_until) };
        for client in &rows.clients {
            let own: Vec<(usize, &ResolvedGrant)> = grants
                .iter()
                .enumerate()
                .filter(|(_, grant)| grant.client.0 == client.id)
                .collect();
            if own.is_empty() {
                continue;
            }
            for (id, connection) in connections {
                let provider = &connection.provider;
                let reaching: Vec<(usize, &ResolvedGrant)> = own
                    .iter()
                    .filter(|(_, grant)| grant.reaches(provider.id, *id))
                    .copied()
                    .collect();
                if reaching.is_empty() {
                    continue;
                }
                let place = (client.id, *id);
                let mut is_clipped = false;
                let texts: Vec<ResolvedGrant> = reaching
                    .iter()
                    .map(|(_, grant)| {
                        let clipped = agreed.clipped(*id, grant);
                        is_clipped |= clipped.is_some();
                        clipped.unwrap_or_else(|| (*grant).clone())
                    })
                    .collect();
                let compile = || {
                    let digest = digests.get(&provider.id).copied().unwrap_or_default();
                    let grants: Vec<&ResolvedGrant> = texts.iter().collect();
                    let scope = Scope {
                        in_force: &in_force,
                        client: client.name.as_str(),
                        provider: &provider.slug,
                        environment: connection.environment.as_str(),
                    };
                    rights::compile(&provider.model, &digest, &grants, &scope, now)
                };
                let kept = self.rights.remove(&place).filter(|kept| {
                    kept.grants == texts
                        && kept.policies == in_force.digest
                        && Arc::ptr_eq(&kept.provider, provider)
                        && now < kept.compiled.valid_until
                });
                let compiled = match kept {
                    Some(kept) => kept.compiled,
                    // What one customer agreed to is nobody else's.
                    None if is_clipped => compile(),
                    None => shared
                        .entry((
                            client.id,
                            provider.id,
                            reaching.iter().map(|(index, _)| *index).collect(),
                            connection.environment,
                        ))
                        .or_insert_with(compile)
                        .clone(),
                };
                valid_until = valid_until.min(compiled.valid_until);
                all.insert(place, Arc::clone(&compiled.rights));
                known.insert(
                    place,
                    KnownRights {
                        provider: Arc::clone(provider),
                        grants: texts,
                        policies: in_force.digest,
                        compiled,
                    },
                );
            }
        }
        self.rights = known;
        (all, valid_until)
    }

    /// The policies in force; `None` where one cannot be read: then nothing is permitted.
    fn policies(&mut self, rows: &Everything) -> Option<Arc<InForce>> {
        let rows = &rows.people.policies;
        let digest = policies_digest(rows);
        if let Some(known) = self.policies.as_ref().filter(|known| known.digest == digest) {
            return Some(Arc::clone(known));
        }
        match InForce::of(rows) {
            Ok(read) => {
                let read = Arc::new(read);
                self.policies = Some(Arc::clone(&read));
                Some(read)
            }
            Err(error) => {
                tracing::error!(%error, "no call is allowed");
                self.policies = None;
                None
            }
        }
    }
}

type AllRights = HashMap<(Id<Client>, Id<Connection>), Arc<gateway::Rights>>;
/// A client, a provider, which of the client's grants reach a connection, and its environment.
type Sharing = (Id<Client>, Id<Provider>, Vec<usize>, Environment);

/// Grants as stored; one that cannot be read grants nothing.
fn parsed_grants(rows: &Everything) -> Vec<ResolvedGrant> {
    rows.grants
        .iter()
        .filter_map(|row| match serde_json::from_str(&row.body) {
            Ok(grant) => Some(grant),
            Err(error) => {
                tracing::error!(grant.id = %row.id, error = %error, "a grant cannot be read");
                None
            }
        })
        .collect()
}

fn query_params(placements: &[(String, Placement)]) -> BTreeSet<String> {
    placements
        .iter()
        .filter_map(|(_, place)| match place {
            Placement::Query { name } => Some(name.clone()),
            _ => None,
        })
        .collect()
}

fn header_names(placements: &[(String, Placement)]) -> BTreeSet<String> {
    placements
        .iter()
        .filter_map(|(_, place)| match place {
            Placement::Header { name } => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

/// Sealed values of one name, by their record.
fn sealed<'r>(rows: &'r Everything, table: &str, column: &str) -> HashMap<[u8; 16], &'r SealedRow> {
    let named = rows.sealed.iter().filter(|row| row.table == table && row.column == column);
    named.map(|row| (row.record, row)).collect()
}

/// Rows by what they are looked up with.
struct Index<'a> {
    providers: HashMap<Id<Provider>, &'a ProviderRow>,
    customers: HashMap<Id<types::Customer>, &'a CustomerRow>,
    credentials: HashMap<[u8; 16], &'a SealedRow>,
    tokens: HashMap<[u8; 16], &'a SealedRow>,
    apps: HashMap<[u8; 16], &'a SealedRow>,
}

impl<'a> Index<'a> {
    fn of(rows: &'a Everything) -> Self {
        Self {
            providers: rows.providers.iter().map(|row| (row.id, row)).collect(),
            customers: rows.customers.iter().map(|row| (row.id, row)).collect(),
            credentials: sealed(rows, CREDENTIAL_TABLE, CREDENTIAL_COLUMN),
            tokens: sealed(rows, CREDENTIAL_TABLE, TOKEN_COLUMN),
            apps: sealed(rows, APP_TABLE, APP_COLUMN),
        }
    }

    /// All that a connection's credential is made of.
    fn rows_of(&self, row: &ConnectionRow) -> Option<CredentialRows> {
        let own = row.id.to_bytes();
        let app = self.apps.get(&row.provider.to_bytes()).copied();
        let app =
            app.and_then(|app| Some((app.clone(), (*self.customers.get(&app.customer)?).clone())));
        Some(CredentialRows {
            credential: (*self.credentials.get(&own)?).clone(),
            token: self.tokens.get(&own).map(|row| (*row).clone()),
            app,
        })
    }
}
