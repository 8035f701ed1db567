//! JSON Web Tokens that Weirgate signs itself: assertions (RFC 7523) and proofs of possession
//! (RFC 9449).

use super::AuthError;
use crate::secret_json::write_text;
use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RSA_PSS_SHA256,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use provider::auth::SigningAlgorithm;
use secrecy::zeroize::Zeroizing;
use types::{Random, Timestamp};

/// The claims of a token, in order.
#[derive(Default)]
pub(super) struct Claims(Zeroizing<Vec<u8>>);

impl Claims {
    fn name(&mut self, name: &str) {
        let before = if self.0.is_empty() { b'{' } else { b',' };
        self.0.push(before);
        write_text(&mut self.0, name);
        self.0.push(b':');
    }

    pub(super) fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        write_text(&mut self.0, value);
        self
    }

    pub(super) fn number(mut self, name: &str, value: i64) -> Self {
        self.name(name);
        self.0.extend_from_slice(value.to_string().as_bytes());
        self
    }

    /// `iat`, `exp` and `jti` of a token that lasts so many seconds.
    pub(super) fn lasting(
        self,
        now: Timestamp,
        lasts_s: u32,
        random: &dyn Random,
    ) -> Result<Self, AuthError> {
        let iat = now.as_seconds();
        let claims = self.number("iat", iat).number("exp", iat + i64::from(lasts_s));
        Ok(claims.text("jti", &unguessable(random)?))
    }

    fn done(mut self) -> Zeroizing<Vec<u8>> {
        if self.0.is_empty() {
            self.0.push(b'{');
        }
        self.0.push(b'}');
        self.0
    }
}

