//! Sign-in by an OpenID Connect provider: what it is asked, and what an answer must be.
//!
//! Authorization code with PKCE (RFC 7636), `state`, `nonce` and `iss` (RFC 9207), judged by OpenID
//! Connect Core 1.0 §3.1.3.7 and RFC 8725. Only the ID token is believed: nothing is asked of the
//! provider's other endpoints. Whom an answer is about is the pair of issuer and subject, never an
//! address.

mod id_token;
mod keys;
mod metadata;
mod request;

pub use id_token::{Claims, Expected, GroupsClaim, SecondFactor};
pub use keys::KeySet;
pub use metadata::{Issuer, Metadata};
pub use request::{AuthorizationRequest, Callback, CodeExchange, TokenAnswer};

/// Bytes of any one answer of a provider that are read.
pub const MAX_ANSWER_BYTES: usize = 256 * 1_024;

/// Why a provider, or what it said, is not believed. Repeats nothing that it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    #[error("the issuer is no https URL without query and fragment")]
    Issuer,
    #[error("its metadata is no JSON object of the form that OpenID Connect Discovery describes")]
    MetadataMalformed,
    #[error("its metadata says that it is another issuer")]
    MetadataIssuer,
    #[error("its metadata has no {0} that is an https URL")]
    Endpoint(&'static str),
    #[error("it has no authorization code flow with PKCE S256 by a client secret: {0}")]
    Unsupported(&'static str),
    #[error("its keys are no JSON Web Key Set")]
    KeysMalformed,
    #[error("the answer does not belong to a sign-in that this browser began")]
    State,
    #[error("the answer comes from another issuer")]
    CallbackIssuer,
    #[error("the provider did not let the person in ({0})")]
    Denied(&'static str),
    #[error("the answer has no code")]
    CodeMissing,
    #[error("the provider refused the code ({0})")]
    CodeRefused(&'static str),
    #[error("what the provider gave for the code is malformed")]
    TokenAnswerMalformed,
    #[error("the ID token is malformed")]
    TokenMalformed,
    #[error("the ID token is signed by {0}, which is not accepted")]
    Algorithm(&'static str),
    #[error("no key of the provider is named by the ID token")]
    KeyUnknown,
    #[error("the key that the ID token names is too weak, or of another kind")]
    KeyUnfit,
    #[error("the ID token's signature is wrong")]
    Signature,
    #[error("the ID token's `{0}` is missing or not what it must be")]
    Claim(&'static str),
    #[error("the ID token has expired, or is from another time")]
    Time,
    #[error("the provider does not say that a second factor was shown (`amr`, `acr`)")]
    NoSecondFactor,
    #[error("the provider does not say that a factor was shown just now (`auth_time`)")]
    NotFresh,
}

/// A code of RFC 6749 or OpenID Connect Core as it may be repeated: one that is known.
fn known_code(code: &str) -> &'static str {
    const CODES: [&str; 17] = [
        "access_denied",
        "account_selection_required",
        "consent_required",
        "interaction_required",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_request_object",
        "invalid_request_uri",
        "invalid_scope",
        "login_required",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unmet_authentication_requirements",
        "unsupported_grant_type",
        "unsupported_response_type",
    ];
    CODES.into_iter().find(|known| *known == code).unwrap_or("another error")
}
