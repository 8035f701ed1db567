//! Connections to providers: made once with a judged address, used again while they last; those that
//! speak HTTP/2 by several calls at once. A pool belongs to one core and is never shared.

use crate::{
    OutboundError, UpstreamBody,
    body::Bounds,
    codec::{Codec, Connected, ExchangeError, WireBody},
    connect::connect,
    deadlines::Deadlines,
    guard::GuardPolicy,
    http1::Http1,
    http2::Http2,
    request::prepare,
    resolve::Resolve,
    target::Target,
    tls::TlsConfig,
    windows::Windows,
};
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, WeakShared},
};
use http::{HeaderValue, Request, Response, Version, header};
use http_body_util::Full;
use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet, VecDeque},
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
    repeated: AtomicU64,
    idle: AtomicUsize,
    answers_http1: AtomicU64,
    answers_http2: AtomicU64,
}

impl PoolFigures {
    /// Connections made.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Exchanges over a connection that had carried others.
    pub fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }

    /// Requests that went once more: nothing of them was sent, or they ask only and got no answer.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Connections that are idle now.
    pub fn idle(&self) -> usize {
        self.idle.load(Ordering::Relaxed)
    }

    /// Answers whose head came over HTTP/1.1, and over HTTP/2.
    pub fn answers(&self) -> [u64; 2] {
        [&self.answers_http1, &self.answers_http2].map(|count| count.load(Ordering::Relaxed))
    }

    fn answered(&self, version: Version) {
        let count =
            if version == Version::HTTP_2 { &self.answers_http2 } else { &self.answers_http1 };
        count.fetch_add(1, Ordering::Relaxed);
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

/// It carries one call at a time.
struct Connection {
    codec: Http1,
    born: Instant,
    /// By what its certificate was judged.
    trust: u64,
}

/// A connection that calls share.
struct Trunk {
    codec: Http2,
    born: Instant,
    /// By what its certificate was judged.
    trust: u64,
    has_served: Cell<bool>,
    /// Since when no call is under way.
    idle_since: Cell<Instant>,
    /// More calls may be begun over it.
    is_shelved: Cell<bool>,
}

/// A call's place on a connection that others share.
pub(crate) struct Seat {
    pool: Weak<Shared>,
    key: Key,
    trunk: Rc<Trunk>,
    codec: Http2,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.trunk.codec.end_call();
        if self.trunk.codec.calls() == 0 {
            self.trunk.idle_since.set(Instant::now());
            if let Some(pool) = self.pool.upgrade() {
                pool.rest(&self.key, &self.trunk);
                pool.tell();
            }
        }
    }
}

/// What carries a call.
enum Carrier {
    Own(Connection),
    Seat(Seat),
}

impl Carrier {
    fn is_ready(&self) -> bool {
        match self {
            Self::Own(connection) => connection.codec.is_ready(),
            Self::Seat(seat) => seat.codec.is_ready(),
        }
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<WireBody>, ExchangeError> {
        match self {
            Self::Own(connection) => {
                Ok(connection.codec.exchange(request).await?.map(WireBody::Http1))
            }
            Self::Seat(seat) => Ok(seat.codec.exchange(request).await?.map(WireBody::Http2)),
        }
    }
}

/// A connection that is being made for all who wait for it; nobody's if no HTTP/2 was agreed on.
type Dialing = LocalBoxFuture<'static, Result<Option<Rc<Trunk>>, OutboundError>>;

/// Targets of which it is remembered that they speak HTTP/2.
const MAX_REMEMBERED: usize = 4_096;

/// Connections that may be used.
struct Shelf {
    by_key: HashMap<Key, Berth>,
    /// Those that are idle.
    total: usize,
    /// As much of `total` as the figures say.
    told: usize,
    swept_at: Instant,
    /// There, calls that come at once wait for one connection instead of making one each.
    speak_http2: HashSet<Key>,
    dialing: HashMap<Key, WeakShared<Dialing>>,
}

/// Connections of one key.
#[derive(Default)]
struct Berth {
    /// Each since when.
    idle: VecDeque<(Connection, Instant)>,
    trunks: Vec<Rc<Trunk>>,
}

impl Berth {
    fn idle_trunks(&self) -> usize {
        self.trunks.iter().filter(|trunk| trunk.codec.calls() == 0).count()
    }
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
        connection.codec.is_ready()
            && connection.trust == self.config.tls.generation()
            && now.duration_since(idle_since) < self.config.idle_life
            && now.duration_since(connection.born) < self.config.max_age
    }

