//! Answers of the HR system, the broken ones among them.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

pub(crate) type Answer = Response<Either<Full<Bytes>, SlowBody>>;

/// Pause before each byte of `GET /reports/slow`.
pub(crate) const SLOW_PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn with_body(status: StatusCode, media: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    answer
}

pub(crate) fn json(status: StatusCode, body: &Value) -> Answer {
    with_body(status, "application/json", Bytes::from(body.to_string()))
}

/// `Error` as declared.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    json(status, &json!({ "code": code, "message": message }))
}

/// The careless error of `GET /reports/headcount`: a number that identifies a person, the
/// credential as the request had it, and a member that nobody declared.
pub(crate) fn careless_error(social_security_number: &str, credential_header: &str) -> Answer {
    let message = format!(
        "report worker failed at employee with ssn {social_security_number}: \
         the database refused the forwarded header `{credential_header}`"
    );
    json(
        StatusCode::SERVICE_UNAVAILABLE,
        &json!({
            "code": "report_failed",
            "message": message,
            "debug": { "ssn": social_security_number, "header": credential_header },
        }),
    )
}

/// A web page where JSON was declared.
pub(crate) fn html() -> Answer {
    with_body(
        StatusCode::OK,
        "text/html; charset=utf-8",
        Bytes::from_static(b"<!doctype html><title>Maintenance</title><p>We will be back soon."),
    )
}

/// The first half of `body`, as a complete HTTP message.
pub(crate) fn truncated(body: &Value) -> Answer {
    let text = Bytes::from(body.to_string());
    with_body(StatusCode::OK, "application/json", text.slice(..text.len() / 2))
}

/// `body`, one byte at a time.
pub(crate) fn slow(body: &Value) -> Answer {
    json(StatusCode::OK, &Value::Null).map(|_| {
        Either::Right(SlowBody {
            rest: Bytes::from(body.to_string()),
            pause: Box::pin(tokio::time::sleep(SLOW_PAUSE)),
        })
    })
}

/// A body that arrives byte by byte, with [`SLOW_PAUSE`] before each.
#[derive(Debug)]
pub(crate) struct SlowBody {
    rest: Bytes,
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl Body for SlowBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if self.pause.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.pause.set(tokio::time::sleep(SLOW_PAUSE));
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(1)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
