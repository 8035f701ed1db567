//! Secrets that lie in a vault elsewhere: a connection names where, and what is sealed beside it is a copy
//! that counts for a while.
//!
//! Calls know the copy alone. Each server looks every few seconds which copies are half as old as they may
//! be, and asks the store; one that the store takes back closes its connection at once, one that it says
//! nothing of when its time is over.

mod pass;
mod vault_kv;

pub use pass::keep_up;

use crate::{
    change::{Care, Change, Changing},
    connection_check, connections, customers,
    error::{self, Error},
    instance::{Instance, SELF_CUSTOMER},
    placement, providers, seals,
};
use gateway::Closing;
use outbound::{Target, TlsConfig};
use provider::LoadLimits;
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, sync::Arc, time::Duration};
use store::{Everything, RuleRow, SecretSourceRow};
use types::{Connection, Id, OpContext, SecretBytes, Slug, Timestamp};
use vault::Credential;
use vault_kv::{Fetched, Login, Session};
use zeroize::Zeroizing;

const TABLE: &str = "secret_store";
const COLUMN: &str = "login";
/// The shortest and the longest time for which a copy counts.
pub const TTLS: [Duration; 2] = [Duration::from_secs(2), Duration::from_hours(24)];

/// Why a store gave no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the secret store could not be reached ({code})")]
    Unreachable { code: &'static str },
    #[error("the secret store cannot serve now ({status})")]
    Unwell { status: u16 },
    #[error("the secret store's address leads where nothing may be asked")]
    Address,
    #[error("the secret store does not take what Weirgate signs in with")]
    SignIn,
    #[error("the secret store does not let Weirgate read this secret")]
    Denied,
    #[error("the secret store has no such secret, or it was deleted")]
    Missing,
    #[error("the secret has no such member")]
    MemberMissing,
    #[error("what the secret store answered is no secret as Weirgate reads it")]
    Unfit,
    #[error("the secret of the store does not fit the connection's scheme")]
    DoesNotFit,
    #[error("connections take their secrets from this store")]
    InUse,
    #[error("the connection's secret comes from no store")]
    NotFromStore,
    #[error("the connection's secret comes from a store")]
    FromStore,
}

impl StoreError {
    /// Whether the store itself says that there is no secret any more.
    pub(crate) const fn closes(&self) -> bool {
        matches!(self, Self::Denied | Self::Missing | Self::MemberMissing | Self::DoesNotFit)
    }

    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Unwell { .. } => "unwell",
            Self::Address => "address",
            Self::SignIn => "sign_in",
            Self::Denied => "denied",
            Self::Missing => "missing",
            Self::MemberMissing => "member_missing",
            Self::Unfit => "unfit",
            Self::DoesNotFit => "does_not_fit",
            Self::InUse => "in_use",
            Self::NotFromStore | Self::FromStore => "source",
        }
    }

    pub(crate) const fn kind(&self) -> error::Kind {
        match self {
            Self::Unreachable { .. } | Self::Unwell { .. } => error::Kind::Unreachable,
            Self::Missing | Self::MemberMissing | Self::NotFromStore => error::Kind::NotFound,
            Self::Address => error::Kind::Usage,
            _ => error::Kind::Refused,
        }
    }

    pub(crate) const fn remedy(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } | Self::Unwell { .. } => {
                "See that the store runs, is unsealed and can be reached from here, and try again."
            }
            Self::Address => {
                "Give an https URL; an address of a private network needs --allow-private-network HOST:PORT."
            }
            Self::SignIn => {
                "Give a role_id and secret_id that are in force: `weirgate vault store add` with the same name."
            }
            Self::Denied => {
                "Let the role's policy read `MOUNT/data/PATH`; docs/secret-stores.md shows the least."
            }
            Self::Missing => "Look at the path and the mount; a deleted version is none.",
            Self::MemberMissing => "Name a member that the secret has, behind `#`.",
            Self::Unfit | Self::DoesNotFit => {
                "docs/reference/secrets.md shows what a secret looks like; the store holds the same."
            }
            Self::InUse => "Give those connections other secrets, or revoke them.",
            Self::NotFromStore => "`weirgate vault store list` shows which do.",
            Self::FromStore => {
                "Change it in the store; `weirgate vault store refresh` takes it over at once."
            }
        }
    }
}

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Scheme, host and port, and a path before `/v1` if there is one.
    pub address: String,
    /// Of the key-value engine.
    pub mount: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// For how long a copy counts without news.
    pub ttl_seconds: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_private: Vec<String>,
}

