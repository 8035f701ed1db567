//! What a provider's HTTP/2 connection may cost. The library bounds what it stores; it does not bound
//! frames that it answers or ignores one by one: pings, settings, resets, interim answers, empty
//! data. Here each has a price, and calls pay it: a provider that goes on without them is cut off.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

/// What a connection may spend before there was a call.
const FIRST_CREDIT: u64 = 4_000;
/// What it may have saved up at most.
const MOST_CREDIT: u64 = 8_000;
/// Earned by a call that begins: the longest head, and what else belongs to an honest answer.
const PER_CALL: u64 = 100;
/// Bytes, written or received as data of a call, that earn one; and those of any other frame that
/// cost one more.
const BYTES_PER_CREDIT: u64 = 1_024;
/// As many bytes of a frame may be padding, which flow control gives back unseen.
const MAX_PADDING_BYTES: u32 = 256;

/// Frames that are taken before those whom they are for have a turn: what they have not read yet
/// lies in memory, each part with more than its bytes.
const MAX_BURST: u64 = 256;

const HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

/// What a connection has done and may still spend; shared by those who read and those who call.
#[derive(Debug)]
pub(crate) struct Meter {
    credit: AtomicU64,
    /// Under way.
    calls: AtomicUsize,
    /// That have come.
    frames: AtomicU64,
    first: Notify,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            credit: AtomicU64::new(FIRST_CREDIT),
            calls: AtomicUsize::new(0),
            frames: AtomicU64::new(0),
            first: Notify::new(),
        }
    }
}

impl Meter {
    pub(crate) fn begin_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.earn(PER_CALL);
    }

    pub(crate) fn end_call(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Until the provider has said how it speaks HTTP/2 (RFC 9113 §3.4).
    pub(crate) async fn settled(&self) {
        self.first.notified().await;
    }

    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    // One core reads, writes and calls: nothing comes between.
    fn earn(&self, credit: u64) {
        let saved = self.credit.load(Ordering::Relaxed).saturating_add(credit);
        self.credit.store(saved.min(MOST_CREDIT), Ordering::Relaxed);
    }

    fn spend(&self, price: u64) -> Result<(), Refusal> {
        let left = self.credit.load(Ordering::Relaxed).checked_sub(price).ok_or(Refusal::Flood)?;
        self.credit.store(left, Ordering::Relaxed);
        Ok(())
    }
}

/// Why a connection may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// There is more than calls pay for.
    Flood,
    /// It does not begin with settings.
    NoPreface,
}

impl Refusal {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Flood => "more frames than calls pay for",
            Self::NoPreface => "no settings before other frames",
        }
    }
}

/// Follows the frames of one connection, without I/O.
#[derive(Debug)]
struct Frames {
    meter: Arc<Meter>,
    /// Of a frame's header, as much as has come.
    header: [u8; HEADER_BYTES],
    filled: usize,
    /// Of the frame whose header has come.
    left: usize,
}

/// The price of a frame (RFC 9113 §6), by what it makes us do.
fn price(kind: u8, flags: u8, length: u32, has_calls: bool) -> u64 {
    let (is_end, is_padded) = (flags & 1 != 0, flags & 8 != 0);
    let by_size = 1 + u64::from(length) / BYTES_PER_CREDIT;
    match kind {
        // Flow control and the bounds of an answer hold the rest.
        DATA if has_calls => {
            u64::from((length == 0 && !is_end) || (is_padded && length <= MAX_PADDING_BYTES))
        }
        RST_STREAM => 4,
        CONTINUATION => 3 + by_size,
        _ => by_size,
    }
}

impl Frames {
    fn new(meter: Arc<Meter>) -> Self {
        Self { meter, header: [0; HEADER_BYTES], filled: 0, left: 0 }
    }

    /// Takes note of what has come; nothing of it counts after a refusal.
    fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let count = self.left.min(bytes.len());
                self.left -= count;
                bytes = bytes.get(count..).unwrap_or_default();
                continue;
            }
            let Some((first, rest)) = bytes.split_first() else { break };
            if let Some(place) = self.header.get_mut(self.filled) {
                *place = *first;
            }
            self.filled += 1;
            bytes = rest;
            if self.filled < HEADER_BYTES {
                continue;
            }
            self.filled = 0;
            let [high, middle, low, kind, flags, ..] = self.header;
            let length = u32::from_be_bytes([0, high, middle, low]);
            let has_calls = self.meter.calls() > 0;
            if self.meter.frames.fetch_add(1, Ordering::Relaxed) == 0 {
                // Its own, not an answer to ours.
                if kind != SETTINGS || flags & 1 != 0 {
                    return Err(Refusal::NoPreface);
                }
                self.meter.first.notify_one();
            }
            self.meter.spend(price(kind, flags, length, has_calls))?;
            if kind == DATA && has_calls {
                self.meter.earn(u64::from(length) / BYTES_PER_CREDIT);
            }
            self.left = usize::try_from(length).unwrap_or(usize::MAX);
        }
        Ok(())
    }
}

