//! A connection's secret replaced by another one: held in a second slot, tried there by the call that the
//! overlay declares, and only then put into use. What it replaces is destroyed by the same change, or
//! kept until somebody ends it or takes it back.

use crate::{
    asking::Asker,
    change::{Care, Change, Changing},
    connection_check::{self, Found},
    connections::{CREDENTIAL_COLUMN, CREDENTIAL_TABLE},
    customers::{self, OpenCustomer},
    error::{Error, Kind},
    instance::Instance,
    lifetimes, placement,
    secret_stores::StoreError,
    tokens::{self, Conversation, ConversationError, Conversed, TOKEN_COLUMN},
};
use audit::Commitment;
use outbound::TlsConfig;
use std::sync::Arc;
use types::{Connection, Id, OpContext, SecretBytes};
use vault::{
    Credential,
    auth::{Goal, TokenSet},
};

/// Where a connection's secret lies, and the tokens that came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    InUse,
    /// To be tried.
    Next,
    /// Was in use before.
    Former,
}

impl Slot {
    pub(crate) const fn columns(self) -> [&'static str; 2] {
        match self {
            Self::InUse => [CREDENTIAL_COLUMN, TOKEN_COLUMN],
            Self::Next => ["next", "next_token"],
            Self::Former => ["former", "former_token"],
        }
    }

    pub(crate) const fn is_empty(self) -> ReplaceError {
        match self {
            Self::Former => ReplaceError::NoFormer,
            Self::InUse | Self::Next => ReplaceError::NothingHeld,
        }
    }
}

/// Why a secret was not replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceError {
    #[error("no other secret is held for the connection")]
    NothingHeld,
    #[error("no former secret of the connection is kept")]
    NoFormer,
    #[error("the provider's overlay declares no call to try a secret with")]
    NoCheck,
    #[error("somebody consents to the connection's tokens: no secret obtains them")]
    ByConsent,
    #[error("the provider does not take the secret ({status}): the one in use stays")]
    NotTaken { status: u16 },
    #[error(
        "the provider's answer ({status}) does not say that it takes the secret: the one in use stays"
    )]
    Undecided { status: u16 },
    #[error("the secret was replaced while it was being tried")]
    Changed,
}

impl ReplaceError {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::NothingHeld | Self::NoFormer => Kind::NotFound,
            Self::NoCheck | Self::ByConsent => Kind::Usage,
            Self::NotTaken { .. } | Self::Undecided { .. } | Self::Changed => Kind::Refused,
        }
    }

    pub(crate) const fn remedy(&self) -> &'static str {
        match self {
            Self::NothingHeld => "Give one with --secret-file.",
            Self::NoFormer => {
                "Give the secret with --secret-file; --keep-former keeps what it replaces."
            }
            Self::NoCheck => {
                "Declare one by `x-weirgate-check: \"GET /me\"` in an overlay and import it, or give \
                 --unchecked."
            }
            Self::ByConsent => "Ask for consent anew with `weirgate connection reconnect`.",
            Self::NotTaken { .. } => "Get another secret from the provider, and give that.",
            Self::Undecided { .. } => {
                "The secret is held: try it later with --again, or destroy it with --cancel."
            }
            Self::Changed => "Look with `weirgate connection show`, and begin again.",
        }
    }
}

/// Holds a secret beside the one in use, in the place of another that was held. It yields what tells it
/// from others.
///
/// # Errors
/// As for a new connection, by the scheme that the connection has.
pub async fn hold(
    instance: &Instance,
    ctx: &OpContext,
    id: Id<Connection>,
    secret: &SecretBytes,
) -> Result<String, Error> {
    let in_use = connection_check::find(instance, id, Slot::InUse).await?;
    let sources = crate::seals::load_whole(instance).await?.secret_stores.sources;
    if sources.iter().any(|source| source.connection == id) {
        return Err(StoreError::FromStore.into());
    }
    let (row, model) = (&in_use.renewable.row, &in_use.renewable.provider.model);
    let next = Credential::parse_for(secret, &placement::inputs(model))?;
    let mut material = in_use.material;
    // By what the provider said for the one in use, nothing is said of another.
    material.token = None;
    material.credential = next;
    if let Some((_, plan)) = material.acquiring()
        && plan.authorization_code().is_some()
    {
        return Err(ReplaceError::ByConsent.into());
    }
    let supply = material.supply(&row.variables);
    placement::choose(model, Some(&row.scheme), &material.credential, supply)?;
    if let Some(identity) = material.identity(&row.variables)? {
        identity.check_time(ctx.now)?;
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let (customer, _) = in_force(instance, &mut changing, id).await?;
    empty(&mut changing, id, Slot::Next).await?;
    let bytes = material.credential.to_record_bytes();
    put(instance, &mut changing, (&customer, id), Slot::Next.columns()[0], &bytes).await?;
    record(&mut changing, id, "connection.replacement.hold", &customer, Vec::new());
    changing.commit().await?;
    Ok(instance.secrets.pepper.fingerprint(&material.credential))
}

/// How a held or former secret comes into use.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Where it lies.
    pub from: Slot,
    /// Only if the provider takes it.
    pub is_checked: bool,
    /// What it replaces is kept as the former one.
    pub keeps_former: bool,
}

