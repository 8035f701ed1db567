//! Leases on the renewal of tokens: of many nodes, one asks the provider.

use crate::{
    Store, StoreError,
    dialect::{self, sql},
    rows::Reader,
};
use std::time::Duration;
use types::{Connection, Id, Timestamp};

/// A lease that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// How often it failed in a row.
    pub failures: u32,
    /// Whether whoever held it before neither ended it nor said why: the provider may have been asked.
    pub was_interrupted: bool,
}

/// A lease whose node said nothing any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftLease {
    pub node: String,
    pub begun_at: Timestamp,
}

/// What came of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    Ours(Renewal),
    /// Somebody else has it, a pause is not over, or the tokens are of another version.
    NotOurs,
    /// It ended by its time, and whoever had it may still be about to write what the provider gave.
    Left(LeftLease),
}

/// What somebody who would renew a connection says of itself.
#[derive(Debug, Clone, Copy)]
pub struct RenewalClaim<'c> {
    pub connection: Id<Connection>,
    /// Of the tokens that it knows; 0: there are none yet.
    pub version: u64,
    pub node: &'c str,
    pub now: Timestamp,
    pub lasts: Duration,
    /// A lease of another node that may be taken over: it was left without a word, and watched long enough.
    pub takes_over: Option<&'c LeftLease>,
    /// Whether a pause after a failure counts: not where somebody wants to know it now.
    pub is_patient: bool,
}

impl Store {
    /// Takes the lease, unless another node has it, a failure's pause is not over, or the tokens are of
    /// another version by now.
    pub async fn claim_renewal(&self, claim: RenewalClaim<'_>) -> Result<Claimed, StoreError> {
        let id = claim.connection.to_string();
        let version = number(claim.version)?;
        let mut tx = self.writer().begin_aside().await?;
        let connection = sql("SELECT revoked_at FROM connection WHERE id = $1").bind(id.clone());
        let connection = tx.optional(connection).await?;
        let is_in_force = match &connection {
            Some(row) => Reader { table: "connection", row }.optional_time("revoked_at")?.is_none(),
            None => false,
        };
        if !is_in_force {
            return Ok(Claimed::NotOurs);
        }
        let before = sql("SELECT connection, version, node, begun_at, until_at, failures, next_at
             FROM renewal WHERE connection = $1");
        let before = tx.optional(before.bind(id.clone())).await?;
        let mut renewal = Renewal { failures: 0, was_interrupted: false };
        if let Some(row) = &before {
            let row = Reader { table: "renewal", row };
            if row.number::<u64>("version")? == claim.version {
                renewal.failures = row.number("failures")?;
                renewal.was_interrupted = row.optional_time("begun_at")?.is_some();
            }
        }
        if let Some(row) = &before {
            let row = Reader { table: "renewal", row };
            let node = row.text("node")?;
            if let Some(begun_at) = row.optional_time("begun_at")?
                && node != claim.node
                && row.time("until_at")? <= claim.now
            {
                let left = LeftLease { node, begun_at };
                if claim.takes_over != Some(&left) {
                    return Ok(Claimed::Left(left));
                }
            }
        }
        // One statement decides, whoever else reads and writes meanwhile.
        let take = sql("INSERT INTO renewal
             (connection, version, node, begun_at, until_at, failures, next_at)
             VALUES ($1, $2, $3, $4, $5, 0, 0)
             ON CONFLICT (connection) DO UPDATE
             SET version = $2, node = $3, begun_at = $4, until_at = $5,
                 failures = CASE WHEN renewal.version = $2 THEN renewal.failures ELSE 0 END
             WHERE renewal.until_at <= $4
               AND (renewal.begun_at IS NULL OR renewal.node = $3
                    OR (renewal.node = $7 AND renewal.begun_at = $8))
               AND (renewal.version < $2 OR renewal.next_at <= $4 OR $6 = 0)")
        .bind(id)
        .bind(version)
        .bind(claim.node.to_owned())
        .bind(claim.now.as_micros())
        .bind((claim.now + claim.lasts).as_micros())
        .bind(i64::from(claim.is_patient))
        .bind(claim.takes_over.map_or_else(String::new, |left| left.node.clone()))
        .bind(claim.takes_over.map_or(0, |left| left.begun_at.as_micros()));
        let taken = tx.change("renewal", take).await?;
        tx.commit().await?;
        if taken == 0 {
            return Ok(Claimed::NotOurs);
        }
        // Asked only now: whoever had the lease before wrote its tokens before it gave it back.
        if self.token_version(claim.connection).await? == claim.version {
            return Ok(Claimed::Ours(renewal));
        }
        self.end_renewal(claim.connection, claim.node, (0, Timestamp::EPOCH)).await?;
        Ok(Claimed::NotOurs)
    }

    /// Of a connection's tokens; 0: there are none.
    async fn token_version(&self, connection: Id<Connection>) -> Result<u64, StoreError> {
        let query = sql("SELECT version FROM sealed
             WHERE record = $1 AND table_name = 'connection' AND column_name = 'token'");
        let row = self.readers().optional(query.bind(connection.to_bytes().to_vec())).await?;
        row.as_ref().map_or(Ok(0), |row| Reader { table: "sealed", row }.number("version"))
    }

    /// Gives the lease back: the renewal ended, well or not. `failures` in a row, and the moment before
    /// which nobody tries again.
    pub async fn end_renewal(
        &self,
        connection: Id<Connection>,
        node: &str,
        (failures, next_at): (u32, Timestamp),
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE renewal
             SET begun_at = NULL, until_at = 0, failures = $3, next_at = $4
             WHERE connection = $1 AND node = $2")
        .bind(connection.to_string())
        .bind(node.to_owned())
        .bind(i64::from(failures))
        .bind(next_at.as_micros());
        let mut tx = self.writer().begin_aside().await?;
        tx.change("renewal", query).await?;
        tx.commit().await
    }

    /// Ends the leases of a node whose server begins: whoever held them is no more. That a provider may
    /// have been asked stays on record.
    pub async fn forget_leases(&self, node: &str) -> Result<(), StoreError> {
        let query = sql("UPDATE renewal SET until_at = 0 WHERE node = $1 AND until_at > 0");
        let mut tx = self.writer().begin_aside().await?;
        tx.change("renewal", query.bind(node.to_owned())).await?;
        tx.commit().await
    }

    /// When connections whose last renewal failed are tried again, and how often in a row it did.
    pub async fn failed_renewals(
        &self,
    ) -> Result<Vec<(Id<Connection>, u32, Timestamp)>, StoreError> {
        let query = sql("SELECT connection, failures, next_at FROM renewal
             WHERE failures > 0 ORDER BY connection");
        let rows = self.readers().all(query).await?;
        let read = |row: &dialect::Row| {
            let row = Reader { table: "renewal", row };
            Ok((row.parsed("connection")?, row.number("failures")?, row.time("next_at")?))
        };
        rows.iter().map(read).collect()
    }
}

fn number(version: u64) -> Result<i64, StoreError> {
    i64::try_from(version).map_err(|_| StoreError::Conflict { table: "renewal" })
}
