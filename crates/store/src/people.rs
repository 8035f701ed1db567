//! People: accounts, what they sign in with, sessions, tokens, roles and policies.

use crate::{
    StoreError,
    dialect::{Transaction, sql},
    rows::{FromRow, Reader},
    store::{Store, all},
    tx::{Tx, json},
};
use types::{
    Customer, Factor, FactorKind, Id, Identity, IdentityProvider, Link, LinkPurpose, Proposal,
    Review, Session, SessionLevel, Slug, Timestamp, Token, User, UserState, View,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    pub id: Id<User>,
    /// Under whose key what is personal lies.
    pub customer: Id<Customer>,
    /// Keyed digest of the address.
    pub lookup: [u8; 32],
    pub state: UserState,
    /// Names of roles.
    pub roles: Vec<String>,
    pub created_at: Timestamp,
    /// Sessions and tokens that began before count for nothing.
    pub valid_from: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorRow {
    pub id: Id<Factor>,
    pub user: Id<User>,
    pub kind: FactorKind,
    /// What its owner calls it.
    pub name: String,
    /// A public credential, or a keyed digest.
    pub body: String,
    pub created_at: Timestamp,
    /// The last step of a code by time, or when a code for one use was used, in microseconds.
    pub used: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRow {
    pub id: Id<Link>,
    pub digest: [u8; 32],
    pub purpose: LinkPurpose,
    pub user: Id<User>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    pub id: Id<Token>,
    pub digest: [u8; 32],
    pub user: Id<User>,
    pub name: String,
    /// Names of roles; what its owner has not, it has not.
    pub roles: Vec<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// Who vouches for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityProviderRow {
    pub id: Id<IdentityProvider>,
    pub name: Slug,
    /// Under whose key the client's secret lies.
    pub customer: Id<Customer>,
    /// What it says is `app`'s.
    pub body: String,
    pub created_at: Timestamp,
}

/// Whom an identity provider knows a person as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRow {
    pub id: Id<Identity>,
    pub user: Id<User>,
    /// `None` once the provider was removed.
    pub provider: Option<Id<IdentityProvider>>,
    /// Keyed digest of issuer and subject.
    pub subject: [u8; 32],
    /// Whether the provider made the account, and decides its roles.
    pub is_managed: bool,
    pub created_at: Timestamp,
}

/// A change that waits for a second person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposalRow {
    pub id: Id<Proposal>,
    pub author: Id<User>,
    /// What it says is `app`'s.
    pub body: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// Grants and roles that are confirmed or dropped by a date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewRow {
    pub id: Id<Review>,
    /// What it says is `app`'s.
    pub body: String,
    pub created_at: Timestamp,
    pub due_at: Timestamp,
    pub closed_at: Option<Timestamp>,
}

/// A filter of the audit page that a person keeps under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewRow {
    pub id: Id<View>,
    pub owner: Id<User>,
    pub name: String,
    /// What it says is `app`'s.
    pub body: String,
    pub created_at: Timestamp,
}

/// A custom role, or a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRow {
    pub name: Slug,
    /// What it says is `policy`'s.
    pub body: String,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    pub id: Id<Session>,
    pub digest: [u8; 32],
    pub user: Id<User>,
    pub level: SessionLevel,
    pub created_at: Timestamp,
    pub seen_at: Timestamp,
    pub expires_at: Timestamp,
    pub stepped_up_at: Option<Timestamp>,
    /// Authenticates all of the above.
    pub seal: [u8; 32],
}

/// Attempts to sign in that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureRow {
    pub failures: u32,
    pub last_at: Timestamp,
}

/// All of people that is sealed with the rest; each list in the order of ids.
#[derive(Clone, Debug, Default)]
pub struct People {
    pub users: Vec<UserRow>,
    pub factors: Vec<FactorRow>,
    pub links: Vec<LinkRow>,
    pub tokens: Vec<TokenRow>,
    pub providers: Vec<IdentityProviderRow>,
    pub identities: Vec<IdentityRow>,
    pub proposals: Vec<ProposalRow>,
    pub reviews: Vec<ReviewRow>,
    pub views: Vec<ViewRow>,
    pub roles: Vec<RuleRow>,
    pub policies: Vec<RuleRow>,
}

