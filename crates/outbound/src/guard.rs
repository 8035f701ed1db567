//! Which addresses a connection may be made to.

use crate::{
    address::{AddressClass, classify, is_metadata_name},
    identity::ClientIdentity,
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};
use url::Host;

/// Public addresses, and what an operator allowed by host and port. Equal policies of one owner
/// share pooled connections, others never do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct GuardPolicy {
    /// By host and port; a literal address is pinned to itself.
    allowed: Arc<BTreeMap<(String, u16), Option<IpAddr>>>,
    /// Whose calls these are: an answer out of place on a shared connection would reach others.
    owner: [u8; 16],
    /// What connections show; of another identity they are others.
    identity: Option<ClientIdentity>,
}

/// Text that is no `HOST:PORT`, or names what is never allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct PolicyError {
    pub why: &'static str,
}

/// An address that was judged: the only thing that is connected to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardedAddr(SocketAddr);

impl GuardedAddr {
    pub(crate) const fn get(self) -> SocketAddr {
        self.0
    }
}

impl GuardPolicy {
    /// From texts like `127.0.0.1:8080`, `[::1]:8080` or `hr.internal:443`.
    pub fn new<T: AsRef<str>>(allowed: &[T]) -> Result<Self, PolicyError> {
        let mut all = BTreeMap::new();
        for given in allowed {
            let given = given.as_ref();
            let wrong = |why| PolicyError { why };
            let (host, port) = split(given).ok_or_else(|| wrong("write it as HOST:PORT"))?;
            let address = literal(&host);
            let host = host_text(&host);
            match address.map(classify) {
                _ if is_metadata_name(&host) => {
                    return Err(wrong("names of cloud metadata are never allowed"));
                }
                Some(AddressClass::Metadata) => {
                    return Err(wrong("addresses of cloud metadata are never allowed"));
                }
                Some(AddressClass::Unspecified | AddressClass::Multicast) => {
                    return Err(wrong("it is no address of one machine"));
                }
                _ => {}
            }
            all.insert((host, port), address);
        }
        Ok(Self { allowed: Arc::new(all), owner: [0; 16], identity: None })
    }

    /// A public address among those allowed. That needs no permission, and none lets plain http go
    /// there, so that whoever gave it meant something else.
    pub fn public_address(&self) -> Option<IpAddr> {
        let mut literals = self.allowed.values().flatten().copied();
        literals.find(|address| classify(*address) == AddressClass::Public)
    }

    /// The same policy for one owner, whose connections no other one uses.
    #[must_use]
    pub fn owned_by(self, owner: [u8; 16]) -> Self {
        Self { owner, ..self }
    }

    /// The same policy for connections that show this identity. They are made by TLS alone.
    #[must_use]
    pub fn showing(self, identity: ClientIdentity) -> Self {
        Self { identity: Some(identity), ..self }
    }

    pub(crate) const fn identity(&self) -> Option<&ClientIdentity> {
        self.identity.as_ref()
    }

    /// Whether plain http may be used: only with exactly this host and port.
    pub(crate) fn allows_http(&self, host: &str, port: u16) -> bool {
        self.identity.is_none() && self.allowed.contains_key(&(host.to_owned(), port))
    }

    /// Judges an address that a host resolved to, and that this machine may have itself: what
    /// listens there expects nobody from inside, as on loopback.
    pub(crate) fn judge_here(
        &self,
        host: &str,
        address: SocketAddr,
    ) -> Result<GuardedAddr, AddressClass> {
        let judged = self.judge(host, address)?;
        let is_named = || self.allowed.contains_key(&(host.to_owned(), address.port()));
        if classify(address.ip()) == AddressClass::Public && !is_named() && is_own(address) {
            return Err(AddressClass::ThisMachine);
        }
        Ok(judged)
    }

    /// Judges the bits of an address that a host resolved to.
    pub(crate) fn judge(
        &self,
        host: &str,
        address: SocketAddr,
    ) -> Result<GuardedAddr, AddressClass> {
        let class = classify(address.ip());
        let is_allowed = match class {
            AddressClass::Public => true,
            AddressClass::Metadata | AddressClass::Unspecified | AddressClass::Multicast => false,
            _ => match self.allowed.get(&(host.to_owned(), address.port())) {
                Some(Some(pinned)) => *pinned == address.ip(),
                // What a name may mean besides: the networks that machines are given names in.
                Some(None) => matches!(
                    class,
                    AddressClass::Loopback
                        | AddressClass::Private
                        | AddressClass::LinkLocal
                        | AddressClass::SharedSpace
                ),
                None => false,
            },
        };
        if is_allowed { Ok(GuardedAddr(address)) } else { Err(class) }
    }
}

/// Whether the system would speak to this address from this very address, which it does with those it
/// was given. Sends nothing: a datagram socket only learns its peer.
fn is_own(address: SocketAddr) -> bool {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let local = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(address)?;
        socket.local_addr()
    });
    local.is_ok_and(|local| local.ip() == address.ip())
}

/// Host and port, with the host as a URL would read it.
fn split(given: &str) -> Option<(Host<String>, u16)> {
    let (host, port) = given.rsplit_once(':')?;
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let is_plain = |c: char| c.is_alphanumeric() || ".-[]:_".contains(c);
    if host.is_empty() || !host.chars().all(is_plain) {
        return None;
    }
    // Of a special scheme, so that every spelling of an IPv4 address is read as one.
    let url = url::Url::parse(&format!("http://{host}:{port}/")).ok()?;
    Some((url.host()?.to_owned(), port))
}

pub(crate) fn literal(host: &Host<String>) -> Option<IpAddr> {
    match host {
        Host::Ipv4(address) => Some(IpAddr::V4(*address)),
        Host::Ipv6(address) => Some(IpAddr::V6(*address)),
        Host::Domain(_) => None,
    }
}

/// One spelling for one host: lower case, without a final dot.
pub(crate) fn host_text(host: &Host<String>) -> String {
    match host {
        Host::Domain(name) => name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}
