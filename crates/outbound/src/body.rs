//! An answer's body: decoded, bounded in time and size, in constant memory.

use crate::{
    OutboundError,
    codec::{CodecBody, WireBody},
    coding::{Damaged, Decoder, STEP_BYTES, Step},
    pool::Return,
    windows::Window,
};
use bytes::Bytes;
use http::{HeaderMap, header};
use std::{fmt, rc::Rc, time::Duration};
use tokio::time::{Instant, timeout};

/// More than this many times its size is no honest answer, once it is [`BOMB_BYTES`] long.
const BOMB_RATIO: u64 = 200;
const BOMB_BYTES: u64 = 1 << 20;

/// How long and how large a body may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// The longest silence.
    pub(crate) idle: Duration,
    /// From `begun` to the end.
    pub(crate) total: Duration,
    pub(crate) begun: Instant,
    /// As it comes, and decoded.
    pub(crate) bytes: u64,
}

/// The body of a provider's answer.
pub struct UpstreamBody {
    wire: WireBody,
    decoder: Option<Decoder>,
    /// The decoder's.
    window: Rc<Window>,
    /// Content without a coding that has arrived and was not handed out yet.
    waiting: Bytes,
    back: Option<Return>,
    bounds: Bounds,
    bytes_in: u64,
    bytes_out: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Flowing,
    /// Handed out whole.
    Ended,
    /// An error was told, and is told again: what comes after one is no content.
    Failed,
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBody").field("bytes_out", &self.bytes_out).finish_non_exhaustive()
    }
}

impl UpstreamBody {
    pub(crate) fn new(
        wire: WireBody,
        headers: &HeaderMap,
        back: Return,
        bounds: Bounds,
        window: Window,
    ) -> Result<Self, OutboundError> {
        let window = Rc::new(window);
        let decoder = decoder(headers, &window)?;
        let mut body = Self {
            wire,
            decoder,
            window,
            waiting: Bytes::new(),
            back: Some(back),
            bounds,
            bytes_in: 0,
            bytes_out: 0,
            state: State::Flowing,
        };
        if body.wire.is_ended() {
            // An answer without content has no coding either.
            body.end();
        }
        Ok(body)
    }

    /// The next decoded bytes, between 1 and 64 KiB of them; `None` at the end, which is only there
    /// when the answer was whole by its own framing and checksum.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, OutboundError> {
        let next = self.advance().await;
        if next.is_err() {
            // Nobody uses the connection again.
            self.back = None;
            self.decoder = None;
            self.window.release();
            self.state = State::Failed;
        }
        next
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, OutboundError> {
        loop {
            match self.state {
                State::Ended => return Ok(None),
                State::Failed => {
                    return Err(OutboundError::Malformed { what: "it was given up already" });
                }
                State::Flowing => {}
            }
            if !self.waiting.is_empty() {
                let length = self.waiting.len().min(STEP_BYTES);
                let part = self.waiting.split_to(length);
                return self.count_out(part).map(Some);
            }
            match self.decoder.as_mut().map(Decoder::step).transpose() {
                Err(Damaged) if self.window.was_refused() => return Err(OutboundError::NoWindow),
                Err(Damaged) => {
                    return Err(OutboundError::Malformed {
                        what: "its compressed content is damaged",
                    });
                }
                Ok(Some(Step::Data(data))) => return self.count_out(data).map(Some),
                Ok(Some(Step::Ended)) => {
                    self.end();
                    continue;
                }
                Ok(Some(Step::Hungry) | None) => {}
            }
            match self.next_data().await? {
                Some(data) if data.is_empty() => {}
                Some(data) => {
                    self.bytes_in += data.len() as u64;
                    // Members that decode to nothing are no shorter for it.
                    if self.bytes_in > self.bounds.bytes {
                        return Err(OutboundError::TooLarge { limit: self.bounds.bytes });
                    }
                    match &mut self.decoder {
                        Some(decoder) => decoder.feed(data),
                        None => self.waiting = data,
                    }
                }
                None => match &mut self.decoder {
                    Some(decoder) if self.bytes_in > 0 => decoder.end(),
                    _ => self.end(),
                },
            }
        }
    }

    async fn next_data(&mut self) -> Result<Option<Bytes>, OutboundError> {
        let Bounds { idle, total, begun, .. } = self.bounds;
        let left = (begun + total).saturating_duration_since(Instant::now());
        let late = OutboundError::TotalTimeout { millis: total.as_millis() };
        // A provider that is faster than we read is never waited for, and must end all the same.
        if left.is_zero() {
            return Err(late);
        }
        match timeout(idle.min(left), self.wire.next()).await {
            Ok(next) => next,
            Err(_) if left < idle => Err(late),
            Err(_) => Err(OutboundError::BodyTimeout { millis: idle.as_millis() }),
        }
    }

    /// The whole was taken: the connection is free.
    fn end(&mut self) {
        self.state = State::Ended;
        self.decoder = None;
        self.window.release();
        if let Some(back) = self.back.take() {
            back.give_back();
        }
    }

    fn count_out(&mut self, data: Bytes) -> Result<Bytes, OutboundError> {
        self.bytes_out += data.len() as u64;
        if self.bytes_out > self.bounds.bytes {
            return Err(OutboundError::TooLarge { limit: self.bounds.bytes });
        }
        let used = self.decoder.as_ref().map_or(self.bytes_in, Decoder::consumed);
        if self.bytes_out > BOMB_BYTES && self.bytes_out / BOMB_RATIO > used {
            return Err(OutboundError::Bomb { ratio: BOMB_RATIO });
        }
        Ok(data)
    }
}

/// For one of the codings that were asked for; none for content as it is.
fn decoder(headers: &HeaderMap, window: &Rc<Window>) -> Result<Option<Decoder>, OutboundError> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(first) = codings.next() else { return Ok(None) };
    if codings.next().is_some() {
        return Err(OutboundError::Encoding);
    }
    match first.to_str().map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        Ok("" | "identity") => Ok(None),
        Ok(name) => Decoder::of(name, window).map(Some).ok_or(OutboundError::Encoding),
        Err(_) => Err(OutboundError::Encoding),
    }
}
