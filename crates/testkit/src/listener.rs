//! Certificates for our own listeners, and a client that speaks TLS to them.

use crate::{TlsOptions, client};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
};
use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, SystemTime},
};

const DAY: Duration = Duration::from_hours(24);

/// A server's certificate, and the authority that a client must trust.
#[derive(Clone)]
pub struct Certificate {
    pub root_pem: String,
    pub root_der: Vec<u8>,
    /// The server's own certificate.
    pub chain_pem: String,
    pub key_pem: String,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("chain_pem", &self.chain_pem).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Valid from yesterday for 60 days, unless it shall have expired.
    ///
    /// # Errors
    /// Where a name is none.
    pub fn make(options: &TlsOptions) -> io::Result<Self> {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        root.distinguished_name.push(DnType::CommonName, "testkit authority");
        let root_key = KeyPair::generate().map_err(io::Error::other)?;
        let root_certificate = root.self_signed(&root_key).map_err(io::Error::other)?;
        let issuer = Issuer::new(root, root_key);

        let mut leaf = CertificateParams::new(options.names.clone()).map_err(io::Error::other)?;
        leaf.distinguished_name.push(DnType::CommonName, "testkit server");
        // RFC 5280 §4.2.1.1: some clients insist on it.
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let now = now();
        leaf.not_before = (now - DAY).into();
        leaf.not_after = (now + 60 * DAY).into();
        if options.is_expired {
            leaf.not_before = date_time_ymd(2000, 1, 1);
            leaf.not_after = date_time_ymd(2001, 1, 1);
        }
        let leaf_key = KeyPair::generate().map_err(io::Error::other)?;
        let leaf = leaf.signed_by(&leaf_key, &issuer).map_err(io::Error::other)?;
        Ok(Self {
            root_pem: root_certificate.pem(),
            root_der: root_certificate.der().to_vec(),
            chain_pem: leaf.pem(),
            key_pem: leaf_key.serialize_pem(),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "clients judge certificates by the real time")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A client's side of a connection over TLS.
pub type ClientStream = StreamOwned<ClientConnection, TcpStream>;

/// Connects as to `localhost`, trusts the authority alone, and offers `versions` and `alpn`.
///
/// # Errors
/// Where nobody listens, or the handshake fails.
pub fn connect(
    addr: SocketAddr,
    root_der: &[u8],
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> io::Result<ClientStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(root_der.to_vec())).map_err(io::Error::other)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let socket = TcpStream::connect_timeout(&addr, client::TIMEOUT)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(client::TIMEOUT))?;
    socket.set_write_timeout(Some(client::TIMEOUT))?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}
