//! A new connection: resolved once, every address judged, and the very address that was judged
//! connected to.

use crate::{
    OutboundError,
    codec::{Codec, Http1},
    deadlines::Deadlines,
    guard::{GuardPolicy, GuardedAddr},
    resolve::Resolve,
    target::Target,
    tls::TlsConfig,
};
use std::net::SocketAddr;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Connects, over TLS unless the policy allows plain http to just this host and port.
pub(crate) async fn connect(
    resolver: &dyn Resolve,
    tls: &TlsConfig,
    target: &Target,
    policy: &GuardPolicy,
    deadlines: &Deadlines,
) -> Result<Http1, OutboundError> {
    // The target may have been read under another policy.
    if !target.is_https() && !policy.allows_http(target.host(), target.port()) {
        return Err(OutboundError::PlainHttpRefused);
    }
    let addresses = timeout(deadlines.resolve, guarded(resolver, target, policy)).await;
    let late = OutboundError::ResolveTimeout { millis: deadlines.resolve.as_millis() };
    let stream = dial(&addresses.map_err(|_| late)??, deadlines).await?;
    // Without it small requests wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    if !target.is_https() {
        return Http1::begin(stream).await;
    }
    let late = OutboundError::TlsTimeout { millis: deadlines.tls.as_millis() };
    let stream = timeout(deadlines.tls, tls.connect(target.host(), stream)).await;
    Http1::begin(stream.map_err(|_| late)??).await
}

/// Addresses that may be connected to, in the resolver's order. One that may not be is left out;
/// where none is left, the call is refused.
async fn guarded(
    resolver: &dyn Resolve,
    target: &Target,
    policy: &GuardPolicy,
) -> Result<Vec<GuardedAddr>, OutboundError> {
    let resolved = match target.address() {
        Some(address) => vec![address],
        None => resolver.resolve(target.host()).await.map_err(|_| OutboundError::Unresolvable)?,
    };
    let mut allowed = Vec::new();
    let mut refused = None;
    for address in resolved {
        match policy.judge(target.host(), SocketAddr::new(address, target.port())) {
            Ok(address) => allowed.push(address),
            Err(class) => refused = Some(class),
        }
    }
    allowed.truncate(MAX_ADDRESSES);
    match (allowed.is_empty(), refused) {
        (false, _) => Ok(allowed),
        (true, Some(class)) => Err(OutboundError::AddressRefused(class)),
        (true, None) => Err(OutboundError::Unresolvable),
    }
}

/// Connects to the first address that answers. Each has an equal share of the time that is left, so
/// that one that swallows packets does not use it all.
async fn dial(
    addresses: &[GuardedAddr],
    deadlines: &Deadlines,
) -> Result<TcpStream, OutboundError> {
    let deadline = Instant::now() + deadlines.connect;
    let mut is_late = false;
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = u32::try_from(addresses.len() - tried).map_or(left, |places| left / places);
        match timeout(share, TcpStream::connect(address.get())).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => tracing::debug!(%error, "a provider's address does not answer"),
            Err(_) => is_late = true,
        }
    }
    Err(if is_late {
        OutboundError::ConnectTimeout { millis: deadlines.connect.as_millis() }
    } else {
        OutboundError::Unreachable
    })
}
