//! Who does something, as part of which request, at what time.

use crate::{Id, Request, Timestamp};
use std::fmt;

/// Who acts on the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The command line on the data folder: the root of trust, named by the system's user id.
    Local { uid: u32 },
    /// Weirgate itself.
    System,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { uid } => write!(f, "local:{uid}"),
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
