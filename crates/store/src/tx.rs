//! One change: all of it with its audit event, or nothing.

use crate::{
    StoreError,
    dialect::{Statement, Transaction, sql},
    rows::{
        ClientRow, ConnectionRow, CustomerRow, Everything, FromRow, GrantChanges, GrantRow,
        GrantTarget, KeyRow, MovedRow, OutboxRow, ProviderFacts, ProviderRow, Reader, RowSeal,
        SealedHead, SealedRow, StateHead,
    },
    store::{
        GENERATION, HEAD_AT, KEYS_OF, PROVIDER_BY_SLUG, SEALED, all, everything, heads, put_moved,
    },
};
use std::{collections::HashMap, fmt};
use types::{Client, Connection, Grant, Id, Instance, Key, Slug, Timestamp};

/// An open change. Dropped without [`Tx::commit`], nothing happened.
#[must_use]
pub struct Tx {
    inner: Transaction,
    is_changed: bool,
    is_audited: bool,
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("is_changed", &self.is_changed).finish_non_exhaustive()
    }
}

impl Tx {
    pub(crate) const fn new(inner: Transaction) -> Self {
        Self { inner, is_changed: false, is_audited: false }
    }

    pub(crate) const fn inner(&mut self) -> &mut Transaction {
        &mut self.inner
    }

    pub(crate) async fn change(
        &mut self,
        table: &'static str,
        query: Statement,
    ) -> Result<u64, StoreError> {
        let rows = self.inner.change(table, query).await?;
        self.is_changed |= rows > 0;
        Ok(rows)
    }

    async fn one<T: FromRow>(&mut self, query: Statement) -> Result<Option<T>, StoreError> {
        let row = self.inner.optional(query).await?;
        row.as_ref().map(T::from_row).transpose()
    }

    /// Makes the change durable and yields the store's generation, which moved by one if anything
    /// changed.
    ///
    /// # Errors
    /// [`StoreError::Unaudited`] if something changed and [`Tx::append_outbox`] was not called.
    pub async fn commit(mut self) -> Result<u64, StoreError> {
        if self.is_changed && !self.is_audited {
            return Err(StoreError::Unaudited);
        }
        if !self.is_changed {
            let generation = self.generation().await?;
            self.inner.commit().await?;
            return Ok(generation);
        }
        let query =
            sql("UPDATE generation SET number = number + 1 WHERE only_row = 1 RETURNING number");
        let row = self.inner.one(query).await?;
        let generation = Reader { table: "generation", row: &row }.number("number")?;
        self.inner.commit().await?;
        Ok(generation)
    }

    /// The store's generation before this change.
    pub async fn generation(&mut self) -> Result<u64, StoreError> {
        let row = self.inner.one(sql(GENERATION)).await?;
        Reader { table: "generation", row: &row }.number("number")
    }

    /// The audit event of this change: it moves into the log in order of commits.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if this event waits there already.
    pub async fn append_outbox(
        &mut self,
        event: [u8; 16],
        record: &[u8],
    ) -> Result<(), StoreError> {
        let sequence = self.next_sequence().await?;
        self.put_outbox(OutboxRow { sequence, event, record: record.to_vec(), seal: None }).await
    }

    /// The sequence of the change's next event: for a record that names it.
    pub async fn next_sequence(&mut self) -> Result<u64, StoreError> {
        let query =
            sql("UPDATE generation SET outbox = outbox + 1 WHERE only_row = 1 RETURNING outbox");
        let row = self.inner.one(query).await?;
        Reader { table: "generation", row: &row }.number("outbox")
    }

    /// As [`Tx::append_outbox`], with a sequence that [`Tx::next_sequence`] gave in this change.
    pub async fn put_outbox(&mut self, row: OutboxRow) -> Result<(), StoreError> {
        let query =
            sql("INSERT INTO outbox (sequence, event, record, seal) VALUES ($1, $2, $3, $4)")
                .bind(number(row.sequence))
                .bind(row.event.to_vec())
                .bind(row.record)
                .bind(row.seal);
        self.inner.change("outbox", query).await?;
        self.is_audited = true;
        Ok(())
    }

    /// The rows that stand for all events up to them.
    pub async fn summed_up_moved(&mut self) -> Result<Vec<MovedRow>, StoreError> {
        let query = sql("SELECT sequence, log, seal FROM outbox_moved WHERE log IS NULL");
        let rows = self.inner.all(query).await?;
        rows.iter().map(MovedRow::from_row).collect()
    }

    /// Says what became of an event.
    pub async fn put_moved(&mut self, row: &MovedRow) -> Result<(), StoreError> {
        self.inner.execute(put_moved(row)).await.map(drop)
    }

