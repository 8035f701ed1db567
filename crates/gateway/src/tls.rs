//! TLS towards callers and towards the console: 1.3 alone, by Mozilla's profile "modern".

use arc_swap::ArcSwap;
use rustls::{
    Error as RustlsError, InconsistentKeys, ServerConfig,
    client::verify_server_name,
    crypto::aws_lc_rs,
    server::{NoServerSessionStorage, ParsedCertificate},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use std::{fmt, io, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use types::Timestamp;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How long a peer may take for its handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// The most certificates of a chain.
const MAX_CHAIN: usize = 16;

/// The certificate and key that are shown to those who connect from now on; a clone shows the same.
#[derive(Clone)]
pub struct ServerTls(Arc<ArcSwap<Shown>>);

/// One certificate, for those who speak HTTP/1.1 alone and for those who speak HTTP/2 too.
struct Shown {
    http1: Arc<ServerConfig>,
    http2: Arc<ServerConfig>,
    own: OwnCertificate,
}

/// What the first certificate of a chain says of itself.
struct OwnCertificate {
    der: CertificateDer<'static>,
    valid_from: Timestamp,
    valid_until: Timestamp,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

/// Why a certificate with its key cannot be used. Says nothing of what stands in either.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ServerTlsError {
    #[error("the file of the certificate holds none in PEM")]
    NoCertificate,
    #[error("certificate {number} of the chain cannot be read")]
    Certificate { number: usize },
    #[error("the chain has more than {MAX_CHAIN} certificates")]
    ChainTooLong,
    #[error("the file of the key holds no private key in PEM, or an encrypted one")]
    NoKey,
    #[error("the private key cannot be used")]
    Key,
    #[error("the private key is not that of the first certificate")]
    Mismatch,
    #[error("TLS cannot be set up")]
    Setup(#[source] RustlsError),
}

impl ServerTls {
    /// Both are PEM: the chain with the server's own certificate first, and its key.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, ServerTlsError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(Shown::new(chain, key)?))))
    }

    /// Shows these from the next handshake on; connections under way go on. On an error everything
    /// stays as it was.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), ServerTlsError> {
        self.0.store(Arc::new(Shown::new(chain, key)?));
        Ok(())
    }

    /// From when to when the certificate that is shown is valid (RFC 5280 §4.1.2.5).
    pub fn validity(&self) -> (Timestamp, Timestamp) {
        let shown = self.0.load();
        (shown.own.valid_from, shown.own.valid_until)
    }

    /// Whether the certificate that is shown is for this name or literal address (RFC 9525).
    pub fn is_for(&self, host: &str) -> bool {
        let shown = self.0.load();
        // As a URL writes IPv6.
        let host = host.trim_matches(['[', ']']).to_owned();
        let certificate = ParsedCertificate::try_from(&shown.own.der);
        let name = ServerName::try_from(host);
        certificate.is_ok_and(|certificate| {
            name.is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
        })
    }

    /// The handshake of a peer that shall speak HTTP/1.1, within [`HANDSHAKE_PATIENCE`].
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        handshake(Arc::clone(&self.0.load().http1), stream).await
    }

    /// As [`Self::accept`], where HTTP/2 is spoken as well; whether it was chosen.
    pub(crate) async fn accept_either<S>(&self, stream: S) -> io::Result<(TlsStream<S>, bool)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = handshake(Arc::clone(&self.0.load().http2), stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((stream, is_http2))
    }
}

async fn handshake<S>(config: Arc<ServerConfig>, stream: S) -> io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tokio::time::timeout(HANDSHAKE_PATIENCE, TlsAcceptor::from(config).accept(stream))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl Shown {
    fn new(chain: &[u8], key: &[u8]) -> Result<Self, ServerTlsError> {
        let certificates = certificates(chain)?;
        let own = certificates.first().ok_or(ServerTlsError::NoCertificate)?;
        let own = OwnCertificate::read(own.clone())?;
        let http1 = server_config(certificates, key)?;
        let mut http2 = http1.clone();
        http2.alpn_protocols.insert(0, b"h2".to_vec());
        Ok(Self { http1: Arc::new(http1), http2: Arc::new(http2), own })
    }
}

impl OwnCertificate {
    fn read(der: CertificateDer<'static>) -> Result<Self, ServerTlsError> {
        let unreadable = ServerTlsError::Certificate { number: 1 };
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| unreadable)?;
        let moment = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(1_000_000));
        let valid_from = moment(parsed.validity.not_before.timestamp());
        let valid_until = moment(parsed.validity.not_after.timestamp());
        Ok(Self { der, valid_from, valid_until })
    }
}

fn certificates(chain: &[u8]) -> Result<Vec<CertificateDer<'static>>, ServerTlsError> {
    let mut certificates = Vec::new();
    for (index, certificate) in CertificateDer::pem_slice_iter(chain).enumerate() {
        if index >= MAX_CHAIN {
            return Err(ServerTlsError::ChainTooLong);
        }
        let number = index + 1;
        certificates.push(certificate.map_err(|_| ServerTlsError::Certificate { number })?);
    }
    Ok(certificates)
}