/// 256 bits in base64url.
pub(crate) fn unguessable(random: &dyn Random) -> Result<String, AuthError> {
    let mut bytes = [0_u8; 32];
    random.fill(&mut bytes).map_err(|_| AuthError::NoRandom)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// A private key in PEM: PKCS #8, or PKCS #1 for RSA.
enum PrivateKey {
    Rsa(rsa::KeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    fn read(algorithm: SigningAlgorithm, pem: &str) -> Result<Self, AuthError> {
        let (label, der) = der_of(pem).ok_or(AuthError::PrivateKey)?;
        let unfit = |_| AuthError::PrivateKeyUnfit;
        match (algorithm, label) {
            (SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256, "PRIVATE KEY") => {
                rsa::KeyPair::from_pkcs8(&der).map(Self::Rsa).map_err(unfit)
            }
            (SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256, "RSA PRIVATE KEY") => {
                rsa::KeyPair::from_der(&der).map(Self::Rsa).map_err(unfit)
            }
            (SigningAlgorithm::Es256, "PRIVATE KEY") => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
                    .map(Self::Ecdsa)
                    .map_err(unfit)
            }
            (SigningAlgorithm::Es256, "EC PRIVATE KEY") => {
                EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
                    .map(Self::Ecdsa)
                    .map_err(|_| AuthError::PrivateKeyUnfit)
            }
            (SigningAlgorithm::EdDsa, "PRIVATE KEY") => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(Self::Ed25519).map_err(unfit)
            }
            _ => Err(AuthError::PrivateKeyUnfit),
        }
    }

    fn sign(&self, algorithm: SigningAlgorithm, message: &[u8]) -> Result<Vec<u8>, AuthError> {
        let failed = |_| AuthError::Crypto;
        match self {
            Self::Rsa(key) => {
                let padding = match algorithm {
                    SigningAlgorithm::Ps256 => &RSA_PSS_SHA256,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(padding, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Self::Ecdsa(key) => {
                let signature = key.sign(&SystemRandom::new(), message).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

/// The first private key of a PEM text: its label, and what it holds.
fn der_of(pem: &str) -> Option<(&str, Zeroizing<Vec<u8>>)> {
    // Tools write parameters of a curve, or certificates, before the key.
    let (label, body) = pem.split("-----BEGIN ").skip(1).find_map(|block| {
        let (label, rest) = block.split_once("-----")?;
        let (body, _) = rest.split_once("-----END ")?;
        label.ends_with("PRIVATE KEY").then_some((label, body))
    })?;
    let mut packed = Zeroizing::new(String::with_capacity(body.len()));
    packed.extend(body.chars().filter(|letter| !letter.is_ascii_whitespace()));
    Some((label, Zeroizing::new(STANDARD.decode(&*packed).ok()?)))
}

/// Whether a private key can be used for an algorithm, or for any: told when it is given, not at the
/// first call.
pub(crate) fn check_any_key(
    algorithm: Option<SigningAlgorithm>,
    pem: &str,
) -> Result<(), AuthError> {
    match algorithm {
        Some(algorithm) => PrivateKey::read(algorithm, pem).map(drop),
        None => fitting(pem).map(drop),
    }
}

/// What a key is for, where nothing says what to sign by.
pub(super) fn fitting(pem: &str) -> Result<SigningAlgorithm, AuthError> {
    use SigningAlgorithm as A;
    let mut why = AuthError::PrivateKeyUnfit;
    for algorithm in [A::Es256, A::EdDsa, A::Rs256] {
        match PrivateKey::read(algorithm, pem) {
            Ok(_) => return Ok(algorithm),
            Err(error) => why = error,
        }
    }
    Err(why)
}

const fn name(algorithm: SigningAlgorithm) -> &'static str {
    match algorithm {
        SigningAlgorithm::Rs256 => "RS256",
        SigningAlgorithm::Ps256 => "PS256",
        SigningAlgorithm::Es256 => "ES256",
        SigningAlgorithm::EdDsa => "EdDSA",
    }
}

/// Header, claims and signature in compact form (RFC 7515 §7.1).
pub(super) fn signed(
    algorithm: SigningAlgorithm,
    pem: &str,
    key_id: Option<&str>,
    claims: Claims,
) -> Result<Zeroizing<String>, AuthError> {
    let key = PrivateKey::read(algorithm, pem)?;
    let mut header = Claims::default().text("alg", name(algorithm)).text("typ", "JWT");
    if let Some(key_id) = key_id {
        header = header.text("kid", key_id);
    }
    compact(&header.done(), claims, |message| key.sign(algorithm, message))
}

fn compact(
    header: &[u8],
    claims: Claims,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, AuthError>,
) -> Result<Zeroizing<String>, AuthError> {
    let mut token = Zeroizing::new(String::with_capacity(4096));
    token.push_str(&URL_SAFE_NO_PAD.encode(header));
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(&*claims.done()));
    let signature = sign(token.as_bytes())?;
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Ok(token)
}

/// A key that proves possession of a token: ECDSA on P-256, made for one connection.
pub(crate) struct ProofKey(EcdsaKeyPair);

impl ProofKey {
    /// A new one, as it is stored.
    pub(crate) fn generate() -> Result<Zeroizing<String>, AuthError> {
        let made =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let made = made.map_err(|_| AuthError::Crypto)?;
        Ok(Zeroizing::new(STANDARD.encode(made.as_ref())))
    }

    pub(crate) fn read(stored: &str) -> Result<Self, AuthError> {
        let der = Zeroizing::new(STANDARD.decode(stored).map_err(|_| AuthError::PrivateKey)?);
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der);
        key.map(Self).map_err(|_| AuthError::PrivateKey)
    }

    /// A proof for one request (RFC 9449 §4.2); with a token's hash where one is shown.
    pub(crate) fn proof(&self, asked: &ProofOf<'_>) -> Result<Zeroizing<String>, AuthError> {
        // An uncompressed point: 0x04, then both coordinates.
        let point = self.0.public_key().as_ref();
        let (Some(x), Some(y)) = (point.get(1..33), point.get(33..65)) else {
            return Err(AuthError::Crypto);
        };
        let header = format!(
            r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}}}"#,
            URL_SAFE_NO_PAD.encode(x),
            URL_SAFE_NO_PAD.encode(y)
        );
        let mut claims = Claims::default()
            .text("jti", &unguessable(asked.random)?)
            .text("htm", asked.method)
            .text("htu", asked.url)
            .number("iat", asked.now.as_seconds());
        if let Some(nonce) = asked.nonce {
            claims = claims.text("nonce", nonce);
        }
        if let Some(token) = asked.token {
            let hash = digest::digest(&digest::SHA256, token.as_bytes());
            claims = claims.text("ath", &URL_SAFE_NO_PAD.encode(hash));
        }
        compact(header.as_bytes(), claims, |message| {
            let signature = self.0.sign(&SystemRandom::new(), message);
            Ok(signature.map_err(|_| AuthError::Crypto)?.as_ref().to_vec())
        })
    }
}

/// What a proof is for.
pub(crate) struct ProofOf<'p> {
    pub method: &'p str,
    /// Without query and fragment.
    pub url: &'p str,
    pub token: Option<&'p str>,
    pub nonce: Option<&'p str>,
    pub now: Timestamp,
    pub random: &'p dyn Random,
}