impl Place {
    fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_seconds)
    }
}

/// Which secret: `STORE:PATH`, or `STORE:PATH#MEMBER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub store: Slug,
    pub path: String,
    pub member: Option<String>,
}

impl Reference {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (store, rest) = text.split_once(':').ok_or("write STORE:PATH, or STORE:PATH#MEMBER")?;
        let store = store.parse().map_err(|_| "what stands before the colon is no store's name")?;
        let (path, member) = match rest.split_once('#') {
            Some((path, member)) => (path, Some(member)),
            None => (rest, None),
        };
        // One decode of a path is enough for a server to go elsewhere: plain characters alone.
        let is_plain = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if path.len() > 512 || !path.split('/').all(is_plain) {
            return Err("a path is of letters, digits, `-`, `_` and `.`, between slashes");
        }
        let member = member.map(|name| {
            let is_fine =
                !name.is_empty() && name.len() <= 100 && !name.chars().any(char::is_control);
            is_fine.then(|| name.to_owned()).ok_or("a member's name has 1 to 100 characters")
        });
        Ok(Self { store, path: path.to_owned(), member: member.transpose()? })
    }
}

fn record_of(name: &Slug) -> [u8; 16] {
    let digest = seals::sha256(format!("secret_store\n{name}").as_bytes());
    digest.first_chunk().copied().unwrap_or_default()
}

/// Adds a store, or gives it another place or login, once it was signed in to.
///
/// # Errors
/// [`StoreError`] where that does not work.
pub async fn add(
    instance: &Instance,
    ctx: &OpContext,
    tls: Arc<TlsConfig>,
    name: &Slug,
    place: &Place,
    login: &SecretBytes,
) -> Result<(), Error> {
    let malformed = |kind, why: &str| Error::Malformed { kind, why: why.to_owned() };
    let [shortest, longest] = TTLS;
    if !(shortest..=longest).contains(&place.ttl()) {
        return Err(malformed("time to live", "it is from 2 seconds to 24 hours"));
    }
    let is_plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
            && !text.split('/').any(|part| part.is_empty() || part == "." || part == "..")
    };
    if !is_plain(&place.mount) || !place.namespace.as_deref().is_none_or(is_plain) {
        return Err(malformed(
            "mount or namespace",
            "it is of letters, digits, `-`, `_`, `.` and slashes",
        ));
    }
    let policy = providers::guard_policy(&place.allow_private)?;
    Target::parse(&place.address, &policy).map_err(|_| StoreError::Address)?;
    let login = Login::parse(login)
        .ok_or_else(|| malformed("login", "it is {\"role_id\": ..., \"secret_id\": ...}"))?;
    let asker = connection_check::asker(tls)?;
    let mut session = None;
    // What is asked for need not be there: that it is answered shows that Weirgate is let in.
    let tried = vault_kv::fetch(&asker, (place, &login), &mut session, ("weirgate", None), ctx.now);
    if let Err(error) = tried.await
        && !error.closes()
    {
        return Err(error.into());
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let owner = customers::find_or_create(instance, &mut changing.tx, ctx, SELF_CUSTOMER).await?;
    let body = serde_json::to_string(place).unwrap_or_default();
    let row = RuleRow { name: name.clone(), body, created_at: ctx.now };
    changing.tx.put_secret_store(&row).await?;
    let record = record_of(name);
    let version = changing.tx.sealed(TABLE, &record, COLUMN).await?.map_or(0, |row| row.version);
    let sealed = instance.seal_version(
        &owner.key,
        (TABLE, &record, COLUMN),
        version + 1,
        &login.to_json(),
    )?;
    changing.tx.put_sealed(&sealed).await?;
    changing.record(Change {
        verb: "secret_store.add",
        what: format!("secret store {name}"),
        details: vec![
            ("address", providers::shown(&place.address)),
            ("mount", place.mount.clone()),
        ],
        ..Change::default()
    });
    changing.commit().await.map(drop)
}

