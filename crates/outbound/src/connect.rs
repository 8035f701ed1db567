//! A new connection: resolved once, every address judged, and the very address that was judged
//! connected to.

use crate::{
    OutboundError,
    address::{AddressClass, classify},
    codec::Connected,
    deadlines::Deadlines,
    guard::{GuardPolicy, GuardedAddr},
    http1::Http1,
    http2::Http2,
    resolve::Resolve,
    target::Target,
    tls::{TlsConfig, agreed_on_http2},
};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// Connects, over TLS unless the policy allows plain http to just this host and port. HTTP/2 is spoken
/// where the handshake agreed on it, and never without TLS; then the connection lasts `idle_life`
/// without a call.
pub(crate) async fn connect(
    resolver: &dyn Resolve,
    tls: &TlsConfig,
    target: &Target,
    policy: &GuardPolicy,
    deadlines: &Deadlines,
    idle_life: Duration,
) -> Result<Connected, OutboundError> {
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
        return Http1::begin(stream).await.map(Connected::Http1);
    }
    let late = OutboundError::TlsTimeout { millis: deadlines.tls.as_millis() };
    let secured = async {
        let stream = tls.connect(target, policy.identity(), stream).await?;
        if agreed_on_http2(&stream) {
            Http2::begin(stream, idle_life).await.map(Connected::Http2)
        } else {
            Http1::begin(stream).await.map(Connected::Http1)
        }
    };
    timeout(deadlines.tls, secured).await.map_err(|_| late)?
}

/// Addresses that may be connected to, in the resolver's order. One that may not be refuses the whole
/// name: honest names do not mix them, and names that are about to be rebound do.
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
    for address in resolved {
        // Plain http was allowed for a private network: a name that moves to a public address must
        // not carry the credential there in clear.
        if !target.is_https() && classify(address) == AddressClass::Public {
            return Err(OutboundError::AddressRefused(AddressClass::Public));
        }
        let address = SocketAddr::new(address, target.port());
        let judged = policy.judge_here(target.host(), address);
        allowed.push(judged.map_err(OutboundError::AddressRefused)?);
    }
    allowed.truncate(MAX_ADDRESSES);
    if allowed.is_empty() { Err(OutboundError::Unresolvable) } else { Ok(allowed) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FixedResolver, resolve::ResolveError};
    use std::{
        collections::{BTreeMap, VecDeque},
        net::IpAddr,
        pin::Pin,
        sync::Mutex,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    async fn judged(resolver: &dyn Resolve, host: &str) -> Result<Vec<String>, OutboundError> {
        let none = GuardPolicy::default();
        let target = Target::parse(&format!("https://{host}/v1"), &none).unwrap();
        let allowed = guarded(resolver, &target, &none).await?;
        Ok(allowed.iter().map(|address| address.get().to_string()).collect())
    }

    #[tokio::test]
    async fn honest_names_are_connected_to_where_they_point() {
        let mut table = BTreeMap::new();
        for number in 0..=255_u8 {
            let v6 = std::net::Ipv6Addr::new(0x2a00, 0x1450, 0, 0, 0, 0, 0, u16::from(number));
            let addresses = vec![IpAddr::from([93, 184, 216, number]), IpAddr::V6(v6)];
            table.insert(format!("api{number}.example.com"), addresses);
        }
        // Suffixes and single labels say nothing: the address does.
        for name in
            ["hr.internal", "printer.local", "intranet", "xn--bcher-kva.example", "localhost"]
        {
            table.insert(name.to_owned(), vec![ip("8.8.8.8")]);
        }
        for (host, addresses) in table.clone() {
            let wanted: Vec<String> = addresses
                .iter()
                .map(|address| SocketAddr::new(*address, 443).to_string())
                .collect();
            assert_eq!(judged(&FixedResolver(table.clone()), &host).await, Ok(wanted), "{host}");
        }
    }

    #[tokio::test]
    async fn plain_http_never_reaches_a_public_address() {
        let policy = GuardPolicy::new(&["hr.internal:80"]).unwrap();
        let target = Target::parse("http://hr.internal/v1", &policy).unwrap();
        let table = |address: &str| {
            FixedResolver(BTreeMap::from([("hr.internal".to_owned(), vec![ip(address)])]))
        };
        assert!(guarded(&table("10.9.9.9"), &target, &policy).await.is_ok());
        let moved = guarded(&table("93.184.216.34"), &target, &policy).await;
        let refused = Err(OutboundError::AddressRefused(AddressClass::Public));
        assert_eq!(moved.map(|all| all.len()), refused);
    }

    #[tokio::test]
    async fn one_forbidden_address_among_others_refuses_the_name() {
        let public = ["8.8.8.8", "2606:4700::1111"].map(ip);
        let mixed = ["8.8.8.8", "2606:4700::1111", "::ffff:10.0.0.1"].map(ip);
        let hidden = ["10.0.0.1", "::ffff:169.254.169.254"].map(ip);
        let many: Vec<IpAddr> = (1..=200_u8).map(|last| IpAddr::from([8, 8, 4, last])).collect();
        let table = FixedResolver(BTreeMap::from([
            ("public.example".to_owned(), public.to_vec()),
            ("mixed.example".to_owned(), mixed.to_vec()),
            ("hidden.example".to_owned(), hidden.to_vec()),
            ("empty.example".to_owned(), Vec::new()),
            ("many.example".to_owned(), many),
        ]));
        let wanted = ["8.8.8.8:443", "[2606:4700::1111]:443"].map(str::to_owned);
        assert_eq!(judged(&table, "public.example").await, Ok(wanted.to_vec()));
        for name in ["mixed.example", "hidden.example"] {
            assert_eq!(
                judged(&table, name).await,
                Err(OutboundError::AddressRefused(AddressClass::Private)),
                "{name}"
            );
        }
        assert_eq!(judged(&table, "empty.example").await, Err(OutboundError::Unresolvable));
        assert_eq!(judged(&table, "unknown.example").await, Err(OutboundError::Unresolvable));
        assert_eq!(judged(&table, "many.example").await.map(|all| all.len()), Ok(MAX_ADDRESSES));
    }

    /// Answers differently each time.
    #[derive(Debug)]
    struct Rebinding(Mutex<VecDeque<IpAddr>>);

    impl Resolve for Rebinding {
        fn resolve<'a>(
            &'a self,
            _: &'a str,
        ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send + 'a>> {
            let next = self.0.lock().unwrap().pop_front().map(|address| vec![address]);
            Box::pin(std::future::ready(next.ok_or(ResolveError)))
        }
    }

    /// What is connected to is the address of the one answer that was judged; the next connection
    /// gets an answer and a judgement of its own.
    #[tokio::test]
    async fn each_connection_is_resolved_and_judged_once() {
        let answers = ["8.8.8.8", "127.0.0.1", "1.1.1.1", "169.254.169.254"].map(ip);
        let resolver = Rebinding(Mutex::new(answers.into()));
        assert_eq!(judged(&resolver, "a.example").await, Ok(vec!["8.8.8.8:443".to_owned()]));
        assert_eq!(resolver.0.lock().unwrap().len(), 3);
        assert_eq!(
            judged(&resolver, "a.example").await,
            Err(OutboundError::AddressRefused(AddressClass::Loopback))
        );
        assert_eq!(judged(&resolver, "a.example").await, Ok(vec!["1.1.1.1:443".to_owned()]));
        assert_eq!(
            judged(&resolver, "a.example").await,
            Err(OutboundError::AddressRefused(AddressClass::Metadata))
        );
    }
}
