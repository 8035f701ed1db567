//! The database, opened.

use crate::{
    Location, StoreError,
    connect::connects,
    dialect::{self, Pool, Statement, Transaction, Use, sql},
    lifetimes::lifetimes,
    people::people,
    rows::{
        Accounts, ClientRow, ConnectionRow, CustomerRow, Everything, FromRow, GrantRow, KeyRow,
        MovedRow, OutboxRow, ProviderRow, Reader, RowSeal, SealedHead, SealedRow, StateHead,
        VaultGenerationRow,
    },
    secret_stores::secret_stores,
    tx::Tx,
};
use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use types::{Client, Id, Instance, OpContext, Slug, Timestamp};

/// Connections to one database. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Store {
    writer: Pool,
    readers: Pool,
    /// For [`Store::generation`] alone: a revocation must be seen however busy the others are.
    poll: Pool,
    file: Option<OpenedFile>,
    /// Whether the last poll got no answer in time.
    is_silent: Arc<AtomicBool>,
}

impl Store {
    /// Makes a database: a file readable by its owner alone, or the tables in an empty database of
    /// a server.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is anything.
    pub async fn create(location: &Location) -> Result<Self, StoreError> {
        match dialect::create(location).await {
            // Tables that an end in the midst of this left are empty.
            Err(StoreError::Exists { .. })
                if matches!(location, Location::Server(_))
                    && Self::installation(location).await?.is_none() => {}
            made => made?,
        }
        Self::connect(location)
    }

    /// Which installation a database holds; `None` where there is nothing yet.
    pub async fn installation(location: &Location) -> Result<Option<Id<Instance>>, StoreError> {
        let store = match Self::open(location).await {
            Ok(store) => store,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let row = store.readers.optional(sql(INSTANCE)).await;
        store.close().await;
        row?.map(|row| Reader { table: "instance", row: &row }.parsed("id")).transpose()
    }

    /// Opens a database, and brings it forward to this release's tables.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without a file or tables; [`StoreError::NotOurs`] for one that
    /// Weirgate did not make, which is left as it is; [`StoreError::Newer`] after a newer release.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        dialect::prepare(location).await?;
        Self::connect(location)
    }

    pub(crate) const fn readers(&self) -> &Pool {
        &self.readers
    }

    pub(crate) const fn writer(&self) -> &Pool {
        &self.writer
    }

    pub(crate) fn connect(location: &Location) -> Result<Self, StoreError> {
        Ok(Self {
            writer: Pool::connect(location, Use::Write),
            readers: Pool::connect(location, Use::Read),
            poll: Pool::connect(location, Use::Read),
            file: OpenedFile::of(location)?,
            is_silent: Arc::default(),
        })
    }

    /// Whether the database's file is still the one that was opened. A server has none.
    fn check_place(&self) -> Result<(), StoreError> {
        self.file.as_ref().map_or(Ok(()), OpenedFile::check)
    }

    /// Ends all connections. The writer is last: it then moves the write-ahead log into the file.
    pub async fn close(&self) {
        self.poll.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Begins a change. Writers queue; each sees what the one before committed. A task that holds
    /// one and begins another waits for itself, and gets [`StoreError::Busy`].
    ///
    /// # Errors
    /// [`StoreError::Replaced`] if the change would go into a file that nobody opens again.
    pub async fn begin(&self, _ctx: &OpContext) -> Result<Tx, StoreError> {
        self.check_place()?;
        Ok(Tx::new(self.writer.begin_change().await?))
    }

    /// Moves with each committed change; cheap enough to ask several times a second.
    ///
    /// # Errors
    /// [`StoreError::Replaced`] if another file took the place of the one that was opened: changes
    /// are made there, and this one says nothing of them.
    pub async fn generation(&self) -> Result<u64, StoreError> {
        let row = tokio::time::timeout(POLL_TIMEOUT, self.poll.one(sql(GENERATION))).await;
        self.check_place()?;
        let Ok(row) = row else {
            // What lies between may have forgotten this connection, and all others.
            self.poll.renew();
            self.is_silent.store(true, Ordering::Release);
            return Err(dialect::silent());
        };
        let row = row?;
        if self.is_silent.swap(false, Ordering::AcqRel) {
            self.readers.renew();
            self.writer.renew();
        }
        Reader { table: "generation", row: &row }.number("number")
    }

    /// What the server's clock says; `None` for a file, which has none of its own.
    pub async fn clock(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.readers.clock().await?.map(Timestamp::from_micros))
    }

