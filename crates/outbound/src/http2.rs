//! HTTP/2 by the library that hyper's own client stands on. Used without hyper it tells what a stream
//! was reset with, needs no task for each call, and lets what is left of a request be taken back.

use crate::{
    OutboundError,
    codec::{Codec, CodecBody, ExchangeError, MAX_HEAD_BYTES, MAX_HEADERS, check_framing},
    frames::{Meter, Metered},
};
use bytes::Bytes;
use h2::{
    Ping, Reason, RecvStream, SendStream,
    client::{Builder, Connection, SendRequest},
};
use http::{
    HeaderValue, Request, Response, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::{BodyExt, Full};
use std::{
    fmt,
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// Calls at once on one connection, if the provider does not take fewer.
const MAX_CALLS: usize = 64;
/// What may lie unread of one answer. All together have room for that, so that none waits for
/// another's caller.
const STREAM_WINDOW_BYTES: u32 = 256 * 1_024;
const CONNECTION_WINDOW_BYTES: u32 = 64 * STREAM_WINDOW_BYTES;
/// What unread answers may take beside their bytes, 256 a part: 16,000 small parts on a connection.
const PARTS_BYTES: usize = 4 << 20;
/// How often a connection is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A provider that is silent for so many looks while calls are under way is asked whether it is
/// there, and given up after as many more.
const SILENT_LOOKS: u32 = 10;

/// One of those who share a connection.
#[derive(Clone)]
pub(crate) struct Http2 {
    sender: SendRequest<Bytes>,
    meter: Arc<Meter>,
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2").field("calls", &self.meter.calls()).finish_non_exhaustive()
    }
}

impl Http2 {
    /// Takes over a connected stream, once the provider has told its settings. `idle_life` is how long
    /// the connection lasts without a call.
    #[expect(clippy::disallowed_methods, reason = "the connection's own task, which ends with it")]
    pub(crate) async fn begin<S>(stream: S, idle_life: Duration) -> Result<Self, OutboundError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let meter = Arc::new(Meter::default());
        let (sender, mut connection) = Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_max_send_streams(MAX_CALLS)
            .data_frame_budget(PARTS_BYTES)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
            .enable_push(false)
            .handshake(Metered::new(stream, Arc::clone(&meter)))
            .await
            .map_err(|error| failure(&error))?;
        // How many calls it takes at once is known before there are several, and no credential is sent
        // to what does not speak HTTP/2.
        tokio::select! {
            ended = &mut connection => {
                return Err(ended.err().map_or(OutboundError::Reset, |error| failure(&error)));
            }
            () = meter.settled() => {}
        }
        drop(tokio::task::spawn(drive(connection, Arc::clone(&meter), idle_life)));
        Ok(Self { sender, meter })
    }

    pub(crate) fn begin_call(&self) {
        self.meter.begin_call();
    }

    pub(crate) fn end_call(&self) {
        self.meter.end_call();
    }

    /// Under way.
    pub(crate) fn calls(&self) -> usize {
        self.meter.calls()
    }

    /// Whether one more call may share it.
    pub(crate) fn has_place(&self) -> bool {
        self.calls() < MAX_CALLS.min(self.sender.current_max_send_streams())
    }
}

