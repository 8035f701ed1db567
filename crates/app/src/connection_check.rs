//! The call that an overlay declares to tell whether a credential works.

use crate::{
    asking::{AskError, Asker, Question},
    change::{Care, Change, Changing},
    connections::CREDENTIAL_TABLE,
    customers,
    error::Error,
    instance::Instance,
    providers,
    replacement::Slot,
    seals, servers,
    tokens::{self, MAX_TOKEN_ANSWER_BYTES, Material, Reach, Renewable},
};
use audit::Commitment;
use gateway::{CredentialEntry, Meter, ProviderEntry};
use http::Method;
use outbound::{HickoryResolver, Target, TlsConfig};
use provider::{LoadLimits, PathRouter};
use std::sync::Arc;
use types::{Connection, Id, OpContext, Timestamp};
use vault::{
    MemoryKey, OpenPart,
    auth::{CallFacts, Moment},
};
use zeroize::Zeroizing;

/// What the provider answered: its status, and nothing else of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    pub status: u16,
}

impl Checked {
    pub const fn works(self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// Whether it is the credential that the provider does not take.
    pub const fn is_refused(self) -> bool {
        matches!(self.status, 401 | 403)
    }

    /// What the status means for the credential.
    pub const fn verdict(self) -> &'static str {
        match self.status {
            200..=299 => "the provider takes the credential",
            401 => "the provider does not take the credential",
            403 => "the provider knows the credential, and does not let it make this call",
            404 => "the provider knows no such place: the check call of the overlay is wrong",
            429 => "the provider wants fewer calls: this says nothing of the credential",
            300..=399 => "the provider leads elsewhere, which is not followed",
            500..=599 => "the provider fails: this says nothing of the credential",
            _ => "the status says nothing of the credential",
        }
    }
}

/// All that a check is made of, as the store has it.
pub(crate) struct Found {
    pub renewable: Renewable,
    pub material: Material,
    /// What `--server` gave at the import.
    server: Option<String>,
    /// Of the declared call.
    pub path: Option<String>,
}

/// Makes the declared call with the connection's credential. A token that is missing or over is
/// obtained first, and kept as the renewer of a server would keep it. The instance comes back, to be
/// settled whatever came of it.
///
/// # Errors
/// [`Error::NotFound`] for no such connection that is in force.
pub async fn check(
    instance: Instance,
    ctx: &OpContext,
    tls: Arc<TlsConfig>,
    id: Id<Connection>,
) -> Result<(Instance, Result<Checked, Error>), Error> {
    let instance = Arc::new(instance);
    let checked = checked(&instance, ctx, tls, id).await;
    let instance = Arc::try_unwrap(instance);
    let instance = instance.map_err(|_| Error::Internal { what: "the check has not ended" })?;
    Ok((instance, checked))
}

async fn checked(
    instance: &Arc<Instance>,
    ctx: &OpContext,
    tls: Arc<TlsConfig>,
    id: Id<Connection>,
) -> Result<Checked, Error> {
    let mut found = find(instance, id, Slot::InUse).await?;
    if found.path.is_none() {
        return Err(Error::NoCheck);
    }
    let asker = asker(tls)?;
    let now = instance.clock.now();
    let has_token = found.has_token(now);
    let is_over = found.material.token.as_ref().is_some_and(|token| token.ended.is_some());
    if found.material.acquiring().is_some() && is_over {
        let why = "what was consented to is over".to_owned();
        return Err(Error::TokenNotObtained { code: "consent_ended", why });
    }
    if found.material.acquiring().is_some() && !has_token {
        tokens::obtain(instance, &asker, &found.renewable).await?;
        found = find(instance, id, Slot::InUse).await?;
    }
    let status = ask(instance, &asker, &found).await?;
    let checked = Checked { status };
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    changing.record(Change {
        verb: "connection.check",
        what: format!("connection {id}"),
        details: vec![("status", status.to_string())],
        customer: Some(Commitment::from_bytes(found.renewable.customer.commitment)),
    });
    changing.commit().await?;
    Ok(checked)
}

