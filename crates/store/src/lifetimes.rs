//! How long keys and credentials live: rules, who answers for a client, what rules did, and how often
//! something was used.

use crate::{
    Store, StoreError, Tx,
    dialect::{Transaction, sql},
    people::RuleRow,
    rows::{FromRow, Reader},
    store::all,
    tx::json,
};
use types::{Client, Id, Provider, Slug, Timestamp, User};

/// See the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRow {
    pub client: Id<Client>,
    /// A person who was removed is none any more.
    pub owner: Id<User>,
    /// What the owner had when it was said.
    pub roles: Vec<String>,
    pub set_at: Timestamp,
}

/// What rules did to a key or a connection, by its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifetimeStateRow {
    pub subject: String,
    /// How many days ahead it was warned last, of which end; 0: not yet.
    pub warned_days: u64,
    pub warned_for: Option<Timestamp>,
    pub rule: Option<String>,
    pub condition: Option<String>,
    pub suspended_at: Option<Timestamp>,
    pub final_at: Option<Timestamp>,
    /// It was revoked by the rule, for good.
    pub ended_at: Option<Timestamp>,
    pub restored_at: Option<Timestamp>,
    /// A connection's secret was replaced: its life began anew, and what was used before does not count.
    pub renewed_at: Option<Timestamp>,
    pub uses_before: u64,
}

/// All of it, in the order of names and ids.
#[derive(Clone, Debug, Default)]
pub struct Lifetimes {
    pub rules: Vec<RuleRow>,
    pub owners: Vec<OwnerRow>,
    pub states: Vec<LifetimeStateRow>,
}

/// How often a key or connection was used, by all nodes that told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseCount {
    pub subject: String,
    pub uses: u64,
    pub last_at: Timestamp,
}

/// A field that a grant lets through, and when it was there last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldUseRow {
    pub client: Id<Client>,
    pub provider: Id<Provider>,
    /// `read` for answers, else what wrote it.
    pub action: String,
    pub object: String,
    /// Its path in the object; in a nested object behind that one's name.
    pub field: String,
    pub last_at: Timestamp,
}

/// A network from which a key was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRow {
    pub subject: String,
    pub network: [u8; 8],
    pub first_at: Timestamp,
}

impl FromRow for OwnerRow {
    const TABLE: &'static str = "client_owner";
    const ALL: &'static str =
        "SELECT client, owner, roles, set_at FROM client_owner ORDER BY client";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            client: row.parsed("client")?,
            owner: row.parsed("owner")?,
            roles: row.json("roles")?,
            set_at: row.time("set_at")?,
        })
    }
}

impl FromRow for LifetimeStateRow {
    const TABLE: &'static str = "lifetime_state";
    const ALL: &'static str =
        "SELECT subject, warned_days, warned_for, rule, condition, suspended_at,
        final_at, ended_at, restored_at, renewed_at, uses_before FROM lifetime_state ORDER BY subject";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            subject: row.text("subject")?,
            warned_days: row.number("warned_days")?,
            warned_for: row.optional_time("warned_for")?,
            rule: row.optional_text("rule")?,
            condition: row.optional_text("condition")?,
            suspended_at: row.optional_time("suspended_at")?,
            final_at: row.optional_time("final_at")?,
            ended_at: row.optional_time("ended_at")?,
            restored_at: row.optional_time("restored_at")?,
            renewed_at: row.optional_time("renewed_at")?,
            uses_before: row.number("uses_before")?,
        })
    }
}

impl FromRow for UseCount {
    const TABLE: &'static str = "used_by_node";
    // A sum of whole numbers is of another type in PostgreSQL.
    const ALL: &'static str = "SELECT subject, CAST(SUM(uses) AS BIGINT) AS uses,
        MAX(last_at) AS last_at FROM used_by_node GROUP BY subject ORDER BY subject";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            subject: row.text("subject")?,
            uses: row.number("uses")?,
            last_at: row.time("last_at")?,
        })
    }
}

impl FromRow for NetworkRow {
    const TABLE: &'static str = "key_network";
    const ALL: &'static str = "SELECT subject, network, first_at FROM key_network
        ORDER BY subject, first_at";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            subject: row.text("subject")?,
            network: row.array("network")?,
            first_at: row.time("first_at")?,
        })
    }
}

impl FromRow for FieldUseRow {
    const TABLE: &'static str = "field_use";
    const ALL: &'static str =
        "SELECT client, provider, action, object, field, last_at FROM field_use
        ORDER BY client, provider, action, object, field";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            client: row.parsed("client")?,
            provider: row.parsed("provider")?,
            action: row.text("action")?,
            object: row.text("object")?,
            field: row.text("field")?,
            last_at: row.time("last_at")?,
        })
    }
}

pub(crate) async fn lifetimes(tx: &mut Transaction) -> Result<Lifetimes, StoreError> {
    let rules = tx.all(sql("SELECT name, body, created_at FROM lifetime ORDER BY name")).await?;
    Ok(Lifetimes {
        rules: rules.iter().map(RuleRow::from_row).collect::<Result<_, _>>()?,
        owners: all(tx, OwnerRow::ALL).await?,
        states: all(tx, LifetimeStateRow::ALL).await?,
    })
}

impl Tx {
    /// Stores a rule, or another text of it.
    pub async fn put_lifetime(&mut self, row: &RuleRow) -> Result<(), StoreError> {
        let statement = "INSERT INTO lifetime (name, body, created_at) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET body = $2";
        self.put_rule("lifetime", statement, row).await
    }