impl FromRow for UserRow {
    const TABLE: &'static str = "user_account";
    const ALL: &'static str = "SELECT id, customer, lookup, state, roles, created_at, valid_from
        FROM user_account ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            customer: row.parsed("customer")?,
            lookup: row.array("lookup")?,
            state: row.parsed("state")?,
            roles: row.json("roles")?,
            created_at: row.time("created_at")?,
            valid_from: row.time("valid_from")?,
        })
    }
}

impl FromRow for FactorRow {
    const TABLE: &'static str = "user_factor";
    const ALL: &'static str =
        "SELECT id, user_id, kind, name, body, created_at, used FROM user_factor ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            user: row.parsed("user_id")?,
            kind: row.parsed("kind")?,
            name: row.text("name")?,
            body: row.text("body")?,
            created_at: row.time("created_at")?,
            used: row.optional_number("used")?,
        })
    }
}

impl FromRow for LinkRow {
    const TABLE: &'static str = "one_time_link";
    const ALL: &'static str = "SELECT id, digest, purpose, user_id, created_at, expires_at, used_at
        FROM one_time_link ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            digest: row.array("digest")?,
            purpose: row.parsed("purpose")?,
            user: row.parsed("user_id")?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
            used_at: row.optional_time("used_at")?,
        })
    }
}

impl FromRow for TokenRow {
    const TABLE: &'static str = "personal_token";
    const ALL: &'static str =
        "SELECT id, digest, user_id, name, roles, created_at, expires_at, revoked_at
        FROM personal_token ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            digest: row.array("digest")?,
            user: row.parsed("user_id")?,
            name: row.text("name")?,
            roles: row.json("roles")?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
            revoked_at: row.optional_time("revoked_at")?,
        })
    }
}

impl FromRow for IdentityProviderRow {
    const TABLE: &'static str = "identity_provider";
    const ALL: &'static str =
        "SELECT id, name, customer, body, created_at FROM identity_provider ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            name: row.parsed("name")?,
            customer: row.parsed("customer")?,
            body: row.text("body")?,
            created_at: row.time("created_at")?,
        })
    }
}

impl FromRow for IdentityRow {
    const TABLE: &'static str = "user_identity";
    const ALL: &'static str = "SELECT id, user_id, provider, subject, managed, created_at
        FROM user_identity ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            user: row.parsed("user_id")?,
            provider: row.optional_parsed("provider")?,
            subject: row.array("subject")?,
            is_managed: row.number::<u8>("managed")? == 1,
            created_at: row.time("created_at")?,
        })
    }
}

impl FromRow for ProposalRow {
    const TABLE: &'static str = "proposal";
    const ALL: &'static str =
        "SELECT id, author, body, created_at, expires_at FROM proposal ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            author: row.parsed("author")?,
            body: row.text("body")?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
        })
    }
}

impl FromRow for ReviewRow {
    const TABLE: &'static str = "review";
    const ALL: &'static str =
        "SELECT id, body, created_at, due_at, closed_at FROM review ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            body: row.text("body")?,
            created_at: row.time("created_at")?,
            due_at: row.time("due_at")?,
            closed_at: row.optional_time("closed_at")?,
        })
    }
}

impl FromRow for ViewRow {
    const TABLE: &'static str = "saved_view";
    const ALL: &'static str =
        "SELECT id, owner, name, body, created_at FROM saved_view ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            owner: row.parsed("owner")?,
            name: row.text("name")?,
            body: row.text("body")?,
            created_at: row.time("created_at")?,
        })
    }
}

impl FromRow for RuleRow {
    /// Or `policy`, which has the same columns.
    const TABLE: &'static str = "role";
    const ALL: &'static str = "SELECT name, body, created_at FROM role ORDER BY name";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.parsed("name")?,
            body: row.text("body")?,
            created_at: row.time("created_at")?,
        })
    }
}

impl FromRow for SessionRow {
    const TABLE: &'static str = "user_session";
    const ALL: &'static str =
        "SELECT id, digest, user_id, level, created_at, seen_at, expires_at, stepped_up_at, seal
        FROM user_session ORDER BY id";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            digest: row.array("digest")?,
            user: row.parsed("user_id")?,
            level: row.parsed("level")?,
            created_at: row.time("created_at")?,
            seen_at: row.time("seen_at")?,
            expires_at: row.time("expires_at")?,
            stepped_up_at: row.optional_time("stepped_up_at")?,
            seal: row.array("seal")?,
        })
    }
}

