//! What an ID token must be before anything that it says is believed.

use super::{Issuer, KeySet, OidcError, keys::ALGORITHMS};
use aws_lc_rs::{constant_time, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::Duration;
use types::{SecretText, Timestamp};

/// How far a provider's clock may be from ours.
const LEEWAY: Duration = Duration::from_mins(1);
/// An ID token that is believed was made for this sign-in.
const MAX_AGE: Duration = Duration::from_mins(10);
const MAX_TOKEN_BYTES: usize = 64 * 1_024;
/// OpenID Connect Core §2.
const MAX_SUBJECT_BYTES: usize = 255;
const MAX_GROUPS: usize = 1_000;

/// Where a second factor is shown, and what proves that it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecondFactor {
    /// At the provider, which says so by one of these values (RFC 8176, OpenID Connect Core §2).
    Provider { amr: Vec<String>, acr: Vec<String> },
    /// At Weirgate, whatever the provider says.
    Here,
}

/// Where a provider says which groups somebody is in.
#[derive(Clone, Copy, Debug)]
pub struct GroupsClaim<'e>(pub &'e str);

/// What an ID token is held against.
#[derive(Debug)]
pub struct Expected<'e> {
    pub issuer: &'e Issuer,
    pub client_id: &'e str,
    pub nonce: &'e str,
    pub second_factor: &'e SecondFactor,
    pub groups: GroupsClaim<'e>,
    pub now: Timestamp,
    /// A factor must have been shown after this.
    pub shown_after: Option<Timestamp>,
}

/// What a provider says of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub subject: String,
    /// One that the provider has verified.
    pub email: Option<String>,
    pub name: Option<String>,
    pub groups: Vec<String>,
}

#[derive(Deserialize)]
struct Said {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    nbf: Option<f64>,
    iat: f64,
    auth_time: Option<f64>,
    nonce: Option<String>,
    at_hash: Option<String>,
    amr: Option<Vec<String>>,
    acr: Option<String>,
    email: Option<String>,
    email_verified: Option<Value>,
    name: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Claims {
    /// Judges a token; what it says of the person, if it is believed.
    ///
    /// # Errors
    /// The first of what is wrong with it.
    pub fn verify(
        token: &SecretText,
        access_token: Option<&SecretText>,
        keys: &KeySet,
        expected: &Expected<'_>,
    ) -> Result<Self, OidcError> {
        let (algorithm, said) = signed(token, keys)?;
        if said.iss != expected.issuer.as_str() {
            return Err(OidcError::Claim("iss"));
        }
        // Another audience is none that is trusted.
        let is_for_us = match &said.aud {
            Audience::One(one) => one == expected.client_id,
            Audience::Many(many) => {
                !many.is_empty() && many.iter().all(|one| one == expected.client_id)
            }
        };
        if !is_for_us {
            return Err(OidcError::Claim("aud"));
        }
        if said.azp.as_ref().is_some_and(|azp| azp != expected.client_id) {
            return Err(OidcError::Claim("azp"));
        }
        let nonce = said.nonce.as_deref().unwrap_or_default();
        constant_time::verify_slices_are_equal(nonce.as_bytes(), expected.nonce.as_bytes())
            .map_err(|_| OidcError::Claim("nonce"))?;
        if said.sub.is_empty() || said.sub.len() > MAX_SUBJECT_BYTES {
            return Err(OidcError::Claim("sub"));
        }
        in_time(&said, expected.now)?;
        if let (Some(hash), Some(access_token)) = (&said.at_hash, access_token) {
            let is_its =
                half_digest(algorithm, access_token.expose()).is_some_and(|half| half == *hash);
            if !is_its {
                return Err(OidcError::Claim("at_hash"));
            }
        }
        proves_second_factor(&said, expected.second_factor)?;
        if let Some(after) = expected.shown_after {
            let at = said.auth_time.map(moment).ok_or(OidcError::NotFresh)?;
            if at + LEEWAY < after || at > expected.now + LEEWAY {
                return Err(OidcError::NotFresh);
            }
        }
        let groups = groups(&said.others, expected.groups)?;
        let is_verified = match &said.email_verified {
            Some(Value::Bool(said)) => *said,
            // As some providers spell it.
            Some(Value::String(said)) => said == "true",
            _ => false,
        };
        Ok(Self {
            subject: said.sub,
            email: said.email.filter(|_| is_verified),
            name: said.name,
            groups,
        })
    }
}

/// The claims of a token that one of these keys has signed.
fn signed(token: &SecretText, keys: &KeySet) -> Result<(Algorithm, Said), OidcError> {
    let text = token.expose();
    if text.len() > MAX_TOKEN_BYTES {
        return Err(OidcError::TokenMalformed);
    }
    let header = header(text)?;
    let algorithm = header.alg;
    if !ALGORITHMS.contains(&algorithm) {
        return Err(OidcError::Algorithm("a shared secret"));
    }
    // Keys that a token brings along, or points to, are never used; what it declares critical is
    // not understood (RFC 7515 §4.1.11).
    if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
        return Err(OidcError::TokenMalformed);
    }
    let key = keys.find(header.kid.as_deref(), algorithm)?;
    let mut validation = Validation::new(algorithm);
    // Times are judged below, by the clock that the rest goes by.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let read = jsonwebtoken::decode::<Said>(text, &key, &validation);
    let read = read.map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::InvalidSignature => OidcError::Signature,
        _ => OidcError::TokenMalformed,
    })?;
    Ok((algorithm, read.claims))
}

