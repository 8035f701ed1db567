//! The three questions that every error on the way to a provider answers.

/// Whose fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The program that called Weirgate.
    Caller,
    /// The third-party API.
    Provider,
    /// Weirgate itself, or the machine it runs on.
    Internal,
}

impl Origin {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Provider => "provider",
            Self::Internal => "internal",
        }
    }
}

/// What diagnosis and de-duplication of failures are built on, instead of message texts.
pub trait Fault: std::error::Error {
    fn origin(&self) -> Origin;
    /// Whether the same call, sent again, may succeed without anybody changing anything.
    fn is_retryable(&self) -> bool;
    /// A stable `snake_case` name; `docs/reference/errors/<code>.md` explains it.
    fn code(&self) -> &'static str;
}