impl FromRow for FailureRow {
    const TABLE: &'static str = "sign_in_failure";
    const ALL: &'static str = "SELECT failures, last_at FROM sign_in_failure ORDER BY lookup";
    fn read(row: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self { failures: row.number("failures")?, last_at: row.time("last_at")? })
    }
}

const POLICIES: &str = "SELECT name, body, created_at FROM policy ORDER BY name";
const SESSION: &str =
    "SELECT id, digest, user_id, level, created_at, seen_at, expires_at, stepped_up_at, seal
    FROM user_session WHERE digest = $1";
const FAILURES: &str = "SELECT failures, last_at FROM sign_in_failure WHERE lookup = $1";

pub(crate) async fn people(tx: &mut Transaction) -> Result<People, StoreError> {
    let policies = tx.all(sql(POLICIES)).await?;
    Ok(People {
        users: all(tx, UserRow::ALL).await?,
        factors: all(tx, FactorRow::ALL).await?,
        links: all(tx, LinkRow::ALL).await?,
        tokens: all(tx, TokenRow::ALL).await?,
        providers: all(tx, IdentityProviderRow::ALL).await?,
        identities: all(tx, IdentityRow::ALL).await?,
        proposals: all(tx, ProposalRow::ALL).await?,
        reviews: all(tx, ReviewRow::ALL).await?,
        views: all(tx, ViewRow::ALL).await?,
        roles: all(tx, RuleRow::ALL).await?,
        policies: policies.iter().map(RuleRow::from_row).collect::<Result<_, _>>()?,
    })
}

impl Tx {
    /// Stores a person, or replaces all but id, key and time of making.
    pub async fn put_user(&mut self, row: &UserRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO user_account
             (id, customer, lookup, state, roles, created_at, valid_from)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (id) DO UPDATE
             SET lookup = $3, state = $4, roles = $5, valid_from = $7")
        .bind(row.id.to_string())
        .bind(row.customer.to_string())
        .bind(row.lookup.to_vec())
        .bind(row.state.as_str())
        .bind(json(&row.roles))
        .bind(row.created_at.as_micros())
        .bind(row.valid_from.as_micros());
        self.change("user_account", query).await.map(drop)
    }

    /// Deletes a person with all that is theirs, but the key: that is the vault's.
    pub async fn delete_user(&mut self, id: Id<User>) -> Result<(), StoreError> {
        for statement in [
            "DELETE FROM user_session WHERE user_id = $1",
            "DELETE FROM personal_token WHERE user_id = $1",
            "DELETE FROM user_identity WHERE user_id = $1",
            "DELETE FROM proposal WHERE author = $1",
            "DELETE FROM saved_view WHERE owner = $1",
            "DELETE FROM one_time_link WHERE user_id = $1",
            "DELETE FROM user_factor WHERE user_id = $1",
            "DELETE FROM user_account WHERE id = $1",
        ] {
            self.change("user_account", sql(statement).bind(id.to_string())).await?;
        }
        Ok(())
    }

    /// Deletes a customer with all that is sealed under its key.
    pub async fn delete_customer(&mut self, id: Id<Customer>) -> Result<(), StoreError> {
        for statement in
            ["DELETE FROM sealed WHERE customer = $1", "DELETE FROM customer WHERE id = $1"]
        {
            self.change("customer", sql(statement).bind(id.to_string())).await?;
        }
        Ok(())
    }

    /// Deletes what is sealed of a row.
    pub async fn delete_sealed(
        &mut self,
        table: &str,
        record: &[u8; 16],
    ) -> Result<(), StoreError> {
        let query = sql("DELETE FROM sealed WHERE table_name = $1 AND record = $2")
            .bind(table.to_owned())
            .bind(record.to_vec());
        self.change("sealed", query).await.map(drop)
    }

