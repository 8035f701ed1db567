//! What a caller's HTTP/2 connection may cost. The library bounds what it stores; it does not bound
//! frames that are answered or ignored one by one: pings, settings, resets of calls that were begun
//! (rapid reset), empty data. Here each has a price, and work that was done pays it.
//!
//! [`Frames`] does no I/O: it is shown what has arrived and tells how much of it may pass on.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection may spend before it has done any work.
const FIRST_CREDIT: u64 = 4_000;
/// What it may have saved up at most.
const MOST_CREDIT: u64 = 8_000;
/// Earned by an answer that ended. Less than what beginning and resetting a call costs.
const PER_ANSWER: u64 = 4;
/// Bytes, written or received as data, that earn one.
const BYTES_PER_CREDIT: u64 = 1_024;
/// Data of fewer bytes, unless it ends a body, costs more than it earns.
const SMALL_DATA_BYTES: u32 = 256;

const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;
/// SETTINGS on a stream: a connection error (RFC 9113 §6.5), which the library answers by GOAWAY.
const POISON: &[u8; HEADER_BYTES] = &[0, 0, 0, 4, 0, 0, 0, 0, 1];
/// Input after a flood that is read and dropped, so that closing does not reset the connection before
/// the GOAWAY was read.
const MAX_DROPPED_BYTES: usize = 256 * 1_024;

/// What a connection may still spend; shared with those who serve it.
#[derive(Debug, Clone)]
pub(crate) struct Credit(Rc<Cell<u64>>);

impl Default for Credit {
    fn default() -> Self {
        Self(Rc::new(Cell::new(FIRST_CREDIT)))
    }
}

impl Credit {
    pub(crate) fn answered(&self) {
        self.earn(PER_ANSWER);
    }

    fn earn(&self, credit: u64) {
        self.0.set(self.0.get().saturating_add(credit).min(MOST_CREDIT));
    }

    fn spend(&self, price: u64) -> Result<(), Flood> {
        self.0.set(self.0.get().checked_sub(price).ok_or(Flood)?);
        Ok(())
    }
}

/// There is more than work pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flood;

/// Follows the frames of one connection.
#[derive(Debug)]
pub(crate) struct Frames {
    credit: Credit,
    /// Of the preface, or of the frame whose header has passed.
    left: usize,
}

/// The price of a frame (RFC 9113 §6), by what it makes us do.
fn price(kind: u8, flags: u8, length: u32) -> u64 {
    let is_end = flags & 1 != 0;
    match kind {
        // DATA
        0 if length == 0 && !is_end => 4,
        0 if length < SMALL_DATA_BYTES && !is_end => 1,
        0 => 0,
        // RST_STREAM
        3 => 8,
        // CONTINUATION
        9 => 4,
        _ => 1,
    }
}

impl Frames {
    pub(crate) fn new(credit: Credit) -> Self {
        Self { credit, left: PREFACE_BYTES }
    }

    /// How many of the bytes that have not passed may pass now; 0 if that cannot be told before more
    /// have come. Whoever asks takes as many away before asking again.
    pub(crate) fn passable(&mut self, bytes: &[u8]) -> Result<usize, Flood> {
        let mut passed = 0;
        loop {
            let rest = bytes.get(passed..).unwrap_or_default();
            if self.left > 0 && !rest.is_empty() {
                let count = self.left.min(rest.len());
                self.left -= count;
                passed += count;
                continue;
            }
            let Some([high, middle, low, kind, flags, ..]) = rest.first_chunk::<HEADER_BYTES>()
            else {
                return Ok(passed);
            };
            let length = u32::from_be_bytes([0, *high, *middle, *low]);
            match self.credit.spend(price(*kind, *flags, length)) {
                Ok(()) => {}
                // What was paid for passes first; the flood is found again.
                Err(Flood) if passed > 0 => return Ok(passed),
                Err(Flood) => return Err(Flood),
            }
            if *kind == 0 {
                self.credit.earn(u64::from(length) / BYTES_PER_CREDIT);
            }
            self.left = usize::try_from(length).unwrap_or(usize::MAX);
            passed += HEADER_BYTES;
        }
    }
}

/// A caller's connection as the server reads it. In place of a frame that is not paid for it reads
/// one of our own that is an error, and nothing after it.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    stream: S,
    frames: Frames,
    /// What has arrived and may not pass yet, or may and has not: the first `passable` bytes.
    held: Vec<u8>,
    passed: usize,
    passable: usize,
    is_flooded: bool,
    written: u64,
}

impl<S> Metered<S> {
    pub(crate) fn new(stream: S, credit: Credit) -> Self {
        Self {
            stream,
            frames: Frames::new(credit),
            held: Vec::new(),
            passed: 0,
            passable: 0,
            is_flooded: false,
            written: 0,
        }
    }

    fn hand_out(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let ready = self.held.get(self.passed..self.passable).unwrap_or_default();
        let count = ready.len().min(buffer.remaining());
        buffer.put_slice(ready.get(..count).unwrap_or_default());
        self.passed += count;
        if self.passed == self.passable {
            self.held.drain(..self.passed);
            self.passed = 0;
            self.passable = 0;
        }
        count > 0
    }

