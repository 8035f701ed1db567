//! Certificates for the provider, made anew for each test: good ones, and one for each way to be
//! bad.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, NameConstraints, RevokedCertParams, date_time_ymd,
};
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::{
    fmt, io,
    sync::{Arc, Mutex},
};

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

/// One way in which a certificate, or what is shown with it, is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Expired,
    NotValidYet,
    /// For another name.
    OtherName,
    /// Only the subject's common name is right (RFC 9525 §2).
    OnlyCommonName,
    /// For `*`, whatever the name.
    WildcardForAll,
    /// For `l*`, `loc*` and so on: a part of a label.
    WildcardInLabel,
    /// Signed by its own key.
    SelfSigned,
    /// Signed by an authority that nobody trusts.
    OtherAuthority,
    /// Signed by another key in the name of the right authority.
    ForgedIssuer,
    /// A bit of the signature is another one.
    BentSignature,
    /// For clients only.
    ClientUsage,
    /// Says of itself that it is an authority.
    IsAuthority,
    /// Has an extension that nobody knows and everybody must.
    UnknownExtension,
    /// Signed by a certificate that is no authority.
    IssuerIsNoAuthority,
    /// Signed by an authority whose time is over.
    IssuerExpired,
    /// Signed by an authority for other names.
    IssuerForOtherNames,
    /// Signed by an authority that may not sign for this name.
    IssuerExcludesName,
    /// Signed by an authority below one that allows none below it.
    ChainTooLong,
    /// The authority between is not shown.
    ChainBroken,
    /// The key is another one than the certificate's.
    OtherKey,
}

impl Flaw {
    pub const ALL: [Self; 20] = [
        Self::Expired,
        Self::NotValidYet,
        Self::OtherName,
        Self::OnlyCommonName,
        Self::WildcardForAll,
        Self::WildcardInLabel,
        Self::SelfSigned,
        Self::OtherAuthority,
        Self::ForgedIssuer,
        Self::BentSignature,
        Self::ClientUsage,
        Self::IsAuthority,
        Self::UnknownExtension,
        Self::IssuerIsNoAuthority,
        Self::IssuerExpired,
        Self::IssuerForOtherNames,
        Self::IssuerExcludesName,
        Self::ChainTooLong,
        Self::ChainBroken,
        Self::OtherKey,
    ];
}

/// What a TLS server shows, and proves to have the key of.
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    fn new(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> io::Result<Self> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Self::from_der(chain, &key)
    }

    /// From certificates and a key that were made elsewhere; whether they belong together is not
    /// asked.
    ///
    /// # Errors
    /// Where the key cannot be read.
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'_>,
    ) -> io::Result<Self> {
        let key = aws_lc_rs::sign::any_supported_type(key).map_err(io::Error::other)?;
        Ok(Self(Arc::new(CertifiedKey::new(chain, key))))
    }
}

/// The subject of every [`Authority`].
const NAME: &str = "testkit authority";

