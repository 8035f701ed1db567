//! The data plane's listeners: one current-thread runtime per core, `SO_REUSEPORT`, and a
//! connection stays on its core.

use crate::{
    accept::{Places, accept},
    answer::{AnswerBody, full},
    error::CallError,
    error_pages,
    event::Event,
    framing::{MAX_HEAD_BYTES, MAX_HEADERS},
    gateway::{Core, Gateway},
    headers,
    ingress::{Ingress, STAND_IN_TARGET, Why},
    patient::Patient,
    pipeline,
    recorder::failure_of,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use outbound::Pool;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    convert::Infallible,
    fmt, io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::{net::TcpStream, sync::watch, task::LocalSet};
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
) -> Result<Running, StartError> {
    let (stop, stopped) = watch::channel(false);
    let mut threads = Vec::new();
    for (index, listener) in listeners.listeners.into_iter().enumerate() {
        let gateway = Arc::clone(gateway);
        let make_pool = Arc::clone(make_pool);
        let stopped = stopped.clone();
        let thread = std::thread::Builder::new()
            .name(format!("gateway-{index}"))
            .spawn(move || {
                if let Err(error) = run_core(gateway, listener, &make_pool, stopped, bounds) {
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
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let core = Rc::new(Core { gateway, pool: make_pool() });
        let places = Places::new(bounds.connections);
        let stopping = stopped.clone();
        accept(listener, &places, &mut stopped, "gateway", |stream, place| {
            let core = Rc::clone(&core);
            let stopping = stopping.clone();
            tokio::task::spawn_local(async move {
                serve_connection(core, stream, stopping).await;
                drop(place);
            });
        })
        .await;
        if tokio::time::timeout(bounds.drain, places.all_free()).await.is_err() {
            tracing::warn!("calls were cut off at the end of the drain time");
        }
        Ok(())
    })
}

async fn serve_connection(core: Rc<Core>, stream: TcpStream, mut stopped: watch::Receiver<bool>) {
    // Without it small answers wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    core.gateway.metrics.connections.increment(1);
    let stream = Patient::new(stream, core.gateway.settings.write_patience);
    let (stream, why) = Ingress::new(stream);
    let service_core = Rc::clone(&core);
    let service = service_fn(move |request| {
        let core = Rc::clone(&service_core);
        let why = why.clone();
        async move { Ok::<_, Infallible>(respond(&core, request, &why).await) }
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
    core.gateway.metrics.connections.decrement(1);
}

fn log_end(result: Result<(), hyper::Error>) {
    if let Err(error) = result {
        // Callers that break off are everyday; what they called is in the audit log.
        tracing::debug!(%error, "a caller's connection ended early");
    }
}

async fn respond(core: &Rc<Core>, request: Request<Incoming>, why: &Why) -> Response<AnswerBody> {
    let is_get = request.method() == Method::GET;
    let path = request.uri().path();
    if path == STAND_IN_TARGET {
        return refuse_framing(core, why.get());
    }
    if let Some((status, text)) = core.gateway.health(path).filter(|_| is_get) {
        return plain(status, text);
    }
    if is_get && path.starts_with(error_pages::PREFIX) {
        return match error_pages::page(path) {
            Some(page) => plain(StatusCode::OK, page),
            None => plain(StatusCode::NOT_FOUND, "no such error code\n"),
        };
    }
    pipeline::serve(core, request).await
}

/// A request that cannot be told from what surrounds it, so that its key counts for nothing.
fn refuse_framing(core: &Core, what: &'static str) -> Response<AnswerBody> {
    let gateway = &core.gateway;
    let started = gateway.clock.now();
    let error = CallError::RequestMalformed { what };
    let failure = failure_of(&error);
    let Ok(id) = Id::generate(started, gateway.random.as_ref()) else {
        return pipeline::problem(&CallError::Internal { what: "no randomness" }, Id::from_u128(0));
    };
    gateway.recorder.count_unauthenticated(failure.code);
    let mut response = pipeline::problem(&error, id);
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
