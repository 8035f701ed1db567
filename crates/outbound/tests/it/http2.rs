//! HTTP/2 with a server that others wrote: many calls on one connection, each by itself.

use crate::world::{SHORT, collect, config};
use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body_util::Full;
use outbound::{
    Deadlines, GuardPolicy, OutboundError, Pool, PoolConfig, PoolFigures, Target, UpstreamBody,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use testkit::{Answer, End, Framing, Http2Provider, RawPeer};

/// A pool that reaches a provider over TLS.
pub struct Reach {
    pub pool: Pool,
    pub target: Target,
    pub policy: GuardPolicy,
    pub deadlines: Deadlines,
    pub figures: Arc<PoolFigures>,
}

impl Reach {
    pub fn new(url: &str, host_port: &str, root: &str) -> Self {
        Self::with(url, host_port, config(Some(root)))
    }

    pub fn with(url: &str, host_port: &str, config: PoolConfig) -> Self {
        let policy = GuardPolicy::new(&[host_port]).unwrap();
        let target = Target::parse(url, &policy).unwrap();
        let seconds = Duration::from_secs;
        let deadlines = Deadlines { head: seconds(3), idle: seconds(3), ..Deadlines::default() };
        let figures = Arc::clone(&config.figures);
        Self { pool: Pool::new(config), target, policy, deadlines, figures }
    }

    pub fn provider(provider: &Http2Provider) -> Self {
        Self::new(provider.url(), provider.host_port(), provider.root_pem())
    }

    pub fn raw(peer: &RawPeer) -> Self {
        Self::new(&peer.url(), &peer.host_port(), peer.root_pem())
    }

    pub async fn send(
        &self,
        request: http::request::Builder,
        body: Vec<u8>,
    ) -> Result<Response<UpstreamBody>, OutboundError> {
        let lease = self.pool.checkout(&self.target, &self.policy, &self.deadlines).await?;
        lease.send(request.body(Full::new(Bytes::from(body))).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), OutboundError> {
        let response = self.send(Request::get(path), Vec::new()).await?;
        assert_eq!(response.version(), Version::HTTP_2);
        Ok((response.status().as_u16(), collect(response).await?))
    }

    pub async fn post(&self, path: &str, body: Vec<u8>) -> Result<(u16, Vec<u8>), OutboundError> {
        let response = self.send(Request::post(path), body).await?;
        Ok((response.status().as_u16(), collect(response).await?))
    }

    pub async fn code(&self, path: &str) -> &'static str {
        use types::Fault as _;
        match self.get(path).await {
            Ok((status, body)) => panic!("{path}: {status} with {} bytes", body.len()),
            Err(error) => error.code(),
        }
    }
}

fn started() -> (Http2Provider, Reach) {
    let provider = Http2Provider::start().unwrap();
    let reach = Reach::provider(&provider);
    (provider, reach)
}

fn fine() -> Answer {
    Answer::json_text(200, "{}")
}

/// So many calls at once; all must succeed.
async fn at_once(reach: &Reach, path: &str, calls: usize) {
    let calls = (0..calls).map(|_| reach.get(path));
    for answered in futures_util::future::join_all(calls).await {
        assert_eq!(answered.unwrap().0, 200);
    }
}

fn used(provider: &Http2Provider) -> BTreeSet<usize> {
    provider.requests().iter().map(|received| received.connection).collect()
}

#[tokio::test]
async fn calls_at_once_share_a_connection() {
    let (provider, reach) = started();
    provider.on("/slow", fine().pause_before_head(Duration::from_millis(100)));
    assert_eq!(reach.get("/fault/none").await.unwrap().0, 200);
    // One after the other they would be too late.
    at_once(&reach, "/slow", 60).await;
    assert_eq!((provider.connections(), provider.http1_connections()), (1, 0));
    assert_eq!((reach.figures.opened(), reach.figures.reused()), (1, 60));
    assert_eq!((reach.figures.answers(), reach.figures.idle()), ([0, 61], 1));
}

#[tokio::test]
async fn a_provider_that_takes_fewer_gets_fewer() {
    let provider = Http2Provider::start_with(3).unwrap();
    let reach = Reach::provider(&provider);
    provider.on("/slow", fine().pause_before_head(Duration::from_millis(150)));
    reach.get("/fault/none").await.unwrap();
    at_once(&reach, "/slow", 9).await;
    let calls = provider.requests();
    let most = used(&provider)
        .iter()
        .map(|number| calls.iter().filter(|call| call.connection == *number).count())
        .max();
    assert!(most <= Some(4), "{most:?}");
    assert_eq!(calls.len(), 10);
}

/// What comes at once after the first time waits for one handshake.
#[tokio::test]
async fn calls_that_come_at_once_make_one_connection() {
    let provider = Http2Provider::start().unwrap();
    let mut config = config(Some(provider.root_pem()));
    config.max_idle = 0;
    let reach = Reach::with(provider.url(), provider.host_port(), config);
    provider.on("/slow", fine().pause_before_head(Duration::from_millis(50)));
    reach.get("/slow").await.unwrap();
    assert_eq!(reach.figures.idle(), 0);
    for round in 2..5 {
        at_once(&reach, "/slow", 30).await;
        assert_eq!(provider.connections(), round);
    }
}

#[tokio::test]
async fn a_failed_handshake_fails_all_who_wait_for_it() {
    let (provider, reach) = started();
    reach.get("/fault/none").await.unwrap();
    let host_port = provider.host_port().to_owned();
    drop(provider);
    for failed in futures_util::future::join_all((0..10).map(|_| reach.get("/a"))).await {
        use types::Fault as _;
        assert_eq!(failed.unwrap_err().code(), "provider_unreachable", "{host_port}");
    }
}

#[tokio::test]
async fn owners_and_protocols_do_not_share() {
    let (provider, mut reach) = started();
    for (round, owner) in [[1; 16], [2; 16]].into_iter().enumerate() {
        reach.policy = reach.policy.owned_by(owner);
        at_once(&reach, "/fault/none", 1).await;
        at_once(&reach, "/fault/none", 5).await;
        assert_eq!(provider.connections(), round + 1);
    }
    reach.target = reach.target.over_http1_only();
    let answer = reach.send(Request::get("/fault/none"), Vec::new()).await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_11);
    collect(answer).await.unwrap();
    assert_eq!((provider.connections(), provider.http1_connections()), (3, 1));
    assert_eq!(reach.figures.answers(), [1, 12]);
}

