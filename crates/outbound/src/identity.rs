//! What this side of a TLS connection shows (RFC 8446 §4.4.2): a certificate, and proof of its key.

use rustls::{
    SignatureScheme, client::ResolvesClientCert, crypto::aws_lc_rs::sign::any_supported_type,
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};
use types::Timestamp;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A client's certificate with its key. Two are the same if their certificates are: connections made
/// with one never carry calls of another. The key lies in the cryptographic library's memory, which it
/// wipes when the last copy goes.
#[derive(Clone)]
pub struct ClientIdentity(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    begins_at: Timestamp,
    ends_at: Timestamp,
}

/// Why there is no identity: words that follow the name of what was given, and nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the certificate holds no certificate in PEM that can be read")]
    Certificate,
    #[error("the private key is no key in PEM that can be used for TLS")]
    Key,
    #[error("the private key does not belong to the first certificate")]
    KeyUnfit,
    #[error("the certificate is not for clients")]
    Purpose,
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate is not valid yet")]
    NotValidYet,
}

impl ClientIdentity {
    /// A chain in PEM, the client's own certificate first, and its key in PEM.
    ///
    /// # Errors
    /// [`IdentityError`], but for its time: see [`ClientIdentity::check_time`].
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, IdentityError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| IdentityError::Certificate)?;
        let own = chain.first().ok_or(IdentityError::Certificate)?;
        let (_, read) = X509Certificate::from_der(own).map_err(|_| IdentityError::Certificate)?;
        let usage = read.extended_key_usage().map_err(|_| IdentityError::Certificate)?;
        if usage.is_some_and(|usage| !usage.value.client_auth && !usage.value.any) {
            return Err(IdentityError::Purpose);
        }
        let at = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_micros(time.timestamp().saturating_mul(1_000_000))
        };
        let (begins_at, ends_at) = (at(read.validity().not_before), at(read.validity().not_after));
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| IdentityError::Key)?;
        let key = any_supported_type(&key).map_err(|_| IdentityError::Key)?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| IdentityError::KeyUnfit)?;
        Ok(Self(Arc::new(Shown { key: Arc::new(key), begins_at, ends_at })))
    }

    /// # Errors
    /// [`IdentityError::Expired`] and [`IdentityError::NotValidYet`].
    pub fn check_time(&self, now: Timestamp) -> Result<(), IdentityError> {
        if now > self.0.ends_at {
            return Err(IdentityError::Expired);
        }
        if now < self.0.begins_at {
            return Err(IdentityError::NotValidYet);
        }
        Ok(())
    }

    /// The end of the client's own certificate.
    pub fn ends_at(&self) -> Timestamp {
        self.0.ends_at
    }

    pub(crate) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::clone(&self.0) as _
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity")
    }
}

impl PartialEq for ClientIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.0.key.cert == other.0.key.cert
    }
}

impl Eq for ClientIdentity {}

impl Hash for ClientIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for certificate in &self.0.key.cert {
            certificate.as_ref().hash(state);
        }
    }
}
