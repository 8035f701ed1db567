//! The wire protocols behind a small face, so that another codec can take the place of one.

use crate::{
    OutboundError,
    http1::{Http1, Http1Body},
    http2::{Http2, Http2Body},
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Full;

/// The longest head of an answer; for HTTP/1.1 the most memory that a connection's read buffer takes.
pub(crate) const MAX_HEAD_BYTES: usize = 64 * 1_024;
/// The most headers of an answer.
pub(crate) const MAX_HEADERS: usize = 128;

/// A connection that carries exchanges.
pub(crate) trait Codec {
    type Body: CodecBody;

    /// Whether another exchange can begin.
    fn is_ready(&self) -> bool;

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

/// A new connection, by the protocol that was agreed on.
#[derive(Debug)]
pub(crate) enum Connected {
    Http1(Http1),
    Http2(Http2),
}

/// The content of an answer over either protocol.
#[derive(Debug)]
pub(crate) enum WireBody {
    Http1(Http1Body),
    Http2(Http2Body),
}

impl CodecBody for WireBody {
    async fn next(&mut self) -> Result<Option<Bytes>, OutboundError> {
        match self {
            Self::Http1(body) => body.next().await,
            Self::Http2(body) => body.next().await,
        }
    }

    fn is_ended(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_ended(),
            Self::Http2(body) => body.is_ended(),
        }
    }
}

/// Why there is no head.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// Nothing was sent: here is the request again.
    Unsent {
        request: Box<Request<Full<Bytes>>>,
        error: OutboundError,
    },
    /// The provider has not looked at it: nothing was sent, or it says so (RFC 9113 §8.7).
    Undone(OutboundError),
    /// The connection ended before a byte of an answer.
    Unanswered(OutboundError),
    Failed(OutboundError),
}

impl From<ExchangeError> for OutboundError {
    fn from(failed: ExchangeError) -> Self {
        match failed {
            ExchangeError::Unsent { error, .. }
            | ExchangeError::Undone(error)
            | ExchangeError::Unanswered(error)
            | ExchangeError::Failed(error) => error,
        }
    }
}

/// Two ways to tell an answer's length are two answers, and a transfer coding that is not undone
/// hides its content (RFC 9112 §6.1, §6.3).
pub(crate) fn check_framing(status: StatusCode, headers: &HeaderMap) -> Result<(), &'static str> {
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
