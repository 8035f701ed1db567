//! Who does something, as part of which request, at what time.

use crate::{Id, Request, Timestamp, Token, User};
use std::fmt;

/// Who acts on the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The command line on the data folder: the root of trust, named by the system's user id.
    Local { uid: u32 },
    /// A person on the console or its API.
    User { id: Id<User> },
    /// A person's program, by a personal access token.
    Token { id: Id<Token>, user: Id<User> },
    /// Weirgate itself.
    System,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { uid } => write!(f, "local:{uid}"),
            Self::User { id } => write!(f, "user:{id}"),
            Self::Token { id, .. } => write!(f, "token:{id}"),
            Self::System => f.write_str("system"),
        }
    }
}

/// First argument of everything that changes something.
#[derive(Clone, Debug)]
pub struct OpContext {
    pub actor: Actor,
    pub request: Id<Request>,
    pub now: Timestamp,
}
