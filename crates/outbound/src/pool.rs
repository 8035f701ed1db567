//! Connections to providers: made once with a judged address, used again while they last. A pool
//! belongs to one core and is never shared.

use crate::{
    OutboundError, UpstreamBody,
    codec::{Codec, Http1},
    guard::{GuardPolicy, GuardedAddr},
    resolve::Resolve,
    target::Target,
    tls::TlsConfig,
};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    fmt,
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

/// How long each phase may take.
#[derive(Debug, Clone)]
pub struct Deadlines {
    /// Resolving and connecting.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// From sending the request to the head of the answer.
    pub head: Duration,
    /// The longest silence within the answer.
    pub idle: Duration,
    /// From sending the request to the end of the answer.
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            tls: Duration::from_secs(5),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(15),
            total: Duration::from_mins(5),
        }
    }
}

/// What a pool is made with.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    pub resolver: Arc<dyn Resolve>,
    pub tls: Arc<TlsConfig>,
    /// Idle connections that are kept for one target.
    pub max_idle: usize,
    /// How long a connection may stay idle.
    pub idle_life: Duration,
    /// The longest answer, decoded, in bytes.
    pub max_answer_bytes: u64,
}

impl PoolConfig {
    pub fn new(resolver: Arc<dyn Resolve>, tls: Arc<TlsConfig>) -> Self {
        Self {
            resolver,
            tls,
            max_idle: 64,
            idle_life: Duration::from_secs(30),
            max_answer_bytes: 1 << 30,
        }
    }
}

/// See the module.
pub struct Pool {
    config: PoolConfig,
    idle: Rc<Idle>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// Connections of one policy never serve another one.
type Key = (Target, GuardPolicy);

struct Idle {
    by_key: RefCell<HashMap<Key, VecDeque<(Http1, Instant)>>>,
    max: usize,
    life: Duration,
}

/// The most targets that idle connections are kept for.
const MAX_TARGETS: usize = 4_096;

impl Idle {
    fn take(&self, key: &Key) -> Option<Http1> {
        let mut by_key = self.by_key.borrow_mut();
        let queue = by_key.get_mut(key)?;
        // The youngest first: the others grow old and go.
        while let Some((connection, since)) = queue.pop_back() {
            if connection.is_idle() && since.elapsed() < self.life {
                return Some(connection);
            }
        }
        by_key.remove(key);
        None
    }

    fn put(&self, key: Key, connection: Http1) {
        let mut by_key = self.by_key.borrow_mut();
        if by_key.len() >= MAX_TARGETS && !by_key.contains_key(&key) {
            by_key.retain(|_, queue| {
                queue.back().is_some_and(|(_, since)| since.elapsed() < self.life)
            });
            if by_key.len() >= MAX_TARGETS {
                return;
            }
        }
        let queue = by_key.entry(key).or_default();
        queue.retain(|(_, since)| since.elapsed() < self.life);
        if queue.len() >= self.max {
            queue.pop_front();
        }
        queue.push_back((connection, Instant::now()));
    }
}

/// Where a connection goes back to when its answer has ended.
pub(crate) struct Return {
    idle: Weak<Idle>,
    key: Key,
    connection: Http1,
}

impl Return {
    pub(crate) fn give_back(self) {
        if let Some(idle) = self.idle.upgrade() {
            idle.put(self.key, self.connection);
        }
    }
}

/// A connection for one exchange.
#[must_use]
pub struct Lease<'p> {
    pool: &'p Pool,
    key: Key,
    connection: Http1,
    is_reused: bool,
    deadlines: Deadlines,
}

impl fmt::Debug for Lease<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("is_reused", &self.is_reused).finish_non_exhaustive()
    }
}

impl Pool {
    pub fn new(config: PoolConfig) -> Self {
        let idle =
            Idle { by_key: RefCell::default(), max: config.max_idle, life: config.idle_life };
        Self { config, idle: Rc::new(idle) }
    }

