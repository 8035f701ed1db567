//! Connections: a customer's credential for a provider, sealed and ready for use.

use crate::{
    apps,
    change::{Care, Change, Changing, listed},
    connect, customers,
    error::Error,
    instance::Instance,
    placement, providers,
    replacement::Slot,
    seals,
    secret_stores::Source,
    servers::{self, ServerError},
    tokens::{self, Material, Reach},
};
use provider::LoadLimits;
use std::collections::{BTreeMap, BTreeSet};
use types::{Connection, Environment, Id, OpContext, SecretBytes, Slug, Timestamp};
use vault::{Credential, Supply, auth::TokenSet};

/// What `connection create` is given.
#[derive(Debug)]
pub struct Create {
    pub provider: Slug,
    /// Any text; `self` is the company's own.
    pub customer: String,
    pub scheme: Option<String>,
    /// JSON; see the reference on secrets.
    pub secret: SecretBytes,
    pub environment: Environment,
    pub variables: BTreeMap<String, String>,
    /// Headers of every call: they choose whose data is reached, so no caller may set them.
    pub headers: BTreeMap<String, String>,
    /// The secret store that it comes from; `None`: it was given.
    pub source: Option<Source>,
}

#[derive(Debug)]
pub struct Created {
    pub id: Id<Connection>,
    pub scheme: String,
    /// Tells two credentials apart and reveals nothing.
    pub fingerprint: String,
}

const MAX_CUSTOMER_BYTES: usize = 200;

/// Checks everything that a call would need, then seals the credential and stores the connection.
pub async fn create(
    instance: &Instance,
    ctx: &OpContext,
    create: Create,
) -> Result<Created, Error> {
    check_customer(&create.customer)?;
    check_headers(&create.headers)?;
    let row = providers::row(instance, &create.provider).await?;
    let model = provider::load(&row.description, row.overlay.as_deref(), &LoadLimits::default())?;
    let credential = Credential::parse_for(&create.secret, &placement::inputs(&model))?;
    let app = apps::find(instance, row.id).await?;
    let supply = Supply { token: None, app: app.as_ref(), variables: Some(&create.variables) };
    let chosen = placement::choose(&model, create.scheme.as_deref(), &credential, supply)?;
    let policy = providers::guard_policy(&row.allow_private)?;
    let ways = placement::ways(&model, &chosen.name).unwrap_or_default();
    let urls = match servers::plan(&model, row.server.as_deref(), &create.variables) {
        Ok(plan) => plan.urls,
        // The provider's token endpoint will say it.
        Err(ServerError::VariableMissing { name })
            if placement::acquiring(&ways)
                .is_some_and(|(_, plan)| plan.taken().contains(name.as_str())) =>
        {
            Vec::new()
        }
        Err(error) => return Err(error.into()),
    };
    let mut policy = policy;
    if let Some(identity) = placement::identity(&credential, &ways, supply)? {
        identity.check_time(ctx.now)?;
        policy = policy.showing(identity);
    }
    for url in &urls {
        providers::target(url, &policy)?;
    }

    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let tx = &mut changing.tx;
    let customer = customers::find_or_create(instance, tx, ctx, &create.customer).await?;
    let salt = customers::salt(instance, tx, &customer).await?;
    let mut details = vec![
        ("provider", row.id.to_string()),
        ("environment", create.environment.to_string()),
        ("scheme", chosen.name.clone()),
    ];
    // A filled URL says what its variables are: they stand as commitments alone.
    if create.variables.is_empty() && !urls.is_empty() {
        let shown: Vec<String> = urls.iter().map(|url| providers::shown(url)).collect();
        details.push(("servers", listed(&shown)));
    }
    for (kind, values) in [("variables", &create.variables), ("headers", &create.headers)] {
        if !values.is_empty() {
            details.push((kind, listed(&customers::committed(&salt, kind, values))));
        }
    }
    let id: Id<Connection> = Id::generate(ctx.now, instance.random.as_ref())?;
    tx.insert_connection(&store::ConnectionRow {
        id,
        provider: row.id,
        customer: customer.id,
        environment: create.environment,
        scheme: chosen.name.clone(),
        variables: create.variables,
        headers: create.headers,
        created_at: ctx.now,
        revoked_at: None,
    })
    .await?;
    let sealed = instance.seal(
        &customer.key,
        CREDENTIAL_TABLE,
        &id.to_bytes(),
        CREDENTIAL_COLUMN,
        &credential.to_record_bytes(),
    )?;
    tx.put_sealed(&sealed).await?;
    if let Some(source) = &create.source {
        tx.put_secret_source(&source.row(id)).await?;
        details.push(("secret_store", source.reference.store.to_string()));
    }
    changing.record(Change {
        verb: "connection.create",
        what: format!("connection {id}"),
        details,
        customer: Some(customer.commitment),
    });
    changing.commit().await?;
    let fingerprint = instance.secrets.pepper.fingerprint(&credential);
    Ok(Created { id, scheme: chosen.name, fingerprint })
}

