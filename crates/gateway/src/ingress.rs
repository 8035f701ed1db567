//! A caller's connection as the server reads it: only requests that [`Framing`] can tell apart beyond
//! doubt. In place of one in doubt the server reads a request of our own, so that its refusal comes
//! after the answers to those before it, and nothing after it.

use crate::framing::{Doubt, Framing};
use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The request that stands for one in doubt. No caller's request has this target.
const STAND_IN: &[u8] = b"OPTIONS * HTTP/1.1\r\nhost: -\r\nconnection: close\r\n\r\n";
pub(crate) const STAND_IN_TARGET: &str = "*";

/// Input after a doubt that is read and dropped, so that closing does not reset the connection before
/// the refusal was read.
const MAX_DROPPED_BYTES: usize = 256 * 1_024;
/// A larger buffer is not kept for the next request.
const MAX_KEPT_BYTES: usize = 16 * 1_024;

/// What is wrong with the request that the stand-in stands for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Why(Rc<Cell<&'static str>>);

impl Why {
    pub(crate) fn get(&self) -> &'static str {
        self.0.get()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ingress<S> {
    stream: S,
    framing: Framing,
    why: Why,
    /// What has arrived; the first `passable` bytes of it may pass, the first `passed` have.
    held: Vec<u8>,
    passed: usize,
    passable: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The stand-in is what is held; nothing is read after it.
    Refused,
    /// A body is in doubt: the server is told so each time.
    Broken(&'static str),
}

impl<S> Ingress<S> {
    pub(crate) fn new(stream: S) -> (Self, Why) {
        let why = Why::default();
        let ingress = Self {
            stream,
            framing: Framing::default(),
            why: why.clone(),
            held: Vec::new(),
            passed: 0,
            passable: 0,
            state: State::Open,
        };
        (ingress, why)
    }

    /// Hands out what may pass; whether it was anything.
    fn hand_out(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let ready = self.held.get(self.passed..self.passable).unwrap_or_default();
        let count = ready.len().min(buffer.remaining());
        buffer.put_slice(ready.get(..count).unwrap_or_default());
        self.passed += count;
        if self.passed == self.held.len() {
            self.passed = 0;
            self.passable = 0;
            self.held.clear();
            if self.held.capacity() > MAX_KEPT_BYTES {
                self.held = Vec::new();
            }
        }
        count > 0
    }

    /// Judges what is held, after all that might pass has.
    fn judge(&mut self) {
        self.held.drain(..self.passed);
        self.passed = 0;
        self.passable = 0;
        match self.framing.passable(&self.held) {
            Ok(count) => self.passable = count,
            Err(Doubt { what, is_in_body: true }) => self.state = State::Broken(what),
            Err(Doubt { what, is_in_body: false }) => {
                self.state = State::Refused;
                self.why.0.set(what);
                self.held.clear();
                self.held.extend_from_slice(STAND_IN);
                self.passable = self.held.len();
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Ingress<S> {
    /// Waits until there is something to serve; false where the caller ends before. Little is made for
    /// one that says nothing, or not yet all of a head.
    pub(crate) async fn begin(&mut self) -> io::Result<bool> {
        std::future::poll_fn(|cx| self.poll_begin(cx)).await
    }

    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut scratch = [0; 1_024];
        loop {
            if !self.held.is_empty() {
                self.judge_held(cx);
                if self.passable > 0 || self.state != State::Open {
                    return Poll::Ready(Ok(true));
                }
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(false));
            }
            self.hold(buffer.filled());
        }
    }

    fn hold(&mut self, come: &[u8]) {
        self.held.extend_from_slice(come);
    }

    fn judge_held(&mut self, cx: &mut Context<'_>) {
        self.judge();
        if self.state != State::Open {
            self.drop_the_rest(cx);
        }
    }

    fn drop_the_rest(&mut self, cx: &mut Context<'_>) {
        let mut scratch = [0; 4_096];
        for _ in 0..MAX_DROPPED_BYTES / scratch.len() {
            let mut dropped = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut dropped) {
                Poll::Ready(Ok(())) if !dropped.filled().is_empty() => {}
                _ => return,
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ingress<S> {
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
            match this.state {
                State::Open => {}
                // An end of input would tell the server that the caller has gone, before it answers.
                State::Refused => return Poll::Pending,
                State::Broken(what) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
                }
            }
            if !this.held.is_empty() {
                this.judge_held(cx);
                if this.passable > 0 || this.state != State::Open {
                    continue;
                }
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            let come = buffer.filled().get(before..).unwrap_or_default();
            if come.is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.hold(come);
            buffer.set_filled(before);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ingress<S> {
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
