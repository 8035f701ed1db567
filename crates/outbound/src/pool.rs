//! Connections to providers: made once with a judged address, used again while they last. A pool
//! belongs to one core and is never shared.

use crate::{
    OutboundError, UpstreamBody,
    body::Bounds,
    codec::{Codec, ExchangeError, Http1},
    connect::connect,
    deadlines::Deadlines,
    guard::GuardPolicy,
    request::prepare,
    resolve::Resolve,
    target::Target,
    tls::TlsConfig,
    windows::Windows,
};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    fmt,
    rc::{Rc, Weak},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// Codings whose windows are 32 KiB.
const SMALL_CODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate");

/// How long an error's body may take: it only explains, and the caller waits for it.
const ERROR_PATIENCE: Duration = Duration::from_secs(3);

/// What a pool is made with.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    pub resolver: Arc<dyn Resolve>,
    pub tls: Arc<TlsConfig>,
    /// Idle connections that are kept for one target; 64.
    pub max_idle: usize,
    /// Idle connections that are kept for all targets together; 1,024.
    pub max_idle_total: usize,
    /// How long a connection may stay idle; 30 s.
    pub idle_life: Duration,
    /// How long a connection may be used again, so that a change of the provider's addresses or
    /// certificate is followed; 10 min.
    pub max_age: Duration,
    /// The longest answer, in bytes, as it comes and decoded; 1 GiB.
    pub max_answer_bytes: u64,
    /// What the windows of decoders (br, zstd) may take at once, in bytes; 128 MiB.
    pub max_window_bytes: usize,
    /// Where the pools that share it count.
    pub figures: Arc<PoolFigures>,
}

/// What pools did, all together.
#[derive(Debug, Default)]
pub struct PoolFigures {
    opened: AtomicU64,
    reused: AtomicU64,
    idle: AtomicUsize,
}

impl PoolFigures {
    /// Connections made.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Exchanges over a connection that had been idle.
    pub fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }

    /// Connections that are idle now.
    pub fn idle(&self) -> usize {
        self.idle.load(Ordering::Relaxed)
    }
}

impl PoolConfig {
    pub fn new(resolver: Arc<dyn Resolve>, tls: Arc<TlsConfig>) -> Self {
        Self {
            resolver,
            tls,
            max_idle: 64,
            max_idle_total: 1_024,
            idle_life: Duration::from_secs(30),
            max_age: Duration::from_mins(10),
            max_answer_bytes: 1 << 30,
            max_window_bytes: 128 << 20,
            figures: Arc::default(),
        }
    }
}

/// See the module.
pub struct Pool(Rc<Shared>);

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

struct Shared {
    config: PoolConfig,
    windows: Rc<Windows>,
    shelf: RefCell<Shelf>,
}

/// Connections of one target or policy never serve another one.
type Key = (Target, GuardPolicy);

struct Connection {
    codec: Http1,
    born: Instant,
}

/// Idle connections.
struct Shelf {
    by_key: HashMap<Key, VecDeque<(Connection, Instant)>>,
    total: usize,
    /// As much of `total` as the figures say.
    told: usize,
    swept_at: Instant,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.config.figures.idle.fetch_sub(self.shelf.get_mut().told, Ordering::Relaxed);
    }
}

impl Shared {
    /// Adds what changed to the figures.
    fn tell(&self) {
        let mut shelf = self.shelf.borrow_mut();
        let Shelf { total, told, .. } = &mut *shelf;
        // Wraps where it is less than before, and so does the sum.
        self.config.figures.idle.fetch_add(total.wrapping_sub(*told), Ordering::Relaxed);
        *told = *total;
    }

    fn is_usable(&self, connection: &Connection, idle_since: Instant, now: Instant) -> bool {
        connection.codec.is_idle()
            && now.duration_since(idle_since) < self.config.idle_life
            && now.duration_since(connection.born) < self.config.max_age
    }

    fn take(&self, key: &Key) -> Option<Connection> {
        let now = Instant::now();
        let mut shelf = self.shelf.borrow_mut();
        if now.duration_since(shelf.swept_at) >= self.config.idle_life {
            self.sweep(&mut shelf, now);
        }
        let Shelf { by_key, total, .. } = &mut *shelf;
        let queue = by_key.get_mut(key)?;
        // The youngest first: the others grow old and go.
        while let Some((connection, since)) = queue.pop_back() {
            *total -= 1;
            if self.is_usable(&connection, since, now) {
                return Some(connection);
            }
        }
        None
    }

    fn put(&self, key: Key, connection: Connection) {
        let now = Instant::now();
        let mut shelf = self.shelf.borrow_mut();
        if shelf.total >= self.config.max_idle_total {
            self.sweep(&mut shelf, now);
        }
        if shelf.total >= self.config.max_idle_total {
            return;
        }
        let Shelf { by_key, total, .. } = &mut *shelf;
        let queue = by_key.entry(key).or_default();
        queue.push_back((connection, now));
        *total += 1;
        if queue.len() > self.config.max_idle && queue.pop_front().is_some() {
            *total -= 1;
        }
    }