/// Who asks providers, for one verb.
pub(crate) fn asker(tls: Arc<TlsConfig>) -> Result<Asker, Error> {
    let resolver = HickoryResolver::from_system()?;
    let asker = Asker::start(Arc::new(resolver), tls, MAX_TOKEN_ANSWER_BYTES);
    asker.map_err(|_| Error::Internal { what: "there is no thread to ask with" })
}

impl Found {
    /// Whether there is a token that calls may use.
    pub(crate) fn has_token(&self, now: Timestamp) -> bool {
        self.material.token.as_ref().is_some_and(|token| {
            token.ended.is_none() && token.expires_at.is_none_or(|until| now < until)
        })
    }
}

/// What a connection's calls are made with, or would be by the secret of another slot.
///
/// # Errors
/// [`Error::NotFound`] for no such connection that is in force; [`crate::ReplaceError`] for an empty slot.
pub(crate) async fn find(
    instance: &Instance,
    id: Id<Connection>,
    slot: Slot,
) -> Result<Found, Error> {
    let rows = seals::load_whole(instance).await?;
    let not_found = || Error::NotFound { kind: "connection", name: id.to_string() };
    let row = rows.connections.iter().find(|row| row.id == id && row.revoked_at.is_none());
    let row = row.ok_or_else(not_found)?;
    let missing = |what| Error::Internal { what };
    let source = rows.providers.iter().find(|one| one.id == row.provider);
    let source = source.ok_or(missing("the connection's provider is missing"))?;
    let limits = LoadLimits::default();
    let model = provider::load(&source.description, source.overlay.as_deref(), &limits)?;
    let path = model.check.clone();
    let customer = rows.customers.iter().find(|one| one.id == row.customer);
    let customer = customer.ok_or(missing("the connection's customer is missing"))?;
    let own = tokens::rows_of(&rows, row);
    let mut own = own.ok_or(missing("the connection's credential is missing"))?;
    if slot != Slot::InUse {
        let sealed = |column| {
            let mut own = rows.sealed.iter().filter(|one| one.table == CREDENTIAL_TABLE);
            own.find(|one| one.record == id.to_bytes() && one.column == column).cloned()
        };
        let [credential, token] = slot.columns();
        own.credential = sealed(credential).ok_or_else(|| slot.is_empty())?;
        own.token = sealed(token);
    }
    let opened = customers::open(instance, customer)?;
    let material = Material::open(instance, &model, row, &opened, &own)?;
    let scopes = match material.acquiring() {
        Some((scheme, _)) => {
            let reach =
                Reach { provider: source, connection: Some(id), environment: row.environment };
            tokens::needed_by_grants(&rows, &model, reach, scheme, instance.clock.now())?
        }
        None => Vec::new(),
    };
    let mut policy = providers::guard_policy(&source.allow_private)?.owned_by(row.id.to_bytes());
    if let Some(identity) = material.identity(&row.variables)? {
        policy = policy.showing(identity);
    }
    let entry = ProviderEntry {
        id: source.id,
        digest: crate::compile::digest_of(source),
        slug: source.slug.to_string(),
        router: PathRouter::new(&model),
        model,
        meter: Arc::new(Meter::new(Vec::new(), usize::MAX)),
    };
    let renewable = Renewable {
        row: row.clone(),
        customer: customer.clone(),
        rows: own,
        provider: Arc::new(entry),
        guard: Arc::new(policy),
        scopes,
        renew_at: None,
        is_unplaced: false,
    };
    Ok(Found { renewable, material, server: source.server.clone(), path })
}

