//! An answer's body: decoded, bounded in time and size, in constant memory.

use crate::{OutboundError, codec::failure, pool::Return};
use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::{fmt, io::Write, time::Duration};
use tokio::time::{Instant, timeout};

/// Compressed bytes that are decoded at once: deflate makes at most 1032 bytes of one (zlib's
/// documentation), so no step takes more than about 4 MiB.
const STEP_BYTES: usize = 4 * 1_024;
/// More than this many times its size is no honest answer, once it is [`BOMB_BYTES`] long.
const BOMB_RATIO: u64 = 200;
const BOMB_BYTES: u64 = 1 << 20;

/// The body of a provider's answer.
pub struct UpstreamBody {
    incoming: Incoming,
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
    /// Compressed bytes that are not decoded yet.
    waiting: Bytes,
    back: Option<Return>,
    idle: Duration,
    /// The moment, and the span that it was set from.
    deadline: (Instant, Duration),
    limit: u64,
    bytes_in: u64,
    bytes_out: u64,
    is_ended: bool,
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBody").field("bytes_out", &self.bytes_out).finish_non_exhaustive()
    }
}

impl UpstreamBody {
    pub(crate) fn new(
        incoming: Incoming,
        headers: &HeaderMap,
        back: Return,
        idle: Duration,
        deadline: (Instant, Duration),
        limit: u64,
    ) -> Result<Self, OutboundError> {
        Ok(Self {
            incoming,
            decoder: decoder(headers)?,
            waiting: Bytes::new(),
            back: Some(back),
            idle,
            deadline,
            limit,
            bytes_in: 0,
            bytes_out: 0,
            is_ended: false,
        })
    }

    /// The next decoded bytes, never empty; `None` at the end, which is only there when the answer
    /// was whole by its own framing and checksum.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, OutboundError> {
        loop {
            if let Some(decoded) = self.decode_waiting()? {
                return Ok(Some(decoded));
            }
            if self.is_ended {
                return Ok(None);
            }
            match self.next_data().await? {
                Some(data) if self.decoder.is_none() => {
                    self.count_out(data.len())?;
                    if !data.is_empty() {
                        return Ok(Some(data));
                    }
                }
                Some(data) => self.waiting = data,
                None => {
                    self.is_ended = true;
                    let rest = self.finish_decoder()?;
                    if let Some(back) = self.back.take() {
                        back.give_back();
                    }
                    if let Some(rest) = rest {
                        return Ok(Some(rest));
                    }
                }
            }
        }
    }

    async fn next_data(&mut self) -> Result<Option<Bytes>, OutboundError> {
        loop {
            let left = self.deadline.0.saturating_duration_since(Instant::now());
            let patience = self.idle.min(left);
            let frame = match timeout(patience, self.incoming.frame()).await {
                Ok(frame) => frame,
                Err(_) if patience < self.idle => {
                    let millis = self.deadline.1.as_millis();
                    return Err(OutboundError::TotalTimeout { millis });
                }
                Err(_) => {
                    return Err(OutboundError::BodyTimeout { millis: self.idle.as_millis() });
                }
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(failure(&error)),
                // Trailers are dropped.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.bytes_in += data.len() as u64;
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Decodes a step of what waits; `None` when nothing waits.
    fn decode_waiting(&mut self) -> Result<Option<Bytes>, OutboundError> {
        while !self.waiting.is_empty() {
            let Some(decoder) = self.decoder.as_mut() else { return Ok(None) };
            let step = self.waiting.len().min(STEP_BYTES);
            let part = self.waiting.get(..step).unwrap_or_default();
            decoder.write_all(part).map_err(|_| damaged())?;
            self.waiting.advance(step);
            let decoded = std::mem::take(decoder.get_mut());
            self.count_out(decoded.len())?;
            if !decoded.is_empty() {
                return Ok(Some(Bytes::from(decoded)));
            }
        }
        Ok(None)
    }

    fn finish_decoder(&mut self) -> Result<Option<Bytes>, OutboundError> {
        let Some(mut decoder) = self.decoder.take() else { return Ok(None) };
        // An answer without content has no coding either.
        if self.bytes_in == 0 {
            return Ok(None);
        }
        decoder.try_finish().map_err(|_| damaged())?;
        let rest = std::mem::take(decoder.get_mut());
        self.count_out(rest.len())?;
        Ok((!rest.is_empty()).then(|| Bytes::from(rest)))
    }

    fn count_out(&mut self, bytes: usize) -> Result<(), OutboundError> {
        self.bytes_out += bytes as u64;
        if self.bytes_out > self.limit {
            return Err(OutboundError::TooLarge { limit: self.limit });
        }
        if self.bytes_out > BOMB_BYTES && self.bytes_out / BOMB_RATIO > self.bytes_in {
            return Err(OutboundError::Bomb { ratio: BOMB_RATIO });
        }
        Ok(())
    }
}

fn damaged() -> OutboundError {
    OutboundError::Malformed { what: "its compressed content is damaged" }
}

/// gzip, which is what was asked for, or nothing.
fn decoder(headers: &HeaderMap) -> Result<Option<MultiGzDecoder<Vec<u8>>>, OutboundError> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(first) = codings.next() else { return Ok(None) };
    if codings.next().is_some() {
        return Err(OutboundError::Encoding);
    }
    match first.to_str().map(|text| text.trim().to_ascii_lowercase()).as_deref() {
        Ok("" | "identity") => Ok(None),
        Ok("gzip" | "x-gzip") => Ok(Some(MultiGzDecoder::new(Vec::new()))),
        _ => Err(OutboundError::Encoding),
    }
}
