//! Where telemetry goes, and with which headers.

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use outbound::{GuardPolicy, Target, TargetError};
use std::{fmt, fs, io, net::IpAddr, os::unix::fs::PermissionsExt as _, path::Path};
use zeroize::Zeroizing;

/// The most bytes of a file of headers.
const MAX_FILE_BYTES: u64 = 64 * 1_024;

/// A collector or a witness: https, or plain http on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) target: Target,
    /// The operator named it, so that a private network is no reason to refuse it.
    pub(crate) policy: GuardPolicy,
}

/// Why a text is no endpoint. Says nothing of what may be secret in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("is no URL with a host")]
    Malformed,
    #[error("would be reached without TLS")]
    Plain,
    #[error("is refused: {0}")]
    Target(#[from] TargetError),
    #[error("is refused: {0}")]
    Policy(#[from] outbound::PolicyError),
}

impl Endpoint {
    pub(crate) fn parse(text: &str) -> Result<Self, EndpointError> {
        let uri: Uri = text.parse().map_err(|_| EndpointError::Malformed)?;
        let host = uri.host().ok_or(EndpointError::Malformed)?;
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let is_plain = uri.scheme_str() == Some("http");
        if is_plain && !address.is_ok_and(|address| address.is_loopback()) {
            return Err(EndpointError::Plain);
        }
        let port = uri.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
        // What stands before the host may be a password: it is refused below, and not repeated.
        let policy = GuardPolicy::new(&[format!("{host}:{port}")])?;
        Ok(Self { target: Target::parse(text, &policy)?, policy })
    }
}

/// Why a file of headers is refused. Names lines, never what stands in them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadersError {
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("others than its owner and group may read it")]
    Open,
    #[error("it is longer than {MAX_FILE_BYTES} bytes, or no text")]
    NoText,
    #[error("line {line} is no header of the form `Name: value`")]
    Malformed { line: usize },
    #[error("line {line} sets a header that the export sets itself")]
    Ours { line: usize },
}

const OURS: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::ACCEPT_ENCODING,
];

/// Headers that authenticate us to the collector. Not printed.
#[derive(Clone, Default)]
pub(crate) struct Headers(pub(super) HeaderMap);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Headers").field("count", &self.0.len()).finish_non_exhaustive()
    }
}

impl Headers {
    /// One `Name: value` a line; empty lines and those that begin with `#` count for nothing.
    pub(crate) fn read(path: &Path) -> Result<Self, HeadersError> {
        let facts = fs::metadata(path).map_err(HeadersError::Unreadable)?;
        if facts.permissions().mode() & 0o007 != 0 {
            return Err(HeadersError::Open);
        }
        if facts.len() > MAX_FILE_BYTES {
            return Err(HeadersError::NoText);
        }
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => HeadersError::NoText,
            _ => HeadersError::Unreadable(error),
        });
        Self::parse(&Zeroizing::new(text?))
    }

    fn parse(text: &str) -> Result<Self, HeadersError> {
        let mut headers = HeaderMap::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let malformed = || HeadersError::Malformed { line: line_number };
            let (name, value) = line.split_once(':').ok_or_else(malformed)?;
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed())?;
            let mut value = HeaderValue::from_str(value.trim()).map_err(|_| malformed())?;
            value.set_sensitive(true);
            if OURS.contains(&name) {
                return Err(HeadersError::Ours { line: line_number });
            }
            headers.append(name, value);
        }
        Ok(Self(headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telemetry_goes_by_tls_or_stays_on_this_machine() {
        for good in [
            "https://collector.example.com:4318",
            "https://10.1.2.3/otlp",
            "https://collector.monitoring.svc/",
            "http://127.0.0.1:4318",
            "http://[::1]:4318/prefix",
        ] {
            assert!(Endpoint::parse(good).is_ok(), "{good}: {:?}", Endpoint::parse(good));
        }
        for bad in [
            "",
            "collector:4318",
            "/v1",
            "http://collector.example.com",
            "http://localhost:4318",
            "http://10.0.0.1:4318",
            "grpc://127.0.0.1:4317",
            "https://169.254.169.254/",
            "https://user:canary-word@collector.example.com",
            "https://collector.example.com?token=canary-word",
        ] {
            let refused = Endpoint::parse(bad).unwrap_err();
            assert!(!format!("{refused} {refused:?}").contains("canary"), "{refused:?}");
        }
    }

    #[test]
    fn headers_are_read_and_never_shown() {
        let text = "# for the vendor\nAuthorization: Bearer canary-word\r\n\nx-team:  a:b \n";
        let headers = Headers::parse(text).unwrap();
        assert_eq!(headers.0["authorization"], "Bearer canary-word");
        assert_eq!(headers.0["x-team"], "a:b");
        assert!(!format!("{headers:?} {:?}", headers.0).contains("canary"));
        for (bad, line) in [("a: b\ncanary-word", 2), ("a b: c", 1), (": c", 1)] {
            let refused = Headers::parse(bad).unwrap_err();
            assert!(matches!(refused, HeadersError::Malformed { line: found } if found == line));
            assert!(!format!("{refused} {refused:?}").contains("canary"), "{refused:?}");
        }
        let ours = Headers::parse("Content-Length: 5").unwrap_err();
        assert!(matches!(ours, HeadersError::Ours { line: 1 }));
    }

    #[test]
    fn a_file_that_all_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("headers");
        fs::write(&path, "a: b").unwrap();
        for (mode, is_read) in [(0o644, false), (0o604, false), (0o640, true), (0o400, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Headers::read(&path).is_ok(), is_read, "{mode:o}");
        }
    }
}