#[tokio::test]
async fn requests_arrive_as_they_are_meant() {
    let (provider, reach) = started();
    for length in [0, 1, 70_000, 1 << 20] {
        let request = Request::post("/fault/none?a=b")
            .header("Transfer-Encoding", "chunked")
            .header("Content-Length", "7")
            .header("Connection", "x-kept, close")
            .header("Host", "evil.example")
            .header("Expect", "100-continue")
            .header("TE", "gzip")
            .header("X-Kept", "1");
        let answer = reach.send(request, vec![b'x'; length]).await.unwrap();
        collect(answer).await.unwrap();
        let seen = provider.requests().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/fault/none?a=b"));
        assert_eq!(seen.body.len(), length);
        let mut headers = seen.headers;
        headers.sort();
        let wanted = [
            (":authority".to_owned(), provider.host_port().to_owned()),
            ("content-length".to_owned(), length.to_string()),
            ("x-kept".to_owned(), "1".to_owned()),
        ];
        assert_eq!(headers, wanted);
    }
    reach.get("/fault/none").await.unwrap();
    let seen = provider.requests().pop().unwrap();
    assert_eq!(seen.headers, [(":authority".to_owned(), provider.host_port().to_owned())]);
    assert_eq!(provider.connections(), 1);
}

/// A call that fails is the only one that does.
#[tokio::test]
async fn broken_answers_are_told_apart_and_hurt_nobody() {
    let (provider, mut reach) = started();
    reach.deadlines.head = Duration::from_secs(1);
    reach.deadlines.idle = Duration::from_secs(1);
    assert!(testkit::fault("gzip-bomb").is_some());
    let long = Answer::json_text(200, vec![b' '; 1 << 20]).in_pieces_of(1 << 15);
    provider.on("/beside", long.pause_before_parts(Duration::from_millis(20)));
    for (kind, wanted) in [
        ("reset", "provider_reset"),
        ("close", "provider_reset"),
        ("slow-head", "provider_timeout"),
        ("slow-body", "provider_body_timeout"),
        ("reset-in-body", "provider_reset"),
        ("truncated", "provider_reset"),
        ("chunked-cut", "provider_reset"),
        ("gzip-cut", "provider_malformed"),
        ("gzip-lie", "provider_malformed"),
        ("gzip-bomb", "provider_bomb"),
    ] {
        let path = format!("/fault/{kind}");
        let (code, beside) = tokio::join!(reach.code(&path), reach.get("/beside"));
        assert_eq!(code, wanted, "{kind}");
        assert_eq!(beside.map(|(status, body)| (status, body.len())), Ok((200, 1 << 20)), "{kind}");
    }
    for kind in ["none", "chunked", "gzip"] {
        let wanted = testkit::thing("1").to_string().into_bytes();
        assert_eq!(reach.get(&format!("/fault/{kind}")).await, Ok((200, wanted)), "{kind}");
    }
    assert_eq!(used(&provider).len(), provider.connections());
    assert!(provider.connections() <= 2, "{}", provider.connections());
}

#[tokio::test]
async fn sizes_are_bounded() {
    let (provider, reach) = started();
    provider.on("/large", Answer::json_text(200, vec![b' '; (4 << 20) + 1]));
    assert_eq!(reach.code("/large").await, "provider_answer_too_large");
    provider.on("/fits", Answer::json_text(200, vec![b' '; 4 << 20]));
    assert_eq!(reach.get("/fits").await.unwrap().1.len(), 4 << 20);
    let long = "x".repeat(70_000);
    provider.on("/head", fine().header("X-Long", &long));
    assert_eq!(reach.code("/head").await, "provider_malformed");
    for (more, is_fine) in [(124, true), (200, false)] {
        let many =
            (0..more).fold(fine(), |answer, number| answer.header(&format!("X-{number}"), "a"));
        provider.on("/many", many);
        assert_eq!(reach.get("/many").await.is_ok(), is_fine, "{more}");
    }
    provider.on("/coded", fine().header("Content-Encoding", "compress"));
    assert_eq!(reach.code("/coded").await, "provider_encoding");
}

