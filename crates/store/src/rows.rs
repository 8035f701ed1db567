//! Rows as the rest of the product sees them, and how they are read.

use crate::{
    StoreError, connect::Connects, dialect::Row, lifetimes::Lifetimes, people::People,
    secret_stores::SecretStores,
};
use std::{collections::BTreeMap, fmt, str::FromStr};
use types::{
    Client, Connection, Customer, Environment, Grant, Id, Instance, Key, Provider, Slug, Timestamp,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRow {
    pub id: Id<Provider>,
    pub slug: Slug,
    /// As it was imported.
    pub description: Vec<u8>,
    pub overlay: Option<Vec<u8>>,
    /// Replaces the description's servers.
    pub server: Option<String>,
    /// `HOST:PORT` each.
    pub allow_private: Vec<String>,
    pub imported_at: Timestamp,
}

/// A provider without its description: what a change reads of those that it does not touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderFacts {
    pub id: Id<Provider>,
    pub slug: Slug,
    pub server: Option<String>,
    pub allow_private: Vec<String>,
    pub imported_at: Timestamp,
}

/// Authenticates a row of any table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSeal {
    /// The row's table, or the part of it that has a seal of its own.
    pub kind: String,
    pub id: String,
    pub seal: [u8; 32],
}

/// The state of all rows after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateHead {
    /// Of the change's last event in the outbox.
    pub sequence: u64,
    /// That event.
    pub event: [u8; 16],
    pub count: u64,
    pub root: [u8; 32],
    /// Authenticates all of the above.
    pub seal: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerRow {
    pub id: Id<Customer>,
    /// Keyed digest of the name.
    pub lookup: [u8; 32],
    /// The vault generation that wraps the key.
    pub generation: u32,
    pub wrapped_key: Vec<u8>,
    pub commitment: [u8; 32],
    pub created_at: Timestamp,
}

/// A sealed value of some other table's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRow {
    pub table: String,
    pub record: [u8; 16],
    pub column: String,
    pub customer: Id<Customer>,
    /// Counts up with each replacement.
    pub version: u64,
    pub generation: u32,
    pub sealed: Vec<u8>,
}

/// What the vault's head is computed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedHead {
    pub record: [u8; 16],
    pub version: u64,
    pub sealed: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultGenerationRow {
    pub number: u32,
    pub wrapped_key: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRow {
    pub id: Id<Connection>,
    pub provider: Id<Provider>,
    pub customer: Id<Customer>,
    pub environment: Environment,
    pub scheme: String,
    pub variables: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRow {
    pub id: Id<Client>,
    pub name: Slug,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    pub id: Id<Key>,
    pub client: Id<Client>,
    pub environment: Environment,
    pub digest: [u8; 32],
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// What a grant reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GrantTarget {
    /// Every connection of this provider.
    Provider(Id<Provider>),
    Connection(Id<Connection>),
}

/// Client, target and purpose are its identity: no two grants agree in all three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    pub id: Id<Grant>,
    pub client: Id<Client>,
    pub target: GrantTarget,
    pub purpose: String,
    /// JSON; what it says is `app`'s.
    pub body: String,
    pub created_at: Timestamp,
}

impl GrantRow {
    pub(crate) fn identity(&self) -> (Id<Client>, GrantTarget, &str) {
        (self.client, self.target, &self.purpose)
    }
}

/// What [`crate::Tx::replace_grants`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantChanges {
    pub added: usize,
    pub changed: usize,
    pub removed: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// In order of commits, never used twice.
    pub sequence: u64,
    /// The event's own id: whether the log holds it already is known by it.
    pub event: [u8; 16],
    /// An encoded audit record.
    pub record: Vec<u8>,
    /// Authenticates the row; `None` for one that an earlier layout held.
    pub seal: Option<Vec<u8>>,
}

/// All rows, read in one transaction; each list in the order of ids.
#[derive(Clone, Debug)]
pub struct Everything<P = ProviderRow> {
    pub generation: u64,
    pub instance: Id<Instance>,
    pub vault_generations: Vec<VaultGenerationRow>,
    pub customers: Vec<CustomerRow>,
    pub sealed: Vec<SealedRow>,
    pub providers: Vec<P>,
    pub connections: Vec<ConnectionRow>,
    pub clients: Vec<ClientRow>,
    pub keys: Vec<KeyRow>,
    pub grants: Vec<GrantRow>,
    pub people: People,
    pub connects: Connects,
    pub lifetimes: Lifetimes,
    pub secret_stores: SecretStores,
    pub seals: Vec<RowSeal>,
    /// The newest; `None` until the rows are sealed.
    pub head: Option<StateHead>,
}

