//! Counts what a connection has read: whether any byte of an answer has come decides whether a
//! request may be sent again, and an answer's head must come within a bound. Interim answers are
//! skipped by the codec as fast as they come, so that without it a flood of them holds the core.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes between a request and its answer's content: the head, interim ones before it, and
/// what the codec reads ahead of those who read it.
const MAX_UNTIL_HEAD_BYTES: u64 = 512 * 1_024;

#[derive(Debug)]
pub(crate) struct Traffic {
    read: AtomicU64,
    /// At so many bytes reading fails.
    limit: AtomicU64,
}

impl Traffic {
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// A request goes out: its answer's head is what comes next.
    pub(crate) fn expect_head(&self) {
        self.limit.store(self.bytes_read() + MAX_UNTIL_HEAD_BYTES, Ordering::Relaxed);
    }

    /// The head is there: what follows is bounded by who reads it.
    pub(crate) fn head_has_come(&self) {
        self.limit.store(u64::MAX, Ordering::Relaxed);
    }
}

/// A stream whose reading is counted.
#[derive(Debug)]
pub(crate) struct Counted<S> {
    stream: S,
    traffic: Arc<Traffic>,
}

impl<S> Counted<S> {
    pub(crate) fn new(stream: S) -> (Self, Arc<Traffic>) {
        let limit = AtomicU64::new(u64::MAX);
        let traffic = Arc::new(Traffic { read: AtomicU64::new(0), limit });
        (Self { stream, traffic: Arc::clone(&traffic) }, traffic)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.traffic.bytes_read() >= self.traffic.limit.load(Ordering::Relaxed) {
            let flood = io::Error::new(io::ErrorKind::InvalidData, "no end of interim answers");
            return Poll::Ready(Err(flood));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        self.traffic.read.fetch_add(read as u64, Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
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