    fn may_take_more(&self, trunk: &Trunk, now: Instant) -> bool {
        let is_idle = trunk.codec.calls() == 0;
        trunk.codec.is_ready()
            && trunk.trust == self.config.tls.generation()
            && now.duration_since(trunk.born) < self.config.max_age
            && (!is_idle || now.duration_since(trunk.idle_since.get()) < self.config.idle_life)
    }

    /// Lets no more calls onto trunks that may take none; those under way go on. Tells how many of
    /// them were idle.
    fn retire(&self, trunks: &mut Vec<Rc<Trunk>>, now: Instant) -> usize {
        let mut idle = 0;
        trunks.retain(|trunk| {
            let stays = self.may_take_more(trunk, now);
            if !stays {
                trunk.is_shelved.set(false);
                idle += usize::from(trunk.codec.calls() == 0);
            }
            stays
        });
        idle
    }

    /// What can carry one more call, and whether it has carried others.
    fn take(self: &Rc<Self>, key: &Key) -> Option<(Carrier, bool)> {
        let now = Instant::now();
        let mut shelf = self.shelf.borrow_mut();
        if now.duration_since(shelf.swept_at) >= self.config.idle_life {
            self.sweep(&mut shelf, now);
        }
        let Shelf { by_key, total, .. } = &mut *shelf;
        let berth = by_key.get_mut(key)?;
        *total -= self.retire(&mut berth.trunks, now);
        // The youngest first: the others grow old and go.
        if let Some(trunk) = berth.trunks.iter().rev().find(|trunk| trunk.codec.has_place()) {
            return Some(self.board(total, key, trunk));
        }
        while let Some((connection, since)) = berth.idle.pop_back() {
            *total -= 1;
            if self.is_usable(&connection, since, now) {
                return Some((Carrier::Own(connection), true));
            }
        }
        None
    }

    /// Begins a call on a trunk.
    fn board(self: &Rc<Self>, total: &mut usize, key: &Key, trunk: &Rc<Trunk>) -> (Carrier, bool) {
        if trunk.is_shelved.get() && trunk.codec.calls() == 0 {
            *total -= 1;
        }
        trunk.codec.begin_call();
        let seat = Seat {
            pool: Rc::downgrade(self),
            key: key.clone(),
            trunk: Rc::clone(trunk),
            codec: trunk.codec.clone(),
        };
        (Carrier::Seat(seat), trunk.has_served.replace(true))
    }

    /// Makes room for one that is idle, if there is any.
    fn has_room(&self, shelf: &mut Shelf, now: Instant) -> bool {
        if shelf.total >= self.config.max_idle_total {
            self.sweep(shelf, now);
        }
        shelf.total < self.config.max_idle_total
    }

    fn put(&self, key: Key, connection: Connection) {
        let now = Instant::now();
        let mut shelf = self.shelf.borrow_mut();
        if !self.has_room(&mut shelf, now) {
            return;
        }
        let Shelf { by_key, total, .. } = &mut *shelf;
        let queue = &mut by_key.entry(key).or_default().idle;
        queue.push_back((connection, now));
        *total += 1;
        if queue.len() > self.config.max_idle && queue.pop_front().is_some() {
            *total -= 1;
        }
    }

    /// The last call of a trunk has ended.
    fn rest(&self, key: &Key, trunk: &Rc<Trunk>) {
        let mut shelf = self.shelf.borrow_mut();
        if !trunk.is_shelved.get() {
            return;
        }
        // Not counted before there is room.
        trunk.is_shelved.set(false);
        let has_room = self.has_room(&mut shelf, Instant::now());
        let Shelf { by_key, total, .. } = &mut *shelf;
        let Some(berth) = by_key.get_mut(key) else { return };
        let Some(place) = berth.trunks.iter().position(|one| Rc::ptr_eq(one, trunk)) else {
            return;
        };
        if has_room && berth.idle_trunks() <= self.config.max_idle {
            trunk.is_shelved.set(true);
            *total += 1;
        } else {
            berth.trunks.remove(place);
        }
    }

