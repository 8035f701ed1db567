//! The loop that takes connections in: for callers on each core, and for the console's port.

use std::{io, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

/// Pause after a failed accept; doubled up to the second while it goes on failing.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many connections a port may hold at once.
#[derive(Debug, Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    count: usize,
}

/// A connection's place, given back on drop.
#[derive(Debug)]
#[must_use]
pub struct Place(#[expect(dead_code, reason = "held, never read")] OwnedSemaphorePermit);

impl Places {
    /// At least one place.
    pub fn new(count: usize) -> Self {
        let count = count.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { free: Arc::new(Semaphore::new(count)), count }
    }

    /// A place, if one is free.
    pub fn try_take(&self) -> Option<Place> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(Place)
    }

    async fn take(&self) -> io::Result<Place> {
        let taken = Arc::clone(&self.free).acquire_owned().await;
        taken.map(Place).map_err(|_| io::Error::other("the port is closed"))
    }

    /// Returns when no connection is left.
    pub async fn all_free(&self) {
        let all = u32::try_from(self.count).unwrap_or(u32::MAX);
        // Fails only for a closed semaphore, and nobody closes this one.
        let _ = self.free.acquire_many(all).await;
    }
}

/// Takes connections in until told to stop, and hands each with its place to `begin`. While all
/// places are taken, connections wait in the kernel's queue.
pub async fn accept(
    listener: TcpListener,
    places: &Places,
    stopped: &mut watch::Receiver<bool>,
    port: &'static str,
    mut begin: impl FnMut(TcpStream, Place),
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let next = async {
            let place = places.take().await?;
            let (stream, _) = listener.accept().await?;
            Ok::<_, io::Error>((stream, place))
        };
        // Both are cancel-safe: a place not taken and a connection not accepted stay there.
        let accepted = tokio::select! {
            biased;
            _ = stopped.changed() => return,
            accepted = next => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                pause = FIRST_PAUSE;
                begin(stream, place);
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                // Out of file descriptors, most likely: waiting is the only remedy.
                tracing::warn!(%error, port, "cannot accept a connection");
                tokio::select! {
                    _ = stopped.changed() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Whether only the one connection failed (accept(2): errors already pending on the new socket).
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown,
        NetworkUnreachable, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkDown
            | NetworkUnreachable
            | TimedOut
    )
}
