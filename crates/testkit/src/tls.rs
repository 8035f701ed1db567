//! Certificates for the provider, made anew for each test.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    version::{TLS12, TLS13},
};
use std::{io, sync::Arc};

/// How a TLS provider presents itself.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// Names and literal addresses that the certificate is for.
    pub names: Vec<String>,
    /// Its validity ended in 2001.
    pub is_expired: bool,
    /// TLS 1.3 is not offered.
    pub is_tls12_only: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            names: vec!["localhost".into(), "127.0.0.1".into()],
            is_expired: false,
            is_tls12_only: false,
        }
    }
}

/// The authority that a client must trust, and the server's side of it.
pub(crate) struct Identity {
    pub(crate) root_pem: String,
    pub(crate) root_der: Vec<u8>,
    pub(crate) config: Arc<ServerConfig>,
}

pub(crate) fn identity(options: &TlsOptions) -> io::Result<Identity> {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    root.distinguished_name.push(DnType::CommonName, "testkit authority");
    let root_key = KeyPair::generate().map_err(io::Error::other)?;
    let root_certificate = root.self_signed(&root_key).map_err(io::Error::other)?;
    let issuer = Issuer::new(root, root_key);

    let mut leaf = CertificateParams::new(options.names.clone()).map_err(io::Error::other)?;
    leaf.distinguished_name.push(DnType::CommonName, "testkit provider");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    if options.is_expired {
        leaf.not_before = date_time_ymd(2000, 1, 1);
        leaf.not_after = date_time_ymd(2001, 1, 1);
    }
    let leaf_key = KeyPair::generate().map_err(io::Error::other)?;
    let leaf = leaf.signed_by(&leaf_key, &issuer).map_err(io::Error::other)?;

    let versions: &[&SupportedProtocolVersion] =
        if options.is_tls12_only { &[&TLS12] } else { &[&TLS13, &TLS12] };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone()];
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity {
        root_pem: root_certificate.pem(),
        root_der: root_certificate.der().to_vec(),
        config: Arc::new(config),
    })
}
