//! Who may do what on the control plane: acts, roles, policies, and decisions with their reasons; and
//! what policies take from the calls of programs.
//!
//! It promises that nothing is permitted that no role permits, that a `forbid` beats every role, and
//! that a decision names what decided. Roles and policies are Cedar text under one schema; what does
//! not fit the schema is refused with its place and remedy, and never half in force.
//!
//! No I/O happens here, and no clock is read.
#![forbid(unsafe_code)]

mod act;
mod calls;
mod check;
mod decide;
mod role;
mod schema;

pub use act::{Act, ParseActError, ResourceKind};
pub use calls::{Call, CalledField, Calls, Residual, Verdict};
pub use check::{Problem, check};
pub use decide::{Decider, DeciderError, Decision, Moment, Principal, Reason, Resource};
pub use role::{BUILT_IN, CustomRole, RoleError};
pub use schema::SCHEMA;
