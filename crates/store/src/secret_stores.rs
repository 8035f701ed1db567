//! Vaults elsewhere, and the connections whose secrets come from there.

use crate::{
    StoreError, Tx,
    dialect::{Transaction, sql},
    people::RuleRow,
    rows::{FromRow, Reader},
    store::all,
};
use types::{Connection, Id, Slug, Timestamp};

/// See the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSourceRow {
    pub connection: Id<Connection>,
    pub store: Slug,
    pub path: String,
    pub member: Option<String>,
    /// As the store counts; 0: it does not.
    pub version: u64,
    pub fetched_at: Timestamp,
    /// A known word.
    pub closed: Option<String>,
}

/// All of both, in the order of names and ids.
#[derive(Clone, Debug, Default)]
pub struct SecretStores {
    pub stores: Vec<RuleRow>,
    pub sources: Vec<SecretSourceRow>,
}

impl FromRow for SecretSourceRow {
    const TABLE: &'static str = "secret_source";
    const ALL: &'static str = "SELECT connection, store, path, member, version, fetched_at, closed
        FROM secret_source ORDER BY connection";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            connection: row.parsed("connection")?,
            store: row.parsed("store")?,
            path: row.text("path")?,
            member: row.optional_text("member")?,
            version: row.number("version")?,
            fetched_at: row.time("fetched_at")?,
            closed: row.optional_text("closed")?,
        })
    }
}

pub(crate) async fn secret_stores(tx: &mut Transaction) -> Result<SecretStores, StoreError> {
    let stores =
        tx.all(sql("SELECT name, body, created_at FROM secret_store ORDER BY name")).await?;
    Ok(SecretStores {
        stores: stores.iter().map(RuleRow::from_row).collect::<Result<_, _>>()?,
        sources: all(tx, SecretSourceRow::ALL).await?,
    })
}

impl Tx {
    /// Stores where a vault is, or another place of it.
    pub async fn put_secret_store(&mut self, row: &RuleRow) -> Result<(), StoreError> {
        let statement = "INSERT INTO secret_store (name, body, created_at) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET body = $2";
        self.put_rule("secret_store", statement, row).await
    }

    pub async fn delete_secret_store(&mut self, name: &Slug) -> Result<(), StoreError> {
        let query = sql("DELETE FROM secret_store WHERE name = $1").bind(name.to_string());
        self.change("secret_store", query).await.map(drop)
    }

    /// Stores where a connection's secret comes from, and what became of it.
    pub async fn put_secret_source(&mut self, row: &SecretSourceRow) -> Result<(), StoreError> {
        let version = i64::try_from(row.version);
        let query = sql("INSERT INTO secret_source
             (connection, store, path, member, version, fetched_at, closed)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (connection) DO UPDATE SET version = $5, fetched_at = $6, closed = $7")
        .bind(row.connection.to_string())
        .bind(row.store.to_string())
        .bind(row.path.clone())
        .bind(row.member.clone())
        .bind(version.map_err(|_| StoreError::Conflict { table: "secret_source" })?)
        .bind(row.fetched_at.as_micros())
        .bind(row.closed.clone());
        self.change("secret_source", query).await.map(drop)
    }

    pub async fn delete_secret_source(&mut self, id: Id<Connection>) -> Result<(), StoreError> {
        let query = sql("DELETE FROM secret_source WHERE connection = $1").bind(id.to_string());
        self.change("secret_source", query).await.map(drop)
    }
}
