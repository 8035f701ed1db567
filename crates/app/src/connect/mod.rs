//! Connecting by OAuth 2.0's authorization code (RFC 6749 §4.1): somebody is sent to the provider, comes
//! back, and confirms what came of it before there is a connection.
//!
//! A connect session is begun by a person or a program and opened once, by which a browser (or a loopback
//! listener, RFC 8252 §7.3) gets a text that it keeps. `state` and the PKCE verifier are made of that text
//! under a key of ours: they lie nowhere, and an answer fits nobody but who began. An answer counts once,
//! whatever becomes of it. Tokens lie sealed in the session from the callback to the confirmation; a
//! session that expires, is refused or given up takes them along.

mod consent;
mod error;
mod flow;
mod reach;
#[cfg(test)]
mod tests;

pub(crate) use consent::beyond as beyond_consent;
pub use consent::{
    ConsentShown, Consented, Withdrawn, give as give_consent, list as consents, renewal, withdraw,
};
pub use error::ConnectError;
pub use flow::{Answer, Confirmed, Opened, Opening, answer, cancel, confirm, keep_up, open};
pub(crate) use reach::Agreed;
pub use reach::AskedScope;

use crate::{
    apps,
    change::{Care, Change, Changing, hex},
    connections, customers,
    customers::OpenCustomer,
    error::Error,
    instance::Instance,
    placement, providers, seals,
    servers::{self, ServerError},
    tokens::{self, Reach},
};
use provider::{LoadLimits, auth::AuthPlan};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use store::{ConnectSessionRow, Everything, ProviderRow, SealedRow};
use types::{
    ConnectProgress, ConnectSession, Connection, Environment, Id, OpContext, SecretBytes,
    SecretText, Slug, Timestamp,
};
use vault::{
    Credential, Supply, Way,
    auth::{TokenSet, Variables},
};

/// How long somebody may take, from the beginning to the confirmation.
pub const SESSION_LIFE: Duration = Duration::from_mins(10);
/// How long it stays on record what became of a session.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(24);
/// Sessions that are open at once.
const MAX_OPEN: usize = 1_000;
const TABLE: &str = "connect_session";
const BODY: &str = "body";
const CREDENTIAL: &str = "credential";
const TOKEN: &str = "token";

/// Where a provider sends people back to: one address for each provider, so that no answer is taken for
/// another's (RFC 9700 §4.4). `base` is scheme and authority.
pub fn redirect_uri(base: &str, provider: &Slug) -> String {
    format!("{}/connect/{provider}/callback", base.trim_end_matches('/'))
}

/// What is to be connected.
#[derive(Debug)]
pub enum Target {
    New(Box<New>),
    /// A connection whose consent ended, or is to be another. It keeps its id and grants.
    Again(Id<Connection>),
}

/// A connection that is to be.
#[derive(Debug)]
pub struct New {
    pub provider: Slug,
    /// Any text; `self` is the company's own.
    pub customer: String,
    pub scheme: Option<String>,
    /// What a plan needs beside the provider's app.
    pub secret: Option<SecretBytes>,
    pub environment: Environment,
    pub variables: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
}

/// How a session is begun.
#[derive(Debug)]
pub struct Begin<'b> {
    pub target: Target,
    /// Scheme and authority that the browser is sent back to.
    pub base: &'b str,
    /// One that was used before, for the same, gives the session of then.
    pub idempotency_key: Option<&'b str>,
}

/// A session, begun.
#[derive(Debug)]
pub struct Begun {
    pub id: Id<ConnectSession>,
    /// Opens it, once.
    pub token: SecretText,
    pub expires_at: Timestamp,
}

/// What is sealed of a session from its beginning on.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    scheme: String,
    variables: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    /// Exactly as it goes to the provider.
    redirect_uri: String,
    scopes: Vec<String>,
}

/// A session with all that it hangs on, opened.
struct Loaded {
    row: ConnectSessionRow,
    provider: ProviderRow,
    model: provider::Provider,
    customer: OpenCustomer,
    customer_name: String,
    body: Body,
    ways: Vec<(String, Way)>,
    credential: Credential,
    app: Option<Credential>,
    /// From the callback to the confirmation.
    tokens: Option<TokenSet>,
}

