//! A request as it is sent: to this host, framed by us.

use crate::OutboundError;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Version, header};
use http_body::Body as _;
use http_body_util::Full;

/// Headers of one hop (RFC 9110 §7.6.1), and those that tell where a message ends: never taken over.
const OURS: [HeaderName; 10] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Checks the target and sets the host.
pub(crate) fn prepare(
    mut request: Request<Full<Bytes>>,
    authority: &str,
) -> Result<Request<Full<Bytes>>, OutboundError> {
    let unsendable = |what| OutboundError::Unsendable { what };
    if request.method() == Method::CONNECT {
        return Err(unsendable("a tunnel is never asked for"));
    }
    let uri = request.uri();
    if uri.authority().is_some() || !uri.path().starts_with('/') {
        return Err(unsendable("its target is no path"));
    }
    let host = HeaderValue::from_str(authority).map_err(|_| unsendable("its host"))?;
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    for name in &OURS {
        headers.remove(name);
    }
    headers.insert(header::HOST, host);
    // Otherwise the length is told by the codec; where a body has a meaning, so has its absence
    // (RFC 9110 §8.6), and some servers answer 411.
    let expects_body = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    if expects_body && request.body().size_hint().exact() == Some(0) {
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_and_host_are_ours() {
        let mut request = Request::builder().method("POST").uri("/a?b=c");
        for name in &OURS {
            request = request.header(name, "1").header(name, "2");
        }
        let request = request.header("x-kept", "1").body(Full::default()).unwrap();
        let request = prepare(request, "api.example:8443").unwrap();
        let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "host", "x-kept"]);
        assert_eq!(request.headers()["host"], "api.example:8443");
        assert_eq!(request.headers()["content-length"], "0");
        assert_eq!(request.uri(), "/a?b=c");
    }

    #[test]
    fn only_paths_are_sent() {
        for (method, uri) in [
            ("CONNECT", "evil.example:443"),
            ("GET", "http://evil.example/"),
            ("GET", "evil.example:80"),
            ("OPTIONS", "*"),
        ] {
            let request = Request::builder().method(method).uri(uri).body(Full::default());
            let refused = prepare(request.unwrap(), "api.example");
            assert!(matches!(refused, Err(OutboundError::Unsendable { .. })), "{uri}");
        }
    }
}
