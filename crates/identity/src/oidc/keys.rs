//! A provider's keys (RFC 7517), and which of them an ID token may be checked with.

use super::{MAX_ANSWER_BYTES, OidcError};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// What a token may be signed by: asymmetric alone, so that no public key is taken for a secret
/// (RFC 8725 §2.1).
pub(super) const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Keys of one provider that are looked at.
const MAX_KEYS: usize = 100;

/// The public keys of a provider.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Jwk>);

impl KeySet {
    /// Reads a set; what is no key of a kind that is known is passed over.
    pub fn read(bytes: &[u8]) -> Result<Self, OidcError> {
        #[derive(Deserialize)]
        struct Said {
            keys: Vec<Value>,
        }
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(OidcError::KeysMalformed);
        }
        let said: Said = serde_json::from_slice(bytes).map_err(|_| OidcError::KeysMalformed)?;
        let keys = said.keys.into_iter().take(MAX_KEYS);
        let known = keys.filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        Ok(Self(known.filter(|key| family(key).is_some()).collect()))
    }

    /// Whether there is a key of this name, or any key where none is named.
    pub(super) fn candidates<'k>(&'k self, kid: Option<&'k str>) -> impl Iterator<Item = &'k Jwk> {
        let is_meant = move |key: &&Jwk| kid.is_none() || key.common.key_id.as_deref() == kid;
        self.0.iter().filter(is_meant)
    }

    /// The key that a token of this header is checked with. A token that names none is checked only
    /// where there is one alone that fits.
    pub(super) fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, OidcError> {
        if self.candidates(kid).next().is_none() {
            return Err(OidcError::KeyUnknown);
        }
        let mut fitting = self.candidates(kid).filter(|key| is_fit(key, algorithm));
        let key = fitting.next().ok_or(OidcError::KeyUnfit)?;
        if fitting.next().is_some() {
            return Err(OidcError::KeyUnknown);
        }
        DecodingKey::from_jwk(key).map_err(|_| OidcError::KeyUnfit)
    }
}

fn family(key: &Jwk) -> Option<AlgorithmFamily> {
    match &key.algorithm {
        AlgorithmParameters::RSA(_) => Some(AlgorithmFamily::Rsa),
        AlgorithmParameters::EllipticCurve(_) => Some(AlgorithmFamily::Ec),
        AlgorithmParameters::OctetKeyPair(_) => Some(AlgorithmFamily::Ed),
        _ => None,
    }
}

/// Whether an RSA modulus has 2048 bits or more (NIST SP 800-131A).
fn is_long(key: &Jwk) -> bool {
    let AlgorithmParameters::RSA(key) = &key.algorithm else { return false };
    let modulus = URL_SAFE_NO_PAD.decode(&key.n).unwrap_or_default();
    let mut bytes = modulus.iter().skip_while(|byte| **byte == 0);
    let first = bytes.next().map_or(0, |byte| 8 - byte.leading_zeros() as usize);
    first + bytes.count() * 8 >= 2_048
}

/// Whether a key is of the algorithm's kind, strong enough, and for signatures.
fn is_fit(key: &Jwk, algorithm: Algorithm) -> bool {
    let curve = match &key.algorithm {
        AlgorithmParameters::EllipticCurve(key) => Some(key.curve.clone()),
        AlgorithmParameters::OctetKeyPair(key) => Some(key.curve.clone()),
        _ => None,
    };
    let has_curve = match algorithm {
        Algorithm::ES256 => curve == Some(EllipticCurve::P256),
        Algorithm::ES384 => curve == Some(EllipticCurve::P384),
        Algorithm::EdDSA => curve == Some(EllipticCurve::Ed25519),
        _ => is_long(key),
    };
    let is_of_algorithm = key
        .common
        .key_algorithm
        .is_none_or(|said| Algorithm::try_from(said).is_ok_and(|said| said == algorithm));
    let is_for_signatures =
        key.common.public_key_use.as_ref().is_none_or(|said| *said == PublicKeyUse::Signature);
    family(key) == Some(algorithm.family()) && has_curve && is_of_algorithm && is_for_signatures
}
