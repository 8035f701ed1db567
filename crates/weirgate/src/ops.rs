//! The console's port: its connections. What is answered on them is of `api`.

use crate::figures::Figures;
use api::{About, Certificate, Site, Vitals};
use bytes::Bytes;
use gateway::{Crowd, Gateway, Patient, Places, ServerTls, Visitor, accept, keep_thin};
use http::{Request, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::counter;
use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
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
    pub site: Site,
    /// How long whoever asks may read nothing.
    pub write_patience: Duration,
    /// Whether connections come from a proxy, and not from whoever asks.
    pub is_behind_proxy: bool,
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
    let visitor = guests.look().enter(None);
    tokio::select! {
        biased;
        // What is cut is mostly silence: of all, whoever has been idle the longest.
        () = visitor.sent_away() => tracing::debug!("a connection on the console port gave way"),
        () = serve_connection(ops, stream, guests, &visitor) => {}
    }
    guests.look().forget(&visitor);
}

async fn serve_connection(ops: Ops, stream: TcpStream, guests: &Guests, visitor: &Arc<Visitor>) {
    let source = stream.peer_addr().ok().map(|addr| addr.ip()).filter(|_| !ops.is_behind_proxy);
    let stream = Patient::new(stream, ops.write_patience);
    let moved = || guests.look().moved(visitor);
    match ops.tls.clone() {
        None => serve_http(ops, stream, source, moved).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => serve_http(ops, stream, source, moved).await,
            Err(error) => tracing::debug!(%error, "a handshake on the console port failed"),
        },
    }
}

async fn serve_http<S>(ops: Ops, stream: S, source: Option<IpAddr>, moved: impl Fn())
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        moved();
        let site = ops.site.clone();
        async move { Ok::<_, Infallible>(site.answer(source, request).await) }
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

/// What the port says of the server itself.
#[derive(Debug)]
pub(crate) struct Own {
    pub gateway: Arc<Gateway>,
    pub figures: Figures,
    /// As it was at the start; the certificate may be replaced.
    pub about: About,
    pub tls: Option<ServerTls>,
    pub security_contact: Option<String>,
}

impl Vitals for Own {
    fn health(&self, path: &str) -> Option<(StatusCode, &'static str)> {
        self.gateway.health(path)
    }

    fn metrics(&self) -> Bytes {
        self.figures.render().into()
    }

    fn breach(&self, directive: &'static str) {
        counter!("weirgate_policy_breaches_total", "directive" => directive).increment(1);
    }

    fn security_contact(&self) -> Option<String> {
        self.security_contact.clone()
    }

    fn about(&self) -> About {
        let validity = self.tls.as_ref().map(ServerTls::validity);
        let certificate = validity.map(|(begins_at, ends_at)| Certificate { begins_at, ends_at });
        About { certificate, ..self.about.clone() }
    }
}
