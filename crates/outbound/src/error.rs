//! Why a provider could not be reached, or its answer not taken.

use crate::{AddressClass, TlsFailure};
use types::{Fault, Origin};

/// See the module. Nothing here repeats what a provider sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    #[error("the provider's address is {} and was not allowed", .0.as_str())]
    AddressRefused(AddressClass),
    #[error("plain http was not allowed for the provider's host and port")]
    PlainHttpRefused,
    #[error("the provider's name cannot be resolved")]
    Unresolvable,
    #[error("the provider's name was not resolved within {millis} ms")]
    ResolveTimeout { millis: u128 },
    #[error("the provider cannot be connected to")]
    Unreachable,
    #[error("the provider was not connected to within {millis} ms")]
    ConnectTimeout { millis: u128 },
    #[error("no secure connection to the provider: {}", .0.as_str())]
    Tls(TlsFailure),
    #[error("no secure connection to the provider within {millis} ms")]
    TlsTimeout { millis: u128 },
    #[error("the request cannot be sent: {what}")]
    Unsendable { what: &'static str },
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
    #[error(
        "the provider's answers need more memory for their content codings than there is room for"
    )]
    NoWindow,
    #[error("the provider's answer has a content coding that was not asked for")]
    Encoding,
}

impl Fault for OutboundError {
    fn origin(&self) -> Origin {
        match self {
            // What the operator named, or we made, not what the provider did.
            Self::AddressRefused(_) | Self::PlainHttpRefused | Self::Unsendable { .. } => {
                Origin::Internal
            }
            _ => Origin::Provider,
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Unresolvable
            | Self::ResolveTimeout { .. }
            | Self::Unreachable
            | Self::ConnectTimeout { .. }
            | Self::TlsTimeout { .. }
            | Self::HeadTimeout { .. }
            | Self::BodyTimeout { .. }
            | Self::TotalTimeout { .. }
            | Self::Reset
            | Self::NoWindow => true,
            Self::Tls(failure) => *failure == TlsFailure::BrokenOff,
            Self::AddressRefused(_)
            | Self::PlainHttpRefused
            | Self::Unsendable { .. }
            | Self::Malformed { .. }
            | Self::TooLarge { .. }
            | Self::Bomb { .. }
            | Self::Encoding => false,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::AddressRefused(_) | Self::PlainHttpRefused => "provider_address_refused",
            Self::Unresolvable | Self::ResolveTimeout { .. } => "provider_unresolvable",
            Self::Unreachable => "provider_unreachable",
            Self::ConnectTimeout { .. } | Self::TlsTimeout { .. } => "provider_connect_timeout",
            Self::Tls(_) => "provider_tls_failed",
            Self::Unsendable { .. } => "provider_request_unsendable",
            Self::HeadTimeout { .. } => "provider_timeout",
            Self::BodyTimeout { .. } => "provider_body_timeout",
            Self::TotalTimeout { .. } => "provider_total_timeout",
            Self::Reset => "provider_reset",
            Self::Malformed { .. } => "provider_malformed",
            Self::TooLarge { .. } => "provider_answer_too_large",
            Self::Bomb { .. } => "provider_bomb",
            Self::NoWindow => "provider_window",
            Self::Encoding => "provider_encoding",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_belong_to_the_provider_and_messages_name_no_data() {
        let millis = 5;
        let all = [
            OutboundError::AddressRefused(AddressClass::Loopback),
            OutboundError::PlainHttpRefused,
            OutboundError::Unresolvable,
            OutboundError::ResolveTimeout { millis },
            OutboundError::Unreachable,
            OutboundError::ConnectTimeout { millis },
            OutboundError::Tls(TlsFailure::Expired),
            OutboundError::Tls(TlsFailure::BrokenOff),
            OutboundError::TlsTimeout { millis },
            OutboundError::Unsendable { what: "its host" },
            OutboundError::HeadTimeout { millis },
            OutboundError::BodyTimeout { millis },
            OutboundError::TotalTimeout { millis },
            OutboundError::Reset,
            OutboundError::Malformed { what: "x" },
            OutboundError::TooLarge { limit: 1 },
            OutboundError::Bomb { ratio: 200 },
            OutboundError::NoWindow,
            OutboundError::Encoding,
        ];
        for error in &all {
            assert!(error.code().starts_with("provider_"), "{error:?}");
            let is_ours = error.origin() == Origin::Internal;
            assert!(!(is_ours && error.is_retryable()), "{error:?}");
        }
        let retryable = all.iter().filter(|error| error.is_retryable()).count();
        assert_eq!(retryable, 11);
    }
}
