//! How people prove who they are: passwords, one-time codes, passkeys, recovery codes, and the
//! tokens that Weirgate gives them afterwards.
//!
//! Nothing here does I/O or reads a clock: callers bring the time, the randomness and what is
//! stored, and keep what comes back. What takes long (hashing a password) is synchronous, to be
//! run where it blocks nobody.
//!
//! What it promises:
//! - a secret cannot be printed, cloned or compared, and is stored only as a digest or a hash;
//! - each text has one spelling by which it is accepted, or all of its spellings are one;
//! - an answer takes the same work whether a person exists or not.
//!
//! What it does not do: count failures, slow anybody down, or remember what was used; it says what
//! must be remembered.
#![forbid(unsafe_code)]

mod blocklist;
mod email;
pub mod oidc;
mod passkey;
pub mod password;
mod recovery;
mod token;
mod totp;

pub use email::{EmailAddress, EmailError};
pub use passkey::{
    Authentication, CEREMONY_LIFE, Claim, Options, Passkey, PasskeyError, Person, Registration,
    RelyingParty, RelyingPartyError, SignedIn, UserHandle,
};
pub use password::{
    Accepted, HashError, Password, PasswordHash, PasswordProblem, PasswordProblems, Verdict,
};
pub use recovery::{RECOVERY_CODES, RecoveryCode, RecoveryCodeError};
pub use token::{Digest, Keyed, LinkToken, PersonalToken, SessionToken, TokenError};
pub use totp::{SEED_BYTES, TotpError, TotpLabelError, TotpSeed, TotpSeedError, TotpStep};