impl Loaded {
    fn of(instance: &Instance, rows: &Everything, row: &ConnectSessionRow) -> Result<Self, Error> {
        let broken = |what| Error::Internal { what };
        let provider = rows.providers.iter().find(|one| one.id == row.provider);
        let provider = provider.ok_or(broken("a connect session's provider is missing"))?.clone();
        let model = loaded(&provider)?;
        let customer = rows.customers.iter().find(|one| one.id == row.customer);
        let customer = customer.ok_or(broken("a connect session's customer is missing"))?;
        let customer = customers::open(instance, customer)?;
        let record = row.id.to_bytes();
        let sealed = |column: &str| {
            rows.sealed
                .iter()
                .find(|one| one.table == TABLE && one.record == record && one.column == column)
        };
        let open = |sealed: &SealedRow| instance.open_sealed(&customer.key, sealed);
        let body = sealed(BODY).ok_or(ConnectError::Unknown)?;
        let body: Body = serde_json::from_slice(open(body)?.expose())
            .map_err(|_| broken("a connect session's body is damaged"))?;
        let credential = match sealed(CREDENTIAL) {
            Some(row) => Credential::from_record_bytes(&open(row)?)?,
            None => credential_of(instance, rows, row.connection, &customer)?,
        };
        let tokens = sealed(TOKEN)
            .map(|row| Ok::<_, Error>(TokenSet::from_record_bytes(&open(row)?)?))
            .transpose()?;
        let ways = placement::ways(&model, &body.scheme).unwrap_or_default();
        Ok(Self {
            customer_name: customers::name(instance, rows, row.customer)?,
            app: app_of(instance, rows, &provider)?,
            row: row.clone(),
            provider,
            model,
            customer,
            body,
            ways,
            credential,
            tokens,
        })
    }

    fn plan(&self) -> Result<(&str, &Arc<AuthPlan>), Error> {
        code_plan(&self.ways).ok_or_else(|| ConnectError::NoFlow { named: true }.into())
    }

    fn values(&self) -> Result<Variables, Error> {
        let (scheme, _) = self.plan()?;
        let supply =
            Supply { token: None, app: self.app.as_ref(), variables: Some(&self.body.variables) };
        Ok(self.credential.values_for(scheme, &self.ways, supply)?)
    }

    fn reach(&self) -> Reach<'_> {
        let (connection, environment) = (self.row.connection, self.row.environment);
        Reach { provider: &self.provider, connection, environment }
    }
}

fn loaded(row: &ProviderRow) -> Result<provider::Provider, Error> {
    Ok(provider::load(&row.description, row.overlay.as_deref(), &LoadLimits::default())?)
}

/// The credential of a connection that there is; nothing for one that is to be.
fn credential_of(
    instance: &Instance,
    rows: &Everything,
    connection: Option<Id<Connection>>,
    customer: &OpenCustomer,
) -> Result<Credential, Error> {
    let known = connection.and_then(|id| rows.connections.iter().find(|one| one.id == id));
    let Some(sealed) = known.and_then(|row| tokens::rows_of(rows, row)) else {
        return Ok(Credential::empty());
    };
    let opened = instance.open_sealed(&customer.key, &sealed.credential)?;
    Ok(Credential::from_record_bytes(&opened)?)
}

fn app_of(
    instance: &Instance,
    rows: &Everything,
    provider: &ProviderRow,
) -> Result<Option<Credential>, Error> {
    let record = provider.id.to_bytes();
    let is_app = |row: &&SealedRow| {
        row.table == tokens::APP_TABLE && row.column == tokens::APP_COLUMN && row.record == record
    };
    let Some(app) = rows.sealed.iter().find(is_app) else { return Ok(None) };
    let owner = rows.customers.iter().find(|owner| owner.id == app.customer);
    let owner = owner.ok_or(Error::Internal { what: "an app's owner is missing" })?;
    tokens::open_app(instance, app, owner).map(Some)
}

/// The plan among the ways by which somebody consents in a browser.
fn code_plan(ways: &[(String, Way)]) -> Option<(&str, &Arc<AuthPlan>)> {
    placement::acquiring(ways).filter(|(_, plan)| plan.authorization_code().is_some())
}