/// Forgets a store.
///
/// # Errors
/// [`StoreError::InUse`] while connections take their secrets from it.
pub async fn remove(instance: &Instance, ctx: &OpContext, name: &Slug) -> Result<(), Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let rows = changing.tx.everything().await?;
    if !rows.secret_stores.stores.iter().any(|row| row.name == *name) {
        return Err(Error::NameUnknown { kind: "secret store" });
    }
    if rows.secret_stores.sources.iter().any(|row| row.store == *name) {
        return Err(StoreError::InUse.into());
    }
    changing.tx.delete_secret_store(name).await?;
    changing.tx.delete_sealed(TABLE, &record_of(name)).await?;
    changing.record(Change {
        verb: "secret_store.remove",
        what: format!("secret store {name}"),
        ..Change::default()
    });
    changing.commit().await.map(drop)
}

/// A store as it is listed, and the connections whose secrets come from it.
#[derive(Debug)]
pub struct Listed {
    pub name: String,
    pub place: Place,
    pub connections: Vec<ListedSource>,
}

#[derive(Debug)]
pub struct ListedSource {
    pub connection: Id<Connection>,
    pub path: String,
    pub member: Option<String>,
    pub fetched_at: Timestamp,
    /// When its copy counts no more without news.
    pub counts_until: Timestamp,
    pub closed: Option<String>,
}

pub async fn list(instance: &Instance) -> Result<Vec<Listed>, Error> {
    let rows = seals::load_whole(instance).await?;
    let listed = rows.secret_stores.stores.iter().filter_map(|row| {
        let place: Place = serde_json::from_str(&row.body).ok()?;
        let own = rows.secret_stores.sources.iter().filter(|source| source.store == row.name);
        let connections = own.map(|source| ListedSource {
            connection: source.connection,
            path: source.path.clone(),
            member: source.member.clone(),
            fetched_at: source.fetched_at,
            counts_until: source.fetched_at + place.ttl(),
            closed: source.closed.clone(),
        });
        Some(Listed { name: row.name.to_string(), connections: connections.collect(), place })
    });
    Ok(listed.collect())
}

/// A store, opened.
struct Open {
    place: Place,
    login: Login,
    /// Of all that it is made of: a token of another place or login is not for this one.
    digest: [u8; 32],
}

fn open(instance: &Instance, rows: &Everything, name: &Slug) -> Result<Open, Error> {
    let unknown = || Error::NameUnknown { kind: "secret store" };
    let row = rows.secret_stores.stores.iter().find(|row| row.name == *name).ok_or_else(unknown)?;
    let broken = || Error::Internal { what: "a secret store's row cannot be read" };
    let place = serde_json::from_str(&row.body).map_err(|_| broken())?;
    let record = record_of(name);
    let sealed = rows.sealed.iter().find(|one| one.table == TABLE && one.record == record);
    let sealed = sealed.ok_or_else(broken)?;
    let owner = rows.customers.iter().find(|owner| owner.id == sealed.customer);
    let owner = customers::open(instance, owner.ok_or_else(broken)?)?;
    let login = Login::parse(&instance.open_sealed(&owner.key, sealed)?).ok_or_else(broken)?;
    let whole = Zeroizing::new([row.body.as_bytes(), login.to_json().expose()].concat());
    let digest = seals::sha256(&whole);
    Ok(Open { place, login, digest })
}

/// A secret out of a store, for a connection that is to be made of it.
#[derive(Debug)]
pub struct Taken {
    pub secret: SecretBytes,
    pub source: Source,
}

/// What is remembered of where it came from.
#[derive(Debug, Clone)]
pub struct Source {
    pub reference: Reference,
    version: u64,
    fetched_at: Timestamp,
}

impl Source {
    pub(crate) fn row(&self, connection: Id<Connection>) -> SecretSourceRow {
        SecretSourceRow {
            connection,
            store: self.reference.store.clone(),
            path: self.reference.path.clone(),
            member: self.reference.member.clone(),
            version: self.version,
            fetched_at: self.fetched_at,
            closed: None,
        }
    }
}

