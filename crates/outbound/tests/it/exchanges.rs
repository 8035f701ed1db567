//! One exchange after another with peers that misbehave.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use outbound::{
    Deadlines, FixedResolver, GuardPolicy, OutboundError, Pool, PoolConfig, Target, TlsConfig,
    UpstreamBody,
};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use testkit::{Answer, End, FaultyProvider, Framing, TlsOptions};
use types::Fault;

struct World {
    provider: FaultyProvider,
    pool: Pool,
    target: Target,
    policy: GuardPolicy,
    deadlines: Deadlines,
}

fn world(provider: FaultyProvider, roots: Option<&str>) -> World {
    let tls = TlsConfig::new(roots.map(str::as_bytes)).unwrap();
    let localhost = BTreeMap::from([("localhost".to_owned(), vec![IpAddr::from([127, 0, 0, 1])])]);
    let mut config = PoolConfig::new(Arc::new(FixedResolver(localhost)), Arc::new(tls));
    config.max_answer_bytes = 4 << 20;
    let policy = GuardPolicy::new(&[provider.host_port()]).unwrap();
    let target = Target::parse(provider.url(), &policy).unwrap();
    let short = Duration::from_millis(300);
    let deadlines =
        Deadlines { head: short, idle: short, tls: Duration::from_secs(2), ..Deadlines::default() };
    World { provider, pool: Pool::new(config), target, policy, deadlines }
}

fn plain() -> World {
    world(FaultyProvider::start().unwrap(), None)
}

impl World {
    async fn send(
        &self,
        method: Method,
        path: &str,
    ) -> Result<Response<UpstreamBody>, OutboundError> {
        let lease = self.pool.checkout(&self.target, &self.policy, &self.deadlines).await?;
        let request =
            Request::builder().method(method).uri(path).body(Full::new(Bytes::new())).unwrap();
        lease.send(request).await
    }

    async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), OutboundError> {
        let response = self.send(Method::GET, path).await?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next_chunk().await? {
            assert!(!chunk.is_empty() && chunk.len() <= 5 << 20);
            bytes.extend_from_slice(&chunk);
        }
        Ok((status, bytes))
    }

    async fn code(&self, path: &str) -> &'static str {
        match self.get(path).await {
            Ok((status, body)) => panic!("{path}: {status} with {} bytes", body.len()),
            Err(error) => error.code(),
        }
    }
}

#[tokio::test]
async fn honest_answers_arrive_whole_and_connections_are_used_again() {
    let world = plain();
    let wanted = testkit::thing("1").to_string().into_bytes();
    for kind in ["none", "chunked", "gzip", "none"] {
        assert_eq!(world.get(&format!("/fault/{kind}")).await, Ok((200, wanted.clone())), "{kind}");
    }
    assert_eq!(world.provider.connections(), 1);
    let received = world.provider.last_request().unwrap();
    assert_eq!(received.header("host"), Some(world.provider.host_port()));
}

#[tokio::test]
async fn broken_answers_are_told_apart() {
    let world = plain();
    // Made once, which takes longer than the time-outs here.
    assert!(testkit::fault("gzip-bomb").is_some());
    for (kind, wanted) in [
        ("reset", "provider_reset"),
        ("close", "provider_reset"),
        ("head-cut", "provider_reset"),
        ("silence", "provider_timeout"),
        ("slow-head", "provider_timeout"),
        ("slow-body", "provider_body_timeout"),
        ("length-too-long", "provider_body_timeout"),
        ("not-http", "provider_malformed"),
        ("both-framings", "provider_malformed"),
        ("two-lengths", "provider_malformed"),
        ("reset-in-body", "provider_reset"),
        ("truncated", "provider_reset"),
        ("chunked-cut", "provider_reset"),
        ("gzip-cut", "provider_malformed"),
        ("gzip-lie", "provider_malformed"),
        ("gzip-bomb", "provider_bomb"),
    ] {
        let begun = Instant::now();
        assert_eq!(world.code(&format!("/fault/{kind}")).await, wanted, "{kind}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{kind}");
    }
}

