//! TLS to providers: 1.2 and 1.3 with forward secrecy, verified against public roots and those that
//! the operator adds.

use crate::{OutboundError, identity::ClientIdentity, target::Target};
use arc_swap::ArcSwap;
use rustls::{
    CertificateError, ClientConfig, Error as RustlsError, RootCertStore,
    client::{Resumption, VerifierBuilderError, WebPkiServerVerifier},
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, pem::PemObject};
use std::{io, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use types::Timestamp;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

/// Roots and settings, shared by all connections.
#[derive(Clone)]
pub struct TlsConfig(Arc<Shared>);

struct Shared {
    roots: Arc<RootCertStore>,
    extra_roots: Vec<CertificateDer<'static>>,
    current: ArcSwap<Current>,
}

/// By what connections are made now.
struct Current {
    any: Arc<ClientConfig>,
    http1_only: Arc<ClientConfig>,
    /// Counts the exchanges of revocation lists.
    generation: u64,
}

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

impl std::fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsConfig")
    }
}

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    #[error("the file of additional roots holds no certificate")]
    NoCertificate,
    #[error("certificate {number} of the file of additional roots cannot be read")]
    Certificate { number: usize },
    #[error("the file of revocation lists holds none")]
    NoRevocationList,
    #[error("revocation list {number} cannot be read")]
    RevocationList { number: usize },
    #[error("a revocation list is of a kind that is not understood")]
    RevocationLists,
    #[error("TLS cannot be set up")]
    Setup(#[source] RustlsError),
}

impl TlsConfig {
    /// `extra_roots` is PEM, trusted beside the public roots.
    pub fn new(extra_roots: Option<&[u8]>) -> Result<Self, TlsConfigError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let mut extra = Vec::new();
        if let Some(pem) = extra_roots {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let wrong = TlsConfigError::Certificate { number: extra.len() + 1 };
                match certificate.map(|one| (roots.add(one.clone()), one)) {
                    Ok((Ok(()), certificate)) => extra.push(certificate),
                    _ => return Err(wrong),
                }
            }
            if extra.is_empty() {
                return Err(TlsConfigError::NoCertificate);
            }
        }
        let roots = Arc::new(roots);
        let current = ArcSwap::from_pointee(Current::new(&roots, Vec::new(), 0)?);
        Ok(Self(Arc::new(Shared { roots, extra_roots: extra, current })))
    }

    /// Exchanges the certificate revocation lists (RFC 5280 §5): several in PEM, or one in DER. No
    /// connection that was made before is used for another call. Where they are of no use, those
    /// before stay.
    pub fn replace_revocation_lists(&self, lists: &[u8]) -> Result<(), TlsConfigError> {
        let lists = revocation_lists(lists)?;
        let generation = self.generation() + 1;
        let current = Current::new(&self.0.roots, lists, generation)?;
        self.0.current.store(Arc::new(current));
        Ok(())
    }

    /// Moves when what certificates are judged by does.
    pub(crate) fn generation(&self) -> u64 {
        self.0.current.load().generation
    }

    /// The certificates that are trusted beside the public roots, in DER.
    pub fn extra_roots(&self) -> impl Iterator<Item = &[u8]> {
        self.0.extra_roots.iter().map(AsRef::as_ref)
    }

    pub(crate) async fn connect(
        &self,
        target: &Target,
        identity: Option<&ClientIdentity>,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, OutboundError> {
        let name = ServerName::try_from(target.host().to_owned())
            .map_err(|_| OutboundError::Tls(TlsFailure::NoServerName))?;
        let current = self.0.current.load_full();
        let config = if target.is_http1_only() { &current.http1_only } else { &current.any };
        let mut config = Arc::clone(config);
        if let Some(identity) = identity {
            Arc::make_mut(&mut config).client_auth_cert_resolver = identity.resolver();
        }
        let connector = TlsConnector::from(config);
        connector.connect(name, stream).await.map_err(|error| failure(&error))
    }
}

impl Current {
    fn new(
        roots: &Arc<RootCertStore>,
        lists: Vec<CertificateRevocationListDer<'static>>,
        generation: u64,
    ) -> Result<Self, TlsConfigError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        // A certificate whose issuer has no list here is judged without one; a list that has expired
        // says nothing, and whatever hangs on it is refused.
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&provider))
                .with_crls(lists)
                .allow_unknown_revocation_status()
                .enforce_revocation_expiration()
                .build()
                .map_err(|error| match error {
                    VerifierBuilderError::InvalidCrl(_) => TlsConfigError::RevocationLists,
                    error => TlsConfigError::Setup(RustlsError::General(error.to_string())),
                })?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsConfigError::Setup)?
            .with_webpki_verifier(verifier)
            .with_no_client_auth();
        // A session that is resumed is not verified again: a certificate that has expired, or an issuer
        // that is trusted no more, would go unseen for as long as the provider's tickets last.
        config.resumption = Resumption::disabled();
        // RFC 7627: without it a TLS 1.2 session is not bound to its handshake.
        config.require_ems = true;
        config.alpn_protocols = vec![HTTP1.to_vec()];
        let http1_only = Arc::new(config.clone());
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        Ok(Self { any: Arc::new(config), http1_only, generation })
    }
}