fn header(text: &str) -> Result<Header, OidcError> {
    #[derive(Deserialize)]
    struct Named {
        alg: String,
    }
    // Exactly three parts, the form that is signed (RFC 7519 §7.2).
    if text.split('.').count() != 3 {
        return Err(OidcError::TokenMalformed);
    }
    jsonwebtoken::decode_header(text).map_err(|_| {
        let first = text.split('.').next().unwrap_or_default();
        let decoded = URL_SAFE_NO_PAD.decode(first).unwrap_or_default();
        let named = serde_json::from_slice::<Named>(&decoded).ok();
        match named.as_ref().map(|named| named.alg.as_str()) {
            Some(alg) if alg.eq_ignore_ascii_case("none") => OidcError::Algorithm("nobody"),
            Some(_) => OidcError::Algorithm("another algorithm"),
            None => OidcError::TokenMalformed,
        }
    })
}

fn in_time(said: &Said, now: Timestamp) -> Result<(), OidcError> {
    let is_sane = [Some(said.exp), Some(said.iat), said.nbf, said.auth_time]
        .into_iter()
        .flatten()
        .all(|seconds| seconds.is_finite() && (0.0..1e11).contains(&seconds));
    if !is_sane {
        return Err(OidcError::Time);
    }
    let (expires, issued) = (moment(said.exp), moment(said.iat));
    let begins = said.nbf.map_or(issued, moment);
    let is_now = now < expires + LEEWAY
        && now + LEEWAY >= begins
        && now + LEEWAY >= issued
        && now < issued + MAX_AGE + LEEWAY;
    if is_now { Ok(()) } else { Err(OidcError::Time) }
}

/// Seconds since 1970 (RFC 7519 §2), which were looked at to be few enough.
#[expect(clippy::cast_possible_truncation, reason = "below 1e17, where the number is whole")]
fn moment(seconds: f64) -> Timestamp {
    Timestamp::from_micros((seconds * 1e6) as i64)
}

/// The left half of a digest (OpenID Connect Core §3.1.3.6).
fn half_digest(algorithm: Algorithm, text: &str) -> Option<String> {
    let digest = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 => &digest::SHA256,
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => &digest::SHA384,
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::EdDSA => &digest::SHA512,
        _ => return None,
    };
    let digest = digest::digest(digest, text.as_bytes());
    let half = digest.as_ref().get(..digest.as_ref().len() / 2)?;
    Some(URL_SAFE_NO_PAD.encode(half))
}

fn proves_second_factor(said: &Said, wanted: &SecondFactor) -> Result<(), OidcError> {
    let SecondFactor::Provider { amr, acr } = wanted else { return Ok(()) };
    let by_method = said.amr.iter().flatten().any(|one| amr.contains(one));
    let by_class = said.acr.as_ref().is_some_and(|one| acr.contains(one));
    if by_method || by_class { Ok(()) } else { Err(OidcError::NoSecondFactor) }
}

fn groups(others: &Map<String, Value>, claim: GroupsClaim<'_>) -> Result<Vec<String>, OidcError> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let groups: Option<Vec<String>> = match others.get(claim.0) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(groups)) if groups.len() <= MAX_GROUPS => {
            groups.iter().map(text).collect()
        }
        Some(one) => text(one).map(|one| vec![one]),
    };
    groups.ok_or(OidcError::Claim("groups"))
}
