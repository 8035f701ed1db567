//! The database, opened.

use crate::{
    StoreError,
    rows::{ClientRow, Everything, FromRow, OutboxRow, ProviderRow, Reader, SealedHead, SealedRow},
    tx::Tx,
};
use sqlx::{
    Sqlite, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, time::Duration};
use types::{Id, Instance, OpContext, Slug};

/// How long a writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections to the database: few, because writers queue anyway.
const MAX_CONNECTIONS: u32 = 4;
/// How long a caller waits for one of them.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A pool of connections to one database. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Makes a database.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is a file at `path`.
    pub async fn create(path: &Path) -> Result<Self, StoreError> {
        if path.exists() {
            return Err(StoreError::Exists { path: path.to_owned() });
        }
        Self::connect(path, true).await
    }

    /// Opens a database, and brings it forward to this version's tables.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without a file, [`StoreError::NotOurs`] for anything else.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.is_file() {
            return Err(StoreError::NotFound { path: path.to_owned() });
        }
        Self::connect(path, false).await
    }

    async fn connect(path: &Path, create: bool) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(create)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await?;
        sqlx::migrate!("./migrations")
            .run(&pool)
            .await
            .map_err(|source| StoreError::NotOurs { path: path.to_owned(), source })?;
        Ok(Self { pool })
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Begins a change. Writers queue; each sees what the one before committed.
    pub async fn begin(&self, _ctx: &OpContext) -> Result<Tx, StoreError> {
        let inner = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Tx::new(inner))
    }

    /// Moves with each committed change.
    pub async fn generation(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT number FROM generation WHERE only_row = 1")
            .fetch_one(&self.pool)
            .await?;
        Reader { table: "generation", row: &row }.number("number")
    }

    /// Everything, as of one moment.
    pub async fn load_all(&self) -> Result<Everything, StoreError> {
        let mut tx = self.pool.begin().await?;
        let row = sqlx::query("SELECT number FROM generation WHERE only_row = 1")
            .fetch_one(&mut *tx)
            .await?;
        let generation = Reader { table: "generation", row: &row }.number("number")?;
        let row = sqlx::query("SELECT id FROM instance").fetch_one(&mut *tx).await?;
        let instance: Id<Instance> = Reader { table: "instance", row: &row }.parsed("id")?;
        let everything = Everything {
            generation,
            instance,
            vault_generations: all(
                &mut tx,
                "SELECT number, wrapped_key FROM vault_generation ORDER BY number",
            )
            .await?,
            customers: all(
                &mut tx,
                "SELECT id, lookup, vault_generation, wrapped_key, commitment, created_at
                 FROM customer ORDER BY id",
            )
            .await?,
            sealed: all(
                &mut tx,
                "SELECT table_name, record, column_name, customer, version, vault_generation, sealed
                 FROM sealed ORDER BY record, table_name, column_name",
            )
            .await?,
            providers: all(&mut tx, PROVIDERS).await?,
            connections: all(
                &mut tx,
                "SELECT id, provider, customer, environment, scheme, variables, headers, created_at,
                 revoked_at FROM connection ORDER BY id",
            )
            .await?,
            clients: all(&mut tx, "SELECT id, name, created_at FROM client ORDER BY id").await?,
            keys: all(
                &mut tx,
                "SELECT id, client, environment, digest, created_at, expires_at, revoked_at
                 FROM api_key ORDER BY id",
            )
            .await?,
            grants: all(&mut tx, "SELECT id, body, created_at FROM access_grant ORDER BY id")
                .await?,
        };
        tx.rollback().await?;
        Ok(everything)
    }

    pub async fn provider_by_slug(&self, slug: &Slug) -> Result<Option<ProviderRow>, StoreError> {
        let row =
            sqlx::query(PROVIDER_BY_SLUG).bind(slug.as_str()).fetch_optional(&self.pool).await?;
        row.as_ref().map(ProviderRow::from_row).transpose()
    }

    pub async fn providers(&self) -> Result<Vec<ProviderRow>, StoreError> {
        let rows = sqlx::query(PROVIDERS).fetch_all(&self.pool).await?;
        rows.iter().map(ProviderRow::from_row).collect()
    }

    pub async fn clients(&self) -> Result<Vec<ClientRow>, StoreError> {
        let rows = sqlx::query("SELECT id, name, created_at FROM client ORDER BY id")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(ClientRow::from_row).collect()
    }

    /// The sealed rows, and how many changes wait for the audit log, as of one moment.
    pub async fn vault_state(&self) -> Result<(Vec<SealedHead>, u64), StoreError> {
        let mut tx = self.pool.begin().await?;
        let heads = all(&mut tx, SEALED_HEADS).await?;
        let row = sqlx::query(OUTBOX_LEN).fetch_one(&mut *tx).await?;
        let waiting = Reader { table: "outbox", row: &row }.number("waiting")?;
        tx.rollback().await?;
        Ok((heads, waiting))
    }

    /// A sealed value, if there is one.
    pub async fn sealed(
        &self,
        table: &str,
        record: &[u8; 16],
        column: &str,
    ) -> Result<Option<SealedRow>, StoreError> {
        let row = sqlx::query(
            "SELECT table_name, record, column_name, customer, version, vault_generation, sealed
             FROM sealed WHERE record = $1 AND table_name = $2 AND column_name = $3",
        )
        .bind(&record[..])
        .bind(table)
        .bind(column)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(SealedRow::from_row).transpose()
    }

    /// The oldest rows that wait for the audit log.
    pub async fn outbox_batch(&self, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let rows = sqlx::query("SELECT sequence, record FROM outbox ORDER BY sequence LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(OutboxRow::from_row).collect()
    }

    /// Forgets rows up to this sequence: the log holds them.
    pub async fn delete_outbox(&self, up_to: u64) -> Result<(), StoreError> {
        let up_to = i64::try_from(up_to).unwrap_or(i64::MAX);
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM outbox WHERE sequence <= $1")
            .bind(up_to)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    pub async fn outbox_len(&self) -> Result<u64, StoreError> {
        let row = sqlx::query(OUTBOX_LEN).fetch_one(&self.pool).await?;
        Reader { table: "outbox", row: &row }.number("waiting")
    }
}

const PROVIDERS: &str = "SELECT id, slug, description, overlay, server, allow_private, imported_at
    FROM provider ORDER BY id";
pub(crate) const PROVIDER_BY_SLUG: &str =
    "SELECT id, slug, description, overlay, server, allow_private, imported_at
    FROM provider WHERE slug = $1";
pub(crate) const SEALED_HEADS: &str = "SELECT record, version, sealed FROM sealed";
const OUTBOX_LEN: &str = "SELECT COUNT(*) AS waiting FROM outbox";

pub(crate) async fn all<T: FromRow>(
    tx: &mut sqlx::Transaction<'static, Sqlite>,
    statement: &'static str,
) -> Result<Vec<T>, StoreError> {
    let rows = sqlx::query(statement).fetch_all(&mut **tx).await?;
    rows.iter().map(T::from_row).collect()
}
