//! The loop that takes connections in: for callers on each core, and for the console's port.

use std::{io, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

/// Pause after a failed accept; doubled up to the second while it goes on failing.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often room is asked for while there is none.
const ROOM_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether places are scarce.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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

    /// Whether at least three quarters are taken.
    fn is_crowded(&self) -> bool {
        self.free.available_permits() <= self.count / 4
    }

    /// A place, if one is free.
    pub fn try_take(&self) -> Option<Place> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(Place)
    }

    /// A place, asking for room again and again until there is one.
    async fn take(&self, make_room: &impl Fn()) -> io::Result<Place> {
        loop {
            if self.free.available_permits() == 0 {
                make_room();
            }
            let taken = Arc::clone(&self.free).acquire_owned();
            if let Ok(taken) = tokio::time::timeout(ROOM_EVERY, taken).await {
                return taken.map(Place).map_err(|_| io::Error::other("the port is closed"));
            }
        }
    }

    /// Returns when no connection is left.
    pub async fn all_free(&self) {
        let all = u32::try_from(self.count).unwrap_or(u32::MAX);
        // Fails only for a closed semaphore, and nobody closes this one.
        let _ = self.free.acquire_many(all).await;
    }
}

/// Takes connections in until told to stop, and hands each with its place to `begin`. While all
/// places are taken one connection is taken in, for which `make_room` is asked; the others wait in the
/// kernel's queue.
pub async fn accept(
    listener: TcpListener,
    places: &Places,
    stopped: &mut watch::Receiver<bool>,
    port: &'static str,
    make_room: impl Fn(),
    mut begin: impl FnMut(TcpStream, Place),
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let next = async {
            let (stream, _) = listener.accept().await?;
            let place = places.take(&make_room).await?;
            Ok::<_, io::Error>((stream, place))
        };
        // What is cancelled is a connection that nobody serves any more.
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

/// While places are scarce, those who do nothing and have shown no key are not waited for: `thin_out`
/// is asked to send them away. Never returns.
pub async fn keep_thin(places: &Places, thin_out: impl Fn()) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        if places.is_crowded() {
            thin_out();
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