/// Reads a secret.
///
/// # Errors
/// [`Error::NameUnknown`] for no such store; [`StoreError`].
pub async fn take(
    instance: &Instance,
    ctx: &OpContext,
    tls: Arc<TlsConfig>,
    reference: &Reference,
) -> Result<Taken, Error> {
    let rows = seals::load_whole(instance).await?;
    let store = open(instance, &rows, &reference.store)?;
    let asker = connection_check::asker(tls)?;
    let of = (reference.path.as_str(), reference.member.as_deref());
    let Fetched { secret, version } =
        vault_kv::fetch(&asker, (&store.place, &store.login), &mut None, of, ctx.now).await?;
    let source = Source { reference: reference.clone(), version, fetched_at: ctx.now };
    Ok(Taken { secret, source })
}

/// Asks the store for a connection's secret now.
///
/// # Errors
/// [`StoreError`]: also what closed the connection.
pub async fn refresh(
    instance: &Instance,
    ctx: &OpContext,
    tls: Arc<TlsConfig>,
    id: Id<Connection>,
) -> Result<bool, Error> {
    let rows = seals::load_whole(instance).await?;
    let row = rows.secret_stores.sources.iter().find(|row| row.connection == id);
    let row = row.ok_or(StoreError::NotFromStore)?;
    let asker = connection_check::asker(tls)?;
    let store = open(instance, &rows, &row.store)?;
    let of = (row.path.as_str(), row.member.as_deref());
    let said = vault_kv::fetch(&asker, (&store.place, &store.login), &mut None, of, ctx.now).await;
    let news = vec![(id, said)];
    let outcome = keep(instance, ctx, news).await?;
    match outcome.into_iter().next() {
        Some((_, Ok(is_new))) => Ok(is_new),
        Some((_, Err(error))) => Err(error.into()),
        None => Err(StoreError::NotFromStore.into()),
    }
}

/// Whether a secret was another one than the copy, or why there is none.
type Outcome = Result<bool, StoreError>;

/// Writes down what stores said, in one change: a new copy, that the copy still counts, or that it does not.
/// A store that says nothing leaves all as it is.
async fn keep(
    instance: &Instance,
    ctx: &OpContext,
    news: Vec<(Id<Connection>, Result<Fetched, StoreError>)>,
) -> Result<Vec<(Id<Connection>, Outcome)>, Error> {
    let mut outcomes = Vec::new();
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let rows = seals::load_whole(instance).await?;
    let sources = changing.tx.everything().await?.secret_stores.sources;
    let (mut kept, mut replaced, mut closed) = (0_usize, 0_usize, 0_usize);
    for (id, said) in news {
        let source = sources.iter().find(|row| row.connection == id).cloned();
        let Some(source) = source else { continue };
        let said = match said {
            // A version never changes.
            Ok(fetched) if source.closed.is_none() && fetched.version == source.version => {
                Ok((false, fetched.version))
            }
            Ok(fetched) => taken_over(instance, &mut changing, &rows, id, &fetched)
                .await?
                .map(|is_new| (is_new, fetched.version)),
            Err(error) => Err(error),
        };
        let row = match &said {
            Ok((is_new, version)) => {
                replaced += usize::from(*is_new);
                kept += usize::from(!is_new);
                SecretSourceRow { version: *version, fetched_at: ctx.now, closed: None, ..source }
            }
            Err(error) if error.closes() => {
                closed += 1;
                SecretSourceRow { closed: Some(error.word().to_owned()), ..source }
            }
            Err(error) => {
                outcomes.push((id, Err(error.clone())));
                continue;
            }
        };
        changing.tx.put_secret_source(&row).await?;
        if matches!(&said, Ok((true, _))) || row.closed.is_some() {
            let how = row.closed.clone().unwrap_or_else(|| "replaced".to_owned());
            changing.record(Change {
                verb: "connection.from_store",
                what: format!("connection {id}"),
                details: vec![("how", how), ("version", row.version.to_string())],
                ..Change::default()
            });
        }
        outcomes.push((id, said.map(|(is_new, _)| is_new)));
    }
    if kept + replaced + closed == 0 {
        return Ok(outcomes);
    }
    changing.record(Change {
        verb: "secret_store.look",
        what: "secret stores".to_owned(),
        details: vec![
            ("unchanged", kept.to_string()),
            ("replaced", replaced.to_string()),
            ("closed", closed.to_string()),
        ],
        ..Change::default()
    });
    changing.commit().await?;
    Ok(outcomes)
}

