//! From a name to a connection.

use crate::world::{SHORT, World, config, plain, trusted, world, world_with};
use outbound::{
    AddressClass, FixedResolver, GuardPolicy, HickoryResolver, OutboundError, Pool, PoolConfig,
    Resolve, ResolveError, Target, TlsConfig, TlsFailure,
};
use socket2::{Domain, Socket, Type};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, TcpStream},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use testkit::{Answer, End, FaultyProvider, Greeting, TlsOptions};
use types::Fault;

/// Gives the addresses one after the other, one for each time it is asked; the last one stays.
#[derive(Debug)]
struct Changing {
    answers: Vec<IpAddr>,
    asked: AtomicUsize,
}

impl Changing {
    fn new(answers: &[&str]) -> Arc<Self> {
        let answers = answers.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }
}

impl Resolve for Changing {
    fn resolve<'a>(
        &'a self,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send + 'a>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        Box::pin(std::future::ready(Ok(vec![self.answers[number]])))
    }
}

/// The world as seen through a name instead of an address.
fn named(name: &str, port: u16, resolver: Arc<dyn Resolve>, provider: FaultyProvider) -> World {
    let mut world = world_with(provider, PoolConfig { resolver, ..config(None) });
    world.policy = GuardPolicy::new(&[format!("{name}:{port}")]).unwrap();
    world.target = Target::parse(&format!("http://{name}:{port}"), &world.policy).unwrap();
    world
}

/// A name that is allowed here, and points to cloud metadata when it is asked again.
#[tokio::test]
async fn a_name_that_is_rebound_is_judged_anew() {
    let provider = FaultyProvider::start().unwrap();
    let port = provider.addr().port();
    let resolver = Changing::new(&["127.0.0.1", "169.254.169.254"]);
    let world = named("rebind.example", port, Arc::clone(&resolver) as _, provider);
    world.provider.on("/last", Answer::json_text(200, "{}").header("Connection", "close"));
    // One connection is one question, however many requests it carries.
    world.get("/fault/none").await.unwrap();
    world.get("/fault/none").await.unwrap();
    world.get("/last").await.unwrap();
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 1);
    for asked in 2..5 {
        let refused = world.failure("/fault/none").await;
        assert_eq!(refused, OutboundError::AddressRefused(AddressClass::Metadata));
        assert_eq!(resolver.asked.load(Ordering::SeqCst), asked);
    }
    assert_eq!(world.provider.connections(), 1);
}

/// A read that is sent again goes over a new connection, which is judged like any other.
#[tokio::test]
async fn sending_again_judges_again() {
    let provider = FaultyProvider::start().unwrap();
    let port = provider.addr().port();
    let resolver = Changing::new(&["127.0.0.1", "169.254.169.254"]);
    let world = named("rebind.example", port, resolver, provider);
    world.get("/fault/none").await.unwrap();
    world.provider.on("/once", Answer::verbatim("").end(End::Close));
    assert_eq!(world.failure("/once").await, OutboundError::AddressRefused(AddressClass::Metadata));
}

/// Private addresses behind a public name: a recorder there sees nothing.
#[tokio::test]
async fn private_addresses_behind_a_name_see_nobody() {
    let victim = FaultyProvider::start().unwrap();
    let port = victim.addr().port();
    let none = GuardPolicy::default();
    for answers in [&["127.0.0.1"][..], &["127.0.0.1", "::1"], &["::ffff:127.0.0.1"], &["0.0.0.0"]]
    {
        let addresses = answers.iter().map(|text| text.parse().unwrap()).collect();
        let table = BTreeMap::from([("rebind.example".to_owned(), addresses)]);
        let resolver = Arc::new(FixedResolver(table));
        let pool = Pool::new(PoolConfig { resolver, ..config(None) });
        let target = Target::parse(&format!("https://rebind.example:{port}/"), &none).unwrap();
        for _ in 0..3 {
            let refused = pool.checkout(&target, &none, &outbound::Deadlines::default()).await;
            let refused = refused.map(drop).unwrap_err();
            assert!(matches!(refused, OutboundError::AddressRefused(_)), "{refused:?}");
            assert_eq!(refused.code(), "provider_address_refused");
        }
    }
    assert_eq!(victim.connections(), 0);
}

/// What was read under a policy that allows http is not sent under one that does not.
#[tokio::test]
async fn plain_http_is_asked_for_again_at_each_connection() {
    let mut world = plain();
    for policy in [&[][..], &["127.0.0.1:1", "127.0.0.2:80"]] {
        world.policy = GuardPolicy::new(policy).unwrap();
        assert_eq!(world.failure("/fault/none").await, OutboundError::PlainHttpRefused);
    }
    assert_eq!(world.provider.connections(), 0);
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let mut world = plain();
    world.provider.stop();
    assert_eq!(world.failure("/").await, OutboundError::Unreachable);
}

#[derive(Debug)]
struct Silent;

