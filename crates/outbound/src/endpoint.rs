//! Servers that the operator names in the configuration: a collector, a witness, an identity provider.

use crate::{GuardPolicy, PolicyError, Target, TargetError};
use http::Uri;
use std::net::IpAddr;

/// A server that the operator named: https, or plain http on this machine.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub target: Target,
    /// The operator named it, so that a private network is no reason to refuse it.
    pub policy: GuardPolicy,
}

/// Why a text is no endpoint. Says nothing of what may be secret in it.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("is no URL with a host")]
    Malformed,
    #[error("would be reached without TLS")]
    Plain,
    #[error("is refused: {0}")]
    Target(#[from] TargetError),
    #[error("is refused: {0}")]
    Policy(#[from] PolicyError),
}

impl Endpoint {
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_goes_by_tls_or_stays_on_this_machine() {
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
}
