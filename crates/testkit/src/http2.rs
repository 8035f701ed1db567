//! A provider over TLS that speaks HTTP/2, or HTTP/1.1 to those who ask for that, by a server that
//! others wrote. It answers what a test scripted and remembers what it was sent.

use crate::{
    Answer, End, Received, TlsOptions,
    answer::Message,
    lock, things,
    tls::{self, Authority},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Incoming},
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    collections::HashMap,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread::{self, JoinHandle},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::LocalSet,
};
use tokio_rustls::TlsAcceptor;

type Script = Arc<dyn Fn(&Received) -> Answer + Send + Sync>;

struct State {
    url: String,
    scripts: Mutex<HashMap<String, Script>>,
    received: Mutex<Vec<Received>>,
    connections: AtomicUsize,
    /// Those that agreed on HTTP/1.1.
    http1: AtomicUsize,
    /// Calls that shall be refused unseen.
    to_refuse: AtomicUsize,
}

/// See the module.
pub struct Http2Provider {
    root: String,
    state: Arc<State>,
    /// Raised: connections end after the calls under way. Gone: all ends.
    order: Option<watch::Sender<usize>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Http2Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Provider").field("url", &self.state.url).finish_non_exhaustive()
    }
}

impl Http2Provider {
    /// On a free port of loopback, with a certificate for `localhost`.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn start() -> io::Result<Self> {
        Self::start_with(100)
    }

    /// Takes so many calls at once on a connection.
    ///
    /// # Errors
    /// Where no port can be had.
    pub fn start_with(max_streams: u32) -> io::Result<Self> {
        let authority = Authority::new()?;
        let identity = authority.issue(&TlsOptions::default())?;
        let setup = tls::server(identity, false, &["h2", "http/1.1"])?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let SocketAddr::V4(addr) = listener.local_addr()? else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let state = Arc::new(State {
            url: format!("https://localhost:{}", addr.port()),
            scripts: Mutex::default(),
            received: Mutex::default(),
            connections: AtomicUsize::new(0),
            http1: AtomicUsize::new(0),
            to_refuse: AtomicUsize::new(0),
        });
        let (order, ordered) = watch::channel(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::spawn({
            let state = Arc::clone(&state);
            move || {
                let acceptor = TlsAcceptor::from(setup.config);
                let served = accept(listener, acceptor, state, ordered, max_streams);
                // Its error is that of a listener that could not be used.
                let _ = LocalSet::new().block_on(&runtime, served);
            }
        });
        Ok(Self { root: authority.pem(), state, order: Some(order), thread: Some(thread) })
    }

    /// `https://localhost:PORT`.
    pub fn url(&self) -> &str {
        &self.state.url
    }

    /// `localhost:PORT`.
    pub fn host_port(&self) -> &str {
        self.state.url.split_once("://").map_or("", |(_, rest)| rest)
    }

    /// The authority to trust.
    pub fn root_pem(&self) -> &str {
        &self.root
    }

    /// As [`crate::FaultyProvider::on`]. A verbatim answer is a reset; of the ends but
    /// [`End::KeepAlive`] and [`End::Silence`] each is one.
    pub fn on(&self, place: &str, answer: Answer) {
        self.on_each(place, move |_| answer.clone());
    }

    /// As [`Self::on`], decided request by request.
    pub fn on_each(
        &self,
        place: &str,
        script: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) {
        lock(&self.state.scripts).insert(place.to_owned(), Arc::new(script));
    }

    /// Refuses so many of the next calls unseen (`REFUSED_STREAM`).
    pub fn refuse(&self, calls: usize) {
        self.state.to_refuse.store(calls, Ordering::SeqCst);
    }

    /// Says GOAWAY on each connection that is open; the calls under way are answered.
    pub fn go_away(&self) {
        if let Some(order) = &self.order {
            order.send_modify(|number| *number += 1);
        }
    }

    /// Every request whose body arrived completely, in order of arrival.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.state.received).clone()
    }

    /// Connections whose handshake succeeded since the start.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Those of them that agreed on HTTP/1.1.
    pub fn http1_connections(&self) -> usize {
        self.state.http1.load(Ordering::SeqCst)
    }
}

