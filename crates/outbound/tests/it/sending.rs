//! What the provider sees of a request.

use crate::world::{collect, plain};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use outbound::OutboundError;

#[tokio::test]
async fn bodies_arrive_framed_by_their_length() {
    let world = plain();
    for length in [0, 1, 70_000, 1 << 20] {
        let lease = world.pool.checkout(&world.target, &world.policy, &world.deadlines).await;
        let request = Request::post("/fault/none?a=b")
            .header("Transfer-Encoding", "chunked")
            .header("Content-Length", "7")
            .header("Connection", "x-kept, close")
            .header("Host", "evil.example")
            .header("Expect", "100-continue")
            .header("X-Kept", "1")
            .body(Full::new(Bytes::from(vec![b'x'; length])));
        collect(lease.unwrap().send(request.unwrap()).await.unwrap()).await.unwrap();
        let seen = world.provider.last_request().unwrap();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/fault/none?a=b"));
        assert_eq!(seen.body.len(), length);
        let mut headers = seen.headers;
        headers.sort();
        let host = world.provider.host_port().to_owned();
        let wanted = [
            ("content-length".to_owned(), length.to_string()),
            ("host".to_owned(), host),
            ("x-kept".to_owned(), "1".to_owned()),
        ];
        assert_eq!(headers, wanted);
    }
    assert_eq!(world.provider.connections(), 1);
}

#[tokio::test]
async fn reads_have_no_body() {
    let world = plain();
    world.send(Method::GET, "/fault/none").await.unwrap();
    let seen = world.provider.last_request().unwrap();
    let sent = seen.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let wanted = [("accept-encoding", "gzip, br"), ("host", world.provider.host_port())];
    assert_eq!(sent.collect::<Vec<_>>(), wanted);
}

#[tokio::test]
async fn only_paths_are_sent() {
    let world = plain();
    for (method, uri) in
        [("GET", "http://evil.example/"), ("CONNECT", "evil.example:443"), ("OPTIONS", "*")]
    {
        let lease = world.pool.checkout(&world.target, &world.policy, &world.deadlines).await;
        let request = Request::builder().method(method).uri(uri).body(Full::default());
        let refused = lease.unwrap().send(request.unwrap()).await.map(drop);
        assert!(matches!(refused, Err(OutboundError::Unsendable { .. })), "{uri}");
    }
    assert!(world.provider.requests().is_empty());
}
