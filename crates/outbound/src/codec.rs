//! The wire protocol behind a small face, so that another codec can take its place.

use crate::OutboundError;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};

/// The most memory that a connection's read buffer takes; a longer head is refused.
const MAX_BUFFER_BYTES: usize = 64 * 1_024;
/// The most headers of an answer.
const MAX_HEADERS: usize = 128;

/// A connection that carries one exchange at a time.
pub(crate) trait Codec: Sized {
    /// Takes over a connected stream.
    async fn begin<S>(stream: S) -> Result<Self, OutboundError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Whether another exchange can begin.
    fn is_idle(&self) -> bool;

    /// Sends a request and waits for the answer's head.
    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ExchangeError>;
}

/// Why there is no head.
#[derive(Debug)]
pub(crate) struct ExchangeError {
    pub(crate) error: OutboundError,
    /// Nothing of the request was sent.
    pub(crate) is_unsent: bool,
    /// The connection ended before a byte of the answer.
    pub(crate) is_unanswered: bool,
}

/// HTTP/1.1 by hyper.
#[derive(Debug)]
pub(crate) struct Http1(SendRequest<Full<Bytes>>);

impl Codec for Http1 {
    #[expect(clippy::disallowed_methods, reason = "the connection's own task, which ends with it")]
    async fn begin<S>(stream: S) -> Result<Self, OutboundError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
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
        Ok(Self(sender))
    }

    fn is_idle(&self) -> bool {
        self.0.is_ready() && !self.0.is_closed()
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let response = self.0.try_send_request(request).await.map_err(|mut error| {
            let is_unsent = error.take_message().is_some();
            let error = error.into_error();
            let is_unanswered = error.is_incomplete_message() || error.is_canceled();
            ExchangeError { error: failure(&error), is_unsent, is_unanswered }
        })?;
        check_framing(&response).map_err(|error| ExchangeError {
            error,
            is_unsent: false,
            is_unanswered: false,
        })?;
        Ok(response)
    }
}

/// Two ways to tell an answer's length are two answers (RFC 9112 §6.3).
fn check_framing(response: &Response<Incoming>) -> Result<(), OutboundError> {
    let malformed = |what| Err(OutboundError::Malformed { what });
    let headers = response.headers();
    let lengths: Vec<_> = headers.get_all(header::CONTENT_LENGTH).iter().collect();
    if lengths.len() > 1 {
        return malformed("it has several Content-Length headers");
    }
    if !lengths.is_empty() && headers.contains_key(header::TRANSFER_ENCODING) {
        return malformed("it has both Content-Length and Transfer-Encoding");
    }
    if response.status().is_informational() {
        return malformed("it switches protocols");
    }
    Ok(())
}

pub(crate) fn failure(error: &hyper::Error) -> OutboundError {
    if error.is_parse() {
        return OutboundError::Malformed { what: "its head or framing cannot be read" };
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>()
            && matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
        {
            return OutboundError::Malformed { what: "its chunks cannot be read" };
        }
        cause = inner.source();
    }
    OutboundError::Reset
}
