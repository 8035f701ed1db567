//! Makes of a secret what its plan says: the requests that obtain a token, and what goes into a call.
//!
//! Nothing here does I/O. [`Acquisition`] says what to ask and is told what came back; what it needs
//! of time and chance is given to it.

mod acquire;
#[cfg(test)]
mod acquire_tests;
mod answer;
mod apply;
mod assertion;
#[cfg(test)]
mod assertion_tests;
mod fill;
mod sigv4;
mod token_set;
mod variables;

pub use acquire::{Acquisition, AuthorizationUrl, Goal, Progress, TokenRequest, revocation};
pub use answer::{MAX_TOKEN_ANSWER_BYTES, TokenAnswer};
pub use fill::{CallFacts, Moment};
pub use token_set::TokenSet;
pub use variables::Variables;

pub(crate) use apply::{Lacking, PROOF_KEY, is_sufficient, parts};
pub(crate) use assertion::check_any_key;
pub(crate) use fill::percent;

use std::time::Duration;

/// Why a plan cannot be followed. Names values, never shows them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error(
        "`{name}` has no value: neither the secret, nor the provider's app, nor the connection's variables give one"
    )]
    ValueMissing { name: String },
    #[error("the value of `{name}` is no part of a host's name")]
    HostValue { name: String },
    #[error("a value in a path is empty or leads upwards")]
    PathValue,
    #[error(
        "what would be the header `{name}` has characters that no header may have, or is empty"
    )]
    HeaderValue { name: String },
    #[error("what a template makes is no text")]
    NotText,
    #[error("what a template makes is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("the private key is no PEM text")]
    PrivateKey,
    #[error("the private key does not fit the algorithm that the provider's plan names")]
    PrivateKeyUnfit,
    #[error("a record of tokens cannot be read")]
    Record,
    #[error("the system's random source gave nothing")]
    NoRandom,
    #[error("the cryptographic library refused to work")]
    Crypto,
}

/// Why no token was obtained. Says codes that are known and statuses, never what the provider wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcquireError {
    #[error("nothing renews the connection: somebody has to consent anew")]
    NeedsConsent,
    #[error("the provider ended what was consented to ({code}): somebody has to consent anew")]
    Ended { code: String },
    #[error("the provider's token endpoint refused with status {status}{}", code.as_ref().map_or_else(String::new, |code| format!(" ({code})")))]
    Refused { status: u16, code: Option<String> },
    #[error("the provider's token endpoint could not answer now (status {status})")]
    Later { status: u16, retry_after: Option<Duration> },
    #[error("the provider's answer has no `{name}` where the plan looks for it")]
    AnswerLacks { name: String },
    #[error("the provider's `{name}` does not have the form that the plan demands")]
    AnswerUnfit { name: String },
    #[error("the provider gave a token that anybody could use, though the plan demands DPoP")]
    NotBound,
    #[error(transparent)]
    Auth(#[from] AuthError),
}
