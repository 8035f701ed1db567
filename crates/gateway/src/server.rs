//! The data plane's listeners: one current-thread runtime per core, `SO_REUSEPORT`, and a
//! connection stays on its core.

use crate::{
    accept::{Place, Places, accept, keep_thin},
    answer::{AnswerBody, full, panicked},
    crowd::{Crowd, Visitor},
    error::CallError,
    error_pages,
    event::Event,
    framing::{MAX_HEAD_BYTES, MAX_HEADERS},
    gateway::{Core, Gateway},
    headers,
    http2::{self, Call},
    ingress::{Ingress, STAND_IN_TARGET, Why},
    patient::Patient,
    pipeline,
    recorder::failure_of,
    tls::ServerTls,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use outbound::Pool;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    convert::Infallible,
    fmt, io,
    net::{SocketAddr, TcpListener},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    task::LocalSet,
};
use types::Id;

/// Connections that the kernel holds for us.
const BACKLOG: i32 = 4_096;
/// How long a connection may take to send a request's head; also how long it may idle.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// Why the data plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {addr}")]
    Listen {
        addr: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot start a thread for a core")]
    Thread(#[source] io::Error),
}

/// Makes each core's pool on that core's thread.
pub type MakePool = Arc<dyn Fn() -> Pool + Send + Sync>;

/// What a core may hold of each.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections of callers at once; more wait in the kernel's queue.
    pub connections: usize,
    /// How long calls under way may take after [`Running::stop`].
    pub drain: Duration,
}

/// Bound listeners, one per core, all on one address.
#[derive(Debug)]
pub struct Listeners {
    listeners: Vec<TcpListener>,
    addr: SocketAddr,
}

impl Listeners {
    /// Binds `cores` listeners. With port 0 the first one chooses.
    pub fn bind(addr: SocketAddr, cores: usize) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { addr, source };
        // Without SO_REUSEPORT first, so that a second server on the port is refused, not shared.
        drop(listen(addr, false).map_err(failed)?);
        let first = listen(addr, true).map_err(failed)?;
        let addr = first.local_addr().map_err(failed)?;
        let mut listeners = vec![first];
        for _ in 1..cores {
            listeners.push(listen(addr, true).map_err(failed)?);
        }
        Ok(Self { listeners, addr })
    }

    /// The address bound.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

fn listen(addr: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The data plane under way.
pub struct Running {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("cores", &self.threads.len()).finish_non_exhaustive()
    }
}

/// Starts a thread per listener.
pub fn start(
    gateway: &Arc<Gateway>,
    listeners: Listeners,
    make_pool: &MakePool,
    bounds: Bounds,
    tls: Option<&ServerTls>,
) -> Result<Running, StartError> {
    let (stop, stopped) = watch::channel(false);
    let mut threads = Vec::new();
    for (index, listener) in listeners.listeners.into_iter().enumerate() {
        let gateway = Arc::clone(gateway);
        let make_pool = Arc::clone(make_pool);
        let stopped = stopped.clone();
        let tls = tls.cloned();
        let thread = std::thread::Builder::new()
            .name(format!("gateway-{index}"))
            .spawn(move || {
                if let Err(error) = run_core(gateway, listener, &make_pool, stopped, bounds, tls) {
                    tracing::error!(%error, core = index, "a core of the gateway has stopped");
                }
            })
            .map_err(StartError::Thread)?;
        threads.push(thread);
    }
    Ok(Running { stop, threads })
}

impl Running {
    /// Stops accepting, lets calls under way end, and returns when all cores have ended. Blocks for
    /// at most the drain time.
    pub fn stop(self) {
        // Nobody listens any more when all cores have ended already.
        let _ = self.stop.send(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a core of the gateway has panicked");
            }
        }
    }
}

