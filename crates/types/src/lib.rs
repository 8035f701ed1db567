//! The vocabulary that every other crate speaks: typed ids, secrets that cannot be printed,
//! an injected clock and randomness, and the questions that every error answers.
//!
//! No I/O happens here but reading the system's clock and random source, each behind a trait.
#![forbid(unsafe_code)]

mod action;
mod api_key;
mod clock;
mod context;
mod fault;
mod id;
mod nearest;
mod person;
mod random;
mod rate;
mod secret;
mod slug;
mod token_layout;

pub use action::{Action, Environment, ParseActionError};
pub use api_key::{ApiKey, ApiKeyError};
pub use clock::{Clock, Date, ManualClock, ParseDateError, SystemClock, Timestamp};
pub use context::{Actor, OpContext};
pub use fault::{Fault, Origin};
pub use id::{
    Client, ConnectSession, Connection, Consent, Credential, Customer, Factor, Grant, Id, IdKind,
    Identity, IdentityProvider, Instance, Key, Link, Node, ParseIdError, Proposal, Provider,
    Request, Review, Session, Token, User, View,
};
pub use nearest::nearest;
pub use person::{ConnectProgress, FactorKind, LinkPurpose, SessionLevel, UserState};
pub use random::{Random, RandomError, SeededRandom, SystemRandom};
pub use rate::{ParseRateError, Rate};
pub use secret::{SecretBytes, SecretText};
pub use slug::{Slug, SlugError};
pub use token_layout::{KEY_RANDOM_CHARS, TokenFlaw, TokenLayout};
