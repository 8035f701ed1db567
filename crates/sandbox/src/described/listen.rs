//! A mock behind a listener: requests read, answers sent, faults done to the connection.

use super::{
    auth::Auth,
    control::TOKEN_PATH,
    draw::Key,
    fault::{FaultError, Rules},
    mock::{Call, Delivery, Mock, MockOptions, Reply},
    oauth::Oauth,
    table::Table,
};
use crate::server::{Line, Running, Serve, listen};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{
    Request,
    body::{Body, Frame, Incoming, SizeHint},
};
use provider::{LoadError, LoadLimits};
use std::{
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use types::{Clock, SecretText};

/// Longest request body.
const MAX_BODY_BYTES: usize = 1 << 20;
/// Time for a request body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the first half of a body to go out before the connection ends.
const BREAK_PAUSE: Duration = Duration::from_millis(100);
/// Most seeded records of a collection.
pub const MAX_SEEDED_RECORDS: u64 = 10_000;

/// What a described sandbox is started with.
#[derive(Debug)]
pub struct DescribedOptions {
    /// An OpenAPI 3.x or Swagger 2.0 document, JSON or YAML.
    pub description: Vec<u8>,
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Decides every invented value.
    pub seed: u64,
    /// Records of each collection at the beginning, up to [`MAX_SEEDED_RECORDS`].
    pub records: u64,
    /// What callers must present. Nothing is asked for without it.
    pub credential: Option<SecretText>,
    /// How long access tokens live.
    pub token_lifetime: Duration,
    /// Fault rules, such as `429 every=5`.
    pub faults: Vec<String>,
    pub clock: Arc<dyn Clock>,
}

/// Why a described sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum DescribedError {
    #[error(transparent)]
    Description(#[from] LoadError),
    #[error("a collection can be seeded with at most {limit} records, not {given}")]
    TooManyRecords { given: u64, limit: u64 },
    #[error("the sandbox's credential must not be empty")]
    EmptyCredential,
    #[error("a fault rule is not understood")]
    Fault(#[from] FaultError),
    #[error("the sandbox cannot listen on {addr}")]
    Listen { addr: SocketAddr, source: io::Error },
}

impl DescribedError {
    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Description(error) => error.remedy(),
            Self::TooManyRecords { .. } => "ask for fewer records",
            Self::EmptyCredential => "give a credential, or leave it out to ask for none",
            Self::Fault(_) => "docs/reference/sandbox.md lists the faults and their options",
            Self::Listen { .. } => "choose a free address, or port 0 for any",
        }
    }
}

/// A sandbox that serves a description until it is shut down or dropped.
#[derive(Debug)]
pub struct RunningDescribed {
    running: Running,
    /// Where calls go: the listener, and the path of the description's server.
    pub base_url: String,
    pub token_url: String,
    pub title: String,
    pub operations: usize,
    /// Collections with a list: their records can be created, read, changed and deleted.
    pub collections: usize,
    /// The names of the declared security schemes.
    pub schemes: Vec<String>,
}

impl RunningDescribed {
    /// Where it listens, with the port that was taken.
    pub const fn addr(&self) -> SocketAddr {
        self.running.addr
    }

    /// Stops accepting, lets running requests end for two seconds, then cuts them.
    pub async fn shutdown(self) {
        self.running.shutdown().await;
    }
}

