//! Asking an identity provider: its metadata and keys, kept for a while, and the exchange of a code.

use super::Settings;
use crate::error::Error;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use identity::oidc::{CodeExchange, Issuer, KeySet, MAX_ANSWER_BYTES, Metadata, TokenAnswer};
use outbound::{
    Deadlines, Endpoint, GuardPolicy, OutboundError, Pool, PoolConfig, Resolve, Target, TlsConfig,
};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio::sync::{Mutex, Semaphore};
use types::{Fault as _, SecretText, Timestamp};

/// How long metadata and keys are believed without asking again.
const KEPT: Duration = Duration::from_mins(10);
/// Keys are not read again sooner because a token names one that is unknown.
const KEYS_AGAIN: Duration = Duration::from_secs(5);
/// A provider that could not be asked is not asked again sooner.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Codes that are exchanged with one provider at once, and how long one may wait for it.
const AT_ONCE: usize = 4;
const PATIENCE: Duration = Duration::from_secs(5);

/// What identity providers are asked with.
pub struct Web {
    resolver: Arc<dyn Resolve>,
    tls: Arc<TlsConfig>,
    /// By issuer: one that hangs holds up nobody but those who sign in by it.
    places: Mutex<BTreeMap<String, Arc<Place>>>,
}

/// What is kept of one provider.
struct Place {
    exchanges: Semaphore,
    /// Held while it is asked, so that of many one asks.
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    known: Option<Known>,
    failed: Option<(Timestamp, String)>,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").finish_non_exhaustive()
    }
}

/// What a provider said of itself.
#[derive(Clone)]
pub(super) struct Known {
    pub metadata: Metadata,
    pub keys: KeySet,
    read_at: Timestamp,
}

struct Question {
    target: Target,
    policy: GuardPolicy,
    method: Method,
    path: String,
    authorization: Option<SecretText>,
    form: Option<zeroize::Zeroizing<String>>,
}

impl Web {
    pub fn new(resolver: Arc<dyn Resolve>, tls: Arc<TlsConfig>) -> Self {
        Self { resolver, tls, places: Mutex::default() }
    }

    async fn place(&self, issuer: &str) -> Arc<Place> {
        let mut places = self.places.lock().await;
        let place = places.entry(issuer.to_owned()).or_insert_with(|| {
            Arc::new(Place { exchanges: Semaphore::new(AT_ONCE), said: Mutex::default() })
        });
        Arc::clone(place)
    }

    /// What the provider says of itself, as it was read within the last minutes.
    pub(super) async fn known(&self, settings: &Settings, now: Timestamp) -> Result<Known, Error> {
        self.known_since(settings, now, KEPT).await
    }

    /// The same, read again because a key was missing; not at once again.
    pub(super) async fn known_anew(
        &self,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<Known, Error> {
        self.known_since(settings, now, KEYS_AGAIN).await
    }

    async fn known_since(
        &self,
        settings: &Settings,
        now: Timestamp,
        age: Duration,
    ) -> Result<Known, Error> {
        let place = self.place(&settings.issuer).await;
        let said = tokio::time::timeout(PATIENCE, place.said.lock()).await;
        let mut said = said.map_err(|_| busy())?;
        let is_within = |at: Timestamp, age: Duration| now >= at && now.since(at) < age;
        if let Some(known) = said.known.as_ref().filter(|known| is_within(known.read_at, age)) {
            return Ok(known.clone());
        }
        if let Some((_, why)) = said.failed.as_ref().filter(|(at, _)| is_within(*at, AGAIN_AFTER)) {
            return Err(Error::IdentityProviderUnreachable { why: why.clone() });
        }
        match self.read(settings, now).await {
            Ok(known) => {
                *said = Said { known: Some(known.clone()), failed: None };
                Ok(known)
            }
            Err(error) => {
                if let Error::IdentityProviderUnreachable { why } = &error {
                    said.failed = Some((now, why.clone()));
                }
                Err(error)
            }
        }
    }

    /// Asks for metadata and keys.
    pub(super) async fn read(&self, settings: &Settings, now: Timestamp) -> Result<Known, Error> {
        let issuer = Issuer::parse(&settings.issuer)?;
        let (_, said) = self.get(&issuer, &issuer.metadata_url()).await?;
        let metadata = Metadata::read(&issuer, &said)?;
        // What could never be asked for tokens is told before somebody wants to come in.
        placed(&issuer, metadata.token_endpoint.as_str())?;
        let (_, said) = self.get(&issuer, metadata.keys_url.as_str()).await?;
        let keys = KeySet::read(&said)?;
        Ok(Known { metadata, keys, read_at: now })
    }

    /// Gives a code for tokens.
    pub(super) async fn exchange(
        &self,
        metadata: &Metadata,
        exchange: &CodeExchange<'_>,
        code: &SecretText,
    ) -> Result<TokenAnswer, Error> {
        let (authorization, form) = exchange.of(metadata, code);
        let asked = placed(&metadata.issuer, metadata.token_endpoint.as_str())?;
        let question = Question { method: Method::POST, authorization, form: Some(form), ..asked };
        let place = self.place(metadata.issuer.as_str()).await;
        let exchange = tokio::time::timeout(PATIENCE, place.exchanges.acquire()).await;
        let _exchange = exchange.map_err(|_| busy())?;
        let (status, said) = self.ask(question).await?;
        Ok(TokenAnswer::read(status == StatusCode::OK, &said)?)
    }

    async fn get(&self, issuer: &Issuer, url: &str) -> Result<(StatusCode, Vec<u8>), Error> {
        let (status, said) = self.ask(placed(issuer, url)?).await?;
        if status == StatusCode::OK {
            return Ok((status, said));
        }
        let why = format!("it answered with status {}", status.as_u16());
        Err(Error::IdentityProviderUnreachable { why })
    }

    /// On a thread of its own, because connections belong to one.
    async fn ask(&self, question: Question) -> Result<(StatusCode, Vec<u8>), Error> {
        let (resolver, tls) = (Arc::clone(&self.resolver), Arc::clone(&self.tls));
        let asked = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async {
                let answered = answer_of(resolver, tls, question).await;
                answered.map_err(|error| error.code().to_owned())
            })
        });
        let asked = asked.await.map_err(|_| Error::Internal { what: "nobody was asked" })?;
        asked.map_err(|why| Error::IdentityProviderUnreachable { why })
    }
}