/// Reads the columns of one row; what does not fit is named by table, column and row.
pub(crate) struct Reader<'r> {
    pub table: &'static str,
    pub row: &'r Row,
}

impl Reader<'_> {
    fn wrong(&self, column: &'static str) -> StoreError {
        // Only what looks like one of our ids: a damaged row may hold anything.
        let is_id = |text: &String| {
            text.split_once('_').is_some_and(|(kind, digits)| {
                kind.len() <= 4
                    && digits.len() == 26
                    && digits.bytes().all(|byte| byte.is_ascii_alphanumeric())
            })
        };
        let row = self.row.get::<String, _>(0).ok().filter(is_id);
        let row = row.unwrap_or_else(|| "of an unknown id".to_owned());
        StoreError::Inconsistent { table: self.table, column, row }
    }

    pub(crate) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.row.get(column).map_err(|_| self.wrong(column))
    }

    pub(crate) fn optional_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.row.get(column).map_err(|_| self.wrong(column))
    }

    pub(crate) fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        self.row.get(column).map_err(|_| self.wrong(column))
    }

    pub(crate) fn optional_bytes(
        &self,
        column: &'static str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.row.get(column).map_err(|_| self.wrong(column))
    }

    pub(crate) fn array<const N: usize>(
        &self,
        column: &'static str,
    ) -> Result<[u8; N], StoreError> {
        self.bytes(column)?.try_into().map_err(|_| self.wrong(column))
    }

    pub(crate) fn number<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, StoreError> {
        let number: i64 = self.row.get(column).map_err(|_| self.wrong(column))?;
        T::try_from(number).map_err(|_| self.wrong(column))
    }

    pub(crate) fn optional_number<T: TryFrom<i64>>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let number: Option<i64> = self.row.get(column).map_err(|_| self.wrong(column))?;
        number.map(|number| T::try_from(number).map_err(|_| self.wrong(column))).transpose()
    }

    pub(crate) fn parsed<T: FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        self.text(column)?.parse().map_err(|_| self.wrong(column))
    }

    pub(crate) fn optional_parsed<T: FromStr>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, StoreError> {
        match self.optional_text(column)? {
            Some(_) => self.parsed(column).map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.number(column).map(Timestamp::from_micros)
    }

    pub(crate) fn optional_time(
        &self,
        column: &'static str,
    ) -> Result<Option<Timestamp>, StoreError> {
        let micros: Option<i64> = self.row.get(column).map_err(|_| self.wrong(column))?;
        Ok(micros.map(Timestamp::from_micros))
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(column)?).map_err(|_| self.wrong(column))
    }
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedRow {
    pub sequence: u64,
    /// The log that has it; `None` for all events up to this one.
    pub log: Option<String>,
    pub seal: Vec<u8>,
}

impl FromRow for MovedRow {
    const TABLE: &'static str = "outbox_moved";
    const ALL: &'static str = "SELECT sequence, log, seal FROM outbox_moved ORDER BY sequence";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            sequence: row.number("sequence")?,
            log: row.optional_text("log")?,
            seal: row.bytes("seal")?,
        })
    }
}

/// Events behind a number, and what became of them, as of one moment.
#[derive(Debug)]
pub struct Accounts {
    pub newest: Option<StateHead>,
    /// Those that stand for all up to them too, wherever they stand.
    pub moved: Vec<MovedRow>,
    pub waiting: Vec<OutboxRow>,
}

/// A row that can be read.
pub(crate) trait FromRow: Sized + fmt::Debug {
    const TABLE: &'static str;
    /// Reads the whole table, in the order of ids.
    const ALL: &'static str;
    fn read(row: &Reader<'_>) -> Result<Self, StoreError>;

    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Self::read(&Reader { table: Self::TABLE, row })
    }
}

impl FromRow for ProviderRow {
    const TABLE: &'static str = "provider";
    const ALL: &'static str =
        "SELECT id, slug, description, overlay, server, allow_private, imported_at
        FROM provider ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            slug: row.parsed("slug")?,
            description: row.bytes("description")?,
            overlay: row.optional_bytes("overlay")?,
            server: row.optional_text("server")?,
            allow_private: row.json("allow_private")?,
            imported_at: row.time("imported_at")?,
        })
    }
}

impl FromRow for ProviderFacts {
    const TABLE: &'static str = "provider";
    const ALL: &'static str =
        "SELECT id, slug, server, allow_private, imported_at FROM provider ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            slug: row.parsed("slug")?,
            server: row.optional_text("server")?,
            allow_private: row.json("allow_private")?,
            imported_at: row.time("imported_at")?,
        })
    }
}