fn run_core(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    make_pool: &MakePool,
    mut stopped: watch::Receiver<bool>,
    bounds: Bounds,
    tls: Option<ServerTls>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let core = Rc::new(Core {
            gateway,
            pool: make_pool(),
            calls: Places::new(bounds.connections),
            crowd: Crowd::default(),
        });
        let places = Places::new(bounds.connections);
        {
            let (core, places) = (Rc::clone(&core), places.clone());
            tokio::task::spawn_local(async move {
                keep_thin(&places, || core.crowd.thin_out()).await;
            });
        }
        let host = Rc::clone(&core);
        let stopping = stopped.clone();
        accept(
            listener,
            &places,
            &mut stopped,
            "gateway",
            || host.crowd.make_room(),
            |stream, place| {
                let core = Rc::clone(&core);
                let stopping = stopping.clone();
                let tls = tls.clone();
                let task = async move {
                    serve_connection(core, stream, tls, stopping).await;
                    drop(place);
                };
                tokio::task::spawn_local(task);
            },
        )
        .await;
        if tokio::time::timeout(bounds.drain, places.all_free()).await.is_err() {
            tracing::warn!("calls were cut off at the end of the drain time");
        }
        Ok(())
    })
}

async fn serve_connection(
    core: Rc<Core>,
    stream: TcpStream,
    tls: Option<ServerTls>,
    stopped: watch::Receiver<bool>,
) {
    core.gateway.metrics.connections.increment(1);
    let source = stream.peer_addr().ok().map(|addr| addr.ip().to_canonical());
    let visitor = core.crowd.enter(source.filter(|_| !core.gateway.settings.is_behind_proxy));
    tokio::select! {
        biased;
        // No call with a key is under way on it.
        () = visitor.sent_away() => tracing::debug!("a connection without a valid key gave way"),
        () = serve_visitor(&core, stream, tls, stopped, &visitor) => {}
    }
    core.crowd.forget(&visitor);
    core.gateway.metrics.connections.decrement(1);
}

async fn serve_visitor(
    core: &Rc<Core>,
    stream: TcpStream,
    tls: Option<ServerTls>,
    stopped: watch::Receiver<bool>,
    visitor: &Arc<Visitor>,
) {
    // Without it small answers wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    // Within TLS, so that it sees what the peer takes.
    let stream = Patient::new(stream, core.gateway.settings.write_patience);
    match tls {
        None => serve_http1(core, stream, stopped, visitor).await,
        // On the heap, so that without TLS nobody pays for it.
        Some(tls) => Box::pin(serve_tls(core, stream, tls, stopped, visitor)).await,
    }
}

async fn serve_tls(
    core: &Rc<Core>,
    stream: Patient<TcpStream>,
    tls: ServerTls,
    mut stopped: watch::Receiver<bool>,
    visitor: &Arc<Visitor>,
) {
    // Both are given up whole.
    let accepted = tokio::select! {
        accepted = tls.accept_either(stream) => accepted,
        _ = stopped.changed() => Err(io::ErrorKind::Interrupted.into()),
    };
    match accepted {
        Ok((stream, true)) => Box::pin(http2::serve(core, stream, stopped, visitor)).await,
        Ok((stream, false)) => serve_http1(core, stream, stopped, visitor).await,
        // Scanners and callers of plain HTTP are everyday.
        Err(error) => tracing::debug!(%error, "a caller's handshake failed"),
    }
}

async fn serve_http1<S>(
    core: &Rc<Core>,
    stream: S,
    mut stopped: watch::Receiver<bool>,
    visitor: &Arc<Visitor>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (mut stream, why) = Ingress::new(stream);
    tokio::select! {
        begun = tokio::time::timeout(HEAD_PATIENCE, stream.begin()) => {
            if !matches!(begun, Ok(Ok(true))) {
                return;
            }
        }
        _ = stopped.changed() => return,
    }
    // On the heap once there is something to serve, so that a silent caller takes little.
    Box::pin(serve_begun(core, stream, why, stopped, visitor)).await;
}

