//! Clients and their API keys.

use crate::{
    change::{Care, Change, Changing},
    error::Error,
    instance::Instance,
    lifetimes::Limits,
    seals,
};
use std::time::Duration;
use types::{ApiKey, Client, Environment, Id, Key, OpContext, Slug, Timestamp};

/// Names a program of the company.
pub async fn create(
    instance: &Instance,
    ctx: &OpContext,
    name: &Slug,
) -> Result<Id<Client>, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    if changing.tx.client_by_name(name).await?.is_some() {
        return Err(Error::Exists { kind: "client", name: name.to_string() });
    }
    let id = Id::generate(ctx.now, instance.random.as_ref())?;
    let row = store::ClientRow { id, name: name.clone(), created_at: ctx.now };
    changing.tx.insert_client(&row).await?;
    changing.record(Change {
        verb: "client.create",
        what: format!("client {id}"),
        details: vec![("name", name.to_string())],
        ..Change::default()
    });
    changing.commit().await?;
    Ok(id)
}

/// A key at the only moment when it is known in clear.
#[derive(Debug)]
pub struct CreatedKey {
    pub id: Id<Key>,
    pub key: ApiKey,
    pub expires_at: Timestamp,
}

/// Makes a key. When this returns, the record of it is durable.
pub async fn create_key(
    instance: &Instance,
    ctx: &OpContext,
    name: &Slug,
    environment: Environment,
    life: Duration,
) -> Result<CreatedKey, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let client = changing
        .tx
        .client_by_name(name)
        .await?
        .ok_or_else(|| Error::NameUnknown { kind: "client" })?;
    let id = Id::generate(ctx.now, instance.random.as_ref())?;
    let key = ApiKey::generate(environment, instance.random.as_ref())?;
    let expires_at = ctx.now + life;
    let row = store::KeyRow {
        id,
        client: client.id,
        environment,
        digest: instance.secrets.pepper.digest(&key),
        created_at: ctx.now,
        expires_at,
        revoked_at: None,
    };
    changing.tx.insert_key(&row).await?;
    changing.record(Change {
        verb: "key.create",
        what: format!("key {id}"),
        details: vec![
            ("client", client.id.to_string()),
            ("environment", environment.to_string()),
            ("expires_at", expires_at.to_string()),
        ],
        ..Change::default()
    });
    changing.commit().await?;
    Ok(CreatedKey { id, key, expires_at })
}

/// What a key is followed by, and for how long both are in force.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// Of the new key.
    pub life: Duration,
    /// How long the former one goes on at most; none ends it at once.
    pub overlap: Duration,
}

/// A key that another one follows.
#[derive(Debug)]
pub struct Rotated {
    pub client: String,
    pub environment: Environment,
    pub key: CreatedKey,
    pub former: Id<Key>,
    pub former_ends_at: Timestamp,
    /// When it would have ended otherwise.
    former_ended_at: Timestamp,
}

/// Makes a key of the same client and environment, and lets the former one end when the overlap does,
/// never later than it would have.
///
/// # Errors
/// [`Error::KeyEnded`] if the former one is not in force.
pub async fn rotate_key(
    instance: &Instance,
    ctx: &OpContext,
    former: Id<Key>,
    rotation: Rotation,
) -> Result<Rotated, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let row = changing.tx.key(former).await?;
    let row = row.ok_or_else(|| Error::NotFound { kind: "key", name: former.to_string() })?;
    if KeyState::of(&row, ctx.now) != KeyState::InForce {
        return Err(Error::KeyEnded { id: former.to_string() });
    }
    let named = changing.tx.client_name(row.client).await?;
    let client = named.ok_or(Error::Internal { what: "a key's client is missing" })?;
    let former_ends_at = row.expires_at.min(ctx.now + rotation.overlap);
    let id = Id::generate(ctx.now, instance.random.as_ref())?;
    let key = ApiKey::generate(row.environment, instance.random.as_ref())?;
    let expires_at = ctx.now + rotation.life;
    changing
        .tx
        .insert_key(&store::KeyRow {
            id,
            client: row.client,
            environment: row.environment,
            digest: instance.secrets.pepper.digest(&key),
            created_at: ctx.now,
            expires_at,
            revoked_at: None,
        })
        .await?;
    changing.tx.end_key_at(former, former_ends_at).await?;
    changing.record(Change {
        verb: "key.rotate",
        what: format!("key {id}"),
        details: vec![
            ("client", row.client.to_string()),
            ("environment", row.environment.to_string()),
            ("expires_at", expires_at.to_string()),
            ("former", former.to_string()),
            ("former_ends_at", former_ends_at.to_string()),
        ],
        ..Change::default()
    });
    changing.commit().await?;
    Ok(Rotated {
        client: client.to_string(),
        environment: row.environment,
        key: CreatedKey { id, key, expires_at },
        former,
        former_ends_at,
        former_ended_at: row.expires_at,
    })
}