    /// The number of the oldest event that waits.
    pub async fn oldest_waiting(&mut self) -> Result<Option<u64>, StoreError> {
        let query = sql("SELECT sequence FROM outbox ORDER BY sequence LIMIT 1");
        let row = self.inner.optional(query).await?;
        row.map(|row| Reader { table: "outbox", row: &row }.number("sequence")).transpose()
    }

    /// Gives the rows that a log claimed to whoever claims them next; yields their numbers.
    pub async fn unclaim_outbox_of(&mut self, log: &str) -> Result<Vec<u64>, StoreError> {
        let query = sql("UPDATE outbox SET claimed_by = NULL WHERE claimed_by = $1
             RETURNING sequence");
        let rows = self.inner.all(query.bind(log)).await?;
        let mut given: Vec<u64> = rows
            .iter()
            .map(|row| Reader { table: "outbox", row }.number("sequence"))
            .collect::<Result<_, _>>()?;
        given.sort_unstable();
        Ok(given)
    }

    /// Gives rows that wait back to whoever claims them next: of a database whose logs stayed
    /// elsewhere.
    pub async fn unclaim_outbox(&mut self) -> Result<(), StoreError> {
        self.inner.execute(sql("UPDATE outbox SET claimed_by = NULL")).await.map(drop)
    }

    /// All rows as this change sees them.
    pub async fn everything(&mut self) -> Result<Everything<ProviderFacts>, StoreError> {
        everything(&mut self.inner).await
    }

    /// All providers with their descriptions.
    pub async fn providers(&mut self) -> Result<Vec<ProviderRow>, StoreError> {
        all(&mut self.inner, ProviderRow::ALL).await
    }

    /// Puts a row's seal in place.
    pub async fn put_seal(&mut self, seal: &RowSeal) -> Result<(), StoreError> {
        let query = sql("INSERT INTO row_seal (kind, id, seal) VALUES ($1, $2, $3)
             ON CONFLICT (kind, id) DO UPDATE SET seal = $3")
        .bind(seal.kind.clone())
        .bind(seal.id.clone())
        .bind(seal.seal.to_vec());
        self.change("row_seal", query).await.map(drop)
    }

    /// Forgets the seal of a row that is no more.
    pub async fn delete_seal(&mut self, kind: &str, id: &str) -> Result<(), StoreError> {
        let query = sql("DELETE FROM row_seal WHERE kind = $1 AND id = $2").bind(kind).bind(id);
        self.change("row_seal", query).await.map(drop)
    }

    /// The state of all rows with this change.
    pub async fn insert_head(&mut self, head: &StateHead) -> Result<(), StoreError> {
        let query = sql("INSERT INTO state_head (sequence, event, row_count, root, seal)
             VALUES ($1, $2, $3, $4, $5)")
        .bind(number(head.sequence))
        .bind(head.event.to_vec())
        .bind(number(head.count))
        .bind(head.root.to_vec())
        .bind(head.seal.to_vec());
        self.change("state_head", query).await.map(drop)
    }

    /// The state after the change of this sequence, if there was one.
    pub async fn head_at(&mut self, sequence: u64) -> Result<Option<StateHead>, StoreError> {
        self.one(sql(HEAD_AT).bind(number(sequence))).await
    }

    pub async fn insert_instance(
        &mut self,
        id: Id<Instance>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("INSERT INTO instance (only_row, id, created_at) VALUES (1, $1, $2)")
            .bind(id.to_string())
            .bind(now.as_micros());
        self.change("instance", query).await.map(drop)
    }

    pub async fn insert_vault_generation(
        &mut self,
        number: u32,
        wrapped_key: &[u8],
    ) -> Result<(), StoreError> {
        let query = sql("INSERT INTO vault_generation (number, wrapped_key) VALUES ($1, $2)")
            .bind(i64::from(number))
            .bind(wrapped_key.to_vec());
        self.change("vault_generation", query).await.map(drop)
    }

    pub async fn customer_by_lookup(
        &mut self,
        lookup: &[u8; 32],
    ) -> Result<Option<CustomerRow>, StoreError> {
        let query = sql("SELECT id, lookup, vault_generation, wrapped_key, commitment, created_at
             FROM customer WHERE lookup = $1")
        .bind(lookup.to_vec());
        self.one(query).await
    }

    pub async fn customer(
        &mut self,
        id: Id<types::Customer>,
    ) -> Result<Option<CustomerRow>, StoreError> {
        let query = sql("SELECT id, lookup, vault_generation, wrapped_key, commitment, created_at
             FROM customer WHERE id = $1");
        self.one(query.bind(id.to_string())).await
    }

    pub async fn insert_customer(&mut self, row: &CustomerRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO customer
             (id, lookup, vault_generation, wrapped_key, commitment, created_at)
             VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(row.id.to_string())
        .bind(row.lookup.to_vec())
        .bind(i64::from(row.generation))
        .bind(row.wrapped_key.clone())
        .bind(row.commitment.to_vec())
        .bind(row.created_at.as_micros());
        self.change("customer", query).await.map(drop)
    }

    /// Stores a sealed value, or replaces the version right before it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if another version than the one before stands there.
    pub async fn put_sealed(&mut self, row: &SealedRow) -> Result<(), StoreError> {
        let version =
            i64::try_from(row.version).map_err(|_| StoreError::Conflict { table: "sealed" })?;
        let query = sql("INSERT INTO sealed
             (table_name, record, column_name, customer, version, vault_generation, sealed)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (record, table_name, column_name) DO UPDATE
             SET version = $5, vault_generation = $6, sealed = $7
             WHERE sealed.version = $5 - 1 AND sealed.customer = $4")
        .bind(row.table.clone())
        .bind(row.record.to_vec())
        .bind(row.column.clone())
        .bind(row.customer.to_string())
        .bind(version)
        .bind(i64::from(row.generation))
        .bind(row.sealed.clone());
        match self.change("sealed", query).await? {
            0 => Err(StoreError::Conflict { table: "sealed" }),
            _ => Ok(()),
        }
    }

    /// A sealed value, if there is one.
    pub async fn sealed(
        &mut self,
        table: &str,
        record: &[u8; 16],
        column: &str,
    ) -> Result<Option<SealedRow>, StoreError> {
        let query =
            sql(SEALED).bind(record.to_vec()).bind(table.to_owned()).bind(column.to_owned());
        self.one(query).await
    }

    /// What the vault's head is computed from, with this change.
    pub async fn sealed_heads(&mut self) -> Result<Vec<SealedHead>, StoreError> {
        heads(&mut self.inner).await
    }

    pub async fn provider_by_slug(
        &mut self,
        slug: &Slug,
    ) -> Result<Option<ProviderRow>, StoreError> {
        self.one(sql(PROVIDER_BY_SLUG).bind(slug.as_str().to_owned())).await
    }

    /// Stores a provider, or replaces all of it but its id.
    pub async fn put_provider(&mut self, row: &ProviderRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO provider
             (id, slug, description, overlay, server, allow_private, imported_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (id) DO UPDATE SET slug = $2, description = $3, overlay = $4,
             server = $5, allow_private = $6, imported_at = $7")
        .bind(row.id.to_string())
        .bind(row.slug.to_string())
        .bind(row.description.clone())
        .bind(row.overlay.clone())
        .bind(row.server.clone())
        .bind(json(&row.allow_private))
        .bind(row.imported_at.as_micros());
        self.change("provider", query).await.map(drop)
    }

    pub async fn insert_connection(&mut self, row: &ConnectionRow) -> Result<(), StoreError> {
        let query =
            sql("INSERT INTO connection (id, provider, customer, environment, scheme, variables,
             headers, created_at, revoked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
            .bind(row.id.to_string())
            .bind(row.provider.to_string())
            .bind(row.customer.to_string())
            .bind(row.environment.as_str())
            .bind(row.scheme.clone())
            .bind(json(&row.variables))
            .bind(json(&row.headers))
            .bind(row.created_at.as_micros())
            .bind(row.revoked_at.map(Timestamp::as_micros));
        self.change("connection", query).await.map(drop)
    }

    pub async fn connection(
        &mut self,
        id: Id<Connection>,
    ) -> Result<Option<ConnectionRow>, StoreError> {
        let query = sql(
            "SELECT id, provider, customer, environment, scheme, variables, headers, created_at,
             revoked_at FROM connection WHERE id = $1",
        )
        .bind(id.to_string());
        self.one(query).await
    }

    /// Whether it was in force. The first revocation counts.
    pub async fn revoke_connection(
        &mut self,
        id: Id<Connection>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let query =
            sql("UPDATE connection SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
                .bind(id.to_string())
                .bind(now.as_micros());
        self.change("connection", query).await.map(|rows| rows > 0)
    }

    pub async fn client_by_name(&mut self, name: &Slug) -> Result<Option<ClientRow>, StoreError> {
        let query = sql("SELECT id, name, created_at FROM client WHERE name = $1")
            .bind(name.as_str().to_owned());
        self.one(query).await
    }

    pub async fn client_name(&mut self, id: Id<Client>) -> Result<Option<Slug>, StoreError> {
        let query =
            sql("SELECT id, name, created_at FROM client WHERE id = $1").bind(id.to_string());
        Ok(self.one::<ClientRow>(query).await?.map(|row| row.name))
    }

    pub async fn insert_client(&mut self, row: &ClientRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO client (id, name, created_at) VALUES ($1, $2, $3)")
            .bind(row.id.to_string())
            .bind(row.name.to_string())
            .bind(row.created_at.as_micros());
        self.change("client", query).await.map(drop)
    }

    pub async fn insert_key(&mut self, row: &KeyRow) -> Result<(), StoreError> {
        let client: Id<Client> = row.client;
        let query = sql("INSERT INTO api_key
             (id, client, environment, digest, created_at, expires_at, revoked_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(row.id.to_string())
        .bind(client.to_string())
        .bind(row.environment.as_str())
        .bind(row.digest.to_vec())
        .bind(row.created_at.as_micros())
        .bind(row.expires_at.as_micros())
        .bind(row.revoked_at.map(Timestamp::as_micros));
        self.change("api_key", query).await.map(drop)
    }

    pub async fn key(&mut self, id: Id<Key>) -> Result<Option<KeyRow>, StoreError> {
        let query =
            sql("SELECT id, client, environment, digest, created_at, expires_at, revoked_at
             FROM api_key WHERE id = $1")
            .bind(id.to_string());
        self.one(query).await
    }

    /// A client's keys, revoked and expired ones too.
    pub async fn keys_of(&mut self, client: Id<Client>) -> Result<Vec<KeyRow>, StoreError> {
        let query = sql(KEYS_OF).bind(client.to_string());
        let rows = self.inner.all(query).await?;
        rows.iter().map(KeyRow::from_row).collect()
    }

    /// Whether it was in force. The first revocation counts.
    pub async fn revoke_key(&mut self, id: Id<Key>, now: Timestamp) -> Result<bool, StoreError> {
        let query = sql("UPDATE api_key SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id.to_string())
            .bind(now.as_micros());
        self.change("api_key", query).await.map(|rows| rows > 0)
    }

    /// Moves the end of a key that is not revoked.
    pub async fn end_key_at(&mut self, id: Id<Key>, end: Timestamp) -> Result<bool, StoreError> {
        let query = sql("UPDATE api_key SET expires_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id.to_string())
            .bind(end.as_micros());
        self.change("api_key", query).await.map(|rows| rows > 0)
    }

    pub async fn grants(&mut self) -> Result<Vec<GrantRow>, StoreError> {
        all(&mut self.inner, GrantRow::ALL).await
    }

    pub async fn insert_grant(&mut self, row: &GrantRow) -> Result<(), StoreError> {
        let (provider, connection) = match row.target {
            GrantTarget::Provider(id) => (Some(id.to_string()), None),
            GrantTarget::Connection(id) => (None, Some(id.to_string())),
        };
        let query = sql("INSERT INTO access_grant
             (id, client, provider, connection, purpose, body, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(row.id.to_string())
        .bind(row.client.to_string())
        .bind(provider)
        .bind(connection)
        .bind(row.purpose.clone())
        .bind(row.body.clone())
        .bind(row.created_at.as_micros());
        self.change("access_grant", query).await.map(drop)
    }

    /// Whether there was such a grant.
    pub async fn update_grant(&mut self, id: Id<Grant>, body: &str) -> Result<bool, StoreError> {
        let query = sql("UPDATE access_grant SET body = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(body.to_owned());
        self.change("access_grant", query).await.map(|rows| rows > 0)
    }

    /// Whether there was such a grant.
    pub async fn delete_grant(&mut self, id: Id<Grant>) -> Result<bool, StoreError> {
        let query = sql("DELETE FROM access_grant WHERE id = $1").bind(id.to_string());
        self.change("access_grant", query).await.map(|rows| rows > 0)
    }

    /// Makes the grants exactly these. One whose identity is there already keeps its id and the
    /// time it was made, and is written only if its body differs.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if two of `rows` have one identity.
    pub async fn replace_grants(&mut self, rows: &[GrantRow]) -> Result<GrantChanges, StoreError> {
        let mut present: HashMap<_, _> = HashMap::new();
        let before = self.grants().await?;
        for row in &before {
            present.insert(row.identity(), row);
        }
        let mut changes = GrantChanges::default();
        let mut added = Vec::new();
        for row in rows {
            match present.remove(&row.identity()) {
                None => added.push(row),
                Some(known) if known.body == row.body => {}
                Some(known) => {
                    self.update_grant(known.id, &row.body).await?;
                    changes.changed += 1;
                }
            }
        }
        for gone in present.into_values() {
            self.delete_grant(gone.id).await?;
            changes.removed += 1;
        }
        for row in added {
            self.insert_grant(row).await?;
            changes.added += 1;
        }
        Ok(changes)
    }
}

/// No count of ours reaches the other half.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn json(value: &impl serde::Serialize) -> String {
    // Lists and maps of texts always serialise.
    serde_json::to_string(value).unwrap_or_default()
}