    /// Everything, as of one moment.
    pub async fn load_all(&self) -> Result<Everything, StoreError> {
        self.check_place()?;
        let mut tx = self.readers.begin_read().await?;
        let everything = everything(&mut tx).await?;
        tx.rollback().await?;
        self.check_place()?;
        Ok(everything)
    }

    pub async fn provider_by_slug(&self, slug: &Slug) -> Result<Option<ProviderRow>, StoreError> {
        let query = sql(PROVIDER_BY_SLUG).bind(slug.as_str());
        let row = self.readers.optional(query).await?;
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
        let query = sql(KEYS_OF).bind(client.to_string());
        let rows = self.readers.all(query).await?;
        rows.iter().map(KeyRow::from_row).collect()
    }

    pub(crate) async fn list<T: FromRow>(
        &self,
        statement: &'static str,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.readers.all(sql(statement)).await?;
        rows.iter().map(T::from_row).collect()
    }

    /// The state after the change of this sequence, if there was one.
    pub async fn head_at(&self, sequence: u64) -> Result<Option<StateHead>, StoreError> {
        let query = sql(HEAD_AT).bind(i64::try_from(sequence).unwrap_or(i64::MAX));
        self.head(query).await
    }

    /// The state after the last change.
    pub async fn newest_head(&self) -> Result<Option<StateHead>, StoreError> {
        self.head(sql(NEWEST_HEAD)).await
    }

    /// Before it is asked too: a connection that is opened meanwhile would lead to another file.
    async fn head(&self, query: Statement) -> Result<Option<StateHead>, StoreError> {
        self.check_place()?;
        let row = self.readers.optional(query).await?;
        self.check_place()?;
        row.as_ref().map(StateHead::from_row).transpose()
    }

    /// What authenticates a row, if anything does.
    pub async fn seal(&self, kind: &str, id: &str) -> Result<Option<RowSeal>, StoreError> {
        let query = sql("SELECT kind, id, seal FROM row_seal WHERE kind = $1 AND id = $2")
            .bind(kind)
            .bind(id);
        let row = self.readers.optional(query).await?;
        row.as_ref().map(RowSeal::from_row).transpose()
    }

    /// A sealed value, if there is one.
    pub async fn sealed(
        &self,
        table: &str,
        record: &[u8; 16],
        column: &str,
    ) -> Result<Option<SealedRow>, StoreError> {
        let query = sql(SEALED).bind(&record[..]).bind(table).bind(column);
        let row = self.readers.optional(query).await?;
        row.as_ref().map(SealedRow::from_row).transpose()
    }

    /// The oldest rows that wait for the audit log, in order of commits.
    pub async fn outbox_batch(&self, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let query =
            sql("SELECT sequence, event, record, seal FROM outbox ORDER BY sequence LIMIT $1")
                .bind(i64::from(limit));
        let rows = self.readers.all(query).await?;
        rows.iter().map(OutboxRow::from_row).collect()
    }