/// Moves the frames of a connection until it ends: by the provider, because nobody can call over it
/// any more, or because nobody did for long.
async fn drive<S>(mut connection: Connection<Metered<S>, Bytes>, meter: Arc<Meter>, idle: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pings = connection.ping_pong();
    let mut is_asked = false;
    let (mut silent, mut frames) = (0, 0);
    let (mut without_call, mut looks) = (Duration::ZERO, tokio::time::interval(LOOK_EVERY));
    loop {
        // All are cancel-safe: the connection is polled again.
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    // The exchanges that were under way say more.
                    tracing::debug!(%error, "a provider's connection ended early");
                }
                return;
            }
            _ = poll_fn(|cx| pings.as_mut().map_or(Poll::Pending, |it| it.poll_pong(cx))), if is_asked => {
                is_asked = false;
            }
            _ = looks.tick() => {
                silent = if meter.frames() == frames && meter.calls() > 0 { silent + 1 } else { 0 };
                frames = meter.frames();
                without_call = if meter.calls() > 0 { Duration::ZERO } else { without_call + LOOK_EVERY };
                if silent >= 2 * SILENT_LOOKS {
                    tracing::debug!("a provider's connection is dead");
                    return;
                }
                if silent >= SILENT_LOOKS && !is_asked {
                    is_asked = pings.as_mut().is_some_and(|it| it.send_ping(Ping::opaque()).is_ok());
                }
                if without_call > idle {
                    return;
                }
            }
        }
    }
}

impl Codec for Http2 {
    type Body = Http2Body;

    fn is_ready(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.sender.clone().poll_ready(&mut cx), Poll::Ready(Ok(())))
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Http2Body>, ExchangeError> {
        let (head, content) = split(request).await.map_err(ExchangeError::Failed)?;
        let ready = poll_fn(|cx| self.sender.poll_ready(cx)).await;
        ready.map_err(|error| ExchangeError::Undone(failure(&error)))?;
        let (answer, mut sending) = self
            .sender
            .send_request(head, content.is_empty())
            .map_err(|error| unanswered(&error))?;
        let sending = (!content.is_empty()).then(|| {
            // As far as windows allow; a stream that was reset meanwhile says so in its answer.
            let _ = sending.send_data(content, true);
            sending
        });
        // What was not sent when this is dropped is taken back.
        let mut body = Http2Body { sending, content: None, left: None };
        let answer = answer.await.map_err(|error| unanswered(&error))?;
        let malformed = |what| ExchangeError::Failed(OutboundError::Malformed { what });
        if answer.headers().len() > MAX_HEADERS {
            return Err(malformed("it has too many headers"));
        }
        check_framing(answer.status(), answer.headers()).map_err(malformed)?;
        let length = answer.headers().get(header::CONTENT_LENGTH);
        body.left = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Ok(answer.map(|content| {
            body.content = Some(content);
            body
        }))
    }
}

/// The head as HTTP/2 has it: with the whole URL, and without Host (RFC 9113 §8.3.1).
async fn split(request: Request<Full<Bytes>>) -> Result<(Request<()>, Bytes), OutboundError> {
    let unsendable = |what| OutboundError::Unsendable { what };
    let (mut head, content) = request.into_parts();
    // Whole, and at once.
    let content = content.collect().await.map(http_body_util::Collected::to_bytes);
    let content = content.unwrap_or_else(|never| match never {});
    let host = head.headers.remove(header::HOST);
    let host = host.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let authority = Authority::try_from(host).map_err(|_| unsendable("its host"))?;
    let path = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    head.uri = Uri::builder()
        .scheme(Scheme::HTTPS)
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|_| unsendable("its target is no path"))?;
    head.version = Version::HTTP_2;
    if !content.is_empty() {
        head.headers.insert(header::CONTENT_LENGTH, content.len().into());
    }
    Ok((Request::from_parts(head, ()), content))
}

#[derive(Debug)]
pub(crate) struct Http2Body {
    /// The request, where it has content: the provider may have answered before it took all of that.
    sending: Option<SendStream<Bytes>>,
    /// `None` before the head has come.
    content: Option<RecvStream>,
    /// What is missing of a length that was told.
    left: Option<u64>,
}

impl Http2Body {
    /// An answer that was whole by its own length may be followed by a reset that only refuses the
    /// rest of the request (RFC 9113 §8.1).
    fn cut(&self, error: &h2::Error) -> Result<Option<Bytes>, OutboundError> {
        let is_polite = error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
        if is_polite && self.left == Some(0) { Ok(None) } else { Err(failure(error)) }
    }
}