/// What is in use now.
#[derive(Debug)]
pub struct Switched {
    pub fingerprint: String,
    /// What the provider answered to the declared call.
    pub status: Option<u16>,
}

/// Tries a secret, and puts it into use if the provider takes it. One that the provider refused with 401
/// is destroyed, unless it is the former one.
///
/// # Errors
/// [`ReplaceError`]; whatever it is, the secret in use stays in use.
pub async fn switch(
    instance: &Instance,
    ctx: &OpContext,
    tls: Arc<TlsConfig>,
    id: Id<Connection>,
    how: How,
) -> Result<Switched, Error> {
    let mut found = connection_check::find(instance, id, how.from).await?;
    let mut status = None;
    if how.is_checked {
        if found.path.is_none() {
            return Err(ReplaceError::NoCheck.into());
        }
        let asker = connection_check::asker(tls)?;
        if found.material.acquiring().is_some() && !found.has_token(instance.clock.now()) {
            obtain(instance, ctx, &asker, found, how.from).await?;
            found = connection_check::find(instance, id, how.from).await?;
        }
        let said = connection_check::ask(instance, &asker, &found).await?;
        status = Some(said);
        match said {
            200..=299 => {}
            401 => {
                if how.from == Slot::Next {
                    let verb = "connection.replacement.refuse";
                    destroy(
                        instance,
                        ctx,
                        (id, how.from),
                        verb,
                        vec![("status", said.to_string())],
                    )
                    .await?;
                }
                return Err(ReplaceError::NotTaken { status: said }.into());
            }
            _ => return Err(ReplaceError::Undecided { status: said }.into()),
        }
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let (customer, record_id) = in_force(instance, &mut changing, id).await?;
    let [credential, token] = how.from.columns();
    let tried = &found.renewable.rows.credential;
    let there = changing.tx.sealed(CREDENTIAL_TABLE, &record_id, credential).await?;
    if there.is_none_or(|there| there.sealed != tried.sealed) {
        return Err(ReplaceError::Changed.into());
    }
    let next = take(instance, &mut changing, (&customer, id), credential).await?;
    let next = next.ok_or_else(|| how.from.is_empty())?;
    let next_token = take(instance, &mut changing, (&customer, id), token).await?;
    let own = take(instance, &mut changing, (&customer, id), CREDENTIAL_COLUMN).await?;
    let own_token = take(instance, &mut changing, (&customer, id), TOKEN_COLUMN).await?;
    empty(&mut changing, id, how.from).await?;
    if how.keeps_former {
        empty(&mut changing, id, Slot::Former).await?;
        for (column, value) in Slot::Former.columns().into_iter().zip([own, own_token]) {
            if let Some(value) = value {
                put(instance, &mut changing, (&customer, id), column, &value).await?;
            }
        }
    }
    put(instance, &mut changing, (&customer, id), CREDENTIAL_COLUMN, &next).await?;
    match next_token {
        Some(tokens) => {
            put(instance, &mut changing, (&customer, id), TOKEN_COLUMN, &tokens).await?;
        }
        None => changing.tx.delete_sealed_at(CREDENTIAL_TABLE, &record_id, TOKEN_COLUMN).await?,
    }
    lifetimes::renewed(instance, &mut changing, id, ctx.now).await?;
    let verb = match how.from {
        Slot::Former => "connection.replacement.back",
        Slot::Next | Slot::InUse => "connection.replacement.switch",
    };
    let mut details =
        vec![("former", if how.keeps_former { "kept" } else { "destroyed" }.to_owned())];
    details.push(("checked", status.map_or_else(|| "no".to_owned(), |status| status.to_string())));
    record(&mut changing, id, verb, &customer, details);
    changing.commit().await?;
    let fingerprint = instance.secrets.pepper.fingerprint(&found.material.credential);
    Ok(Switched { fingerprint, status })
}

/// Destroys what is held.
///
/// # Errors
/// [`ReplaceError::NothingHeld`]
pub async fn cancel(instance: &Instance, ctx: &OpContext, id: Id<Connection>) -> Result<(), Error> {
    destroy(instance, ctx, (id, Slot::Next), "connection.replacement.cancel", Vec::new()).await
}

/// Destroys the former secret.
///
/// # Errors
/// [`ReplaceError::NoFormer`]
pub async fn retire(instance: &Instance, ctx: &OpContext, id: Id<Connection>) -> Result<(), Error> {
    destroy(instance, ctx, (id, Slot::Former), "connection.replacement.retire", Vec::new()).await
}

/// Tokens by a secret that is not in use, kept beside it before anything is done with them.
async fn obtain(
    instance: &Instance,
    ctx: &OpContext,
    asker: &Asker,
    found: Found,
    slot: Slot,
) -> Result<(), Error> {
    let Found { renewable, mut material, .. } = found;
    let unmakable = Error::Internal { what: "no token is obtained for the connection" };
    let held = material.token.take();
    let (scheme, plan) = material.acquiring().ok_or(unmakable)?;
    let values = tokens::values_of(&material, scheme, &renewable.row.variables)?;
    let conversation = Conversation {
        plan,
        goal: Goal::Renew,
        values,
        held,
        scopes: renewable.scopes.clone(),
        guard: &renewable.guard,
    };
    let (obtained, failed) = match tokens::converse(instance, asker, conversation).await? {
        Conversed::Tokens(tokens) => (tokens, None),
        Conversed::Kept(tokens, error) => (tokens, Some(ConversationError::from(error))),
    };
    keep(instance, ctx, &renewable.row.id, slot, &obtained).await?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

async fn keep(
    instance: &Instance,
    ctx: &OpContext,
    id: &Id<Connection>,
    slot: Slot,
    tokens: &TokenSet,
) -> Result<(), Error> {
    // What the provider gave is kept though a row that has nothing to do with it was touched.
    let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
    let (customer, record_id) = in_force(instance, &mut changing, *id).await?;
    let [credential, token] = slot.columns();
    if changing.tx.sealed(CREDENTIAL_TABLE, &record_id, credential).await?.is_none() {
        return Err(slot.is_empty().into());
    }
    let bytes = tokens.to_record_bytes();
    put(instance, &mut changing, (&customer, *id), token, &bytes).await?;
    record(&mut changing, *id, "connection.replacement.token", &customer, Vec::new());
    changing.commit().await.map(drop)
}

async fn destroy(
    instance: &Instance,
    ctx: &OpContext,
    (id, slot): (Id<Connection>, Slot),
    verb: &'static str,
    details: Vec<(&'static str, String)>,
) -> Result<(), Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
    let (customer, record_id) = in_force(instance, &mut changing, id).await?;
    let [credential, _] = slot.columns();
    if changing.tx.sealed(CREDENTIAL_TABLE, &record_id, credential).await?.is_none() {
        return Err(slot.is_empty().into());
    }
    empty(&mut changing, id, slot).await?;
    record(&mut changing, id, verb, &customer, details);
    changing.commit().await.map(drop)
}

/// The customer of a connection that is in force, and the connection's id as sealed rows have it.
async fn in_force(
    instance: &Instance,
    changing: &mut Changing<'_>,
    id: Id<Connection>,
) -> Result<(OpenCustomer, [u8; 16]), Error> {
    let row = changing.tx.connection(id).await?.filter(|row| row.revoked_at.is_none());
    let row = row.ok_or_else(|| Error::NotFound { kind: "connection", name: id.to_string() })?;
    let customer = customers::current(instance, &mut changing.tx, row.customer).await?;
    Ok((customer, id.to_bytes()))
}

/// What lies in a column, opened.
async fn take(
    instance: &Instance,
    changing: &mut Changing<'_>,
    (customer, id): (&OpenCustomer, Id<Connection>),
    column: &str,
) -> Result<Option<SecretBytes>, Error> {
    let row = changing.tx.sealed(CREDENTIAL_TABLE, &id.to_bytes(), column).await?;
    row.map(|row| instance.open_sealed(&customer.key, &row)).transpose()
}

/// Seals as the next version of what lies there.
async fn put(
    instance: &Instance,
    changing: &mut Changing<'_>,
    (customer, id): (&OpenCustomer, Id<Connection>),
    column: &str,
    value: &SecretBytes,
) -> Result<(), Error> {
    let record_id = id.to_bytes();
    let there = changing.tx.sealed(CREDENTIAL_TABLE, &record_id, column).await?;
    let version = there.map_or(0, |row| row.version) + 1;
    let place = (CREDENTIAL_TABLE, &record_id, column);
    let sealed = instance.seal_version(&customer.key, place, version, value)?;
    Ok(changing.tx.put_sealed(&sealed).await?)
}

async fn empty(changing: &mut Changing<'_>, id: Id<Connection>, slot: Slot) -> Result<(), Error> {
    for column in slot.columns() {
        changing.tx.delete_sealed_at(CREDENTIAL_TABLE, &id.to_bytes(), column).await?;
    }
    Ok(())
}

fn record(
    changing: &mut Changing<'_>,
    id: Id<Connection>,
    verb: &'static str,
    customer: &OpenCustomer,
    details: Vec<(&'static str, String)>,
) {
    changing.record(Change {
        verb,
        what: format!("connection {id}"),
        details,
        customer: Some(Commitment::from_bytes(customer.commitment.to_bytes())),
    });
}