async fn serve_begun<S>(
    core: &Rc<Core>,
    stream: Ingress<S>,
    why: Why,
    mut stopped: watch::Receiver<bool>,
    visitor: &Arc<Visitor>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service_core = Rc::clone(core);
    let visitor = Arc::clone(visitor);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let core = Rc::clone(&service_core);
        announce(&core, &mut request, &visitor);
        let why = why.clone();
        async move {
            let answer = match request.uri().path() {
                STAND_IN_TARGET => Answer::from(refuse_early(&core, why.get())),
                _ => respond(&core, request).await,
            };
            Ok::<_, Infallible>(answer.0)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let is_done = tokio::select! {
        result = connection.as_mut() => {
            log_end(result);
            true
        }
        _ = stopped.changed() => false,
    };
    if !is_done {
        connection.as_mut().graceful_shutdown();
        log_end(connection.await);
    }
}

pub(crate) fn log_end(result: Result<(), hyper::Error>) {
    if let Err(error) = result {
        // Callers that break off are everyday; what they called is in the audit log.
        tracing::debug!(%error, "a caller's connection ended early");
    }
}

/// An answer with what must be held until it has ended.
pub(crate) struct Answer(Response<Carried>);

/// See [`Answer`].
pub(crate) struct Carried {
    body: AnswerBody,
    /// Among the calls of the core.
    _place: Option<Place>,
    call: Option<Rc<Call>>,
}

impl From<Response<AnswerBody>> for Answer {
    fn from(response: Response<AnswerBody>) -> Self {
        Self(response.map(|body| Carried { body, _place: None, call: None }))
    }
}

impl Answer {
    /// As HEAD is answered (RFC 9110 §9.3.2); for HTTP/1.1 the library sees to it.
    pub(crate) fn head_alone(mut self) -> Self {
        let length = self.0.body().body.size_hint().exact().filter(|length| *length > 0);
        if let Some(length) = length {
            self.0.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        self.0.body_mut().body = full(Bytes::new());
        self
    }

    /// With somebody who looks whether the caller takes it.
    pub(crate) fn watched(self, call: Rc<Call>) -> Response<Carried> {
        call.is_behind.set(true);
        self.0.map(|mut carried| {
            carried.call = Some(call);
            carried
        })
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        // A body whose end is known is not asked again.
        if let Some(call) = self.call.as_ref().filter(|_| self.body.is_end_stream()) {
            call.ended();
        }
    }
}

impl Body for Carried {
    type Data = Bytes;
    type Error = <AnswerBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(call) = &self.call {
            call.takes();
        }
        let body = &mut self.body;
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx)));
        let polled = polled.unwrap_or_else(|_| {
            // What is left of it is not asked again.
            self.body = full(Bytes::new());
            Poll::Ready(Some(Err(panicked().into())))
        });
        if let Some(call) = &self.call {
            match &polled {
                Poll::Ready(Some(Ok(_))) => call.is_behind.set(true),
                Poll::Ready(None) => {
                    call.ended();
                    self.call = None;
                }
                _ => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Each request carries who asks.
pub(crate) fn announce(core: &Core, request: &mut Request<Incoming>, visitor: &Arc<Visitor>) {
    core.crowd.moved(visitor);
    request.extensions_mut().insert(Arc::clone(visitor));
}

pub(crate) async fn respond(core: &Rc<Core>, request: Request<Incoming>) -> Answer {
    let is_get = request.method() == Method::GET;
    let path = request.uri().path();
    if let Some((status, text)) = core.gateway.health(path).filter(|_| is_get) {
        return plain(status, text).into();
    }
    if is_get && path.starts_with(error_pages::PREFIX) {
        return match error_pages::page(path) {
            Some(page) => plain(StatusCode::OK, page).into(),
            None => plain(StatusCode::NOT_FOUND, "no such error code\n").into(),
        };
    }
    // Before anything is known of the call: there is no file for its provider's connection.
    let Some(place) = core.calls.try_take() else {
        return refuse_unseen(core, &CallError::Overloaded).into();
    };
    let response = pipeline::serve(core, request).await;
    Answer(response.map(|body| Carried { body, _place: Some(place), call: None }))
}

/// A request that cannot be told from what surrounds it, so that its key counts for nothing.
pub(crate) fn refuse_early(core: &Core, what: &'static str) -> Response<AnswerBody> {
    refuse_unseen(core, &CallError::RequestMalformed { what })
}

fn refuse_unseen(core: &Core, error: &CallError) -> Response<AnswerBody> {
    let gateway = &core.gateway;
    let started = gateway.clock.now();
    let failure = failure_of(error);
    let Ok(id) = Id::generate(started, gateway.random.as_ref()) else {
        return pipeline::problem(&CallError::Internal { what: "no randomness" }, Id::from_u128(0));
    };
    gateway.recorder.count_unauthenticated(failure.code);
    let mut response = pipeline::problem(error, id);
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(headers::REQUEST_ID, value);
    }
    let duration = gateway.clock.now().since(started);
    gateway.metrics.answered(response.status(), duration);
    gateway.events.emit(Event {
        status: response.status().as_u16(),
        failure: Some(failure),
        duration,
        ..Event::new(id, started)
    });
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<AnswerBody> {
    let mut response = Response::new(full(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