    /// The oldest rows that are this log's to move: those that it claimed before, else those that
    /// it claims now. A row is claimed once, and is nobody else's from then on: two nodes never move
    /// the same one, whatever becomes of them. What is claimed later has later sequences.
    pub async fn take_outbox(&self, by: &str, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        self.check_place()?;
        let limit = i64::from(limit);
        let own = || sql(CLAIMED).bind(by).bind(limit);
        let read = |rows: Vec<dialect::Row>| rows.iter().map(OutboxRow::from_row).collect();
        let rows = self.readers.all(own()).await?;
        if !rows.is_empty() {
            return read(rows);
        }
        // No lock is taken while nothing waits.
        if self.readers.optional(sql(UNCLAIMED)).await?.is_none() {
            return Ok(Vec::new());
        }
        let mut tx = self.writer.begin_aside().await?;
        tx.execute(sql(CLAIM).bind(by).bind(limit)).await?;
        tx.commit().await?;
        read(self.readers.all(own()).await?)
    }

    /// Forgets rows up to and with this sequence that this log claimed: it holds those that `moved`
    /// says. Nothing that a Snapshot shows changes by it, so the generation stays.
    pub async fn settle_outbox(
        &self,
        by: &str,
        up_to: u64,
        moved: &[MovedRow],
    ) -> Result<(), StoreError> {
        let statement = sql("DELETE FROM outbox WHERE sequence <= $1 AND claimed_by = $2");
        let mut tx = self.writer.begin_aside().await?;
        for row in moved {
            tx.execute(put_moved(row)).await?;
        }
        tx.execute(statement.bind(number(up_to)).bind(by)).await?;
        tx.commit().await
    }

    /// What became of all events behind this one.
    pub async fn accounts(&self, after: u64) -> Result<Accounts, StoreError> {
        self.check_place()?;
        let mut tx = self.readers.begin_read().await?;
        let newest = tx.optional(sql(NEWEST_HEAD)).await?;
        let moved = tx.all(sql(MOVED).bind(number(after))).await?;
        let waiting = tx.all(sql(WAITING).bind(number(after))).await?;
        tx.rollback().await?;
        self.check_place()?;
        Ok(Accounts {
            newest: newest.as_ref().map(StateHead::from_row).transpose()?,
            moved: moved.iter().map(MovedRow::from_row).collect::<Result<_, _>>()?,
            waiting: waiting.iter().map(OutboxRow::from_row).collect::<Result<_, _>>()?,
        })
    }

    /// Lets one row stand for all before it.
    pub async fn sum_up_moved(&self, all_up_to: &MovedRow) -> Result<(), StoreError> {
        let before = sql("DELETE FROM outbox_moved WHERE sequence < $1");
        let mut tx = self.writer.begin_aside().await?;
        tx.execute(put_moved(all_up_to)).await?;
        tx.execute(before.bind(number(all_up_to.sequence))).await?;
        tx.commit().await
    }