/// What a session asks for, before anybody is sent anywhere.
#[derive(Debug)]
pub struct Asked {
    pub scheme: String,
    pub scopes: Vec<AskedScope>,
    /// Whether the provider cannot do PKCE, by its plan.
    pub is_without_pkce: bool,
}

/// All that a session is begun with.
struct Prepared {
    provider: ProviderRow,
    customer: String,
    environment: Environment,
    connection: Option<Id<Connection>>,
    body: Body,
    credential: Option<Credential>,
    asked: Asked,
}

async fn prepared(instance: &Instance, begin: &Begin<'_>) -> Result<Prepared, Error> {
    let rows = seals::load_whole(instance).await?;
    let now = instance.clock.now();
    let (provider, customer, environment, connection) = match &begin.target {
        Target::New(new) => {
            connections::check_customer(&new.customer)?;
            connections::check_headers(&new.headers)?;
            let provider = providers::row(instance, &new.provider).await?;
            (provider, new.customer.clone(), new.environment, None)
        }
        Target::Again(id) => {
            let not_found = || Error::NotFound { kind: "connection", name: id.to_string() };
            let row = rows.connections.iter().find(|row| row.id == *id).ok_or_else(not_found)?;
            if row.revoked_at.is_some() {
                return Err(ConnectError::ConnectionGone.into());
            }
            let provider = rows.providers.iter().find(|one| one.id == row.provider);
            let missing = Error::Internal { what: "the connection's provider is missing" };
            let provider = provider.ok_or(missing)?.clone();
            let customer = customers::name(instance, &rows, row.customer)?;
            (provider, customer, row.environment, Some(row))
        }
    };
    let model = loaded(&provider)?;
    let app = apps::find(instance, provider.id).await?;
    let (scheme, variables, headers, credential) = match (&begin.target, connection) {
        (_, Some(row)) => (row.scheme.clone(), row.variables.clone(), row.headers.clone(), None),
        (Target::New(new), None) => {
            let credential = match &new.secret {
                Some(secret) => Credential::parse_for(secret, &placement::inputs(&model))?,
                None => Credential::empty(),
            };
            let scheme = chosen(&model, new.scheme.as_deref())?;
            (scheme, new.variables.clone(), new.headers.clone(), Some(credential))
        }
        (Target::Again(_), None) => return Err(ConnectError::ConnectionGone.into()),
    };
    let ways = placement::ways(&model, &scheme).unwrap_or_default();
    let (own, plan) = code_plan(&ways).ok_or(match connection {
        Some(_) => ConnectError::NotByConsent,
        None => ConnectError::NoFlow { named: true },
    })?;
    let oauth2 = plan.oauth2().ok_or(ConnectError::NotByConsent)?;
    // Nobody was asked yet: what else is needed must be there.
    let nothing = TokenSet::empty(now);
    let supply = Supply { token: Some(&nothing), app: app.as_ref(), variables: Some(&variables) };
    let known = match (&credential, connection) {
        (Some(credential), _) => {
            credential.check(&ways, supply)?;
            credential.values_for(own, &ways, supply)?
        }
        (None, row) => {
            let row = row.ok_or(ConnectError::ConnectionGone)?;
            let owner = rows.customers.iter().find(|one| one.id == row.customer);
            let missing = Error::Internal { what: "the connection's customer is missing" };
            let owner = customers::open(instance, owner.ok_or(missing)?)?;
            let credential = credential_of(instance, &rows, Some(row.id), &owner)?;
            if credential.is_given_token(own, &ways, plan) {
                return Err(ConnectError::NotByConsent.into());
            }
            credential.values_for(own, &ways, supply)?
        }
    };
    if !known.has("client_id") {
        return Err(ConnectError::NoClientId.into());
    }
    check_servers(&model, &provider, &variables, &plan.taken())?;
    let connection = connection.map(|row| row.id);
    let reach = Reach { provider: &provider, connection, environment };
    let scopes = reach::scopes(&rows, &model, reach, (own, oauth2), now)?;
    let body = Body {
        redirect_uri: redirect_uri(begin.base, &provider.slug),
        scopes: scopes.iter().map(|one| one.name.clone()).collect(),
        scheme: scheme.clone(),
        variables,
        headers,
    };
    let asked = Asked { scheme, scopes, is_without_pkce: !oauth2.has_pkce };
    Ok(Prepared { provider, customer, environment, connection, body, credential, asked })
}

