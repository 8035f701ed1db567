//! Health, readiness and metrics on the console's port, until there is a console.

use crate::figures::Figures;
use bytes::Bytes;
use gateway::{Crowd, Gateway, Patient, Places, ServerTls, Visitor, accept, keep_thin};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

const HEAD_PATIENCE: Duration = Duration::from_secs(10);
const MAX_HEAD_BYTES: usize = 16 * 1_024;

/// What the port answers from.
#[derive(Debug, Clone)]
pub(crate) struct Ops {
    pub gateway: Arc<Gateway>,
    pub figures: Figures,
    /// Connections at once; more wait in the listener's queue.
    pub max_connections: usize,
    pub tls: Option<ServerTls>,
}

/// Who gives way when places run out. Nobody shows a key here: of all, who has been idle the longest.
#[derive(Debug, Clone, Default)]
struct Guests(Arc<Mutex<Crowd>>);

impl Guests {
    /// Never held for longer than a look.
    fn look(&self) -> MutexGuard<'_, Crowd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bound port that is not served yet.
#[derive(Debug)]
pub(crate) struct OpsListener {
    listener: TcpListener,
    addr: SocketAddr,
}

impl OpsListener {
    pub(crate) async fn bind(addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        Ok(Self { listener, addr })
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until told to stop; calls under way are cut then, they are all short.
    pub(crate) async fn serve(self, ops: Ops, mut stopped: watch::Receiver<bool>) {
        let places = Places::new(ops.max_connections);
        let guests = Guests::default();
        let mut tasks = JoinSet::new();
        let accepted = accept(
            self.listener,
            &places,
            &mut stopped,
            "console",
            || guests.look().make_room(),
            |stream, place| {
                while tasks.try_join_next().is_some() {}
                let (ops, guests) = (ops.clone(), guests.clone());
                tasks.spawn(async move {
                    serve_guest(ops, stream, &guests).await;
                    drop(place);
                });
            },
        );
        tokio::select! {
            () = accepted => {}
            () = keep_thin(&places, || guests.look().thin_out()) => {}
        }
    }
}

async fn serve_guest(ops: Ops, stream: TcpStream, guests: &Guests) {
    let visitor = guests.look().enter();
    tokio::select! {
        biased;
        // Its answers are all short: what is cut is mostly silence.
        () = visitor.sent_away() => tracing::debug!("a connection on the console port gave way"),
        () = serve_connection(ops, stream, guests, &visitor) => {}
    }
    guests.look().forget(&visitor);
}

async fn serve_connection(ops: Ops, stream: TcpStream, guests: &Guests, visitor: &Arc<Visitor>) {
    let stream = Patient::new(stream, ops.gateway.settings.write_patience);
    let moved = || guests.look().moved(visitor);
    match ops.tls.clone() {
        None => serve_http(ops, stream, moved).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => serve_http(ops, stream, moved).await,
            Err(error) => tracing::debug!(%error, "a handshake on the console port failed"),
        },
    }
}

async fn serve_http<S>(ops: Ops, stream: S, moved: impl Fn())
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        moved();
        let response = answer(&ops, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection on the console port ended early");
    }
}

fn answer(ops: &Ops, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    let path = request.uri().path();
    if let Some((status, text)) = ops.gateway.health(path) {
        return plain(status, text);
    }
    match path {
        "/metrics" => {
            let mut response = plain(StatusCode::OK, ops.figures.render());
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
            );
            response
        }
        _ => plain(StatusCode::NOT_FOUND, "here are /healthz, /readyz and /metrics\n"),
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