    /// Says that the node of this log is at work.
    pub async fn see_node(&self, log: &str, now: Timestamp) -> Result<(), StoreError> {
        let statement = sql("INSERT INTO node_seen (log, seen_at) VALUES ($1, $2)
             ON CONFLICT (log) DO UPDATE SET seen_at = $2");
        let mut tx = self.writer.begin_aside().await?;
        tx.execute(statement.bind(log).bind(now.as_micros())).await?;
        tx.commit().await
    }

    /// When each node was last at work, by its own clock and its log.
    pub async fn nodes_seen(&self) -> Result<HashMap<String, Timestamp>, StoreError> {
        let rows = self.readers.all(sql("SELECT log, seen_at FROM node_seen")).await?;
        let read = |row: &dialect::Row| {
            let reader = Reader { table: "node_seen", row };
            Ok((reader.text("log")?, reader.time("seen_at")?))
        };
        rows.iter().map(read).collect()
    }

    /// How many rows wait that each log claimed.
    pub async fn claims(&self) -> Result<HashMap<String, u64>, StoreError> {
        let rows = self.readers.all(sql(CLAIMS)).await?;
        let read = |row: &dialect::Row| {
            let reader = Reader { table: "outbox", row };
            Ok((reader.text("claimed_by")?, reader.number("waiting")?))
        };
        rows.iter().map(read).collect()
    }

    /// The sealed values of this name, whatever record they are of.
    pub async fn sealed_named(&self, column: &str) -> Result<Vec<SealedRow>, StoreError> {
        let rows = self.readers.all(sql(SEALED_NAMED).bind(column)).await?;
        rows.iter().map(SealedRow::from_row).collect()
    }

    /// The checkpoint that was last told of this audit log; `None` for a log that nobody told of.
    pub async fn audit_checkpoint(&self, origin: &str) -> Result<Option<String>, StoreError> {
        let query = sql("SELECT checkpoint FROM audit_checkpoint WHERE origin = $1").bind(origin);
        let row = self.readers.optional(query).await?;
        row.map(|row| Reader { table: "audit_checkpoint", row: &row }.text("checkpoint"))
            .transpose()
    }

    /// The last that was told of each log, by origin.
    pub async fn audit_checkpoints(&self) -> Result<Vec<(String, String)>, StoreError> {
        let rows = self.readers.all(sql(AUDIT_CHECKPOINTS)).await?;
        let read = |row: &dialect::Row| {
            let reader = Reader { table: "audit_checkpoint", row };
            Ok((reader.text("origin")?, reader.text("checkpoint")?))
        };
        rows.iter().map(read).collect()
    }

    /// Keeps a log's newer checkpoint, which signs `size` entries; an older one changes nothing.
    /// It is no change that a Snapshot shows, so the generation stays.
    pub async fn keep_audit_checkpoint(
        &self,
        origin: &str,
        size: u64,
        checkpoint: &str,
    ) -> Result<(), StoreError> {
        self.check_place()?;
        let mut tx = self.writer.begin_aside().await?;
        tx.execute(keep_audit_checkpoint(origin, size, checkpoint)).await?;
        tx.commit().await?;
        self.check_place()
    }

    /// How many rows wait for the audit log.
    pub async fn outbox_len(&self) -> Result<u64, StoreError> {
        let row = self.readers.one(sql(OUTBOX_LEN)).await?;
        Reader { table: "outbox", row: &row }.number("waiting")
    }
}

/// A file as it was when it was opened: device and inode.
#[derive(Clone, Debug)]
struct OpenedFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl OpenedFile {
    fn of(location: &Location) -> Result<Option<Self>, StoreError> {
        let Location::File(path) = location else { return Ok(None) };
        let io = |source| StoreError::Io { path: path.clone(), source };
        let metadata = fs::metadata(path).map_err(io)?;
        Ok(Some(Self { path: path.clone(), identity: (metadata.dev(), metadata.ino()) }))
    }

    fn check(&self) -> Result<(), StoreError> {
        match fs::metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == self.identity => Ok(()),
            _ => Err(StoreError::Replaced { place: Location::from(self.path.as_path()).place() }),
        }
    }
}

