//! The database, opened.

use crate::{
    StoreError, dialect,
    rows::{
        ClientRow, ConnectionRow, CustomerRow, Everything, FromRow, GrantRow, KeyRow, OutboxRow,
        ProviderRow, Reader, SealedHead, SealedRow, VaultGenerationRow,
    },
    tx::Tx,
};
use sqlx::{Sqlite, SqlitePool, sqlite::SqlitePoolOptions};
use std::{path::Path, time::Duration};
use types::{Client, Id, Instance, OpContext, Slug};

/// Writers of one process queue before the database does.
const WRITERS: u32 = 1;
const READERS: u32 = 3;
/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections to one database. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    /// For [`Store::generation`] alone: a revocation must be seen however busy the others are.
    poll: SqlitePool,
}

impl Store {
    /// Makes a database, readable by its owner alone.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is anything at `path`.
    pub async fn create(path: &Path) -> Result<Self, StoreError> {
        dialect::create(path).await?;
        Ok(Self::connect(path))
    }

    /// Opens a database, and brings it forward to this release's tables.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without a file; [`StoreError::NotOurs`] for one that Weirgate did
    /// not make, which is left as it is; [`StoreError::Newer`] after a newer release.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        dialect::prepare(path).await?;
        Ok(Self::connect(path))
    }

    fn connect(path: &Path) -> Self {
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        Self {
            writer: pool(WRITERS).connect_lazy_with(dialect::writer(path)),
            readers: pool(READERS).connect_lazy_with(dialect::reader(path)),
            poll: pool(1).connect_lazy_with(dialect::reader(path)),
        }
    }

    /// Ends all connections. The writer is last: it then moves the write-ahead log into the file.
    pub async fn close(&self) {
        self.poll.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Begins a change. Writers queue; each sees what the one before committed. A task that holds
    /// one and begins another waits for itself, and gets [`StoreError::Busy`].
    pub async fn begin(&self, _ctx: &OpContext) -> Result<Tx, StoreError> {
        Ok(Tx::new(self.writer.begin_with(dialect::BEGIN_CHANGE).await?))
    }

    /// Moves with each committed change; cheap enough to ask several times a second.
    pub async fn generation(&self) -> Result<u64, StoreError> {
        let row = sqlx::query(GENERATION).fetch_one(&self.poll).await?;
        Reader { table: "generation", row: &row }.number("number")
    }

    /// Everything, as of one moment.
    pub async fn load_all(&self) -> Result<Everything, StoreError> {
        let mut tx = self.readers.begin().await?;
        let row = sqlx::query(GENERATION).fetch_one(&mut *tx).await?;
        let generation = Reader { table: "generation", row: &row }.number("number")?;
        let row = sqlx::query("SELECT id FROM instance").fetch_optional(&mut *tx).await?;
        let row = row.ok_or_else(|| StoreError::Inconsistent {
            table: "instance",
            column: "id",
            row: "the only one".to_owned(),
        })?;
        let instance: Id<Instance> = Reader { table: "instance", row: &row }.parsed("id")?;
        let everything = Everything {
            generation,
            instance,
            vault_generations: all(&mut tx, VaultGenerationRow::ALL).await?,
            customers: all(&mut tx, CustomerRow::ALL).await?,
            sealed: all(&mut tx, SealedRow::ALL).await?,
            providers: all(&mut tx, ProviderRow::ALL).await?,
            connections: all(&mut tx, ConnectionRow::ALL).await?,
            clients: all(&mut tx, ClientRow::ALL).await?,
            keys: all(&mut tx, KeyRow::ALL).await?,
            grants: all(&mut tx, GrantRow::ALL).await?,
        };
        tx.rollback().await?;
        Ok(everything)
    }

    pub async fn provider_by_slug(&self, slug: &Slug) -> Result<Option<ProviderRow>, StoreError> {
        let query = sqlx::query(PROVIDER_BY_SLUG).bind(slug.as_str());
        let row = query.fetch_optional(&self.readers).await?;
        row.as_ref().map(ProviderRow::from_row).transpose()
    }

    pub async fn providers(&self) -> Result<Vec<ProviderRow>, StoreError> {
        self.list(ProviderRow::ALL).await
    }

    pub async fn connections(&self) -> Result<Vec<ConnectionRow>, StoreError> {
        self.list(ConnectionRow::ALL).await
    }

    pub async fn customers(&self) -> Result<Vec<CustomerRow>, StoreError> {
        self.list(CustomerRow::ALL).await
    }

    pub async fn clients(&self) -> Result<Vec<ClientRow>, StoreError> {
        self.list(ClientRow::ALL).await
    }

    pub async fn grants(&self) -> Result<Vec<GrantRow>, StoreError> {
        self.list(GrantRow::ALL).await
    }

    /// A client's keys, revoked and expired ones too.
    pub async fn keys_of(&self, client: Id<Client>) -> Result<Vec<KeyRow>, StoreError> {
        let query = sqlx::query(KEYS_OF).bind(client.to_string());
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(KeyRow::from_row).collect()
    }

    async fn list<T: FromRow>(&self, statement: &'static str) -> Result<Vec<T>, StoreError> {
        let rows = sqlx::query(statement).fetch_all(&self.readers).await?;
        rows.iter().map(T::from_row).collect()
    }

    /// What the vault's head is computed from, and how many changes wait for the audit log, as of
    /// one moment.
    pub async fn vault_state(&self) -> Result<(Vec<SealedHead>, u64), StoreError> {
        let mut tx = self.readers.begin().await?;
        let heads = heads(&mut tx).await?;
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
        let query = sqlx::query(SEALED).bind(&record[..]).bind(table).bind(column);
        let row = query.fetch_optional(&self.readers).await?;
        row.as_ref().map(SealedRow::from_row).transpose()
    }

    /// The oldest rows that wait for the audit log, in order of commits.
    pub async fn outbox_batch(&self, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let rows =
            sqlx::query("SELECT sequence, event, record FROM outbox ORDER BY sequence LIMIT $1")
                .bind(i64::from(limit))
                .fetch_all(&self.readers)
                .await?;
        rows.iter().map(OutboxRow::from_row).collect()
    }

    /// Forgets rows up to and with this sequence: the log holds them. Nothing that a Snapshot shows
    /// changes by it, so the generation stays.
    pub async fn delete_outbox(&self, up_to: u64) -> Result<(), StoreError> {
        let up_to = i64::try_from(up_to).unwrap_or(i64::MAX);
        let mut tx = self.writer.begin_with(dialect::BEGIN_CHANGE).await?;
        sqlx::query("DELETE FROM outbox WHERE sequence <= $1")
            .bind(up_to)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// How many rows wait for the audit log.
    pub async fn outbox_len(&self) -> Result<u64, StoreError> {
        let row = sqlx::query(OUTBOX_LEN).fetch_one(&self.readers).await?;
        Reader { table: "outbox", row: &row }.number("waiting")
    }
}

pub(crate) const GENERATION: &str = "SELECT number FROM generation WHERE only_row = 1";
pub(crate) const PROVIDER_BY_SLUG: &str =
    "SELECT id, slug, description, overlay, server, allow_private, imported_at
    FROM provider WHERE slug = $1";
pub(crate) const KEYS_OF: &str =
    "SELECT id, client, environment, digest, created_at, expires_at, revoked_at
    FROM api_key WHERE client = $1 ORDER BY id";
pub(crate) const SEALED: &str =
    "SELECT table_name, record, column_name, customer, version, vault_generation, sealed
    FROM sealed WHERE record = $1 AND table_name = $2 AND column_name = $3";
const OUTBOX_LEN: &str = "SELECT COUNT(*) AS waiting FROM outbox";

pub(crate) async fn all<T: FromRow>(
    tx: &mut sqlx::Transaction<'static, Sqlite>,
    statement: &'static str,
) -> Result<Vec<T>, StoreError> {
    let rows = sqlx::query(statement).fetch_all(&mut **tx).await?;
    rows.iter().map(T::from_row).collect()
}

/// Everything sealed: records, the customers' keys and the generations. A key that was destroyed
/// and put back changes the head like any other row.
pub(crate) async fn heads(
    tx: &mut sqlx::Transaction<'static, Sqlite>,
) -> Result<Vec<SealedHead>, StoreError> {
    let mut heads: Vec<SealedHead> = all(tx, SealedHead::ALL).await?;
    let customers: Vec<CustomerRow> = all(tx, CustomerRow::ALL).await?;
    heads.extend(customers.into_iter().map(|row| SealedHead {
        record: row.id.to_bytes(),
        version: u64::from(row.generation),
        sealed: row.wrapped_key,
    }));
    let generations: Vec<VaultGenerationRow> = all(tx, VaultGenerationRow::ALL).await?;
    heads.extend(generations.into_iter().map(|row| SealedHead {
        record: u128::from(row.number).to_be_bytes(),
        version: u64::from(row.number),
        sealed: row.wrapped_key,
    }));
    Ok(heads)
}
