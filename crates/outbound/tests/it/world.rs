//! A provider that misbehaves, and a pool that reaches it.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use outbound::{
    Deadlines, FixedResolver, GuardPolicy, OutboundError, Pool, PoolConfig, PoolFigures, Target,
    TlsConfig, UpstreamBody,
};
use std::{cell::Cell, collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};
use testkit::FaultyProvider;
use types::Fault;

pub struct World {
    pub provider: FaultyProvider,
    pub pool: Pool,
    pub target: Target,
    pub policy: GuardPolicy,
    pub deadlines: Deadlines,
    pub figures: Arc<PoolFigures>,
    /// Of the last request.
    attempts: Cell<u64>,
}

pub const SHORT: Duration = Duration::from_millis(300);

pub fn config(roots: Option<&str>) -> PoolConfig {
    let tls = TlsConfig::new(roots.map(str::as_bytes)).unwrap();
    let localhost = BTreeMap::from([("localhost".to_owned(), vec![IpAddr::from([127, 0, 0, 1])])]);
    let mut config = PoolConfig::new(Arc::new(FixedResolver(localhost)), Arc::new(tls));
    config.max_answer_bytes = 4 << 20;
    config
}

pub fn world_with(provider: FaultyProvider, config: PoolConfig) -> World {
    let policy = GuardPolicy::new(&[provider.host_port()]).unwrap();
    let target = Target::parse(provider.url(), &policy).unwrap();
    let tls = Duration::from_secs(2);
    let deadlines = Deadlines { head: SHORT, idle: SHORT, tls, ..Deadlines::default() };
    let figures = Arc::clone(&config.figures);
    let attempts = Cell::new(0);
    World { provider, pool: Pool::new(config), target, policy, deadlines, figures, attempts }
}

pub fn world(provider: FaultyProvider, roots: Option<&str>) -> World {
    world_with(provider, config(roots))
}

pub fn plain() -> World {
    world(FaultyProvider::start().unwrap(), None)
}

/// A provider with TLS whose authority is trusted.
pub fn trusted() -> World {
    let provider = FaultyProvider::start_tls().unwrap();
    let root = provider.root_pem().unwrap().to_owned();
    world(provider, Some(&root))
}

pub async fn collect(response: Response<UpstreamBody>) -> Result<Vec<u8>, OutboundError> {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next_chunk().await? {
        assert!(!chunk.is_empty() && chunk.len() <= 64 << 10, "{}", chunk.len());
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(body.next_chunk().await, Ok(None));
    Ok(bytes)
}

impl World {
    pub async fn send(
        &self,
        method: Method,
        path: &str,
    ) -> Result<Response<UpstreamBody>, OutboundError> {
        let lease = self.pool.checkout(&self.target, &self.policy, &self.deadlines).await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("accept-encoding", "gzip, br")
            .body(Full::new(Bytes::new()));
        let mut attempts = 0;
        let answered = lease.send_counted(request.unwrap(), &mut attempts).await;
        self.attempts.set(attempts);
        answered
    }

    pub fn attempts(&self) -> u64 {
        self.attempts.get()
    }

    pub async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), OutboundError> {
        let response = self.send(Method::GET, path).await?;
        Ok((response.status().as_u16(), collect(response).await?))
    }

    pub async fn failure(&self, path: &str) -> OutboundError {
        match self.get(path).await {
            Ok((status, body)) => panic!("{path}: {status} with {} bytes", body.len()),
            Err(error) => error,
        }
    }

    pub async fn code(&self, path: &str) -> &'static str {
        self.failure(path).await.code()
    }
}
