//! Holds a conversation with a token endpoint.

use crate::{
    asking::{AskError, Asker, Question},
    error::Error,
    instance::Instance,
};
use http::Method;
use outbound::{GuardPolicy, Target};
use provider::auth::AuthPlan;
use std::time::Duration;
use types::Fault as _;
use vault::auth::{
    AcquireError, Acquisition, Goal, Moment, Progress, TokenAnswer, TokenRequest, TokenSet,
    Variables,
};
use zeroize::Zeroizing;

/// All that a conversation needs.
pub(crate) struct Conversation<'c> {
    pub plan: &'c AuthPlan,
    pub goal: Goal<'c>,
    pub values: Variables,
    pub held: Option<TokenSet>,
    pub scopes: Vec<String>,
    pub guard: &'c GuardPolicy,
}

/// What came of a conversation.
#[derive(Debug)]
pub(crate) enum Conversed {
    Tokens(TokenSet),
    /// No token, but another one that renews.
    Kept(TokenSet, AcquireError),
}

/// Why no token came of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConversationError {
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// By the code of the client's error. `was_sent` where the provider may have acted on it.
    #[error("the token endpoint could not be reached ({code})")]
    Unreachable { code: &'static str },
    #[error("the token endpoint's URL leads where no call may go: {why}")]
    Refused { why: String },
}

impl ConversationError {
    /// A known code for callers, logs and `connection show`.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { code } => code,
            Self::Refused { .. } => "token_endpoint_not_allowed",
            Self::Acquire(error) => match error {
                AcquireError::NeedsConsent => "consent_needed",
                AcquireError::Ended { .. } => "consent_ended",
                AcquireError::Refused { code, .. } => match code.as_deref() {
                    Some("invalid_client") => "invalid_client",
                    Some("invalid_scope") => "invalid_scope",
                    Some("unauthorized_client") => "unauthorized_client",
                    Some("invalid_grant") => "invalid_grant",
                    Some("invalid_dpop_proof") => "invalid_dpop_proof",
                    _ => "token_endpoint_refused",
                },
                AcquireError::Later { .. } => "token_endpoint_busy",
                AcquireError::AnswerLacks { .. }
                | AcquireError::AnswerUnfit { .. }
                | AcquireError::NotBound => "token_answer_unfit",
                AcquireError::Auth(_) => "token_request_unmakable",
            },
        }
    }

    /// How long to wait at least, where the provider says it.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Acquire(AcquireError::Later { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }

    /// Whether another try soon makes sense: not where a secret or a plan must change first.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Acquire(AcquireError::Later { .. }))
    }
}

impl From<ConversationError> for Error {
    fn from(error: ConversationError) -> Self {
        Self::TokenNotObtained { code: error.code(), why: error.to_string() }
    }
}

/// Asks until there is a token or a reason why there is none.
pub(crate) async fn converse(
    instance: &Instance,
    asker: &Asker,
    conversation: Conversation<'_>,
) -> Result<Conversed, ConversationError> {
    let Conversation { plan, goal, values, held, scopes, guard } = conversation;
    let moment = || Moment { now: instance.clock.now(), random: instance.random.as_ref() };
    let mut acquisition = Acquisition::new(plan, goal, values, held, scopes)?;
    let mut request = acquisition.begin(moment())?;
    loop {
        let answered = match asker.ask(question(request, guard)?).await {
            Ok(answered) => answered,
            Err(AskError::Outbound(error)) => {
                return Err(ConversationError::Unreachable { code: error.code() });
            }
            Err(AskError::Stopped) => {
                return Err(ConversationError::Unreachable { code: "stopped" });
            }
        };
        let answer = TokenAnswer {
            status: answered.status,
            headers: &answered.headers,
            body: &answered.body,
        };
        match acquisition.answered(&answer, moment())? {
            Progress::Ask(next) => request = next,
            Progress::Done(tokens) => return Ok(Conversed::Tokens(*tokens)),
            Progress::Kept(tokens, error) => return Ok(Conversed::Kept(*tokens, error)),
        }
    }
}

/// Tells the provider that tokens are not wanted any more (RFC 7009); `false`: the plan knows no place.
pub(crate) async fn revoke(
    instance: &Instance,
    asker: &Asker,
    plan: &AuthPlan,
    values: Variables,
    tokens: &TokenSet,
    guard: &GuardPolicy,
) -> Result<bool, ConversationError> {
    let moment = Moment { now: instance.clock.now(), random: instance.random.as_ref() };
    let Some(request) = vault::auth::revocation(plan, values, tokens, moment)? else {
        return Ok(false);
    };
    match asker.ask(question(request, guard)?).await {
        Ok(answered) if answered.status == 200 => Ok(true),
        Ok(answered) => Err(AcquireError::Refused { status: answered.status, code: None }.into()),
        Err(AskError::Outbound(error)) => {
            Err(ConversationError::Unreachable { code: error.code() })
        }
        Err(AskError::Stopped) => Err(ConversationError::Unreachable { code: "stopped" }),
    }
}

fn question(request: TokenRequest, guard: &GuardPolicy) -> Result<Question, ConversationError> {
    let refused = |why: &dyn std::fmt::Display| ConversationError::Refused { why: why.to_string() };
    let (scheme, rest) = request.url.split_once("://").ok_or_else(|| refused(&"it is no URL"))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).ok_or_else(|| refused(&"it is no URL"))?;
    let target = Target::parse(&format!("{scheme}://{authority}"), guard);
    let target = target.map_err(|error| refused(&error))?;
    let method = match request.method {
        "GET" => Method::GET,
        "PUT" => Method::PUT,
        _ => Method::POST,
    };
    let path_and_query = Zeroizing::new(path.to_owned());
    let TokenRequest { headers, body, .. } = request;
    Ok(Question { target, policy: guard.clone(), method, path_and_query, headers, body })
}