impl Resolve for Silent {
    fn resolve<'a>(
        &'a self,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send + 'a>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_silent_resolver_is_not_waited_for() {
    let provider = FaultyProvider::start().unwrap();
    let mut world = named("slow.example", provider.addr().port(), Arc::new(Silent), provider);
    world.deadlines.resolve = Duration::from_millis(50);
    let begun = Instant::now();
    assert_eq!(world.failure("/").await, OutboundError::ResolveTimeout { millis: 50 });
    assert!(begun.elapsed() < Duration::from_secs(2));
}

/// A listener whose queue is full: packets to it are swallowed. Holds its sockets.
fn swallowing(addr: SocketAddr) -> (Socket, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&addr.into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let mut held = Vec::new();
    for _ in 0..16 {
        match TcpStream::connect_timeout(&addr, Duration::from_millis(100)) {
            Ok(stream) => held.push(stream.into()),
            Err(_) => return (listener, held),
        }
    }
    panic!("the queue is never full");
}

#[tokio::test]
async fn a_silent_address_is_not_waited_for_longer_than_its_share() {
    let provider = FaultyProvider::start().unwrap();
    let port = provider.addr().port();
    let silent = SocketAddr::from(([127, 0, 0, 2], port));
    let _held = swallowing(silent);
    let both = vec![silent.ip(), IpAddr::from([127, 0, 0, 1])];
    let table = BTreeMap::from([
        ("both.example".to_owned(), both),
        ("silent.example".to_owned(), vec![silent.ip()]),
    ]);
    let mut world = named("both.example", port, Arc::new(FixedResolver(table)), provider);
    world.deadlines.connect = SHORT;
    assert_eq!(world.get("/fault/none").await.unwrap().0, 200);
    let given = format!("silent.example:{port}");
    world.policy = GuardPolicy::new(&[&given]).unwrap();
    world.target = Target::parse(&format!("http://{given}"), &world.policy).unwrap();
    let begun = Instant::now();
    assert_eq!(world.failure("/").await, OutboundError::ConnectTimeout { millis: 300 });
    assert!(begun.elapsed() < 3 * SHORT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn certificates_are_verified() {
    let world_of = trusted();
    assert_eq!(world_of.get("/fault/none").await.unwrap().0, 200);
    let unknown = world(FaultyProvider::start_tls().unwrap(), None);
    assert_eq!(unknown.failure("/").await, OutboundError::Tls(TlsFailure::UnknownIssuer));
    let other = TlsOptions { names: vec!["other.example".into()], ..TlsOptions::default() };
    let address = TlsOptions { names: vec!["127.0.0.1".into()], ..TlsOptions::default() };
    let expired = TlsOptions { is_expired: true, ..TlsOptions::default() };
    for (options, failure) in [
        (expired, TlsFailure::Expired),
        (other, TlsFailure::WrongName),
        (address, TlsFailure::WrongName),
    ] {
        let provider = FaultyProvider::start_tls_with(&options).unwrap();
        let root = provider.root_pem().unwrap().to_owned();
        let bad = world(provider, Some(&root));
        let failed = bad.failure("/").await;
        assert_eq!(failed, OutboundError::Tls(failure));
        assert_eq!(failed.code(), "provider_tls_failed");
        assert!(!failed.is_retryable());
        assert_eq!(bad.provider.requests().len(), 0);
    }
}

/// A literal address is verified as such, and TLS 1.2 will do.
#[tokio::test]
async fn addresses_and_tls_12_are_served() {
    let old = TlsOptions { is_tls12_only: true, ..TlsOptions::default() };
    let provider = FaultyProvider::start_tls_with(&old).unwrap();
    let root = provider.root_pem().unwrap().to_owned();
    let mut world = world(provider, Some(&root));
    assert_eq!(world.get("/fault/none").await.unwrap().0, 200);
    let literal = world.provider.addr().to_string();
    world.policy = GuardPolicy::new(&[&literal]).unwrap();
    world.target = Target::parse(&format!("https://{literal}"), &world.policy).unwrap();
    assert_eq!(world.get("/fault/none").await.unwrap().0, 200);
    let host = world.provider.last_request().unwrap();
    assert_eq!(host.header("host"), Some(literal.as_str()));
}

#[tokio::test]
async fn handshakes_that_do_not_happen_are_told_apart() {
    let mut world = trusted();
    world.deadlines.tls = Duration::from_millis(100);
    world.provider.greet(Greeting::Silence);
    let begun = Instant::now();
    let late = world.failure("/").await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(late, OutboundError::TlsTimeout { millis: 100 });
    assert_eq!(late.code(), "provider_connect_timeout");
    world.provider.greet(Greeting::Reset);
    let cut = world.failure("/").await;
    assert!(cut.is_retryable(), "{cut:?}");
    // A provider without TLS.
    let mut plain = plain();
    plain.target =
        Target::parse(&plain.provider.url().replace("http:", "https:"), &plain.policy).unwrap();
    let failed = plain.failure("/").await;
    assert_eq!(failed.code(), "provider_tls_failed");
    assert_eq!(plain.provider.requests().len(), 0);
}

#[test]
fn roots_that_cannot_be_read_are_refused() {
    let provider = FaultyProvider::start_tls().unwrap();
    let good = provider.root_pem().unwrap();
    assert!(TlsConfig::new(Some(good.as_bytes())).is_ok());
    assert!(TlsConfig::new(Some(b"no certificate")).is_err());
    assert!(TlsConfig::new(Some(b"")).is_err());
    let bent = good.replacen("MII", "MIJ", 1);
    for bad in [bent.clone(), format!("{good}\n{bent}")] {
        assert!(TlsConfig::new(Some(bad.as_bytes())).is_err());
    }
}

#[tokio::test]
async fn the_systems_resolver_knows_this_machine() {
    let found = HickoryResolver::from_system().unwrap().resolve("localhost").await.unwrap();
    assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
}
