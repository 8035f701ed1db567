//! A connection that gives up on a peer that does not read what it is sent: otherwise one that asks
//! and never reads holds its place, its call and the provider's connection for ever.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// What a peer must take within the patience, unless that was all there is: one that takes a byte now
/// and then does not read either.
const ENOUGH_BYTES: usize = 16 * 1_024;

/// A stream whose writes fail with [`io::ErrorKind::TimedOut`] when the peer lets the patience pass.
#[derive(Debug)]
pub struct Patient<S> {
    stream: S,
    patience: Duration,
    waiting: Option<Waiting>,
}

/// The peer is behind: since when, and what it has taken meanwhile.
#[derive(Debug)]
struct Waiting {
    over: Pin<Box<Sleep>>,
    taken: usize,
}

impl<S> Patient<S> {
    pub const fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, waiting: None }
    }

    fn judge(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                if let Some(waiting) = &mut self.waiting {
                    waiting.taken += bytes;
                    if waiting.taken >= ENOUGH_BYTES {
                        self.waiting = None;
                    }
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let patience = self.patience;
                let waiting = self.waiting.get_or_insert_with(|| Waiting {
                    over: Box::pin(tokio::time::sleep(patience)),
                    taken: 0,
                });
                ready!(waiting.over.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the peer does not read what it is sent",
                )))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        let flushed = self.judge(cx, flushed.map_ok(|()| 0))?;
        ready!(flushed);
        // All that there was has been taken.
        self.waiting = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, shut.map_ok(|()| 0)).map_ok(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        time::{Instant, sleep},
    };

    const PATIENCE: Duration = Duration::from_secs(30);
    const ALMOST: Duration = Duration::from_secs(29);

    fn pair(room: usize) -> (Patient<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(room);
        (Patient::new(ours, PATIENCE), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_nothing_is_given_up() {
        let (mut ours, _theirs) = pair(1_024);
        let begun = Instant::now();
        let error = ours.write_all(&[0; 4_096]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < PATIENCE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_a_byte_now_and_then_is_given_up_too() {
        let (mut ours, mut theirs) = pair(1_024);
        let sip = async {
            for _ in 0..100_000 {
                sleep(Duration::from_secs(1)).await;
                theirs.read_u8().await.unwrap();
            }
        };
        let bytes = vec![0; 64 * 1_024];
        tokio::select! {
            written = ours.write_all(&bytes) => {
                assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
            }
            () = sip => panic!("it was never given up"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_that_reads_on_is_waited_for() {
        let (mut ours, mut theirs) = pair(32 * 1_024);
        let read = async {
            let mut part = vec![0; 20 * 1_024];
            for _ in 0..32 {
                sleep(ALMOST).await;
                theirs.read_exact(&mut part).await.unwrap();
            }
        };
        let bytes = vec![0; 640 * 1_024];
        let (written, ()) = tokio::join!(ours.write_all(&bytes), read);
        written.unwrap();
        // And silence between two answers is none of its faults.
        ours.flush().await.unwrap();
        sleep(PATIENCE * 10).await;
        ours.write_all(b"next").await.unwrap();
    }

    /// What was waited for in one answer does not count against the next.
    #[tokio::test(start_paused = true)]
    async fn each_answer_begins_anew() {
        let (mut ours, mut theirs) = pair(1_024);
        for _ in 0..3 {
            let late = async {
                sleep(ALMOST).await;
                theirs.read_exact(&mut [0; 2_048]).await.unwrap();
            };
            let answer = async {
                ours.write_all(&[0; 2_048]).await?;
                ours.flush().await
            };
            let (written, ()) = tokio::join!(answer, late);
            written.unwrap();
        }
    }
}