    /// Closes what may not be used again.
    fn sweep(&self, shelf: &mut Shelf, now: Instant) {
        shelf.by_key.retain(|_, queue| {
            queue.retain(|(connection, since)| self.is_usable(connection, *since, now));
            !queue.is_empty()
        });
        shelf.total = shelf.by_key.values().map(VecDeque::len).sum();
        shelf.swept_at = now;
    }

    async fn connect(&self, key: &Key, deadlines: &Deadlines) -> Result<Connection, OutboundError> {
        let PoolConfig { resolver, tls, .. } = &self.config;
        let codec = connect(&**resolver, tls, &key.0, &key.1, deadlines).await?;
        self.config.figures.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Connection { codec, born: Instant::now() })
    }
}

/// Where a connection goes back to when its answer has ended.
pub(crate) struct Return {
    pool: Weak<Shared>,
    key: Key,
    connection: Connection,
}

impl Return {
    pub(crate) fn give_back(self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.put(self.key, self.connection);
            pool.tell();
        }
    }
}

/// A connection for one exchange.
#[must_use]
pub struct Lease<'p> {
    pool: &'p Rc<Shared>,
    key: Key,
    connection: Connection,
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
        let shelf = Shelf { by_key: HashMap::new(), total: 0, told: 0, swept_at: Instant::now() };
        let windows = Windows::new(config.max_window_bytes);
        Self(Rc::new(Shared { config, windows, shelf: RefCell::new(shelf) }))
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
        let pool = &self.0;
        let taken = pool.take(&key);
        pool.tell();
        let (connection, is_reused) = match taken {
            Some(connection) => {
                pool.config.figures.reused.fetch_add(1, Ordering::Relaxed);
                (connection, true)
            }
            None => (pool.connect(&key, deadlines).await?, false),
        };
        Ok(Lease { pool, key, connection, is_reused, deadlines: deadlines.clone() })
    }
}

impl Lease<'_> {
    /// Sends the request, whose URI is path and query, and waits for the answer's head. The host and
    /// everything that frames the message are set here; the caller's are dropped.
    ///
    /// A connection that was idle may have been closed by the provider meanwhile: a request of which
    /// nothing was sent, and a safe one that got no byte of an answer, goes once more over a new
    /// connection. Anything else fails: it may have been done.
    pub async fn send(
        self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<UpstreamBody>, OutboundError> {
        let Self { pool, key, mut connection, mut is_reused, deadlines } = self;
        let mut request = prepare(request, key.0.authority())?;
        // What is asked for in other codings needs no room to speak of.
        if request.headers().contains_key(header::ACCEPT_ENCODING)
            && !pool.windows.are_roomy(&key.0)
        {
            request.headers_mut().insert(header::ACCEPT_ENCODING, SMALL_CODINGS);
        }
        if is_reused {
            // A connection that the provider has closed, or has sent something on unasked, is not
            // used: first the runtime looks at its sockets, then the connection's task at what came.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            if !connection.codec.is_idle() {
                connection = pool.connect(&key, &deadlines).await?;
                is_reused = false;
            }
        }
        let begun = Instant::now();
        let spare = (is_reused && request.method().is_safe()).then(|| request.clone());
        let again = match exchange(&mut connection, request, &deadlines).await {
            Ok(response) => Ok(response),
            Err(ExchangeError::Unsent { request, .. }) if is_reused => Err(*request),
            Err(ExchangeError::Unanswered(error)) => Err(spare.ok_or(error)?),
            Err(failed) => return Err(failed.into()),
        };
        let response = match again {
            Ok(response) => response,
            Err(request) => {
                connection = pool.connect(&key, &deadlines).await?;
                exchange(&mut connection, request, &deadlines).await?
            }
        };
        let (parts, wire) = response.into_parts();
        let window = pool.windows.window(&key.0);
        let back = Return { pool: Rc::downgrade(pool), key, connection };
        let is_error = parts.status.is_client_error() || parts.status.is_server_error();
        let patience = if is_error { begun.elapsed() + ERROR_PATIENCE } else { deadlines.total };
        let bounds = Bounds {
            idle: deadlines.idle,
            total: deadlines.total.min(patience),
            begun,
            bytes: pool.config.max_answer_bytes,
        };
        let body = UpstreamBody::new(wire, &parts.headers, back, bounds, window)?;
        Ok(Response::from_parts(parts, body))
    }
}

async fn exchange(
    connection: &mut Connection,
    request: Request<Full<Bytes>>,
    deadlines: &Deadlines,
) -> Result<Response<<Http1 as Codec>::Body>, ExchangeError> {
    let patience = deadlines.head.min(deadlines.total);
    timeout(patience, connection.codec.exchange(request)).await.unwrap_or_else(|_| {
        let millis = patience.as_millis();
        Err(ExchangeError::Failed(OutboundError::HeadTimeout { millis }))
    })
}
