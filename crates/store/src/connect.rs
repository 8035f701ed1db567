//! Connect sessions and consents: who is about to let Weirgate reach a provider, and who did.

use crate::{
    Store, StoreError,
    dialect::{Transaction, sql},
    rows::{FromRow, Reader},
    store::all,
    tx::Tx,
};
use types::{
    ConnectProgress, ConnectSession, Connection, Consent, Customer, Environment, Id, Provider,
    Timestamp,
};

/// See the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectSessionRow {
    pub id: Id<ConnectSession>,
    /// Keyed digest of what opens it, once.
    pub token: [u8; 32],
    /// Keyed digest of what the browser keeps; `None` until it is opened.
    pub trip: Option<[u8; 32]>,
    /// Keyed digest of an idempotency key and whose it is.
    pub request: Option<[u8; 32]>,
    pub provider: Id<Provider>,
    pub customer: Id<Customer>,
    pub environment: Environment,
    /// The connection that is connected anew, or the one that came of it.
    pub connection: Option<Id<Connection>>,
    pub progress: ConnectProgress,
    /// A known code: why it ended.
    pub failure: Option<String>,
    pub begun_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// When the answer came back that counts.
    pub used_at: Option<Timestamp>,
}

/// See the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentRow {
    pub id: Id<Consent>,
    pub connection: Id<Connection>,
    /// SHA-256 of the text that was shown, which lies sealed.
    pub digest: [u8; 32],
    /// JSON: what grants let through then.
    pub reach: String,
    pub given_by: String,
    pub given_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// A known word: withdrawn, renewed or revoked.
    pub ended_as: Option<String>,
}

/// All of both, in the order of ids.
#[derive(Clone, Debug, Default)]
pub struct Connects {
    pub sessions: Vec<ConnectSessionRow>,
    pub consents: Vec<ConsentRow>,
}

fn optional_array(row: &Reader<'_>, column: &'static str) -> Result<Option<[u8; 32]>, StoreError> {
    match row.optional_bytes(column)? {
        Some(_) => row.array(column).map(Some),
        None => Ok(None),
    }
}

impl FromRow for ConnectSessionRow {
    const TABLE: &'static str = "connect_session";
    const ALL: &'static str = "SELECT id, token, trip, request, provider, customer, environment,
        connection, progress, failure, begun_by, created_at, expires_at, used_at
        FROM connect_session ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            token: row.array("token")?,
            trip: optional_array(row, "trip")?,
            request: optional_array(row, "request")?,
            provider: row.parsed("provider")?,
            customer: row.parsed("customer")?,
            environment: row.parsed("environment")?,
            connection: row.optional_parsed("connection")?,
            progress: row.parsed("progress")?,
            failure: row.optional_text("failure")?,
            begun_by: row.text("begun_by")?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
            used_at: row.optional_time("used_at")?,
        })
    }
}

impl FromRow for ConsentRow {
    const TABLE: &'static str = "consent";
    const ALL: &'static str =
        "SELECT id, connection, digest, reach, given_by, given_at, ended_at, ended_as
        FROM consent ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            connection: row.parsed("connection")?,
            digest: row.array("digest")?,
            reach: row.text("reach")?,
            given_by: row.text("given_by")?,
            given_at: row.time("given_at")?,
            ended_at: row.optional_time("ended_at")?,
            ended_as: row.optional_text("ended_as")?,
        })
    }
}

pub(crate) async fn connects(tx: &mut Transaction) -> Result<Connects, StoreError> {
    Ok(Connects {
        sessions: all(tx, ConnectSessionRow::ALL).await?,
        consents: all(tx, ConsentRow::ALL).await?,
    })
}

impl Tx {
    /// Stores a connect session, or how far it came.
    pub async fn put_connect_session(&mut self, row: &ConnectSessionRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO connect_session
             (id, token, trip, request, provider, customer, environment, connection, progress,
              failure, begun_by, created_at, expires_at, used_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
             ON CONFLICT (id) DO UPDATE
             SET trip = $3, connection = $8, progress = $9, failure = $10, used_at = $14")
        .bind(row.id.to_string())
        .bind(row.token.to_vec())
        .bind(row.trip.map(|digest| digest.to_vec()))
        .bind(row.request.map(|digest| digest.to_vec()))
        .bind(row.provider.to_string())
        .bind(row.customer.to_string())
        .bind(row.environment.as_str())
        .bind(row.connection.map(|id| id.to_string()))
        .bind(row.progress.as_str())
        .bind(row.failure.clone())
        .bind(row.begun_by.clone())
        .bind(row.created_at.as_micros())
        .bind(row.expires_at.as_micros())
        .bind(row.used_at.map(Timestamp::as_micros));
        self.change("connect_session", query).await.map(drop)
    }

    pub async fn delete_connect_session(
        &mut self,
        id: Id<ConnectSession>,
    ) -> Result<(), StoreError> {
        let query = sql("DELETE FROM connect_session WHERE id = $1").bind(id.to_string());
        self.change("connect_session", query).await.map(drop)
    }

    /// Stores a consent, or that it ended.
    pub async fn put_consent(&mut self, row: &ConsentRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO consent
             (id, connection, digest, reach, given_by, given_at, ended_at, ended_as)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (id) DO UPDATE SET ended_at = $7, ended_as = $8")
        .bind(row.id.to_string())
        .bind(row.connection.to_string())
        .bind(row.digest.to_vec())
        .bind(row.reach.clone())
        .bind(row.given_by.clone())
        .bind(row.given_at.as_micros())
        .bind(row.ended_at.map(Timestamp::as_micros))
        .bind(row.ended_as.clone());
        self.change("consent", query).await.map(drop)
    }
}

impl Store {
    /// Whether a connect session expired whose tokens are still there, or is old enough to be forgotten.
    pub async fn has_connects_due(
        &self,
        now: Timestamp,
        forgotten_before: Timestamp,
    ) -> Result<bool, StoreError> {
        let query = sql("SELECT id FROM connect_session WHERE expires_at <= $1
             AND (expires_at <= $2 OR progress NOT IN ('connected', 'ended')) LIMIT 1")
        .bind(now.as_micros())
        .bind(forgotten_before.as_micros());
        Ok(self.readers().optional(query).await?.is_some())
    }
}
