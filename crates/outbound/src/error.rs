//! Why a provider could not be reached, or its answer not taken.

use crate::AddressClass;
use types::{Fault, Origin};

/// See the module. Nothing here repeats what a provider sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    #[error("the provider's address is {} and was not allowed", .0.as_str())]
    AddressRefused(AddressClass),
    #[error("the provider's name cannot be resolved")]
    Unresolvable,
    #[error("the provider cannot be connected to")]
    Unreachable,
    #[error("the provider was not connected to within {millis} ms")]
    ConnectTimeout { millis: u128 },
    #[error("no secure connection to the provider: {why}")]
    Tls { why: &'static str },
    #[error("the provider did not begin to answer within {millis} ms")]
    HeadTimeout { millis: u128 },
    #[error("the provider fell silent within its answer for {millis} ms")]
    BodyTimeout { millis: u128 },
    #[error("the provider's answer took more than {millis} ms")]
    TotalTimeout { millis: u128 },
    #[error("the provider broke off")]
    Reset,
    #[error("the provider's answer is no HTTP that can be trusted: {what}")]
    Malformed { what: &'static str },
    #[error("the provider's answer is longer than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the provider's answer decompresses to more than {ratio} times its size")]
    Bomb { ratio: u64 },
    #[error("the provider's answer has a content coding that was not asked for")]
    Encoding,
}

impl Fault for OutboundError {
    fn origin(&self) -> Origin {
        match self {
            // What the operator named, not what the provider did.
            Self::AddressRefused(_) => Origin::Internal,
            _ => Origin::Provider,
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Unresolvable
            | Self::Unreachable
            | Self::ConnectTimeout { .. }
            | Self::HeadTimeout { .. }
            | Self::BodyTimeout { .. }
            | Self::TotalTimeout { .. }
            | Self::Reset => true,
            Self::AddressRefused(_)
            | Self::Tls { .. }
            | Self::Malformed { .. }
            | Self::TooLarge { .. }
            | Self::Bomb { .. }
            | Self::Encoding => false,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::AddressRefused(_) => "provider_address_refused",
            Self::Unresolvable => "provider_unresolvable",
            Self::Unreachable => "provider_unreachable",
            Self::ConnectTimeout { .. } => "provider_connect_timeout",
            Self::Tls { .. } => "provider_tls_failed",
            Self::HeadTimeout { .. } => "provider_timeout",
            Self::BodyTimeout { .. } => "provider_body_timeout",
            Self::TotalTimeout { .. } => "provider_total_timeout",
            Self::Reset => "provider_reset",
            Self::Malformed { .. } => "provider_malformed",
            Self::TooLarge { .. } => "provider_answer_too_large",
            Self::Bomb { .. } => "provider_bomb",
            Self::Encoding => "provider_encoding",
        }
    }
}
