//! All rows of all tables, for a copy that either database takes. What a row means is not looked
//! at here: sealed values stay sealed, and whoever opens the vault judges what came back.

use crate::{
    Location, StoreError,
    dialect::{Row, Statement, Value, sql},
    store::{INSTANCE, Store},
};

/// A value of any row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    Text(String),
    Number(i64),
    Bytes(Vec<u8>),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Number,
    Bytes,
}

struct Table {
    name: &'static str,
    kinds: &'static [Kind],
    select: &'static str,
    insert: &'static str,
    delete: &'static str,
}

macro_rules! table {
    ($name:literal by $order:literal: ($c0:literal $k0:ident $n0:literal)
        $(, ($c:literal $k:ident $n:literal))* $(,)?) => {
        Table {
            name: $name,
            kinds: &[Kind::$k0 $(, Kind::$k)*],
            select: concat!("SELECT ", $c0 $(, ", ", $c)*, " FROM ", $name, " ORDER BY ", $order),
            insert: concat!(
                "INSERT INTO ", $name, " (", $c0 $(, ", ", $c)*,
                ") VALUES ($", $n0 $(, ", $", $n)*, ")"
            ),
            delete: concat!("DELETE FROM ", $name),
        }
    };
}

/// Every table, none before what its rows refer to. A test compares with the database.
const TABLES: &[Table] = &[
    table!("instance" by "only_row":
        ("only_row" Number 1), ("id" Text 2), ("created_at" Number 3)),
    table!("generation" by "only_row":
        ("only_row" Number 1), ("number" Number 2), ("outbox" Number 3)),
    table!("vault_generation" by "number": ("number" Number 1), ("wrapped_key" Bytes 2)),
    table!("customer" by "id":
        ("id" Text 1), ("lookup" Bytes 2), ("vault_generation" Number 3), ("wrapped_key" Bytes 4),
        ("commitment" Bytes 5), ("created_at" Number 6)),
    table!("sealed" by "record, table_name, column_name":
        ("record" Bytes 1), ("table_name" Text 2), ("column_name" Text 3), ("customer" Text 4),
        ("version" Number 5), ("vault_generation" Number 6), ("sealed" Bytes 7)),
    table!("provider" by "id":
        ("id" Text 1), ("slug" Text 2), ("description" Bytes 3), ("overlay" Bytes 4),
        ("server" Text 5), ("allow_private" Text 6), ("imported_at" Number 7)),
    table!("connection" by "id":
        ("id" Text 1), ("provider" Text 2), ("customer" Text 3), ("environment" Text 4),
        ("scheme" Text 5), ("variables" Text 6), ("headers" Text 7), ("created_at" Number 8),
        ("revoked_at" Number 9)),
    table!("renewal" by "connection":
        ("connection" Text 1), ("version" Number 2), ("node" Text 3), ("begun_at" Number 4),
        ("until_at" Number 5), ("failures" Number 6), ("next_at" Number 7)),
    table!("connect_session" by "id":
        ("id" Text 1), ("token" Bytes 2), ("trip" Bytes 3), ("request" Bytes 4),
        ("provider" Text 5), ("customer" Text 6), ("environment" Text 7), ("connection" Text 8),
        ("progress" Text 9), ("failure" Text 10), ("begun_by" Text 11), ("created_at" Number 12),
        ("expires_at" Number 13), ("used_at" Number 14)),
    table!("consent" by "id":
        ("id" Text 1), ("connection" Text 2), ("digest" Bytes 3), ("reach" Text 4),
        ("given_by" Text 5), ("given_at" Number 6), ("ended_at" Number 7), ("ended_as" Text 8)),
    table!("user_account" by "id":
        ("id" Text 1), ("customer" Text 2), ("lookup" Bytes 3), ("state" Text 4), ("roles" Text 5),
        ("created_at" Number 6), ("valid_from" Number 7)),
    table!("user_factor" by "id":
        ("id" Text 1), ("user_id" Text 2), ("kind" Text 3), ("name" Text 4), ("body" Text 5),
        ("created_at" Number 6), ("used" Number 7)),
    table!("one_time_link" by "id":
        ("id" Text 1), ("digest" Bytes 2), ("purpose" Text 3), ("user_id" Text 4),
        ("created_at" Number 5), ("expires_at" Number 6), ("used_at" Number 7)),
    table!("personal_token" by "id":
        ("id" Text 1), ("digest" Bytes 2), ("user_id" Text 3), ("name" Text 4), ("roles" Text 5),
        ("created_at" Number 6), ("expires_at" Number 7), ("revoked_at" Number 8)),
    table!("identity_provider" by "id":
        ("id" Text 1), ("name" Text 2), ("customer" Text 3), ("body" Text 4), ("created_at" Number 5)),
    table!("user_identity" by "id":
        ("id" Text 1), ("user_id" Text 2), ("provider" Text 3), ("subject" Bytes 4),
        ("managed" Number 5), ("created_at" Number 6)),
    table!("proposal" by "id":
        ("id" Text 1), ("author" Text 2), ("body" Text 3), ("created_at" Number 4),
        ("expires_at" Number 5)),
    table!("review" by "id":
        ("id" Text 1), ("body" Text 2), ("created_at" Number 3), ("due_at" Number 4),
        ("closed_at" Number 5)),
    table!("saved_view" by "id":
        ("id" Text 1), ("owner" Text 2), ("name" Text 3), ("body" Text 4), ("created_at" Number 5)),
    table!("role" by "name": ("name" Text 1), ("body" Text 2), ("created_at" Number 3)),
    table!("policy" by "name": ("name" Text 1), ("body" Text 2), ("created_at" Number 3)),
    table!("user_session" by "id":
        ("id" Text 1), ("digest" Bytes 2), ("user_id" Text 3), ("level" Text 4),
        ("created_at" Number 5), ("seen_at" Number 6), ("expires_at" Number 7),
        ("stepped_up_at" Number 8), ("seal" Bytes 9)),
    table!("sign_in_failure" by "lookup":
        ("lookup" Bytes 1), ("failures" Number 2), ("last_at" Number 3)),
    table!("client" by "id": ("id" Text 1), ("name" Text 2), ("created_at" Number 3)),
    table!("api_key" by "id":
        ("id" Text 1), ("client" Text 2), ("environment" Text 3), ("digest" Bytes 4),
        ("created_at" Number 5), ("expires_at" Number 6), ("revoked_at" Number 7)),
    table!("access_grant" by "id":
        ("id" Text 1), ("client" Text 2), ("provider" Text 3), ("connection" Text 4),
        ("purpose" Text 5), ("body" Text 6), ("created_at" Number 7)),
    table!("secret_store" by "name": ("name" Text 1), ("body" Text 2), ("created_at" Number 3)),
    table!("secret_source" by "connection":
        ("connection" Text 1), ("store" Text 2), ("path" Text 3), ("member" Text 4),
        ("version" Number 5), ("fetched_at" Number 6), ("closed" Text 7)),
    table!("lifetime" by "name": ("name" Text 1), ("body" Text 2), ("created_at" Number 3)),
    table!("client_owner" by "client": 
        ("client" Text 1), ("owner" Text 2), ("roles" Text 3), ("set_at" Number 4)),
    table!("lifetime_state" by "subject":
        ("subject" Text 1), ("warned_days" Number 2), ("warned_for" Number 3), ("rule" Text 4),
        ("condition" Text 5), ("suspended_at" Number 6), ("final_at" Number 7),
        ("ended_at" Number 8), ("restored_at" Number 9), ("renewed_at" Number 10),
        ("uses_before" Number 11)),
    table!("used_by_node" by "subject, log":
        ("log" Text 1), ("subject" Text 2), ("uses" Number 3), ("last_at" Number 4)),
    table!("field_use" by "client, provider, action, object, field":
        ("client" Text 1), ("provider" Text 2), ("action" Text 3), ("object" Text 4),
        ("field" Text 5), ("last_at" Number 6)),
    table!("field_use_begun" by "only_row": ("only_row" Number 1), ("begun_at" Number 2)),
    table!("key_network" by "subject, network":
        ("subject" Text 1), ("network" Bytes 2), ("first_at" Number 3)),
    table!("outbox" by "sequence":
        ("sequence" Number 1), ("event" Bytes 2), ("record" Bytes 3), ("seal" Bytes 4),
        ("claimed_by" Text 5)),
    table!("outbox_moved" by "sequence": ("sequence" Number 1), ("log" Text 2), ("seal" Bytes 3)),
    table!("audit_checkpoint" by "origin":
        ("origin" Text 1), ("size" Number 2), ("checkpoint" Text 3)),
    table!("former_root_key" by "name": ("name" Text 1), ("replaced_at" Number 2)),
    table!("lease" by "name": ("name" Text 1), ("holder" Text 2), ("beat" Number 3)),
    table!("node_seen" by "log": ("log" Text 1), ("seen_at" Number 2)),
    table!("audit_witness" by "origin, witness":
        ("origin" Text 1), ("witness" Text 2), ("request" Text 3), ("status" Number 4),
        ("size" Number 5), ("witness_key" Text 6), ("cosigned" Text 7)),
    table!("row_seal" by "kind, id": ("kind" Text 1), ("id" Text 2), ("seal" Bytes 3)),
    table!("state_head" by "sequence":
        ("sequence" Number 1), ("event" Bytes 2), ("row_count" Number 3), ("root" Bytes 4),
        ("seal" Bytes 5)),
];

