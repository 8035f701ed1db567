//! The wire protocol behind a small face, so that another codec can take its place.

use crate::{
    OutboundError,
    traffic::{Counted, Traffic},
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use std::{io, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};

/// The most memory that a connection's read buffer takes; a longer head is refused.
const MAX_BUFFER_BYTES: usize = 64 * 1_024;
/// The most headers of an answer.
const MAX_HEADERS: usize = 128;

/// A connection that carries one exchange at a time.
pub(crate) trait Codec: Sized {
    type Body: CodecBody;

    /// Takes over a connected stream.
    async fn begin<S>(stream: S) -> Result<Self, OutboundError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Whether another exchange can begin.
    fn is_idle(&self) -> bool;

    /// Sends a request and waits for the answer's head, whose framing is beyond doubt.
    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Self::Body>, ExchangeError>;
}

/// The content of an answer, without what frames it.
pub(crate) trait CodecBody {
    /// The next bytes; `None` once the whole has arrived.
    async fn next(&mut self) -> Result<Option<Bytes>, OutboundError>;

    /// Whether nothing will come any more, as far as is known.
    fn is_ended(&self) -> bool;
}

/// Why there is no head.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// Nothing was sent: here is the request again.
    Unsent {
        request: Box<Request<Full<Bytes>>>,
        error: OutboundError,
    },
    /// The connection ended before a byte of an answer.
    Unanswered(OutboundError),
    Failed(OutboundError),
}

impl From<ExchangeError> for OutboundError {
    fn from(failed: ExchangeError) -> Self {
        match failed {
            ExchangeError::Unsent { error, .. }
            | ExchangeError::Unanswered(error)
            | ExchangeError::Failed(error) => error,
        }
    }
}

/// HTTP/1.1 by hyper.
#[derive(Debug)]
pub(crate) struct Http1 {
    sender: SendRequest<Full<Bytes>>,
    traffic: Arc<Traffic>,
}

impl Codec for Http1 {
    type Body = Http1Body;

    #[expect(clippy::disallowed_methods, reason = "the connection's own task, which ends with it")]
    async fn begin<S>(stream: S) -> Result<Self, OutboundError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stream, traffic) = Counted::new(stream);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_BUFFER_BYTES)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| OutboundError::Reset)?;
        drop(tokio::task::spawn(async move {
            if let Err(error) = connection.await {
                // The exchange that was under way says more.
                tracing::debug!(%error, "a provider's connection ended early");
            }
        }));
        Ok(Self { sender, traffic })
    }

    fn is_idle(&self) -> bool {
        self.sender.is_ready() && !self.sender.is_closed()
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Http1Body>, ExchangeError> {
        let read_before = self.traffic.bytes_read();
        self.traffic.expect_head();
        let response = match self.sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut failed) => {
                let unsent = failed.take_message();
                let error = failure(failed.error());
                return Err(match unsent {
                    Some(request) => ExchangeError::Unsent { request: Box::new(request), error },
                    None if self.traffic.bytes_read() == read_before => {
                        ExchangeError::Unanswered(error)
                    }
                    None => ExchangeError::Failed(error),
                });
            }
        };
        self.traffic.head_has_come();
        let framing = check_framing(response.status(), response.headers());
        framing.map_err(|what| ExchangeError::Failed(OutboundError::Malformed { what }))?;
        Ok(response.map(Http1Body))
    }
}

#[derive(Debug)]
pub(crate) struct Http1Body(Incoming);

impl CodecBody for Http1Body {
    async fn next(&mut self) -> Result<Option<Bytes>, OutboundError> {
        loop {
            match self.0.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(failure(&error)),
                // Trailers are dropped.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    fn is_ended(&self) -> bool {
        self.0.is_end_stream()
    }
}

/// Two ways to tell an answer's length are two answers, and a transfer coding that is not undone
/// hides its content (RFC 9112 §6.1, §6.3).
fn check_framing(status: StatusCode, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let (length, coding) = (lengths.next(), codings.next());
    if length.is_some() && coding.is_some() {
        return Err("it has both Content-Length and Transfer-Encoding");
    }
    if lengths.next().is_some() || codings.next().is_some() {
        return Err("it tells its length several times");
    }
    if length.is_some_and(|length| !length.as_bytes().iter().all(u8::is_ascii_digit)) {
        return Err("its Content-Length is no number");
    }
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err("its Transfer-Encoding is not chunked");
    }
    if status.is_informational() {
        return Err("it switches protocols");
    }
    // RFC 9110 §15: others are no statuses.
    if status.as_u16() >= 600 {
        return Err("its status is none");
    }
    Ok(())
}

/// What an error of hyper's means. Its text is not passed on.
fn failure(error: &hyper::Error) -> OutboundError {
    if error.is_parse() {
        return OutboundError::Malformed { what: "its head cannot be read" };
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>()
            && matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
        {
            return OutboundError::Malformed { what: "its framing cannot be read" };
        }
        cause = inner.source();
    }
    OutboundError::Reset
}
