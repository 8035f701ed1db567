//! Why nothing was connected.

use crate::error::Kind;

/// What the provider wrote is told by known codes only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("the provider has no security scheme with an authorization code flow{}", if *named { " of the name that was given" } else { "" })]
    NoFlow { named: bool },
    #[error("several security schemes have an authorization code flow: {}", choices.join(", "))]
    SchemeAmbiguous { choices: Vec<String> },
    #[error("the company is not registered with the provider: there is no `client_id`")]
    NoClientId,
    #[error(
        "what came back does not belong to what this browser began, came too late, or came twice"
    )]
    State,
    #[error(
        "what came back is not from the provider that was asked: its `iss` is missing or another"
    )]
    Issuer,
    #[error("the provider did not agree ({code})")]
    Denied { code: &'static str },
    #[error("what came back holds no code")]
    CodeMissing,
    #[error("there is no connect session of that name that is under way")]
    Unknown,
    #[error("nothing waits to be confirmed: the connect session is {progress}")]
    NotReturned { progress: &'static str },
    #[error("the connection was revoked, or renewed otherwise meanwhile")]
    ConnectionGone,
    #[error("the connection's tokens are not obtained by somebody's consent")]
    NotByConsent,
    #[error("at most {limit} connect sessions are open at once")]
    TooMany { limit: usize },
    #[error("the idempotency key was used for another connect session")]
    KeyReused,
    #[error("an idempotency key has 1 to 255 characters of visible ASCII")]
    KeyMalformed,
    #[error("the connection has no consent in force")]
    NoConsent,
}

impl ConnectError {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::NoFlow { .. }
            | Self::SchemeAmbiguous { .. }
            | Self::NoClientId
            | Self::NotByConsent
            | Self::KeyMalformed
            | Self::KeyReused => Kind::Usage,
            Self::Unknown | Self::NoConsent => Kind::NotFound,
            _ => Kind::Refused,
        }
    }

    pub(crate) const fn remedy(&self) -> &'static str {
        match self {
            Self::NoFlow { .. } => {
                "Declare the flow by `x-weirgate-auth` in an overlay, or connect by a secret."
            }
            Self::SchemeAmbiguous { .. } => "Name one with --scheme.",
            Self::NoClientId => {
                "Register Weirgate with the provider, and give what it says by `weirgate provider app set`."
            }
            Self::State | Self::CodeMissing => {
                "Begin again; an answer counts once, within ten minutes."
            }
            Self::Issuer => {
                "Begin again. If it stays so, correct `issuer` in the overlay's `x-weirgate-auth`."
            }
            Self::Denied { .. } => "Begin again, and agree at the provider, or ask whoever may.",
            Self::Unknown | Self::NotReturned { .. } => "Begin again.",
            Self::ConnectionGone => "Look at it with `weirgate connection show`, and connect anew.",
            Self::NotByConsent => "Give another secret with `weirgate connection replace`.",
            Self::TooMany { .. } => "Wait ten minutes, or end those that nobody needs.",
            Self::KeyReused => "Use a new key for each session.",
            Self::KeyMalformed => "Use a random text, like a UUID.",
            Self::NoConsent => "List them with `weirgate connection consent list`.",
        }
    }
}
