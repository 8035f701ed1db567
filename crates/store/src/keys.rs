//! Keys of the vault that change: generations under another root key, values under another generation,
//! and customers whose key is destroyed.

use crate::{
    StoreError,
    dialect::{Row, sql},
    rows::{CustomerRow, FromRow, Reader, SealedRow, VaultGenerationRow},
    store::{Store, all},
    tx::Tx,
};
use types::{Customer, Id, Timestamp};

/// Who does some work, as of a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub holder: String,
    /// Moves while they do it.
    pub beat: u64,
}

/// What of a customer was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Destroyed {
    pub sealed: u64,
    pub connections: u64,
    pub grants: u64,
}

const CUSTOMERS_BEFORE: &str =
    "SELECT id, lookup, vault_generation, wrapped_key, commitment, created_at
     FROM customer WHERE vault_generation < $1 ORDER BY id LIMIT $2";
const SEALED_OF: &str =
    "SELECT record, table_name, column_name, customer, version, vault_generation, sealed
     FROM sealed WHERE customer = $1 ORDER BY record, table_name, column_name";

impl Tx {
    /// The generations' keys as they are wrapped now.
    pub async fn vault_generations(&mut self) -> Result<Vec<VaultGenerationRow>, StoreError> {
        all(self.inner(), VaultGenerationRow::ALL).await
    }

    /// Puts a generation's key under another root key.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if there is no such generation.
    pub async fn rewrap_generation(
        &mut self,
        number: u32,
        wrapped_key: &[u8],
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE vault_generation SET wrapped_key = $2 WHERE number = $1")
            .bind(i64::from(number))
            .bind(wrapped_key.to_vec());
        match self.change("vault_generation", query).await? {
            0 => Err(StoreError::Conflict { table: "vault_generation" }),
            _ => Ok(()),
        }
    }

    /// Destroys the keys of all generations before this one; how many there were.
    pub async fn delete_generations_before(&mut self, number: u32) -> Result<u64, StoreError> {
        let query = sql("DELETE FROM vault_generation WHERE number < $1").bind(i64::from(number));
        self.change("vault_generation", query).await
    }

    /// Says that another root key replaced the one of this name.
    pub async fn put_former_root_key(
        &mut self,
        name: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sql("INSERT INTO former_root_key (name, replaced_at) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET replaced_at = $2")
        .bind(name)
        .bind(now.as_micros());
        self.change("former_root_key", query).await.map(drop)
    }

    /// Customers whose key is of an earlier generation, at most so many.
    pub async fn customers_before(
        &mut self,
        generation: u32,
        limit: u32,
    ) -> Result<Vec<CustomerRow>, StoreError> {
        let query = sql(CUSTOMERS_BEFORE).bind(i64::from(generation)).bind(i64::from(limit));
        let rows = self.inner().all(query).await?;
        rows.iter().map(CustomerRow::from_row).collect()
    }

    /// All that is sealed under a customer's key.
    pub async fn sealed_of(&mut self, id: Id<Customer>) -> Result<Vec<SealedRow>, StoreError> {
        let rows = self.inner().all(sql(SEALED_OF).bind(id.to_string())).await?;
        rows.iter().map(SealedRow::from_row).collect()
    }

    /// Gives a customer another key.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if there is no such customer.
    pub async fn rekey_customer(
        &mut self,
        id: Id<Customer>,
        generation: u32,
        wrapped_key: &[u8],
    ) -> Result<(), StoreError> {
        let query =
            sql("UPDATE customer SET vault_generation = $2, wrapped_key = $3 WHERE id = $1")
                .bind(id.to_string())
                .bind(i64::from(generation))
                .bind(wrapped_key.to_vec());
        match self.change("customer", query).await? {
            0 => Err(StoreError::Conflict { table: "customer" }),
            _ => Ok(()),
        }
    }

    /// Deletes a customer with its key, all that is sealed under it, its connections, and the grants on
    /// them.
    pub async fn erase_customer(&mut self, id: Id<Customer>) -> Result<Destroyed, StoreError> {
        let own = || id.to_string();
        // What refers to its connections, and to it.
        let before = [
            (
                "consent",
                "DELETE FROM consent WHERE connection IN
              (SELECT id FROM connection WHERE customer = $1)",
            ),
            (
                "renewal",
                "DELETE FROM renewal WHERE connection IN
              (SELECT id FROM connection WHERE customer = $1)",
            ),
            ("connect_session", "DELETE FROM connect_session WHERE customer = $1"),
            (
                "secret_source",
                "DELETE FROM secret_source WHERE connection IN
              (SELECT id FROM connection WHERE customer = $1)",
            ),
            (
                "lifetime_state",
                "DELETE FROM lifetime_state WHERE subject IN
              (SELECT id FROM connection WHERE customer = $1)",
            ),
            (
                "used_by_node",
                "DELETE FROM used_by_node WHERE subject IN
              (SELECT id FROM connection WHERE customer = $1)",
            ),
        ];
        for (table, text) in before {
            self.change(table, sql(text).bind(own())).await?;
        }
        let grants = sql("DELETE FROM access_grant WHERE connection IN
             (SELECT id FROM connection WHERE customer = $1)")
        .bind(own());
        let connections = sql("DELETE FROM connection WHERE customer = $1").bind(own());
        let sealed = sql("DELETE FROM sealed WHERE customer = $1").bind(own());
        let destroyed = Destroyed {
            grants: self.change("access_grant", grants).await?,
            connections: self.change("connection", connections).await?,
            sealed: self.change("sealed", sealed).await?,
        };
        let key = sql("DELETE FROM customer WHERE id = $1").bind(own());
        self.change("customer", key).await?;
        Ok(destroyed)
    }
}

impl Store {
    /// When another root key replaced the one of this name, if one did.
    pub async fn root_key_replaced_at(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        let query = sql("SELECT replaced_at FROM former_root_key WHERE name = $1").bind(name);
        let row = self.readers().optional(query).await?;
        row.map(|row| Reader { table: "former_root_key", row: &row }.time("replaced_at"))
            .transpose()
    }

    /// Who does this work, if anybody ever did.
    pub async fn lease(&self, name: &str) -> Result<Option<Lease>, StoreError> {
        let query = sql("SELECT holder, beat FROM lease WHERE name = $1").bind(name);
        let row = self.readers().optional(query).await?;
        row.as_ref().map(lease_of).transpose()
    }

    /// Takes or keeps the work, if nobody did since `seen`; whether that is so.
    pub async fn take_lease(
        &self,
        name: &str,
        holder: &str,
        seen: Option<&Lease>,
    ) -> Result<bool, StoreError> {
        let beat = seen.map_or(0, |seen| seen.beat);
        let next = i64::try_from(beat + 1).unwrap_or(i64::MAX);
        let query = match seen {
            None => sql("INSERT INTO lease (name, holder, beat) VALUES ($1, $2, $3)
                 ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(holder)
            .bind(next),
            Some(seen) => sql("UPDATE lease SET holder = $2, beat = $3
                 WHERE name = $1 AND holder = $4 AND beat = $3 - 1")
            .bind(name)
            .bind(holder)
            .bind(next)
            .bind(seen.holder.clone()),
        };
        let mut tx = self.writer().begin_aside().await?;
        let taken = tx.change("lease", query).await?;
        tx.commit().await?;
        Ok(taken > 0)
    }
}

fn lease_of(row: &Row) -> Result<Lease, StoreError> {
    let reader = Reader { table: "lease", row };
    Ok(Lease { holder: reader.text("holder")?, beat: reader.number("beat")? })
}
