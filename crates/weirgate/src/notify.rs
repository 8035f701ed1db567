//! What the service manager is told (sd_notify(3)), so that `systemctl start` ends when calls are
//! served, and not before.

use std::{
    env, io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
};

/// Calls are served.
pub(crate) const READY: &str = "READY=1";
/// The end has begun.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// Tells it where there is one; a server that cannot tell it serves all the same.
pub(crate) fn tell(state: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET").map(PathBuf::from) else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

fn send(socket: &Path, state: &str) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to(state.as_bytes(), socket).map(drop)
}