/// When the first of these revocation lists will have expired.
pub fn revocation_lists_end(lists: &[u8]) -> Result<Option<Timestamp>, TlsConfigError> {
    let lists = revocation_lists(lists)?;
    Ok(lists.iter().filter_map(|list| ends_at(list)).min())
}

/// The time of a list's next issue; `None` for one that cannot be read, or does not say.
fn ends_at(list: &[u8]) -> Option<Timestamp> {
    let (rest, list) = CertificateRevocationList::from_der(list).ok()?;
    let seconds = list.next_update()?.timestamp();
    rest.is_empty().then(|| Timestamp::from_micros(seconds.saturating_mul(1_000_000)))
}

/// Reads revocation lists, each of them to its end.
fn revocation_lists(
    bytes: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsConfigError> {
    // DER begins with the tag of a sequence, which is no beginning of PEM.
    let lists = if bytes.first() == Some(&0x30) && !bytes.starts_with(b"0\n") {
        vec![CertificateRevocationListDer::from(bytes.to_vec())]
    } else {
        let read = CertificateRevocationListDer::pem_slice_iter(bytes).enumerate();
        read.map(|(at, list)| list.map_err(|_| TlsConfigError::RevocationList { number: at + 1 }))
            .collect::<Result<Vec<_>, _>>()?
    };
    if lists.is_empty() {
        return Err(TlsConfigError::NoRevocationList);
    }
    for (at, list) in lists.iter().enumerate() {
        ends_at(list).ok_or(TlsConfigError::RevocationList { number: at + 1 })?;
    }
    Ok(lists)
}

/// Whether the provider chose HTTP/2 of what it was offered; one that chose nothing speaks HTTP/1.1.
pub(crate) fn agreed_on_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

/// Why there is no secure connection. Says nothing of what stands in a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFailure {
    Expired,
    NotValidYet,
    WrongName,
    UnknownIssuer,
    Revoked,
    /// Its issuer's revocation list has expired, so that nobody knows.
    RevocationListExpired,
    /// What is kept as its issuer's revocation list is not the issuer's.
    RevocationListForged,
    /// It is not for servers.
    WrongPurpose,
    /// A signature in its chain, or in the handshake, is not of the key that it claims, or that key
    /// is not long enough (RSA below 2048 bits) to be asked.
    WrongSignature,
    /// Signed by an algorithm that is not strong enough, for instance with SHA-1.
    WeakAlgorithm,
    /// Any other fault of the certificate, for instance its form.
    BadCertificate,
    /// The provider sent an alert.
    RefusedByProvider,
    /// It offers nothing that is safe enough.
    NothingInCommon,
    /// What came is no TLS that can be trusted.
    Protocol,
    /// The host cannot stand in a certificate.
    NoServerName,
    /// The connection ended.
    BrokenOff,
}

impl TlsFailure {
    /// Words for messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "the certificate has expired",
            Self::NotValidYet => "the certificate is not valid yet",
            Self::WrongName => "the certificate is for another name",
            Self::UnknownIssuer => "the certificate's issuer is not trusted",
            Self::Revoked => "the certificate was revoked",
            Self::RevocationListExpired => {
                "the revocation list of the certificate's issuer has expired: crl_file needs a new one"
            }
            Self::RevocationListForged => {
                "the revocation list in the name of the certificate's issuer was not signed by it: \
                 crl_file needs another one"
            }
            Self::WrongPurpose => "the certificate is not for servers",
            Self::WrongSignature => {
                "a signature of the certificate or the handshake is wrong, or its key too short"
            }
            Self::WeakAlgorithm => "the certificate's algorithm is not strong enough",
            Self::BadCertificate => "the certificate is not acceptable",
            Self::RefusedByProvider => "the provider refused the handshake",
            Self::NothingInCommon => "no common version or cipher suite",
            Self::Protocol => "the handshake failed",
            Self::NoServerName => "the host is no name for a certificate",
            Self::BrokenOff => "the connection ended during the handshake",
        }
    }
}

fn failure(error: &io::Error) -> OutboundError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>());
    OutboundError::Tls(match inner {
        Some(RustlsError::InvalidCertificate(certificate)) => {
            match certificate {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    TlsFailure::Expired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    TlsFailure::NotValidYet
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => TlsFailure::WrongName,
                CertificateError::UnknownIssuer => TlsFailure::UnknownIssuer,
                CertificateError::Revoked => TlsFailure::Revoked,
                CertificateError::ExpiredRevocationList
                | CertificateError::ExpiredRevocationListContext { .. } => {
                    TlsFailure::RevocationListExpired
                }
                CertificateError::InvalidPurpose
                | CertificateError::InvalidPurposeContext { .. } => TlsFailure::WrongPurpose,
                CertificateError::BadSignature => TlsFailure::WrongSignature,
                CertificateError::UnsupportedSignatureAlgorithmContext { .. }
                | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                    TlsFailure::WeakAlgorithm
                }
                _ => TlsFailure::BadCertificate,
            }
        }
        Some(RustlsError::InvalidCertRevocationList(_)) => TlsFailure::RevocationListForged,
        Some(RustlsError::AlertReceived(_)) => TlsFailure::RefusedByProvider,
        Some(RustlsError::PeerIncompatible(_)) => TlsFailure::NothingInCommon,
        Some(_) => TlsFailure::Protocol,
        None => TlsFailure::BrokenOff,
    })
}