const LAYOUT: &str = "SELECT MAX(version) AS layout FROM _sqlx_migrations";

/// Whether a row of that table and width can be restored here.
pub fn is_known(table: &str, width: usize) -> bool {
    TABLES.iter().any(|one| one.name == table && one.kinds.len() == width)
}

impl Store {
    /// The number of the newest migration.
    pub async fn layout(&self) -> Result<i64, StoreError> {
        Ok(self.readers().one(sql(LAYOUT)).await?.get("layout")?)
    }

    /// Hands out every row, as of one moment; those of one table at a time.
    pub async fn dump<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(&'static str, Vec<Cell>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut tx = self.readers().begin_read().await?;
        for table in TABLES {
            for row in tx.all(sql(table.select)).await? {
                each(table.name, cells(table, &row).map_err(StoreError::from)?)?;
            }
        }
        Ok(tx.rollback().await?)
    }

    /// Makes a database of these rows, all or nothing. `next` yields them in the order of
    /// [`Self::dump`].
    ///
    /// # Errors
    /// As [`Self::create`]; [`StoreError::Dangling`], [`StoreError::Conflict`] and
    /// [`StoreError::Foreign`] for rows that never stood together in a database of this layout.
    pub async fn restore<E: From<StoreError>>(
        location: &Location,
        mut next: impl FnMut() -> Result<Option<(String, Vec<Cell>)>, E>,
    ) -> Result<Self, E> {
        let store = Self::create(location).await?;
        let mut tx = store.writer().begin_change().await?;
        // Whoever was faster keeps what it made.
        if tx.optional(sql(INSTANCE)).await?.is_some() {
            return Err(StoreError::Exists { place: location.place() }.into());
        }
        // What the migrations put there.
        for table in TABLES.iter().rev() {
            tx.execute(sql(table.delete)).await?;
        }
        while let Some((name, row)) = next()? {
            let known = TABLES.iter().find(|one| one.name == name);
            let table = known
                .filter(|table| fits(table, &row))
                .ok_or(StoreError::Foreign { table: name })?;
            tx.change(table.name, bound(table.insert, row)).await?;
        }
        tx.commit().await?;
        Ok(store)
    }
}