    /// As [`Self::delete_sealed`], one column alone.
    pub async fn delete_sealed_at(
        &mut self,
        table: &str,
        record: &[u8; 16],
        column: &str,
    ) -> Result<(), StoreError> {
        let query = sql("DELETE FROM sealed
             WHERE table_name = $1 AND record = $2 AND column_name = $3")
        .bind(table.to_owned())
        .bind(record.to_vec())
        .bind(column.to_owned());
        self.change("sealed", query).await.map(drop)
    }

    /// Stores a factor, or what became of it.
    pub async fn put_factor(&mut self, row: &FactorRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO user_factor
             (id, user_id, kind, name, body, created_at, used)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (id) DO UPDATE SET name = $4, body = $5, used = $7")
        .bind(row.id.to_string())
        .bind(row.user.to_string())
        .bind(row.kind.as_str())
        .bind(row.name.clone())
        .bind(row.body.clone())
        .bind(row.created_at.as_micros())
        .bind(row.used);
        self.change("user_factor", query).await.map(drop)
    }

    pub async fn delete_factor(&mut self, id: Id<Factor>) -> Result<(), StoreError> {
        let query = sql("DELETE FROM user_factor WHERE id = $1").bind(id.to_string());
        self.change("user_factor", query).await.map(drop)
    }

    /// Stores a link, or that it was used.
    pub async fn put_link(&mut self, row: &LinkRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO one_time_link
             (id, digest, purpose, user_id, created_at, expires_at, used_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (id) DO UPDATE SET used_at = $7")
        .bind(row.id.to_string())
        .bind(row.digest.to_vec())
        .bind(row.purpose.as_str())
        .bind(row.user.to_string())
        .bind(row.created_at.as_micros())
        .bind(row.expires_at.as_micros())
        .bind(row.used_at.map(Timestamp::as_micros));
        self.change("one_time_link", query).await.map(drop)
    }

    /// Stores a token, or that it was revoked.
    pub async fn put_token(&mut self, row: &TokenRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO personal_token
             (id, digest, user_id, name, roles, created_at, expires_at, revoked_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (id) DO UPDATE SET revoked_at = $8")
        .bind(row.id.to_string())
        .bind(row.digest.to_vec())
        .bind(row.user.to_string())
        .bind(row.name.clone())
        .bind(json(&row.roles))
        .bind(row.created_at.as_micros())
        .bind(row.expires_at.as_micros())
        .bind(row.revoked_at.map(Timestamp::as_micros));
        self.change("personal_token", query).await.map(drop)
    }

    /// Stores an identity provider, or what was changed of it.
    pub async fn put_identity_provider(
        &mut self,
        row: &IdentityProviderRow,
    ) -> Result<(), StoreError> {
        let query = sql("INSERT INTO identity_provider (id, name, customer, body, created_at)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (id) DO UPDATE SET body = $4")
        .bind(row.id.to_string())
        .bind(row.name.to_string())
        .bind(row.customer.to_string())
        .bind(row.body.clone())
        .bind(row.created_at.as_micros());
        self.change("identity_provider", query).await.map(drop)
    }

    /// Deletes an identity provider, but not the key. Whom it knew people as stays, so that whoever was
    /// kept out is not somebody new.
    pub async fn delete_identity_provider(
        &mut self,
        id: Id<IdentityProvider>,
    ) -> Result<(), StoreError> {
        for statement in [
            "UPDATE user_identity SET provider = NULL WHERE provider = $1",
            "DELETE FROM identity_provider WHERE id = $1",
        ] {
            self.change("identity_provider", sql(statement).bind(id.to_string())).await?;
        }
        Ok(())
    }

    /// Stores an identity, or which provider it is of now.
    pub async fn put_identity(&mut self, row: &IdentityRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO user_identity
             (id, user_id, provider, subject, managed, created_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (id) DO UPDATE SET provider = $3")
        .bind(row.id.to_string())
        .bind(row.user.to_string())
        .bind(row.provider.map(|id| id.to_string()))
        .bind(row.subject.to_vec())
        .bind(i64::from(row.is_managed))
        .bind(row.created_at.as_micros());
        self.change("user_identity", query).await.map(drop)
    }

    /// Whether there was such an identity.
    pub async fn delete_identity(&mut self, id: Id<Identity>) -> Result<bool, StoreError> {
        let query = sql("DELETE FROM user_identity WHERE id = $1").bind(id.to_string());
        self.change("user_identity", query).await.map(|rows| rows > 0)
    }

    pub async fn insert_proposal(&mut self, row: &ProposalRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO proposal (id, author, body, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5)")
        .bind(row.id.to_string())
        .bind(row.author.to_string())
        .bind(row.body.clone())
        .bind(row.created_at.as_micros())
        .bind(row.expires_at.as_micros());
        self.change("proposal", query).await.map(drop)
    }

    /// Stores a review, or what was decided of it.
    pub async fn put_review(&mut self, row: &ReviewRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO review (id, body, created_at, due_at, closed_at)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (id) DO UPDATE SET body = $2, closed_at = $5")
        .bind(row.id.to_string())
        .bind(row.body.clone())
        .bind(row.created_at.as_micros())
        .bind(row.due_at.as_micros())
        .bind(row.closed_at.map(Timestamp::as_micros));
        self.change("review", query).await.map(drop)
    }

    /// Whether there was such a review.
    pub async fn delete_review(&mut self, id: Id<Review>) -> Result<bool, StoreError> {
        let query = sql("DELETE FROM review WHERE id = $1").bind(id.to_string());
        self.change("review", query).await.map(|rows| rows > 0)
    }

    /// Whether there was such a proposal.
    pub async fn delete_proposal(&mut self, id: Id<Proposal>) -> Result<bool, StoreError> {
        let query = sql("DELETE FROM proposal WHERE id = $1").bind(id.to_string());
        self.change("proposal", query).await.map(|rows| rows > 0)
    }

    pub async fn insert_view(&mut self, row: &ViewRow) -> Result<(), StoreError> {
        let query = sql("INSERT INTO saved_view (id, owner, name, body, created_at)
             VALUES ($1, $2, $3, $4, $5)")
        .bind(row.id.to_string())
        .bind(row.owner.to_string())
        .bind(row.name.clone())
        .bind(row.body.clone())
        .bind(row.created_at.as_micros());
        self.change("saved_view", query).await.map(drop)
    }

    /// Whether there was such a view of this person.
    pub async fn delete_view(&mut self, id: Id<View>, owner: Id<User>) -> Result<bool, StoreError> {
        let query = sql("DELETE FROM saved_view WHERE id = $1 AND owner = $2")
            .bind(id.to_string())
            .bind(owner.to_string());
        self.change("saved_view", query).await.map(|rows| rows > 0)
    }

    /// Stores a custom role, or another text of it.
    pub async fn put_role(&mut self, row: &RuleRow) -> Result<(), StoreError> {
        let statement = "INSERT INTO role (name, body, created_at) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET body = $2";
        self.put_rule("role", statement, row).await
    }

    /// Stores a policy, or another text of it.
    pub async fn put_policy(&mut self, row: &RuleRow) -> Result<(), StoreError> {
        let statement = "INSERT INTO policy (name, body, created_at) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET body = $2";
        self.put_rule("policy", statement, row).await
    }

    pub(crate) async fn put_rule(
        &mut self,
        table: &'static str,
        statement: &'static str,
        row: &RuleRow,
    ) -> Result<(), StoreError> {
        let query = sql(statement)
            .bind(row.name.to_string())
            .bind(row.body.clone())
            .bind(row.created_at.as_micros());
        self.change(table, query).await.map(drop)
    }

    /// Whether there was such a role.
    pub async fn delete_role(&mut self, name: &Slug) -> Result<bool, StoreError> {
        let query = sql("DELETE FROM role WHERE name = $1").bind(name.to_string());
        self.change("role", query).await.map(|rows| rows > 0)
    }

    /// Whether there was such a policy.
    pub async fn delete_policy(&mut self, name: &Slug) -> Result<bool, StoreError> {
        let query = sql("DELETE FROM policy WHERE name = $1").bind(name.to_string());
        self.change("policy", query).await.map(|rows| rows > 0)
    }

    /// Begins a session together with the change that lets the person in.
    pub async fn insert_session(&mut self, row: &SessionRow) -> Result<(), StoreError> {
        self.change("user_session", insert_session(row)).await.map(drop)
    }

    /// Whether there was such a session.
    pub async fn delete_session(&mut self, id: Id<Session>) -> Result<bool, StoreError> {
        let query = sql("DELETE FROM user_session WHERE id = $1").bind(id.to_string());
        self.change("user_session", query).await.map(|rows| rows > 0)
    }

    /// How many there were.
    pub async fn delete_sessions_of(&mut self, user: Id<User>) -> Result<u64, StoreError> {
        let query = sql("DELETE FROM user_session WHERE user_id = $1").bind(user.to_string());
        self.change("user_session", query).await
    }

    /// Forgets failures: somebody came in.
    pub async fn forget_failures(&mut self, lookup: &[u8; 32]) -> Result<(), StoreError> {
        let query = sql("DELETE FROM sign_in_failure WHERE lookup = $1").bind(lookup.to_vec());
        self.change("sign_in_failure", query).await.map(drop)
    }

    /// Takes one failure back: what was counted was none.
    pub async fn forget_failure(&mut self, lookup: &[u8; 32]) -> Result<(), StoreError> {
        let query = sql("UPDATE sign_in_failure SET failures = failures - 1
             WHERE lookup = $1 AND failures > 0")
        .bind(lookup.to_vec());
        self.change("sign_in_failure", query).await.map(drop)
    }
}

fn insert_session(row: &SessionRow) -> crate::dialect::Statement {
    sql("INSERT INTO user_session
         (id, digest, user_id, level, created_at, seen_at, expires_at, stepped_up_at, seal)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
    .bind(row.id.to_string())
    .bind(row.digest.to_vec())
    .bind(row.user.to_string())
    .bind(row.level.as_str())
    .bind(row.created_at.as_micros())
    .bind(row.seen_at.as_micros())
    .bind(row.expires_at.as_micros())
    .bind(row.stepped_up_at.map(Timestamp::as_micros))
    .bind(row.seal.to_vec())
}

/// Aside of changes: what moves no generation.
impl Store {
    /// The session of this digest, whatever it is worth.
    pub async fn session(&self, digest: &[u8; 32]) -> Result<Option<SessionRow>, StoreError> {
        let row = self.readers().optional(sql(SESSION).bind(digest.to_vec())).await?;
        row.as_ref().map(SessionRow::from_row).transpose()
    }

    pub async fn sessions(&self) -> Result<Vec<SessionRow>, StoreError> {
        let rows = self.readers().all(sql(SessionRow::ALL)).await?;
        rows.iter().map(SessionRow::from_row).collect()
    }

    /// Says that a session was seen, unless it ended meanwhile.
    pub async fn touch_session(&self, row: &SessionRow) -> Result<(), StoreError> {
        let query = sql("UPDATE user_session SET seen_at = $2, seal = $3
             WHERE id = $1 AND seen_at < $2")
        .bind(row.id.to_string())
        .bind(row.seen_at.as_micros())
        .bind(row.seal.to_vec());
        self.aside(query).await.map(drop)
    }

    /// Deletes sessions that ended before, and failures that are older, unless they are so many that they
    /// lock an account; how many.
    pub async fn tidy_people(
        &self,
        sessions: Timestamp,
        failures: Timestamp,
        locking: u32,
    ) -> Result<u64, StoreError> {
        let expired =
            sql("DELETE FROM user_session WHERE expires_at < $1").bind(sessions.as_micros());
        let old = sql("DELETE FROM sign_in_failure WHERE last_at < $1 AND failures < $2")
            .bind(failures.as_micros())
            .bind(i64::from(locking));
        Ok(self.aside(expired).await? + self.aside(old).await?)
    }

    pub async fn failures(&self, lookup: &[u8; 32]) -> Result<Option<FailureRow>, StoreError> {
        let row = self.readers().optional(sql(FAILURES).bind(lookup.to_vec())).await?;
        row.as_ref().map(FailureRow::from_row).transpose()
    }

    /// Counts one more failure, however many come at once; those that are older than `since` count no
    /// more. Yields how many there are.
    pub async fn count_failure(
        &self,
        lookup: &[u8; 32],
        since: Timestamp,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        let query =
            sql("INSERT INTO sign_in_failure (lookup, failures, last_at) VALUES ($1, 1, $3)
             ON CONFLICT (lookup) DO UPDATE SET failures =
             CASE WHEN sign_in_failure.last_at < $2 THEN 1 ELSE sign_in_failure.failures + 1 END,
             last_at = $3 RETURNING failures")
            .bind(lookup.to_vec())
            .bind(since.as_micros())
            .bind(now.as_micros());
        let mut tx = self.writer().begin_change().await?;
        let row = tx.one(query).await?;
        let count = Reader { table: "sign_in_failure", row: &row }.number("failures")?;
        tx.commit().await?;
        Ok(count)
    }

    async fn aside(&self, query: crate::dialect::Statement) -> Result<u64, StoreError> {
        let mut tx = self.writer().begin_change().await?;
        let rows = tx.change("user_session", query).await?;
        tx.commit().await?;
        Ok(rows)
    }
}