    /// Closes what may not be used again.
    fn sweep(&self, shelf: &mut Shelf, now: Instant) {
        shelf.by_key.retain(|_, berth| {
            berth.idle.retain(|(connection, since)| self.is_usable(connection, *since, now));
            self.retire(&mut berth.trunks, now);
            !berth.idle.is_empty() || !berth.trunks.is_empty()
        });
        let of_berth = |berth: &Berth| {
            let shelved = berth.trunks.iter().filter(|trunk| trunk.is_shelved.get());
            berth.idle.len() + shelved.filter(|trunk| trunk.codec.calls() == 0).count()
        };
        shelf.total = shelf.by_key.values().map(of_berth).sum();
        shelf.dialing.retain(|_, dialing| dialing.upgrade().is_some());
        shelf.swept_at = now;
    }

    /// A new connection, to an address that is resolved now, judged and pinned; or one that others
    /// who came at the same time are making.
    async fn dial(
        self: &Rc<Self>,
        key: &Key,
        deadlines: &Deadlines,
    ) -> Result<(Carrier, bool), OutboundError> {
        if let Some(joined) = self.join(key, deadlines)
            && let Some(trunk) = joined.await?
            && trunk.codec.has_place()
            && trunk.codec.is_ready()
            && trunk.trust == self.config.tls.generation()
        {
            return Ok(self.board(&mut self.shelf.borrow_mut().total, key, &trunk));
        }
        let trust = self.config.tls.generation();
        match self.connect(key, deadlines).await? {
            Connected::Http1(codec) => {
                self.shelf.borrow_mut().speak_http2.remove(key);
                Ok((Carrier::Own(Connection { codec, born: Instant::now(), trust }), false))
            }
            Connected::Http2(codec) => {
                let trunk = self.shelve(key, codec, trust);
                Ok(self.board(&mut self.shelf.borrow_mut().total, key, &trunk))
            }
        }
    }

    /// The connection that is being made to a target that speaks HTTP/2.
    fn join(
        self: &Rc<Self>,
        key: &Key,
        deadlines: &Deadlines,
    ) -> Option<futures_util::future::Shared<Dialing>> {
        let mut shelf = self.shelf.borrow_mut();
        if !shelf.speak_http2.contains(key) {
            return None;
        }
        if let Some(dialing) = shelf.dialing.get(key).and_then(WeakShared::upgrade) {
            return Some(dialing);
        }
        let (pool, deadlines, own) = (Rc::clone(self), deadlines.clone(), key.clone());
        let dialing = async move {
            let trust = pool.config.tls.generation();
            let connected = pool.connect(&own, &deadlines).await;
            pool.shelf.borrow_mut().dialing.remove(&own);
            Ok(match connected? {
                Connected::Http2(codec) => Some(pool.shelve(&own, codec, trust)),
                Connected::Http1(_) => {
                    pool.shelf.borrow_mut().speak_http2.remove(&own);
                    None
                }
            })
        };
        let dialing: Dialing = dialing.boxed_local();
        let dialing = dialing.shared();
        if let Some(weak) = dialing.downgrade() {
            shelf.dialing.insert(key.clone(), weak);
        }
        Some(dialing)
    }

    async fn connect(&self, key: &Key, deadlines: &Deadlines) -> Result<Connected, OutboundError> {
        let PoolConfig { resolver, tls, idle_life, .. } = &self.config;
        let connected = connect(&**resolver, tls, &key.0, &key.1, deadlines, *idle_life).await?;
        self.config.figures.opened.fetch_add(1, Ordering::Relaxed);
        Ok(connected)
    }

    /// Lets calls onto a new connection, which is idle so far.
    fn shelve(&self, key: &Key, codec: Http2, trust: u64) -> Rc<Trunk> {
        let now = Instant::now();
        let mut shelf = self.shelf.borrow_mut();
        let trunk = Rc::new(Trunk {
            codec,
            born: now,
            trust,
            has_served: Cell::new(false),
            idle_since: Cell::new(now),
            is_shelved: Cell::new(true),
        });
        if shelf.speak_http2.len() >= MAX_REMEMBERED {
            shelf.speak_http2.clear();
        }
        shelf.speak_http2.insert(key.clone());
        shelf.by_key.entry(key.clone()).or_default().trunks.push(Rc::clone(&trunk));
        shelf.total += 1;
        trunk
    }
}

