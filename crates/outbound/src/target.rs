//! A provider's server: where requests go.

use crate::{
    address::{AddressClass, classify, is_metadata_name},
    guard::{GuardPolicy, host_text, literal},
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use url::{Host, Url};

/// A checked base URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target(Arc<Parts>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Parts {
    is_https: bool,
    is_http1_only: bool,
    host: String,
    address: Option<IpAddr>,
    port: u16,
    base_path: String,
    base_url: String,
}

/// Why a URL is no target. Says nothing of what may be secret in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("it is no URL with a host")]
    Malformed,
    #[error("its scheme is neither https nor http")]
    Scheme,
    #[error("it carries a user name or password")]
    UserInfo,
    #[error("it has a query or a fragment")]
    Query,
    #[error("plain http was not allowed for this host and port")]
    Http,
    #[error("its address is {}", .0.as_str())]
    Address(AddressClass),
}

impl Target {
    /// Reads a base URL; a literal address is judged at once.
    pub fn parse(text: &str, policy: &GuardPolicy) -> Result<Self, TargetError> {
        // What a URL parser skips or reads in silence, two of them read differently.
        let (_, rest) = text.split_once("://").ok_or(TargetError::Malformed)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let is_odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
        if authority.is_empty() || text.contains(is_odd) {
            return Err(TargetError::Malformed);
        }
        if authority.contains('@') {
            return Err(TargetError::UserInfo);
        }
        let url = Url::parse(text).map_err(|_| TargetError::Malformed)?;
        let is_https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(TargetError::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::UserInfo);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(TargetError::Query);
        }
        let host = url.host().ok_or(TargetError::Malformed)?.to_owned();
        let port = url.port_or_known_default().filter(|port| *port > 0);
        let port = port.ok_or(TargetError::Malformed)?;
        let address = literal(&host);
        let text = host_text(&host);
        if address.is_none() && !is_host_name(&text) {
            return Err(TargetError::Malformed);
        }
        if is_metadata_name(&text) {
            return Err(TargetError::Address(AddressClass::Metadata));
        }
        if let Some(address) = address {
            policy
                .judge(&text, SocketAddr::new(address, port))
                .map_err(|_| TargetError::Address(classify(address)))?;
        }
        if !is_https && !policy.allows_http(&text, port) {
            return Err(TargetError::Http);
        }
        let base_path = url.path().trim_end_matches('/').to_owned();
        let base_url = format!("{}{base_path}", origin(is_https, &host, port));
        let host = text;
        let is_http1_only = false;
        let parts = Parts { is_https, is_http1_only, host, address, port, base_path, base_url };
        Ok(Self(Arc::new(parts)))
    }

    /// The same server, without offering it HTTP/2.
    #[must_use]
    pub fn over_http1_only(mut self) -> Self {
        Arc::make_mut(&mut self.0).is_http1_only = true;
        self
    }

    /// Without a final slash; empty for the root.
    pub fn base_path(&self) -> &str {
        &self.0.base_path
    }

    /// Scheme, authority and path, normalised, without a final slash.
    pub fn base_url(&self) -> &str {
        &self.0.base_url
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.is_https
    }

    pub(crate) fn is_http1_only(&self) -> bool {
        self.0.is_http1_only
    }

    pub(crate) fn host(&self) -> &str {
        &self.0.host
    }

    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.0.address
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port
    }

    /// The value of the Host header (RFC 9110 §7.2).
    pub fn authority(&self) -> &str {
        let rest = self.0.base_url.split_once("://").map_or("", |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }
}

/// What the names of machines are made of (RFC 1123 §2.1), and `_`, which some carry. A URL parser
/// lets commas, quotes and braces through, which resolvers and certificates read in ways of their
/// own; and empty labels: `.`, `a..b`, and what two final dots would leave.
fn is_host_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_part);
    text.len() <= 253 && text.split('.').all(is_label)
}

fn origin(is_https: bool, host: &Host<String>, port: u16) -> String {
    let (scheme, default) = if is_https { ("https", 443) } else { ("http", 80) };
    let host = match host {
        Host::Ipv6(address) => format!("[{address}]"),
        other => host_text(other),
    };
    if port == default { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }
}