    /// A connection to the target: an idle one, or a new one to an address that was resolved now,
    /// judged and pinned.
    pub async fn checkout(
        &self,
        target: &Target,
        policy: &GuardPolicy,
        deadlines: &Deadlines,
    ) -> Result<Lease<'_>, OutboundError> {
        let key = (target.clone(), policy.clone());
        let (connection, is_reused) = match self.idle.take(&key) {
            Some(connection) => (connection, true),
            None => (self.connect(target, policy, deadlines).await?, false),
        };
        Ok(Lease { pool: self, key, connection, is_reused, deadlines: deadlines.clone() })
    }

    async fn connect(
        &self,
        target: &Target,
        policy: &GuardPolicy,
        deadlines: &Deadlines,
    ) -> Result<Http1, OutboundError> {
        let late = OutboundError::ConnectTimeout { millis: deadlines.connect.as_millis() };
        let stream = timeout(deadlines.connect, self.connect_tcp(target, policy))
            .await
            .map_err(|_| late)??;
        // Without it small requests wait for the peer's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        if !target.is_https() {
            return Http1::begin(stream).await;
        }
        let stream = timeout(deadlines.tls, self.config.tls.connect(target.host(), stream))
            .await
            .map_err(|_| OutboundError::Tls { why: "the handshake took too long" })??;
        Http1::begin(stream).await
    }

    async fn connect_tcp(
        &self,
        target: &Target,
        policy: &GuardPolicy,
    ) -> Result<TcpStream, OutboundError> {
        let addresses = guarded(&*self.config.resolver, target, policy).await?;
        for address in addresses {
            match TcpStream::connect(address.get()).await {
                Ok(stream) => return Ok(stream),
                Err(error) => tracing::debug!(%error, "a provider's address does not answer"),
            }
        }
        Err(OutboundError::Unreachable)
    }
}

/// Addresses that may be connected to, in the resolver's order.
async fn guarded(
    resolver: &dyn Resolve,
    target: &Target,
    policy: &GuardPolicy,
) -> Result<Vec<GuardedAddr>, OutboundError> {
    let resolved = match target.address() {
        Some(address) => vec![address],
        None => resolver.resolve(target.host()).await.map_err(|_| OutboundError::Unresolvable)?,
    };
    let mut allowed = Vec::new();
    let mut refused = None;
    for address in resolved {
        match policy.judge(target.host(), SocketAddr::new(address, target.port())) {
            Ok(address) => allowed.push(address),
            Err(class) => refused = Some(class),
        }
    }
    match (allowed.is_empty(), refused) {
        (false, _) => Ok(allowed),
        (true, Some(class)) => Err(OutboundError::AddressRefused(class)),
        (true, None) => Err(OutboundError::Unresolvable),
    }
}

impl Lease<'_> {
    /// Sends the request, whose URI is path and query, and waits for the answer's head.
    ///
    /// A connection that was idle may have been closed by the provider meanwhile: what was not sent,
    /// and a safe request that got no byte of an answer, is sent once more on a new connection.
    pub async fn send(
        self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<UpstreamBody>, OutboundError> {
        let Self { pool, key, mut connection, is_reused, deadlines } = self;
        let host = HeaderValue::from_str(key.0.authority())
            .map_err(|_| OutboundError::Malformed { what: "the host is no header value" })?;
        request.headers_mut().insert(header::HOST, host);
        let begun = Instant::now();
        let again = is_reused.then(|| request.clone());
        let late = OutboundError::HeadTimeout { millis: deadlines.head.as_millis() };
        let first = timeout(deadlines.head, connection.exchange(request)).await;
        let response = match (first.map_err(|_| late.clone())?, again) {
            (Ok(response), _) => response,
            (Err(failed), Some(request))
                if failed.is_unsent || (failed.is_unanswered && request.method().is_safe()) =>
            {
                connection = pool.connect(&key.0, &key.1, &deadlines).await?;
                let second = timeout(deadlines.head, connection.exchange(request)).await;
                second.map_err(|_| late)?.map_err(|failed| failed.error)?
            }
            (Err(failed), _) => return Err(failed.error),
        };
        let (parts, incoming) = response.into_parts();
        let back = Return { idle: Rc::downgrade(&pool.idle), key, connection };
        let body = UpstreamBody::new(
            incoming,
            &parts.headers,
            back,
            deadlines.idle,
            (begun + deadlines.total, deadlines.total),
            pool.config.max_answer_bytes,
        )?;
        Ok(Response::from_parts(parts, body))
    }
}