impl CodecBody for Http2Body {
    async fn next(&mut self) -> Result<Option<Bytes>, OutboundError> {
        let Some(content) = &mut self.content else { return Ok(None) };
        match content.data().await {
            Some(Ok(data)) => {
                // It fails where the stream has ended, and then there is no window to open.
                let _ = content.flow_control().release_capacity(data.len());
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                Ok(Some(data))
            }
            Some(Err(error)) => self.cut(&error),
            // Trailers are dropped, but only with them an answer has come to its end.
            None => match content.trailers().await {
                Ok(_) => Ok(None),
                Err(error) => self.cut(&error),
            },
        }
    }

    fn is_ended(&self) -> bool {
        self.content.as_ref().is_none_or(RecvStream::is_end_stream)
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        // Without effect where all was sent. Otherwise it would wait for a window that may never open.
        if let Some(sending) = &mut self.sending {
            sending.send_reset(Reason::CANCEL);
        }
    }
}

/// Why there is no head, and whether the request may have been looked at.
fn unanswered(error: &h2::Error) -> ExchangeError {
    let meant = failure(error);
    // A GOAWAY is told to those streams alone that it says were not looked at.
    let is_refused = error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_remote() && is_refused {
        ExchangeError::Undone(meant)
    } else if error.is_io() && meant == OutboundError::Reset {
        ExchangeError::Unanswered(meant)
    } else {
        ExchangeError::Failed(meant)
    }
}

/// What an error of the library's means. Its text is not passed on.
fn failure(error: &h2::Error) -> OutboundError {
    let is_invalid = error.get_io().is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
    });
    if is_invalid || error.is_library() {
        return OutboundError::Malformed { what: "its framing cannot be read" };
    }
    OutboundError::Reset
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        time::Instant,
    };

    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

    /// A connection whose peer has told its settings.
    async fn begun(idle: u64) -> (Http2, DuplexStream) {
        let (ours, mut theirs) = duplex(1 << 20);
        theirs.write_all(&SETTINGS).await.unwrap();
        let connection = Http2::begin(ours, Duration::from_secs(idle)).await.unwrap();
        (connection, theirs)
    }

    /// The kinds of frames that come until the connection ends, and when it does.
    async fn read_to_the_end(stream: &mut DuplexStream, answers_pings: bool) -> (Vec<u8>, u64) {
        let begun = Instant::now();
        stream.read_exact(&mut [0; 24]).await.unwrap();
        let mut kinds = Vec::new();
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            stream.read_exact(&mut payload).await.unwrap();
            kinds.push(head[3]);
            if head[3] == 6 && answers_pings && begun.elapsed() < Duration::from_mins(2) {
                head[4] = 1;
                stream.write_all(&[&head[..], &payload].concat()).await.unwrap();
            }
        }
        (kinds, begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_is_silent_is_asked_and_given_up() {
        for (answers, pings, least) in [(false, 1, 18), (true, 10, 120)] {
            let (connection, mut theirs) = begun(30).await;
            connection.begin_call();
            let (kinds, seconds) = read_to_the_end(&mut theirs, answers).await;
            let asked = kinds.iter().filter(|kind| **kind == 6).count();
            assert!(asked >= pings && (pings > 1 || asked == 1), "{kinds:?}");
            assert!((least..least + 25).contains(&seconds), "{seconds} s, {asked} pings");
            assert!(!connection.is_ready());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_calls_ends() {
        let (connection, mut theirs) = begun(30).await;
        let (kinds, seconds) = read_to_the_end(&mut theirs, false).await;
        assert!((29..33).contains(&seconds), "{seconds}");
        assert!(!kinds.contains(&6) && !connection.is_ready());
        // Or when nobody can call over it any more.
        let (connection, mut theirs) = begun(30).await;
        drop(connection);
        let (kinds, seconds) = read_to_the_end(&mut theirs, false).await;
        assert!(seconds <= 2 && kinds.last() == Some(&7), "{seconds} {kinds:?}");
    }
}