pub(crate) const CREDENTIAL_TABLE: &str = "connection";
pub(crate) const CREDENTIAL_COLUMN: &str = "credential";

pub(crate) fn check_customer(name: &str) -> Result<(), Error> {
    let malformed = |why: &str| Error::Malformed { kind: "customer", why: why.to_owned() };
    if name.is_empty() || name.len() > MAX_CUSTOMER_BYTES {
        return Err(malformed("use 1 to 200 bytes"));
    }
    if name.chars().any(char::is_control) || name.trim() != name {
        return Err(malformed("use no control characters and no space at the ends"));
    }
    Ok(())
}

pub(crate) fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), Error> {
    /// Set by the gateway itself, or framing.
    const OWN: [&str; 14] = [
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let mut seen = BTreeSet::new();
    for (name, value) in headers {
        let refused = |why| Error::HeaderRefused { why };
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(refused("it is no header name"));
        }
        if http::HeaderValue::from_str(value).is_err() {
            return Err(refused("its value has characters that no header may have"));
        }
        let lower = name.to_ascii_lowercase();
        if !seen.insert(lower.clone()) {
            return Err(refused("it is given twice, and case does not tell headers apart"));
        }
        if OWN.contains(&lower.as_str()) || lower.starts_with("proxy-") {
            return Err(refused("the gateway sets it"));
        }
        if gateway::is_credential_name(name) {
            return Err(refused("its name promises a credential, which belongs into the secret"));
        }
    }
    Ok(())
}

/// Ends a connection and destroys its secrets. Doing it twice is no error.
pub async fn revoke(instance: &Instance, ctx: &OpContext, id: Id<Connection>) -> Result<(), Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
    let row = changing
        .tx
        .connection(id)
        .await?
        .ok_or_else(|| Error::NotFound { kind: "connection", name: id.to_string() })?;
    if row.revoked_at.is_some() {
        return Ok(());
    }
    changing.tx.revoke_connection(id, ctx.now).await?;
    changing.tx.delete_sealed(CREDENTIAL_TABLE, &id.to_bytes()).await?;
    changing.tx.delete_secret_source(id).await?;
    changing.record(Change {
        verb: "connection.revoke",
        what: format!("connection {id}"),
        ..Change::default()
    });
    changing.commit().await.map(drop)
}

/// What can be said of a connection's credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Active,
    /// A token has to be obtained first.
    Waiting,
    /// Somebody has to consent anew.
    ConsentEnded,
    Revoked,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::ConsentEnded => "consent_ended",
            Self::Revoked => "revoked",
        }
    }
}

/// A connection, without anything of its secrets.
#[derive(Debug)]
pub struct Shown {
    pub id: Id<Connection>,
    pub provider: String,
    pub customer: String,
    pub environment: Environment,
    pub scheme: String,
    pub state: State,
    /// Of its tokens; 0: Weirgate obtains none.
    pub version: u64,
    pub obtained_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    /// The end of the certificate that connections to the provider show.
    pub certificate_expires_at: Option<Timestamp>,
    /// Scopes that the grants in force need.
    pub needed: Vec<String>,
    /// Scopes that were given though nobody asked, and those that were not given though asked for.
    pub beyond: Vec<String>,
    pub missing: Vec<String>,
    /// Scopes that the grants need and the token does not have: it has to be consented to anew.
    pub lacking: Vec<String>,
    /// Whether somebody consents in a browser to have it connected.
    pub is_by_consent: bool,
    /// What grants would let through once the consent is renewed; `None`: no consent bounds them.
    pub beyond_consent: Option<Vec<String>>,
    /// How often in a row no token was obtained, and when it is tried again.
    pub failed: Option<(u32, Timestamp)>,
    /// Another secret waits to be tried.
    pub has_next: bool,
    /// What the last one replaced is kept.
    pub has_former: bool,
}

