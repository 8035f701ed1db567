//! The listener and its connections.

use crate::{
    answer::{Answer, SlowBody},
    directory::{Directory, MAX_RECORDS},
    people,
    routes::{BASE_PATH, Hr},
    wire::Wire,
};
use bytes::Bytes;
use http::Response;
use http_body_util::{Either, Full};
use hyper::{
    Request,
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{error::Error, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use types::SecretText;

pub(crate) use crate::wire::Line;

/// Most people a sandbox is seeded with: each brings two absences.
pub const MAX_SEEDED_EMPLOYEES: usize = MAX_RECORDS / 2;
/// Connections served at once; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 1_024;
/// Time for a request's head to arrive, also the longest idle time of a kept-alive connection.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// Time that running requests get at a shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a sandbox is started with.
#[derive(Debug)]
pub struct SandboxOptions {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Decides every invented value.
    pub seed: u64,
    /// What callers must present, as a bearer token or in `X-Api-Key`.
    pub credential: SecretText,
    /// Employees to invent, up to [`MAX_SEEDED_EMPLOYEES`].
    pub records: usize,
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("a sandbox can be seeded with at most {limit} employees, not {given}")]
    TooManyRecords { given: usize, limit: usize },
    #[error("the sandbox's credential must not be empty")]
    EmptyCredential,
    #[error("the sandbox cannot listen on {addr}")]
    Listen { addr: SocketAddr, source: io::Error },
}

/// Starts sandboxes.
#[derive(Debug)]
pub struct Sandbox;

/// A sandbox that serves until it is shut down or dropped.
#[derive(Debug)]
pub struct RunningSandbox {
    /// Where it listens, with the port that was taken.
    pub addr: SocketAddr,
    running: Running,
}

impl Sandbox {
    /// Invents the records and begins to serve on the current tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: SandboxOptions) -> Result<RunningSandbox, StartError> {
        let SandboxOptions { addr, seed, credential, records } = options;
        if records > MAX_SEEDED_EMPLOYEES {
            let limit = MAX_SEEDED_EMPLOYEES;
            return Err(StartError::TooManyRecords { given: records, limit });
        }
        if credential.expose().is_empty() {
            return Err(StartError::EmptyCredential);
        }
        let failed = |source| StartError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let mut directory = Directory::empty();
        people::populate(&mut directory, seed, records);
        let hr = Arc::new(Hr::new(directory, credential, base_url(addr)));
        Ok(RunningSandbox { addr, running: listen(listener, addr, hr) })
    }
}

impl RunningSandbox {
    /// The server to import [`crate::HR_DESCRIPTION`] with: `http://ADDR/v1`.
    pub fn base_url(&self) -> String {
        base_url(self.addr)
    }

    /// Stops accepting, lets running requests end for two seconds, then cuts them.
    pub async fn shutdown(self) {
        self.running.shutdown().await;
    }
}

fn base_url(addr: SocketAddr) -> String {
    format!("http://{addr}{BASE_PATH}")
}

impl Serve for Hr {
    type Body = Either<Full<Bytes>, SlowBody>;

    async fn handle(&self, request: Request<Incoming>, _: Line) -> Answer {
        Self::handle(self, request).await
    }
}

/// What answers requests.
pub(crate) trait Serve: Send + Sync + 'static {
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    fn handle(
        &self,
        request: Request<Incoming>,
        line: Line,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// A listener with its connections.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    stop: watch::Sender<bool>,
    /// The accept loop, which owns the connections: dropping it cuts all.
    tasks: JoinSet<()>,
}

impl Running {
    /// Stops accepting, lets running requests end for two seconds, then cuts them.
    pub(crate) async fn shutdown(mut self) {
        // Fails only if the loop has ended already.
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Begins to accept connections and to answer on them.
pub(crate) fn listen<S: Serve>(listener: TcpListener, addr: SocketAddr, served: Arc<S>) -> Running {
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(listener, served, stopped));
    Running { addr, stop, tasks }
}

async fn accept<S: Serve>(
    listener: TcpListener,
    served: Arc<S>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        // All three are cancel-safe: nothing is lost when another branch wins.
        tokio::select! {
            // An error means that the handle was dropped, which ends the sandbox too.
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&served), stopped.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "sandbox cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        connections.shutdown().await;
    }
}

async fn serve<S: Serve>(stream: TcpStream, served: Arc<S>, mut stopped: watch::Receiver<bool>) {
    // Small answers must not wait for the peer's acknowledgements; without it they are only slower.
    let _ = stream.set_nodelay(true);
    let line = Line::default();
    let wire = Wire { stream, line: line.clone() };
    let service = service_fn(|request| {
        let (served, line) = (Arc::clone(&served), line.clone());
        async move {
            let answer = served.handle(request, line.clone()).await;
            if line.is_broken() {
                Err(io::Error::other("broken off on request"))
            } else {
                Ok(answer)
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(wire), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The peer went away or sent no HTTP: of interest only to who looks for it.
        tracing::debug!(%error, "sandbox connection ended early");
    }
}