fn server_config(
    certificates: Vec<CertificateDer<'static>>,
    key: &[u8],
) -> Result<ServerConfig, ServerTlsError> {
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| ServerTlsError::NoKey)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(ServerTlsError::Setup)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| match error {
            RustlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                ServerTlsError::Mismatch
            }
            RustlsError::InvalidCertificate(_) => ServerTlsError::Certificate { number: 1 },
            RustlsError::General(_) => ServerTlsError::Key,
            other => ServerTlsError::Setup(other),
        })?;
    // Sessions are resumed by tickets alone, so that cores share no lock. Their keys change every
    // six hours and with each certificate: one that was replaced is not lived on under.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(ServerTlsError::Setup)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{TlsOptions, listener::Certificate};

    fn made() -> Certificate {
        Certificate::make(&TlsOptions::default()).unwrap()
    }

    fn refused(chain: &str, key: &str) -> ServerTlsError {
        ServerTls::new(chain.as_bytes(), key.as_bytes()).unwrap_err()
    }

    #[test]
    fn only_a_certificate_with_its_own_key_is_used() {
        let (one, other) = (made(), made());
        ServerTls::new(one.chain_pem.as_bytes(), one.key_pem.as_bytes()).unwrap();
        // A chain and a key in one file are found in it too.
        let both = format!("{}{}", one.key_pem, one.chain_pem);
        ServerTls::new(both.as_bytes(), both.as_bytes()).unwrap();

        assert_eq!(refused("", &one.key_pem), ServerTlsError::NoCertificate);
        assert_eq!(refused(&one.key_pem, &one.key_pem), ServerTlsError::NoCertificate);
        assert_eq!(refused(&one.chain_pem, ""), ServerTlsError::NoKey);
        assert_eq!(refused(&one.chain_pem, &one.chain_pem), ServerTlsError::NoKey);
        let encrypted = one.key_pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert_eq!(refused(&one.chain_pem, &encrypted), ServerTlsError::NoKey);
        assert_eq!(refused(&one.chain_pem, &other.key_pem), ServerTlsError::Mismatch);
        let cut = one.chain_pem.replace("-----END CERTIFICATE-----", "");
        assert_eq!(refused(&cut, &one.key_pem), ServerTlsError::Certificate { number: 1 });
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(refused(garbage, &one.key_pem), ServerTlsError::Certificate { number: 1 });
        let no_key = garbage.replace("CERTIFICATE", "PRIVATE KEY");
        assert_eq!(refused(&one.chain_pem, &no_key), ServerTlsError::Key);
        let long = one.chain_pem.repeat(MAX_CHAIN + 1);
        assert_eq!(refused(&long, &one.key_pem), ServerTlsError::ChainTooLong);
    }

    #[test]
    fn what_is_shown_says_how_long_and_for_whom() {
        const DAY: Duration = Duration::from_hours(24);
        let made = made();
        let tls = ServerTls::new(made.chain_pem.as_bytes(), made.key_pem.as_bytes()).unwrap();
        let (from, until) = tls.validity();
        assert_eq!(until.since(from), 61 * DAY);
        for (host, is_for) in [
            ("localhost", true),
            ("LOCALHOST", true),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("[::1]", false),
            ("gate.localhost", false),
            ("", false),
        ] {
            assert_eq!(tls.is_for(host), is_for, "{host}");
        }
        let options = TlsOptions {
            is_expired: true,
            names: vec!["*.a.example".into()],
            ..TlsOptions::default()
        };
        let other = Certificate::make(&options).unwrap();
        tls.replace(other.chain_pem.as_bytes(), other.key_pem.as_bytes()).unwrap();
        assert_eq!(tls.validity().1, Timestamp::parse("2001-01-01T00:00:00Z").unwrap());
        assert!(tls.is_for("gate.a.example") && !tls.is_for("localhost"));
    }

    #[test]
    fn sessions_end_and_nothing_is_sent_early() {
        let made = made();
        let chain = certificates(made.chain_pem.as_bytes()).unwrap();
        let config = server_config(chain, made.key_pem.as_bytes()).unwrap();
        assert_eq!(config.max_early_data_size, 0);
        assert!(!config.session_storage.can_cache());
        assert!(config.ticketer.enabled() && config.ticketer.lifetime() <= 12 * 60 * 60);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_is_given_up() {
        let made = made();
        let tls = ServerTls::new(made.chain_pem.as_bytes(), made.key_pem.as_bytes()).unwrap();
        let (ours, _theirs) = tokio::io::duplex(1_024);
        let begun = tokio::time::Instant::now();
        let error = tls.accept(ours).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= HANDSHAKE_PATIENCE);
    }
}