/// A provider's connection whose frames are paid for. Reading fails at a flood, which ends it.
pub(crate) struct Metered<S> {
    stream: S,
    frames: Frames,
    /// Bytes that have not earned yet.
    written: u64,
    /// As many frames had come when others last had a turn.
    turn_at: u64,
    turn: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S: fmt::Debug> fmt::Debug for Metered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<S> Metered<S> {
    pub(crate) fn new(stream: S, meter: Arc<Meter>) -> Self {
        Self { stream, frames: Frames::new(meter), written: 0, turn_at: 0, turn: None }
    }

    /// Lets others run after a burst, those included whose tasks another scheduler keeps.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let frames = self.frames.meter.frames();
        if frames - self.turn_at >= MAX_BURST {
            let turn = self.turn.get_or_insert_with(|| Box::pin(tokio::task::yield_now()));
            ready!(turn.as_mut().poll(cx));
            self.turn = None;
            self.turn_at = frames;
        }
        Poll::Ready(())
    }

    fn wrote(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = polled {
            self.written += count as u64;
            self.frames.meter.earn(self.written / BYTES_PER_CREDIT);
            self.written %= BYTES_PER_CREDIT;
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_turn(cx));
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let new = buffer.filled().get(before..).unwrap_or_default();
        if let Err(refusal) = self.frames.follow(new) {
            buffer.set_filled(before);
            let refused = io::Error::new(io::ErrorKind::InvalidData, refusal.as_str());
            return Poll::Ready(Err(refused));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [_, size @ ..] = u32::try_from(length).unwrap().to_be_bytes();
        [&size[..], &[kind, flags, 0, 0, 0, 1], &vec![0; length]].concat()
    }

    /// After settings.
    fn begun(meter: Arc<Meter>) -> Frames {
        let mut frames = Frames::new(meter);
        frames.follow(&frame(SETTINGS, 0, 0)).unwrap();
        frames.meter.earn(1);
        frames
    }

    /// How many of such frames a connection may send, up to a bound.
    fn taken(calls: usize, frame: &[u8]) -> usize {
        let meter = Arc::new(Meter::default());
        (0..calls).for_each(|_| meter.begin_call());
        let mut frames = begun(meter);
        (0..100_000).take_while(|_| frames.follow(frame).is_ok()).count()
    }

    #[test]
    fn frames_without_work_are_few() {
        for kind in [2, 4, 6, 7, 8, 11, 200] {
            assert_eq!(taken(0, &frame(kind, 0, 8)), 4_000, "{kind}");
        }
        assert_eq!(taken(0, &frame(3, 0, 4)), 1_000);
        assert_eq!(taken(0, &frame(9, 0, 10)), 1_000);
        assert_eq!(taken(1, &frame(1, 4, 10)), 4_100, "interim answers");
        assert_eq!(taken(1, &frame(1, 4, 64 << 10)), 4_100 / 65, "large ones");
        assert_eq!(taken(1, &frame(0, 0, 0)), 4_100, "data without any");
        assert_eq!(taken(1, &frame(0, 8, 256)), 4_100, "and with padding alone");
    }

    #[test]
    fn data_belongs_to_calls() {
        assert_eq!(taken(1, &frame(0, 0, 1)), 100_000);
        assert_eq!(taken(1, &frame(0, 0, 16_384)), 100_000);
        assert_eq!(taken(0, &frame(0, 0, 1)), 4_000);
        assert_eq!(taken(0, &frame(0, 0, 16_384)), 4_000 / 17);
    }

    #[test]
    fn calls_and_bytes_pay() {
        let meter = Arc::new(Meter::default());
        let mut frames = begun(Arc::clone(&meter));
        for _ in 0..10_000 {
            meter.begin_call();
            for answer in [frame(1, 4, 2_000), frame(8, 0, 4), frame(0, 1, 10), frame(6, 0, 8)] {
                assert_eq!(frames.follow(&answer), Ok(()));
            }
            meter.end_call();
        }
        // As much as is saved up, and no more.
        meter.earn(u64::MAX);
        let ping = frame(6, 0, 8);
        assert_eq!((0..10_000).take_while(|_| frames.follow(&ping).is_ok()).count(), 8_000);
    }

    #[test]
    fn settings_come_first() {
        for (kind, flags) in [(0, 0), (1, 4), (3, 0), (4, 1), (6, 0), (7, 0), (8, 0), (72, 0)] {
            let mut frames = Frames::new(Arc::default());
            assert_eq!(frames.follow(&frame(kind, flags, 8)), Err(Refusal::NoPreface), "{kind}");
        }
    }

    #[test]
    fn it_does_not_matter_how_frames_are_cut() {
        let bytes = [frame(4, 0, 18), frame(6, 0, 8), frame(0, 0, 300)].concat();
        for size in 1..bytes.len() {
            let meter = Arc::new(Meter::default());
            meter.begin_call();
            let mut frames = Frames::new(Arc::clone(&meter));
            bytes.chunks(size).for_each(|part| frames.follow(part).unwrap());
            assert_eq!((meter.frames(), frames.left, frames.filled), (3, 0, 0), "{size}");
        }
    }
}
