//! HTTP/1.1 by hyper.

use crate::{
    OutboundError,
    codec::{Codec, CodecBody, ExchangeError, MAX_HEAD_BYTES, MAX_HEADERS, check_framing},
    traffic::{Counted, Traffic},
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use std::{io, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection that carries one exchange at a time.
#[derive(Debug)]
pub(crate) struct Http1 {
    sender: SendRequest<Full<Bytes>>,
    traffic: Arc<Traffic>,
}

impl Http1 {
    /// Takes over a connected stream.
    #[expect(clippy::disallowed_methods, reason = "the connection's own task, which ends with it")]
    pub(crate) async fn begin<S>(stream: S) -> Result<Self, OutboundError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stream, traffic) = Counted::new(stream);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
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
}

impl Codec for Http1 {
    type Body = Http1Body;

    fn is_ready(&self) -> bool {
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