/// The status that the call has.
pub(crate) async fn ask(instance: &Instance, asker: &Asker, found: &Found) -> Result<u16, Error> {
    let Found { renewable, material, server, path } = found;
    let path = path.as_ref().ok_or(Error::NoCheck)?;
    let Renewable { row, provider, guard, .. } = renewable;
    let plan =
        servers::plan_with(&provider.model, server.as_deref(), &row.variables, &material.taken())?;
    let url = plan.urls.first().ok_or(Error::Internal { what: "the provider has no server" })?;
    let target = providers::target_of(&provider.model, url, guard)?;
    let memory = MemoryKey::generate(instance.random.as_ref())?;
    let moment = Moment { now: instance.clock.now(), random: instance.random.as_ref() };
    let entry = material.entry(&row.variables, (&memory, moment), 0)?;
    let CredentialEntry::Ready(ready) = entry else {
        return Err(Error::TokenNotObtained {
            code: "consent_needed",
            why: "nothing is held that yields one".to_owned(),
        });
    };
    let mut nonce: Option<String> = None;
    loop {
        let asked = Asked { target: &target, path, nonce: nonce.as_deref() };
        let question = question(instance, (&memory, &ready), guard, &row.headers, &asked)?;
        let answered = asker.ask(question).await.map_err(unreached)?;
        let wanted = answered.headers.iter().find(|(name, _)| name == "dpop-nonce");
        match wanted {
            // RFC 9449 §9, once.
            Some((_, wanted))
                if answered.status == 401 && nonce.is_none() && ready.proof.is_some() =>
            {
                nonce = Some(String::clone(wanted));
            }
            _ => return Ok(answered.status),
        }
    }
}

struct Asked<'a> {
    target: &'a Target,
    path: &'a str,
    nonce: Option<&'a str>,
}

fn question(
    instance: &Instance,
    (memory, ready): (&MemoryKey, &gateway::ReadyCredential),
    guard: &outbound::GuardPolicy,
    fixed: &std::collections::BTreeMap<String, String>,
    asked: &Asked<'_>,
) -> Result<Question, Error> {
    let base = asked.target.base_path().trim_end_matches('/');
    let (path, query) = asked.path.split_once('?').unwrap_or((asked.path, ""));
    let url = asked.target.base_url();
    let facts = CallFacts {
        scheme: url.split_once("://").map_or("https", |(scheme, _)| scheme),
        method: "GET",
        host: asked.target.authority(),
        path: &format!("{base}{path}"),
        query,
        body: b"",
        proof_nonce: asked.nonce,
    };
    let moment = Moment { now: instance.clock.now(), random: instance.random.as_ref() };
    let opened = ready.sealed.open_for(memory, &facts, moment);
    let opened = opened.map_err(|_| Error::Internal { what: "the credential cannot be opened" })?;
    let mut path_and_query = Zeroizing::new(format!("{base}{}", asked.path));
    let mut headers: Vec<(String, Zeroizing<Vec<u8>>)> =
        vec![("accept".to_owned(), Zeroizing::new(b"application/json".to_vec()))];
    let fixed = fixed.iter().map(|(name, value)| (name.clone(), value.as_bytes().to_vec()));
    headers.extend(fixed.map(|(name, value)| (name, Zeroizing::new(value))));
    for part in opened.iter() {
        match part {
            OpenPart::Header { name, value, .. } => {
                headers.push((name.to_owned(), Zeroizing::new(value.to_vec())));
            }
            OpenPart::Query { name, value, .. } => {
                let mark = if path_and_query.contains('?') { "&" } else { "?" };
                for text in [mark, name, "=", value] {
                    path_and_query.push_str(text);
                }
            }
            OpenPart::Unsent { .. } => {}
        }
    }
    Ok(Question {
        target: asked.target.clone(),
        policy: guard.clone(),
        method: Method::GET,
        path_and_query,
        headers,
        body: Zeroizing::default(),
    })
}

fn unreached(error: AskError) -> Error {
    match error {
        AskError::Outbound(source) => Error::CheckUnreached { source },
        AskError::Stopped => Error::Internal { what: "the asking thread has ended" },
    }
}
