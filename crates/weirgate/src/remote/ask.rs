//! One question to the control API of a server, by a personal access token.

use crate::{
    config::Config,
    output::{AUTHENTICATION, FAILED, Failure, NOT_FOUND, REFUSED, UNREACHABLE, USAGE, chain},
    provider_tls::provider_tls,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use outbound::{Deadlines, Endpoint, HickoryResolver, OutboundError, Pool, PoolConfig};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 * 1_024 * 1_024;

/// A server, and who asks it.
pub(super) struct Server {
    endpoint: Endpoint,
    pool: Pool,
    token: HeaderValue,
}

impl Server {
    pub(super) fn new(url: &str, token: &[u8], config: &Config) -> Result<Self, Failure> {
        let endpoint = Endpoint::parse(url.trim_end_matches('/')).map_err(|error| {
            let remedy = "Give the console's URL, like https://gate.example.com:8401; without TLS \
                          only as http://127.0.0.1:8401.";
            Failure::new(USAGE, format!("what --server-url gives {error}"), remedy)
        })?;
        let bearer = Zeroizing::new([b"Bearer ", token.trim_ascii()].concat());
        let mut token = HeaderValue::from_bytes(&bearer).map_err(|_| {
            let remedy = "Put the token that the console showed into it, and nothing else.";
            Failure::new(USAGE, "the file of --token-file holds no token", remedy)
        })?;
        token.set_sensitive(true);
        let (tls, _) = provider_tls(config)?;
        let resolver = HickoryResolver::from_system().map_err(app::Error::from)?;
        let pool = Pool::new(PoolConfig {
            max_idle: 1,
            max_answer_bytes: MAX_ANSWER_BYTES,
            ..PoolConfig::new(Arc::new(resolver), tls)
        });
        Ok(Self { endpoint, pool, token })
    }

    /// What it answers; a refusal is a failure, in the server's words.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let Endpoint { target, policy } = &self.endpoint;
        let unsendable = |error: http::Error| {
            Failure::new(USAGE, "the request cannot be written", chain(&error))
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", target.base_path()))
            .header(header::AUTHORIZATION, self.token.clone())
            .body(Full::new(Bytes::from(body.map(Value::to_string).unwrap_or_default())))
            .map_err(unsendable)?;
        if body.is_some() {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        let seconds = Duration::from_secs;
        let deadlines = Deadlines {
            head: seconds(30),
            idle: seconds(10),
            total: seconds(60),
            ..Deadlines::default()
        };
        let lease = self.pool.checkout(target, policy, &deadlines).await.map_err(unreached)?;
        let answered = lease.send(request).await.map_err(unreached)?;
        let status = answered.status();
        let mut wire = answered.into_body();
        let mut answer = Vec::new();
        while let Some(chunk) = wire.next_chunk().await.map_err(unreached)? {
            answer.extend_from_slice(&chunk);
        }
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let said: Option<Value> = serde_json::from_slice(&answer).ok();
        match said {
            Some(said) if status.is_success() => Ok(said),
            said => Err(refused(status, said.as_ref())),
        }
    }
}

fn unreached(error: OutboundError) -> Failure {
    let remedy = "Look at --server-url, and whether the server runs.";
    Failure::new(UNREACHABLE, format!("the server was not reached: {}", chain(&error)), remedy)
}

/// A problem document, or what is none.
fn refused(status: StatusCode, said: Option<&Value>) -> Failure {
    let exit = match status {
        StatusCode::UNAUTHORIZED => AUTHENTICATION,
        StatusCode::FORBIDDEN | StatusCode::CONFLICT => REFUSED,
        StatusCode::NOT_FOUND => NOT_FOUND,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => USAGE,
        _ => FAILED,
    };
    let text = |name: &str| said.and_then(|said| said.get(name)).and_then(Value::as_str);
    let Some(detail) = text("detail") else {
        let remedy = "Look at --server-url: it is the console's URL.";
        return Failure::new(
            FAILED,
            format!("the server's answer is none of ours: {status}"),
            remedy,
        );
    };
    let mut failure = Failure::new(exit, detail, text("remedy").unwrap_or_default());
    let problems = said.and_then(|said| said.get("problems")).and_then(Value::as_array);
    for problem in problems.into_iter().flatten() {
        failure.problems.push(problem.as_str().map_or_else(|| problem.to_string(), str::to_owned));
    }
    failure
}