impl FromRow for RowSeal {
    const TABLE: &'static str = "row_seal";
    const ALL: &'static str = "SELECT kind, id, seal FROM row_seal";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self { kind: row.text("kind")?, id: row.text("id")?, seal: row.array("seal")? })
    }
}

impl FromRow for StateHead {
    const TABLE: &'static str = "state_head";
    const ALL: &'static str =
        "SELECT sequence, event, row_count, root, seal FROM state_head ORDER BY sequence";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            sequence: row.number("sequence")?,
            event: row.array("event")?,
            count: row.number("row_count")?,
            root: row.array("root")?,
            seal: row.array("seal")?,
        })
    }
}

impl FromRow for CustomerRow {
    const TABLE: &'static str = "customer";
    const ALL: &'static str =
        "SELECT id, lookup, vault_generation, wrapped_key, commitment, created_at
        FROM customer ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            lookup: row.array("lookup")?,
            generation: row.number("vault_generation")?,
            wrapped_key: row.bytes("wrapped_key")?,
            commitment: row.array("commitment")?,
            created_at: row.time("created_at")?,
        })
    }
}

impl FromRow for SealedRow {
    const TABLE: &'static str = "sealed";
    const ALL: &'static str = "SELECT table_name, record, column_name, customer, version,
        vault_generation, sealed FROM sealed ORDER BY record, table_name, column_name";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            table: row.text("table_name")?,
            record: row.array("record")?,
            column: row.text("column_name")?,
            customer: row.parsed("customer")?,
            version: row.number("version")?,
            generation: row.number("vault_generation")?,
            sealed: row.bytes("sealed")?,
        })
    }
}

impl FromRow for SealedHead {
    const TABLE: &'static str = "sealed";
    const ALL: &'static str = "SELECT record, version, sealed FROM sealed
        ORDER BY record, table_name, column_name";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            record: row.array("record")?,
            version: row.number("version")?,
            sealed: row.bytes("sealed")?,
        })
    }
}

impl FromRow for VaultGenerationRow {
    const TABLE: &'static str = "vault_generation";
    const ALL: &'static str = "SELECT number, wrapped_key FROM vault_generation ORDER BY number";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self { number: row.number("number")?, wrapped_key: row.bytes("wrapped_key")? })
    }
}

impl FromRow for ConnectionRow {
    const TABLE: &'static str = "connection";
    const ALL: &'static str =
        "SELECT id, provider, customer, environment, scheme, variables, headers,
        created_at, revoked_at FROM connection ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            provider: row.parsed("provider")?,
            customer: row.parsed("customer")?,
            environment: row.parsed("environment")?,
            scheme: row.text("scheme")?,
            variables: row.json("variables")?,
            headers: row.json("headers")?,
            created_at: row.time("created_at")?,
            revoked_at: row.optional_time("revoked_at")?,
        })
    }
}

impl FromRow for ClientRow {
    const TABLE: &'static str = "client";
    const ALL: &'static str = "SELECT id, name, created_at FROM client ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            name: row.parsed("name")?,
            created_at: row.time("created_at")?,
        })
    }
}

impl FromRow for KeyRow {
    const TABLE: &'static str = "api_key";
    const ALL: &'static str =
        "SELECT id, client, environment, digest, created_at, expires_at, revoked_at
        FROM api_key ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            client: row.parsed("client")?,
            environment: row.parsed("environment")?,
            digest: row.array("digest")?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
            revoked_at: row.optional_time("revoked_at")?,
        })
    }
}

impl FromRow for GrantRow {
    const TABLE: &'static str = "access_grant";
    const ALL: &'static str = "SELECT id, client, provider, connection, purpose, body, created_at
        FROM access_grant ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            client: row.parsed("client")?,
            target: match (row.optional_text("provider")?, row.optional_text("connection")?) {
                (Some(_), None) => GrantTarget::Provider(row.parsed("provider")?),
                (None, Some(_)) => GrantTarget::Connection(row.parsed("connection")?),
                _ => return Err(row.wrong("provider")),
            },
            purpose: row.text("purpose")?,
            body: row.text("body")?,
            created_at: row.time("created_at")?,
        })
    }
}

impl FromRow for OutboxRow {
    const TABLE: &'static str = "outbox";
    const ALL: &'static str = "SELECT sequence, event, record, seal FROM outbox ORDER BY sequence";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            sequence: row.number("sequence")?,
            event: row.array("event")?,
            record: row.bytes("record")?,
            seal: row.optional_bytes("seal")?,
        })
    }
}