/// Reads a description and begins to serve it on the current tokio runtime.
///
/// # Errors
/// See [`DescribedError`].
pub async fn serve_description(
    options: DescribedOptions,
) -> Result<RunningDescribed, DescribedError> {
    let DescribedOptions { description, addr, seed, records, credential, token_lifetime, .. } =
        options;
    if records > MAX_SEEDED_RECORDS {
        return Err(DescribedError::TooManyRecords { given: records, limit: MAX_SEEDED_RECORDS });
    }
    if credential.as_ref().is_some_and(|credential| credential.expose().is_empty()) {
        return Err(DescribedError::EmptyCredential);
    }
    let rules = Rules::parse(options.faults.iter().map(String::as_str))?;
    let table = Table::read(&description, &LoadLimits::default())?;
    drop(description);
    let schemes: Vec<String> = table.security_schemes.keys().cloned().collect();
    let auth = Auth {
        is_enforced: credential.is_some(),
        credential: credential.unwrap_or_else(|| SecretText::new(String::new())),
        oauth: Oauth::new(Key::new(seed).at("oauth"), token_lifetime, &table.security_schemes),
        schemes: table.security_schemes.clone(),
    };
    let failed = |source| DescribedError::Listen { addr, source };
    let listener = tokio::net::TcpListener::bind(addr).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let root_url = format!("http://{addr}");
    let clock = options.clock;
    let options =
        MockOptions { seed, count: records, root_url: root_url.clone(), auth, rules, clock };
    let mock = Mock::new(table, options);
    let (title, operations) = (mock.title().to_owned(), mock.operations());
    let (collections, base_url) = (mock.listed(), mock.base_url());
    let running = listen(listener, addr, Arc::new(Described(mock)));
    let token_url = format!("{root_url}{TOKEN_PATH}");
    Ok(RunningDescribed { running, base_url, token_url, title, operations, collections, schemes })
}

#[derive(Debug)]
struct Described(Mock);

impl Serve for Described {
    type Body = ReplyBody;

    async fn handle(&self, request: Request<Incoming>, line: Line) -> Response<ReplyBody> {
        let (head, body) = request.into_parts();
        let body = match read(body).await {
            Ok(body) => body,
            Err(status) => return plain(status),
        };
        let reply = self.0.handle(Call {
            method: &head.method,
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            headers: &head.headers,
            body: &body,
        });
        deliver(reply, &line).await
    }
}

/// The request's body; the status to refuse it with otherwise.
async fn read(body: Incoming) -> Result<Bytes, StatusCode> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let collected = Limited::new(body, MAX_BODY_BYTES).collect();
    match tokio::time::timeout(BODY_TIMEOUT, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

fn plain(status: StatusCode) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(Bytes::new()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn deliver(reply: Reply, line: &Line) -> Response<ReplyBody> {
    let Reply { status, headers, body, delivery } = reply;
    let half = body.slice(..body.len() / 2);
    let body = match delivery {
        Delivery::Whole => ReplyBody::whole(body),
        Delivery::Delayed(pause) => {
            tokio::time::sleep(pause).await;
            ReplyBody::whole(body)
        }
        Delivery::Slow(pause) => ReplyBody {
            declared: body.len(),
            rest: body,
            pace: Some((pause, Box::pin(tokio::time::sleep(pause)))),
            breaks: None,
        },
        Delivery::Truncated => ReplyBody::whole(half),
        // The connection ends in order, so that what was sent arrives.
        Delivery::Cut => ReplyBody {
            declared: body.len(),
            rest: half,
            pace: None,
            breaks: Some(Box::pin(tokio::time::sleep(BREAK_PAUSE))),
        },
        Delivery::Reset => {
            line.reset_at_end();
            line.break_off();
            ReplyBody::whole(Bytes::new())
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().append(name, value);
    }
    response
}

/// An answer's body: at once, byte by byte, or broken off.
#[derive(Debug)]
struct ReplyBody {
    declared: usize,
    rest: Bytes,
    pace: Option<(Duration, Pin<Box<tokio::time::Sleep>>)>,
    /// Ends in an error then.
    breaks: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl ReplyBody {
    const fn whole(body: Bytes) -> Self {
        Self { declared: body.len(), rest: body, pace: None, breaks: None }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.rest.is_empty() {
            let Some(pause) = &mut self.breaks else { return Poll::Ready(None) };
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.breaks = None;
            return Poll::Ready(Some(Err(io::Error::other("broken off on request"))));
        }
        let whole = self.rest.len();
        let count = if let Some((pause, sleep)) = &mut self.pace {
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            sleep.set(tokio::time::sleep(*pause));
            1
        } else {
            whole
        };
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(count)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.breaks.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // A body that breaks off was announced whole.
        let sent = if self.breaks.is_some() { self.declared } else { self.rest.len() };
        SizeHint::with_exact(sent as u64)
    }
}