/// The scheme that was named, or the only one with an authorization code flow.
fn chosen(model: &provider::Provider, named: Option<&str>) -> Result<String, Error> {
    if let Some(name) = named {
        let is_one = placement::ways(model, name).is_some_and(|ways| code_plan(&ways).is_some());
        let unfit = || ConnectError::NoFlow { named: true }.into();
        return is_one.then(|| name.to_owned()).ok_or_else(unfit);
    }
    let fits = model.auth.iter().filter(|(_, plan)| plan.authorization_code().is_some());
    let mut choices: Vec<String> = fits.map(|(name, _)| name.clone()).collect();
    match (choices.len(), choices.pop()) {
        (1, Some(only)) => Ok(only),
        (_, None) => Err(ConnectError::NoFlow { named: false }.into()),
        (_, Some(last)) => {
            choices.push(last);
            Err(ConnectError::SchemeAmbiguous { choices }.into())
        }
    }
}

/// What calls would go to must be a place where they may go, as far as it is known yet.
fn check_servers(
    model: &provider::Provider,
    row: &ProviderRow,
    variables: &BTreeMap<String, String>,
    taken: &BTreeSet<&str>,
) -> Result<(), Error> {
    let policy = providers::guard_policy(&row.allow_private)?;
    let urls = match servers::plan(model, row.server.as_deref(), variables) {
        Ok(plan) => plan.urls,
        Err(ServerError::VariableMissing { name }) if taken.contains(name.as_str()) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    for url in &urls {
        providers::target(url, &policy)?;
    }
    Ok(())
}

/// Begins a session.
///
/// # Errors
/// [`ConnectError`] if the provider has no such flow, or the company is not registered with it.
pub async fn begin(instance: &Instance, ctx: &OpContext, begin: Begin<'_>) -> Result<Begun, Error> {
    let key = begin.idempotency_key;
    if key.is_some_and(|key| {
        key.is_empty() || key.len() > 255 || key.bytes().any(|byte| !byte.is_ascii_graphic())
    }) {
        return Err(ConnectError::KeyMalformed.into());
    }
    let prepared = prepared(instance, &begin).await?;
    let pepper = &instance.secrets.pepper;
    let request =
        key.map(|key| pepper.lookup_digest("connect request", &format!("{}\n{key}", ctx.actor)));
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let rows = changing.tx.everything().await?;
    flow::sweep(instance, &mut changing, &rows.connects.sessions, ctx.now).await?;
    let customer =
        customers::find_or_create(instance, &mut changing.tx, ctx, &prepared.customer).await?;
    let known =
        rows.connects.sessions.iter().find(|row| request.is_some() && row.request == request);
    if let Some(known) = known {
        let is_same = known.provider == prepared.provider.id
            && known.customer == customer.id
            && known.environment == prepared.environment;
        if !is_same {
            return Err(ConnectError::KeyReused.into());
        }
        return Ok(Begun {
            id: known.id,
            token: token_of(instance, known.id),
            expires_at: known.expires_at,
        });
    }
    let is_open = |row: &&ConnectSessionRow| !is_over(row, ctx.now);
    if rows.connects.sessions.iter().filter(is_open).count() >= MAX_OPEN {
        return Err(ConnectError::TooMany { limit: MAX_OPEN }.into());
    }
    let id: Id<ConnectSession> = Id::generate(ctx.now, instance.random.as_ref())?;
    let token = token_of(instance, id);
    let expires_at = ctx.now + SESSION_LIFE;
    let row = ConnectSessionRow {
        id,
        token: pepper.lookup_digest(TOKEN_KIND, token.expose()),
        trip: None,
        request,
        provider: prepared.provider.id,
        customer: customer.id,
        environment: prepared.environment,
        connection: prepared.connection,
        progress: ConnectProgress::Waiting,
        failure: None,
        begun_by: ctx.actor.to_string(),
        created_at: ctx.now,
        expires_at,
        used_at: None,
    };
    changing.tx.put_connect_session(&row).await?;
    let body = serde_json::to_vec(&prepared.body).unwrap_or_default();
    let record = id.to_bytes();
    let body = instance.seal(&customer.key, TABLE, &record, BODY, &SecretBytes::new(body))?;
    changing.tx.put_sealed(&body).await?;
    if let Some(credential) = &prepared.credential {
        let bytes = credential.to_record_bytes();
        let sealed = instance.seal(&customer.key, TABLE, &record, CREDENTIAL, &bytes)?;
        changing.tx.put_sealed(&sealed).await?;
    }
    let mut details = vec![
        ("provider", prepared.provider.id.to_string()),
        ("environment", prepared.environment.to_string()),
        ("scheme", prepared.asked.scheme),
        ("scopes", prepared.body.scopes.len().to_string()),
    ];
    if let Some(connection) = prepared.connection {
        details.push(("connection", connection.to_string()));
    }
    let customer = Some(customer.commitment);
    let what = format!("connect session {id}");
    changing.record(Change { verb: "connect.begin", what, details, customer });
    changing.commit().await?;
    Ok(Begun { id, token, expires_at })
}

const TOKEN_KIND: &str = "connect token";

/// Made of the session's id under a key of ours: a request that is repeated is answered the same.
fn token_of(instance: &Instance, id: Id<ConnectSession>) -> SecretText {
    let made = instance.secrets.pepper.lookup_digest("connect opening", &id.to_string());
    SecretText::new(format!("wgl_{}", hex(&made)))
}

fn is_over(row: &ConnectSessionRow, now: Timestamp) -> bool {
    now >= row.expires_at
        || matches!(row.progress, ConnectProgress::Connected | ConnectProgress::Ended)
}

/// A session as whoever began it sees it.
#[derive(Debug)]
pub struct Shown {
    pub id: Id<ConnectSession>,
    pub provider: String,
    pub customer: String,
    pub environment: Environment,
    pub progress: ConnectProgress,
    /// Whether it is over without a connection because of time.
    pub is_expired: bool,
    pub failure: Option<String>,
    /// The connection that came of it, or is connected anew.
    pub connection: Option<Id<Connection>>,
    pub expires_at: Timestamp,
    /// While it is under way.
    pub asked: Vec<AskedScope>,
    pub is_without_pkce: bool,
    /// What is confirmed, once somebody came back.
    pub consented: Option<Consented>,
}

/// Shows a session to whoever began it.
///
/// # Errors
/// [`ConnectError::Unknown`] also for somebody else's.
pub async fn show(
    instance: &Instance,
    ctx: &OpContext,
    id: Id<ConnectSession>,
) -> Result<Shown, Error> {
    let rows = seals::load_whole(instance).await?;
    let by = ctx.actor.to_string();
    let row = rows.connects.sessions.iter().find(|row| row.id == id && row.begun_by == by);
    let row = row.ok_or(ConnectError::Unknown)?;
    let provider = rows.providers.iter().find(|one| one.id == row.provider);
    let over = is_over(row, ctx.now);
    let mut shown = Shown {
        id,
        provider: provider.map_or_else(String::new, |one| one.slug.to_string()),
        customer: customers::name(instance, &rows, row.customer)?,
        environment: row.environment,
        progress: row.progress,
        is_expired: over && row.progress != ConnectProgress::Connected && row.failure.is_none()
            || row.failure.as_deref() == Some(flow::EXPIRED),
        failure: row.failure.clone(),
        connection: row.connection,
        expires_at: row.expires_at,
        asked: Vec::new(),
        is_without_pkce: false,
        consented: None,
    };
    if over {
        return Ok(shown);
    }
    let loaded = Loaded::of(instance, &rows, row)?;
    let (scheme, plan) = loaded.plan()?;
    let oauth2 = plan.oauth2().ok_or(ConnectError::NotByConsent)?;
    shown.is_without_pkce = !oauth2.has_pkce;
    let asked = reach::scopes(&rows, &loaded.model, loaded.reach(), (scheme, oauth2), ctx.now)?;
    shown.asked = asked.into_iter().filter(|one| loaded.body.scopes.contains(&one.name)).collect();
    if row.progress == ConnectProgress::Returned {
        shown.consented = loaded.tokens.as_ref().map(|tokens| {
            let words = reach::let_through(&rows, loaded.reach(), ctx.now);
            consent::of_tokens(&loaded, tokens, words)
        });
    }
    Ok(shown)
}