/// Takes a rotation back whose key nobody was shown: it is revoked, and the former one ends when it
/// would have.
pub async fn rotate_back(
    instance: &Instance,
    ctx: &OpContext,
    rotated: &Rotated,
) -> Result<(), Error> {
    let Rotated { key, former, former_ended_at, .. } = rotated;
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    changing.tx.revoke_key(key.id, ctx.now).await?;
    changing.tx.end_key_at(*former, *former_ended_at).await?;
    changing.record(Change {
        verb: "key.rotate_back",
        what: format!("key {}", key.id),
        details: vec![
            ("former", former.to_string()),
            ("former_ends_at", former_ended_at.to_string()),
        ],
        ..Change::default()
    });
    changing.commit().await.map(drop)
}

/// Ends a key. Doing it twice is no error: the key stays revoked since the first time.
pub async fn revoke_key(instance: &Instance, ctx: &OpContext, id: Id<Key>) -> Result<(), Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
    let row = changing
        .tx
        .key(id)
        .await?
        .ok_or_else(|| Error::NotFound { kind: "key", name: id.to_string() })?;
    if row.revoked_at.is_some() {
        return Ok(());
    }
    changing.tx.revoke_key(id, ctx.now).await?;
    changing.record(Change { verb: "key.revoke", what: format!("key {id}"), ..Change::default() });
    changing.commit().await.map(drop)
}

/// A client with its keys, oldest first.
#[derive(Debug)]
pub struct Listed {
    pub id: Id<Client>,
    pub name: String,
    pub created_at: Timestamp,
    pub keys: Vec<ListedKey>,
}

#[derive(Debug)]
pub struct ListedKey {
    pub id: Id<Key>,
    pub environment: Environment,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub state: KeyState,
}

/// What a key is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    InForce,
    /// A rule of lifetimes ended it, and it may be given back.
    Suspended,
    Expired,
    Revoked,
}

impl KeyState {
    pub(crate) fn of(key: &store::KeyRow, now: Timestamp) -> Self {
        if key.revoked_at.is_some() {
            Self::Revoked
        } else if key.expires_at <= now {
            Self::Expired
        } else {
            Self::InForce
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in_force",
            Self::Suspended => "suspended",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

pub async fn list(instance: &Instance) -> Result<Vec<Listed>, Error> {
    let everything = seals::load_whole(instance).await?;
    let now = instance.clock.now();
    let limits = Limits::of_all(&everything, now);
    let state = |key: &store::KeyRow| {
        let is_suspended = limits.of(key.id).is_some_and(|one| one.is_suspended);
        match KeyState::of(key, now) {
            KeyState::InForce if is_suspended => KeyState::Suspended,
            state => state,
        }
    };
    let listed = everything.clients.into_iter().map(|client| Listed {
        id: client.id,
        name: client.name.to_string(),
        created_at: client.created_at,
        keys: everything
            .keys
            .iter()
            .filter(|key| key.client == client.id)
            .map(|key| ListedKey {
                id: key.id,
                environment: key.environment,
                created_at: key.created_at,
                expires_at: key.expires_at,
                revoked_at: key.revoked_at,
                state: state(key),
            })
            .collect(),
    });
    Ok(listed.collect())
}