#[tokio::test]
async fn a_refused_call_is_sent_again_once() {
    let (provider, reach) = started();
    reach.get("/fault/none").await.unwrap();
    for method in [Method::GET, Method::POST, Method::DELETE] {
        provider.refuse(1);
        let before = provider.requests().len();
        let request = Request::builder().method(method.clone()).uri("/fault/none");
        let answer = reach.send(request, b"once".to_vec()).await.unwrap();
        collect(answer).await.unwrap();
        let seen = provider.requests();
        assert_eq!(seen.len(), before + 1, "{method}");
        assert_eq!(seen.last().unwrap().body, b"once");
    }
    provider.refuse(2);
    assert_eq!(reach.code("/fault/none").await, "provider_reset");
}

/// The provider ends the connection in order: what is under way ends too, and nothing fails.
#[tokio::test]
async fn a_connection_that_is_taken_away_is_replaced() {
    let (provider, mut reach) = started();
    reach.deadlines.head = Duration::from_secs(5);
    reach.get("/fault/none").await.unwrap();
    provider.on("/slow", fine().pause_before_head(Duration::from_millis(400)));
    let away = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        provider.go_away();
        tokio::time::sleep(Duration::from_millis(100)).await;
        reach.post("/fault/none", b"{}".to_vec()).await
    };
    let (under_way, later) = tokio::join!(at_once(&reach, "/slow", 20), away);
    assert_eq!(((), later.unwrap().0), (under_way, 200));
    assert_eq!(provider.connections(), 2);
}

#[tokio::test]
async fn a_provider_that_is_gone_is_found_again() {
    let (provider, reach) = started();
    for _ in 0..20 {
        at_once(&reach, "/fault/none", 5).await;
        provider.go_away();
    }
    assert!(provider.connections() >= 10, "{}", provider.connections());
}

/// Whoever does not read holds up nobody else, and no more than a window is sent to it.
#[tokio::test]
async fn slow_readers_stall_nobody() {
    let (provider, mut reach) = started();
    reach.deadlines.head = Duration::from_secs(5);
    let large = vec![b' '; 2 << 20];
    provider.on("/large", Answer::json_text(200, large).in_pieces_of(1 << 16));
    reach.get("/fault/none").await.unwrap();
    let mut unread = Vec::new();
    for _ in 0..60 {
        unread.push(reach.send(Request::get("/large"), Vec::new()).await.unwrap());
    }
    assert_eq!(reach.get("/large").await.unwrap().1.len(), 2 << 20);
    assert_eq!(provider.connections(), 1);
    // They go on where they stood.
    let body = collect(unread.pop().unwrap()).await.unwrap();
    assert_eq!(body.len(), 2 << 20);
    drop(unread);
    reach.get("/fault/none").await.unwrap();
    assert_eq!(provider.connections(), 1);
}

#[tokio::test]
async fn idle_connections_are_few_and_short_lived() {
    for (change, wanted) in
        [("", 1), ("max_idle", 2), ("max_idle_total", 2), ("idle_life", 2), ("max_age", 2)]
    {
        let provider = Http2Provider::start().unwrap();
        let mut config = config(Some(provider.root_pem()));
        match change {
            "max_idle" => config.max_idle = 0,
            "max_idle_total" => config.max_idle_total = 0,
            "idle_life" => config.idle_life = Duration::ZERO,
            "max_age" => config.max_age = Duration::ZERO,
            _ => {}
        }
        let reach = Reach::with(provider.url(), provider.host_port(), config);
        reach.get("/fault/none").await.unwrap();
        reach.get("/fault/none").await.unwrap();
        assert_eq!(provider.connections(), wanted, "{change}");
    }
}

#[tokio::test]
async fn answers_without_content_end_at_once() {
    let (provider, mut reach) = started();
    provider.on("/none", Answer::status(204));
    provider.on("/same", Answer::status(304));
    provider.on("/coded", Answer::status(200).header("Content-Encoding", "gzip"));
    for (path, status) in [("/none", 204), ("/same", 304), ("/coded", 200)] {
        assert_eq!(reach.get(path).await, Ok((status, Vec::new())), "{path}");
    }
    let unread = Answer::json_text(200, "{}").framing(Framing::Chunked).end(End::Silence);
    provider.on("/silent", unread);
    reach.deadlines.idle = SHORT;
    drop(reach.send(Request::get("/silent"), Vec::new()).await.unwrap());
    assert_eq!(reach.code("/silent").await, "provider_body_timeout");
    reach.get("/none").await.unwrap();
    assert_eq!((provider.connections(), reach.figures.idle()), (1, 1));
}