impl Drop for Http2Provider {
    fn drop(&mut self) {
        self.order = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Clone, Copy)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThisThread {
    fn execute(&self, task: F) {
        drop(tokio::task::spawn_local(task));
    }
}

async fn accept(
    listener: std::net::TcpListener,
    acceptor: TlsAcceptor,
    state: Arc<State>,
    mut ordered: watch::Receiver<usize>,
    max_streams: u32,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, _) = accepted?;
                let (acceptor, state, ordered) = (acceptor.clone(), Arc::clone(&state), ordered.clone());
                drop(tokio::task::spawn_local(async move {
                    // Errors are the peer's business.
                    let _ = connection(socket, acceptor, &state, ordered, max_streams).await;
                }));
            }
            changed = ordered.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

async fn connection(
    socket: TcpStream,
    acceptor: TlsAcceptor,
    state: &Arc<State>,
    mut ordered: watch::Receiver<usize>,
    max_streams: u32,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    socket.set_nodelay(true)?;
    let stream = acceptor.accept(socket).await?;
    let number = state.connections.fetch_add(1, Ordering::SeqCst);
    let service = service_fn(|request| answer(Arc::clone(state), number, request));
    ordered.mark_unchanged();
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let serving = http2::Builder::new(OnThisThread)
            .max_concurrent_streams(max_streams)
            .serve_connection(TokioIo::new(stream), service);
        let mut serving = std::pin::pin!(serving);
        loop {
            tokio::select! {
                ended = serving.as_mut() => return Ok(ended?),
                changed = ordered.changed() => match changed {
                    Ok(()) => serving.as_mut().graceful_shutdown(),
                    Err(_) => return Ok(()),
                }
            }
        }
    }
    state.http1.fetch_add(1, Ordering::SeqCst);
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = serving => Ok(ended?),
        _ = ordered.wait_for(|_| false) => Ok(()),
    }
}

async fn answer(
    state: Arc<State>,
    connection: usize,
    request: Request<Incoming>,
) -> Result<Response<Parts>, h2::Error> {
    let refused = state
        .to_refuse
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if refused.is_ok() {
        return Err(h2::Reason::REFUSED_STREAM.into());
    }
    let (head, body) = request.into_parts();
    let cut = |_| h2::Error::from(h2::Reason::CANCEL);
    let body = body.collect().await.map_err(cut)?.to_bytes().to_vec();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let authority = head.uri.authority().map(|it| (":authority".to_owned(), it.to_string()));
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    let received = Received {
        connection,
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        target,
        headers: authority.into_iter().chain(headers).collect(),
        body,
    };
    let script = {
        let scripts = lock(&state.scripts);
        let exact = format!("{} {}", received.method, received.path);
        scripts.get(&exact).or_else(|| scripts.get(&received.path)).cloned()
    };
    lock(&state.received).push(received.clone());
    let answer = match script {
        Some(script) => script(&received),
        None => things::answer(&received, &state.url),
    };
    let Some(message) = answer.message() else { return Err(h2::Reason::INTERNAL_ERROR.into()) };
    tokio::time::sleep(message.before_head).await;
    if message.parts.is_empty() && message.end != End::KeepAlive {
        if message.end == End::Silence {
            std::future::pending::<()>().await;
        }
        return Err(h2::Reason::INTERNAL_ERROR.into());
    }
    let mut response = Response::builder().status(message.status);
    for (name, value) in &message.headers {
        let name = HeaderName::try_from(name.as_str());
        let value = HeaderValue::try_from(value.as_str());
        if let (Ok(name), Ok(value)) = (name, value) {
            response = response.header(name, value);
        }
    }
    let (sender, parts) = mpsc::channel(1);
    let is_empty = message.parts.is_empty();
    drop(tokio::task::spawn_local(play(message, sender)));
    let internal = |_| h2::Error::from(h2::Reason::INTERNAL_ERROR);
    response.body(Parts { parts, is_empty }).map_err(internal)
}

/// Sends the parts of an answer as it was scripted.
async fn play(message: Message, sender: mpsc::Sender<Result<Bytes, h2::Error>>) {
    for (part, times) in message.parts {
        let part = Bytes::from(part);
        for _ in 0..times {
            tokio::time::sleep(message.before_part).await;
            if sender.send(Ok(part.clone())).await.is_err() {
                return;
            }
        }
    }
    match message.end {
        End::KeepAlive => {}
        End::Silence => sender.closed().await,
        // Nobody hears it if the peer has gone.
        End::Close | End::Drop | End::Reset => {
            let _ = sender.send(Err(h2::Reason::INTERNAL_ERROR.into())).await;
        }
    }
}

struct Parts {
    parts: mpsc::Receiver<Result<Bytes, h2::Error>>,
    is_empty: bool,
}

impl Body for Parts {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        self.parts.poll_recv(cx).map(|part| part.map(|part| part.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty
    }
}