/// Seals what was fetched in the place of the copy, if it is another and fits.
async fn taken_over(
    instance: &Instance,
    changing: &mut Changing<'_>,
    rows: &Everything,
    id: Id<Connection>,
    fetched: &Fetched,
) -> Result<Outcome, Error> {
    let missing = |what| Error::Internal { what };
    let row = changing.tx.connection(id).await?.filter(|row| row.revoked_at.is_none());
    let Some(row) = row else { return Ok(Err(StoreError::NotFromStore)) };
    let source = rows.providers.iter().find(|one| one.id == row.provider);
    let source = source.ok_or(missing("the connection's provider is missing"))?;
    let limits = LoadLimits::default();
    let model = provider::load(&source.description, source.overlay.as_deref(), &limits)?;
    let Ok(credential) = Credential::parse_for(&fetched.secret, &placement::inputs(&model)) else {
        return Ok(Err(StoreError::DoesNotFit));
    };
    let app = crate::apps::find(instance, row.provider).await?;
    let supply = vault::Supply { token: None, app: app.as_ref(), variables: Some(&row.variables) };
    if placement::choose(&model, Some(&row.scheme), &credential, supply).is_err() {
        return Ok(Err(StoreError::DoesNotFit));
    }
    let customer = customers::current(instance, &mut changing.tx, row.customer).await?;
    let record = id.to_bytes();
    let column = connections::CREDENTIAL_COLUMN;
    let table = connections::CREDENTIAL_TABLE;
    let there = changing.tx.sealed(table, &record, column).await?;
    let there = there.ok_or(missing("the connection's credential is missing"))?;
    let bytes = credential.to_record_bytes();
    let known = instance.open_sealed(&customer.key, &there)?;
    if seals::sha256(known.expose()) == seals::sha256(bytes.expose()) {
        return Ok(Ok(false));
    }
    let place = (table, &record, column);
    let sealed = instance.seal_version(&customer.key, place, there.version + 1, &bytes)?;
    changing.tx.put_sealed(&sealed).await?;
    Ok(Ok(true))
}

/// Until when connections may be used, by their stores too.
pub(crate) fn close(
    rows: &Everything,
    mut until: HashMap<Id<Connection>, (Timestamp, Closing)>,
) -> HashMap<Id<Connection>, (Timestamp, Closing)> {
    if rows.secret_stores.sources.is_empty() {
        return until;
    }
    let ttls: HashMap<&Slug, Duration> = rows
        .secret_stores
        .stores
        .iter()
        .filter_map(|row| {
            let place: Place = serde_json::from_str(&row.body).ok()?;
            Some((&row.name, place.ttl()))
        })
        .collect();
    for row in &rows.secret_stores.sources {
        let own = match (&row.closed, ttls.get(&row.store)) {
            (None, Some(ttl)) => row.fetched_at + *ttl,
            _ => Timestamp::EPOCH,
        };
        let entry = until.entry(row.connection).or_insert((own, Closing::Store));
        if own < entry.0 {
            *entry = (own, Closing::Store);
        }
    }
    until
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_name_a_store_a_path_and_a_member() {
        let of = |text: &str| Reference::parse(text);
        let whole = of("bao:team/hr").unwrap();
        assert_eq!(
            (whole.store.as_str(), whole.path.as_str(), whole.member),
            ("bao", "team/hr", None)
        );
        assert_eq!(of("bao:a#b c").unwrap().member.as_deref(), Some("b c"));
        for bad in [
            "bao",
            "bao:",
            ":a",
            "Bao:a",
            "bao:/a",
            "bao:a/",
            "bao:a//b",
            "bao:..",
            "bao:a/../b",
            "bao:a%2fb",
            "bao:a?b",
            "bao:a b",
            "bao:a#",
            "bao:a\\b",
            "bao:ä",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