fn fits(table: &Table, row: &[Cell]) -> bool {
    table.kinds.len() == row.len()
        && table.kinds.iter().zip(row).all(|(kind, cell)| {
            matches!(
                (kind, cell),
                (_, Cell::Null)
                    | (Kind::Text, Cell::Text(_))
                    | (Kind::Number, Cell::Number(_))
                    | (Kind::Bytes, Cell::Bytes(_))
            )
        })
}

fn cells(table: &Table, row: &Row) -> Result<Vec<Cell>, sqlx::Error> {
    let cell = |(index, kind): (usize, &Kind)| {
        Ok(match kind {
            Kind::Text => row.get::<Option<String>, _>(index)?.map_or(Cell::Null, Cell::Text),
            Kind::Number => row.get::<Option<i64>, _>(index)?.map_or(Cell::Null, Cell::Number),
            Kind::Bytes => row.get::<Option<Vec<u8>>, _>(index)?.map_or(Cell::Null, Cell::Bytes),
        })
    };
    table.kinds.iter().enumerate().map(cell).collect()
}

fn bound(insert: &'static str, row: Vec<Cell>) -> Statement {
    // The type of an absent value is the column's own.
    let table = TABLES.iter().find(|table| table.insert == insert);
    let kinds = table.map_or(&[][..], |table| table.kinds);
    row.into_iter().zip(kinds).fold(sql(insert), |statement, (cell, kind)| {
        statement.bind(match (cell, kind) {
            (Cell::Text(text), _) => Value::Text(Some(text)),
            (Cell::Number(number), _) => Value::Number(Some(number)),
            (Cell::Bytes(bytes), _) => Value::Bytes(Some(bytes)),
            (Cell::Null, Kind::Text) => Value::Text(None),
            (Cell::Null, Kind::Number) => Value::Number(None),
            (Cell::Null, Kind::Bytes) => Value::Bytes(None),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// A table or column that a migration adds has to be in a backup, or it is lost by it.
    #[tokio::test]
    async fn every_table_and_column_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let location: Location = dir.path().join("weirgate.db").as_path().into();
        let store = Store::create(&location).await.unwrap();
        let columns = "SELECT m.name AS t, c.name AS c FROM sqlite_schema m, \
                       pragma_table_info(m.name) c WHERE m.type = 'table' \
                       AND m.name NOT LIKE 'sqlite_%' AND m.name <> '_sqlx_migrations'";
        let mut there = BTreeSet::new();
        for row in store.readers().all(sql(columns)).await.unwrap() {
            let (table, column): (String, String) = (row.get("t").unwrap(), row.get("c").unwrap());
            there.insert(format!("{table}.{column}"));
        }
        let known: BTreeSet<String> = TABLES
            .iter()
            .flat_map(|table| {
                let list = table.select.trim_start_matches("SELECT ");
                let list = list.split(" FROM ").next().unwrap_or_default();
                list.split(", ").map(|column| format!("{}.{column}", table.name))
            })
            .collect();
        assert_eq!(there, known);
        assert!(store.layout().await.unwrap() >= 1);
    }
}