    /// Judges what is held, after all that might pass has; whether there is something to hand out.
    fn judge(&mut self) -> bool {
        self.passable = self.frames.passable(&self.held).unwrap_or_else(|Flood| {
            self.is_flooded = true;
            self.held.clear();
            self.held.extend_from_slice(POISON);
            POISON.len()
        });
        self.passable > 0
    }

    fn earn(&mut self, written: usize) {
        self.written += written as u64;
        self.frames.credit.earn(self.written / BYTES_PER_CREDIT);
        self.written %= BYTES_PER_CREDIT;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.hand_out(buffer) {
                return Poll::Ready(Ok(()));
            }
            if this.is_flooded {
                let mut scratch = [0; 4_096];
                for _ in 0..MAX_DROPPED_BYTES / scratch.len() {
                    let mut dropped = ReadBuf::new(&mut scratch);
                    match Pin::new(&mut this.stream).poll_read(cx, &mut dropped) {
                        Poll::Ready(Ok(())) if !dropped.filled().is_empty() => {}
                        _ => break,
                    }
                }
                return Poll::Pending;
            }
            if this.judge() {
                continue;
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            let come = buffer.filled().get(before..).unwrap_or_default();
            if come.is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.held.extend_from_slice(come);
            buffer.set_filled(before);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.earn(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        self.earn(written);
        Poll::Ready(Ok(written))
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

    const PREFACE: &[u8; PREFACE_BYTES] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// How much passes before a flood, if there is one, fed in parts of a size.
    fn passed(bytes: &[u8], size: usize) -> (usize, bool) {
        let mut frames = Frames::new(Credit::default());
        let (mut held, mut all) = (Vec::new(), 0);
        for part in bytes.chunks(size) {
            held.extend_from_slice(part);
            loop {
                match frames.passable(&held) {
                    Ok(0) => break,
                    Ok(count) => {
                        held.drain(..count);
                        all += count;
                    }
                    Err(Flood) => return (all, true),
                }
            }
        }
        (all, false)
    }

    #[test]
    fn floods_end_where_they_are_not_paid_for_however_they_are_cut() {
        for (kind, flags, payload, most) in [
            (6, 0, &[0; 8][..], 4_000),  // PING
            (4, 0, &[][..], 4_000),      // SETTINGS
            (3, 0, &[0; 4][..], 500),    // RST_STREAM
            (9, 0, &[0; 3][..], 1_000),  // CONTINUATION
            (0, 0, &[][..], 1_000),      // empty DATA
            (0, 0, &[7; 1][..], 4_000),  // small DATA
            (2, 0, &[0; 5][..], 4_000),  // PRIORITY
            (77, 0, &[0; 5][..], 4_000), // unknown
        ] {
            let one = frame(kind, flags, payload);
            let bytes = [&PREFACE[..], &one.repeat(5_000)].concat();
            let wanted = (PREFACE_BYTES + most * one.len(), true);
            for size in [1, 8, 1_000, bytes.len()] {
                assert_eq!(passed(&bytes, size), wanted, "{kind} by {size}");
            }
        }
    }

    /// The frame that is not paid for is answered when it has come, not when more comes.
    #[tokio::test(start_paused = true)]
    async fn a_flood_is_told_at_once() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
        let (ours, mut theirs) = duplex(1 << 20);
        let settings = frame(4, 0, &[]);
        theirs.write_all(&[&PREFACE[..], &settings.repeat(4_001)].concat()).await.unwrap();
        let mut metered = Metered::new(ours, Credit::default());
        let mut read = vec![0; PREFACE_BYTES + 4_000 * settings.len() + HEADER_BYTES];
        let whole = metered.read_exact(&mut read);
        tokio::time::timeout(std::time::Duration::from_secs(5), whole).await.unwrap().unwrap();
        assert!(read.ends_with(POISON));
    }

    #[test]
    fn work_pays() {
        // Bodies in honest parts, and windows that are opened as data goes out.
        let upload = frame(0, 0, &[7; 2_048]).repeat(10_000);
        let bytes = [&PREFACE[..], &upload].concat();
        assert_eq!(passed(&bytes, 16_384), (bytes.len(), false));
        let credit = Credit::default();
        let mut frames = Frames::new(credit.clone());
        frames.passable(PREFACE).unwrap();
        let update = frame(8, 0, &[0, 0, 64, 0]);
        for _ in 0..20_000 {
            credit.earn(16);
            assert_eq!(frames.passable(&update), Ok(update.len()));
        }
        // Calls that end pay for themselves; calls that are reset do not, answered or not.
        let (begin, reset) = (frame(1, 5, &[0; 20]), frame(3, 0, &[0; 4]));
        for _ in 0..20_000 {
            assert_eq!(frames.passable(&begin), Ok(begin.len()));
            credit.answered();
        }
        let resets = (0..10_000).find(|_| {
            credit.answered();
            frames.passable(&begin).is_err() || frames.passable(&reset).is_err()
        });
        assert!((1_000..2_000).contains(&resets.unwrap()), "{resets:?}");
    }
}
