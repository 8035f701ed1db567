//! Rows as the rest of the product sees them, and how they are read.

use crate::StoreError;
use sqlx::{Row as _, sqlite::SqliteRow};
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    pub id: Id<Grant>,
    /// JSON; what it says is `app`'s.
    pub body: String,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// In order of commits, never used twice.
    pub sequence: u64,
    /// An encoded audit record.
    pub record: Vec<u8>,
}

/// All rows, read in one transaction; each list in the order of ids.
#[derive(Clone, Debug)]
pub struct Everything {
    pub generation: u64,
    pub instance: Id<Instance>,
    pub vault_generations: Vec<VaultGenerationRow>,
    pub customers: Vec<CustomerRow>,
    pub sealed: Vec<SealedRow>,
    pub providers: Vec<ProviderRow>,
    pub connections: Vec<ConnectionRow>,
    pub clients: Vec<ClientRow>,
    pub keys: Vec<KeyRow>,
    pub grants: Vec<GrantRow>,
}

/// Reads the columns of one row; what does not fit is named by table, column and row.
pub(crate) struct Reader<'r> {
    pub table: &'static str,
    pub row: &'r SqliteRow,
}

impl Reader<'_> {
    fn wrong(&self, column: &'static str) -> StoreError {
        let row = self.row.try_get::<String, _>(0).unwrap_or_else(|_| "?".to_owned());
        // Ids and names of tables only: a damaged row may hold anything.
        let row = row.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect();
        StoreError::Inconsistent { table: self.table, column, row }
    }

    pub(crate) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.row.try_get(column).map_err(|_| self.wrong(column))
    }

    pub(crate) fn optional_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.row.try_get(column).map_err(|_| self.wrong(column))
    }

    pub(crate) fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError> {
        self.row.try_get(column).map_err(|_| self.wrong(column))
    }

    pub(crate) fn optional_bytes(
        &self,
        column: &'static str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.row.try_get(column).map_err(|_| self.wrong(column))
    }

    pub(crate) fn array<const N: usize>(
        &self,
        column: &'static str,
    ) -> Result<[u8; N], StoreError> {
        self.bytes(column)?.try_into().map_err(|_| self.wrong(column))
    }

    pub(crate) fn number<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, StoreError> {
        let number: i64 = self.row.try_get(column).map_err(|_| self.wrong(column))?;
        T::try_from(number).map_err(|_| self.wrong(column))
    }

    pub(crate) fn parsed<T: FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        self.text(column)?.parse().map_err(|_| self.wrong(column))
    }

    pub(crate) fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.number(column).map(Timestamp::from_micros)
    }

    pub(crate) fn optional_time(
        &self,
        column: &'static str,
    ) -> Result<Option<Timestamp>, StoreError> {
        let micros: Option<i64> = self.row.try_get(column).map_err(|_| self.wrong(column))?;
        Ok(micros.map(Timestamp::from_micros))
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(column)?).map_err(|_| self.wrong(column))
    }
}

/// A row that can be read.
pub(crate) trait FromRow: Sized + fmt::Debug {
    const TABLE: &'static str;
    fn read(row: &Reader<'_>) -> Result<Self, StoreError>;

    fn from_row(row: &SqliteRow) -> Result<Self, StoreError> {
        Self::read(&Reader { table: Self::TABLE, row })
    }
}

impl FromRow for ProviderRow {
    const TABLE: &'static str = "provider";
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

impl FromRow for CustomerRow {
    const TABLE: &'static str = "customer";
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
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self { number: row.number("number")?, wrapped_key: row.bytes("wrapped_key")? })
    }
}

impl FromRow for ConnectionRow {
    const TABLE: &'static str = "connection";
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
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            body: row.text("body")?,
            created_at: row.time("created_at")?,
        })
    }
}

impl FromRow for OutboxRow {
    const TABLE: &'static str = "outbox";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self { sequence: row.number("sequence")?, record: row.bytes("record")? })
    }
}