fn busy() -> Error {
    Error::IdentityProviderUnreachable { why: "too many ask at once".to_owned() }
}

/// Where a URL leads. The operator named the issuer, so that a private network is no reason to refuse
/// it; what its metadata names elsewhere must be public, which is judged at each connection.
fn placed(issuer: &Issuer, url: &str) -> Result<Question, Error> {
    let unusable = |why: String| Error::IdentityProviderUnreachable { why };
    let uri: Uri = url.parse().map_err(|_| unusable("its URL is malformed".to_owned()))?;
    let own: Uri = issuer.as_str().parse().map_err(|_| unusable("its URL is malformed".into()))?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let base = format!("{}://{authority}", uri.scheme_str().unwrap_or_default());
    let is_own = uri.authority() == own.authority() && uri.scheme() == own.scheme();
    let Endpoint { target, policy } = if is_own {
        Endpoint::parse(&base).map_err(|error| unusable(format!("its URL {error}")))?
    } else {
        let policy = GuardPolicy::default();
        let target = Target::parse(&base, &policy);
        let target = target.map_err(|error| unusable(format!("a URL of its metadata: {error}")))?;
        Endpoint { target, policy }
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Ok(Question { target, policy, method: Method::GET, path, authorization: None, form: None })
}

async fn answer_of(
    resolver: Arc<dyn Resolve>,
    tls: Arc<TlsConfig>,
    question: Question,
) -> Result<(StatusCode, Vec<u8>), OutboundError> {
    let pool = Pool::new(PoolConfig {
        max_idle: 1,
        max_answer_bytes: MAX_ANSWER_BYTES as u64,
        ..PoolConfig::new(resolver, tls)
    });
    let seconds = Duration::from_secs;
    let deadlines = Deadlines {
        head: seconds(8),
        idle: seconds(4),
        total: seconds(10),
        ..Deadlines::default()
    };
    let is_form = question.form.is_some();
    let form = question.form.map(Bytes::from_owner).unwrap_or_default();
    let mut request = Request::new(Full::new(form));
    *request.method_mut() = question.method;
    *request.uri_mut() = Uri::try_from(&question.path).unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if is_form {
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, kind);
    }
    if let Some(text) = &question.authorization
        && let Ok(mut value) = HeaderValue::from_str(text.expose())
    {
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    let lease = pool.checkout(&question.target, &question.policy, &deadlines).await?;
    let answered = lease.send(request).await?;
    let status = answered.status();
    let mut wire = answered.into_body();
    let mut answer = Vec::new();
    while let Some(chunk) = wire.next_chunk().await? {
        answer.extend_from_slice(&chunk);
    }
    Ok((status, answer))
}