/// An authority of the test's own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// # Errors
    /// Where there is no randomness.
    pub fn new() -> io::Result<Self> {
        Self::called(NAME)
    }

    /// With a name of its own.
    ///
    /// # Errors
    /// Where there is no randomness.
    pub fn called(name: &str) -> io::Result<Self> {
        let params = authority(name, BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, key()?).map_err(io::Error::other)?))
    }

    /// What a client must trust.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// As [`Self::pem`], in DER.
    pub fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// Signs as told.
    ///
    /// # Errors
    /// Where a name is none.
    pub fn issue(&self, options: &TlsOptions) -> io::Result<Identity> {
        let names: Vec<&str> = options.names.iter().map(String::as_str).collect();
        let mut params = leaf(&names)?;
        if options.is_expired {
            expire(&mut params);
        }
        signed(&params, &self.0, &[])
    }

    /// A certificate for the name with one flaw.
    ///
    /// # Errors
    /// Where the name is none.
    pub fn flawed(&self, flaw: Flaw, name: &str) -> io::Result<Identity> {
        let mut params = leaf(&[name])?;
        let top = &*self.0;
        match flaw {
            Flaw::Expired => expire(&mut params),
            Flaw::NotValidYet => params.not_before = date_time_ymd(4000, 1, 1),
            Flaw::OtherName => params = leaf(&["other.example"])?,
            Flaw::OnlyCommonName => {
                params = leaf(&[])?;
                params.distinguished_name.push(DnType::CommonName, name);
            }
            Flaw::WildcardForAll => params = leaf(&["*"])?,
            Flaw::WildcardInLabel => {
                let start: String = name.chars().take(1).collect();
                params = leaf(&[&format!("{start}*")])?;
            }
            Flaw::SelfSigned => {
                let own = key()?;
                let certificate = params.self_signed(&own).map_err(io::Error::other)?;
                return Identity::new(vec![certificate.der().clone()], &own);
            }
            Flaw::OtherAuthority => return Self::called("another")?.issue_params(&params),
            Flaw::ForgedIssuer => {
                let same_name = authority(NAME, BasicConstraints::Unconstrained);
                return signed(&params, &Issuer::new(same_name, key()?), &[]);
            }
            Flaw::BentSignature => {
                let own = key()?;
                let certificate = params.signed_by(&own, top).map_err(io::Error::other)?;
                let mut der = certificate.der().to_vec();
                if let Some(last) = der.last_mut() {
                    *last ^= 1;
                }
                return Identity::new(vec![der.into()], &own);
            }
            Flaw::ClientUsage => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }
            Flaw::IsAuthority => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            Flaw::UnknownExtension => {
                let null = vec![0x05, 0x00];
                let mut unknown =
                    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], null);
                unknown.set_criticality(true);
                params.custom_extensions.push(unknown);
            }
            Flaw::IssuerIsNoAuthority => {
                let mut between = leaf(&["between.example"])?;
                between.is_ca = IsCa::ExplicitNoCa;
                return self.below(between, &params);
            }
            Flaw::IssuerExpired => {
                let mut between = authority("between", BasicConstraints::Unconstrained);
                expire(&mut between);
                return self.below(between, &params);
            }
            Flaw::IssuerForOtherNames | Flaw::IssuerExcludesName => {
                let mut between = authority("between", BasicConstraints::Unconstrained);
                let other = vec![GeneralSubtree::DnsName("other.example".into())];
                let this = vec![GeneralSubtree::DnsName(name.into())];
                let (permitted_subtrees, excluded_subtrees) =
                    if flaw == Flaw::IssuerExcludesName { (vec![], this) } else { (other, vec![]) };
                between.name_constraints =
                    Some(NameConstraints { permitted_subtrees, excluded_subtrees });
                return self.below(between, &params);
            }
            Flaw::ChainTooLong => {
                let upper = authority("upper", BasicConstraints::Constrained(0));
                let upper =
                    CertifiedIssuer::signed_by(upper, key()?, top).map_err(io::Error::other)?;
                let lower = authority("lower", BasicConstraints::Unconstrained);
                let lower =
                    CertifiedIssuer::signed_by(lower, key()?, &upper).map_err(io::Error::other)?;
                return signed(&params, &lower, &[lower.der(), upper.der()]);
            }
            Flaw::ChainBroken => {
                let between = authority("between", BasicConstraints::Unconstrained);
                let between =
                    CertifiedIssuer::signed_by(between, key()?, top).map_err(io::Error::other)?;
                return signed(&params, &between, &[]);
            }
            Flaw::OtherKey => {
                let certificate = params.signed_by(&key()?, top).map_err(io::Error::other)?;
                return Identity::new(vec![certificate.der().clone()], &key()?);
            }
        }
        self.issue_params(&params)
    }

    /// A certificate that is good in all, by an authority between, which is shown: what the flaws of
    /// issuers are compared with.
    ///
    /// # Errors
    /// Where the name is none.
    pub fn issue_below(&self, name: &str) -> io::Result<Identity> {
        self.below(authority("between", BasicConstraints::Constrained(0)), &leaf(&[name])?)
    }

    /// As [`Self::issue`], with this serial number.
    ///
    /// # Errors
    /// Where there is no randomness.
    pub fn issue_numbered(&self, serial: u64) -> io::Result<Identity> {
        let mut params = leaf(&["localhost", "127.0.0.1"])?;
        params.serial_number = Some(serial.into());
        signed(&params, &self.0, &[])
    }

    /// A good certificate by an authority between, which has this serial number.
    ///
    /// # Errors
    /// Where there is no randomness.
    pub fn issue_below_numbered(&self, serial: u64) -> io::Result<Identity> {
        let mut between = authority("between", BasicConstraints::Constrained(0));
        between.serial_number = Some(serial.into());
        self.below(between, &leaf(&["localhost", "127.0.0.1"])?)
    }

    /// The list of these revoked serial numbers, of this year's beginning or long expired, in PEM.
    ///
    /// # Errors
    /// Where it cannot be signed.
    pub fn revoke(&self, serials: &[u64], is_expired: bool) -> io::Result<String> {
        let year = if is_expired { 2001 } else { 4000 };
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2000, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2000, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).and_then(|list| list.pem()).map_err(io::Error::other)
    }

    fn issue_params(&self, params: &CertificateParams) -> io::Result<Identity> {
        signed(params, &self.0, &[])
    }

    fn below(
        &self,
        between: CertificateParams,
        params: &CertificateParams,
    ) -> io::Result<Identity> {
        let between =
            CertifiedIssuer::signed_by(between, key()?, &self.0).map_err(io::Error::other)?;
        signed(params, &between, &[between.der()])
    }
}

fn key() -> io::Result<KeyPair> {
    KeyPair::generate().map_err(io::Error::other)
}

fn authority(name: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn leaf(names: &[&str]) -> io::Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, "testkit provider");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn expire(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2001, 1, 1);
}

fn signed(
    params: &CertificateParams,
    issuer: &Issuer<'_, KeyPair>,
    shown: &[&CertificateDer<'static>],
) -> io::Result<Identity> {
    let own = key()?;
    let certificate = params.signed_by(&own, issuer).map_err(io::Error::other)?;
    let mut chain = vec![certificate.der().clone()];
    chain.extend(shown.iter().map(|one| (*one).clone()));
    Identity::new(chain, &own)
}

/// What is shown to each new connection; sessions begun before stay known.
#[derive(Debug)]
pub(crate) struct Shown(Mutex<Identity>);

impl Shown {
    pub(crate) fn show(&self, identity: Identity) {
        *crate::lock(&self.0) = identity;
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&crate::lock(&self.0).0))
    }
}

/// The server's side.
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) shown: Arc<Shown>,
}

/// A server that chooses the first of `alpn` that the client offers too.
pub(crate) fn server(identity: Identity, is_tls12_only: bool, alpn: &[&str]) -> io::Result<Tls> {
    let versions: &[&SupportedProtocolVersion] =
        if is_tls12_only { &[&TLS12] } else { &[&TLS13, &TLS12] };
    let shown = Arc::new(Shown(Mutex::new(identity)));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&shown) as _);
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Tls { config: Arc::new(config), shown })
}