/// Where a connection goes back to when its answer has ended.
pub(crate) struct Return {
    pool: Weak<Shared>,
    key: Key,
    carrier: Carrier,
}

impl Return {
    pub(crate) fn give_back(self) {
        match (self.carrier, self.pool.upgrade()) {
            (Carrier::Own(connection), Some(pool)) => {
                pool.put(self.key, connection);
                pool.tell();
            }
            // A seat is left by dropping it.
            (carrier, _) => drop(carrier),
        }
    }
}

/// A connection, or a place on one, for one exchange.
#[must_use]
pub struct Lease<'p> {
    pool: &'p Rc<Shared>,
    key: Key,
    carrier: Carrier,
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
        let shelf = Shelf {
            by_key: HashMap::new(),
            total: 0,
            told: 0,
            swept_at: Instant::now(),
            speak_http2: HashSet::new(),
            dialing: HashMap::new(),
        };
        let windows = Windows::new(config.max_window_bytes);
        Self(Rc::new(Shared { config, windows, shelf: RefCell::new(shelf) }))
    }

    /// A connection to the target: an idle one, a place on one that others use, or a new one to an
    /// address that was resolved now, judged and pinned.
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
        let (carrier, is_reused) = match taken {
            Some(taken) => taken,
            None => pool.dial(&key, deadlines).await?,
        };
        if is_reused {
            pool.config.figures.reused.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Lease { pool, key, carrier, is_reused, deadlines: deadlines.clone() })
    }
}

impl Lease<'_> {
    /// Sends the request, whose URI is path and query, and waits for the answer's head. The host and
    /// everything that frames the message are set here; the caller's are dropped.
    ///
    /// A connection that has served before may have been closed by the provider meanwhile: a request
    /// of which nothing was sent, and a safe one that got no byte of an answer, goes once more over a
    /// new connection; so does one that the provider says it has not looked at (RFC 9113 §8.7).
    /// Anything else fails: it may have been done.
    pub async fn send(
        self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<UpstreamBody>, OutboundError> {
        self.send_counted(request, &mut 0).await
    }

    /// The same, and adds to `attempts` each time that the request is tried on a connection: what was
    /// given up while it waited is counted too.
    pub async fn send_counted(
        self,
        request: Request<Full<Bytes>>,
        attempts: &mut u64,
    ) -> Result<Response<UpstreamBody>, OutboundError> {
        let Self { pool, key, mut carrier, mut is_reused, deadlines } = self;
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
            if !carrier.is_ready() {
                (carrier, is_reused) = pool.dial(&key, &deadlines).await?;
            }
        }
        let begun = Instant::now();
        let may_repeat = is_reused && request.method().is_safe();
        let is_shared = matches!(carrier, Carrier::Seat(_));
        let spare = (may_repeat || is_shared).then(|| request.clone());
        *attempts += 1;
        let again = match exchange(&mut carrier, request, &deadlines).await {
            Ok(response) => Ok(response),
            Err(ExchangeError::Unsent { request, .. }) if is_reused => Err(*request),
            Err(ExchangeError::Undone(error)) => Err(spare.ok_or(error)?),
            Err(ExchangeError::Unanswered(error)) => {
                Err(spare.filter(|_| may_repeat).ok_or(error)?)
            }
            Err(failed) => return Err(failed.into()),
        };
        let response = match again {
            Ok(response) => response,
            Err(request) => {
                pool.config.figures.repeated.fetch_add(1, Ordering::Relaxed);
                (carrier, _) = pool.dial(&key, &deadlines).await?;
                *attempts += 1;
                exchange(&mut carrier, request, &deadlines).await?
            }
        };
        let (parts, wire) = response.into_parts();
        pool.config.figures.answered(parts.version);
        let window = pool.windows.window(&key.0);
        let back = Return { pool: Rc::downgrade(pool), key, carrier };
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
    carrier: &mut Carrier,
    request: Request<Full<Bytes>>,
    deadlines: &Deadlines,
) -> Result<Response<WireBody>, ExchangeError> {
    let patience = deadlines.head.min(deadlines.total);
    timeout(patience, carrier.exchange(request)).await.unwrap_or_else(|_| {
        let millis = patience.as_millis();
        Err(ExchangeError::Failed(OutboundError::HeadTimeout { millis }))
    })
}