#[tokio::test]
async fn sizes_and_codings_are_bounded() {
    let world = plain();
    let large = Answer::json_text(200, vec![b' '; (4 << 20) + 1]);
    world.provider.on("/large", large);
    assert_eq!(world.code("/large").await, "provider_answer_too_large");
    for coding in ["br", "deflate", "gzip, gzip", "zstd", "x"] {
        world
            .provider
            .on("/coded", Answer::json_text(200, "{}").header("Content-Encoding", coding));
        assert_eq!(world.code("/coded").await, "provider_encoding", "{coding}");
    }
    let long = "x".repeat(1 << 20);
    world.provider.on("/head", Answer::json_text(200, "{}").header("X-Long", &long));
    assert_eq!(world.code("/head").await, "provider_malformed");
    let mut many = Answer::json_text(200, "{}");
    for number in 0..200 {
        many = many.header(&format!("X-{number}"), "a");
    }
    world.provider.on("/many", many);
    assert_eq!(world.code("/many").await, "provider_malformed");
    // Two members are one answer; bytes behind them are damage.
    let two = [gzip(b"one "), gzip(b"two")].concat();
    let answer = Answer::json_text(200, two).header("Content-Encoding", "gzip");
    world.provider.on("/two", answer);
    assert_eq!(world.get("/two").await, Ok((200, b"one two".to_vec())));
    let trailing = [gzip(b"one "), b"garbage".to_vec()].concat();
    let answer = Answer::json_text(200, trailing).header("Content-Encoding", "gzip");
    world.provider.on("/trailing", answer);
    assert_eq!(world.code("/trailing").await, "provider_malformed");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn redirects_are_answers_like_any_other() {
    let world = plain();
    assert_eq!(world.get("/fault/redirect").await.unwrap().0, 302);
    assert_eq!(world.provider.requests().len(), 1);
}

#[tokio::test]
async fn the_whole_answer_has_a_deadline() {
    let mut world = plain();
    world.deadlines.idle = Duration::from_secs(5);
    world.deadlines.total = Duration::from_millis(400);
    let drip = Answer::json(200, &testkit::thing("1"))
        .in_pieces_of(1)
        .pause_before_parts(Duration::from_millis(50));
    world.provider.on("/drip", drip);
    assert_eq!(world.code("/drip").await, "provider_total_timeout");
}

/// A connection that was idle and is gone is made anew, but a write that may have been done is not
/// sent twice.
#[tokio::test]
async fn stale_connections_are_replaced_for_safe_requests_only() {
    let world = plain();
    world.get("/fault/none").await.unwrap();
    world
        .provider
        .on_sequence("/once", [Answer::verbatim("").end(End::Close), Answer::json_text(200, "{}")]);
    assert_eq!(world.get("/once").await, Ok((200, b"{}".to_vec())));
    world.provider.on_sequence(
        "/write",
        [Answer::verbatim("").end(End::Close), Answer::json_text(200, "{}")],
    );
    world.provider.forget();
    let failed = world.send(Method::POST, "/write").await.map(drop).unwrap_err();
    assert_eq!(failed.code(), "provider_reset");
    assert_eq!(world.provider.requests().len(), 1);
}

#[tokio::test]
async fn answers_that_were_not_read_to_the_end_end_their_connection() {
    let world = plain();
    let response = world.send(Method::GET, "/fault/none").await.unwrap();
    drop(response);
    world.get("/fault/none").await.unwrap();
    assert_eq!(world.provider.connections(), 2);
    let closing = Answer::json_text(200, "{}").end(End::Close);
    world.provider.on("/closing", closing);
    world.get("/closing").await.unwrap();
    world.get("/fault/none").await.unwrap();
    assert_eq!(world.provider.connections(), 3);
}

#[tokio::test]
async fn policies_do_not_share_connections() {
    let mut world = plain();
    world.get("/fault/none").await.unwrap();
    world.policy = GuardPolicy::new(&[world.provider.host_port(), "example.internal:80"]).unwrap();
    world.get("/fault/none").await.unwrap();
    assert_eq!(world.provider.connections(), 2);
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let mut world = plain();
    world.provider.stop();
    assert_eq!(world.code("/").await, "provider_unreachable");
}

#[tokio::test]
async fn certificates_are_verified() {
    let good = FaultyProvider::start_tls().unwrap();
    let root = good.root_pem().unwrap().to_owned();
    let trusted = world(good, Some(&root));
    assert_eq!(trusted.get("/fault/none").await.unwrap().0, 200);
    let unknown = world(FaultyProvider::start_tls().unwrap(), None);
    assert_eq!(unknown.code("/").await, "provider_tls_failed");
    for options in [
        TlsOptions { is_expired: true, ..TlsOptions::default() },
        TlsOptions { names: vec!["other.example".into()], ..TlsOptions::default() },
    ] {
        let bad = FaultyProvider::start_tls_with(&options).unwrap();
        let root = bad.root_pem().unwrap().to_owned();
        let bad = world(bad, Some(&root));
        assert_eq!(bad.code("/").await, "provider_tls_failed", "{options:?}");
    }
    let old = TlsOptions { is_tls12_only: true, ..TlsOptions::default() };
    let old = FaultyProvider::start_tls_with(&old).unwrap();
    let root = old.root_pem().unwrap().to_owned();
    assert_eq!(world(old, Some(&root)).get("/fault/none").await.unwrap().0, 200);
    assert!(TlsConfig::new(Some(b"no certificate")).is_err());
}

/// A name that pointed to a public address when it was judged, and to a private one when it is
/// connected to, is judged at each connection: the private one sees nothing.
#[tokio::test]
async fn rebinding_reaches_nobody() {
    let victim = FaultyProvider::start().unwrap();
    let port = victim.addr().port();
    let table = BTreeMap::from([(
        "rebind.example".to_owned(),
        vec!["127.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()],
    )]);
    let tls = Arc::new(TlsConfig::new(None).unwrap());
    let pool = Pool::new(PoolConfig::new(Arc::new(FixedResolver(table)), tls));
    let none = GuardPolicy::default();
    let target = Target::parse(&format!("https://rebind.example:{port}/"), &none).unwrap();
    for _ in 0..3 {
        let refused = pool.checkout(&target, &none, &Deadlines::default()).await.map(drop);
        assert!(matches!(refused, Err(OutboundError::AddressRefused(_))), "{refused:?}");
    }
    assert_eq!(victim.connections(), 0);
}

#[tokio::test]
async fn lengths_are_believed_in_one_way_only() {
    let world = plain();
    let text = testkit::thing("1").to_string();
    let half = Answer::json_text(200, text.clone()).framing(Framing::Declared(10));
    world.provider.on("/half", half);
    assert_eq!(world.get("/half").await, Ok((200, text.as_bytes()[..10].to_vec())));
    // What stood behind it is not the next answer.
    assert_eq!(world.get("/fault/none").await, Ok((200, text.into_bytes())));
}