pub(crate) fn keep_audit_checkpoint(origin: &str, size: u64, checkpoint: &str) -> Statement {
    sql("INSERT INTO audit_checkpoint (origin, size, checkpoint) VALUES ($1, $2, $3)
        ON CONFLICT (origin) DO UPDATE SET size = $2, checkpoint = $3
        WHERE audit_checkpoint.size <= $2")
    .bind(origin)
    .bind(i64::try_from(size).unwrap_or(i64::MAX))
    .bind(checkpoint)
}

/// A row that stands for all up to it says more than one of its event alone.
pub(crate) fn put_moved(row: &MovedRow) -> Statement {
    let statement = if row.log.is_none() {
        "INSERT INTO outbox_moved (sequence, log, seal) VALUES ($1, $2, $3)
        ON CONFLICT (sequence) DO UPDATE SET log = $2, seal = $3"
    } else {
        "INSERT INTO outbox_moved (sequence, log, seal) VALUES ($1, $2, $3)
        ON CONFLICT (sequence) DO UPDATE SET log = $2, seal = $3
        WHERE outbox_moved.log IS NOT NULL"
    };
    sql(statement).bind(number(row.sequence)).bind(row.log.clone()).bind(row.seal.clone())
}

fn number(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

pub(crate) const INSTANCE: &str = "SELECT id FROM instance";
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
/// How long the answer to a poll is waited for: the next one may find a server that answers.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);
const AUDIT_CHECKPOINTS: &str = "SELECT origin, checkpoint FROM audit_checkpoint ORDER BY origin";
const UNCLAIMED: &str = "SELECT sequence FROM outbox WHERE claimed_by IS NULL LIMIT 1";
const CLAIMED: &str = "SELECT sequence, event, record, seal FROM outbox WHERE claimed_by = $1
    ORDER BY sequence LIMIT $2";
// Whoever waits for a row that another claims finds it claimed, and leaves it.
const CLAIM: &str = "UPDATE outbox SET claimed_by = $1 WHERE claimed_by IS NULL AND sequence IN
    (SELECT sequence FROM outbox WHERE claimed_by IS NULL ORDER BY sequence LIMIT $2)";
const MOVED: &str = "SELECT sequence, log, seal FROM outbox_moved
    WHERE sequence > $1 OR log IS NULL ORDER BY sequence";
const WAITING: &str = "SELECT sequence, event, record, seal FROM outbox
    WHERE sequence > $1 ORDER BY sequence";
const CLAIMS: &str = "SELECT claimed_by, COUNT(*) AS waiting FROM outbox
    WHERE claimed_by IS NOT NULL GROUP BY claimed_by";
const SEALED_NAMED: &str =
    "SELECT table_name, record, column_name, customer, version, vault_generation, sealed
    FROM sealed WHERE column_name = $1 ORDER BY record, table_name";
const OUTBOX_LEN: &str = "SELECT COUNT(*) AS waiting FROM outbox";

pub(crate) const HEAD_AT: &str =
    "SELECT sequence, event, row_count, root, seal FROM state_head WHERE sequence = $1";
const NEWEST_HEAD: &str = "SELECT sequence, event, row_count, root, seal FROM state_head
    ORDER BY sequence DESC LIMIT 1";

/// Everything, as of one moment; of providers what `P` holds.
pub(crate) async fn everything<P: FromRow>(
    tx: &mut Transaction,
) -> Result<Everything<P>, StoreError> {
    let row = tx.one(sql(GENERATION)).await?;
    let generation = Reader { table: "generation", row: &row }.number("number")?;
    let row = tx.optional(sql(INSTANCE)).await?;
    let row = row.ok_or_else(|| StoreError::Inconsistent {
        table: "instance",
        column: "id",
        row: "the only one".to_owned(),
    })?;
    let instance: Id<Instance> = Reader { table: "instance", row: &row }.parsed("id")?;
    let head = tx.optional(sql(NEWEST_HEAD)).await?;
    Ok(Everything {
        generation,
        instance,
        vault_generations: all(tx, VaultGenerationRow::ALL).await?,
        customers: all(tx, CustomerRow::ALL).await?,
        sealed: all(tx, SealedRow::ALL).await?,
        providers: all(tx, P::ALL).await?,
        connections: all(tx, ConnectionRow::ALL).await?,
        clients: all(tx, ClientRow::ALL).await?,
        keys: all(tx, KeyRow::ALL).await?,
        grants: all(tx, GrantRow::ALL).await?,
        people: people(tx).await?,
        connects: connects(tx).await?,
        lifetimes: lifetimes(tx).await?,
        secret_stores: secret_stores(tx).await?,
        seals: all(tx, RowSeal::ALL).await?,
        head: head.as_ref().map(StateHead::from_row).transpose()?,
    })
}

pub(crate) async fn all<T: FromRow>(
    tx: &mut Transaction,
    statement: &'static str,
) -> Result<Vec<T>, StoreError> {
    let rows = tx.all(sql(statement)).await?;
    rows.iter().map(T::from_row).collect()
}

/// Everything sealed: records, the customers' keys and the generations. A key that was destroyed
/// and put back changes the head like any other row.
pub(crate) async fn heads(tx: &mut Transaction) -> Result<Vec<SealedHead>, StoreError> {
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