    pub async fn delete_lifetime(&mut self, name: &Slug) -> Result<(), StoreError> {
        let query = sql("DELETE FROM lifetime WHERE name = $1").bind(name.to_string());
        self.change("lifetime", query).await.map(drop)
    }

    /// Says who answers for a client.
    pub async fn put_owner(&mut self, row: &OwnerRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO client_owner (client, owner, roles, set_at)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (client) DO UPDATE SET owner = $2, roles = $3, set_at = $4")
        .bind(row.client.to_string())
        .bind(row.owner.to_string())
        .bind(json(&row.roles))
        .bind(row.set_at.as_micros());
        self.change("client_owner", query).await.map(drop)
    }

    pub async fn delete_owner(&mut self, client: Id<Client>) -> Result<(), StoreError> {
        let query = sql("DELETE FROM client_owner WHERE client = $1").bind(client.to_string());
        self.change("client_owner", query).await.map(drop)
    }

    /// Stores what rules did to a key or connection.
    pub async fn put_lifetime_state(&mut self, row: &LifetimeStateRow) -> Result<(), StoreError> {
        let days = i64::try_from(row.warned_days);
        let days = days.map_err(|_| StoreError::Conflict { table: "lifetime_state" })?;
        let before = i64::try_from(row.uses_before);
        let before = before.map_err(|_| StoreError::Conflict { table: "lifetime_state" })?;
        let query = sql("INSERT INTO lifetime_state
             (subject, warned_days, warned_for, rule, condition, suspended_at, final_at, ended_at,
              restored_at, renewed_at, uses_before)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (subject) DO UPDATE
             SET warned_days = $2, warned_for = $3, rule = $4, condition = $5, suspended_at = $6,
                 final_at = $7, ended_at = $8, restored_at = $9, renewed_at = $10,
                 uses_before = $11")
        .bind(row.subject.clone())
        .bind(days)
        .bind(row.warned_for.map(Timestamp::as_micros))
        .bind(row.rule.clone())
        .bind(row.condition.clone())
        .bind(row.suspended_at.map(Timestamp::as_micros))
        .bind(row.final_at.map(Timestamp::as_micros))
        .bind(row.ended_at.map(Timestamp::as_micros))
        .bind(row.restored_at.map(Timestamp::as_micros))
        .bind(row.renewed_at.map(Timestamp::as_micros))
        .bind(before);
        self.change("lifetime_state", query).await.map(drop)
    }
}

impl Store {
    /// Notes how often a node's log has something, and networks that were seen first. What was noted
    /// already is not made less.
    pub async fn note_uses(
        &self,
        log: &str,
        uses: &[UseCount],
        networks: &[NetworkRow],
    ) -> Result<(), StoreError> {
        let mut tx = self.writer().begin_aside().await?;
        for one in uses {
            let count = i64::try_from(one.uses);
            let query = sql("INSERT INTO used_by_node (log, subject, uses, last_at)
                 VALUES ($1, $2, $3, $4)
                 ON CONFLICT (subject, log) DO UPDATE SET uses = $3, last_at = $4
                 WHERE used_by_node.uses <= $3 AND used_by_node.last_at <= $4")
            .bind(log.to_owned())
            .bind(one.subject.clone())
            .bind(count.map_err(|_| StoreError::Conflict { table: "used_by_node" })?)
            .bind(one.last_at.as_micros());
            tx.change("used_by_node", query).await?;
        }
        for one in networks {
            let query = sql("INSERT INTO key_network (subject, network, first_at)
                 VALUES ($1, $2, $3) ON CONFLICT (subject, network) DO NOTHING")
            .bind(one.subject.clone())
            .bind(one.network.to_vec())
            .bind(one.first_at.as_micros());
            tx.change("key_network", query).await?;
        }
        tx.commit().await
    }

    /// How often everything was used, as far as nodes told.
    pub async fn use_counts(&self) -> Result<Vec<UseCount>, StoreError> {
        self.list(UseCount::ALL).await
    }

    /// Notes that fields were there, and since when that is noted.
    pub async fn note_fields(
        &self,
        rows: &[FieldUseRow],
        begun_at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.writer().begin_aside().await?;
        let begun = sql("INSERT INTO field_use_begun (only_row, begun_at) VALUES (1, $1)
             ON CONFLICT (only_row) DO NOTHING")
        .bind(begun_at.as_micros());
        tx.change("field_use_begun", begun).await?;
        for one in rows {
            let query = sql("INSERT INTO field_use
                 (client, provider, action, object, field, last_at)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (client, provider, action, object, field) DO UPDATE
                 SET last_at = $6 WHERE field_use.last_at < $6")
            .bind(one.client.to_string())
            .bind(one.provider.to_string())
            .bind(one.action.clone())
            .bind(one.object.clone())
            .bind(one.field.clone())
            .bind(one.last_at.as_micros());
            tx.change("field_use", query).await?;
        }
        tx.commit().await
    }

    /// Fields that were there, and since when that is noted, if it is.
    pub async fn field_uses(&self) -> Result<(Vec<FieldUseRow>, Option<Timestamp>), StoreError> {
        let begun = sql("SELECT begun_at FROM field_use_begun");
        let begun = self.readers().optional(begun).await?;
        let begun = begun
            .map(|row| Reader { table: "field_use_begun", row: &row }.time("begun_at"))
            .transpose()?;
        Ok((self.list(FieldUseRow::ALL).await?, begun))
    }

    pub async fn key_networks(&self) -> Result<Vec<NetworkRow>, StoreError> {
        self.list(NetworkRow::ALL).await
    }
}