/// Shows one connection.
pub async fn show(instance: &Instance, id: Id<Connection>) -> Result<Shown, Error> {
    let everything = seals::load_whole(instance).await?;
    let not_found = || Error::NotFound { kind: "connection", name: id.to_string() };
    let row = everything.connections.iter().find(|row| row.id == id).ok_or_else(not_found)?;
    let provider = everything.providers.iter().find(|one| one.id == row.provider);
    let provider =
        provider.ok_or(Error::Internal { what: "the connection's provider is missing" })?;
    let limits = LoadLimits::default();
    let model = provider::load(&provider.description, provider.overlay.as_deref(), &limits)?;
    let customer_name = customers::name(instance, &everything, row.customer)?;
    let rows = match tokens::rows_of(&everything, row) {
        Some(rows) => rows,
        // Nothing of its secrets is left.
        None if row.revoked_at.is_some() => {
            return Ok(Shown::revoked(row, provider.slug.to_string(), customer_name));
        }
        None => {
            return Err(Error::Internal { what: "the connection's credential is missing" });
        }
    };
    let customer = everything.customers.iter().find(|one| one.id == row.customer);
    let customer =
        customer.ok_or(Error::Internal { what: "the connection's customer is missing" })?;
    let opened = customers::open(instance, customer)?;
    let material = Material::open(instance, &model, row, &opened, &rows)?;
    let acquiring = material.acquiring();
    let needed = match acquiring {
        Some((scheme, _)) => {
            let reach = Reach { provider, connection: Some(id), environment: row.environment };
            tokens::needed_by_grants(&everything, &model, reach, scheme, instance.clock.now())?
        }
        None => Vec::new(),
    };
    let token = material.token.as_ref().filter(|_| acquiring.is_some());
    let state = match (row.revoked_at, acquiring, token) {
        (Some(_), _, _) => State::Revoked,
        (None, Some(_), None) => State::Waiting,
        (None, Some(_), Some(token)) if token.ended.is_some() => State::ConsentEnded,
        (None, _, _) => State::Active,
    };
    let (beyond, missing) = token.map_or_else(Default::default, TokenSet::scope_differences);
    let owned = |scopes: Vec<&str>| scopes.into_iter().map(ToOwned::to_owned).collect();
    let is_by_consent = acquiring.is_some_and(|(_, plan)| plan.authorization_code().is_some());
    let is_there = |scope: &String| {
        token.is_some_and(|token| token.granted.as_ref().unwrap_or(&token.asked).contains(scope))
    };
    let lacking = match (is_by_consent, state) {
        (true, State::Active) => needed.iter().filter(|scope| !is_there(scope)).cloned().collect(),
        _ => Vec::new(),
    };
    let beyond_consent = connect::beyond_consent(&everything, id, instance.clock.now())?;
    let failed = instance.store.failed_renewals().await?;
    let has = |slot: Slot| {
        let mut own = everything.sealed.iter().filter(|one| one.table == CREDENTIAL_TABLE);
        own.any(|one| one.record == id.to_bytes() && slot.columns().contains(&one.column.as_str()))
    };
    Ok(Shown {
        id,
        provider: provider.slug.to_string(),
        customer: customer_name,
        environment: row.environment,
        scheme: row.scheme.clone(),
        state,
        version: material.version,
        obtained_at: token.map(|token| token.obtained_at),
        expires_at: token.and_then(|token| token.expires_at),
        certificate_expires_at: material
            .identity(&row.variables)?
            .map(|identity| identity.ends_at()),
        needed,
        beyond: owned(beyond),
        missing: owned(missing),
        lacking,
        is_by_consent,
        beyond_consent,
        failed: failed.into_iter().find(|one| one.0 == id).map(|one| (one.1, one.2)),
        has_next: has(Slot::Next),
        has_former: has(Slot::Former),
    })
}

impl Shown {
    fn revoked(row: &store::ConnectionRow, provider: String, customer: String) -> Self {
        Self {
            id: row.id,
            provider,
            customer,
            environment: row.environment,
            scheme: row.scheme.clone(),
            state: State::Revoked,
            version: 0,
            obtained_at: None,
            expires_at: None,
            certificate_expires_at: None,
            needed: Vec::new(),
            beyond: Vec::new(),
            missing: Vec::new(),
            lacking: Vec::new(),
            is_by_consent: false,
            beyond_consent: None,
            failed: None,
            has_next: false,
            has_former: false,
        }
    }
}

/// A line of `connection list`.
#[derive(Debug)]
pub struct Listed {
    pub id: Id<Connection>,
    pub provider: String,
    pub customer: String,
    pub environment: Environment,
    pub scheme: String,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub is_revoked: bool,
}

pub async fn list(instance: &Instance) -> Result<Vec<Listed>, Error> {
    let everything = seals::load_whole(instance).await?;
    let mut listed = Vec::new();
    for row in &everything.connections {
        let provider = everything.providers.iter().find(|one| one.id == row.provider);
        listed.push(Listed {
            id: row.id,
            provider: provider.map_or_else(|| row.provider.to_string(), |one| one.slug.to_string()),
            customer: customers::name(instance, &everything, row.customer)?,
            environment: row.environment,
            scheme: row.scheme.clone(),
            created_at: row.created_at,
            revoked_at: row.revoked_at,
            is_revoked: row.revoked_at.is_some(),
        });
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_not_the_operators_are_refused() {
        let one = |name: &str, value: &str| {
            check_headers(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
        };
        assert!(one("X-Tenant", "acme").is_ok());
        for (name, value) in [
            ("Host", "evil"),
            ("authorization", "x"),
            ("X-Api-Key", "x"),
            ("X-Auth-Key", "x"),
            ("X-Access-Key", "x"),
            ("Proxy-Connection", "x"),
            ("bad name", "x"),
            ("X-Tenant", "a\r\nb"),
        ] {
            assert!(one(name, value).is_err(), "{name}");
        }
        let twice = [("X-Tenant", "a"), ("x-tenant", "b")];
        let twice = twice.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert!(check_headers(&BTreeMap::from(twice)).is_err());
    }

    #[test]
    fn customers_have_plain_names() {
        assert!(check_customer("Müller & Söhne").is_ok());
        for bad in ["", " a", "a\n", &"x".repeat(201)] {
            assert!(check_customer(bad).is_err(), "{bad}");
        }
    }
}
